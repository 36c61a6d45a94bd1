/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A topic is a lane whose writer waits for no reader. Before the writer
 * overwrites a slot, it marks the slot, so a subscriber that has copied a message can tell whether
 * the copy is complete. A subscriber that is too far behind continues with a message that is still
 * there, and counts those that it has missed.
 *
 * The publisher looks for subscribers at most once in a millisecond, and keeps their references
 * behind its slots. A subscriber that finds its own reference there will be rung; until then it
 * sleeps for short times only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel/inlet.h"
#include "channel/outlet.h"
#include "channel/shared.h"
#include "channel/wait.h"

#define MESSAGES_DEFAULT 16
#define MESSAGE_LEN_DEFAULT 1024
#define NOT_RUNG UINT64_MAX
/* How often to try again in one call if the publisher overtakes the subscriber each time. */
#define LOOKS_MAX 8
#define COPIES_MAX 64

/**
 * struct subscription - a subscriber that a publisher knows
 * @ref:     its endpoint, a reader; its index is 0 if the place is free
 * @life:    life of its section
 * @rung_at: its position when it was last rung
 */
struct subscription {
	struct ivs_endpoint_ref ref;
	uint64_t life;
	uint64_t rung_at;
};

struct publisher {
	struct ivs_outlet outlet;
	struct subscription subscriptions[IVS_SUBSCRIBERS_MAX];
	unsigned int end; /* places from this one on are free */
	uint64_t seen;	  /* fingerprint when subscribers were last looked for */
};

struct subscriber {
	unsigned int index; /* of its own endpoint, which has its name */
	char name[IVS_SECTION_NAME_MAX + 1];
	struct ivs_subscriber_options opts;
	struct ivs_inlet inlet; /* its index is 0 while there is no publisher */
	uint64_t refs_at;	/* offset of the publisher's references from its section */
	uint64_t missed;
	uint64_t seen;
	struct ivs_endpoint_ref broken; /* the publisher that stored impossible values last */
	uint64_t broken_life;
	int unreported; /* a result that the application has not been told */
};

/**
 * struct ivs_topic - one of the two
 * @base: must be the first member
 */
struct ivs_topic {
	struct ivs_channel base;
	bool publishes;
	uint32_t message_max;
	union {
		struct publisher publisher;
		struct subscriber subscriber;
	};
};

static struct ivs_topic *topic_of(struct ivs_channel *channel)
{
	return (struct ivs_topic *)channel;
}

/* Publishing */

static uint64_t *refs_of(const struct publisher *publisher)
{
	const struct ivs_lane_writer *lane = &publisher->outlet.lane;

	return (uint64_t *)(void *)(lane->slots + ivs_lane_len(&lane->shape));
}

static const uint64_t *word_of(const struct ivs_topic *topic, const struct subscription *at,
			       enum ivs_endpoint_word word)
{
	const void *section = ivs_channels_at(topic->base.channels, at->ref.section);

	return ivs_section_foreign(section, at->ref.index) + word;
}

static void forget(struct publisher *publisher, unsigned int i)
{
	publisher->subscriptions[i].ref.index = 0;
	ivs_shared_store(&refs_of(publisher)[i], 0);
	while (publisher->end && !publisher->subscriptions[publisher->end - 1].ref.index)
		publisher->end--;
}

static void add(struct publisher *publisher, const struct ivs_endpoint_ref *ref, uint64_t life)
{
	unsigned int place = IVS_SUBSCRIBERS_MAX;

	for (unsigned int i = IVS_SUBSCRIBERS_MAX; i--;) {
		const struct subscription *at = &publisher->subscriptions[i];

		if (!at->ref.index)
			place = i;
		else if (ivs_endpoint_ref_pack(&at->ref) == ivs_endpoint_ref_pack(ref))
			return;
	}
	if (place == IVS_SUBSCRIBERS_MAX)
		return;
	publisher->subscriptions[place] = (struct subscription){*ref, life, NOT_RUNG};
	if (place >= publisher->end)
		publisher->end = place + 1;
	ivs_shared_publish(&refs_of(publisher)[place], ivs_endpoint_ref_pack(ref));
}

