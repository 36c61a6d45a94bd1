/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of queues between peers in a plain region: messages, ends, limits, and wrong values. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "channel/queue.h"
#include "channel/shared.h"
#include "support/c/channel_pair.h"

#define REGION_LEN (1u << 20)

static struct test_channels all;
static struct ivs_queue *sender;
static struct ivs_queue *receiver;

static void open_all(void)
{
	all = test_channels_open(REGION_LEN, 3);
	sender = receiver = NULL;
}

static void close_all(void)
{
	ivs_queue_close(sender);
	ivs_queue_close(receiver);
	test_channels_close(&all);
}

TestSuite(channel_queue, .init = open_all, .fini = close_all);

static void open_pair(uint32_t messages_n, uint32_t message_len)
{
	const struct ivs_queue_options opts = {messages_n, message_len};

	cr_assert_eq(ivs_queue_open_sender(all.channels[0], "q", &opts, &sender), 0);
	cr_assert_eq(ivs_queue_open_receiver(all.channels[1], "q", &receiver), 0);
}

static void send_number(struct ivs_queue *queue, uint64_t n)
{
	cr_assert_eq(ivs_queue_send(queue, &n, sizeof(n), 0), 0);
}

static void expect_number(struct ivs_queue *queue, uint64_t expected)
{
	uint64_t n = 0;
	size_t len = 0;
	int result = ivs_queue_receive(queue, &n, sizeof(n), &len, 0);

	cr_assert_eq(result, 0, "%s instead of %lu", ivs_channel_strerror(result), expected);
	cr_expect_eq(len, sizeof(n));
	cr_expect_eq(n, expected, "%lu instead of %lu", n, expected);
}

static int receive_result(struct ivs_queue *queue)
{
	uint64_t n;
	size_t len;

	return ivs_queue_receive(queue, &n, sizeof(n), &len, 0);
}

Test(channel_queue, messages_arrive_in_order_over_many_laps)
{
	uint64_t sent = 0;
	uint64_t got = 0;

	open_pair(4, 8);
	for (unsigned int lap = 0; lap < 1000; lap++) {
		for (unsigned int n = lap % 4 + 1; n; n--)
			send_number(sender, sent++);
		while (got < sent)
			expect_number(receiver, got++);
	}
	cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_TIMEOUT);
}

Test(channel_queue, messages_of_all_lengths_arrive)
{
	uint8_t sent[300];
	uint8_t got[300];
	size_t len;

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 7 + 1);
	open_pair(2, sizeof(sent));
	for (size_t n = 0; n <= sizeof(sent); n++) {
		cr_assert_eq(ivs_queue_send(sender, sent, n, 0), 0);
		cr_assert_eq(ivs_queue_receive(receiver, got, sizeof(got), &len, 0), 0);
		cr_assert_eq(len, n);
		cr_assert(!memcmp(sent, got, n));
	}
	cr_expect_eq(ivs_queue_send(sender, sent, sizeof(sent) + 1, 0), IVS_CHANNEL_E_TOO_LONG);
}

Test(channel_queue, message_that_is_longer_than_the_buffer_stays)
{
	uint8_t small[4];
	size_t len;

	open_pair(2, 8);
	send_number(sender, 5);
	cr_expect_eq(ivs_queue_receive(receiver, small, sizeof(small), &len, 0),
		     IVS_CHANNEL_E_TOO_LONG);
	cr_expect_eq(len, 8);
	expect_number(receiver, 5);
}

Test(channel_queue, receiver_may_be_opened_before_the_sender)
{
	cr_assert_eq(ivs_queue_open_receiver(all.channels[1], "q", &receiver), 0);
	cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_TIMEOUT);
	cr_assert_eq(ivs_queue_open_sender(all.channels[0], "q", NULL, &sender), 0);
	send_number(sender, 1);
	cr_assert_eq(ivs_channels_wait(all.channels[1], 1000), 0);
	expect_number(receiver, 1);
}

