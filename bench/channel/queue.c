/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues of libivshmem: in a plain region, where they spin as the floor does, and in a server's
 * region, where they wait for doorbells. The rows "queue" copy as the floor does, to and from
 * memory in place; "queue, send and receive" shows the functions of the library that copy.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "peers.h"
#include "process.h"
#include "ways.h"

static struct {
	size_t len;
	struct ivs_channels *channels;
	struct ivs_queue *out;
	struct ivs_queue *in;
} queue;

static const char *queue_prepare(size_t len)
{
	queue.len = len;
	region_open((len + 64) * way_slots(len), 2);
	return NULL;
}

static const char *served_prepare(size_t len)
{
	queue.len = len;
	return region_serve((len + 64) * way_slots(len), 2);
}

static void queue_start(enum side side)
{
	const struct ivs_queue_options size = {(uint32_t)way_slots(queue.len), (uint32_t)queue.len};

	queue.channels = channels_open(side, 2);
	check("sender",
	      ivs_queue_open_sender(queue.channels, side ? "back" : "forth", &size, &queue.out));
	check("receiver",
	      ivs_queue_open_receiver(queue.channels, side ? "forth" : "back", &queue.in));
}

static bool is_early(int result)
{
	return result == IVS_CHANNEL_E_TIMEOUT || result == -EINTR;
}

static inline void send_in_place(const void *from, size_t len, int timeout_ms)
{
	void *memory;
	int result;

	do {
		result = ivs_queue_reserve(queue.out, &memory, timeout_ms);
	} while (is_early(result));
	check("reserve", result);
	if (from)
		memcpy(memory, from, len);
	ivs_queue_commit(queue.out, len);
}

static inline void receive_in_place(void *to, size_t len, int timeout_ms)
{
	const void *message;
	size_t got;
	int result;

	do {
		result = ivs_queue_peek(queue.in, &message, &got, timeout_ms);
	} while (is_early(result));
	check("peek", result);
	if (to)
		memcpy(to, message, got < len ? got : len);
	ivs_queue_release(queue.in);
}

static void spin_send(const void *from, size_t len)
{
	send_in_place(from, len, 0);
}

static void spin_receive(void *to, size_t len)
{
	receive_in_place(to, len, 0);
}

static inline void send_copy(const void *from, size_t len, int timeout_ms)
{
	int result;

	do {
		result = ivs_queue_send(queue.out, from, len, timeout_ms);
	} while (is_early(result));
	check("send", result);
}

static inline void receive_copy(void *to, size_t len, int timeout_ms)
{
	size_t got;
	int result;

	do {
		result = ivs_queue_receive(queue.in, to, len, &got, timeout_ms);
	} while (is_early(result));
	check("receive", result);
}

static void sleep_send(const void *from, size_t len)
{
	if (from)
		send_copy(from, len, -1);
	else
		send_in_place(NULL, len, -1);
}

static void sleep_receive(void *to, size_t len)
{
	if (to)
		receive_copy(to, len, -1);
	else
		receive_in_place(NULL, len, -1);
}

static void copy_send(const void *from, size_t len)
{
	send_copy(from, len, 0);
}

static void copy_receive(void *to, size_t len)
{
	receive_copy(to, len, 0);
}

static void queue_finish(void)
{
	ivs_queue_close(queue.in);
	ivs_queue_close(queue.out);
	channels_close(queue.channels);
}

const struct way queue_way = {
	.name = "queue",
	.kind = WAY_OWN,
	.spins = true,
	.in_place = true,
	.len_max = SIZE_MAX,
	.prepare = queue_prepare,
	.start = queue_start,
	.send = spin_send,
	.receive = spin_receive,
	.finish = queue_finish,
	.clean = region_close,
};

const struct way queue_copy_way = {
	.name = "queue, send and receive",
	.kind = WAY_OWN,
	.spins = true,
	.len_max = SIZE_MAX,
	.prepare = queue_prepare,
	.start = queue_start,
	.send = copy_send,
	.receive = copy_receive,
	.finish = queue_finish,
	.clean = region_close,
};

const struct way queue_sleep_way = {
	.name = "queue, with doorbells",
	.kind = WAY_OWN,
	.in_place = true,
	.rings = true,
	.len_max = SIZE_MAX,
	.prepare = served_prepare,
	.start = queue_start,
	.send = sleep_send,
	.receive = sleep_receive,
	.finish = queue_finish,
	.clean = region_close,
};
