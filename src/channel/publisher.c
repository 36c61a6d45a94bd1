/* SPDX-License-Identifier: BSD-3-Clause */
/* The writer's side of a topic: see topic.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/copy.h"
#include "channel/outlet.h"
#include "channel/pool.h"
#include "channel/shared.h"
#include "channel/topic.h"

#define MESSAGES_DEFAULT 16
#define MESSAGE_LEN_DEFAULT 1024
#define BORROWERS_DEFAULT 2
#define LOANS_DEFAULT 2 /* a message can be used until the next one has been borrowed */
#define NOT_RUNG UINT64_MAX

/**
 * struct subscription - a subscriber that a publisher knows
 * @ref:     its endpoint, a reader; its index is 0 if the place is free
 * @life:    life of its section
 * @sleeps:  its word that says whether it sleeps, which is looked at for each message
 * @asleep:  what that word contains if it sleeps
 * @rung_at: its position when it was last rung
 * @in_doubt: its peer has left, unless the leave was that of a former peer with the same id
 */
struct subscription {
	struct ivs_endpoint_ref ref;
	uint64_t life;
	const uint64_t *sleeps;
	uint64_t asleep;
	uint64_t rung_at;
	bool in_doubt;
};

/**
 * struct publisher - a topic's writer
 * @subscriptions: those of borrowers come first
 * @end:           places from this one on are free
 * @borrowers_n:   number of borrowers among them
 * @seen:          fingerprint when subscribers were last looked for
 * @turn:          turn of events after which they were last looked for
 * @item:          in the slot of the reserved message; NULL: no message is reserved
 * @buffer:        number of its buffer
 */
struct publisher {
	struct ivs_topic topic;
	struct ivs_outlet outlet;
	struct ivs_pool pool;
	uint32_t message_max;
	struct subscription subscriptions[IVS_SUBSCRIBERS_MAX];
	unsigned int end;
	unsigned int borrowers_n;
	uint64_t seen;
	uint64_t turn;
	uint64_t *item;
	uint32_t buffer;
};

static struct publisher *publisher_of(struct ivs_topic *topic)
{
	return (struct publisher *)topic;
}

static struct ivs_channels *channels_of(const struct publisher *publisher)
{
	return publisher->topic.base.channels;
}

static uint64_t *refs_of(const struct publisher *publisher)
{
	const struct ivs_lane_writer *lane = &publisher->outlet.lane;

	return (uint64_t *)(void *)(lane->slots + ivs_lane_len(&lane->shape));
}

static const uint64_t *word_of(const struct publisher *publisher,
			       const struct ivs_endpoint_ref *ref, unsigned int word)
{
	const void *section = ivs_channels_at(channels_of(publisher), ref->section);

	return ivs_section_foreign(section, ref->index) + word;
}

/* Knowing the subscribers */

static void forget(struct publisher *publisher, unsigned int i)
{
	publisher->subscriptions[i].ref.index = 0;
	ivs_shared_store(&refs_of(publisher)[i], 0);
	publisher->borrowers_n -= i < publisher->pool.shape.borrowers_n;
	while (publisher->end && !publisher->subscriptions[publisher->end - 1].ref.index)
		publisher->end--;
}

/* Return: IVS_SUBSCRIBERS_MAX: it is not known. */
static unsigned int place_of(const struct publisher *publisher, const struct ivs_endpoint_ref *ref)
{
	for (unsigned int i = 0; i < publisher->end; i++) {
		const struct subscription *at = &publisher->subscriptions[i];

		if (at->ref.index && ivs_endpoint_ref_pack(&at->ref) == ivs_endpoint_ref_pack(ref))
			return i;
	}
	return IVS_SUBSCRIBERS_MAX;
}

/* One section gets at most half of the places for borrowers. */
static bool may_borrow(const struct publisher *publisher, unsigned int section)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < publisher->pool.shape.borrowers_n; i++) {
		const struct subscription *at = &publisher->subscriptions[i];

		n += at->ref.index && !at->in_doubt && at->ref.section == section;
	}
	return n < (publisher->pool.shape.borrowers_n + 1) / 2;
}

/* Return: the first place from @from on, and before @end, that is free or in doubt; or @end. */
static unsigned int find_place(struct publisher *publisher, unsigned int from, unsigned int end)
{
	unsigned int doubtful = end;

	for (unsigned int i = from; i < end; i++) {
		if (!publisher->subscriptions[i].ref.index)
			return i;
		if (publisher->subscriptions[i].in_doubt)
			doubtful = i;
	}
	if (doubtful < end)
		forget(publisher, doubtful);
	return doubtful;
}

/* Return: a place for a subscriber: the first ones are for those that borrow. */
static unsigned int free_place(struct publisher *publisher, unsigned int section, bool borrows)
{
	unsigned int borrowers_n = publisher->pool.shape.borrowers_n;
	unsigned int place = borrowers_n;

	if (borrows && may_borrow(publisher, section))
		place = find_place(publisher, 0, borrowers_n);
	return place < borrowers_n ? place
				   : find_place(publisher, borrowers_n, IVS_SUBSCRIBERS_MAX);
}