static bool is_subscribed(const struct ivs_channels *channels, const struct subscription *known)
{
	struct ivs_endpoint_state state = ivs_endpoint_get_state(
		ivs_channels_at(channels, known->ref.section), known->ref.index);

	return state.role == IVS_ROLE_READER && state.incarnation == known->ref.incarnation &&
	       ivs_presence_is_active(&channels->presence, known->ref.section, known->life);
}

/* Forget the subscribers that are gone, and find new ones. */
static void find_subscribers(struct ivs_topic *topic)
{
	struct publisher *publisher = &topic->publisher;
	struct ivs_channels *channels = topic->base.channels;
	struct ivs_endpoint_ref own = ivs_channels_ref(channels, publisher->outlet.index,
						       publisher->outlet.incarnation);
	uint64_t seen = ivs_channels_fingerprint(channels);
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;

	if (seen == publisher->seen)
		return;
	publisher->seen = seen;
	for (unsigned int i = 0; i < IVS_SUBSCRIBERS_MAX; i++) {
		if (publisher->subscriptions[i].ref.index &&
		    !is_subscribed(channels, &publisher->subscriptions[i]))
			forget(publisher, i);
	}
	for (; ivs_channels_find(channels, IVS_ROLE_READER, NULL, false, &at, &life, &view);
	     at.index++) {
		if (ivs_endpoint_ref_pack(&view.target) == ivs_endpoint_ref_pack(&own) &&
		    view.target_life == channels->life)
			add(publisher, &at, life);
	}
}

/* As the wake() of outlet.c: once for each position, so that a hostile subscriber costs no more. */
static void wake(struct ivs_topic *topic, struct subscription *at)
{
	uint64_t position;

	if (!at->ref.index || ivs_shared_load(word_of(topic, at, IVS_ENDPOINT_SLEEPS)) !=
				      ivs_endpoint_sleeps(at->ref.incarnation, true))
		return;
	position = ivs_shared_load(word_of(topic, at, IVS_ENDPOINT_POSITION));
	if (position == at->rung_at || position == topic->publisher.outlet.lane.position)
		return;
	at->rung_at = position;
	ivs_channels_ring(topic->base.channels, at->ref.section);
}

