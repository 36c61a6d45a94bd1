/* SPDX-License-Identifier: BSD-3-Clause */
/* How fast endpoints of a region move, from what two readings of their positions have in common. */
#ifndef TOOLS_IVSHMEM_CHANNELS_RATES_H
#define TOOLS_IVSHMEM_CHANNELS_RATES_H

#include "tools/ivshmem/channels_read.h"

struct channels_mark;

/**
 * struct channels_rates - the last reading of each endpoint; start from zeroes
 * @marks: of all endpoints, section by section; NULL: no rates are wanted
 */
struct channels_rates {
	struct channels_mark *marks;
};

/** channels_rates_init() - read the positions of all endpoints. Return: 0, -ENOMEM */
IVS_MUST_USE int channels_rates_init(struct channels_rates *rates,
				     const struct channels_region *region);

/**
 * channels_rates_next() - read the position of an endpoint again
 *
 * Return: messages per second since the last reading. -1 if that is unknown, because the endpoint
 * has no position, its section has another holder, the endpoint has another use, or its position
 * has gone backwards or farther than any peer can have moved it.
 */
IVS_MUST_USE double channels_rates_next(struct channels_rates *rates,
					const struct channels_region *region, unsigned int section,
					unsigned int index);

void channels_rates_deinit(struct channels_rates *rates);

/** channels_rates_wait() - wait for @interval_s, while the peer learns who joins and leaves */
void channels_rates_wait(struct ivs_peer *peer, unsigned int interval_s);

#endif