static void add(struct publisher *publisher, const struct ivs_endpoint_ref *ref, uint64_t life,
		bool borrows)
{
	unsigned int borrowers_n = publisher->pool.shape.borrowers_n;
	unsigned int former = place_of(publisher, ref);
	unsigned int place;

	if (former == IVS_SUBSCRIBERS_MAX) {
		place = free_place(publisher, ref->section, borrows);
		if (place == IVS_SUBSCRIBERS_MAX)
			return;
	} else {
		if (former < borrowers_n || !borrows || !may_borrow(publisher, ref->section))
			return;
		place = find_place(publisher, 0, borrowers_n);
		if (place == borrowers_n)
			return;
		forget(publisher, former); /* it has no loans yet, and can have some now */
	}
	publisher->subscriptions[place] = (struct subscription){
		.ref = *ref,
		.life = life,
		.sleeps = word_of(publisher, ref, IVS_ENDPOINT_SLEEPS),
		.asleep = ivs_endpoint_sleeps(ref->incarnation, true),
		.rung_at = NOT_RUNG,
	};
	publisher->borrowers_n += place < publisher->pool.shape.borrowers_n;
	if (place >= publisher->end)
		publisher->end = place + 1;
	ivs_shared_publish(&refs_of(publisher)[place], ivs_endpoint_ref_pack(ref));
}

/*
 * A leave that is processed late does not end the subscription of the next peer with the id, whose
 * join follows: its loans would be forgotten meanwhile. So its place is in doubt until the join, or
 * until another subscriber needs it.
 */
static bool is_subscribed(const struct ivs_channels *channels, struct subscription *known)
{
	const void *section = ivs_channels_at(channels, known->ref.section);
	struct ivs_endpoint_state state = ivs_endpoint_get_state(section, known->ref.index);

	if (state.role != IVS_ROLE_READER || state.closed ||
	    state.incarnation != known->ref.incarnation)
		return false;
	known->in_doubt = !ivs_presence_is_active(&channels->presence, known->ref.section,
						  known->life);
	return !known->in_doubt ||
	       ivs_presence_may_return(&channels->presence, known->ref.section, known->life);
}

/* Forget the subscribers that are gone, and find new ones. */
static void find_subscribers(struct publisher *publisher)
{
	struct ivs_channels *channels = channels_of(publisher);
	struct ivs_endpoint_ref own = ivs_channels_ref(channels, publisher->outlet.index,
						       publisher->outlet.incarnation);
	uint64_t seen = ivs_channels_fingerprint(channels);
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;

	publisher->turn = channels->presence.turns;
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
			add(publisher, &at, life, view.borrows);
	}
}

/*
 * It sleeps. As the wake() of outlet.c: ring it once for each position, so that a hostile
 * subscriber costs no more.
 */
static void wake(struct publisher *publisher, struct subscription *at)
{
	uint64_t position;

	position = ivs_shared_load(word_of(publisher, &at->ref, IVS_ENDPOINT_POSITION));
	if (position == at->rung_at || position == publisher->outlet.lane.position)
		return;
	at->rung_at = position;
	ivs_channels_ring(channels_of(publisher), at->ref.section);
}

/* Opening and closing */

/* Subscribers can still receive the last messages, until the memory is reused. */
static void close_publisher(struct ivs_topic *topic)
{
	struct publisher *publisher = publisher_of(topic);
	struct ivs_channels *channels = topic->base.channels;

	(void)!ivs_channels_poll(channels);
	if (!channels->lost)
		find_subscribers(publisher);
	ivs_pool_deinit(&publisher->pool);
	if (channels->lost)
		return; /* and write nothing */
	ivs_outlet_end(&publisher->outlet);
	for (unsigned int i = 0; i < publisher->end; i++) {
		if (publisher->subscriptions[i].ref.index)
			ivs_channels_ring(channels, publisher->subscriptions[i].ref.section);
	}
	ivs_channels_linger(channels, publisher->outlet.index, IVS_ROLE_PUBLISHER,
			    publisher->outlet.incarnation);
}

static bool publisher_waits(struct ivs_channel *channel)
{
	(void)channel;
	return false;
}

static uint32_t value_or(uint32_t value, uint32_t otherwise)
{
	return value ? value : otherwise;
}

/* Return: 0, IVS_CHANNEL_E_TOO_LONG, _FULL. */
static int choose_size(const struct ivs_topic_options *given, struct ivs_outlet_options *out)
{
	const struct ivs_topic_options none = {0};
	const struct ivs_topic_options *opts = given ? given : &none;
	uint32_t message_len = value_or(opts->message_len, MESSAGE_LEN_DEFAULT);

	if (message_len > IVS_CHANNEL_MESSAGE_MAX)
		return IVS_CHANNEL_E_TOO_LONG;
	out->message_len = IVS_POOL_ITEM_LEN;
	out->slots_n = ivs_lane_slots_for(value_or(opts->messages_n, MESSAGES_DEFAULT));
	out->pool = (struct ivs_pool_shape){
		.buffer_len = ivs_pool_buffer_len(message_len),
		.borrowers_n = value_or(opts->borrowers_n, BORROWERS_DEFAULT),
		.loans_n = value_or(opts->loans_n, LOANS_DEFAULT),
	};
	if (!out->slots_n || !ivs_pool_is_possible(&out->pool))
		return IVS_CHANNEL_E_FULL;
	return 0;
}

