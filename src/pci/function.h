/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI function (PROTOCOL.md, R-1 to R-9): configuration space, base address registers, MSI-X
 * and the four registers. Pure: the caller passes in accesses and doorbells. After each call
 * that can raise an interrupt, the caller has to call ivs_pci_next_vector() and ivs_pci_intx() to
 * find out what to send.
 *
 * The memory behind BAR 2 is not accessed here; configuration space only shows its size.
 *
 * A vector is sent if MSI-X is enabled and not masked (message control register), bus mastering is
 * enabled (command register, R-7) and the vector has a route. Until then it is pending.
 *
 * Routes replace the mask bits of the MSI-X table, because a VMM emulates the guest's table itself
 * and sets a route for each unmasked vector. The table in BAR 1 only stores what is written to it.
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
	IVS_PCI_E_OPTIONS = 1, /* an option is invalid, or two are mutually exclusive */
	IVS_PCI_E_STATE,       /* this is not a saved state of a device with these options */
};

/**
 * enum ivs_pci_space - the spaces that can be accessed; the values are VFIO's region indexes
 */
enum ivs_pci_space {
	IVS_PCI_BAR0 = 0, /* the registers */
	IVS_PCI_BAR1 = 1, /* MSI-X; exists only with vectors */
	IVS_PCI_CONFIG = 7,
};

/**
 * struct ivs_pci_function_options - options of a function; ivs_pci_init() copies them
 * @revision:   1, or 0 for the device of QEMU before 2.6
 * @vectors_n:  number of MSI-X vectors, at most IVS_MSIX_VECTORS_MAX. 0: the function has neither
 *              MSI-X nor BAR 1 (ivshmem-plain, or revision 0 with msi=off)
 * @intx:       a doorbell sets a bit in Status and, if Mask allows it, raises pin A; only for
 *              revision 0 without vectors
 * @bar2_32bit: BAR 2 is a 32-bit BAR (use64=0 of revision 0), so memory_len must be below 2^32
 * @memory_len: length of BAR 2 in bytes, a power of two of at least 4096
 * @name:       name of the region; NULL or "": none
 * @uuid:       IVS_PCI_UUID_LEN bytes, or NULL. Without a name and a UUID the function does not
 *              have the capability of R-9
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
 * struct ivs_pci_function - public only so that it can be embedded; its members are private
 * @options:  the options, with the pointers set to NULL
 * @config:   configuration space, except Interrupt Status, which depends on @status and @mask
 * @writable: the bits of @config that can be written
 * @table:    the MSI-X table, 16 bytes per vector
 * @pba:      offset of the pending bits in BAR 1
 * @bar1_len: length of BAR 1 in bytes, a power of two
 * @pending:  bitmap of the vectors that are pending
 * @routed:   bitmap of the vectors that have a route
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
 * @rung: the register was written; if an access wrote it several times, @peer and @vector are from
 *        the last of these writes
 */
struct ivs_pci_ring {
	bool rung;
	unsigned int peer;
	unsigned int vector;
};

/** ivs_pci_check_name() - check the name of a region. Return: 0, IVS_PCI_E_OPTIONS. */
IVS_MUST_USE int ivs_pci_check_name(const char *name, struct ivs_error *err);

/** ivs_pci_init() - check the options, set the power-on state. Return: 0, IVS_PCI_E_OPTIONS. */
IVS_MUST_USE int ivs_pci_init(struct ivs_pci_function *function,
			      const struct ivs_pci_function_options *options,
			      struct ivs_error *err);

/**
 * ivs_pci_reset() - reset configuration space, table, Mask, Status and pending bits
 *
 * Neither the id nor the routes, which belong to the VMM, change.
 */
void ivs_pci_reset(struct ivs_pci_function *function);

/** ivs_pci_space_len() - length of @space; 0 for an unknown space, and for BAR 1 without vectors */
size_t ivs_pci_space_len(const struct ivs_pci_function *function, unsigned int space);

/**
 * ivs_pci_read() - read @len bytes at @offset; all zeroes if they are not within @space
 *
 * @function is not const, because reading Status clears it.
 */
void ivs_pci_read(struct ivs_pci_function *function, enum ivs_pci_space space, size_t offset,
		  void *out, size_t len);

/**
 * ivs_pci_write() - write @len bytes at @offset; no effect if they are not within @space
 * @ring: set to the doorbell that the write rings, if any
 */
void ivs_pci_write(struct ivs_pci_function *function, enum ivs_pci_space space, size_t offset,
		   const void *in, size_t len, struct ivs_pci_ring *ring);

/**
 * ivs_pci_set_memory_len() - change the length of BAR 2; only between a reset and the next access
 *
 * Return: 0; IVS_PCI_E_OPTIONS: the length is invalid, and nothing has changed.
 */
IVS_MUST_USE int ivs_pci_set_memory_len(struct ivs_pci_function *function, uint64_t len,
					struct ivs_error *err);

/** ivs_pci_set_id() - set IVPosition to an id, or to -1 (revision 0 without a server) */
void ivs_pci_set_id(struct ivs_pci_function *function, int id);

/**
 * ivs_pci_doorbell() - receive a doorbell on @vector
 *
 * With options.intx, any vector sets bit 0 of Status. Otherwise the vector becomes pending, unless
 * MSI-X is disabled or the vector does not exist.
 */
void ivs_pci_doorbell(struct ivs_pci_function *function, unsigned int vector);

/** ivs_pci_route() - add or remove the route of @vector; no effect if it does not exist */
void ivs_pci_route(struct ivs_pci_function *function, unsigned int vector, bool routed);

/**
 * ivs_pci_next_vector() - get the lowest vector to be sent, and clear its pending bit
 *
 * Return: whether there is such a vector.
 */
IVS_MUST_USE bool ivs_pci_next_vector(struct ivs_pci_function *function, unsigned int *vector);

/** ivs_pci_has_pin() - whether configuration space shows a pin, even if options.intx is not set */
static inline bool ivs_pci_has_pin(const struct ivs_pci_function *function)
{
	return function->options.revision == IVS_PCI_REVISION_LEGACY;
}

/** ivs_pci_intx() - whether the pin is raised: Status & Mask is not 0, and INTx is not disabled */
bool ivs_pci_intx(const struct ivs_pci_function *function);

/*
 * The state that is migrated consists of everything that a guest can change, and of the pending
 * bits. It contains neither routes nor the id, which a server assigns. Format: see state.c.
 */

/** ivs_pci_state_len() - length of the state in bytes; depends only on the options */
size_t ivs_pci_state_len(const struct ivs_pci_function *function);

/** ivs_pci_save() - write the state: ivs_pci_state_len() bytes */
void ivs_pci_save(const struct ivs_pci_function *function, uint8_t *out);

/**
 * ivs_pci_load() - load a state that a device with the same options saved
 *
 * @in is not trusted. Loading can raise interrupts, so fetch them afterwards.
 *
 * Return: 0; IVS_PCI_E_STATE: nothing has changed.
 */
IVS_MUST_USE int ivs_pci_load(struct ivs_pci_function *function, const uint8_t *in, size_t len,
			      struct ivs_error *err);

#endif