Test(channel_queue, full_queue_sends_nothing_and_loses_nothing)
{
	open_pair(4, 8);
	for (uint64_t n = 0; n < 4; n++)
		send_number(sender, n);
	cr_expect_eq(ivs_queue_send(sender, "", 1, 0), IVS_CHANNEL_E_TIMEOUT);
	cr_expect_eq(ivs_queue_flush(sender, 1), IVS_CHANNEL_E_TIMEOUT);
	for (uint64_t n = 0; n < 4; n++)
		expect_number(receiver, n);
	cr_expect_eq(ivs_queue_flush(sender, 0), 0);
	send_number(sender, 4);
	expect_number(receiver, 4);
}

Test(channel_queue, peek_and_reserve_return_the_same_memory_again)
{
	const void *first;
	const void *second;
	void *one;
	void *two;
	size_t len;

	open_pair(4, 8);
	cr_assert_eq(ivs_queue_reserve(sender, &one, 0), 0);
	cr_assert_eq(ivs_queue_reserve(sender, &two, 0), 0);
	cr_expect_eq(one, two);
	memcpy(one, "abcd", 4);
	ivs_queue_commit(sender, 4);
	cr_assert_eq(ivs_queue_peek(receiver, &first, &len, 0), 0);
	cr_assert_eq(ivs_queue_peek(receiver, &second, &len, 0), 0);
	cr_expect_eq(first, second);
	cr_expect_eq(len, 4);
	cr_expect(!memcmp(first, "abcd", 4));
	ivs_queue_release(receiver);
	ivs_queue_release(receiver); /* has no effect */
	send_number(sender, 9);
	expect_number(receiver, 9);
}

Test(channel_queue, senders_of_one_name_are_drained_in_turn)
{
	struct ivs_queue *other;

	open_pair(4, 8);
	cr_assert_eq(ivs_queue_open_sender(all.channels[2], "q", NULL, &other), 0);
	cr_assert_eq(ivs_channels_wait(all.channels[1], 1000), 0);
	for (uint64_t n = 0; n < 3; n++) {
		send_number(sender, n);
		send_number(other, 100 + n);
	}
	cr_expect_eq(ivs_queue_peers(receiver), 2);
	for (uint64_t n = 0; n < 3; n++) {
		expect_number(receiver, n);
		expect_number(receiver, 100 + n);
	}
	ivs_queue_close(other);
	cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_TIMEOUT);
	cr_expect_eq(ivs_queue_peers(receiver), 1);
}

Test(channel_queue, name_has_one_receiver)
{
	struct ivs_queue *other = NULL;

	open_pair(4, 8);
	cr_expect_eq(ivs_queue_open_receiver(all.channels[2], "q", &other), IVS_CHANNEL_E_BUSY);
	cr_expect_eq(ivs_queue_open_receiver(all.channels[1], "q", &other), IVS_CHANNEL_E_BUSY);
	cr_expect_eq(ivs_queue_open_receiver(all.channels[2], "other", &other), 0);
	ivs_queue_close(other);
	ivs_queue_close(receiver);
	receiver = NULL;
	cr_expect_eq(ivs_queue_open_receiver(all.channels[2], "q", &receiver), 0);
}

Test(channel_queue, receiver_gets_what_was_sent_before_the_sender_closed)
{
	open_pair(4, 8);
	send_number(sender, 1);
	send_number(sender, 2);
	cr_expect_eq(ivs_queue_peers(sender), 1);
	ivs_queue_close(sender);
	sender = NULL;
	expect_number(receiver, 1);
	expect_number(receiver, 2);
	cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_ENDED);
	cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_TIMEOUT);
}

Test(channel_queue, receiver_gets_what_was_sent_before_the_sender_left)
{
	open_pair(4, 8);
	send_number(sender, 1);
	ivs_queue_close(sender);
	sender = NULL;
	ivs_channels_close(all.channels[0]);
	all.channels[0] = NULL;
	expect_number(receiver, 1);
	cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_ENDED);
}

