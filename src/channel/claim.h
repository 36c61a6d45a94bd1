/* SPDX-License-Identifier: BSD-3-Clause */
/* Claiming a name that only one peer may have at a time: the receiver of queues, a listener. */
#ifndef IVS_CHANNEL_CLAIM_H
#define IVS_CHANNEL_CLAIM_H

#include "channel/channels.h"

/**
 * ivs_claim() - claim @name for an endpoint of the peer's section that has been published
 *
 * Return: 0; IVS_CHANNEL_E_BUSY: another peer has the name.
 */
IVS_MUST_USE int ivs_claim(struct ivs_channels *channels, enum ivs_endpoint_role role,
			   const char *name, unsigned int index);

#endif
