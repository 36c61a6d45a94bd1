/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of topics in a plain region: subscribers that come, go and are slow; wrong values. */
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "channel/channels.h"
#include "channel/shared.h"
#include "channel/wait.h"
#include "support/c/channel_pair.h"

#define REGION_LEN (1u << 20)

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

TestSuite(channel_topic, .init = open_all, .fini = close_all);

static void open_publisher(uint32_t messages_n)
{
	const struct ivs_topic_options opts = {messages_n, 8, 0, 0};

	cr_assert_eq(ivs_topic_open_publisher(all.channels[0], "t", &opts, &publisher), 0);
}

static void open_subscriber(bool newest, bool last)
{
	const struct ivs_subscriber_options opts = {newest, last, false};

	cr_assert_eq(ivs_topic_open_subscriber(all.channels[1], "t", &opts, &subscriber), 0);
}

static void publish(uint64_t n)
{
	cr_assert_eq(ivs_topic_publish(publisher, &n, sizeof(n)), 0);
}

static int receive(struct ivs_topic *topic, uint64_t *n)
{
	size_t len;
	int result = ivs_topic_receive(topic, n, sizeof(*n), &len, 0);

	cr_expect(result || len == sizeof(*n));
	return result;
}

static void expect(struct ivs_topic *topic, uint64_t expected)
{
	uint64_t n = UINT64_MAX;
	int result = receive(topic, &n);

	cr_assert_eq(result, 0, "%s instead of %lu", ivs_channel_strerror(result), expected);
	cr_expect_eq(n, expected, "%lu instead of %lu", n, expected);
}

static void expect_result(struct ivs_topic *topic, int expected)
{
	uint64_t n;
	int result = receive(topic, &n);

	cr_expect_eq(result, expected, "%s", ivs_channel_strerror(result));
}

Test(channel_topic, every_subscriber_gets_every_message)
{
	open_publisher(4);
	open_subscriber(false, false);
	cr_assert_eq(ivs_topic_open_subscriber(all.channels[2], "t", NULL, &other), 0);
	for (uint64_t n = 0; n < 100; n++) {
		publish(n);
		expect(subscriber, n);
		expect(other, n);
	}
	expect_result(subscriber, IVS_CHANNEL_E_TIMEOUT);
	cr_expect_eq(ivs_topic_missed(subscriber), 0);
}

/*
 * The leave of a former peer is processed after the next publisher with the id was found, and
 * before the join of that publisher, which is then found again.
 */
Test(channel_topic, late_leave_does_not_repeat_messages)
{
	const struct ivs_event leave = {.type = IVS_EVENT_LEAVE, .id = 0};
	const struct ivs_event join = {.type = IVS_EVENT_JOIN, .id = 0};
	struct ivs_presence *presence = &all.channels[1]->presence;

	open_publisher(8);
	open_subscriber(false, false);
	for (uint64_t n = 0; n < 6; n++)
		publish(n);
	for (uint64_t n = 0; n < 5; n++)
		expect(subscriber, n);
	presence->others[0].seen_turn = presence->turns;
	ivs_presence_handle(presence, &leave);
	expect(subscriber, 5);
	expect_result(subscriber, IVS_CHANNEL_E_ENDED);
	publish(6);
	ivs_presence_handle(presence, &join);
	expect(subscriber, 6);
	expect_result(subscriber, IVS_CHANNEL_E_TIMEOUT);
}

Test(channel_topic, subscriber_begins_when_it_comes)
{
	open_publisher(8);
	publish(1);
	publish(2);
	open_subscriber(false, false);
	expect_result(subscriber, IVS_CHANNEL_E_TIMEOUT);
	publish(3);
	expect(subscriber, 3);
}

Test(channel_topic, late_subscriber_gets_the_last_message)
{
	open_publisher(8);
	publish(1);
	publish(2);
	open_subscriber(false, true);
	expect(subscriber, 2);
	expect_result(subscriber, IVS_CHANNEL_E_TIMEOUT);
}

