/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI function (PROTOCOL.md, R-1 to R-9): configuration space, base address registers, MSI-X
 * and the four registers. Pure: the caller passes in accesses and doorbells, and after each call
 * that can raise interrupts it asks for them: ivs_pci_next_vector(), ivs_pci_intx().
 *
 * The memory behind BAR 2 is not here, only its size, which configuration space shows.
 *
 * A vector is sent if MSI-X is enabled and the function is not masked (message control), the
 * function is bus master (command: R-7) and the vector has a route. Until then it is pending.
 * Routes replace the mask bits of the table, because a VMM keeps the guest's table to itself: it
 * sets a route for each vector that is unmasked. The table in BAR 1 is memory without an effect.
 */
#ifndef IVS_PCI_FUNCTION_H
#define IVS_PCI_FUNCTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/api.h"
#include "ivshmem/registers.h"

#define IVS_PCI_CONFIG_LEN 256
#define IVS_PCI_UUID_LEN 16

enum ivs_pci_error {
	IVS_PCI_E_OPTIONS = 1, /* no such device exists */
	IVS_PCI_E_STATE,       /* not a state of this device */
};

/**
 * enum ivs_pci_space - spaces that can be accessed, with VFIO's numbers
 */
enum ivs_pci_space {
	IVS_PCI_BAR0 = 0, /* the registers */
	IVS_PCI_BAR1 = 1, /* MSI-X; only with vectors */
	IVS_PCI_CONFIG = 7,
};

/**
 * struct ivs_pci_function_options - copied
 * @revision:   1, or 0: the device before QEMU 2.6
 * @vectors_n:  MSI-X vectors, at most IVS_MSIX_VECTORS_MAX. 0: no MSI-X and no BAR 1: plain, or
 *              revision 0 with msi=off
 * @intx:       revision 0 without vectors: a doorbell sets Status and, if Mask allows, raises pin A
 * @bar2_32bit: BAR 2 has 32 bits (use64=0 of revision 0), so memory_len is below 2^32
 * @memory_len: bytes of BAR 2, a power of two of at least 4096
 * @name:       of the region; NULL or "": none
 * @uuid:       IVS_PCI_UUID_LEN bytes, or NULL. Without name and UUID the function has no such
 *              capability
 */
struct ivs_pci_function_options {
	unsigned int revision;
	unsigned int vectors_n;
	bool intx;
	bool bar2_32bit;
	uint64_t memory_len;
	const char *name;
	const uint8_t *uuid;
};

/**
 * struct ivs_pci_function - public only to be embedded; its members are private
 * @options:  without the pointers
 * @config:   as the guest reads it, except Interrupt Status, which follows from @status and @mask
 * @writable: the bits of @config that a write changes
 * @table:    the MSI-X table, 16 bytes per vector
 * @pba:      offset of the pending bits in BAR 1
 * @bar1_len: a power of two
 * @pending:  a bit per vector: it is pending
 * @routed:   a bit per vector: it has a route
 * @mask:     register IntrMask
 * @status:   register IntrStatus
 * @id:       register IVPosition
 */
struct ivs_pci_function {
	struct ivs_pci_function_options options;
	uint8_t config[IVS_PCI_CONFIG_LEN];
	uint8_t writable[IVS_PCI_CONFIG_LEN];
	uint8_t table[IVS_MSIX_VECTORS_MAX * 16];
	size_t pba;
	size_t bar1_len;
	uint64_t pending[IVS_MSIX_VECTORS_MAX / 64];
	uint64_t routed[IVS_MSIX_VECTORS_MAX / 64];
	uint32_t mask;
	uint32_t status;
	uint32_t id;
};

/**
 * struct ivs_pci_ring - a write to the register Doorbell
 * @rung: whether the register was written. If one access wrote it twice, this is the last write
 */
struct ivs_pci_ring {
	bool rung;
	unsigned int peer;
	unsigned int vector;
};

