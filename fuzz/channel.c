/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for queues in a hostile region: see channel_region.h. With CONFINED, what the two
 * peers send each other must arrive once, in order and unchanged.
 */
#include "channel/queue.h"
#include "fuzz/channel_region.h"

#define QUEUES_N 4
#define SECRET UINT64_C(0x5bd1e995a7c15d3f) /* what the hostile peer does not know */

struct message {
	uint64_t secret;
	uint32_t epoch;
	uint32_t number;
};

static struct ivs_queue *queues[PEERS_N][QUEUES_N];
/* Peer 0's first queue: how often it was opened, and the messages that were sent and received. */
static uint32_t epoch, sent, got[OPS_MAX + 1];

static void send_next(struct ivs_queue **queue)
{
	struct message message = {SECRET, epoch, sent};
	int result = ivs_queue_send(*queue, &message, sizeof(message), 0);

	if (!result)
		sent++;
	if (!result || result == IVS_CHANNEL_E_TIMEOUT)
		return;
	ivs_queue_close(*queue);
	*queue = NULL;
}

static void receive_next(struct ivs_queue *queue)
{
	struct message message;
	size_t len = 0;
	int result = ivs_queue_receive(queue, &message, sizeof(message), &len, 0);

	CHECK(result || len <= sizeof(message));
	if (result == IVS_CHANNEL_E_TOO_LONG)
		ivs_queue_release(queue);
	if (result || !(flags & CONFINED) || len != sizeof(message) || message.secret != SECRET)
		return;
	CHECK(message.epoch <= epoch && message.number == got[message.epoch]);
	got[message.epoch]++;
}

static void open_queue(unsigned int peer, unsigned int i, uint8_t how)
{
	const struct ivs_queue_options opts = {how & 7, how & 8 ? 4096 : 16};
	static const char *const names[] = {"a", "b"};
	struct ivs_queue **queue = &queues[peer][i];
	int result;

	if (peer == 0 && i == 0) { /* the queue whose messages are checked */
		epoch++;
		sent = 0;
		result = ivs_queue_open_sender(channels[0], "a", &opts, queue);
	} else if (how & 16) {
		result = ivs_queue_open_sender(channels[peer], "b", &opts, queue);
	} else {
		result = ivs_queue_open_receiver(channels[peer], names[how >> 5 & 1], queue);
	}
	CHECK(!result == !!*queue);
}

static void use_sender(struct ivs_queue **queue, uint8_t what, bool checked)
{
	void *memory;

	if (checked) {
		send_next(queue);
	} else if (what & 1) {
		(void)!ivs_queue_send(*queue, "0123456789abcdef", what & 4 ? 16 : 0, 0);
	} else if (what & 2) {
		(void)!ivs_queue_flush(*queue, 0);
	} else if (!ivs_queue_reserve(*queue, &memory, 0)) {
		memset(memory, 1, 16);
		ivs_queue_commit(*queue, 16);
	}
}

static void use_receiver(struct ivs_queue *queue, uint8_t what)
{
	const void *message;
	uint8_t sum = 0;
	size_t len;

	/* What was peeked at and is released was not received. */
	if (flags & CONFINED || what & 1) {
		receive_next(queue);
	} else if (what & 2) {
		ivs_queue_release(queue);
	} else if (!ivs_queue_peek(queue, &message, &len, 0)) {
		for (size_t i = 0; i < len; i++)
			sum ^= ((const uint8_t *)message)[i];
		*(volatile uint8_t *)&sum;
	}
}

static void use(struct input *input, uint8_t what)
{
	unsigned int peer = what & 1;
	unsigned int i = what >> 1 & (QUEUES_N - 1);
	struct ivs_queue **queue = &queues[peer][i];

	if (!*queue) {
		open_queue(peer, i, (uint8_t)take(input, 1));
	} else if ((what & 0x38) == 0x38) {
		ivs_queue_close(*queue);
		*queue = NULL;
	} else if ((*queue)->sends) {
		use_sender(queue, what >> 3, peer == 0 && i == 0);
	} else {
		use_receiver(*queue, what >> 3);
	}
	if (*queue)
		CHECK(ivs_queue_peers(*queue) < 64);
}

static void close_all(unsigned int peer)
{
	for (unsigned int i = 0; i < QUEUES_N; i++) {
		ivs_queue_close(queues[peer][i]);
		queues[peer][i] = NULL;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	epoch = sent = 0;
	memset(got, 0, sizeof(got));
	run_input(data, size);
	return 0;
}

/* Mostly operations of the first queue of peer 0 and the receiver that reads it. */
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max)
{
	static const uint8_t usual[] = {0x00, 0x08, 0x01, 0x09, 0xa9, 0xab, 0x03, 0x0b};

	return make_input(seed, out, max, usual, sizeof(usual));
}
