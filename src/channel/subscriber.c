/* SPDX-License-Identifier: BSD-3-Clause */
/* The reader's side of a topic: see topic.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel/inlet.h"
#include "channel/pool.h"
#include "channel/shared.h"
#include "channel/topic.h"

/* How often to try again in one call if the publisher overtakes the subscriber each time. */
#define LOOKS_MAX 8
#define COPIES_MAX 64
#define COPIED_MAX (4u << 20) /* bytes; but a message is copied at least twice */

/**
 * struct loan - a message that has been borrowed
 * @message: where it is
 * @copy:    the private copy, to be freed; NULL: it is in place
 * @index:   own endpoint that says what is borrowed
 * @word:    which word of that endpoint, from IVS_ENDPOINT_LOANS on
 */
struct loan {
	struct loan *next;
	const void *message;
	void *copy;
	unsigned int index;
	unsigned int word;
};

/**
 * struct subscriber - a topic's reader
 * @index:       of its own endpoint that has its name
 * @is_early:    it was opened before the publisher that it finds next, so no message is older
 * @inlet:       its index is 0 while there is no publisher
 * @refs:        the publisher's references
 * @pool:        the publisher's buffers: their shape, and where they are
 * @broken:      the publisher that stored impossible values last, in the life @broken_life
 * @unreported:  a result that the application has not been told
 * @former:      the publisher whose end was noticed last, in its life @former_life
 * @former_at:   position that was reached in its lane
 */
struct subscriber {
	struct ivs_topic topic;
	unsigned int index;
	bool is_early;
	char name[IVS_SECTION_NAME_MAX + 1];
	struct ivs_subscriber_options opts;
	struct ivs_inlet inlet;
	const uint64_t *refs;
	struct ivs_pool_shape pool;
	const uint8_t *buffers;
	struct loan *loans;
	uint64_t missed;
	uint64_t seen;
	struct ivs_endpoint_ref broken;
	uint64_t broken_life;
	int unreported;
	struct ivs_endpoint_ref former;
	uint64_t former_life;
	uint64_t former_at;
};

static struct subscriber *subscriber_of(struct ivs_topic *topic)
{
	return (struct subscriber *)topic;
}

static struct ivs_channels *channels_of(const struct subscriber *subscriber)
{
	return subscriber->topic.base.channels;
}

/* Finding a publisher */

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
static bool find_publisher(const struct subscriber *subscriber, struct ivs_endpoint_ref *at,
			   uint64_t *life, struct ivs_endpoint_view *view)
{
	for (; ivs_channels_find(channels_of(subscriber), IVS_ROLE_PUBLISHER, subscriber->name,
				 false, at, life, view);
	     at->index++) {
		if (!is_broken(subscriber, at, *life))
			return true;
	}
	return false;
}

/* Also one of a peer that seems to be gone, because its join has not been processed yet. */
static bool has_publisher(const struct subscriber *subscriber)
{
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;

	for (; ivs_channels_find(channels_of(subscriber), IVS_ROLE_PUBLISHER, subscriber->name,
				 true, &at, &life, &view);
	     at.index++) {
		if (!view.state.closed)
			return true;
	}
	return false;
}

/*
 * Return: the position of the first message to receive. A leave that is processed late seems to end
 * the next publisher with the id. It is found again after its join, and continued.
 */
static uint64_t first_position(const struct subscriber *subscriber)
{
	const struct ivs_inlet *inlet = &subscriber->inlet;
	uint64_t published = published_n(subscriber);

	if (subscriber->former_life == inlet->writer_life &&
	    ivs_endpoint_ref_pack(&subscriber->former) == ivs_endpoint_ref_pack(&inlet->writer))
		return subscriber->former_at;
	if (subscriber->is_early)
		return 0;
	return subscriber->opts.last && published ? published - 1 : published;
}

