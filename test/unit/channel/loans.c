/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of messages that subscribers of a topic borrow in place. */
#include <criterion/criterion.h>
#include <string.h>

#include "channel/channels.h"
#include "channel/shared.h"
#include "support/c/channel_pair.h"

#define REGION_LEN (4u << 20)
#define MESSAGES_N 4u

static struct test_channels all;
static struct ivs_topic *publisher;
static struct ivs_topic *subscriber;
static struct ivs_topic *other;

static void open_all(void)
{
	all = test_channels_open(REGION_LEN, 3);
	publisher = subscriber = other = NULL;
}

static void close_all(void)
{
	ivs_topic_close(publisher);
	ivs_topic_close(subscriber);
	ivs_topic_close(other);
	test_channels_close(&all);
}

TestSuite(channel_loans, .init = open_all, .fini = close_all);

static struct ivs_topic *open_publisher(uint32_t message_len, uint32_t borrowers_n,
					uint32_t loans_n)
{
	const struct ivs_topic_options opts = {MESSAGES_N, message_len, borrowers_n, loans_n};
	struct ivs_topic *topic;

	cr_assert_eq(ivs_topic_open_publisher(all.channels[0], "t", &opts, &topic), 0);
	return topic;
}

static struct ivs_topic *open_subscriber(unsigned int peer, bool borrows)
{
	const struct ivs_subscriber_options opts = {false, false, borrows};
	struct ivs_topic *topic;

	cr_assert_eq(ivs_topic_open_subscriber(all.channels[peer], "t", &opts, &topic), 0);
	return topic;
}

static void publish(uint64_t n)
{
	cr_assert_eq(ivs_topic_publish(publisher, &n, sizeof(n)), 0);
}

/* The publisher looks for subscribers at most once per millisecond: let it look now. */
static void publish_and_look(uint64_t n)
{
	all.channels[0]->polled_ns = 0;
	publish(n);
}

static const uint64_t *borrow(struct ivs_topic *topic)
{
	const void *message = NULL;
	size_t len = 0;
	int result = ivs_topic_borrow(topic, &message, &len, 0);

	cr_assert_eq(result, 0, "%s", ivs_channel_strerror(result));
	cr_assert_eq(len, sizeof(uint64_t));
	return message;
}

static void expect_borrowed(struct ivs_topic *topic, uint64_t n, bool in_place)
{
	const uint64_t *message = borrow(topic);

	cr_expect_eq(*message, n, "%lu instead of %lu", *message, n);
	cr_expect_eq(ivs_topic_is_in_place(topic, message), in_place);
	ivs_topic_give_back(topic, message);
}

/* A publisher that knows one borrower, which has received message 0. */
static void open_pair(uint32_t loans_n)
{
	publisher = open_publisher(8, 1, loans_n);
	subscriber = open_subscriber(1, true);
	publish_and_look(0);
	expect_borrowed(subscriber, 0, true);
}

static struct ivs_endpoint_view find(enum ivs_endpoint_role role, unsigned int finder,
				     uint64_t **endpoint)
{
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;

	cr_assert(ivs_channels_find(all.channels[finder], role, NULL, false, &at, &life, &view));
	*endpoint = ivs_section_endpoint(ivs_channels_at(all.channels[finder], at.section),
					 at.index);
	return view;
}

Test(channel_loans, borrowed_message_is_not_overwritten)
{
	const uint64_t *message;

	open_pair(1);
	publish(1);
	message = borrow(subscriber);
	cr_expect(ivs_topic_is_in_place(subscriber, message));
	for (uint64_t n = 2; n < 100; n++) {
		publish(n);
		cr_expect_eq(*message, 1, "after message %lu", n);
	}
	ivs_topic_give_back(subscriber, message);
	cr_expect_not(ivs_topic_is_in_place(subscriber, message));
}

Test(channel_loans, other_subscribers_get_every_message_meanwhile)
{
	uint64_t got;
	size_t len;

	open_pair(1);
	other = open_subscriber(2, false);
	publish(1);
	(void)borrow(subscriber);
	for (uint64_t n = 2; n < 100; n++) {
		cr_assert_eq(ivs_topic_receive(other, &got, sizeof(got), &len, 0), 0);
		cr_expect_eq(got, n - 1);
		publish(n);
	}
	cr_expect_eq(ivs_topic_missed(other), 0);
}