static int new_topic(struct ivs_channels *channels, const char *name, struct ivs_topic **out)
{
	int result = ivs_channels_poll(channels);

	if (result)
		return result;
	if (!ivs_endpoint_name_is_valid(name))
		return IVS_CHANNEL_E_NAME;
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

static bool publisher_waits(struct ivs_channel *channel)
{
	(void)channel;
	return false;
}

int ivs_topic_open_publisher(struct ivs_channels *channels, const char *name,
			     const struct ivs_topic_options *opts, struct ivs_topic **out)
{
	struct ivs_outlet_options outlet = {.role = IVS_ROLE_PUBLISHER, .name = name};
	struct ivs_topic *topic;
	int result;

	outlet.message_len = opts && opts->message_len ? opts->message_len : MESSAGE_LEN_DEFAULT;
	outlet.slots_n = ivs_lane_slots_for(opts && opts->messages_n ? opts->messages_n
								     : MESSAGES_DEFAULT);
	if (outlet.message_len > IVS_CHANNEL_MESSAGE_MAX)
		return IVS_CHANNEL_E_TOO_LONG;
	result = new_topic(channels, name, &topic);
	if (result)
		return result;
	result = outlet.slots_n ? ivs_outlet_open(&topic->publisher.outlet, channels, &outlet)
				: IVS_CHANNEL_E_FULL;
	if (result) {
		free(topic);
		return result;
	}
	for (unsigned int i = 0; i < IVS_SUBSCRIBERS_MAX; i++)
		ivs_shared_store(&refs_of(&topic->publisher)[i], 0);
	topic->publishes = true;
	topic->message_max = outlet.message_len;
	topic->base.waits = publisher_waits;
	ivs_channel_add(&topic->base, channels);
	ivs_channels_ring_name(channels, IVS_ROLE_SUBSCRIBER, name);
	*out = topic;
	return 0;
}

void *ivs_topic_reserve(struct ivs_topic *topic)
{
	/* The memory is another peer's then. */
	if (topic->base.channels->lost)
		return NULL;
	return ivs_lane_begin(&topic->publisher.outlet.lane);
}

void ivs_topic_commit(struct ivs_topic *topic, size_t len)
{
	struct publisher *publisher = &topic->publisher;
	struct ivs_lane_writer *lane = &publisher->outlet.lane;
	uint64_t *own = ivs_section_endpoint(ivs_channels_own(topic->base.channels),
					     publisher->outlet.index);

	if (topic->base.channels->lost)
		return;
	ivs_lane_commit(lane, (uint32_t)len);
	ivs_shared_publish(&own[IVS_ENDPOINT_POSITION], lane->position);
	if (!ivs_channels_poll_sometimes(topic->base.channels))
		find_subscribers(topic);
	for (unsigned int i = 0; i < publisher->end; i++)
		wake(topic, &publisher->subscriptions[i]);
}

int ivs_topic_publish(struct ivs_topic *topic, const void *message, size_t len)
{
	void *memory;

	if (len > topic->message_max)
		return IVS_CHANNEL_E_TOO_LONG;
	memory = ivs_topic_reserve(topic);
	if (!memory)
		return IVS_CHANNEL_E_SECTION;
	if (len)
		memcpy(memory, message, len);
	ivs_topic_commit(topic, len);
	return 0;
}

/* Subscribing */

static uint64_t published_n(const struct subscriber *subscriber)
{
	const void *section = ivs_channels_at(subscriber->inlet.channels,
					      subscriber->inlet.writer.section);

	return ivs_shared_load(ivs_section_foreign(section, subscriber->inlet.writer.index) +
			       IVS_ENDPOINT_POSITION);
}

static bool is_broken(const struct subscriber *subscriber, const struct ivs_endpoint_ref *publisher,
		      uint64_t life)
{
	return subscriber->broken_life == life &&
	       ivs_endpoint_ref_pack(&subscriber->broken) == ivs_endpoint_ref_pack(publisher);
}

/* Return: false if there is no publisher, or only one that is broken. */
static bool find_publisher(const struct ivs_topic *topic, struct ivs_endpoint_ref *at,
			   uint64_t *life, struct ivs_endpoint_view *view)
{
	const struct subscriber *subscriber = &topic->subscriber;

	for (; ivs_channels_find(topic->base.channels, IVS_ROLE_PUBLISHER, subscriber->name, false,
				 at, life, view);
	     at->index++) {
		if (!is_broken(subscriber, at, *life))
			return true;
	}
	return false;
}

/* Find a publisher. Return: 0, IVS_CHANNEL_E_TIMEOUT, _FULL, _SECTION. */
static int subscribe(struct ivs_topic *topic)
{
	struct subscriber *subscriber = &topic->subscriber;
	struct ivs_channels *channels = topic->base.channels;
	uint64_t seen = ivs_channels_fingerprint(channels);
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;
	int result;

	if (channels->lost)
		return IVS_CHANNEL_E_SECTION;
	if (seen == subscriber->seen)
		return IVS_CHANNEL_E_TIMEOUT;
	if (!find_publisher(topic, &at, &life, &view)) {
		subscriber->seen = seen;
		return IVS_CHANNEL_E_TIMEOUT;
	}
	result = ivs_inlet_open(&subscriber->inlet, channels, &at, life, &view);
	if (result) {
		subscriber->inlet.index = 0;
		return result;
	}
	subscriber->inlet.shared = true;
	subscriber->refs_at = view.at + ivs_lane_len(&view.shape);
	subscriber->inlet.lane.position = published_n(subscriber);
	if (subscriber->opts.last && subscriber->inlet.lane.position)
		subscriber->inlet.lane.position--;
	ivs_inlet_publish(&subscriber->inlet);
	return 0;
}

static void unsubscribe(struct ivs_topic *topic)
{
	ivs_inlet_close(&topic->subscriber.inlet);
	topic->subscriber.inlet.index = 0;
	topic->subscriber.seen = 0;
}

/*
 * Skip messages that are gone, or older ones if only the newest is wanted. Return: false if the
 * publisher says that there are no newer ones.
 */
static bool skip(struct subscriber *subscriber)
{
	struct ivs_lane_reader *lane = &subscriber->inlet.lane;
	uint64_t behind = published_n(subscriber) - lane->position;
	uint64_t kept = subscriber->opts.newest ? 1 : lane->shape.slots_n / 2;

	if (behind > INT64_MAX || behind <= kept)
		return false;
	lane->position += behind - kept;
	subscriber->missed += behind - kept;
	ivs_inlet_publish(&subscriber->inlet);
	return true;
}

/* Return: 0 (with @message NULL: look again), IVS_CHANNEL_E_*. */
static int look(struct subscriber *subscriber, const void **message, uint32_t *len)
{
	struct ivs_inlet *inlet = &subscriber->inlet;
	int result = ivs_lane_peek(&inlet->lane, message, len);

	if (result == IVS_LANE_E_EMPTY) {
		if (!ivs_inlet_has_ended(inlet))
			return IVS_CHANNEL_E_TIMEOUT;
		/* What the publisher committed before its end is visible now. */
		result = ivs_lane_peek(&inlet->lane, message, len);
		if (result == IVS_LANE_E_EMPTY)
			return IVS_CHANNEL_E_ENDED;
	}
	if (!result)
		return 0;
	*message = NULL;
	/* A number more than 2^31 messages ahead looks as if it were behind, and so broken. */
	if (skip(subscriber))
		return 0;
	return ivs_inlet_is_intact(inlet) ? IVS_CHANNEL_E_BROKEN : IVS_CHANNEL_E_ENDED;
}

static int peek(struct ivs_topic *topic, const void **message, uint32_t *len)
{
	struct subscriber *subscriber = &topic->subscriber;
	int result = subscriber->unreported;

	subscriber->unreported = 0;
	if (result)
		return result;
	if (!subscriber->inlet.index) {
		result = subscribe(topic);
		if (result)
			return result;
	}
	if (subscriber->opts.newest)
		(void)skip(subscriber);
	*message = NULL;
	for (unsigned int i = 0; i < LOOKS_MAX && !result && !*message; i++)
		result = look(subscriber, message, len);
	if (result == IVS_CHANNEL_E_BROKEN) {
		subscriber->broken = subscriber->inlet.writer;
		subscriber->broken_life = subscriber->inlet.writer_life;
	}
	if (result && result != IVS_CHANNEL_E_TIMEOUT)
		unsubscribe(topic);
	return result || *message ? result : IVS_CHANNEL_E_TIMEOUT;
}

static bool subscriber_set_sleeps(struct ivs_channel *channel, bool sleeps)
{
	struct subscriber *subscriber = &topic_of(channel)->subscriber;
	struct ivs_inlet *inlet = &subscriber->inlet;
	const uint64_t *refs;
	struct ivs_endpoint_ref own;

	if (!inlet->index) /* a publisher that opens rings all subscribers, if it can */
		return ivs_presence_can_ring(&channel->channels->presence);
	(void)ivs_inlet_set_sleeps(inlet, sleeps);
	if (!ivs_channels_is_ringer(channel->channels, inlet->writer.section))
		return false;
	refs = (const uint64_t *)(const void *)((const uint8_t *)ivs_channels_at(
							channel->channels, inlet->writer.section) +
						subscriber->refs_at);
	own = ivs_channels_ref(channel->channels, inlet->index, inlet->incarnation);
	for (unsigned int i = 0; sleeps && i < IVS_SUBSCRIBERS_MAX; i++) {
		if (ivs_shared_load(&refs[i]) == ivs_endpoint_ref_pack(&own))
			return true;
	}
	return false;
}

static bool subscriber_is_ready(struct ivs_channel *channel)
{
	struct ivs_topic *topic = topic_of(channel);
	const void *message;
	uint32_t len;
	int result = peek(topic, &message, &len);

	if (result && result != IVS_CHANNEL_E_TIMEOUT)
		topic->subscriber.unreported = result;
	return result != IVS_CHANNEL_E_TIMEOUT;
}

int ivs_topic_open_subscriber(struct ivs_channels *channels, const char *name,
			      const struct ivs_subscriber_options *opts, struct ivs_topic **out)
{
	struct ivs_endpoint_view view = {.state = {IVS_ROLE_SUBSCRIBER, false, 0}};
	struct ivs_topic *topic;
	int result = new_topic(channels, name, &topic);

	if (result)
		return result;
	memcpy(topic->subscriber.name, name, strlen(name));
	memcpy(view.name, name, strlen(name));
	topic->subscriber.index = ivs_channels_take_endpoint(channels, &view.state.incarnation);
	if (!topic->subscriber.index) {
		free(topic);
		return IVS_CHANNEL_E_FULL;
	}
	ivs_endpoint_put(ivs_channels_own(channels), topic->subscriber.index, &view);
	if (opts)
		topic->subscriber.opts = *opts;
	topic->base.set_sleeps = subscriber_set_sleeps;
	topic->base.is_ready = subscriber_is_ready;
	ivs_channel_add(&topic->base, channels);
	result = subscribe(topic);
	if (result == IVS_CHANNEL_E_FULL)
		topic->subscriber.unreported = result;
	*out = topic;
	return 0;
}

/* Subscribers can still receive the last messages, until the memory gets another use. */
static void close_publisher(struct ivs_topic *topic)
{
	struct publisher *publisher = &topic->publisher;

	(void)!ivs_channels_poll(topic->base.channels);
	if (topic->base.channels->lost)
		return; /* and write nothing */
	find_subscribers(topic);
	ivs_outlet_end(&publisher->outlet);
	for (unsigned int i = 0; i < publisher->end; i++) {
		if (publisher->subscriptions[i].ref.index)
			ivs_channels_ring(topic->base.channels,
					  publisher->subscriptions[i].ref.section);
	}
	ivs_channels_linger(topic->base.channels, publisher->outlet.index, IVS_ROLE_PUBLISHER,
			    publisher->outlet.incarnation);
}

static void close_subscriber(struct ivs_topic *topic)
{
	if (topic->subscriber.inlet.index)
		unsubscribe(topic);
	ivs_channels_give_back(topic->base.channels, topic->subscriber.index);
}

void ivs_topic_close(struct ivs_topic *topic)
{
	if (!topic)
		return;
	ivs_channel_remove(&topic->base);
	if (topic->publishes)
		close_publisher(topic);
	else
		close_subscriber(topic);
	free(topic);
}

static int try_peek(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	return peek(topic_of(channel), &attempt->message, &attempt->len);
}

/* The publisher may overwrite the message at any time. Return: 0, IVS_LANE_E_LAPPED. */
static int copy(struct subscriber *subscriber, const struct ivs_attempt *attempt, void *buffer,
		size_t room)
{
	if (attempt->len && attempt->len <= room)
		memcpy(buffer, attempt->message, attempt->len);
	if (ivs_lane_is_intact(&subscriber->inlet.lane))
		return 0;
	(void)skip(subscriber);
	return IVS_LANE_E_LAPPED;
}

int ivs_topic_receive(struct ivs_topic *topic, void *buffer, size_t room, size_t *len,
		      int timeout_ms)
{
	struct subscriber *subscriber = &topic->subscriber;
	struct ivs_attempt attempt = {.run = try_peek};
	unsigned int tries = 0;
	int result;

	do {
		if (tries++ == COPIES_MAX)
			return IVS_CHANNEL_E_TIMEOUT;
		result = ivs_channel_await(&topic->base, &attempt, timeout_ms);
		if (result)
			return result;
		timeout_ms = 0; /* a publisher that overwrites it must not make this call wait */
	} while (copy(subscriber, &attempt, buffer, room));
	*len = attempt.len;
	if (*len > room)
		return IVS_CHANNEL_E_TOO_LONG;
	if (!ivs_inlet_is_intact(&subscriber->inlet)) {
		unsubscribe(topic);
		return IVS_CHANNEL_E_ENDED;
	}
	ivs_lane_release(&subscriber->inlet.lane);
	ivs_inlet_publish(&subscriber->inlet);
	return 0;
}

uint64_t ivs_topic_missed(const struct ivs_topic *topic)
{
	return topic->publishes ? 0 : topic->subscriber.missed;
}
