/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues of libivshmem, in a plain region in /dev/shm. */
#include <ivshmem/channel.h>
#include <ivshmem/region.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ways.h"

static struct {
	char address[64];
	struct ivs_region *region;
	size_t len;
	struct ivs_peer *peer;
	struct ivs_channels *channels;
	struct ivs_queue *out;
	struct ivs_queue *in;
} queue;

static void check(const char *what, int result)
{
	if (!result)
		return;
	fprintf(stderr, "bench/channel: %s: %s\n", what, ivs_channel_strerror(result));
	exit(1);
}

static bool queue_prepare(size_t len)
{
	struct ivs_region_options opts = IVS_REGION_OPTIONS_INIT;
	struct ivs_error err;

	snprintf(queue.address, sizeof(queue.address), "shm:ivs-bench-%d", (int)getpid());
	queue.len = len;
	opts.size = 1 << 20;
	while (opts.size / 2 < (len + 64) * way_slots(len) + (1 << 17))
		opts.size *= 2;
	if (ivs_region_open(queue.address, &opts, &queue.region, &err)) {
		fprintf(stderr, "bench/channel: %s\n", err.text);
		exit(1);
	}
	return true;
}

static void queue_start(enum side side)
{
	const struct ivs_queue_options size = {(uint32_t)way_slots(queue.len), (uint32_t)queue.len};
	struct ivs_channels_options opts = IVS_CHANNELS_OPTIONS_INIT;
	struct ivs_error err;

	opts.section = side;
	opts.sections_n = 2;
	if (ivs_peer_open(queue.address, NULL, &queue.peer, &err) ||
	    ivs_channels_open(queue.peer, &opts, &queue.channels, &err)) {
		fprintf(stderr, "bench/channel: %s\n", err.text);
		exit(1);
	}
	check("sender",
	      ivs_queue_open_sender(queue.channels, side ? "back" : "forth", &size, &queue.out));
	check("receiver",
	      ivs_queue_open_receiver(queue.channels, side ? "forth" : "back", &queue.in));
}

/* Like the floor, spin: try without waiting. */
static int reserve_spinning(void **memory)
{
	int result;

	do {
		result = ivs_queue_reserve(queue.out, memory, 0);
	} while (result == IVS_CHANNEL_E_TIMEOUT);
	return result;
}

static void queue_send(const void *from, size_t len)
{
	void *memory;

	check("reserve", reserve_spinning(&memory));
	if (from)
		__builtin_memcpy(memory, from, len);
	ivs_queue_commit(queue.out, len);
}

static void queue_receive(void *to, size_t len)
{
	const void *message;
	size_t got;
	int result;

	do {
		result = ivs_queue_peek(queue.in, &message, &got, 0);
	} while (result == IVS_CHANNEL_E_TIMEOUT);
	check("peek", result);
	if (to)
		__builtin_memcpy(to, message, got < len ? got : len);
	ivs_queue_release(queue.in);
}

static void queue_finish(void)
{
	ivs_queue_close(queue.in);
	ivs_queue_close(queue.out);
	ivs_channels_close(queue.channels);
	ivs_peer_close(queue.peer);
	if (queue.region)
		(void)!ivs_region_remove(queue.region);
	ivs_region_close(queue.region);
}

const struct way queue_way = {
	"queue",     false,	 1 << 22,	queue_prepare,
	queue_start, queue_send, queue_receive, queue_finish,
};
