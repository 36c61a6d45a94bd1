/* SPDX-License-Identifier: BSD-3-Clause */
/* Test of a subscriber whose publisher, which is hostile, overwrites each message meanwhile. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "channel/channels.h"
#include "channel/shared.h"
#include "support/c/channel_pair.h"

#define MESSAGE_LEN (1u << 20)
#define STEPS_MAX 120 /* of four tries, with as many looks each as an overtaken subscriber makes */

static struct test_channels all;
static struct ivs_endpoint_view view;
static uint64_t *endpoint;
static uint64_t position;
static unsigned int steps_n;
static bool overtakes;
static bool publishing;

/* Fill all slots with the next messages, which are all in the same buffer. */
static void publish_all(void)
{
	uint8_t *slots = (uint8_t *)ivs_channels_own(all.channels[0]) + view.at;

	publishing = true;
	for (unsigned int i = 0; i < view.shape.slots_n; i++) {
		uint64_t number = view.shape.base + 1 + (uint32_t)position;
		uint64_t *slot = (uint64_t *)(void *)(slots +
						      (position & (view.shape.slots_n - 1)) *
							      (uint64_t)view.shape.slot_len);

		ivs_shared_store(slot + 1, ivs_pool_item(0, MESSAGE_LEN));
		ivs_shared_store(slot, (uint32_t)number * (UINT64_C(1) << 32) | IVS_POOL_ITEM_LEN);
		ivs_shared_store(&endpoint[IVS_ENDPOINT_POSITION], ++position);
	}
	publishing = false;
}

/* The steps that precede a copy are not distinguished from others: overtake at each fourth one. */
void ivs_shared_step(void)
{
	if (!overtakes || publishing)
		return;
	if (++steps_n % 4 == 0)
		publish_all();
}

static void open_pair(struct ivs_topic **publisher, struct ivs_topic **subscriber)
{
	const struct ivs_topic_options opts = {4, MESSAGE_LEN, 1, 1};
	struct ivs_endpoint_ref at = {0};
	uint64_t life;

	all = test_channels_open(1u << 29, 2);
	cr_assert_eq(ivs_topic_open_publisher(all.channels[0], "t", &opts, publisher), 0);
	cr_assert(ivs_channels_find(all.channels[1], IVS_ROLE_PUBLISHER, NULL, false, &at, &life,
				    &view));
	endpoint = ivs_section_endpoint(ivs_channels_own(all.channels[0]), at.index);
	cr_assert_eq(ivs_topic_open_subscriber(all.channels[1], "t", NULL, subscriber), 0);
	publish_all();
	overtakes = true;
}

static void close_pair(struct ivs_topic *publisher, struct ivs_topic *subscriber)
{
	overtakes = false;
	ivs_topic_close(subscriber);
	ivs_topic_close(publisher);
	test_channels_close(&all);
}

Test(channel_overtaken, call_that_borrows_copies_a_long_message_a_few_times)
{
	struct ivs_topic *publisher;
	struct ivs_topic *subscriber;
	const void *message;
	size_t len;

	open_pair(&publisher, &subscriber);
	cr_expect_eq(ivs_topic_borrow(subscriber, &message, &len, 0), IVS_CHANNEL_E_TIMEOUT);
	cr_expect_leq(steps_n, STEPS_MAX, "%u steps", steps_n);
	close_pair(publisher, subscriber);
}

Test(channel_overtaken, call_that_receives_copies_a_long_message_a_few_times)
{
	struct ivs_topic *publisher;
	struct ivs_topic *subscriber;
	void *buffer = malloc(MESSAGE_LEN);
	size_t len;

	cr_assert_not_null(buffer);
	open_pair(&publisher, &subscriber);
	cr_expect_eq(ivs_topic_receive(subscriber, buffer, MESSAGE_LEN, &len, 0),
		     IVS_CHANNEL_E_TIMEOUT);
	cr_expect_leq(steps_n, STEPS_MAX, "%u steps", steps_n);
	close_pair(publisher, subscriber);
	free(buffer);
}
