/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two threads exchange messages through queues, under the thread sanitizer: first with a peer for
 * each, and then with two channels of one peer. The sanitizer sees conflicts only within one
 * mapping, so the second run checks that a message is written before it is read, and read before
 * its slot is used again. This is a plain program because Criterion does not run under that
 * sanitizer.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ivshmem/channel.h"
#include "ivshmem/region.h"

#define LEN (1 << 20)
#define MESSAGES 100000
#define WORDS_MAX 8
#define SLOTS 32
#define LONG_MS 60000

static _Atomic unsigned int failures;

/**
 * struct side - a thread's argument
 * @section: number of its section, and of the queue that it sends
 * @sent, @received: number of messages
 */
struct side {
	struct ivs_peer *peer;
	uint32_t section;
	struct ivs_channels *channels;
	struct ivs_queue *sender;
	struct ivs_queue *receiver;
	uint64_t sent;
	uint64_t received;
};

static void fail(const char *what, int result)
{
	fprintf(stderr, "channel-threads: %s: %s\n", what, ivs_channel_strerror(result));
	failures++;
}

static size_t words_n(uint64_t number)
{
	return number % WORDS_MAX + 1;
}

static int send_one(struct side *side)
{
	void *memory;
	int result = ivs_queue_reserve(side->sender, &memory, 0);

	if (result)
		return result;
	for (size_t i = 0; i < words_n(side->sent); i++)
		((uint64_t *)memory)[i] = side->sent * WORDS_MAX + i;
	ivs_queue_commit(side->sender, words_n(side->sent) * sizeof(uint64_t));
	side->sent++;
	return 0;
}

static int receive_one(struct side *side)
{
	const void *memory;
	size_t len;
	int result = ivs_queue_peek(side->receiver, &memory, &len, 0);

	if (result)
		return result;
	if (len != words_n(side->received) * sizeof(uint64_t))
		fail("a message has the wrong length", 0);
	for (size_t i = 0; i < len / sizeof(uint64_t); i++) {
		if (((const uint64_t *)memory)[i] != side->received * WORDS_MAX + i)
			fail("a message has the wrong bytes", 0);
	}
	ivs_queue_release(side->receiver);
	side->received++;
	return 0;
}

static bool open_side(struct side *side)
{
	const struct ivs_queue_options queue = {SLOTS, WORDS_MAX * sizeof(uint64_t)};
	static const char *const names[] = {"a", "b"};
	struct ivs_channels_options opts = IVS_CHANNELS_OPTIONS_INIT;
	struct ivs_error err;
	int result;

	opts.section = side->section;
	if (ivs_channels_open(side->peer, &opts, &side->channels, &err)) {
		fail(err.text, 0);
		return false;
	}
	result = ivs_queue_open_sender(side->channels, names[side->section], &queue, &side->sender);
	if (!result)
		result = ivs_queue_open_receiver(side->channels, names[!side->section],
						 &side->receiver);
	if (result)
		fail("cannot open a queue", result);
	return !result;
}

static void *exchange(void *arg)
{
	struct side *side = arg;
	int result = open_side(side) ? 0 : -1;

	while (!result && !failures && (side->sent < MESSAGES || side->received < MESSAGES)) {
		int sent = side->sent < MESSAGES ? send_one(side) : IVS_CHANNEL_E_TIMEOUT;
		int received = side->received < MESSAGES ? receive_one(side)
							 : IVS_CHANNEL_E_TIMEOUT;

		if (!sent || !received)
			continue;
		if (sent != IVS_CHANNEL_E_TIMEOUT || received != IVS_CHANNEL_E_TIMEOUT)
			fail("cannot send or receive", sent);
		result = ivs_channels_wait(side->channels, LONG_MS);
	}
	if (!result)
		result = ivs_queue_flush(side->sender, LONG_MS);
	if (result)
		fail("cannot wait", result);
	ivs_queue_close(side->sender);
	ivs_queue_close(side->receiver);
	ivs_channels_close(side->channels);
	return NULL;
}

static struct ivs_peer *open_peer(const char *address)
{
	struct ivs_peer *peer = NULL;
	struct ivs_error err;

	if (ivs_peer_open(address, NULL, &peer, &err)) {
		fail(err.text, 0);
		abort();
	}
	return peer;
}

static void run(const char *what, struct ivs_peer *first, struct ivs_peer *second)
{
	struct side sides[2] = {{.peer = first, .section = 0}, {.peer = second, .section = 1}};
	pthread_t threads[2];

	for (unsigned int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, exchange, &sides[i]);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("channel-threads: %s: %lu and %lu messages\n", what, sides[0].received,
	       sides[1].received);
}

int main(void)
{
	struct ivs_region_options opts = IVS_REGION_OPTIONS_INIT;
	struct ivs_region *region;
	struct ivs_peer *peers[2];
	struct ivs_error err;
	char address[64];

	opts.size = LEN;
	snprintf(address, sizeof(address), "shm:ivs-test-channel-threads-%d", (int)getpid());
	if (ivs_region_open(address, &opts, &region, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	for (unsigned int i = 0; i < 2; i++)
		peers[i] = open_peer(address);
	if (ivs_region_remove(region))
		fail("cannot remove the region", 0);
	run("two peers", peers[0], peers[1]);
	run("one peer", peers[0], peers[0]);
	for (unsigned int i = 0; i < 2; i++)
		ivs_peer_close(peers[i]);
	ivs_region_close(region);
	return failures ? 1 : 0;
}
