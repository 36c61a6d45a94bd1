/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of places in the table and of memory that are used for another queue. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "channel/queue.h"
#include "support/c/channel_pair.h"

static struct test_channels all;

static void open_all(void)
{
	all = test_channels_open(1u << 20, 2);
}

static void close_all(void)
{
	test_channels_close(&all);
}

TestSuite(channel_reuse, .init = open_all, .fini = close_all);

static struct ivs_queue *open_sender(const char *name, uint32_t messages_n)
{
	const struct ivs_queue_options opts = {messages_n, 8};
	struct ivs_queue *queue;

	cr_assert_eq(ivs_queue_open_sender(all.channels[0], name, &opts, &queue), 0);
	return queue;
}

/* A reader that has the lane's former shape must not take the messages for those of its lane. */
Test(channel_reuse, lanes_in_the_same_memory_have_distant_numbers)
{
	uint32_t bases[32];
	const void *memory = NULL;

	for (unsigned int i = 0; i < 32; i++) {
		struct ivs_queue *queue = open_sender("q", 16);

		cr_assert(!i || queue->outlet.lane.slots == memory);
		memory = queue->outlet.lane.slots;
		bases[i] = queue->outlet.lane.shape.base;
		for (unsigned int j = 0; j < i; j++)
			cr_expect_gt((uint32_t)(bases[i] - bases[j] + 1000), 2000);
		ivs_queue_close(queue);
	}
}

/* The sender closed its queue before it knew the reader, which had just attached. */
Test(channel_reuse, reader_sees_that_the_place_has_another_sender)
{
	struct ivs_queue *first = open_sender("q", 2);
	struct ivs_queue *second = open_sender("y", 2);
	unsigned int index = first->outlet.index;
	struct ivs_queue *receiver;
	struct ivs_queue *third;
	uint64_t n;
	size_t len;

	cr_assert_eq(ivs_queue_open_receiver(all.channels[1], "q", &receiver), 0);
	cr_assert_eq(ivs_queue_peers(receiver), 1);
	ivs_channels_give_back(all.channels[0], index);
	third = open_sender("z", 16); /* elsewhere in the arena: the first one's slots stay */
	cr_assert_eq(third->outlet.index, index);
	cr_expect_eq(ivs_queue_receive(receiver, &n, sizeof(n), &len, 0), IVS_CHANNEL_E_ENDED);
	cr_expect_eq(ivs_queue_peers(receiver), 0);
	ivs_queue_close(receiver);
	ivs_queue_close(second);
	ivs_queue_close(third);
	ivs_channel_remove(&first->base);
	free(first);
}
