/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A stream has two lanes, one in the section of each side. The side that
 * connects publishes a connector: a lane with the name of the listener. The listener opens an inlet
 * on it, and publishes an acceptor: a lane whose target is the connector. The connecting side opens
 * an inlet on that. The stream is accepted when the listener sees that inlet: from then on, each
 * side knows the reader of its lane. Until then the listener keeps it as an offer.
 *
 * Bytes are messages of up to the length of a slot; the borders between messages have no meaning.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "channel/claim.h"
#include "channel/inlet.h"
#include "channel/outlet.h"
#include "channel/wait.h"

#define SLOTS_N 16
#define CHUNK_MIN 56 /* a slot of one cache line */
#define CHUNK_MAX (64 * 1024 - IVS_LANE_HEAD_LEN)
#define BUFFER_DIVISOR 16
#define OFFERS_MAX 8
#define OFFER_NS (2 * IVS_NS_PER_S) /* after this time an offer makes way for another peer's */

/**
 * struct ivs_stream - one side of a stream
 * @base:      must be the first member
 * @outlet:    what this side writes
 * @inlet:     what this side reads; its index is 0 until the other side's lane has been found
 * @message:   the message that is being read, or NULL; @at of its @len bytes have been read
 * @shut:      ivs_stream_shutdown() was called
 * @is_connected: the application has the stream
 * @wants_room: while it sleeps: the last write found the buffer full
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
	bool is_connected;
	bool wants_room;
	int64_t offered_ns;
};

/**
 * struct ivs_stream_listener - accepts streams
 * @base:   must be the first member
 * @index:  place of its endpoint in the table
 * @offers: streams that the other side has not completed yet
 * @opts:   options of its streams
 * @seen:   fingerprint of the sections when connectors were last looked for
 */
struct ivs_stream_listener {
	struct ivs_channel base;
	unsigned int index;
	char name[IVS_SECTION_NAME_MAX + 1];
	struct ivs_stream *offers[OFFERS_MAX];
	struct ivs_stream_options opts;
	uint64_t seen;
};

static struct ivs_stream *stream_of(struct ivs_channel *channel)
{
	return (struct ivs_stream *)channel;
}

static struct ivs_stream_listener *listener_of(struct ivs_channel *channel)
{
	return (struct ivs_stream_listener *)channel;
}

/* Streams */

static bool stream_set_sleeps(struct ivs_channel *channel, bool sleeps)
{
	struct ivs_stream *stream = stream_of(channel);

	stream->wants_room = sleeps && !stream->shut && ivs_outlet_is_full(&stream->outlet);
	ivs_outlet_set_sleeps(&stream->outlet, sleeps);
	if (!stream->inlet.index)
		return true; /* a listener rings when it opens its inlet */
	return ivs_inlet_set_sleeps(&stream->inlet, sleeps) &&
	       ivs_outlet_will_be_rung(&stream->outlet);
}

static int peek(struct ivs_stream *stream)
{
	const void *message;
	int result;

	if (stream->message)
		return 0;
	result = ivs_inlet_peek(&stream->inlet, &message, &stream->len);
	if (result)
		return result;
	if (!stream->len) /* ivs_stream_write() writes at least one byte */
		return IVS_CHANNEL_E_BROKEN;
	stream->message = message;
	stream->at = 0;
	return 0;
}

static bool stream_is_ready(struct ivs_channel *channel)
{
	struct ivs_stream *stream = stream_of(channel);
	void *memory;

	return peek(stream) != IVS_CHANNEL_E_TIMEOUT ||
	       (stream->wants_room &&
		ivs_outlet_reserve(&stream->outlet, &memory) != IVS_CHANNEL_E_TIMEOUT);
}

/* Not for a stream that is being connected, or has not been accepted. */
static bool stream_waits(struct ivs_channel *channel)
{
	return stream_of(channel)->is_connected;
}

static uint32_t chunk_len(const struct ivs_channels *channels,
			  const struct ivs_stream_options *opts)
{
	uint64_t len = opts ? opts->buffer_len : 0;
	uint64_t chunk;

	if (!len)
		len = channels->layout.section_len / BUFFER_DIVISOR;
	chunk = len / SLOTS_N + (len % SLOTS_N > 0);
	return chunk < CHUNK_MIN ? CHUNK_MIN : chunk > CHUNK_MAX ? CHUNK_MAX : (uint32_t)chunk;
}

