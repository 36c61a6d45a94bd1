/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A stream has two lanes, one in the section of each side. The side that
 * connects publishes a connector: a lane with the name of the listener. The listener opens an inlet
 * on it, and publishes an acceptor: a lane whose target is the connector. The connecting side opens
 * an inlet on that. The stream is accepted when the listener sees that inlet: from then on, each
 * side knows the reader of its lane. Until then the listener (listener.c) keeps it as an offer.
 *
 * Bytes are messages of up to the length of a slot; the borders between messages have no meaning.
 */
#include "channel/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel/shared.h"

#define SLOTS_N 16
#define CHUNK_MIN 56 /* a slot of one cache line */
#define CHUNK_MAX (64 * 1024 - IVS_LANE_HEAD_LEN)
#define BUFFER_DIVISOR 16

static struct ivs_stream *stream_of(struct ivs_channel *channel)
{
	return (struct ivs_stream *)channel;
}

/* Streams */

static bool stream_set_sleeps(struct ivs_channel *channel, bool sleeps)
{
	struct ivs_stream *stream = stream_of(channel);

	ivs_outlet_set_sleeps(&stream->outlet, sleeps);
	if (!stream->inlet.index) /* a listener rings when it opens its inlet, if it can */
		return ivs_presence_can_ring(&channel->channels->presence);
	return ivs_inlet_set_sleeps(&stream->inlet, sleeps && !stream->ignores_bytes) &&
	       ivs_outlet_will_be_rung(&stream->outlet);
}

static int peek(struct ivs_stream *stream)
{
	const void *message;
	int result;

	if (stream->message)
		return 0;
	if (stream->is_gone)
		return IVS_CHANNEL_E_ENDED;
	result = ivs_inlet_peek(&stream->inlet, &message, &stream->len);
	if (result)
		return result;
	if (!stream->len) /* ivs_stream_write() writes at least one byte */
		return IVS_CHANNEL_E_BROKEN;
	stream->message = message;
	stream->at = 0;
	return 0;
}

static bool stream_is_ready(struct ivs_channel *channel);

/* Not for a stream that is inside ivs_stream_connect(), or has not been accepted. */
static bool stream_waits(struct ivs_channel *channel)
{
	struct ivs_stream *stream = stream_of(channel);

	stream->wants_room = !stream->shut && ivs_outlet_is_full(&stream->outlet);
	return stream->is_held;
}

/* Return: false if the buffer would have more slots than possible. */
static bool choose_size(const struct ivs_channels *channels, const struct ivs_stream_options *opts,
			struct ivs_outlet_options *out)
{
	uint64_t len = opts ? opts->buffer_len : 0;
	uint64_t chunk;

	if (!len)
		len = channels->layout.section_len / BUFFER_DIVISOR;
	out->slots_n = SLOTS_N;
	while ((len - 1) / out->slots_n >= CHUNK_MAX) {
		if (out->slots_n == IVS_LANE_SLOTS_MAX)
			return false;
		out->slots_n *= 2;
	}
	chunk = (len - 1) / out->slots_n + 1;
	out->message_len = chunk < CHUNK_MIN ? CHUNK_MIN : (uint32_t)chunk;
	return true;
}

int ivs_stream_new(struct ivs_channels *channels, const struct ivs_stream_options *opts,
		   struct ivs_outlet_options *outlet, struct ivs_stream **out)
{
	struct ivs_stream *stream = calloc(1, sizeof(*stream));
	int result = IVS_CHANNEL_E_FULL;

	if (!stream)
		return -ENOMEM;
	if (choose_size(channels, opts, outlet))
		result = ivs_outlet_open(&stream->outlet, channels, outlet);
	if (result) {
		free(stream);
		return result;
	}
	stream->base.set_sleeps = stream_set_sleeps;
	stream->base.waits = stream_waits;
	stream->base.is_ready = stream_is_ready;
	ivs_channel_add(&stream->base, channels);
	*out = stream;
	return 0;
}

