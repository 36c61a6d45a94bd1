/* SPDX-License-Identifier: BSD-3-Clause */
/* Accepting streams. stream.c has the theory of operation. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "channel/claim.h"
#include "channel/stream.h"

#define OFFERS_MAX 8
#define LINGERING_MAX 8 /* offers to one section that it has neither completed nor left */
#define UNREAD_MAX 16	/* closed streams of one section that it has not closed */
#define OFFER_NS (2 * IVS_NS_PER_S) /* after this time an offer makes way for another peer's */

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

static struct ivs_stream_listener *listener_of(struct ivs_channel *channel)
{
	return (struct ivs_stream_listener *)channel;
}

/* Return: whether the other side has completed an offer, or is gone. */
static bool is_settled(struct ivs_stream *offer, bool *completed)
{
	/* Look for the end first: the other side can end the stream only after completing it. */
	bool ended = ivs_inlet_has_ended(&offer->inlet);
	int result = ivs_outlet_update(&offer->outlet);

	*completed = ivs_outlet_has_reader(&offer->outlet);
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
 * makes way. A peer that ends its connectors without noting their reader (C-10), or does not close
 * streams that this peer has closed, does not get all endpoints of this peer.
 */
static struct ivs_stream **place_for(struct ivs_stream_listener *listener, unsigned int section)
{
	struct ivs_channels *channels = listener->base.channels;
	struct ivs_stream **place = NULL;
	int64_t now_ns = ivs_clock_ns();

	if (ivs_channels_lingering_from(channels, section, IVS_ROLE_READER) >= LINGERING_MAX ||
	    ivs_channels_lingering_from(channels, section, IVS_ROLE_ACCEPTOR) >= UNREAD_MAX)
		return NULL;
	for (unsigned int i = 0; i < OFFERS_MAX; i++) {
		struct ivs_stream *offer = listener->offers[i];
		bool completed;

		if (offer && offer->inlet.writer.section == section)
			return NULL;
		if (!offer || (now_ns - offer->offered_ns > OFFER_NS && !place &&
			       (!is_settled(offer, &completed) || !completed)))
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
	int result = ivs_stream_new(listener->base.channels, &listener->opts, &outlet, &stream);

	if (!result) {
		result = ivs_stream_open_inlet(stream, connector, life, view);
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

		if (ivs_inlet_is_read(channels, &at, life))
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
	struct ivs_stream *stream;
	int result;

	if (channel->channels->lost)
		return IVS_CHANNEL_E_SECTION;
	stream = settle_offers(listener);
	if (!stream) {
		result = make_offers(listener);
		if (result)
			return result;
		stream = settle_offers(listener);
	}
	if (!stream)
		return IVS_CHANNEL_E_TIMEOUT;
	stream->is_held = true;
	attempt->memory = stream;
	return 0;
}

/* The other side of an offer rings when it completes it, because that opens an inlet. */
static bool listener_set_sleeps(struct ivs_channel *channel, bool sleeps)
{
	(void)sleeps;
	return ivs_presence_can_ring(&channel->channels->presence);
}

static bool has_settled(const struct ivs_stream_listener *listener)
{
	bool completed;

	for (unsigned int i = 0; i < OFFERS_MAX; i++) {
		if (listener->offers[i] && is_settled(listener->offers[i], &completed))
			return true;
	}
	return false;
}

static bool listener_is_ready(struct ivs_channel *channel)
{
	struct ivs_stream_listener *listener = listener_of(channel);

	return has_settled(listener) || make_offers(listener) || has_settled(listener);
}

/* An error is returned when the application accepts the stream. */
static void listener_offer(struct ivs_channel *channel)
{
	(void)make_offers(listener_of(channel));
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
	listener->base.offer = listener_offer;
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
