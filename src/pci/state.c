/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The saved state; all numbers are little-endian:
 *
 *     0  8    the letters IVSDEVST
 *     8  4    version of this layout: 1
 *    12  2    vectors
 *    14  1    revision
 *    15  1    bit 0: INTx, bit 1: BAR 2 is a 32-bit BAR
 *    16  8    bytes of BAR 2
 *    24  256  configuration space, without Interrupt Status, which depends on the registers
 *    280 4    Mask
 *    284 4    Status
 *    288      the MSI-X table, 16 bytes for each vector
 *             the pending bits, 64 vectors in 8 bytes
 *
 * A state can be loaded only by a device with the same options. Therefore it also contains values
 * that a guest cannot change: loading compares them with the device's. The region's name and UUID
 * are part of configuration space.
 */
#include "pci/private.h"

#include <inttypes.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/error.h"

#define MAGIC "IVSDEVST"
#define VERSION 1u
#define VERSION_AT 8
#define VECTORS_AT 12
#define REVISION_AT 14
#define FLAGS_AT 15
#define MEMORY_AT 16
#define CONFIG_AT 24
#define MASK_AT 280
#define STATUS_AT 284
#define TABLE_AT 288

#define FLAG_INTX 1
#define FLAG_32BIT 2

static unsigned int flags_of(const struct ivs_pci_function *function)
{
	return (function->options.intx ? FLAG_INTX : 0) |
	       (function->options.bar2_32bit ? FLAG_32BIT : 0);
}

size_t ivs_pci_state_len(const struct ivs_pci_function *function)
{
	return TABLE_AT + ivs_msix_table_len(function) + ivs_msix_words_n(function) * 8;
}

void ivs_pci_save(const struct ivs_pci_function *function, uint8_t *out)
{
	uint8_t *pending = out + TABLE_AT + ivs_msix_table_len(function);

	memcpy(out, MAGIC, strlen(MAGIC));
	ivs_put_le(VERSION, out + VERSION_AT, 4);
	ivs_put_le(function->options.vectors_n, out + VECTORS_AT, 2);
	ivs_put_le(function->options.revision, out + REVISION_AT, 1);
	ivs_put_le(flags_of(function), out + FLAGS_AT, 1);
	ivs_put_le(function->options.memory_len, out + MEMORY_AT, 8);
	memcpy(out + CONFIG_AT, function->config, IVS_PCI_CONFIG_LEN);
	ivs_put_le(function->mask, out + MASK_AT, 4);
	ivs_put_le(function->status, out + STATUS_AT, 4);
	memcpy(out + TABLE_AT, function->table, ivs_msix_table_len(function));
	for (size_t i = 0; i < ivs_msix_words_n(function); i++)
		ivs_put_le(function->pending[i], pending + 8 * i, 8);
}

static int refuse_state(struct ivs_error *err, const char *what, uint64_t theirs, uint64_t ours)
{
	return ivs_error_set(err, IVS_PCI_E_STATE,
			     "the saved device has %s %" PRIu64 " and this one has %" PRIu64
			     ": configure both identically",
			     what, theirs, ours);
}

/* Check that @in is a state of a device with the same options. */
static int check_header(const struct ivs_pci_function *function, const uint8_t *in, size_t len,
			struct ivs_error *err)
{
	uint64_t version, theirs;

	if (len < TABLE_AT || memcmp(in, MAGIC, strlen(MAGIC)) != 0)
		return ivs_error_set(
			err, IVS_PCI_E_STATE,
			"these %zu bytes are not a saved state: they do not begin with " MAGIC,
			len);
	version = ivs_get_le(in + VERSION_AT, 4);
	if (version != VERSION)
		return ivs_error_set(err, IVS_PCI_E_STATE,
				     "the state has version %" PRIu64 ", but only %u is supported: "
				     "save it with the same version of this program",
				     version, VERSION);
	theirs = ivs_get_le(in + VECTORS_AT, 2);
	if (theirs != function->options.vectors_n)
		return refuse_state(err, "vectors", theirs, function->options.vectors_n);
	if (in[REVISION_AT] != function->options.revision)
		return refuse_state(err, "revision", in[REVISION_AT], function->options.revision);
	if (in[FLAGS_AT] != flags_of(function))
		return refuse_state(err, "flags (1: INTx, 2: 32-bit BAR 2)", in[FLAGS_AT],
				    flags_of(function));
	theirs = ivs_get_le(in + MEMORY_AT, 8);
	if (theirs != function->options.memory_len)
		return refuse_state(err, "bytes of BAR 2:", theirs, function->options.memory_len);
	if (len != ivs_pci_state_len(function))
		return ivs_error_set(err, IVS_PCI_E_STATE,
				     "the state has %zu bytes instead of %zu: it was truncated or "
				     "extended",
				     len, ivs_pci_state_len(function));
	return 0;
}

static int check_config(const struct ivs_pci_function *function, const uint8_t *config,
			struct ivs_error *err)
{
	for (size_t i = 0; i < IVS_PCI_CONFIG_LEN; i++) {
		if ((config[i] ^ function->config[i]) & ~function->writable[i])
			return ivs_error_set(err, IVS_PCI_E_STATE,
					     "the state has 0x%02x at offset 0x%02zx of "
					     "configuration space, where this device has 0x%02x: "
					     "give both devices the same name and UUID",
					     config[i], i, function->config[i]);
	}
	return 0;
}

static int check_pending(const struct ivs_pci_function *function, const uint8_t *pending,
			 struct ivs_error *err)
{
	unsigned int used = function->options.vectors_n % IVS_BITMAP_BITS;

	if (used && ivs_get_le(pending + 8 * (ivs_msix_words_n(function) - 1), 8) >> used)
		return ivs_error_set(err, IVS_PCI_E_STATE,
				     "the state is damaged: a vector is pending after the last of "
				     "%u",
				     function->options.vectors_n);
	return 0;
}

static void load_state(struct ivs_pci_function *function, const uint8_t *in)
{
	const uint8_t *pending = in + TABLE_AT + ivs_msix_table_len(function);

	memcpy(function->config, in + CONFIG_AT, IVS_PCI_CONFIG_LEN);
	function->mask = (uint32_t)ivs_get_le(in + MASK_AT, 4);
	function->status = (uint32_t)ivs_get_le(in + STATUS_AT, 4);
	memcpy(function->table, in + TABLE_AT, ivs_msix_table_len(function));
	for (size_t i = 0; i < ivs_msix_words_n(function); i++)
		function->pending[i] = ivs_get_le(pending + 8 * i, 8);
}

int ivs_pci_load(struct ivs_pci_function *function, const uint8_t *in, size_t len,
		 struct ivs_error *err)
{
	int result = check_header(function, in, len, err);

	if (!result)
		result = check_config(function, in + CONFIG_AT, err);
	if (!result)
		result = check_pending(function, in + TABLE_AT + ivs_msix_table_len(function), err);
	if (!result)
		load_state(function, in);
	return result;
}