void ivs_stream_close(struct ivs_stream *stream)
{
	if (!stream)
		return;
	ivs_channel_remove(&stream->base);
	/* If the other side finds the end, and still a reader, this side was only shut down. */
	if (stream->inlet.index)
		ivs_inlet_close(&stream->inlet);
	ivs_outlet_close(&stream->outlet);
	free(stream);
}

void ivs_stream_abort(struct ivs_stream *stream)
{
	if (!stream)
		return;
	ivs_channel_remove(&stream->base);
	if (stream->inlet.index)
		ivs_inlet_close(&stream->inlet);
	ivs_outlet_abort(&stream->outlet);
	free(stream);
}

void ivs_stream_shutdown(struct ivs_stream *stream)
{
	if (!stream->shut && stream->inlet.index)
		ivs_outlet_end(&stream->outlet);
	stream->shut = true; /* a listener does not see a connector that has ended: end it later */
}

int ivs_stream_open_inlet(struct ivs_stream *stream, const struct ivs_endpoint_ref *at,
			  uint64_t life, const struct ivs_endpoint_view *view)
{
	int result = ivs_inlet_open(&stream->inlet, stream->base.channels, at, life, view, false);

	if (result) {
		stream->inlet.index = 0;
		return result;
	}
	stream->inlet.claimed = true;
	return 0;
}

/* Connecting */

/* The acceptor may have closed its side already: then it has left something to read, or nothing. */
static int find_acceptor(struct ivs_stream *stream)
{
	struct ivs_channels *channels = stream->base.channels;
	struct ivs_endpoint_ref own = ivs_channels_ref(channels, stream->outlet.index,
						       stream->outlet.incarnation);
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;
	int result = ivs_outlet_update(&stream->outlet);

	if (!ivs_outlet_has_reader(&stream->outlet))
		return IVS_CHANNEL_E_TIMEOUT; /* no listener has seen it yet */
	for (; ivs_channels_find(channels, IVS_ROLE_ACCEPTOR, NULL, true, &at, &life, &view);
	     at.index++) {
		if (at.section == stream->outlet.reader.section &&
		    view.target_life == channels->life &&
		    ivs_endpoint_ref_pack(&view.target) == ivs_endpoint_ref_pack(&own))
			return ivs_stream_open_inlet(stream, &at, life, &view);
	}
	return result ? result : IVS_CHANNEL_E_TIMEOUT;
}

/* Return: 0: the stream is connected; as find_acceptor(). */
static int complete(struct ivs_stream *stream)
{
	int result;

	if (stream->inlet.index)
		return 0;
	if (stream->base.channels->lost)
		return IVS_CHANNEL_E_SECTION;
	result = find_acceptor(stream);
	if (result)
		return result;
	stream->is_new = true;
	if (stream->shut)
		ivs_outlet_end(&stream->outlet);
	return 0;
}

static int try_connect(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	(void)attempt;
	return complete(stream_of(channel));
}

static bool stream_is_ready(struct ivs_channel *channel)
{
	struct ivs_stream *stream = stream_of(channel);
	void *memory;

	if (complete(stream) != IVS_CHANNEL_E_TIMEOUT && (!stream->inlet.index || stream->is_new)) {
		stream->is_new = false;
		return true;
	}
	if (!stream->inlet.index)
		return false;
	return (!stream->ignores_bytes && peek(stream) != IVS_CHANNEL_E_TIMEOUT) ||
	       (stream->wants_room &&
		ivs_outlet_reserve(&stream->outlet, &memory) != IVS_CHANNEL_E_TIMEOUT);
}

