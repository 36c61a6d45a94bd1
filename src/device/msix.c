/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MSI-X (PCI Local Bus Specification 3.0, 6.8.2). BAR 1 is laid out as QEMU does it: the table at its
 * beginning, the pending bits in its second half, or behind the table when that is longer.
 */
#include "device/inside.h"

#include <string.h>

#include "base/bitmap.h"

#define BAR1_LEN_MIN 4096u
#define VECTOR_CONTROL 12
#define VECTOR_MASKED 1

void ivs_msix_init(struct ivs_device *device)
{
	size_t pba_len = ivs_msix_words_n(device) * sizeof(uint64_t);

	device->bar1_len = BAR1_LEN_MIN;
	device->pba = BAR1_LEN_MIN / 2;
	if (device->pba < ivs_msix_table_len(device))
		device->pba = ivs_msix_table_len(device);
	while (device->bar1_len < device->pba + pba_len)
		device->bar1_len *= 2;
}

void ivs_msix_reset(struct ivs_device *device)
{
	memset(device->table, 0, sizeof(device->table));
	memset(device->pending, 0, sizeof(device->pending));
	for (size_t at = VECTOR_CONTROL; at < ivs_msix_table_len(device); at += IVS_MSIX_ENTRY_LEN)
		device->table[at] = VECTOR_MASKED;
}

void ivs_msix_read(const struct ivs_device *device, size_t offset, uint8_t *out, size_t len)
{
	memset(out, 0, len);
	/* Software must use 4 or 8 bytes; nothing is there for others, as with QEMU. */
	if (len != 4)
		return;
	if (offset < ivs_msix_table_len(device))
		memcpy(out, device->table + offset, len);
	else if (offset >= device->pba && offset < device->pba + ivs_msix_words_n(device) * 8)
		ivs_put_le(device->pending[(offset - device->pba) / 8] >> (offset % 8 * 8), out,
			   len);
}

void ivs_msix_write(struct ivs_device *device, size_t offset, const uint8_t *in, size_t len)
{
	if (len == 4 && offset < ivs_msix_table_len(device))
		memcpy(device->table + offset, in, len);
}

static bool is_enabled(const struct ivs_device *device)
{
	return device->options.vectors_n &&
	       (ivs_config_get16(device, IVS_MSIX_CONTROL) & IVS_MSIX_CONTROL_ENABLE);
}

/* */
static bool may_send(const struct ivs_device *device)
{
	return is_enabled(device) &&
	       !(ivs_config_get16(device, IVS_MSIX_CONTROL) & IVS_MSIX_CONTROL_MASKED) &&
	       (ivs_config_get16(device, IVS_PCI_COMMAND) & IVS_PCI_COMMAND_MASTER);
}

void ivs_msix_doorbell(struct ivs_device *device, unsigned int vector)
{
	if (is_enabled(device) && vector < device->options.vectors_n)
		ivs_bitmap_add(device->pending, vector);
}

void ivs_device_route(struct ivs_device *device, unsigned int vector, bool routed)
{
	if (vector >= device->options.vectors_n)
		return;
	if (routed)
		ivs_bitmap_add(device->routed, vector);
	else
		ivs_bitmap_remove(device->routed, vector);
}

bool ivs_device_next_vector(struct ivs_device *device, unsigned int *vector)
{
	if (!may_send(device))
		return false;
	for (unsigned int i = 0; i < ivs_msix_words_n(device); i++) {
		uint64_t ready = device->pending[i] & device->routed[i];

		if (!ready)
			continue;
		*vector = i * IVS_BITMAP_BITS + (unsigned int)__builtin_ctzll(ready);
		ivs_bitmap_remove(device->pending, *vector);
		return true;
	}
	return false;
}
