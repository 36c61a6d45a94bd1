/* SPDX-License-Identifier: BSD-3-Clause */
/* One side of a stream: an outlet and an inlet. stream.c has the theory of operation. */
#ifndef IVS_CHANNEL_STREAM_H
#define IVS_CHANNEL_STREAM_H

#include "channel/inlet.h"
#include "channel/outlet.h"
#include "channel/wait.h"

/**
 * struct ivs_stream - one side of a stream
 * @base:      must be the first member
 * @outlet:    what this side writes
 * @inlet:     what this side reads; its index is 0 until the other side's lane has been found
 * @message:   the message that is being read, or NULL; @at of its @len bytes have been read
 * @shut:      ivs_stream_shutdown() was called
 * @is_held:   the application has the stream
 * @is_new:    it was connected after ivs_stream_begin_connect() had returned, and no wait has ended
 *             for that
 * @ignores_bytes: bytes to read do not end a wait
 * @complete:  ivs_stream_read() has found the end, because the other side has ended its direction
 * @is_gone:   the memory of the other side's lane has another use
 * @wants_room: in ivs_channels_wait(): the last write found the buffer full
 * @offered_ns: when the stream was offered to the other side
 */
struct ivs_stream {
	struct ivs_channel base;
	struct ivs_outlet outlet;
	struct ivs_inlet inlet;
	const uint8_t *message;
	uint32_t at;
	uint32_t len;
	bool shut;
	bool is_held;
	bool is_new;
	bool ignores_bytes;
	bool complete;
	bool is_gone;
	bool wants_room;
	int64_t offered_ns;
};

/**
 * ivs_stream_new() - create a stream with an outlet
 * @outlet: the function sets its size
 *
 * Return: 0, IVS_CHANNEL_E_FULL, -ENOMEM.
 */
IVS_MUST_USE int ivs_stream_new(struct ivs_channels *channels,
				const struct ivs_stream_options *opts,
				struct ivs_outlet_options *outlet, struct ivs_stream **out);

/** ivs_stream_open_inlet() - read the other side's lane. Return: 0, IVS_CHANNEL_E_FULL. */
IVS_MUST_USE int ivs_stream_open_inlet(struct ivs_stream *stream, const struct ivs_endpoint_ref *at,
				       uint64_t life, const struct ivs_endpoint_view *view);

#endif