Test(channel_topic, slow_subscriber_misses_the_oldest_and_counts_them)
{
	uint64_t n = 0;
	uint64_t got = 0;

	open_publisher(8);
	open_subscriber(false, false);
	for (uint64_t i = 0; i < 100; i++)
		publish(i);
	while (!receive(subscriber, &n)) {
		cr_expect_eq(n, got + ivs_topic_missed(subscriber));
		got++;
	}
	cr_expect_eq(n, 99);
	cr_expect_geq(got, 4);
	cr_expect_eq(got + ivs_topic_missed(subscriber), 100);
}

Test(channel_topic, newest_only)
{
	open_publisher(8);
	open_subscriber(true, false);
	for (uint64_t i = 0; i < 3; i++)
		publish(i);
	expect(subscriber, 2);
	for (uint64_t i = 3; i < 50; i++)
		publish(i);
	expect(subscriber, 49);
	expect_result(subscriber, IVS_CHANNEL_E_TIMEOUT);
	cr_expect_eq(ivs_topic_missed(subscriber), 48);
}

Test(channel_topic, subscriber_may_come_before_the_publisher)
{
	open_subscriber(false, false);
	expect_result(subscriber, IVS_CHANNEL_E_TIMEOUT);
	open_publisher(8);
	expect_result(subscriber, IVS_CHANNEL_E_TIMEOUT);
	publish(1);
	expect(subscriber, 1);
}

/* It does not look before messages have been published, and misses those that are gone. */
Test(channel_topic, subscriber_that_came_first_gets_the_first_message)
{
	open_subscriber(false, true);
	open_publisher(8);
	publish(1);
	publish(2);
	expect(subscriber, 1);
	expect(subscriber, 2);
	ivs_topic_close(publisher);
	expect_result(subscriber, IVS_CHANNEL_E_ENDED);
	open_publisher(8);
	for (uint64_t i = 0; i < 20; i++)
		publish(i);
	expect(subscriber, 16);
	cr_expect_eq(ivs_topic_missed(subscriber), 16);
}

Test(channel_topic, subscriber_goes_to_the_next_publisher)
{
	open_publisher(8);
	open_subscriber(false, false);
	publish(1);
	ivs_topic_close(publisher);
	expect(subscriber, 1);
	expect_result(subscriber, IVS_CHANNEL_E_ENDED);
	expect_result(subscriber, IVS_CHANNEL_E_TIMEOUT);
	open_publisher(8);
	expect_result(subscriber, IVS_CHANNEL_E_TIMEOUT);
	publish(2);
	expect(subscriber, 2);
}

Test(channel_topic, message_that_is_longer_than_the_buffer_stays)
{
	uint8_t small[4];
	size_t len;

	open_publisher(8);
	open_subscriber(false, false);
	publish(7);
	cr_expect_eq(ivs_topic_receive(subscriber, small, sizeof(small), &len, 0),
		     IVS_CHANNEL_E_TOO_LONG);
	cr_expect_eq(len, 8);
	expect(subscriber, 7);
	cr_expect_eq(ivs_topic_publish(publisher, small, 9), IVS_CHANNEL_E_TOO_LONG);
}

Test(channel_topic, message_that_is_being_written_is_not_received)
{
	void *memory;

	open_publisher(2);
	open_subscriber(false, false);
	publish(1);
	publish(2);
	memory = ivs_topic_reserve(publisher); /* in the place of message 1 */
	memset(memory, 0xff, 8);
	expect(subscriber, 2);
	cr_expect_eq(ivs_topic_missed(subscriber), 1);
	expect_result(subscriber, IVS_CHANNEL_E_TIMEOUT);
	cr_expect_eq(memory, ivs_topic_reserve(publisher));
	ivs_topic_commit(publisher, 8);
	expect(subscriber, UINT64_MAX);
}

Test(channel_topic, subscribers_come_and_go)
{
	open_publisher(8);
	for (unsigned int i = 0; i < 300; i++) {
		open_subscriber(i % 2, false);
		publish(i);
		expect(subscriber, i);
		ivs_topic_close(subscriber);
	}
	subscriber = NULL;
}

