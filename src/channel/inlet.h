/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An inlet: the reader's side of a lane in another peer's section.
 */
#ifndef IVS_CHANNEL_INLET_H
#define IVS_CHANNEL_INLET_H

#include "channel/channels.h"

/**
 * struct ivs_inlet - a reader's endpoint, and the lane that it reads
 * @index:       place in this peer's table of endpoints
 * @writer:      the writer's endpoint
 * @writer_life: life of the writer's section
 * @shared:      other readers may read the lane as well: its writer accepts none of them
 * @claimed:     no other reader may read the lane later, even if this one reads nothing
 * @untold:      released messages of which a sleeping writer has not been told
 * @accepted:    the writer has said that this is its reader
 * @broken:      the writer has stored an impossible value
 * @in_row:      number of messages that were released without finding the lane empty
 */
struct ivs_inlet {
	struct ivs_channels *channels;
	unsigned int index;
	uint32_t incarnation;
	struct ivs_endpoint_ref writer;
	uint64_t writer_life;
	struct ivs_lane_reader lane;
	bool shared;
	bool claimed;
	bool untold;
	bool accepted;
	bool broken;
	uint32_t in_row;
};

/**
 * ivs_inlet_open() - read the lane of another peer's endpoint, from its first message on
 * @view:    a copy of the endpoint
 * @borrows: tell a publisher that this reader wants to borrow buffers
 *
 * Return: 0, IVS_CHANNEL_E_FULL.
 */
IVS_MUST_USE int ivs_inlet_open(struct ivs_inlet *inlet, struct ivs_channels *channels,
				const struct ivs_endpoint_ref *writer, uint64_t writer_life,
				const struct ivs_endpoint_view *view, bool borrows);

/** ivs_inlet_close() - stop reading; the writer sees the end */
void ivs_inlet_close(struct ivs_inlet *inlet);

/**
 * ivs_inlet_peek() - find the next message, without waiting
 *
 * Return: 0; IVS_CHANNEL_E_TIMEOUT: none; IVS_CHANNEL_E_ENDED: the writer has closed the lane, left
 * or died, and all its messages have been read, or it has another reader; IVS_CHANNEL_E_BROKEN,
 * _SECTION.
 */
IVS_MUST_USE int ivs_inlet_peek(struct ivs_inlet *inlet, const void **message, uint32_t *len);

/**
 * ivs_inlet_peek_ahead() - find the message that follows @ahead others, the first of which
 * ivs_inlet_peek() has found
 *
 * Return: false if it has not arrived, or is not right, which ivs_inlet_peek() will tell.
 */
IVS_MUST_USE bool ivs_inlet_peek_ahead(const struct ivs_inlet *inlet, uint64_t ahead,
				       const void **message, uint32_t *len);

/** ivs_inlet_publish() - publish the position of a reader that the writer does not wait for */
void ivs_inlet_publish(const struct ivs_inlet *inlet);

/** ivs_inlet_has_ended() - whether the writer will write nothing more */
IVS_MUST_USE bool ivs_inlet_has_ended(const struct ivs_inlet *inlet);

/**
 * ivs_inlet_is_read() - whether a lane has a reader, or one that has perhaps read from it
 * @life: life of the writer's section
 */
IVS_MUST_USE bool ivs_inlet_is_read(const struct ivs_channels *channels,
				    const struct ivs_endpoint_ref *writer, uint64_t life);

/**
 * ivs_inlet_is_intact() - whether the memory of the lane has not been used for anything else
 *
 * A message that was copied before the call is the one that was sent, unless a peer is hostile. The
 * memory is reused if another peer takes the writer's section.
 */
IVS_MUST_USE bool ivs_inlet_is_intact(const struct ivs_inlet *inlet);

/** ivs_inlet_is_complete() - whether the writer has ended the lane with ivs_outlet_end() */
IVS_MUST_USE bool ivs_inlet_is_complete(const struct ivs_inlet *inlet);

/** ivs_inlet_release() - give back the message that ivs_inlet_peek() found */
void ivs_inlet_release(struct ivs_inlet *inlet);

/**
 * ivs_inlet_set_sleeps() - publish whether this peer sleeps until the writer commits something
 *
 * Return: whether the writer knows this reader and can ring, and so will ring it.
 */
bool ivs_inlet_set_sleeps(struct ivs_inlet *inlet, bool sleeps);

#endif