/* Return: the number of slots for at least the wanted number of bytes; 0: more than possible. */
static uint32_t chunks_n(const struct ivs_stream_options *opts, uint32_t chunk)
{
	uint32_t n = SLOTS_N;

	while (opts && (uint64_t)n * chunk < opts->buffer_len) {
		if (n == IVS_LANE_SLOTS_MAX)
			return 0;
		n *= 2;
	}
	return n;
}

/* Create a stream with an outlet. Return: 0, IVS_CHANNEL_E_FULL, -ENOMEM. */
static int new_stream(struct ivs_channels *channels, const struct ivs_stream_options *opts,
		      struct ivs_outlet_options *outlet, struct ivs_stream **out)
{
	struct ivs_stream *stream = calloc(1, sizeof(*stream));
	int result = IVS_CHANNEL_E_FULL;

	if (!stream)
		return -ENOMEM;
	outlet->message_len = chunk_len(channels, opts);
	outlet->slots_n = chunks_n(opts, outlet->message_len);
	if (outlet->slots_n)
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
	ivs_outlet_close(&stream->outlet);
	if (stream->inlet.index)
		ivs_inlet_close(&stream->inlet);
	free(stream);
}

void ivs_stream_shutdown(struct ivs_stream *stream)
{
	if (!stream->shut)
		ivs_outlet_end(&stream->outlet);
	stream->shut = true;
}

static int open_inlet(struct ivs_stream *stream, const struct ivs_endpoint_ref *at, uint64_t life,
		      const struct ivs_endpoint_view *view)
{
	int result = ivs_inlet_open(&stream->inlet, stream->base.channels, at, life, view);

	if (result) {
		stream->inlet.index = 0;
		return result;
	}
	stream->inlet.claimed = true;
	return 0;
}

/* Connecting */

/* The acceptor may have closed its side already: then it has left something to read, or nothing. */
static int try_connect(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	struct ivs_stream *stream = stream_of(channel);
	struct ivs_channels *channels = channel->channels;
	struct ivs_endpoint_ref own = ivs_channels_ref(channels, stream->outlet.index,
						       stream->outlet.incarnation);
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;
	int result = ivs_outlet_update(&stream->outlet);

	(void)attempt;
	if (!ivs_outlet_will_be_rung(&stream->outlet))
		return IVS_CHANNEL_E_TIMEOUT; /* no listener has seen it yet */
	for (; ivs_channels_find(channels, IVS_ROLE_ACCEPTOR, NULL, true, &at, &life, &view);
	     at.index++) {
		if (at.section == stream->outlet.reader.section &&
		    view.target_life == channels->life &&
		    ivs_endpoint_ref_pack(&view.target) == ivs_endpoint_ref_pack(&own))
			return open_inlet(stream, &at, life, &view);
	}
	return result ? result : IVS_CHANNEL_E_TIMEOUT;
}

int ivs_stream_connect(struct ivs_channels *channels, const char *name,
		       const struct ivs_stream_options *opts, struct ivs_stream **out,
		       int timeout_ms)
{
	struct ivs_outlet_options outlet = {.role = IVS_ROLE_CONNECTOR, .name = name};
	struct ivs_attempt attempt = {.run = try_connect};
	struct ivs_stream *stream;
	int result = ivs_channels_poll(channels);

	if (result)
		return result;
	if (!ivs_endpoint_name_is_valid(name))
		return IVS_CHANNEL_E_NAME;
	result = new_stream(channels, opts, &outlet, &stream);
	if (result)
		return result;
	ivs_channels_ring_name(channels, IVS_ROLE_LISTENER, name);
	result = ivs_channel_await(&stream->base, &attempt, timeout_ms);
	if (result) {
		ivs_stream_close(stream);
		return result;
	}
	stream->is_connected = true;
	*out = stream;
	return 0;
}

/* Listening */