Test(channel_queue, ends_when_another_peer_takes_the_section)
{
	open_pair(4, 8);
	send_number(sender, 1);
	expect_number(receiver, 1);
	all.channels[0] = NULL; /* as if the process had been killed */
	sender = NULL;
	test_channels_reopen(&all, 0);
	cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_ENDED);
	cr_assert_eq(ivs_queue_open_sender(all.channels[0], "q", NULL, &sender), 0);
	send_number(sender, 2);
	cr_assert_eq(ivs_channels_wait(all.channels[1], 1000), 0);
	expect_number(receiver, 2);
}

Test(channel_queue, sender_sees_that_the_receiver_is_gone)
{
	open_pair(2, 8);
	send_number(sender, 1);
	ivs_queue_close(receiver);
	receiver = NULL;
	send_number(sender, 2);
	cr_expect_eq(ivs_queue_send(sender, "", 0, 0), IVS_CHANNEL_E_ENDED);
	cr_expect_eq(ivs_queue_flush(sender, 0), IVS_CHANNEL_E_ENDED);
	cr_expect_eq(ivs_queue_peers(sender), 0);
}

Test(channel_queue, pauses_are_short_again_after_a_message)
{
	int64_t first_ns = all.channels[1]->pause_ns;

	open_pair(4, 8);
	for (unsigned int i = 0; i < 8; i++)
		cr_assert_eq(ivs_channels_wait(all.channels[1], 1000), 0);
	cr_expect_gt(all.channels[1]->pause_ns, first_ns);
	send_number(sender, 1);
	cr_assert_eq(ivs_channels_wait(all.channels[1], 1000), 0);
	expect_number(receiver, 1);
	cr_expect_eq(all.channels[1]->pause_ns, first_ns);
}

Test(channel_queue, two_peers_with_one_section_both_stop)
{
	struct ivs_channels *former;

	open_pair(4, 8);
	former = all.channels[1];
	test_channels_reopen(&all, 1);
	cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_SECTION);
	cr_expect_eq(ivs_channels_wait(former, 0), IVS_CHANNEL_E_SECTION);
	cr_expect_eq(ivs_channels_wait(all.channels[1], 0), IVS_CHANNEL_E_SECTION);
}

Test(channel_queue, impossible_word_breaks_one_sender_only)
{
	struct ivs_queue *other;

	open_pair(4, 8);
	cr_assert_eq(ivs_queue_open_sender(all.channels[2], "q", NULL, &other), 0);
	ivs_receiver_attach(&receiver->receiver);
	ivs_shared_publish((uint64_t *)sender->outlet.lane.slots, 12345);
	send_number(other, 7);
	cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_BROKEN);
	expect_number(receiver, 7);
	ivs_queue_close(other);
}

Test(channel_queue, impossible_length_breaks_the_queue)
{
	uint64_t *word;

	open_pair(4, 8);
	send_number(sender, 1);
	word = (uint64_t *)sender->outlet.lane.slots;
	ivs_shared_publish(word, (ivs_shared_load(word) & ~UINT64_C(0xffffffff)) | 57);
	cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_BROKEN);
}

Test(channel_queue, impossible_position_breaks_the_sender)
{
	uint64_t *position;

	open_pair(4, 8);
	send_number(sender, 1);
	position = ivs_section_endpoint(ivs_channels_own(all.channels[1]),
					receiver->receiver.inlets[0].index) +
		   IVS_ENDPOINT_POSITION;
	ivs_shared_publish(position, 2);
	cr_expect_eq(ivs_queue_flush(sender, 0), IVS_CHANNEL_E_BROKEN);
	cr_expect_eq(ivs_queue_send(sender, "", 0, 0), IVS_CHANNEL_E_BROKEN);
}