Test(channel_loans, borrower_continues_after_what_it_missed)
{
	const uint64_t *message;

	open_pair(1);
	publish(1);
	message = borrow(subscriber);
	for (uint64_t n = 2; n < 100; n++)
		publish(n);
	ivs_topic_give_back(subscriber, message);
	message = borrow(subscriber);
	cr_expect_eq(*message, 2 + ivs_topic_missed(subscriber));
	cr_expect_gt(ivs_topic_missed(subscriber), 90);
}

Test(channel_loans, more_loans_than_allowed_are_copies)
{
	const uint64_t *messages[4];

	open_pair(2);
	for (uint64_t n = 0; n < 4; n++) {
		publish(n);
		messages[n] = borrow(subscriber);
		cr_expect_eq(ivs_topic_is_in_place(subscriber, messages[n]), n < 2);
	}
	for (uint64_t n = 4; n < 40; n++)
		publish(n);
	for (uint64_t n = 0; n < 4; n++)
		cr_expect_eq(*messages[n], n);
	ivs_topic_give_back(subscriber, messages[0]);
	ivs_topic_give_back(subscriber, messages[2]);
	cr_expect(ivs_topic_is_in_place(subscriber, borrow(subscriber)), "one was given back");
	cr_expect_not(ivs_topic_is_in_place(subscriber, borrow(subscriber)));
	cr_expect_eq(*messages[1], 1);
	cr_expect_eq(*messages[3], 3);
}

Test(channel_loans, subscriber_that_does_not_say_so_gets_copies)
{
	publisher = open_publisher(8, 2, 2);
	subscriber = open_subscriber(1, false);
	publish_and_look(1);
	publish(2);
	expect_borrowed(subscriber, 1, false);
	expect_borrowed(subscriber, 2, false);
}

Test(channel_loans, subscriber_that_the_publisher_does_not_know_gets_copies)
{
	publisher = open_publisher(8, 2, 2);
	publish_and_look(0);
	subscriber = open_subscriber(1, true);
	publish(1);
	expect_borrowed(subscriber, 1, false);
	publish_and_look(2);
	expect_borrowed(subscriber, 2, true);
}

Test(channel_loans, more_borrowers_than_allowed_get_copies)
{
	open_pair(2);
	other = open_subscriber(2, true);
	publish_and_look(1);
	expect_borrowed(subscriber, 1, true);
	expect_borrowed(other, 1, false);
}

Test(channel_loans, subscribers_that_do_not_borrow_take_no_borrowers_place)
{
	publisher = open_publisher(8, 1, 1);
	other = open_subscriber(2, false);
	publish_and_look(0);
	subscriber = open_subscriber(1, true);
	publish_and_look(1);
	expect_borrowed(subscriber, 1, true);
}

Test(channel_loans, loans_of_a_dead_borrower_return)
{
	struct ivs_channels *former = all.channels[1];

	open_pair(2);
	publish(1);
	publish(2);
	(void)borrow(subscriber);
	(void)borrow(subscriber);
	test_channels_reopen(&all, 1); /* as a process that was killed and started again */
	other = open_subscriber(1, true);
	publish_and_look(3);
	expect_borrowed(other, 3, true);
	for (uint64_t n = 4; n < 40; n++)
		publish(n);
	cr_expect_eq(ivs_channels_wait(former, 0), IVS_CHANNEL_E_SECTION);
	ivs_topic_close(subscriber);
	subscriber = NULL;
	ivs_channels_close(former);
}

Test(channel_loans, closed_publisher_keeps_what_is_borrowed)
{
	struct ivs_topic *rooms[64];
	unsigned int rooms_n = 0;
	const uint64_t *message;
	const void *none;
	size_t len;

	open_pair(1);
	publish(1);
	message = borrow(subscriber);
	ivs_topic_close(publisher);
	cr_expect_eq(ivs_topic_borrow(subscriber, &none, &len, 0), IVS_CHANNEL_E_ENDED);
	/* Use all memory that is free. */
	while (rooms_n < 64 && !ivs_topic_open_publisher(all.channels[0], "u", NULL, &publisher)) {
		uint8_t *memory = ivs_topic_reserve(publisher);

		memset(memory, 0xff, 1024);
		ivs_topic_commit(publisher, 1024);
		rooms[rooms_n++] = publisher;
	}
	publisher = NULL;
	cr_expect_eq(*message, 1);
	ivs_topic_give_back(subscriber, message);
	while (rooms_n)
		ivs_topic_close(rooms[--rooms_n]);
	publisher = open_publisher(8, 1, 1);
	cr_expect_eq(ivs_topic_borrow(subscriber, &none, &len, 0), IVS_CHANNEL_E_TIMEOUT);
	publish_and_look(2);
	expect_borrowed(subscriber, 2, true);
}