/* Return: whether the other side has completed an offer, or is gone. */
static bool is_settled(struct ivs_stream *offer, bool *completed)
{
	/* Look for the end first: the other side can end the stream only after completing it. */
	bool ended = ivs_inlet_has_ended(&offer->inlet);
	int result = ivs_outlet_update(&offer->outlet);

	*completed = ivs_outlet_will_be_rung(&offer->outlet);
	return *completed || result || ended;
}

/* Return: a stream that the other side has completed; NULL: none. */
static struct ivs_stream *settle_offers(struct ivs_stream_listener *listener)
{
	for (unsigned int i = 0; i < OFFERS_MAX; i++) {
		struct ivs_stream *offer = listener->offers[i];
		bool completed;

		if (!offer || !is_settled(offer, &completed))
			continue;
		listener->offers[i] = NULL;
		listener->seen = 0; /* there is room for another offer */
		if (completed)
			return offer;
		ivs_stream_close(offer);
	}
	return NULL;
}

/*
 * Return: where to keep an offer to the holder of @section; NULL: nowhere now. A section has one
 * offer at a time, so that one peer cannot have them all; and one that is not completed in time
 * makes way.
 */
static struct ivs_stream **place_for(struct ivs_stream_listener *listener, unsigned int section)
{
	struct ivs_stream **place = NULL;
	int64_t now_ns = ivs_clock_ns();

	for (unsigned int i = 0; i < OFFERS_MAX; i++) {
		struct ivs_stream *offer = listener->offers[i];

		if (offer && offer->inlet.writer.section == section)
			return NULL;
		if (!offer || (now_ns - offer->offered_ns > OFFER_NS && !place))
			place = &listener->offers[i];
	}
	if (place && *place) {
		ivs_stream_close(*place);
		*place = NULL;
	}
	return place;
}

/* Return: 0, IVS_CHANNEL_E_FULL, -ENOMEM. */
static int offer_to(struct ivs_stream_listener *listener, struct ivs_stream **place,
		    const struct ivs_endpoint_ref *connector, uint64_t life,
		    const struct ivs_endpoint_view *view)
{
	struct ivs_outlet_options outlet = {
		.role = IVS_ROLE_ACCEPTOR,
		.name = listener->name,
		.target = *connector,
		.target_life = life,
	};
	struct ivs_stream *stream;
	int result = new_stream(listener->base.channels, &listener->opts, &outlet, &stream);

	if (!result) {
		result = open_inlet(stream, connector, life, view);
		if (result)
			ivs_stream_close(stream);
	}
	if (result)
		return result;
	stream->offered_ns = ivs_clock_ns();
	*place = stream;
	return 0;
}

/* Offer streams to the peers that connect. Return: 0, IVS_CHANNEL_E_FULL, -ENOMEM. */
static int make_offers(struct ivs_stream_listener *listener)
{
	struct ivs_channels *channels = listener->base.channels;
	uint64_t seen = ivs_channels_fingerprint(channels);
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	bool postponed = false;
	uint64_t life;
	int result;

	if (seen == listener->seen)
		return 0;
	for (; ivs_channels_find(channels, IVS_ROLE_CONNECTOR, listener->name, false, &at, &life,
				 &view);
	     at.index++) {
		struct ivs_stream **place;

		if (ivs_inlet_is_read(channels, &at))
			continue;
		place = place_for(listener, at.section);
		result = place ? offer_to(listener, place, &at, life, &view) : 0;
		if (result)
			return result;
		postponed = postponed || !place;
	}
	if (!postponed)
		listener->seen = seen;
	return 0;
}

static int try_accept(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	struct ivs_stream_listener *listener = listener_of(channel);
	struct ivs_stream *stream = settle_offers(listener);
	int result;

	if (!stream) {
		result = make_offers(listener);
		if (result)
			return result;
		stream = settle_offers(listener);
	}
	if (!stream)
		return IVS_CHANNEL_E_TIMEOUT;
	stream->is_connected = true;
	attempt->memory = stream;
	return 0;
}

/* The other side of an offer rings when it completes it, because that opens an inlet. */
static bool listener_set_sleeps(struct ivs_channel *channel, bool sleeps)
{
	(void)channel;
	(void)sleeps;
	return true;
}