static unsigned int count_references(void)
{
	uint8_t *section = ivs_channels_own(all.channels[0]);
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	const uint64_t *refs;
	uint64_t life;
	unsigned int n = 0;

	cr_assert(ivs_channels_find(all.channels[1], IVS_ROLE_PUBLISHER, "t", false, &at, &life,
				    &view));
	refs = (const uint64_t *)(void *)(section + view.at + ivs_lane_len(&view.shape));
	for (unsigned int i = 0; i < 64; i++)
		n += ivs_shared_load(&refs[i]) != 0;
	return n;
}

/* A publisher looks for changes once per millisecond at most. */
static void publish_until_references_are(unsigned int expected)
{
	for (unsigned int i = 0; i < 1000 && count_references() != expected; i++) {
		(void)poll(NULL, 0, 1);
		publish(i);
	}
	cr_assert_eq(count_references(), expected);
}

Test(channel_topic, publisher_forgets_a_subscriber_that_closed)
{
	open_publisher(8);
	open_subscriber(false, false);
	publish_until_references_are(1);
	ivs_topic_close(subscriber);
	subscriber = NULL;
	publish_until_references_are(0);
}

Test(channel_topic, publishers_come_and_go)
{
	open_subscriber(false, false);
	for (unsigned int i = 0; i < 300; i++) {
		open_publisher(64);
		expect_result(subscriber, IVS_CHANNEL_E_TIMEOUT);
		publish(i);
		expect(subscriber, i);
		ivs_topic_close(publisher);
		expect_result(subscriber, IVS_CHANNEL_E_ENDED);
	}
	publisher = NULL;
}

Test(channel_topic, impossible_position_breaks_the_topic)
{
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;
	uint64_t *endpoint;

	open_publisher(2);
	open_subscriber(false, false);
	for (uint64_t i = 0; i < 5; i++)
		publish(i);
	cr_assert(ivs_channels_find(all.channels[1], IVS_ROLE_PUBLISHER, "t", false, &at, &life,
				    &view));
	endpoint = ivs_section_endpoint(ivs_channels_own(all.channels[0]), at.index);
	ivs_shared_store(&endpoint[IVS_ENDPOINT_POSITION], 0);
	expect_result(subscriber, IVS_CHANNEL_E_BROKEN);
	expect_result(subscriber, IVS_CHANNEL_E_TIMEOUT); /* it waits for another publisher */
	publish(5);
	expect_result(subscriber, IVS_CHANNEL_E_TIMEOUT);
	ivs_topic_close(publisher);
	open_publisher(2);
	expect_result(subscriber, IVS_CHANNEL_E_TIMEOUT);
	publish(6);
	expect(subscriber, 6);
}

Test(channel_topic, subscriber_does_not_wait_for_a_publisher_that_cannot_ring)
{
	struct ivs_channel *channel;

	open_publisher(8);
	open_subscriber(false, false);
	all.channels[0]->polled_ns = 0; /* so that it looks for subscribers */
	publish(1);
	expect(subscriber, 1);
	channel = (struct ivs_channel *)subscriber;
	cr_expect_not(channel->set_sleeps(channel, true), "a peer at shm: has no id");
}

Test(channel_topic, publisher_without_its_section_writes_nothing)
{
	struct ivs_channels *former = all.channels[0];
	uint8_t *section = ivs_channels_own(former);
	size_t len = former->layout.section_len - IVS_SECTION_ARENA_AT;
	uint8_t *before = malloc(len);
	uint64_t n = UINT64_MAX;

	open_publisher(2);
	test_channels_reopen(&all, 0);
	open_subscriber(false, false);
	cr_expect_eq(ivs_channels_wait(former, 0), IVS_CHANNEL_E_SECTION);
	cr_assert_not_null(before);
	memcpy(before, section + IVS_SECTION_ARENA_AT, len);
	cr_expect_eq(ivs_topic_publish(publisher, &n, sizeof(n)), IVS_CHANNEL_E_SECTION);
	cr_expect_null(ivs_topic_reserve(publisher));
	ivs_topic_close(publisher);
	publisher = NULL;
	cr_expect(!memcmp(before, section + IVS_SECTION_ARENA_AT, len));
	free(before);
	ivs_channels_close(former);
}

