/* SPDX-License-Identifier: BSD-3-Clause */
/* Topics whose subscribers borrow messages. */
#include "channel.h"

#define LOANS_N 2 /* of each borrower */
#define LONG_LEN 5000u

static const struct ivs_topic_options lender = {
	.messages_n = 4, .message_len = TOPIC_MESSAGE_MAX, .borrowers_n = 1, .loans_n = LOANS_N};

struct loan {
	const void *message;
	size_t len;
};

static bool is_in_region(const struct conform *c, const struct loan *loan)
{
	const uint8_t *message = loan->message;

	return message > c->memory && message + loan->len < c->memory + c->size;
}

/* Borrow message @number of topic 0, and expect it to be in place, or to be a copy. */
static bool borrow(struct conform *c, struct loan *loan, int64_t number, bool in_place)
{
	int result = ivs_topic_borrow(own.topics[0], &loan->message, &loan->len, LONG_MS);

	if (result)
		conform_fail(c, "borrowing message %ld: %s", (long)number, channel_result(result));
	else if (topic_message_number(loan->message, loan->len) != number)
		conform_fail(c, "borrowed message %ld instead of %ld",
			     (long)topic_message_number(loan->message, loan->len), (long)number);
	else if (ivs_topic_is_in_place(own.topics[0], loan->message) != in_place)
		conform_fail(c, "message %ld is %sin place", (long)number, in_place ? "not " : "");
	else if (is_in_region(c, loan) != in_place)
		conform_fail(c, "message %ld is %sin the region", (long)number,
			     in_place ? "not " : "");
	return !c->failed;
}

/*
 * Publish from message @number on until one is borrowed in place: the publisher looks for new
 * subscribers at most once per millisecond. Return: the number of that message, which was given
 * back; -1 after a failure.
 */
static int64_t meet(struct conform *c, unsigned int slot, int64_t number)
{
	int64_t end = conform_now_ms() + LONG_MS;
	bool in_place = false;

	for (; !in_place; number++) {
		struct loan loan;
		int result;

		if (!topic_ask_publish(c, slot, 0, (uint64_t)number, 1))
			return -1;
		result = ivs_topic_borrow(own.topics[0], &loan.message, &loan.len, LONG_MS);
		if (result || conform_now_ms() > end) {
			conform_fail(c, "no message in place: %s", channel_result(result));
			return -1;
		}
		if (topic_message_number(loan.message, loan.len) != number)
			conform_fail(c, "message %ld is wrong", (long)number);
		in_place = ivs_topic_is_in_place(own.topics[0], loan.message);
		ivs_topic_give_back(own.topics[0], loan.message);
	}
	return number - 1;
}

/* Publish until the partner's peer in @slot has borrowed a message in place. */
static bool meet_at_partner(struct conform *c, unsigned int slot, uint64_t number)
{
	int64_t end = conform_now_ms() + LONG_MS;
	bool in_place = false;

	for (; !in_place && !c->failed; number++) {
		if (conform_now_ms() > end)
			conform_fail(c, "the partner borrows no message in place");
		(void)(topic_publish(c, 0, number, 1) &&
		       ASK_EXPECT(c, 0, ASK_BORROW, {slot, 0, 1, LONG_MS}));
		in_place = ask_result(c, 1);
		(void)ASK_EXPECT(c, 0, ASK_GIVE_BACK, {slot, 0});
	}
	return !c->failed;
}

/*
 * Several messages that are borrowed at once do not change while the publisher continues; those
 * beyond the limit are copies.
 */
