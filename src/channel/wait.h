/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls that wait: what all kinds of channels have in common. */
#ifndef IVS_CHANNEL_WAIT_H
#define IVS_CHANNEL_WAIT_H

#include "channel/channels.h"

/**
 * struct ivs_channel - an open queue, stream or listener
 * @next:       the next one of the same peer
 * @is_waiting: ivs_channels_wait() waits for it
 * @set_sleeps: publish whether this peer sleeps until the other side rings it. Return: whether the
 *              other side knows that, and will ring
 * @waits:      whether ivs_channels_wait() should wait for the channel; NULL: always
 * @offer:      listener: offer streams to the peers that connect; otherwise NULL
 * @is_ready:   whether a call that has returned IVS_CHANNEL_E_TIMEOUT would return something else
 */
struct ivs_channel {
	struct ivs_channels *channels;
	struct ivs_channel *next;
	bool is_waiting;
	bool (*set_sleeps)(struct ivs_channel *channel, bool sleeps);
	bool (*waits)(struct ivs_channel *channel);
	void (*offer)(struct ivs_channel *channel);
	bool (*is_ready)(struct ivs_channel *channel);
};

/** ivs_channel_add() - add a channel to those that ivs_channels_wait() waits for */
void ivs_channel_add(struct ivs_channel *channel, struct ivs_channels *channels);

void ivs_channel_remove(struct ivs_channel *channel);

/**
 * struct ivs_attempt - what a call waits for
 * @run:    try it once. Return: 0, IVS_CHANNEL_E_TIMEOUT (not yet), another IVS_CHANNEL_E_*
 * @memory, @message, @len: set by a successful attempt, unless @memory says where to copy to
 * @room:   bytes that fit at @memory
 */
struct ivs_attempt {
	int (*run)(struct ivs_channel *channel, struct ivs_attempt *attempt);
	void *memory;
	const void *message;
	uint32_t len;
	size_t room;
};

/**
 * ivs_channel_await() - repeat an attempt until it succeeds or fails, or the time limit expires
 * @timeout_ms: 0: once; -1: no limit
 *
 * Return: the attempt's result; IVS_CHANNEL_E_TIMEOUT, _SECTION, _PEER, -errno (-EINTR).
 */
IVS_MUST_USE int ivs_channel_await(struct ivs_channel *channel, struct ivs_attempt *attempt,
				   int timeout_ms);

#endif
