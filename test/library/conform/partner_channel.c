/* SPDX-License-Identifier: BSD-3-Clause */
#include "partner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct partner_channels partner_abandoned[ABANDONED_MAX];

static int open_channels(struct partner_channels *own, struct ivs_peer *peer, uint32_t section)
{
	struct ivs_channels_options opts = IVS_CHANNELS_OPTIONS_INIT;
	struct ivs_error err;
	int result;

	opts.sections_n = SECTIONS_N;
	if (ivs_peer_id(peer) < 0)
		opts.section = section;
	result = ivs_channels_open(peer, &opts, &own->channels, &err);
	if (result)
		fprintf(stderr, "partner: %s\n", err.text);
	return result;
}

static void close_channels(struct partner_channels *own)
{
	for (unsigned int i = 0; i < QUEUES_MAX; i++)
		ivs_queue_close(own->queues[i]);
	partner_topics_close(own);
	partner_streams_close(own);
	ivs_channels_close(own->channels);
	*own = (struct partner_channels){0};
}

void partner_channels_abandon(struct partner_channels *own)
{
	static unsigned int n;

	if (own->channels)
		partner_abandoned[n++ % ABANDONED_MAX] = *own;
	*own = (struct partner_channels){0};
}

static int open_queue(struct partner_channels *own, struct mailbox *mailbox)
{
	struct ivs_queue_options opts = {arg_high(mailbox->args[3]), MESSAGE_MAX};
	struct ivs_queue **queue = &own->queues[mailbox->args[1] % QUEUES_MAX];
	char name[CHANNEL_NAME_LEN];

	queue_name(name, arg_low(mailbox->args[2]));
	ivs_queue_close(*queue);
	*queue = NULL;
	return arg_low(mailbox->args[3]) ? ivs_queue_open_sender(own->channels, name, &opts, queue)
					 : ivs_queue_open_receiver(own->channels, name, queue);
}

static int send_one(struct ivs_queue *queue, uint64_t number, int timeout_ms)
{
	uint8_t message[MESSAGE_MAX];

	pattern_write(message, message_len(number), number);
	return ivs_queue_send(queue, message, message_len(number), timeout_ms);
}

static int receive_one(struct ivs_queue *queue, uint64_t number, int timeout_ms)
{
	uint8_t message[MESSAGE_MAX];
	uint64_t first;
	size_t len;
	int result = ivs_queue_receive(queue, message, sizeof(message), &len, timeout_ms);

	if (result)
		return result;
	if (len != message_len(number) || pattern_check(message, len, number, &first))
		return -EBADMSG;
	return 0;
}

/* Return: the result for the last message; *done: the number of messages before it. */
static int transfer(struct ivs_queue *queue, bool sends, struct mailbox *mailbox, int64_t *done)
{
	uint64_t number = mailbox->args[2];
	int timeout_ms = (int)arg_low(mailbox->args[4]);
	int result = 0;

	partner_sleep_ms(arg_high(mailbox->args[4]));
	for (*done = 0; !result && (uint64_t)*done < mailbox->args[3]; number++) {
		do {
			result = sends ? send_one(queue, number, timeout_ms)
				       : receive_one(queue, number, timeout_ms);
		} while (result == -EINTR);
		*done += !result;
	}
	return result;
}

void partner_channels_answer(struct partner_channels *own, struct ivs_peer *peer,
			     struct mailbox *mailbox)
{
	struct ivs_queue **queue = &own->queues[mailbox->args[1] % QUEUES_MAX];
	int64_t done = 0;
	int result = 0;

	if (partner_topics_answer(own, mailbox) || partner_streams_answer(own, mailbox))
		return;
	switch ((enum request)mailbox->request) {
	case ASK_CHANNELS_OPEN:
		result = open_channels(own, peer, (uint32_t)mailbox->args[1]);
		break;
	case ASK_CHANNELS_CLOSE:
		close_channels(own);
		break;
	case ASK_QUEUE_OPEN:
		result = open_queue(own, mailbox);
		break;
	case ASK_QUEUE_CLOSE:
		ivs_queue_close(*queue);
		*queue = NULL;
		break;
	case ASK_SEND:
		result = transfer(*queue, true, mailbox, &done);
		break;
	case ASK_RECEIVE:
		result = transfer(*queue, false, mailbox, &done);
		break;
	default:
		break;
	}
	mailbox->results[0] = result;
	mailbox->results[1] = done;
}