int ivs_topic_open_publisher(struct ivs_channels *channels, const char *name,
			     const struct ivs_topic_options *opts, struct ivs_topic **out)
{
	struct ivs_outlet_options outlet = {.role = IVS_ROLE_PUBLISHER, .name = name};
	struct publisher *publisher;
	int result = choose_size(opts, &outlet);

	if (!result)
		result = ivs_topic_check(channels, name);
	if (result)
		return result;
	publisher = calloc(1, sizeof(*publisher));
	if (!publisher)
		return -ENOMEM;
	result = ivs_outlet_open(&publisher->outlet, channels, &outlet);
	if (result) {
		free(publisher);
		return result;
	}
	/* Only now is the number of buffers known to be reasonable. */
	if (!ivs_pool_init(&publisher->pool, &outlet.pool, outlet.slots_n)) {
		ivs_outlet_abort(&publisher->outlet);
		free(publisher);
		return -ENOMEM;
	}
	publisher->message_max = opts ? value_or(opts->message_len, MESSAGE_LEN_DEFAULT)
				      : MESSAGE_LEN_DEFAULT;
	publisher->topic.publishes = true;
	publisher->topic.close = close_publisher;
	publisher->topic.base.waits = publisher_waits;
	ivs_channel_add(&publisher->topic.base, channels);
	ivs_channels_ring_name(channels, IVS_ROLE_SUBSCRIBER, name);
	*out = &publisher->topic;
	return 0;
}

/* Publishing */

/* The slot has been marked. Load what is borrowed after that: see topic.h. */
static void find_loans(struct publisher *publisher)
{
	const struct ivs_pool_shape *shape = &publisher->pool.shape;

	ivs_pool_begin(&publisher->pool);
	/* Long messages may be written with non-temporal stores, which only a fence orders. */
	if (publisher->borrowers_n || shape->buffer_len >= IVS_POOL_PAGE_LEN)
		ivs_shared_fence();
	for (unsigned int i = 0; i < shape->borrowers_n && i < publisher->end; i++) {
		const struct subscription *at = &publisher->subscriptions[i];

		for (unsigned int j = 0; at->ref.index && j < shape->loans_n; j++)
			ivs_pool_add_loan(&publisher->pool,
					  ivs_shared_load(word_of(publisher, &at->ref,
								  IVS_ENDPOINT_LOANS + j)));
	}
}

void *ivs_topic_reserve(struct ivs_topic *topic)
{
	struct publisher *publisher = publisher_of(topic);
	const struct ivs_lane_writer *lane = &publisher->outlet.lane;
	uint8_t *section = ivs_channels_own(topic->base.channels);

	/* The memory is another peer's then. */
	if (topic->base.channels->lost)
		return NULL;
	if (!publisher->item) {
		publisher->item = ivs_lane_begin(lane);
		find_loans(publisher);
		publisher->buffer = ivs_pool_take(
			&publisher->pool, (uint32_t)lane->position & (lane->shape.slots_n - 1));
		/* Subscribers that copy the buffer find the mark after the copy. */
		ivs_shared_begin_reuse();
	}
	return section + publisher->outlet.pool_at +
	       (uint64_t)publisher->buffer * publisher->pool.shape.buffer_len;
}

void ivs_topic_commit(struct ivs_topic *topic, size_t len)
{
	struct publisher *publisher = publisher_of(topic);
	struct ivs_lane_writer *lane = &publisher->outlet.lane;
	uint64_t *own = ivs_channels_own_word(topic->base.channels, publisher->outlet.index,
					      IVS_ENDPOINT_POSITION);

	if (topic->base.channels->lost || !publisher->item)
		return;
	ivs_shared_store(publisher->item, ivs_pool_item(publisher->buffer, (uint32_t)len));
	publisher->item = NULL;
	ivs_lane_commit(lane, IVS_POOL_ITEM_LEN);
	ivs_shared_publish(own, lane->position);
	(void)!ivs_channels_poll_sometimes(topic->base.channels);
	if (publisher->turn != topic->base.channels->presence.turns)
		find_subscribers(publisher);
	for (unsigned int i = 0; i < publisher->end; i++) {
		struct subscription *at = &publisher->subscriptions[i];

		if (at->ref.index && ivs_shared_load(at->sleeps) == at->asleep)
			wake(publisher, at);
	}
}

int ivs_topic_publish(struct ivs_topic *topic, const void *message, size_t len)
{
	void *memory;

	if (len > publisher_of(topic)->message_max)
		return IVS_CHANNEL_E_TOO_LONG;
	memory = ivs_topic_reserve(topic);
	if (!memory)
		return IVS_CHANNEL_E_SECTION;
	ivs_copy_for_others(memory, message, len);
	ivs_topic_commit(topic, len);
	return 0;
}