/* Let the publisher be where it would be after as many messages. */
static void pretend_to_publish(uint64_t messages_n)
{
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint8_t *section = ivs_channels_own(all.channels[0]);
	uint64_t life;

	cr_assert(ivs_channels_find(all.channels[1], IVS_ROLE_PUBLISHER, "t", false, &at, &life,
				    &view));
	for (uint64_t i = messages_n - view.shape.slots_n; i < messages_n; i++) {
		uint32_t n = (uint32_t)(i % view.shape.slots_n);
		uint8_t *slot = section + view.at + (uint64_t)n * view.shape.slot_len;
		uint8_t *buffer = section + view.pool_at + (uint64_t)n * view.pool.buffer_len;

		ivs_shared_store((uint64_t *)(void *)buffer, i);
		ivs_shared_store((uint64_t *)(void *)slot + 1, ivs_pool_item(n, 8));
		ivs_shared_store((uint64_t *)(void *)slot,
				 (uint64_t)(view.shape.base + 1 + (uint32_t)i) << 32 | 8);
	}
	ivs_shared_store(ivs_section_endpoint(section, at.index) + IVS_ENDPOINT_POSITION,
			 messages_n);
}

Test(channel_topic, subscriber_that_is_very_far_behind_continues)
{
	const uint64_t messages_n = (UINT64_C(3) << 30) + 5;

	open_publisher(8);
	open_subscriber(false, false);
	pretend_to_publish(messages_n);
	expect(subscriber, messages_n - 4);
	cr_expect_eq(ivs_topic_missed(subscriber), messages_n - 4);
}

static void *protected_page;
static uint64_t *slot_in_use;
static unsigned int pauses_n;

/* The library pauses instead of waiting for doorbells. */
int nanosleep(const struct timespec *time, struct timespec *left)
{
	pauses_n++;
	return clock_nanosleep(CLOCK_MONOTONIC, 0, time, left);
}

/* While a message is copied, the publisher takes it back. */
static void take_back(int signum)
{
	(void)signum;
	ivs_shared_store(slot_in_use, ivs_shared_load(slot_in_use) - (UINT64_C(8) << 32));
	if (mprotect(protected_page, 4096, PROT_READ | PROT_WRITE))
		abort();
}

Test(channel_topic, publisher_that_takes_a_message_back_does_not_prolong_a_call)
{
	const struct sigaction action = {.sa_handler = take_back};
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;
	size_t len;

	open_publisher(8);
	open_subscriber(false, false);
	publish(1);
	cr_assert(ivs_channels_find(all.channels[1], IVS_ROLE_PUBLISHER, "t", false, &at, &life,
				    &view));
	slot_in_use = (uint64_t *)(void *)((uint8_t *)ivs_channels_own(all.channels[0]) + view.at);
	protected_page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(protected_page, MAP_FAILED);
	cr_assert_eq(sigaction(SIGSEGV, &action, NULL), 0);
	cr_expect_eq(ivs_topic_receive(subscriber, protected_page, 8, &len, 50),
		     IVS_CHANNEL_E_TIMEOUT);
	cr_expect_eq(pauses_n, 0, "the call has waited %u times after the message came", pauses_n);
}

Test(channel_topic, subscriber_that_lost_its_section_says_so)
{
	struct ivs_channels *former = all.channels[1];

	open_subscriber(false, false);
	test_channels_reopen(&all, 1);
	cr_expect_eq(ivs_channels_wait(former, 0), IVS_CHANNEL_E_SECTION);
	open_publisher(8);
	expect_result(subscriber, IVS_CHANNEL_E_SECTION);
	ivs_topic_close(subscriber);
	subscriber = NULL;
	ivs_channels_close(former);
}

/* A program that also subscribes processes its events when it receives. */
Test(channel_topic, publisher_that_subscribes_finds_subscribers)
{
	open_publisher(8);
	cr_assert_eq(ivs_topic_open_subscriber(all.channels[0], "other", NULL, &other), 0);
	open_subscriber(false, false);
	all.channels[0]->polled_ns = 0;
	expect_result(other, IVS_CHANNEL_E_TIMEOUT);
	publish(1);
	cr_expect_eq(count_references(), 1);
}
