/* SPDX-License-Identifier: BSD-3-Clause */
/* The two kinds of struct ivs_queue: a sender has an outlet, a receiver has an inlet per sender. */
#ifndef IVS_CHANNEL_QUEUE_H
#define IVS_CHANNEL_QUEUE_H

#include "channel/outlet.h"
#include "channel/receiver.h"
#include "channel/wait.h"

/**
 * struct ivs_queue - one of the two
 * @base: must be the first member
 */
struct ivs_queue {
	struct ivs_channel base;
	bool sends;
	uint32_t message_max;
	union {
		struct ivs_outlet outlet;
		struct ivs_receiver receiver;
	};
};

#endif
