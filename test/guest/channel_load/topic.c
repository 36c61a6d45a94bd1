/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define SLOTS_N 1024
#define WINDOW 256 /* messages that were not acknowledged */

static size_t index_of(char letter)
{
	return (size_t)(strchr(LETTERS, letter) - LETTERS);
}

static void topic_open(struct load *load, struct flow *flow)
{
	const struct ivs_topic_options opts = {SLOTS_N, sizeof(struct topic_message)};
	const struct ivs_subscriber_options wanted = {.last = true};

	if (!load->publisher)
		check(load, "cannot open a publisher",
		      ivs_topic_open_publisher(channels, name_of(load, own, '0'), &opts,
					       &load->publisher));
	check(load, "cannot subscribe",
	      ivs_topic_open_subscriber(channels, name_of(load, flow->peer, '0'), &wanted,
					&flow->subscriber));
}

static void publish(struct load *load, uint64_t number)
{
	struct topic_message message = {.seq = load->seq++, .number = number};
	size_t len = offsetof(struct topic_message, record);

	for (unsigned int i = 0; i < load->flows_n; i++) {
		struct flow *flow = &load->flows[i];

		flow->reported = flow->got ? 1 + flow->next : 0;
		message.acks[index_of(flow->peer)] = flow->reported;
	}
	if (number != NO_NUMBER) {
		record_fill(&message.record, own, '*', number);
		len += record_len(number);
		for (unsigned int i = 0; i < load->flows_n; i++)
			tally_add(&load->flows[i].out, &message.record, number);
	}
	message.sum = digest_of(DIGEST_START, &message.seq, len - sizeof(message.sum));
	check(load, "cannot publish", ivs_topic_publish(load->publisher, &message, len));
}

/* Publish acknowledgements if there is no record that could have them. */
static void acknowledge(struct load *load)
{
	bool is_due = !load->seq;

	for (unsigned int i = 0; i < load->flows_n; i++) {
		const struct flow *flow = &load->flows[i];
		uint64_t ack = flow->got ? 1 + flow->next : 0;

		if (!flow->reported || flow->next == load->count)
			is_due = is_due || ack != flow->reported;
		else if (load->kind->is_paced)
			is_due = is_due || ack >= flow->reported + WINDOW / 4;
	}
	if (is_due)
		publish(load, NO_NUMBER);
}

static int topic_send(struct load *load, struct flow *flow)
{
	for (unsigned int i = 0; i < load->flows_n; i++) {
		uint64_t acked = load->flows[i].acked;

		if (!acked || (load->kind->is_paced && flow->out.n >= acked - 1 + WINDOW)) {
			acknowledge(load);
			return IVS_CHANNEL_E_TIMEOUT;
		}
	}
	if (flow != load->flows)
		return IVS_CHANNEL_E_TIMEOUT; /* the first flow publishes for all */
	publish(load, flow->out.n);
	return 0;
}

static int topic_receive(struct load *load, struct flow *flow)
{
	struct topic_message message;
	uint64_t missed;
	size_t len;
	int result = ivs_topic_receive(flow->subscriber, &message, sizeof(message), &len, 0);

	if (result)
		return result;
	missed = ivs_topic_missed(flow->subscriber);
	if (!flow->got)
		flow->first_seq = message.seq;
	if (len < offsetof(struct topic_message, record) ||
	    message.sum != digest_of(DIGEST_START, &message.seq, len - sizeof(message.sum)) ||
	    message.seq != flow->first_seq + flow->got + missed ||
	    (load->kind->is_paced && missed)) {
		fprintf(stderr,
			"channel-load: %s %s: message %lu from %c is damaged, or not the next one "
			"after %lu, of which %lu were missed\n",
			load->kind->name, load->name, message.seq, flow->peer,
			flow->first_seq + flow->got + missed, missed);
		exit(1);
	}
	flow->got++;
	flow->acked = message.acks[index_of(own)];
	if (message.number == NO_NUMBER)
		return 0;
	if (message.number < flow->next || (load->kind->is_paced && message.number > flow->next))
		fail(load, "a record is out of order", 0);
	take(load, flow, '*', message.number, &message.record,
	     len - offsetof(struct topic_message, record));
	flow->next = message.number + 1;
	return 0;
}

static int topic_settle(struct load *load, struct flow *flow)
{
	acknowledge(load);
	return flow->next == load->count && flow->acked == 1 + load->count &&
			       flow->reported == 1 + load->count
		       ? 0
		       : IVS_CHANNEL_E_TIMEOUT;
}

static void topic_close(struct load *load, struct flow *flow)
{
	ivs_topic_close(load->publisher);
	load->publisher = NULL;
	ivs_topic_close(flow->subscriber);
}

const struct kind topic_kind = {"topic",      topic_open,  topic_send, topic_receive,
				topic_settle, topic_close, true};
const struct kind flood_kind = {"flood",      topic_open,  topic_send, topic_receive,
				topic_settle, topic_close, false};