Test(channel_queue, memory_of_closed_queues_is_used_again)
{
	for (unsigned int i = 0; i < 500; i++) {
		open_pair(16, 1024);
		send_number(sender, i);
		expect_number(receiver, i);
		ivs_queue_close(i % 2 ? sender : receiver);
		ivs_queue_close(i % 2 ? receiver : sender);
	}
	sender = receiver = NULL;
}

Test(channel_queue, section_without_room_refuses_a_queue)
{
	const struct ivs_queue_options large = {1024, 1 << 20};
	const struct ivs_queue_options longest = {2, UINT32_MAX};

	cr_expect_eq(ivs_queue_open_sender(all.channels[0], "q", &large, &sender),
		     IVS_CHANNEL_E_FULL);
	cr_expect_eq(ivs_queue_open_sender(all.channels[0], "q", &longest, &sender),
		     IVS_CHANNEL_E_TOO_LONG);
	cr_assert_eq(ivs_queue_open_sender(all.channels[0], "q", NULL, &sender), 0);
}

Test(channel_queue, names_are_checked)
{
	static const char *const wrong[] = {"", "a\n", "\x7f",
					    "1234567890123456789012345678901234567890"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		cr_expect_eq(ivs_queue_open_sender(all.channels[0], wrong[i], NULL, &sender),
			     IVS_CHANNEL_E_NAME, "%s", wrong[i]);
		cr_expect_eq(ivs_queue_open_receiver(all.channels[0], wrong[i], &sender),
			     IVS_CHANNEL_E_NAME, "%s", wrong[i]);
	}
	cr_expect_eq(ivs_queue_open_sender(all.channels[0],
					   "123456789012345678901234567890123456789", NULL,
					   &sender),
		     0);
}

Test(channel_queue, what_was_received_is_not_received_again)
{
	const unsigned int places[] = {1, 0, 2}; /* sections below and above the first receiver's */

	for (unsigned int i = 0; i < 3; i++) {
		cr_assert_eq(ivs_queue_open_sender(all.channels[1], "q", NULL, &sender), 0);
		send_number(sender, 1);
		send_number(sender, 2);
		cr_assert_eq(ivs_queue_open_receiver(all.channels[1], "q", &receiver), 0);
		expect_number(receiver, 1);
		ivs_queue_close(receiver);
		cr_assert_eq(ivs_queue_open_receiver(all.channels[places[i]], "q", &receiver), 0);
		cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_TIMEOUT);
		cr_expect_eq(ivs_queue_flush(sender, 0), IVS_CHANNEL_E_ENDED);
		ivs_queue_close(sender);
		ivs_queue_close(receiver);
	}
	sender = receiver = NULL;
}

Test(channel_queue, end_is_not_reported_to_the_next_receiver)
{
	open_pair(4, 8);
	send_number(sender, 1);
	expect_number(receiver, 1);
	ivs_queue_close(receiver);
	cr_assert_eq(ivs_queue_open_receiver(all.channels[1], "q", &receiver), 0);
	for (unsigned int i = 0; i < 200; i++)
		cr_assert_eq(receive_result(receiver), IVS_CHANNEL_E_TIMEOUT);
}

/* Its process is killed, or closes its channels, before the sender knows it. */
Test(channel_queue, what_the_former_holder_received_is_not_received_again)
{
	for (unsigned int closes = 0; closes < 2; closes++) {
		cr_assert_eq(ivs_queue_open_sender(all.channels[0], "q", NULL, &sender), 0);
		send_number(sender, 1);
		send_number(sender, 2);
		cr_assert_eq(ivs_queue_open_receiver(all.channels[1], "q", &receiver), 0);
		expect_number(receiver, 1);
		if (closes) {
			ivs_queue_close(receiver);
			ivs_channels_close(all.channels[1]);
		}
		test_channels_reopen(&all, 1);
		cr_assert_eq(ivs_queue_open_receiver(all.channels[1], "q", &receiver), 0);
		cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_TIMEOUT);
		cr_expect_eq(ivs_queue_flush(sender, 0), IVS_CHANNEL_E_ENDED);
		ivs_queue_close(sender);
		ivs_queue_close(receiver);
	}
	sender = receiver = NULL;
}

