/* SPDX-License-Identifier: BSD-3-Clause */
#include "partner.h"

#include <errno.h>
#include <time.h>

#include "conform.h"

static int open_topic(struct partner_channels *own, struct mailbox *mailbox)
{
	struct ivs_topic **topic = &own->topics[mailbox->args[1] % TOPICS_MAX];
	uint64_t size = mailbox->args[3];
	const struct ivs_topic_options sizes = {
		.messages_n = arg_low(size),
		.message_len = arg_high(size),
		.borrowers_n = arg_low(mailbox->args[4]),
		.loans_n = arg_high(mailbox->args[4]),
	};
	const struct ivs_subscriber_options opts = {
		.newest = size & SUBSCRIBER_NEWEST,
		.last = size & SUBSCRIBER_LAST,
		.borrows = size & SUBSCRIBER_BORROWS,
	};
	char name[CHANNEL_NAME_LEN];

	topic_name(name, arg_low(mailbox->args[1]));
	ivs_topic_close(*topic);
	*topic = NULL;
	return mailbox->args[2] ? ivs_topic_open_publisher(own->channels, name, &sizes, topic)
				: ivs_topic_open_subscriber(own->channels, name, &opts, topic);
}

/* Return: the result for the last message; *done: the number of messages before it. */
static int publish(struct ivs_topic *topic, struct mailbox *mailbox, int64_t *done)
{
	uint64_t message[TOPIC_ROOM / sizeof(uint64_t)];
	uint64_t number = mailbox->args[2];
	int result = 0;

	partner_sleep_ms(arg_high(mailbox->args[4]));
	for (*done = 0; !result && (uint64_t)*done < mailbox->args[3]; number++) {
		size_t len = arg_low(mailbox->args[4]);

		len = len ? len : topic_message_len(number);
		topic_message_write(message, len, number);
		result = ivs_topic_publish(topic, message, len);
		*done += !result;
	}
	return result;
}

/* A publisher that is too fast has the same result as a time limit that expires. */
static int receive_one(struct ivs_topic *topic, int64_t *number, int timeout_ms)
{
	uint64_t message[TOPIC_ROOM / sizeof(uint64_t)];
	int64_t end = conform_now_ms() + timeout_ms;
	size_t len;
	int result;

	do {
		result = ivs_topic_receive(topic, message, sizeof(message), &len, timeout_ms);
	} while (result == -EINTR || (result == IVS_CHANNEL_E_TIMEOUT && conform_now_ms() < end));
	if (!result)
		*number = topic_message_number(message, len);
	return result;
}

static int receive(struct ivs_topic *topic, struct mailbox *mailbox, int64_t *done)
{
	int64_t last = (int64_t)mailbox->args[2];
	int64_t before = -1;

	partner_sleep_ms(arg_high(mailbox->args[3]));
	for (*done = 0; before != last; (*done)++) {
		int64_t number = -1;
		int result = receive_one(topic, &number, (int)arg_low(mailbox->args[3]));

		if (result)
			return result;
		if (number <= before || number > last)
			return -EBADMSG;
		before = number;
	}
	return 0;
}

static int borrow(struct partner_channels *own, struct ivs_topic *topic, struct mailbox *mailbox)
{
	int result = 0;

	mailbox->results[1] = mailbox->results[2] = 0;
	for (uint64_t i = 0; i < mailbox->args[2] && own->loans_n < LOANS_MAX; i++) {
		struct partner_loan *loan = &own->loans[own->loans_n];

		do {
			result = ivs_topic_borrow(topic, &loan->message, &loan->len,
						  (int)mailbox->args[3]);
		} while (result == -EINTR);
		if (result)
			return result;
		own->loans_n++;
		loan->number = topic_message_number(loan->message, loan->len);
		if (loan->number < 0)
			return -EBADMSG;
		mailbox->results[1] += ivs_topic_is_in_place(topic, loan->message);
		mailbox->results[2] |= (int64_t)(uintptr_t)loan->message;
	}
	return result;
}

static int give_back(struct partner_channels *own, struct ivs_topic *topic)
{
	int result = 0;

	while (own->loans_n) {
		const struct partner_loan *loan = &own->loans[--own->loans_n];

		if (topic_message_number(loan->message, loan->len) != loan->number)
			result = -EBADMSG;
		ivs_topic_give_back(topic, loan->message);
	}
	return result;
}

static void close_topic(struct partner_channels *own, unsigned int number)
{
	ivs_topic_close(own->topics[number]);
	own->topics[number] = NULL;
}

void partner_topics_close(struct partner_channels *own)
{
	for (unsigned int i = 0; i < TOPICS_MAX; i++)
		close_topic(own, i);
}

bool partner_topics_answer(struct partner_channels *own, struct mailbox *mailbox)
{
	struct ivs_topic *topic = own->topics[mailbox->args[1] % TOPICS_MAX];
	int64_t done = 0;

	switch ((enum request)mailbox->request) {
	case ASK_TOPIC_OPEN:
		mailbox->results[0] = open_topic(own, mailbox);
		return true;
	case ASK_TOPIC_CLOSE:
		close_topic(own, mailbox->args[1] % TOPICS_MAX);
		own->loans_n = 0;
		mailbox->results[0] = 0;
		return true;
	case ASK_PUBLISH:
		mailbox->results[0] = publish(topic, mailbox, &done);
		mailbox->results[1] = done;
		return true;
	case ASK_TOPIC_RECEIVE:
		mailbox->results[0] = receive(topic, mailbox, &done);
		mailbox->results[1] = done;
		mailbox->results[2] = (int64_t)ivs_topic_missed(topic);
		return true;
	case ASK_BORROW:
		mailbox->results[0] = borrow(own, topic, mailbox);
		return true;
	case ASK_GIVE_BACK:
		mailbox->results[0] = give_back(own, topic);
		return true;
	default:
		return false;
	}
}