Test(channel_loans, endpoint_of_a_former_publisher_is_given_back)
{
	const uint64_t *messages[8];

	/* More often than the section has endpoints. */
	for (unsigned int i = 0; i < 100; i++) {
		open_pair(2);
		publish(1);
		publish(2);
		messages[0] = borrow(subscriber);
		messages[1] = borrow(subscriber);
		ivs_topic_close(publisher);
		publisher = NULL;
		cr_expect_eq(
			ivs_topic_borrow(subscriber, (const void **)&messages[2], &(size_t){0}, 0),
			IVS_CHANNEL_E_ENDED);
		ivs_topic_give_back(subscriber, messages[i % 2]);
		cr_expect_eq(*messages[1 - i % 2], i % 2 ? 1 : 2);
		if (i % 3) /* otherwise, closing gives it back */
			ivs_topic_give_back(subscriber, messages[1 - i % 2]);
		ivs_topic_close(subscriber);
		subscriber = NULL;
	}
}

Test(channel_loans, wrong_loans_do_no_harm)
{
	uint64_t *endpoint;
	uint64_t got;
	size_t len;

	open_pair(2);
	other = open_subscriber(2, false);
	(void)find(IVS_ROLE_READER, 0, &endpoint);
	for (uint64_t n = 1; n < 1000; n++) {
		for (unsigned int i = 0; i < IVS_POOL_LOANS_MAX; i++)
			endpoint[IVS_ENDPOINT_LOANS + i] = n % 3 ? n / 3 % 8 : -n;
		publish(n);
		cr_assert_eq(ivs_topic_receive(other, &got, sizeof(got), &len, 0), 0);
		cr_expect_eq(got, n);
	}
}

Test(channel_loans, impossible_buffer_breaks_the_topic)
{
	const uint64_t items[] = {UINT64_MAX, ivs_pool_item(MESSAGES_N + 2, 8),
				  ivs_pool_item(0, 65)};

	for (unsigned int i = 0; i < 3; i++) {
		uint64_t *endpoint;
		struct ivs_endpoint_view view;
		const void *message;
		size_t len;

		publisher = open_publisher(8, 1, 2);
		subscriber = open_subscriber(1, true);
		view = find(IVS_ROLE_PUBLISHER, 1, &endpoint);
		publish(0);
		ivs_shared_store((uint64_t *)ivs_channels_own(all.channels[0]) + view.at / 8 + 1,
				 items[i]);
		cr_expect_eq(ivs_topic_borrow(subscriber, &message, &len, 0), IVS_CHANNEL_E_BROKEN,
			     "item %u", i);
		ivs_topic_close(publisher);
		ivs_topic_close(subscriber);
		publisher = subscriber = NULL;
	}
}

Test(channel_loans, long_messages_begin_at_pages)
{
	const uint32_t lens[] = {1, 63, 64, 4095, 4096, 4097, 10000};

	for (unsigned int i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		uintptr_t align = lens[i] < 4096 ? 64 : 4096;

		publisher = open_publisher(lens[i], 1, 1);
		for (unsigned int n = 0; n < 10; n++) {
			uint8_t *memory = ivs_topic_reserve(publisher);

			cr_expect_eq((uintptr_t)memory % align, 0, "%u bytes", lens[i]);
			memset(memory, (int)n, lens[i]);
			ivs_topic_commit(publisher, lens[i]);
		}
		ivs_topic_close(publisher);
		publisher = NULL;
	}
}