Test(channel_queue, receiver_that_has_received_nothing_leaves_the_queue_to_another)
{
	cr_assert_eq(ivs_queue_open_sender(all.channels[0], "q", NULL, &sender), 0);
	send_number(sender, 1);
	cr_assert_eq(ivs_queue_open_receiver(all.channels[1], "q", &receiver), 0);
	ivs_queue_close(receiver);
	cr_assert_eq(ivs_queue_open_receiver(all.channels[2], "q", &receiver), 0);
	expect_number(receiver, 1);
	cr_expect_eq(ivs_queue_flush(sender, 0), 0);
}

/* Publish a reader of the sender's lane in section @section, as another program would. */
static void put_reader(unsigned int section, unsigned int index, uint64_t position)
{
	struct ivs_endpoint_view view = {
		.state = {IVS_ROLE_READER, false, 77},
		.target = ivs_channels_ref(sender->base.channels, sender->outlet.index,
					   sender->outlet.incarnation),
		.target_life = sender->base.channels->life,
	};
	void *memory = ivs_channels_own(all.channels[section]);

	ivs_endpoint_put(memory, index, &view);
	ivs_shared_publish(ivs_section_endpoint(memory, index) + IVS_ENDPOINT_POSITION, position);
}

Test(channel_queue, receiver_takes_no_messages_of_another_reader)
{
	cr_assert_eq(ivs_queue_open_sender(all.channels[1], "q", NULL, &sender), 0);
	cr_assert_eq(ivs_queue_open_receiver(all.channels[2], "q", &receiver), 0);
	put_reader(0, 40, 0);
	send_number(sender, 1);
	cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_ENDED);
	cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_TIMEOUT);
}

Test(channel_queue, wait_does_not_consume_the_end)
{
	open_pair(4, 8);
	send_number(sender, 1);
	expect_number(receiver, 1);
	ivs_queue_close(sender);
	sender = NULL;
	cr_assert_eq(ivs_channels_wait(all.channels[1], 1000), 0);
	cr_assert_eq(ivs_channels_wait(all.channels[1], 1000), 0);
	cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_ENDED);
}

Test(channel_queue, release_gives_back_no_message_that_was_not_returned)
{
	struct ivs_queue *other;
	const void *first;
	const void *second;
	size_t len;

	open_pair(4, 8);
	cr_assert_eq(ivs_queue_open_sender(all.channels[2], "q", NULL, &other), 0);
	ivs_receiver_attach(&receiver->receiver);
	send_number(sender, 1);
	send_number(other, 2);
	cr_assert_eq(ivs_queue_peek(receiver, &first, &len, 0), 0);
	ivs_shared_publish((uint64_t *)sender->outlet.lane.slots, 12345);
	cr_expect_eq(ivs_queue_peek(receiver, &second, &len, 0), 0);
	cr_expect_eq(first, second);
	cr_expect_eq(len, 8);
	cr_assert_eq(ivs_channels_wait(all.channels[1], 1000), 0);
	ivs_queue_release(receiver);
	expect_number(receiver, 2);
	ivs_queue_close(other);
}