CHANNEL_CASE(in_place)
{
	struct loan loans[LOANS_N + 1];
	int64_t first;

	EXPECT_OK(topic_ask_publisher(c, 0, 0, &lender));
	EXPECT_OK(topic_open_subscriber(c, 0, SUBSCRIBER_BORROWS));
	first = meet(c, 0, 0) + 1;
	EXPECT_OK(first > 0);
	EXPECT_OK(topic_ask_publish(c, 0, 0, (uint64_t)first, LOANS_N + 1));
	for (unsigned int i = 0; i <= LOANS_N; i++)
		EXPECT_OK(borrow(c, &loans[i], first + i, i < LOANS_N));
	EXPECT_OK(topic_ask_publish(c, 0, 0, (uint64_t)first + LOANS_N + 1, 40));
	for (unsigned int i = 0; i <= LOANS_N; i++)
		EXPECT(c, topic_message_number(loans[i].message, loans[i].len) == first + i,
		       "message %u has changed while it was borrowed", i);
	EXPECT_CHANNEL(c, topic_result(0, 0), 0); /* receiving is possible meanwhile */
	for (unsigned int i = 0; i <= LOANS_N; i++)
		ivs_topic_give_back(own.topics[0], loans[i].message);
	(void)topic_receive_until(c, 0, (uint64_t)first + LOANS_N + 40);
	EXPECT_OK(!c->failed);
	EXPECT_OK(topic_ask_publish(c, 0, 0, 1000, 1));
	EXPECT_OK(borrow(c, &loans[0], 1000, true));
}

/* What was given back is used again, in any order. */
CHANNEL_CASE(again_and_again)
{
	struct loan loans[2];
	int64_t number;

	EXPECT_OK(topic_ask_publisher(c, 0, 0, &lender));
	EXPECT_OK(topic_open_subscriber(c, 0, SUBSCRIBER_BORROWS));
	number = meet(c, 0, 0) + 1;
	EXPECT_OK(number > 0);
	for (unsigned int i = 0; i < 12; i++, number += 2) {
		EXPECT_OK(topic_ask_publish(c, 0, 0, (uint64_t)number, 2));
		EXPECT_OK(borrow(c, &loans[0], number, true));
		EXPECT_OK(borrow(c, &loans[1], number + 1, true));
		ivs_topic_give_back(own.topics[0], loans[i % 2].message);
		ivs_topic_give_back(own.topics[0], loans[1 - i % 2].message);
	}
	EXPECT(c, !ivs_topic_missed(own.topics[0]), "messages were missed");
}

CHANNEL_CASE(at_partner)
{
	EXPECT_OK(topic_open_publisher(c, 0, &lender));
	EXPECT_OK(topic_ask_subscriber(c, 0, 0, SUBSCRIBER_BORROWS));
	EXPECT_OK(meet_at_partner(c, 0, 0));
	EXPECT_OK(topic_publish(c, 0, 1000, LOANS_N + 1));
	EXPECT_OK(ASK_EXPECT(c, 0, ASK_BORROW, {0, 0, LOANS_N + 1, LONG_MS}));
	EXPECT(c, ask_result(c, 1) == LOANS_N, "%ld messages are in place", (long)ask_result(c, 1));
	for (unsigned int i = 0; i < 10; i++) {
		EXPECT_OK(topic_publish(c, 0, 2000 + 5 * i, 4));
		topic_message_write(ivs_topic_reserve(own.topics[0]), topic_message_len(i), i);
		ivs_topic_commit(own.topics[0], topic_message_len(i));
	}
	EXPECT_OK(ASK_EXPECT(c, 0, ASK_GIVE_BACK, {0, 0}));
}

/* A subscriber without the option, and one more than can borrow. */
CHANNEL_CASE(copies)
{
	struct loan loan;

	EXPECT_OK(topic_open_publisher(c, 0, &lender));
	EXPECT_OK(topic_ask_subscriber(c, 0, 0, 0));
	for (unsigned int i = 0; i < 3; i++) {
		EXPECT_OK(topic_publish(c, 0, i, 1));
		EXPECT_OK(ASK_EXPECT(c, 0, ASK_BORROW, {0, 0, 1, LONG_MS}));
		EXPECT(c, !ask_result(c, 1), "a subscriber without the option borrows in place");
		EXPECT_OK(ASK_EXPECT(c, 0, ASK_GIVE_BACK, {0, 0}));
		channel_pass_time();
	}
	EXPECT_OK(topic_ask_subscriber(c, 0, 0, SUBSCRIBER_BORROWS));
	EXPECT_OK(meet_at_partner(c, 0, 10));
	EXPECT_CHANNEL(
		c,
		ivs_topic_open_subscriber(own.channels, "topic 0",
					  &(const struct ivs_subscriber_options){.borrows = true},
					  &own.topics[1]),
		0);
	for (unsigned int i = 0; i < 3; i++) {
		EXPECT_OK(topic_publish(c, 0, 1000 + i, 1));
		EXPECT_CHANNEL(
			c, ivs_topic_borrow(own.topics[1], &loan.message, &loan.len, LONG_MS), 0);
		EXPECT(c, topic_message_number(loan.message, loan.len) == 1000 + i,
		       "a message is wrong");
		EXPECT(c, !ivs_topic_is_in_place(own.topics[1], loan.message),
		       "a second borrower borrows in place");
		ivs_topic_give_back(own.topics[1], loan.message);
		channel_pass_time();
	}
}

