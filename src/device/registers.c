/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registers in BAR 0, as QEMU's devices have them. Two of their habits are no rule but
 * can be seen by a guest: Mask and Status are there on each revision, only that nothing comes of
 * them on revision 1; and a register is read at its own offset alone, but written at each of its
 * four, where the bytes that were written are the low ones of the value.
 */
#include "device/inside.h"

static uint32_t take_status(struct ivs_device *device)
{
	uint32_t status = device->status;

	device->status = 0;
	return status;
}

uint32_t ivs_registers_read(struct ivs_device *device, size_t offset)
{
	switch (offset) {
	case IVS_REG_INTR_MASK:
		return device->mask;
	case IVS_REG_INTR_STATUS:
		return take_status(device);
	case IVS_REG_IV_POSITION:
		return device->id;
	default:
		return 0;
	}
}

void ivs_registers_write(struct ivs_device *device, size_t offset, uint32_t value,
			 struct ivs_device_ring *ring)
{
	switch (offset & ~(size_t)3) {
	case IVS_REG_INTR_MASK:
		device->mask = value;
		break;
	case IVS_REG_INTR_STATUS:
		device->status = value;
		break;
	case IVS_REG_DOORBELL:
		*ring = (struct ivs_device_ring){
			.rung = true, .peer = value >> 16, .vector = value & 0xffffu};
		break;
	default:
		break;
	}
}

void ivs_registers_reset(struct ivs_device *device)
{
	device->mask = 0;
	device->status = 0;
}

void ivs_registers_doorbell(struct ivs_device *device)
{
	if (device->options.intx)
		device->status |= 1;
}

bool ivs_registers_interrupt(const struct ivs_device *device)
{
	return device->options.intx && (device->status & device->mask);
}
