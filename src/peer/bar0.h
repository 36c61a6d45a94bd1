/* SPDX-License-Identifier: BSD-3-Clause */
/* BAR 0 of a guest's device (PROTOCOL.md, R-3 and R-4), mapped by the transport. */
#ifndef IVS_PEER_BAR0_H
#define IVS_PEER_BAR0_H

#include "peer/private.h"

/** struct ivs_bar0 - BAR 0; @base is NULL if it is not mapped */
struct ivs_bar0 {
	volatile uint32_t *base;
	size_t len;
};

/** ivs_bar0_map() - map a page of @fd at @offset. Return: 0 or -errno. */
IVS_MUST_USE int ivs_bar0_map(struct ivs_bar0 *bar0, int fd, uint64_t offset);

/** ivs_bar0_unmap() - unmap BAR 0; no-op if it is not mapped */
void ivs_bar0_unmap(struct ivs_bar0 *bar0);

/** ivs_bar0_id() - read the register IVPosition */
uint32_t ivs_bar0_id(const struct ivs_bar0 *bar0);

/** ivs_bar0_doorbell() - set up @doorbell to ring by a store to the register Doorbell */
void ivs_bar0_doorbell(const struct ivs_bar0 *bar0, struct ivs_doorbell *doorbell);

/**
 * ivs_bar0_allow() - allow or deny the capabilities that depend only on the kind of device
 * @bdf:          PCI address of the device, for messages
 * @has_doorbell: false for ivshmem-plain
 * @position:     value of the register IVPosition
 *
 * Return: 0; IVS_PEER_E_TIMEOUT: the device has not been assigned an id yet.
 */
IVS_MUST_USE int ivs_bar0_allow(struct ivs_peer *peer, const char *bdf, bool has_doorbell,
				uint32_t position, struct ivs_error *err);

#endif