Test(channel_loans, too_many_borrowers_or_loans)
{
	const struct ivs_topic_options borrowers = {4, 8, IVS_TOPIC_BORROWERS_MAX + 1, 1};
	const struct ivs_topic_options loans = {4, 8, 1, IVS_TOPIC_LOANS_MAX + 1};
	const struct ivs_topic_options most = {4, 8, IVS_TOPIC_BORROWERS_MAX, IVS_TOPIC_LOANS_MAX};

	cr_expect_eq(ivs_topic_open_publisher(all.channels[0], "t", &borrowers, &publisher),
		     IVS_CHANNEL_E_FULL);
	cr_expect_eq(ivs_topic_open_publisher(all.channels[0], "t", &loans, &publisher),
		     IVS_CHANNEL_E_FULL);
	cr_expect_eq(ivs_topic_open_publisher(all.channels[0], "t", &most, &publisher), 0);
}

/* The former publisher was killed. The next one has the same buffers. */
Test(channel_loans, older_loan_of_the_same_address_is_given_back_first)
{
	struct ivs_channels *killed = all.channels[0];
	struct ivs_topic *former;
	const uint64_t *before;
	const uint64_t *now;
	const void *none;
	size_t len;

	open_pair(2);
	before = borrow((publish(1), subscriber));
	cr_assert(ivs_topic_is_in_place(subscriber, before));
	test_channels_reopen(&all, 0); /* the publisher was killed, and is started again */
	cr_expect_eq(ivs_topic_borrow(subscriber, &none, &len, 0), IVS_CHANNEL_E_ENDED);
	former = publisher;
	publisher = open_publisher(8, 1, 2);
	cr_expect_eq(ivs_topic_borrow(subscriber, &none, &len, 0), IVS_CHANNEL_E_TIMEOUT);
	publish_and_look(10);
	expect_borrowed(subscriber, 10, true);
	publish(11);
	now = borrow(subscriber);
	cr_assert_eq(*now, 11);
	cr_assert(ivs_topic_is_in_place(subscriber, now));
	cr_assert_eq(now, before, "the test needs the same buffer");
	/* As a program that keeps each message until it has the next one. */
	ivs_topic_give_back(subscriber, before);
	for (uint64_t n = 12; n < 40; n++)
		publish(n);
	cr_expect_eq(*now, 11, "overwritten with %lu", *now);
	cr_expect_eq(ivs_channels_wait(killed, 0), IVS_CHANNEL_E_SECTION);
	ivs_topic_close(former);
	ivs_channels_close(killed);
}

Test(channel_loans, subscriber_without_its_section_borrows_nothing)
{
	struct ivs_channels *former = all.channels[1];
	const void *message = NULL;
	size_t len;
	int result;

	open_pair(1);
	test_channels_reopen(&all, 1);
	cr_expect_eq(ivs_channels_wait(former, 0), IVS_CHANNEL_E_SECTION);
	all.channels[0]->polled_ns = INT64_MAX / 2;
	publish(1);
	result = ivs_topic_borrow(subscriber, &message, &len, 0);
	cr_expect_eq(result, IVS_CHANNEL_E_SECTION, "result %d", result);
	if (!result) {
		cr_expect_not(ivs_topic_is_in_place(subscriber, message));
		for (uint64_t n = 2; n < 40; n++)
			publish(n);
		cr_expect_eq(*(const uint64_t *)message, 1, "overwritten with %lu",
			     *(const uint64_t *)message);
	}
	ivs_topic_close(subscriber);
	subscriber = NULL;
	ivs_channels_close(former);
}

Test(channel_loans, waiting_borrower_gets_the_place_of_one_that_is_gone)
{
	open_pair(1);
	other = open_subscriber(2, true);
	publish_and_look(1);
	expect_borrowed(other, 1, false);
	ivs_topic_close(subscriber);
	subscriber = NULL;
	publish_and_look(2);
	publish_and_look(3);
	expect_borrowed(other, 2, true);
}

Test(channel_loans, buffers_of_pages_that_do_not_begin_at_pages_are_refused)
{
	struct ivs_endpoint_view view;
	uint64_t *endpoint;
	const void *message = NULL;
	size_t len;
	int result;

	publisher = open_publisher(4096, 1, 1);
	view = find(IVS_ROLE_PUBLISHER, 1, &endpoint);
	cr_assert_eq(view.pool_at % 4096, 0);
	endpoint[IVS_ENDPOINT_POOL] -= 64;
	subscriber = open_subscriber(1, true);
	publish_and_look(0);
	publish_and_look(1);
	result = ivs_topic_borrow(subscriber, &message, &len, 0);
	if (!result) {
		ivs_topic_give_back(subscriber, message);
		publish(2);
		result = ivs_topic_borrow(subscriber, &message, &len, 0);
	}
	cr_expect(result, "in place: %d, address %% 4096: %lu",
		  ivs_topic_is_in_place(subscriber, message), (uintptr_t)message % 4096);
}

