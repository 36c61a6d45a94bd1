/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registers in BAR 0, as in QEMU's devices. A guest can see two properties that no
 * rule requires. Mask and Status exist in both revisions, but have no effect in revision 1. A read
 * works only at a register's first byte. A write at any of its four bytes sets the whole register
 * to the value written, with the missing high bytes as zeroes.
 */
#include "pci/private.h"

static uint32_t take_status(struct ivs_pci_function *function)
{
	uint32_t status = function->status;

	function->status = 0;
	return status;
}

uint32_t ivs_registers_read(struct ivs_pci_function *function, size_t offset)
{
	switch (offset) {
	case IVS_REG_INTR_MASK:
		return function->mask;
	case IVS_REG_INTR_STATUS:
		return take_status(function);
	case IVS_REG_IV_POSITION:
		return function->id;
	default:
		return 0;
	}
}

void ivs_registers_write(struct ivs_pci_function *function, size_t offset, uint32_t value,
			 struct ivs_pci_ring *ring)
{
	switch (offset & ~(size_t)3) {
	case IVS_REG_INTR_MASK:
		function->mask = value;
		break;
	case IVS_REG_INTR_STATUS:
		function->status = value;
		break;
	case IVS_REG_DOORBELL:
		*ring = (struct ivs_pci_ring){
			.rung = true, .peer = value >> 16, .vector = value & 0xffffu};
		break;
	default:
		break;
	}
}

void ivs_registers_reset(struct ivs_pci_function *function)
{
	function->mask = 0;
	function->status = 0;
}

void ivs_registers_doorbell(struct ivs_pci_function *function)
{
	if (function->options.intx)
		function->status |= 1;
}

bool ivs_registers_interrupt(const struct ivs_pci_function *function)
{
	return function->options.intx && (function->status & function->mask);
}
