/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MSI-X (PCI Local Bus Specification 3.0, 6.8.2). BAR 1 has QEMU's layout: the table is at its
 * beginning; the pending bits are at offset 2048, or after the table if the table is longer.
 */
#include "pci/private.h"

#include <string.h>

#include "base/bitmap.h"

#define BAR1_LEN_MIN 4096u
#define VECTOR_CONTROL 12
#define VECTOR_MASKED 1

void ivs_msix_init(struct ivs_pci_function *function)
{
	size_t pba_len = ivs_msix_words_n(function) * sizeof(uint64_t);

	function->bar1_len = BAR1_LEN_MIN;
	function->pba = BAR1_LEN_MIN / 2;
	if (function->pba < ivs_msix_table_len(function))
		function->pba = ivs_msix_table_len(function);
	while (function->bar1_len < function->pba + pba_len)
		function->bar1_len *= 2;
}

void ivs_msix_reset(struct ivs_pci_function *function)
{
	memset(function->table, 0, sizeof(function->table));
	memset(function->pending, 0, sizeof(function->pending));
	for (size_t at = VECTOR_CONTROL; at < ivs_msix_table_len(function);
	     at += IVS_MSIX_ENTRY_LEN)
		function->table[at] = VECTOR_MASKED;
}

void ivs_msix_read(const struct ivs_pci_function *function, size_t offset, uint8_t *out, size_t len)
{
	memset(out, 0, len);
	/*
	 * Software must access 4 or 8 bytes at a time; reads of any other length return zeroes, as
	 * in QEMU.
	 */
	if (len != 4)
		return;
	if (offset < ivs_msix_table_len(function))
		memcpy(out, function->table + offset, len);
	else if (offset >= function->pba && offset < function->pba + ivs_msix_words_n(function) * 8)
		ivs_put_le(function->pending[(offset - function->pba) / 8] >> (offset % 8 * 8), out,
			   len);
}

void ivs_msix_write(struct ivs_pci_function *function, size_t offset, const uint8_t *in, size_t len)
{
	if (len == 4 && offset < ivs_msix_table_len(function))
		memcpy(function->table + offset, in, len);
}

static bool msix_is_enabled(const struct ivs_pci_function *function)
{
	return function->options.vectors_n &&
	       (ivs_config_get16(function, IVS_MSIX_CONTROL) & IVS_MSIX_CONTROL_ENABLE);
}

/* Check all conditions for sending a vector, except its route. */
static bool msix_may_send(const struct ivs_pci_function *function)
{
	return msix_is_enabled(function) &&
	       !(ivs_config_get16(function, IVS_MSIX_CONTROL) & IVS_MSIX_CONTROL_MASKED) &&
	       (ivs_config_get16(function, IVS_PCI_COMMAND) & IVS_PCI_COMMAND_MASTER);
}

void ivs_msix_doorbell(struct ivs_pci_function *function, unsigned int vector)
{
	if (msix_is_enabled(function) && vector < function->options.vectors_n)
		ivs_bitmap_add(function->pending, vector);
}

void ivs_pci_route(struct ivs_pci_function *function, unsigned int vector, bool routed)
{
	if (vector >= function->options.vectors_n)
		return;
	if (routed)
		ivs_bitmap_add(function->routed, vector);
	else
		ivs_bitmap_remove(function->routed, vector);
}

bool ivs_pci_next_vector(struct ivs_pci_function *function, unsigned int *vector)
{
	if (!msix_may_send(function))
		return false;
	for (unsigned int i = 0; i < ivs_msix_words_n(function); i++) {
		uint64_t ready = function->pending[i] & function->routed[i];

		if (!ready)
			continue;
		*vector = i * IVS_BITMAP_BITS + (unsigned int)__builtin_ctzll(ready);
		ivs_bitmap_remove(function->pending, *vector);
		return true;
	}
	return false;
}