int ivs_stream_begin_connect(struct ivs_channels *channels, const char *name,
			     const struct ivs_stream_options *opts, struct ivs_stream **out)
{
	struct ivs_outlet_options outlet = {.role = IVS_ROLE_CONNECTOR, .name = name};
	int result = ivs_channels_poll(channels);

	if (result)
		return result;
	if (!ivs_endpoint_name_is_valid(name))
		return IVS_CHANNEL_E_NAME;
	result = ivs_stream_new(channels, opts, &outlet, out);
	if (result)
		return result;
	(*out)->is_held = true;
	ivs_channels_ring_name(channels, IVS_ROLE_LISTENER, name);
	return 0;
}

int ivs_stream_connect(struct ivs_channels *channels, const char *name,
		       const struct ivs_stream_options *opts, struct ivs_stream **out,
		       int timeout_ms)
{
	struct ivs_attempt attempt = {.run = try_connect};
	struct ivs_stream *stream;
	int result = ivs_stream_begin_connect(channels, name, opts, &stream);

	if (result)
		return result;
	result = ivs_channel_await(&stream->base, &attempt, timeout_ms);
	if (result) {
		ivs_stream_close(stream);
		return result;
	}
	stream->is_new = false;
	*out = stream;
	return 0;
}

bool ivs_stream_is_connected(const struct ivs_stream *stream)
{
	return stream->inlet.index;
}

/* Bytes */

static int try_reserve(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	struct ivs_stream *stream = stream_of(channel);
	int result = complete(stream);

	if (!result)
		result = ivs_outlet_check(&stream->outlet);
	return result ? result : ivs_outlet_reserve(&stream->outlet, &attempt->memory);
}

/* Return: 0: the other side reads. */
static int try_reader(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	struct ivs_stream *stream = stream_of(channel);
	int result = complete(stream);

	(void)attempt;
	return result ? result : ivs_outlet_update(&stream->outlet);
}

static size_t chunk_max(const struct ivs_stream *stream)
{
	return stream->outlet.lane.shape.slot_len - IVS_LANE_HEAD_LEN;
}

int ivs_stream_write(struct ivs_stream *stream, const void *bytes, size_t len, size_t *written,
		     int timeout_ms)
{
	struct ivs_attempt attempt = {.run = len ? try_reserve : try_reader};
	const uint8_t *from = bytes;
	int result;

	*written = 0;
	if (stream->shut)
		return IVS_CHANNEL_E_ENDED;
	result = ivs_channel_await(&stream->base, &attempt, timeout_ms);
	while (!result && *written < len) {
		size_t max = chunk_max(stream);
		size_t n = len - *written < max ? len - *written : max;

		memcpy(attempt.memory, from + *written, n);
		ivs_outlet_commit(&stream->outlet, (uint32_t)n);
		*written += n;
		result = ivs_outlet_reserve(&stream->outlet, &attempt.memory);
	}
	return *written ? 0 : result;
}

int ivs_stream_reserve(struct ivs_stream *stream, struct iovec *parts, unsigned int *parts_n,
		       int timeout_ms)
{
	struct ivs_attempt attempt = {.run = try_reserve};
	unsigned int n = 0;
	int result;

	if (stream->shut)
		return IVS_CHANNEL_E_ENDED;
	result = ivs_channel_await(&stream->base, &attempt, timeout_ms);
	if (result)
		return result;
	while (attempt.memory && n < *parts_n) {
		parts[n++] = (struct iovec){attempt.memory, chunk_max(stream)};
		attempt.memory = ivs_lane_reserve_ahead(&stream->outlet.lane, n);
	}
	*parts_n = n;
	return 0;
}

void ivs_stream_commit(struct ivs_stream *stream, size_t len)
{
	while (len && !stream->shut) {
		size_t n = len < chunk_max(stream) ? len : chunk_max(stream);

		ivs_outlet_commit(&stream->outlet, (uint32_t)n);
		len -= n;
	}
}