Test(channel_queue, many_senders_of_one_peer_leave_room_for_others)
{
	const struct ivs_queue_options small = {2, 8};
	struct ivs_queue *many[63];
	struct ivs_queue *other;

	for (unsigned int i = 0; i < 63; i++)
		cr_assert_eq(ivs_queue_open_sender(all.channels[0], "q", &small, &many[i]), 0);
	cr_assert_eq(ivs_queue_open_receiver(all.channels[1], "q", &receiver), 0);
	cr_assert_eq(ivs_queue_open_sender(all.channels[2], "q", &small, &sender), 0);
	cr_assert_eq(ivs_channels_wait(all.channels[1], 1000), 0);
	send_number(sender, 5);
	expect_number(receiver, 5);
	cr_assert_eq(ivs_queue_open_sender(all.channels[1], "z", &small, &other), 0);
	ivs_queue_close(other);
	/* The others have their turn when these are closed. */
	for (unsigned int i = 0; i < 63; i++) {
		cr_assert_eq(ivs_channels_wait(all.channels[1], 1000), 0);
		(void)receive_result(receiver);
		send_number(many[i], i);
		cr_assert_eq(ivs_channels_wait(all.channels[1], 1000), 0);
		expect_number(receiver, i);
		ivs_queue_close(many[i]);
	}
}

Test(channel_queue, broken_queue_is_reported_once)
{
	open_pair(4, 8);
	ivs_shared_publish((uint64_t *)sender->outlet.lane.slots, 12345);
	cr_expect_eq(receive_result(receiver), IVS_CHANNEL_E_BROKEN);
	for (unsigned int i = 0; i < 300; i++)
		cr_assert_eq(receive_result(receiver), IVS_CHANNEL_E_TIMEOUT);
	cr_expect_eq(ivs_queue_flush(sender, 0), 0);
	cr_expect_eq(ivs_queue_send(sender, "", 0, 0), IVS_CHANNEL_E_ENDED);
}

Test(channel_queue, peer_that_lost_its_section_does_not_disturb_the_next)
{
	struct ivs_channels *former = all.channels[0];
	struct ivs_queue *lost;
	struct ivs_queue *incoming;
	void *memory;

	cr_assert_eq(ivs_queue_open_sender(former, "q", NULL, &lost), 0);
	cr_assert_eq(ivs_queue_open_receiver(former, "z", &incoming), 0);
	cr_assert_eq(ivs_queue_reserve(lost, &memory, 0), 0);
	test_channels_reopen(&all, 0);
	cr_expect_eq(ivs_channels_wait(former, 0), IVS_CHANNEL_E_SECTION);
	cr_expect_eq(ivs_channels_wait(all.channels[0], 0), IVS_CHANNEL_E_SECTION);
	test_channels_reopen(&all, 0);
	open_pair(4, 8);
	cr_expect_eq(ivs_channels_wait(former, 0), IVS_CHANNEL_E_SECTION);
	cr_expect_eq(receive_result(incoming), IVS_CHANNEL_E_SECTION);
	ivs_queue_commit(lost, 8);
	cr_expect_eq(ivs_queue_send(lost, "", 0, 0), IVS_CHANNEL_E_SECTION);
	ivs_queue_close(lost);
	ivs_queue_close(incoming);
	ivs_channels_close(former);
	cr_expect_eq(ivs_channels_wait(all.channels[0], 0), 0);
	send_number(sender, 3);
	expect_number(receiver, 3);
}

Test(channel_queue, flush_knows_what_a_receiver_has_released_before_it_closed)
{
	open_pair(4, 8);
	send_number(sender, 1);
	send_number(sender, 2);
	expect_number(receiver, 1);
	expect_number(receiver, 2);
	ivs_queue_close(receiver);
	receiver = NULL;
	cr_expect_eq(ivs_queue_flush(sender, 0), 0);
}

Test(channel_queue, flush_takes_no_position_of_another_reader)
{
	unsigned int index;

	open_pair(4, 8);
	send_number(sender, 1);
	send_number(sender, 2);
	expect_number(receiver, 1);
	index = receiver->receiver.inlets[0].index;
	ivs_queue_close(receiver);
	receiver = NULL;
	put_reader(1, index, 2);
	cr_expect_eq(ivs_queue_flush(sender, 0), IVS_CHANNEL_E_ENDED);
}
