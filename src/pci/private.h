/* SPDX-License-Identifier: BSD-3-Clause */
/* Declarations shared by the files of the PCI function; function.c calls into the other files. */
#ifndef IVS_PCI_PRIVATE_H
#define IVS_PCI_PRIVATE_H

#include "base/bytes.h"
#include "pci/function.h"

/* Offsets and bits in configuration space (PCI Local Bus Specification 3.0, chapter 6). */
#define IVS_PCI_COMMAND 0x04
#define IVS_PCI_COMMAND_MASTER 0x0004u
#define IVS_PCI_COMMAND_NO_INTX 0x0400u
#define IVS_PCI_STATUS 0x06
#define IVS_PCI_STATUS_INTX 0x08u
#define IVS_PCI_STATUS_CAPABILITIES 0x10u

/* The MSI-X capability (6.8.2), at the same offset as in QEMU, and its message control. */
#define IVS_MSIX_CAP 0x40
#define IVS_MSIX_CAP_LEN 12
#define IVS_MSIX_CONTROL (IVS_MSIX_CAP + 2)
#define IVS_MSIX_CONTROL_ENABLE 0x8000u
#define IVS_MSIX_CONTROL_MASKED 0x4000u
#define IVS_MSIX_ENTRY_LEN 16

static inline unsigned int ivs_config_get16(const struct ivs_pci_function *function, size_t offset)
{
	return (unsigned int)ivs_get_le(function->config + offset, 2);
}

/* The length of the MSI-X table in bytes, and the number of 64-bit words of pending bits. */
static inline size_t ivs_msix_table_len(const struct ivs_pci_function *function)
{
	return (size_t)function->options.vectors_n * IVS_MSIX_ENTRY_LEN;
}

static inline size_t ivs_msix_words_n(const struct ivs_pci_function *function)
{
	return (function->options.vectors_n + 63u) / 64;
}

/* config.c: @options is the caller's structure, with valid pointers, and has been checked. */
void ivs_config_init(struct ivs_pci_function *function,
		     const struct ivs_pci_function_options *options);
void ivs_config_put_memory_bar(struct ivs_pci_function *function);
void ivs_config_reset(struct ivs_pci_function *function);
void ivs_config_read(const struct ivs_pci_function *function, size_t offset, uint8_t *out,
		     size_t len);
void ivs_config_write(struct ivs_pci_function *function, size_t offset, const uint8_t *in,
		      size_t len);

/* registers.c: BAR 0, accessed in naturally aligned pieces of 1, 2 or 4 bytes */
uint32_t ivs_registers_read(struct ivs_pci_function *function, size_t offset);
void ivs_registers_write(struct ivs_pci_function *function, size_t offset, uint32_t value,
			 struct ivs_pci_ring *ring);
void ivs_registers_reset(struct ivs_pci_function *function);
void ivs_registers_doorbell(struct ivs_pci_function *function);
bool ivs_registers_interrupt(const struct ivs_pci_function *function);

/* msix.c: BAR 1, accessed in the same pieces as BAR 0 */
void ivs_msix_init(struct ivs_pci_function *function);
void ivs_msix_reset(struct ivs_pci_function *function);
void ivs_msix_read(const struct ivs_pci_function *function, size_t offset, uint8_t *out,
		   size_t len);
void ivs_msix_write(struct ivs_pci_function *function, size_t offset, const uint8_t *in,
		    size_t len);
void ivs_msix_doorbell(struct ivs_pci_function *function, unsigned int vector);

#endif