/* The leave is processed after the next peer with the id has subscribed, and before its join. */
Test(channel_loans, late_leave_does_not_end_loans_of_the_next_holder)
{
	const struct ivs_event leave = {.type = IVS_EVENT_LEAVE, .id = 1};
	const struct ivs_event join = {.type = IVS_EVENT_JOIN, .id = 1};
	const uint64_t *message;

	open_pair(1);
	publish(1);
	message = borrow(subscriber);
	cr_assert(ivs_topic_is_in_place(subscriber, message));
	all.channels[0]->presence.others[1].seen_turn = all.channels[0]->presence.turns;
	ivs_presence_handle(&all.channels[0]->presence, &leave);
	for (uint64_t n = 2; n < 10; n++) /* the join is processed in the next turn */
		publish_and_look(n);
	ivs_presence_handle(&all.channels[0]->presence, &join);
	for (uint64_t n = 10; n < 40; n++)
		publish_and_look(n);
	cr_expect_eq(*message, 1, "overwritten with %lu", *message);
}

Test(channel_loans, closing_publisher_enters_readers_where_they_belong)
{
	struct ivs_endpoint_view view;
	uint64_t *endpoint;
	const uint64_t *refs;

	publisher = open_publisher(8, 2, 1);
	view = find(IVS_ROLE_PUBLISHER, 1, &endpoint);
	refs = (const uint64_t *)((const uint8_t *)ivs_channels_own(all.channels[0]) + view.at +
				  ivs_lane_len(&view.shape));
	subscriber = open_subscriber(1, false);
	ivs_topic_close(publisher);
	publisher = NULL;
	cr_expect_eq(refs[0], 0, "a reader that does not borrow is at 0");
	cr_expect_neq(refs[2], 0);
}

Test(channel_loans, one_peer_does_not_take_the_places_of_all_borrowers)
{
	struct ivs_topic *greedy[2];

	publisher = open_publisher(8, 2, 2);
	greedy[0] = open_subscriber(1, true);
	greedy[1] = open_subscriber(1, true);
	publish_and_look(0);
	other = open_subscriber(2, true);
	publish_and_look(1);
	publish_and_look(2);
	expect_borrowed(other, 1, true);
	ivs_topic_close(greedy[0]);
	ivs_topic_close(greedy[1]);
}

Test(channel_loans, former_holder_does_not_end_loans_of_the_next_one)
{
	struct ivs_channels *former = all.channels[1];
	const uint64_t *old;
	const uint64_t *message;

	open_pair(2);
	publish(1);
	old = borrow(subscriber);
	test_channels_reopen(&all, 1);
	other = open_subscriber(1, true);
	publish_and_look(2);
	publish(3);
	message = borrow(other);
	cr_assert(ivs_topic_is_in_place(other, message));
	ivs_topic_give_back(subscriber, old); /* the former holder has not polled yet */
	for (uint64_t n = 4; n < 40; n++)
		publish(n);
	cr_expect_eq(*message, 2, "overwritten with %lu", *message);
	cr_expect_eq(ivs_channels_wait(former, 0), IVS_CHANNEL_E_SECTION);
	ivs_topic_close(subscriber);
	subscriber = NULL;
	ivs_channels_close(former);
}

Test(channel_loans, publisher_has_borrowed_nothing)
{
	uint64_t n = 0;

	publisher = open_publisher(8, 1, 1);
	publish(1);
	cr_expect_not(ivs_topic_is_in_place(publisher, &n));
	ivs_topic_give_back(publisher, NULL);
}

Test(channel_loans, borrower_remains_one_when_another_subscriber_is_gone)
{
	const uint64_t *message;

	publisher = open_publisher(8, 1, 1);
	subscriber = open_subscriber(1, true);
	other = open_subscriber(2, false);
	publish_and_look(0);
	expect_borrowed(subscriber, 0, true);
	publish(1);
	message = borrow(subscriber);
	ivs_topic_close(other);
	other = NULL;
	for (uint64_t n = 2; n < 40; n++)
		publish_and_look(n);
	cr_expect_eq(*message, 1, "overwritten with %lu", *message);
}