static void begin_reading(struct subscriber *subscriber, const struct ivs_endpoint_view *view)
{
	const uint8_t *section = ivs_channels_at(channels_of(subscriber),
						 subscriber->inlet.writer.section);
	struct ivs_lane_reader *lane = &subscriber->inlet.lane;

	subscriber->inlet.shared = true;
	subscriber->refs = (const uint64_t *)(const void *)(lane->slots +
							    ivs_lane_len(&lane->shape));
	subscriber->pool = view->pool;
	subscriber->buffers = section + view->pool_at;
	lane->position = first_position(subscriber);
	ivs_inlet_publish(&subscriber->inlet);
}

/* Find a publisher. Return: 0, IVS_CHANNEL_E_TIMEOUT, _FULL, _SECTION. */
static int subscribe(struct subscriber *subscriber)
{
	struct ivs_channels *channels = channels_of(subscriber);
	uint64_t seen = ivs_channels_fingerprint(channels);
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;
	int result;

	if (channels->lost)
		return IVS_CHANNEL_E_SECTION;
	if (seen == subscriber->seen)
		return IVS_CHANNEL_E_TIMEOUT;
	if (!find_publisher(subscriber, &at, &life, &view)) {
		subscriber->seen = seen;
		return IVS_CHANNEL_E_TIMEOUT;
	}
	result = ivs_inlet_open(&subscriber->inlet, channels, &at, life, &view,
				subscriber->opts.borrows);
	if (result) {
		subscriber->inlet.index = 0;
		return result;
	}
	begin_reading(subscriber, &view);
	return 0;
}

/* Return: whether an endpoint of this peer says that buffers are borrowed. */
static bool has_loans(const struct subscriber *subscriber, unsigned int index)
{
	for (const struct loan *loan = subscriber->loans; loan; loan = loan->next) {
		if (!loan->copy && loan->index == index)
			return true;
	}
	return false;
}

/* An endpoint that says that buffers are borrowed remains until these have been given back. */
static void unsubscribe(struct subscriber *subscriber)
{
	if (!has_loans(subscriber, subscriber->inlet.index))
		ivs_inlet_close(&subscriber->inlet);
	subscriber->former = subscriber->inlet.writer;
	subscriber->former_life = subscriber->inlet.writer_life;
	subscriber->former_at = subscriber->inlet.lane.position;
	subscriber->inlet.index = 0;
	subscriber->is_early = true;
	subscriber->seen = 0;
}

/* Finding the next message */

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
	ivs_shared_store(ivs_channels_own_word(channels_of(subscriber), subscriber->inlet.index,
					       IVS_ENDPOINT_MISSED),
			 subscriber->missed);
	return true;
}

/* The next message, in its buffer. Return: 0, IVS_LANE_E_*. */
static int find_message(const struct subscriber *subscriber, const void **message, uint32_t *len)
{
	const struct ivs_lane_reader *lane = &subscriber->inlet.lane;
	const void *slot;
	uint64_t item;
	int result = ivs_lane_peek(lane, &slot, len);

	if (result)
		return result;
	item = ivs_shared_load(slot);
	if (*len != IVS_POOL_ITEM_LEN ||
	    !ivs_pool_item_is_possible(&subscriber->pool, lane->shape.slots_n, item))
		return ivs_lane_is_intact(lane) ? IVS_LANE_E_BROKEN : IVS_LANE_E_LAPPED;
	*message = subscriber->buffers + (uint64_t)(uint32_t)item * subscriber->pool.buffer_len;
	*len = (uint32_t)(item >> 32);
	return 0;
}