static bool listener_is_ready(struct ivs_channel *channel)
{
	struct ivs_stream_listener *listener = listener_of(channel);
	bool completed;

	if (make_offers(listener))
		return true;
	for (unsigned int i = 0; i < OFFERS_MAX; i++) {
		if (listener->offers[i] && is_settled(listener->offers[i], &completed))
			return true;
	}
	return false;
}

int ivs_stream_listen(struct ivs_channels *channels, const char *name,
		      const struct ivs_stream_options *opts, struct ivs_stream_listener **out)
{
	struct ivs_endpoint_view view = {.state = {IVS_ROLE_LISTENER, false, 0}};
	struct ivs_stream_listener *listener;
	int result = ivs_channels_poll(channels);

	if (result)
		return result;
	if (!ivs_endpoint_name_is_valid(name))
		return IVS_CHANNEL_E_NAME;
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return -ENOMEM;
	listener->opts = opts ? *opts : (struct ivs_stream_options){0};
	memcpy(listener->name, name, strlen(name));
	memcpy(view.name, name, strlen(name));
	listener->index = ivs_channels_take_endpoint(channels, &view.state.incarnation);
	if (!listener->index) {
		free(listener);
		return IVS_CHANNEL_E_FULL;
	}
	ivs_endpoint_put(ivs_channels_own(channels), listener->index, &view);
	result = ivs_claim(channels, IVS_ROLE_LISTENER, name, listener->index);
	if (result) {
		ivs_channels_give_back(channels, listener->index);
		free(listener);
		return result;
	}
	listener->base.set_sleeps = listener_set_sleeps;
	listener->base.is_ready = listener_is_ready;
	ivs_channel_add(&listener->base, channels);
	*out = listener;
	return 0;
}

void ivs_stream_listener_close(struct ivs_stream_listener *listener)
{
	if (!listener)
		return;
	for (unsigned int i = 0; i < OFFERS_MAX; i++)
		ivs_stream_close(listener->offers[i]);
	ivs_channel_remove(&listener->base);
	ivs_channels_give_back(listener->base.channels, listener->index);
	free(listener);
}

int ivs_stream_accept(struct ivs_stream_listener *listener, struct ivs_stream **out, int timeout_ms)
{
	struct ivs_attempt attempt = {.run = try_accept};
	int result = ivs_channel_await(&listener->base, &attempt, timeout_ms);

	if (!result)
		*out = attempt.memory;
	return result;
}

/* Bytes */

static int try_write(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	return ivs_outlet_reserve(&stream_of(channel)->outlet, &attempt->memory);
}

int ivs_stream_write(struct ivs_stream *stream, const void *bytes, size_t len, size_t *written,
		     int timeout_ms)
{
	struct ivs_attempt attempt = {.run = try_write};
	size_t max = stream->outlet.lane.shape.slot_len - IVS_LANE_HEAD_LEN;
	const uint8_t *from = bytes;
	int result;

	*written = 0;
	if (stream->shut)
		return IVS_CHANNEL_E_ENDED;
	if (!len)
		return 0;
	result = ivs_channel_await(&stream->base, &attempt, timeout_ms);
	while (!result && *written < len) {
		size_t n = len - *written < max ? len - *written : max;

		memcpy(attempt.memory, from + *written, n);
		ivs_outlet_commit(&stream->outlet, (uint32_t)n);
		*written += n;
		result = ivs_outlet_reserve(&stream->outlet, &attempt.memory);
	}
	return *written ? 0 : result;
}

static int try_read(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	(void)attempt;
	return peek(stream_of(channel));
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

		memcpy(to + *got, stream->message + stream->at, n);
		*got += n;
		stream->at += (uint32_t)n;
		if (stream->at < stream->len)
			break;
		stream->message = NULL;
		ivs_inlet_release(&stream->inlet);
		result = peek(stream);
	}
	if (*got && !ivs_inlet_is_intact(&stream->inlet)) {
		*got = 0;
		return IVS_CHANNEL_E_ENDED;
	}
	return *got ? 0 : result;
}

uint32_t ivs_stream_section(const struct ivs_stream *stream)
{
	return stream->inlet.writer.section;
}