/* Messages of a page or more are aligned to pages, at both sides. */
CHANNEL_CASE(alignment)
{
	const struct ivs_topic_options opts = {
		.messages_n = 2, .message_len = LONG_LEN, .borrowers_n = 1, .loans_n = 1};
	struct loan loan;
	uint8_t *memory;

	EXPECT_OK(topic_open_publisher(c, 0, &opts));
	EXPECT_OK(topic_ask_subscriber(c, 0, 0, SUBSCRIBER_BORROWS));
	EXPECT_OK(meet_at_partner(c, 0, 0));
	memory = ivs_topic_reserve(own.topics[0]);
	EXPECT(c, !((uintptr_t)memory % PAGE), "the memory at %p is not aligned", (void *)memory);
	topic_message_write(memory, LONG_LEN, 1000);
	ivs_topic_commit(own.topics[0], LONG_LEN);
	EXPECT_OK(ASK_EXPECT(c, 0, ASK_BORROW, {0, 0, 1, LONG_MS}));
	EXPECT(c, ask_result(c, 1) == 1 && !(ask_result(c, 2) % (int64_t)PAGE),
	       "the partner has %ld messages in place, and an address that ends with %lx",
	       (long)ask_result(c, 1), (unsigned long)ask_result(c, 2) % PAGE);
	topic_close(0);
	EXPECT_OK(ASK_EXPECT(c, 0, ASK_GIVE_BACK, {0, 0}));
	EXPECT_OK(topic_ask_publisher(c, 0, 0, &opts));
	EXPECT_OK(topic_open_subscriber(c, 0, SUBSCRIBER_BORROWS));
	EXPECT_OK(meet(c, 0, 0) >= 0);
	EXPECT_OK(ASK_EXPECT(c, 0, ASK_PUBLISH, {0, 0, 1000, 1, LONG_LEN}));
	EXPECT_OK(borrow(c, &loan, 1000, true));
	EXPECT(c, loan.len == LONG_LEN && !((uintptr_t)loan.message % PAGE), "%zu bytes at %p",
	       loan.len, loan.message);
}

/* What was borrowed does not change, and can be given back, after the publisher is gone. */
CHANNEL_CASE(publisher_closes)
{
	struct loan loan;
	int64_t number;

	EXPECT_OK(topic_ask_publisher(c, 0, 0, &lender));
	EXPECT_OK(topic_open_subscriber(c, 0, SUBSCRIBER_BORROWS));
	number = meet(c, 0, 0) + 1;
	EXPECT_OK(number > 0);
	EXPECT_OK(topic_ask_publish(c, 0, 0, (uint64_t)number, 1));
	EXPECT_OK(borrow(c, &loan, number, true));
	EXPECT_OK(ASK_EXPECT(c, 0, ASK_TOPIC_CLOSE, {0, 0}));
	EXPECT_CHANNEL(c, topic_result(0, LONG_MS), IVS_CHANNEL_E_ENDED);
	EXPECT(c, topic_message_number(loan.message, loan.len) == number,
	       "the message has changed");
	EXPECT_OK(topic_ask_publisher(c, 0, 0, &lender));
	EXPECT_OK(topic_look(c, 0));
	EXPECT_OK(meet(c, 0, 0) >= 0);
	EXPECT(c, topic_message_number(loan.message, loan.len) == number,
	       "the message has changed after another publisher came");
	ivs_topic_give_back(own.topics[0], loan.message);
	EXPECT_OK(topic_ask_publish(c, 0, 0, 1000, 2));
	EXPECT_OK(borrow(c, &loan, 1000, true));
	EXPECT_OK(borrow(c, &loan, 1001, true)); /* and closed with both */
}