/** ivs_pci_check_name() - is @name valid for a region? Return: 0, IVS_PCI_E_OPTIONS. */
IVS_MUST_USE int ivs_pci_check_name(const char *name, struct ivs_error *err);

/** ivs_pci_init() - the state after power-on. Return: 0, IVS_PCI_E_OPTIONS. */
IVS_MUST_USE int ivs_pci_init(struct ivs_pci_function *function,
			      const struct ivs_pci_function_options *options,
			      struct ivs_error *err);

/**
 * ivs_pci_reset() - reset configuration space, table, Mask, Status and pending bits
 *
 * The id stays, and so do the routes, which belong to the VMM.
 */
void ivs_pci_reset(struct ivs_pci_function *function);

/** ivs_pci_space_len() - bytes of @space; 0: no enum ivs_pci_space, or BAR 1 without vectors */
size_t ivs_pci_space_len(const struct ivs_pci_function *function, unsigned int space);

/**
 * ivs_pci_read() - a read of @len bytes at @offset; all zeroes if not within @space
 *
 * Not const: reading Status clears it.
 */
void ivs_pci_read(struct ivs_pci_function *function, enum ivs_pci_space space, size_t offset,
		  void *out, size_t len);

/** ivs_pci_write() - a write; ignored if not within @space. @ring: the doorbell that it rang */
void ivs_pci_write(struct ivs_pci_function *function, enum ivs_pci_space space, size_t offset,
		   const void *in, size_t len, struct ivs_pci_ring *ring);

/**
 * ivs_pci_set_memory_len() - change the length of BAR 2; only before the first access after a reset
 *
 * Return: 0; IVS_PCI_E_OPTIONS: the length is invalid, and nothing has changed.
 */
IVS_MUST_USE int ivs_pci_set_memory_len(struct ivs_pci_function *function, uint64_t len,
					struct ivs_error *err);

/** ivs_pci_set_id() - set IVPosition to an id, or to -1 (revision 0 without a server) */
void ivs_pci_set_id(struct ivs_pci_function *function, int id);

/**
 * ivs_pci_doorbell() - a peer rang @vector
 *
 * Ignored while MSI-X is disabled, and if the vector does not exist. With INTx any vector sets bit
 * 0 of Status.
 */
void ivs_pci_doorbell(struct ivs_pci_function *function, unsigned int vector);

/** ivs_pci_route() - set whether @vector can be sent; no effect if there is no such vector */
void ivs_pci_route(struct ivs_pci_function *function, unsigned int vector, bool routed);

/**
 * ivs_pci_next_vector() - the lowest vector to be sent; clears its pending bit
 *
 * Return: false: none.
 */
IVS_MUST_USE bool ivs_pci_next_vector(struct ivs_pci_function *function, unsigned int *vector);

/** ivs_pci_has_pin() - whether configuration space shows a pin; options.intx: whether it is used */
static inline bool ivs_pci_has_pin(const struct ivs_pci_function *function)
{
	return function->options.revision == IVS_PCI_REVISION_LEGACY;
}

/** ivs_pci_intx() - whether the pin is raised: Status & Mask, unless command disables it */
bool ivs_pci_intx(const struct ivs_pci_function *function);

/*
 * The state, for migration: everything that a guest can change, and the pending bits; not the
 * routes, and not the id, which a server assigns. The format has a version (state.c).
 */

/** ivs_pci_state_len() - bytes of the state; depends on the options only */
size_t ivs_pci_state_len(const struct ivs_pci_function *function);

/** ivs_pci_save() - write the state: ivs_pci_state_len() bytes */
void ivs_pci_save(const struct ivs_pci_function *function, uint8_t *out);

/**
 * ivs_pci_load() - load a state that a device with the same options saved
 *
 * @in is not trusted. Afterwards ask for interrupts as after other calls.
 *
 * Return: 0; IVS_PCI_E_STATE: nothing has changed.
 */
IVS_MUST_USE int ivs_pci_load(struct ivs_pci_function *function, const uint8_t *in, size_t len,
			      struct ivs_error *err);

#endif
