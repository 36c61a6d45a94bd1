/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI function: checks its options, and dispatches accesses.
 *
 * A guest's accesses are aligned, but a VMM may send any offset and length. Accesses to BARs are
 * split into naturally aligned pieces of 1, 2 or 4 bytes, in ascending order; 8 aligned bytes are
 * split into two pieces. Configuration space is accessed byte by byte.
 */
#include "pci/private.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/parse.h"
#include "base/text.h"

#define MEMORY_LEN_MIN 4096u
#define MEMORY_LEN_MAX_32BIT (UINT64_C(1) << 31) /* the largest power of two below 2^32 */

static int check_kind(const struct ivs_pci_function_options *options, struct ivs_error *err)
{
	if (options->revision > IVS_PCI_REVISION)
		return ivs_error_set(err, IVS_PCI_E_OPTIONS,
				     "the device has no revision %u: use 0 or 1",
				     options->revision);
	if (options->vectors_n > IVS_MSIX_VECTORS_MAX)
		return ivs_error_set(err, IVS_PCI_E_OPTIONS,
				     "%u vectors are more than MSI-X supports: use at most %d",
				     options->vectors_n, IVS_MSIX_VECTORS_MAX);
	if (options->intx && options->revision != IVS_PCI_REVISION_LEGACY)
		return ivs_error_set(err, IVS_PCI_E_OPTIONS,
				     "a device of revision %u has no INTx: use revision 0",
				     options->revision);
	if (options->intx && options->vectors_n)
		return ivs_error_set(err, IVS_PCI_E_OPTIONS,
				     "INTx is for a device without vectors, but this one has %u: "
				     "use one or the other",
				     options->vectors_n);
	return 0;
}

static int check_memory(const struct ivs_pci_function_options *options, struct ivs_error *err)
{
	if (!ivs_is_power_of_two(options->memory_len) || options->memory_len < MEMORY_LEN_MIN)
		return ivs_error_set(err, IVS_PCI_E_OPTIONS,
				     "a region of %" PRIu64 " bytes cannot be BAR 2: its size "
				     "must be a power of two of at least %u",
				     options->memory_len, MEMORY_LEN_MIN);
	if (options->bar2_32bit && options->memory_len > MEMORY_LEN_MAX_32BIT)
		return ivs_error_set(err, IVS_PCI_E_OPTIONS,
				     "a region of %" PRIu64
				     " bytes is too large for a 32-bit BAR 2: use at most %" PRIu64
				     ", or a 64-bit BAR 2",
				     options->memory_len, MEMORY_LEN_MAX_32BIT);
	return 0;
}

/* Check the limits of R-9. */
int ivs_pci_check_name(const char *name, struct ivs_error *err)
{
	char shown[IVS_PCI_CAP_NAME_MAX + 1];
	size_t len = strlen(name);
	size_t good = strspn(name, IVS_PCI_CAP_NAME_BYTES);

	ivs_text_shown(name, shown, sizeof(shown));
	if (len > IVS_PCI_CAP_NAME_MAX)
		return ivs_error_set(err, IVS_PCI_E_OPTIONS,
				     "the name %s... of the region has %zu bytes: use at most %d",
				     shown, len, IVS_PCI_CAP_NAME_MAX);
	if (good < len)
		return ivs_error_set(
			err, IVS_PCI_E_OPTIONS,
			"the name %s of the region contains the byte 0x%02x: only letters, "
			"digits and \"._-\" are allowed",
			shown, (unsigned int)(uint8_t)name[good]);
	return 0;
}

int ivs_pci_init(struct ivs_pci_function *function, const struct ivs_pci_function_options *options,
		 struct ivs_error *err)
{
	int result = check_kind(options, err);

	if (!result)
		result = check_memory(options, err);
	if (!result && options->name)
		result = ivs_pci_check_name(options->name, err);
	if (result)
		return result;
	memset(function, 0, sizeof(*function));
	function->options = *options;
	function->options.name = NULL;
	function->options.uuid = NULL;
	if (options->vectors_n)
		ivs_msix_init(function);
	ivs_config_init(function, options);
	ivs_pci_reset(function);
	return 0;
}

void ivs_pci_reset(struct ivs_pci_function *function)
{
	ivs_config_reset(function);
	ivs_registers_reset(function);
	ivs_msix_reset(function);
}

size_t ivs_pci_space_len(const struct ivs_pci_function *function, unsigned int space)
{
	switch (space) {
	case IVS_PCI_BAR0:
		return IVS_REGISTERS_LEN;
	case IVS_PCI_BAR1:
		return function->bar1_len;
	case IVS_PCI_CONFIG:
		return IVS_PCI_CONFIG_LEN;
	default:
		return 0;
	}
}

static bool is_within(const struct ivs_pci_function *function, unsigned int space, size_t offset,
		      size_t len)
{
	size_t space_len = ivs_pci_space_len(function, space);

	return offset <= space_len && len <= space_len - offset;
}

/* Return: the length of the largest naturally aligned piece at @offset. */
static size_t piece_len(size_t offset, size_t len)
{
	size_t piece = 4;

	while (offset % piece || piece > len)
		piece /= 2;
	return piece;
}

void ivs_pci_read(struct ivs_pci_function *function, enum ivs_pci_space space, size_t offset,
		  void *out, size_t len)
{
	uint8_t *bytes = out;

	if (!is_within(function, space, offset, len)) {
		memset(out, 0, len);
		return;
	}
	if (space == IVS_PCI_CONFIG) {
		ivs_config_read(function, offset, bytes, len);
		return;
	}
	for (size_t piece; len; offset += piece, bytes += piece, len -= piece) {
		piece = piece_len(offset, len);
		if (space == IVS_PCI_BAR0)
			ivs_put_le(ivs_registers_read(function, offset), bytes, piece);
		else
			ivs_msix_read(function, offset, bytes, piece);
	}
}

void ivs_pci_write(struct ivs_pci_function *function, enum ivs_pci_space space, size_t offset,
		   const void *in, size_t len, struct ivs_pci_ring *ring)
{
	const uint8_t *bytes = in;

	*ring = (struct ivs_pci_ring){0};
	if (!is_within(function, space, offset, len))
		return;
	if (space == IVS_PCI_CONFIG) {
		ivs_config_write(function, offset, bytes, len);
		return;
	}
	for (size_t piece; len; offset += piece, bytes += piece, len -= piece) {
		piece = piece_len(offset, len);
		if (space == IVS_PCI_BAR0)
			ivs_registers_write(function, offset, (uint32_t)ivs_get_le(bytes, piece),
					    ring);
		else
			ivs_msix_write(function, offset, bytes, piece);
	}
}

int ivs_pci_set_memory_len(struct ivs_pci_function *function, uint64_t len, struct ivs_error *err)
{
	struct ivs_pci_function_options options = function->options;
	int result;

	options.memory_len = len;
	result = check_memory(&options, err);
	if (result)
		return result;
	function->options.memory_len = len;
	ivs_config_put_memory_bar(function);
	return 0;
}

void ivs_pci_set_id(struct ivs_pci_function *function, int id)
{
	function->id = (uint32_t)id;
}

void ivs_pci_doorbell(struct ivs_pci_function *function, unsigned int vector)
{
	ivs_registers_doorbell(function);
	ivs_msix_doorbell(function, vector);
}

bool ivs_pci_intx(const struct ivs_pci_function *function)
{
	return ivs_registers_interrupt(function) &&
	       !(ivs_config_get16(function, IVS_PCI_COMMAND) & IVS_PCI_COMMAND_NO_INTX);
}