/* A subscriber that is closed gives back what it has borrowed, so that another one can borrow. */
CHANNEL_CASE(subscriber_closes)
{
	struct loan loan;
	int64_t number;

	EXPECT_OK(topic_ask_publisher(c, 0, 0, &lender));
	for (unsigned int i = 0; i < 3; i++) {
		EXPECT_OK(topic_open_subscriber(c, 0, SUBSCRIBER_BORROWS));
		number = meet(c, 0, 0) + 1;
		EXPECT_OK(number > 0);
		EXPECT_OK(topic_ask_publish(c, 0, 0, (uint64_t)number, LOANS_N));
		for (unsigned int j = 0; j < LOANS_N; j++)
			EXPECT_OK(borrow(c, &loan, number + j, true));
		topic_close(0);
	}
}

static void borrower_dies_in_slot(struct conform *c)
{
	EXPECT_OK(topic_open_publisher(c, 0, &lender));
	EXPECT_OK(channel_other_comes(c));
	EXPECT_OK(topic_ask_subscriber(c, 1, 0, SUBSCRIBER_BORROWS));
	EXPECT_OK(meet_at_partner(c, 1, 0));
	EXPECT_OK(topic_publish(c, 0, 1000, LOANS_N));
	EXPECT_OK(ASK_EXPECT(c, 0, ASK_BORROW, {1, 0, LOANS_N, LONG_MS}));
	EXPECT(c, ask_result(c, 1) == LOANS_N, "%ld messages are in place", (long)ask_result(c, 1));
	EXPECT_OK(channel_other_dies(c));
	EXPECT_OK(topic_ask_subscriber(c, 0, 0, SUBSCRIBER_BORROWS));
	EXPECT_OK(meet_at_partner(c, 0, 2000));
	EXPECT_OK(topic_publish(c, 0, 3000, LOANS_N));
	EXPECT_OK(ASK_EXPECT(c, 0, ASK_BORROW, {0, 0, LOANS_N, LONG_MS}));
	EXPECT(c, ask_result(c, 1) == LOANS_N, "%ld messages are in place", (long)ask_result(c, 1));
	EXPECT_OK(topic_publish(c, 0, 4000, 40));
	EXPECT_OK(ASK_EXPECT(c, 0, ASK_GIVE_BACK, {0, 0}));
}

CHANNEL_CASE(borrower_dies)
{
	borrower_dies_in_slot(c);
	channel_other_leaves(c);
}

static void lender_dies_in_slot(struct conform *c)
{
	struct loan loan;
	int64_t number;

	EXPECT_OK(channel_other_comes(c));
	EXPECT_OK(topic_ask_publisher(c, 1, 0, &lender));
	EXPECT_OK(topic_open_subscriber(c, 0, SUBSCRIBER_BORROWS));
	number = meet(c, 1, 0) + 1;
	EXPECT_OK(number > 0);
	EXPECT_OK(topic_ask_publish(c, 1, 0, (uint64_t)number, 1));
	EXPECT_OK(borrow(c, &loan, number, true));
	EXPECT_OK(channel_other_dies(c));
	EXPECT_CHANNEL(c, topic_result(0, LONG_MS), IVS_CHANNEL_E_ENDED);
	/* Without a roster, another peer has taken the section, and may write to it. */
	if (can(c, IVS_CAP_ROSTER))
		EXPECT(c, topic_message_number(loan.message, loan.len) == number,
		       "the message has changed");
	ivs_topic_give_back(own.topics[0], loan.message);
	EXPECT_OK(topic_ask_publisher(c, 0, 0, &lender));
	EXPECT_OK(topic_look(c, 0));
	EXPECT_OK(meet(c, 0, 0) >= 0);
}

CHANNEL_CASE(lender_dies)
{
	lender_dies_in_slot(c);
	channel_other_leaves(c);
}

const struct conform_case channel_borrow_cases[] = {
	{"topic: messages are borrowed in place", in_place},
	{"topic: messages are borrowed again and again", again_and_again},
	{"topic: the partner borrows messages", at_partner},
	{"topic: copies of messages are borrowed", copies},
	{"topic: long messages are aligned", alignment},
	{"topic: the publisher closes while a message is borrowed", publisher_closes},
	{"topic: a borrower closes", subscriber_closes},
	{"topic: a borrower dies", borrower_dies},
	{"topic: the publisher dies while a message is borrowed", lender_dies},
	{0},
};
