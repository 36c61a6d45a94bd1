/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI function: what it may be, and who treats an access.
 *
 * A guest's accesses are whole and aligned, but who serves the function to a VMM takes any offset and
 * length from it. In the BARs these are accesses to pieces of 1, 2 or 4 bytes, each at a
 * multiple of its length, in rising order; 8 aligned bytes are two of 4. In configuration space each
 * byte is on its own.
 */
#include "device/inside.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/parse.h"
#include "base/text.h"

#define MEMORY_LEN_MIN 4096u
#define MEMORY_LEN_MAX_32BIT (UINT64_C(1) << 31) /* of powers of two below 2^32 */

static int check_kind(const struct ivs_device_options *options, struct ivs_error *err)
{
	if (options->revision > IVS_PCI_REVISION)
		return ivs_error_set(err, IVS_DEVICE_E_OPTIONS,
				     "there is no revision %u of the device: it is 0 or 1",
				     options->revision);
	if (options->vectors_n > IVS_DEVICE_VECTORS_LIMIT)
		return ivs_error_set(err, IVS_DEVICE_E_OPTIONS,
				     "%u vectors are more than MSI-X has: at most %d",
				     options->vectors_n, IVS_DEVICE_VECTORS_LIMIT);
	if (options->intx && options->revision != IVS_PCI_REVISION_LEGACY)
		return ivs_error_set(err, IVS_DEVICE_E_OPTIONS,
				     "a device of revision %u has no INTx: take revision 0",
				     options->revision);
	if (options->intx && options->vectors_n)
		return ivs_error_set(err, IVS_DEVICE_E_OPTIONS,
				     "INTx is for a device without vectors, and this one has %u: "
				     "take one of the two",
				     options->vectors_n);
	return 0;
}

static int check_memory(const struct ivs_device_options *options, struct ivs_error *err)
{
	if (!ivs_is_power_of_two(options->memory_len) || options->memory_len < MEMORY_LEN_MIN)
		return ivs_error_set(err, IVS_DEVICE_E_OPTIONS,
				     "a region of %" PRIu64 " bytes cannot be BAR 2: its size has "
				     "to be a power of two of at least %u",
				     options->memory_len, MEMORY_LEN_MIN);
	if (options->bar2_32bit && options->memory_len > MEMORY_LEN_MAX_32BIT)
		return ivs_error_set(err, IVS_DEVICE_E_OPTIONS,
				     "a region of %" PRIu64 " bytes is too large for a BAR 2 of 32 "
				     "bits: at most %" PRIu64 ", or take one of 64 bits",
				     options->memory_len, MEMORY_LEN_MAX_32BIT);
	return 0;
}

/* */
int ivs_device_check_name(const char *name, struct ivs_error *err)
{
	char shown[IVS_CAP_NAME_MAX + 1];
	size_t len = strlen(name);
	size_t good = strspn(name, IVS_CAP_NAME_BYTES);

	ivs_text_shown(name, shown, sizeof(shown));
	if (len > IVS_CAP_NAME_MAX)
		return ivs_error_set(err, IVS_DEVICE_E_OPTIONS,
				     "the name %s... of the region has %zu bytes: at most %d",
				     shown, len, IVS_CAP_NAME_MAX);
	if (good < len)
		return ivs_error_set(err, IVS_DEVICE_E_OPTIONS,
				     "the name %s of the region has a byte 0x%02x: only letters, "
				     "digits and \"._-\" are allowed",
				     shown, (unsigned int)(uint8_t)name[good]);
	return 0;
}

int ivs_device_init(struct ivs_device *device, const struct ivs_device_options *options,
		    struct ivs_error *err)
{
	int result = check_kind(options, err);

	if (!result)
		result = check_memory(options, err);
	if (!result && options->name)
		result = ivs_device_check_name(options->name, err);
	if (result)
		return result;
	memset(device, 0, sizeof(*device));
	device->options = *options;
	device->options.name = NULL;
	device->options.uuid = NULL;
	if (options->vectors_n)
		ivs_msix_init(device);
	ivs_config_init(device, options);
	ivs_device_reset(device);
	return 0;
}

void ivs_device_reset(struct ivs_device *device)
{
	ivs_config_reset(device);
	ivs_registers_reset(device);
	ivs_msix_reset(device);
}

size_t ivs_device_region_len(const struct ivs_device *device, unsigned int region)
{
	switch (region) {
	case IVS_DEVICE_BAR0:
		return IVS_REGISTERS_LEN;
	case IVS_DEVICE_BAR1:
		return device->bar1_len;
	case IVS_DEVICE_CONFIG:
		return IVS_DEVICE_CONFIG_LEN;
	default:
		return 0;
	}
}

static bool is_within(const struct ivs_device *device, unsigned int region, size_t offset,
		      size_t len)
{
	size_t region_len = ivs_device_region_len(device, region);

	return offset <= region_len && len <= region_len - offset;
}

/* The largest piece that begins at @offset. */
static size_t piece_len(size_t offset, size_t len)
{
	size_t piece = 4;

	while (offset % piece || piece > len)
		piece /= 2;
	return piece;
}

void ivs_device_read(struct ivs_device *device, enum ivs_device_region region, size_t offset,
		     void *out, size_t len)
{
	uint8_t *bytes = out;

	if (!is_within(device, region, offset, len)) {
		memset(out, 0, len);
		return;
	}
	if (region == IVS_DEVICE_CONFIG) {
		ivs_config_read(device, offset, bytes, len);
		return;
	}
	for (size_t piece; len; offset += piece, bytes += piece, len -= piece) {
		piece = piece_len(offset, len);
		if (region == IVS_DEVICE_BAR0)
			ivs_put_le(ivs_registers_read(device, offset), bytes, piece);
		else
			ivs_msix_read(device, offset, bytes, piece);
	}
}

void ivs_device_write(struct ivs_device *device, enum ivs_device_region region, size_t offset,
		      const void *in, size_t len, struct ivs_device_ring *ring)
{
	const uint8_t *bytes = in;

	*ring = (struct ivs_device_ring){0};
	if (!is_within(device, region, offset, len))
		return;
	if (region == IVS_DEVICE_CONFIG) {
		ivs_config_write(device, offset, bytes, len);
		return;
	}
	for (size_t piece; len; offset += piece, bytes += piece, len -= piece) {
		piece = piece_len(offset, len);
		if (region == IVS_DEVICE_BAR0)
			ivs_registers_write(device, offset, (uint32_t)ivs_get_le(bytes, piece),
					    ring);
		else
			ivs_msix_write(device, offset, bytes, piece);
	}
}

int ivs_device_set_memory_len(struct ivs_device *device, uint64_t len, struct ivs_error *err)
{
	struct ivs_device_options options = device->options;
	int result;

	options.memory_len = len;
	result = check_memory(&options, err);
	if (result)
		return result;
	device->options.memory_len = len;
	ivs_config_put_memory_bar(device);
	return 0;
}

void ivs_device_set_id(struct ivs_device *device, int id)
{
	device->id = (uint32_t)id;
}

void ivs_device_doorbell(struct ivs_device *device, unsigned int vector)
{
	ivs_registers_doorbell(device);
	ivs_msix_doorbell(device, vector);
}

bool ivs_device_has_pin(const struct ivs_device *device)
{
	return device->options.revision == IVS_PCI_REVISION_LEGACY;
}

bool ivs_device_intx(const struct ivs_device *device)
{
	return ivs_registers_interrupt(device) &&
	       !(ivs_config_get16(device, IVS_PCI_COMMAND) & IVS_PCI_COMMAND_NO_INTX);
}
