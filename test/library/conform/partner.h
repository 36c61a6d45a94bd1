/* SPDX-License-Identifier: BSD-3-Clause */
/* The partner's channels: partner_channel.c serves the requests about channels and queues. */
#ifndef CONFORM_PARTNER_H
#define CONFORM_PARTNER_H

#include <ivshmem/channel.h>

#include "mailbox.h"

#define QUEUES_MAX 2 /* of a slot */
#define ABANDONED_MAX 16

/** struct partner_channels - the channels of one of the partner's peers */
struct partner_channels {
	struct ivs_channels *channels;
	struct ivs_queue *queues[QUEUES_MAX];
};

/* Channels that were abandoned, where the leak checker finds them. */
extern struct partner_channels partner_abandoned[ABANDONED_MAX];

/* Serve a request about the channels of @peer. */
void partner_channels_answer(struct partner_channels *own, struct ivs_peer *peer,
			     struct mailbox *mailbox);

/* Forget open channels, as if the process had been killed; the caller closes the peer. */
void partner_channels_abandon(struct partner_channels *own);

#endif
