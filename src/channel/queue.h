/* SPDX-License-Identifier: BSD-3-Clause */
/* The two kinds of struct ivs_queue: a sender has an outlet, a receiver has an inlet per sender. */
#ifndef IVS_CHANNEL_QUEUE_H
#define IVS_CHANNEL_QUEUE_H

#include "channel/outlet.h"
#include "channel/receiver.h"

/** struct ivs_queue - one of the two */
struct ivs_queue {
	struct ivs_channels *channels;
	struct ivs_queue *next;
	bool sends;
	uint32_t message_max;
	union {
		struct ivs_outlet outlet;
		struct ivs_receiver receiver;
	};
};

#endif
