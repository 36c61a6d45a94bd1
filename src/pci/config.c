/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration space. One array holds the bytes, another one marks the bits that can be written. A
 * reset clears all writable bits, so no table of initial values is needed.
 *
 * Interrupt Status is in neither array, because it is computed from the registers.
 */
#include "pci/private.h"

#include <string.h>

#define VENDOR 0x00
#define DEVICE 0x02
#define REVISION 0x08
#define CLASS 0x09
#define CACHE_LINE 0x0c
#define BAR(n) (0x10 + 4 * (n))
#define SUBSYSTEM_VENDOR 0x2c
#define SUBSYSTEM 0x2e
#define CAPABILITIES 0x34
#define INTERRUPT_LINE 0x3c
#define INTERRUPT_PIN 0x3d

#define CLASS_RAM 0x050000
#define QEMU_SUBSYSTEM 0x1100
#define PIN_A 1
/* The bits that are writable in QEMU, too: I/O and memory space, bus master, SERR, INTx disable. */
#define COMMAND_WRITABLE 0x0507
#define BAR_64BIT 0x4
#define BAR_PREFETCHABLE 0x8

#define CAP_MSIX 0x11
#define CAP_VENDOR 0x09

static void put_bytes(struct ivs_pci_function *function, size_t offset, uint64_t value, size_t len)
{
	ivs_put_le(value, function->config + offset, len);
}

static void make_writable(struct ivs_pci_function *function, size_t offset, uint64_t bits,
			  size_t len)
{
	ivs_put_le(bits, function->writable + offset, len);
}

/* Software determines a BAR's size from the low address bits, which are read-only (6.2.5.1). */
static void put_bar(struct ivs_pci_function *function, unsigned int n, uint64_t flags,
		    uint64_t size)
{
	size_t len = flags & BAR_64BIT ? 8 : 4;

	put_bytes(function, BAR(n), flags, len);
	make_writable(function, BAR(n), ~(size - 1), len);
}

void ivs_config_put_memory_bar(struct ivs_pci_function *function)
{
	uint64_t flags = BAR_PREFETCHABLE | (function->options.bar2_32bit ? 0 : BAR_64BIT);

	put_bar(function, IVS_BAR_MEMORY, flags, function->options.memory_len);
}

static void put_bars(struct ivs_pci_function *function)
{
	put_bar(function, IVS_BAR_REGISTERS, 0, IVS_REGISTERS_LEN);
	if (function->options.vectors_n)
		put_bar(function, IVS_BAR_MSIX, 0, function->bar1_len);
	ivs_config_put_memory_bar(function);
}

static void put_msix(struct ivs_pci_function *function)
{
	put_bytes(function, IVS_MSIX_CAP, CAP_MSIX, 1);
	put_bytes(function, IVS_MSIX_CONTROL, function->options.vectors_n - 1, 2);
	put_bytes(function, IVS_MSIX_CAP + 4, IVS_BAR_MSIX, 4);
	put_bytes(function, IVS_MSIX_CAP + 8, function->pba | IVS_BAR_MSIX, 4);
	make_writable(function, IVS_MSIX_CONTROL, IVS_MSIX_CONTROL_ENABLE | IVS_MSIX_CONTROL_MASKED,
		      2);
}

/* Fill the capability with the region's name and UUID. */
static void put_identity(struct ivs_pci_function *function,
			 const struct ivs_pci_function_options *options, size_t at)
{
	size_t name_len = options->name ? strlen(options->name) : 0;
	uint8_t *cap = function->config + at;

	cap[IVS_PCI_CAP_ID_OFFSET] = CAP_VENDOR;
	cap[IVS_PCI_CAP_LEN_OFFSET] = (uint8_t)(IVS_PCI_CAP_NAME_OFFSET + name_len);
	cap[IVS_PCI_CAP_LAYOUT_OFFSET] = IVS_PCI_CAP_LAYOUT;
	memcpy(cap + IVS_PCI_CAP_MAGIC_OFFSET, IVS_PCI_CAP_MAGIC, strlen(IVS_PCI_CAP_MAGIC));
	if (options->uuid)
		memcpy(cap + IVS_PCI_CAP_UUID_OFFSET, options->uuid, IVS_PCI_UUID_LEN);
	if (name_len)
		memcpy(cap + IVS_PCI_CAP_NAME_OFFSET, options->name, name_len);
}

static void put_capabilities(struct ivs_pci_function *function,
			     const struct ivs_pci_function_options *options)
{
	bool identity = (options->name && *options->name) || options->uuid;
	size_t next = IVS_MSIX_CAP;

	if (!options->vectors_n && !identity)
		return;
	put_bytes(function, IVS_PCI_STATUS, IVS_PCI_STATUS_CAPABILITIES, 2);
	put_bytes(function, CAPABILITIES, IVS_MSIX_CAP, 1);
	if (options->vectors_n) {
		put_msix(function);
		next += IVS_MSIX_CAP_LEN;
		put_bytes(function, IVS_MSIX_CAP + 1, identity ? next : 0, 1);
	}
	if (identity)
		put_identity(function, options, next);
}

void ivs_config_init(struct ivs_pci_function *function,
		     const struct ivs_pci_function_options *options)
{
	put_bytes(function, VENDOR, IVS_PCI_VENDOR, 2);
	put_bytes(function, DEVICE, IVS_PCI_DEVICE, 2);
	put_bytes(function, REVISION, options->revision, 1);
	put_bytes(function, CLASS, CLASS_RAM, 3);
	put_bytes(function, SUBSYSTEM_VENDOR, IVS_PCI_VENDOR, 2);
	put_bytes(function, SUBSYSTEM, QEMU_SUBSYSTEM, 2);
	/* Revision 0 always has a pin; with MSI-X or without a server the pin is never raised. */
	put_bytes(function, INTERRUPT_PIN, ivs_pci_has_pin(function) ? PIN_A : 0, 1);
	make_writable(function, IVS_PCI_COMMAND, COMMAND_WRITABLE, 2);
	make_writable(function, CACHE_LINE, 0xff, 1);
	make_writable(function, INTERRUPT_LINE, 0xff, 1);
	put_bars(function);
	put_capabilities(function, options);
}

void ivs_config_reset(struct ivs_pci_function *function)
{
	for (size_t i = 0; i < IVS_PCI_CONFIG_LEN; i++)
		function->config[i] &= (uint8_t)~function->writable[i];
}

void ivs_config_read(const struct ivs_pci_function *function, size_t offset, uint8_t *out,
		     size_t len)
{
	memcpy(out, function->config + offset, len);
	if (ivs_registers_interrupt(function) && offset <= IVS_PCI_STATUS &&
	    IVS_PCI_STATUS < offset + len)
		out[IVS_PCI_STATUS - offset] |= IVS_PCI_STATUS_INTX;
}

void ivs_config_write(struct ivs_pci_function *function, size_t offset, const uint8_t *in,
		      size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t bits = function->writable[offset + i];
		uint8_t *byte = &function->config[offset + i];

		*byte = (uint8_t)((*byte & ~bits) | (in[i] & bits));
	}
}
