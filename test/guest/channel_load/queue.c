/* SPDX-License-Identifier: BSD-3-Clause */
#include "load.h"

#define SLOTS_N 512

static void queue_open(struct load *load, struct flow *flow)
{
	const struct ivs_queue_options opts = {SLOTS_N, sizeof(struct record)};

	check(load, "cannot open a sender",
	      ivs_queue_open_sender(channels, name_of(load, own, flow->peer), &opts,
				    &flow->sender));
	check(load, "cannot open a receiver",
	      ivs_queue_open_receiver(channels, name_of(load, flow->peer, own), &flow->receiver));
}

static int queue_send(struct load *load, struct flow *flow)
{
	struct record record;
	int result;

	(void)load;
	record_fill(&record, own, flow->peer, flow->out.n);
	result = ivs_queue_send(flow->sender, &record, record_len(flow->out.n), 0);
	if (!result)
		tally_add(&flow->out, &record, flow->out.n);
	return result;
}

/* Every other message is checked in place. */
static int queue_receive(struct load *load, struct flow *flow)
{
	struct record copy;
	const void *message = &copy;
	bool in_place = flow->in.n % 2;
	size_t len;
	int result = in_place ? ivs_queue_peek(flow->receiver, &message, &len, 0)
			      : ivs_queue_receive(flow->receiver, &copy, sizeof(copy), &len, 0);

	if (result)
		return result;
	take(load, flow, own, flow->in.n, message, len);
	if (in_place)
		ivs_queue_release(flow->receiver);
	return 0;
}

static int queue_settle(struct load *load, struct flow *flow)
{
	if (flow->in.n != load->count)
		return IVS_CHANNEL_E_TIMEOUT;
	return ivs_queue_flush(flow->sender, 0);
}

static void queue_close(struct load *load, struct flow *flow)
{
	(void)load;
	ivs_queue_close(flow->sender);
	ivs_queue_close(flow->receiver);
}

const struct kind queue_kind = {"queue",      queue_open,  queue_send, queue_receive,
				queue_settle, queue_close, true};