/* Return: 0 (with @message NULL: look again), IVS_CHANNEL_E_*. */
static int look(struct subscriber *subscriber, const void **message, uint32_t *len)
{
	struct ivs_inlet *inlet = &subscriber->inlet;
	int result = find_message(subscriber, message, len);

	if (result == IVS_LANE_E_EMPTY) {
		if (!ivs_inlet_has_ended(inlet))
			return IVS_CHANNEL_E_TIMEOUT;
		/* What the publisher committed before its end is visible now. */
		result = find_message(subscriber, message, len);
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

static int peek(struct subscriber *subscriber, const void **message, uint32_t *len)
{
	int result = subscriber->unreported;

	subscriber->unreported = 0;
	if (result)
		return result;
	if (channels_of(subscriber)->lost)
		return IVS_CHANNEL_E_SECTION;
	if (!subscriber->inlet.index) {
		result = subscribe(subscriber);
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
		unsubscribe(subscriber);
	return result || *message ? result : IVS_CHANNEL_E_TIMEOUT;
}

/* Return: the place of this subscriber among the first @n of the publisher's references, or @n. */
static unsigned int find_place(const struct subscriber *subscriber, unsigned int n)
{
	struct ivs_endpoint_ref own = ivs_channels_ref(
		channels_of(subscriber), subscriber->inlet.index, subscriber->inlet.incarnation);
	unsigned int place = 0;

	while (place < n &&
	       ivs_shared_load(&subscriber->refs[place]) != ivs_endpoint_ref_pack(&own))
		place++;
	return place;
}

static bool subscriber_set_sleeps(struct ivs_channel *channel, bool sleeps)
{
	struct subscriber *subscriber = subscriber_of((struct ivs_topic *)channel);
	struct ivs_inlet *inlet = &subscriber->inlet;

	if (!inlet->index) /* a publisher that opens rings all subscribers, if it can */
		return ivs_presence_can_ring(&channel->channels->presence);
	(void)ivs_inlet_set_sleeps(inlet, sleeps);
	return sleeps && ivs_channels_is_ringer(channel->channels, inlet->writer.section) &&
	       find_place(subscriber, IVS_SUBSCRIBERS_MAX) < IVS_SUBSCRIBERS_MAX;
}

static bool subscriber_is_ready(struct ivs_channel *channel)
{
	struct subscriber *subscriber = subscriber_of((struct ivs_topic *)channel);
	const void *message;
	uint32_t len;
	int result = peek(subscriber, &message, &len);

	if (result && result != IVS_CHANNEL_E_TIMEOUT)
		subscriber->unreported = result;
	return result != IVS_CHANNEL_E_TIMEOUT;
}

/* Opening and closing */

static void give_back(struct subscriber *subscriber, struct loan **link)
{
	struct ivs_channels *channels = channels_of(subscriber);
	struct loan *loan = *link;

	*link = loan->next;
	if (loan->copy)
		free(loan->copy);
	else if (ivs_channels_holds_section(channels))
		ivs_shared_store(ivs_channels_own_word(channels, loan->index,
						       IVS_ENDPOINT_LOANS + loan->word),
				 0);
	if (!loan->copy && loan->index != subscriber->inlet.index &&
	    !has_loans(subscriber, loan->index))
		ivs_channels_give_back(channels, loan->index);
	free(loan);
}

static void close_subscriber(struct ivs_topic *topic)
{
	struct subscriber *subscriber = subscriber_of(topic);

	while (subscriber->loans)
		give_back(subscriber, &subscriber->loans);
	if (subscriber->inlet.index)
		unsubscribe(subscriber);
	ivs_channels_give_back(topic->base.channels, subscriber->index);
}

int ivs_topic_open_subscriber(struct ivs_channels *channels, const char *name,
			      const struct ivs_subscriber_options *opts, struct ivs_topic **out)
{
	struct ivs_endpoint_view view = {.state = {IVS_ROLE_SUBSCRIBER, false, 0}};
	struct subscriber *subscriber;
	int result = ivs_topic_check(channels, name);

	if (result)
		return result;
	subscriber = calloc(1, sizeof(*subscriber));
	if (!subscriber)
		return -ENOMEM;
	memcpy(subscriber->name, name, strlen(name));
	memcpy(view.name, name, strlen(name));
	subscriber->index = ivs_channels_take_endpoint(channels, &view.state.incarnation);
	if (!subscriber->index) {
		free(subscriber);
		return IVS_CHANNEL_E_FULL;
	}
	ivs_endpoint_put(ivs_channels_own(channels), subscriber->index, &view);
	if (opts)
		subscriber->opts = *opts;
	subscriber->topic.close = close_subscriber;
	subscriber->topic.base.set_sleeps = subscriber_set_sleeps;
	subscriber->topic.base.is_ready = subscriber_is_ready;
	ivs_channel_add(&subscriber->topic.base, channels);
	subscriber->is_early = !has_publisher(subscriber);
	result = subscribe(subscriber);
	if (result == IVS_CHANNEL_E_FULL)
		subscriber->unreported = result;
	*out = &subscriber->topic;
	return 0;
}

/* Receiving */

static int try_peek(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	return peek(subscriber_of((struct ivs_topic *)channel), &attempt->message, &attempt->len);
}

/*
 * What to do with the message that was found, which the publisher may overwrite at any time.
 * Return: 0, IVS_LANE_E_LAPPED (it has been overwritten), -errno.
 */
typedef int use_message(struct subscriber *subscriber, struct ivs_attempt *attempt);

/* Return: 0, IVS_CHANNEL_E_*, -errno. */
static int use_next(struct subscriber *subscriber, struct ivs_attempt *attempt, use_message *use,
		    int timeout_ms)
{
	uint64_t copied = 0;

	/* Also if there are always messages: another peer may have taken the section. */
	(void)!ivs_channels_poll_sometimes(channels_of(subscriber));
	for (unsigned int i = 0; i < COPIES_MAX && (i < 2 || copied < COPIED_MAX); i++) {
		int result = ivs_channel_await(&subscriber->topic.base, attempt, timeout_ms);
		int used;

		if (result)
			return result;
		copied += attempt->len;
		used = use(subscriber, attempt);
		if (used != IVS_LANE_E_LAPPED)
			return used;
		(void)skip(subscriber);
		timeout_ms = 0; /* a publisher that overwrites it must not make this call wait */
	}
	return IVS_CHANNEL_E_TIMEOUT;
}

/* The message has been used. Return: 0; IVS_CHANNEL_E_ENDED: its memory was reused. */
static int release(struct subscriber *subscriber)
{
	if (!ivs_inlet_is_intact(&subscriber->inlet)) {
		unsubscribe(subscriber);
		return IVS_CHANNEL_E_ENDED;
	}
	ivs_lane_release(&subscriber->inlet.lane);
	ivs_inlet_publish(&subscriber->inlet);
	return 0;
}

static int copy_message(struct subscriber *subscriber, struct ivs_attempt *attempt)
{
	if (attempt->len && attempt->len <= attempt->room)
		ivs_shared_copy(attempt->memory, attempt->message, attempt->len);
	return ivs_lane_is_intact(&subscriber->inlet.lane) ? 0 : IVS_LANE_E_LAPPED;
}

int ivs_topic_receive(struct ivs_topic *topic, void *buffer, size_t room, size_t *len,
		      int timeout_ms)
{
	struct subscriber *subscriber = subscriber_of(topic);
	struct ivs_attempt attempt = {.run = try_peek, .memory = buffer, .room = room};
	int result = use_next(subscriber, &attempt, copy_message, timeout_ms);

	if (result)
		return result;
	*len = attempt.len;
	return *len > room ? IVS_CHANNEL_E_TOO_LONG : release(subscriber);
}

uint64_t ivs_topic_missed(const struct ivs_topic *topic)
{
	return topic->publishes ? 0 : ((const struct subscriber *)topic)->missed;
}

/* Borrowing */

/* Return: a word of the own endpoint that says nothing; IVS_POOL_LOANS_MAX: none is left. */
static unsigned int find_word(const struct subscriber *subscriber)
{
	unsigned int used = 0;
	unsigned int word = 0;

	for (const struct loan *loan = subscriber->loans; loan; loan = loan->next) {
		if (!loan->copy && loan->index == subscriber->inlet.index)
			used |= 1u << loan->word;
	}
	while (used >> word & 1)
		word++;
	return word < subscriber->pool.loans_n ? word : IVS_POOL_LOANS_MAX;
}

/* Return: whether the publisher knows this subscriber as a borrower. */
static bool is_borrower(const struct subscriber *subscriber)
{
	uint32_t borrowers_n = subscriber->pool.borrowers_n;

	return subscriber->opts.borrows && find_place(subscriber, borrowers_n) < borrowers_n;
}

/* Return: whether the publisher will not overwrite the message before @loan is given back. */
static bool lend(struct subscriber *subscriber, const void *message, struct loan *loan)
{
	uint64_t buffer = (uint64_t)((const uint8_t *)message - subscriber->buffers) /
			  subscriber->pool.buffer_len;
	uint64_t *word;

	loan->index = subscriber->inlet.index;
	loan->word = find_word(subscriber);
	if (loan->word == IVS_POOL_LOANS_MAX || !is_borrower(subscriber) ||
	    !ivs_channels_holds_section(channels_of(subscriber)))
		return false;
	word = ivs_channels_own_word(channels_of(subscriber), loan->index,
				     IVS_ENDPOINT_LOANS + loan->word);
	ivs_shared_publish(word, buffer + 1);
	if (is_borrower(subscriber) && ivs_lane_is_intact(&subscriber->inlet.lane))
		return true;
	ivs_shared_store(word, 0);
	return false;
}

static int borrow_message(struct subscriber *subscriber, struct ivs_attempt *attempt)
{
	struct loan *loan = attempt->memory;
	int result;

	loan->message = attempt->message;
	if (lend(subscriber, attempt->message, loan))
		return 0;
	loan->copy = malloc(attempt->len ? attempt->len : 1);
	if (!loan->copy)
		return -ENOMEM;
	loan->message = attempt->memory = loan->copy;
	attempt->room = attempt->len;
	result = copy_message(subscriber, attempt);
	attempt->memory = loan;
	if (result) {
		free(loan->copy);
		loan->copy = NULL;
	}
	return result;
}

int ivs_topic_borrow(struct ivs_topic *topic, const void **message, size_t *len, int timeout_ms)
{
	struct subscriber *subscriber = subscriber_of(topic);
	struct loan *loan = calloc(1, sizeof(*loan));
	struct ivs_attempt attempt = {.run = try_peek, .memory = loan};
	int result = loan ? use_next(subscriber, &attempt, borrow_message, timeout_ms) : -ENOMEM;

	if (result) {
		free(loan);
		return result;
	}
	loan->next = subscriber->loans;
	subscriber->loans = loan;
	result = release(subscriber);
	if (result) {
		give_back(subscriber, &subscriber->loans);
		return result;
	}
	*message = loan->message;
	*len = attempt.len;
	return 0;
}

/*
 * The oldest loan of the message: the publisher may have been replaced by another that uses the
 * same memory, and only the loan from that one still has an effect.
 */
static struct loan **find_loan(struct subscriber *subscriber, const void *message)
{
	struct loan **found = NULL;
	struct loan **link = &subscriber->loans;

	for (; *link; link = &(*link)->next) {
		if ((*link)->message == message)
			found = link;
	}
	return found ? found : link;
}

void ivs_topic_give_back(struct ivs_topic *topic, const void *message)
{
	struct loan **link = topic->publishes ? NULL : find_loan(subscriber_of(topic), message);

	if (link && *link)
		give_back(subscriber_of(topic), link);
}

bool ivs_topic_is_in_place(const struct ivs_topic *topic, const void *message)
{
	const struct loan *loan = topic->publishes ? NULL
						   : ((const struct subscriber *)topic)->loans;

	while (loan && loan->message != message)
		loan = loan->next;
	return loan && !loan->copy;
}
