/* SPDX-License-Identifier: BSD-3-Clause */
/* The peer with the lower letter listens. */
#include <string.h>

#include "load.h"

static void stream_open(struct load *load, struct flow *flow)
{
	if (own < flow->peer)
		check(load, "cannot listen",
		      ivs_stream_listen(channels, name_of(load, own, flow->peer), NULL,
					&flow->listener));
	else
		check(load, "cannot connect",
		      ivs_stream_begin_connect(channels, name_of(load, flow->peer, own), NULL,
					       &flow->stream));
}

/* Return: 0 if the flow has a stream. */
static int stream_get(struct flow *flow)
{
	return flow->stream ? 0 : ivs_stream_accept(flow->listener, &flow->stream, 0);
}

/* Return: 0 if nothing is left to write. */
static int stream_write(struct flow *flow)
{
	struct bytes *bytes = &flow->written;
	size_t n;
	int result = stream_get(flow);

	while (!result && bytes->at < bytes->end) {
		result = ivs_stream_write(flow->stream, bytes->data + bytes->at,
					  bytes->end - bytes->at, &n, 0);
		bytes->at += n;
	}
	return result;
}

/* Each write takes at least a slot, of which a stream has few: so collect records. */
static int stream_send(struct load *load, struct flow *flow)
{
	struct bytes *bytes = &flow->written;
	struct record record;
	int result = 0;

	(void)load;
	if (bytes->at || bytes->end + sizeof(record) > sizeof(bytes->data))
		result = stream_write(flow);
	if (result)
		return result;
	if (bytes->at)
		bytes->at = bytes->end = 0;
	record_fill(&record, own, flow->peer, flow->out.n);
	memcpy(bytes->data + bytes->end, &record, record_len(flow->out.n));
	bytes->end += record_len(flow->out.n);
	tally_add(&flow->out, &record, flow->out.n);
	return 0;
}

static int stream_receive(struct load *load, struct flow *flow)
{
	struct bytes *bytes = &flow->read;
	size_t len = record_len(flow->in.n);
	size_t n;
	int result = bytes->end - bytes->at < len ? stream_get(flow) : 0;

	while (!result && bytes->end - bytes->at < len) {
		memmove(bytes->data, bytes->data + bytes->at, bytes->end - bytes->at);
		bytes->end -= bytes->at;
		bytes->at = 0;
		result = ivs_stream_read(flow->stream, bytes->data + bytes->end,
					 sizeof(bytes->data) - bytes->end, &n, 0);
		bytes->end += n;
	}
	if (result)
		return result;
	take(load, flow, own, flow->in.n, bytes->data + bytes->at, len);
	bytes->at += len;
	return 0;
}

/* Both sides have read everything when each has read the other's end. */
static int stream_settle(struct load *load, struct flow *flow)
{
	char byte;
	size_t got;
	int result = stream_write(flow);

	if (result)
		return result;
	ivs_stream_shutdown(flow->stream);
	if (flow->in.n != load->count)
		return IVS_CHANNEL_E_TIMEOUT;
	if (flow->read.at < flow->read.end)
		fail(load, "there are bytes after the last record", 0);
	if (!ivs_stream_is_complete(flow->stream)) {
		result = ivs_stream_read(flow->stream, &byte, 1, &got, 0);
		if (!result)
			fail(load, "there are bytes after the last record", 0);
		if (result != IVS_CHANNEL_E_ENDED)
			return result;
		if (!ivs_stream_is_complete(flow->stream))
			fail(load, "the stream is incomplete", result);
	}
	result = ivs_stream_flush(flow->stream, 0);
	return result == IVS_CHANNEL_E_ENDED ? 0 : result; /* the other side was done earlier */
}

static void stream_close(struct load *load, struct flow *flow)
{
	(void)load;
	ivs_stream_close(flow->stream);
	ivs_stream_listener_close(flow->listener);
}

const struct kind stream_kind = {"stream",	stream_open,  stream_send, stream_receive,
				 stream_settle, stream_close, true};
