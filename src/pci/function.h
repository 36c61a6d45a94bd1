/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI function (PROTOCOL.md, R-1 to R-9): configuration space, base address registers, MSI-X and
 * the four registers. Pure: an access or a doorbell comes in, and what follows from it is to be
 * asked for: ivs_pci_next_vector(), ivs_pci_intx(). Whoever serves it to a guest does that
 * after each call that can change it.
 *
 * The memory behind BAR 2 is not here: only its size is, because configuration space tells it.
 *
 * A vector's interrupt is sent when MSI-X is enabled and not masked as a whole (message control), the
 * function may write to memory (command, bus master: R-7) and the vector has a route. Until then it
 * is pending. Routes stand for the mask bits of the table, because the VMM keeps the guest's
 * table to itself: it gives a route for a vector that it has unmasked. The table in BAR 1 is memory
 * that nobody here looks at.
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
	IVS_PCI_E_OPTIONS = 1, /* options that make no device */
	IVS_PCI_E_STATE,       /* what is to be loaded is not a state of this device */
};

/**
 * enum ivs_pci_space - what can be accessed, by the numbers that VFIO gives to them
 */
enum ivs_pci_space {
	IVS_PCI_BAR0 = 0, /* the registers */
	IVS_PCI_BAR1 = 1, /* MSI-X; only with @vectors_n */
	IVS_PCI_CONFIG = 7,
};

/**
 * struct ivs_pci_function_options - which function; copied
 * @revision:   1, or 0: the device before QEMU 2.6
 * @vectors_n:  MSI-X vectors, at most IVS_MSIX_VECTORS_MAX. 0: no MSI-X and no BAR 1: plain, or
 *              revision 0 with msi=off
 * @intx:       revision 0 without vectors: a doorbell raises Status, and pin A if Mask lets it
 * @bar2_32bit: BAR 2 is a 32-bit one (use64=0 of revision 0); then memory_len is below 2^32
 * @memory_len: bytes of BAR 2, a power of two of at least 4096
 * @name:       the region's, or NULL or "": none
 * @uuid:       IVS_PCI_UUID_LEN bytes, or NULL. Without name and UUID there is no such capability.
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
 * struct ivs_pci_function - one function; opaque, but nobody has to allocate it
 * @config:   as the guest reads it, but for Interrupt Status, which follows from @status and @mask
 * @writable: the bits of @config that a write changes
 * @table:    the MSI-X table, 16 bytes a vector
 * @pba:      where the pending bits begin in BAR 1; its length is a power of two
 * @pending:  a bit for each vector
 * @routed:   likewise: it has a route
 * @mask:     the register IntrMask
 * @status:   the register IntrStatus
 * @id:       what IVPosition reads
 */
struct ivs_pci_function {
	struct ivs_pci_function_options options; /* without the pointers */
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
 * @rung: whether there was one. A write of an odd length can be two; then it is the last.
 */
struct ivs_pci_ring {
	bool rung;
	unsigned int peer;
	unsigned int vector;
};

/** ivs_pci_check_name() - whether a region can be called that. Return: 0, IVS_PCI_E_OPTIONS. */
IVS_MUST_USE int ivs_pci_check_name(const char *name, struct ivs_error *err);

/** ivs_pci_init() - the function after power on. Return: 0, IVS_PCI_E_OPTIONS. */
IVS_MUST_USE int ivs_pci_init(struct ivs_pci_function *function,
			      const struct ivs_pci_function_options *options,
			      struct ivs_error *err);

/**
 * ivs_pci_reset() - as the guest's reset: configuration space, table, Mask, Status and what is
 * pending. Its id, and the routes, which are the VMM's, stay.
 */
void ivs_pci_reset(struct ivs_pci_function *function);

/** ivs_pci_space_len() - bytes; 0: this device does not have it, or it is BAR 2 and its like */
size_t ivs_pci_space_len(const struct ivs_pci_function *function, unsigned int region);

/**
 * ivs_pci_read() - a read of @len bytes at @offset, any of the region; all 0 if not within it
 *
 * Not const: reading Status clears it.
 */
void ivs_pci_read(struct ivs_pci_function *function, enum ivs_pci_space region, size_t offset,
		  void *out, size_t len);

/** ivs_pci_write() - likewise, ignored if not within it; @ring: the doorbell that it was */
void ivs_pci_write(struct ivs_pci_function *function, enum ivs_pci_space region, size_t offset,
		   const void *in, size_t len, struct ivs_pci_ring *ring);

/**
 * ivs_pci_set_memory_len() - have another BAR 2, of a function that nobody has looked at since a reset
 *
 * Return: 0; IVS_PCI_E_OPTIONS: it cannot have that length, and stays as it is.
 */
IVS_MUST_USE int ivs_pci_set_memory_len(struct ivs_pci_function *function, uint64_t len,
					struct ivs_error *err);

/** ivs_pci_set_id() - what IVPosition reads from now on: an id, or -1 (revision 0, unattached) */
void ivs_pci_set_id(struct ivs_pci_function *function, int id);

/**
 * ivs_pci_doorbell() - a peer rang @vector; of one that does not exist nothing comes
 *
 * Nor while MSI-X is disabled. With INTx all vectors are the same: bit 0 of Status.
 */
void ivs_pci_doorbell(struct ivs_pci_function *function, unsigned int vector);

/** ivs_pci_route() - @vector can be sent now, or no longer; one that does not exist: nothing */
void ivs_pci_route(struct ivs_pci_function *function, unsigned int vector, bool routed);

/**
 * ivs_pci_next_vector() - the lowest vector that is to be sent; it is no longer pending then
 *
 * Return: whether there is one.
 */
IVS_MUST_USE bool ivs_pci_next_vector(struct ivs_pci_function *function, unsigned int *vector);

/** ivs_pci_has_pin() - whether configuration space shows an interrupt pin; @intx: whether it is used */
static inline bool ivs_pci_has_pin(const struct ivs_pci_function *function)
{
	return function->options.revision == IVS_PCI_REVISION_LEGACY;
}

/** ivs_pci_intx() - whether the pin is raised: Status & Mask, and command does not disable it */
bool ivs_pci_intx(const struct ivs_pci_function *function);

/*
 * The state, for migration: what a guest can change, and what is pending; not the routes, and not the
 * id, which a server gives. Its own format, with a version (state.c). All bytes are checked.
 */

/** ivs_pci_state_len() - bytes of the state of this function; the same for the same options */
size_t ivs_pci_state_len(const struct ivs_pci_function *function);

/** ivs_pci_save() - write the state: ivs_pci_state_len() bytes */
void ivs_pci_save(const struct ivs_pci_function *function, uint8_t *out);

/**
 * ivs_pci_load() - take over a state that a device with the same options saved
 *
 * @in is not believed in anything. What was pending is to be asked for as after other calls.
 *
 * Return: 0; IVS_PCI_E_STATE, with the reason, and nothing has changed.
 */
IVS_MUST_USE int ivs_pci_load(struct ivs_pci_function *function, const uint8_t *in, size_t len,
			      struct ivs_error *err);

#endif