static int try_flush(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	struct ivs_outlet *outlet = &stream_of(channel)->outlet;
	int result = complete(stream_of(channel));

	(void)attempt;
	if (!result)
		result = ivs_outlet_update(outlet);
	if (!ivs_outlet_unread(outlet))
		return 0;
	return result ? result : IVS_CHANNEL_E_TIMEOUT;
}

int ivs_stream_flush(struct ivs_stream *stream, int timeout_ms)
{
	struct ivs_attempt attempt = {.run = try_flush};

	return ivs_channel_await(&stream->base, &attempt, timeout_ms);
}

static int try_read(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	struct ivs_stream *stream = stream_of(channel);
	int result = complete(stream);

	(void)attempt;
	if (!result)
		result = peek(stream);
	/* A stream that has never been connected ends, too. */
	if (result == IVS_CHANNEL_E_ENDED && stream->inlet.index)
		stream->complete = stream->complete || ivs_inlet_is_complete(&stream->inlet);
	return result;
}

/*
 * The next bytes have been used. The check comes before the release: a peer whose bytes have all
 * been read may leave, and its memory may get other content.
 */
static int consume(struct ivs_stream *stream, size_t len)
{
	if (!ivs_inlet_is_intact(&stream->inlet)) {
		stream->is_gone = true;
		stream->message = NULL;
		return IVS_CHANNEL_E_ENDED;
	}
	stream->at += (uint32_t)len;
	if (stream->at < stream->len)
		return 0;
	stream->message = NULL;
	ivs_inlet_release(&stream->inlet);
	return 0;
}

int ivs_stream_read(struct ivs_stream *stream, void *bytes, size_t len, size_t *got, int timeout_ms)
{
	struct ivs_attempt attempt = {.run = try_read};
	uint8_t *to = bytes;
	int result;

	*got = 0;
	if (!len)
		return 0;
	result = ivs_channel_await(&stream->base, &attempt, timeout_ms);
	while (!result && *got < len) {
		size_t left = stream->len - stream->at;
		size_t n = len - *got < left ? len - *got : left;

		ivs_shared_copy(to + *got, stream->message + stream->at, n);
		result = consume(stream, n);
		if (result)
			break;
		*got += n;
		if (*got < len)
			result = peek(stream);
	}
	return *got ? 0 : result;
}

int ivs_stream_peek(struct ivs_stream *stream, struct iovec *parts, unsigned int *parts_n,
		    int timeout_ms)
{
	struct ivs_attempt attempt = {.run = try_read};
	int result = ivs_channel_await(&stream->base, &attempt, timeout_ms);
	const void *bytes;
	unsigned int n = 0;
	uint32_t len;

	if (!result)
		result = consume(stream, 0); /* since the last call, it may have another use */
	if (result)
		return result;
	bytes = stream->message + stream->at;
	len = stream->len - stream->at;
	do {
		if (n == *parts_n)
			break;
		parts[n++] = (struct iovec){(void *)(uintptr_t)bytes, len};
	} while (ivs_inlet_peek_ahead(&stream->inlet, n, &bytes, &len) && len);
	*parts_n = n;
	return 0;
}

int ivs_stream_release(struct ivs_stream *stream, size_t len)
{
	if (len && !stream->inlet.index)
		return IVS_CHANNEL_E_BROKEN;
	while (len) {
		int result = peek(stream);
		size_t left = stream->len - stream->at;

		if (!result)
			result = consume(stream, len < left ? len : left);
		if (result)
			return result == IVS_CHANNEL_E_TIMEOUT ? IVS_CHANNEL_E_BROKEN : result;
		len -= len < left ? len : left;
	}
	return 0;
}

bool ivs_stream_is_complete(const struct ivs_stream *stream)
{
	return stream->complete;
}

uint32_t ivs_stream_section(const struct ivs_stream *stream)
{
	return stream->inlet.writer.section;
}

void ivs_stream_set_reading(struct ivs_stream *stream, bool reading)
{
	stream->ignores_bytes = !reading;
}
