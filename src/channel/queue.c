/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define MESSAGES_DEFAULT 16
#define MESSAGE_LEN_DEFAULT 1024
#define SPINS 200 /* tries before sleeping */

_Static_assert(IVS_CHANNEL_NAME_MAX == IVS_SECTION_NAME_MAX, "the same limit");
_Static_assert(IVS_CHANNEL_MESSAGE_MAX == IVS_LANE_MESSAGE_MAX, "the same limit");

static void add_queue(struct ivs_queue *queue, struct ivs_queue **out)
{
	queue->next = queue->channels->queues;
	queue->channels->queues = queue;
	*out = queue;
}

static struct ivs_queue *new_queue(struct ivs_channels *channels, const char *name, int *result)
{
	struct ivs_queue *queue = NULL;

	*result = ivs_channels_poll(channels);
	if (*result)
		return NULL;
	*result = IVS_CHANNEL_E_NAME;
	if (!ivs_endpoint_name_is_valid(name))
		return NULL;
	queue = calloc(1, sizeof(*queue));
	*result = queue ? 0 : -ENOMEM;
	if (queue)
		queue->channels = channels;
	return queue;
}

/* Return: a power of two that is at least @n; 0: there is none that a lane may have. */
static uint32_t slots_for(uint32_t n)
{
	uint32_t slots_n = 2;

	while (slots_n < n && slots_n <= IVS_LANE_SLOTS_MAX)
		slots_n *= 2;
	return slots_n <= IVS_LANE_SLOTS_MAX ? slots_n : 0;
}

/* Receivers of this name may sleep, and know no sender that would ring them. */
static void ring_receiver(struct ivs_channels *channels, const char *name)
{
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;

	if (ivs_channels_find(channels, IVS_ROLE_QUEUE_RECEIVER, name, false, &at, &life, &view))
		ivs_channels_ring(channels, at.section);
}

int ivs_queue_open_sender(struct ivs_channels *channels, const char *name,
			  const struct ivs_queue_options *opts, struct ivs_queue **out)
{
	uint32_t slots_n = slots_for(opts && opts->messages_n ? opts->messages_n
							      : MESSAGES_DEFAULT);
	uint32_t len = opts && opts->message_len ? opts->message_len : MESSAGE_LEN_DEFAULT;
	struct ivs_queue *queue;
	int result;

	if (len > IVS_CHANNEL_MESSAGE_MAX)
		return IVS_CHANNEL_E_TOO_LONG;
	if (!slots_n)
		return IVS_CHANNEL_E_FULL;
	queue = new_queue(channels, name, &result);
	if (!queue)
		return result;
	queue->sends = true;
	queue->message_max = len;
	result = ivs_outlet_open(&queue->outlet, channels, IVS_ROLE_QUEUE_SENDER, name, slots_n,
				 len);
	if (result) {
		free(queue);
		return result;
	}
	ring_receiver(channels, name);
	add_queue(queue, out);
	return 0;
}

int ivs_queue_open_receiver(struct ivs_channels *channels, const char *name, struct ivs_queue **out)
{
	int result;
	struct ivs_queue *queue = new_queue(channels, name, &result);

	if (!queue)
		return result;
	result = ivs_receiver_open(&queue->receiver, channels, name);
	if (result) {
		free(queue);
		return result;
	}
	add_queue(queue, out);
	return 0;
}

void ivs_queue_close(struct ivs_queue *queue)
{
	struct ivs_queue **link;

	if (!queue)
		return;
	link = &queue->channels->queues;
	while (*link != queue)
		link = &(*link)->next;
	*link = queue->next;
	if (queue->sends)
		ivs_outlet_close(&queue->outlet);
	else
		ivs_receiver_close(&queue->receiver);
	free(queue);
}

/* Waiting */

/**
 * struct attempt - what a call waits for
 * @run:     try it once. Return: 0, IVS_CHANNEL_E_TIMEOUT (not yet), IVS_CHANNEL_E_*
 * @message: set to memory by a successful attempt, of @len bytes
 */
struct attempt {
	int (*run)(struct ivs_queue *queue, struct attempt *attempt);
	void *memory;
	const void *message;
	uint32_t len;
};

static bool set_sleeps(struct ivs_queue *queue, bool sleeps)
{
	if (!queue->sends)
		return ivs_receiver_set_sleeps(&queue->receiver, sleeps);
	ivs_outlet_set_sleeps(&queue->outlet, sleeps);
	return ivs_outlet_will_be_rung(&queue->outlet);
}

/*
 * Publish that this peer sleeps, and try again before it does: see ivs_shared_publish(). What the
 * other side does between this and the sleep rings.
 */
static int sleep_once(struct ivs_queue *queue, struct attempt *attempt, int64_t deadline_ns)
{
	bool rings = set_sleeps(queue, true);
	int result = attempt->run(queue, attempt);

	if (result == IVS_CHANNEL_E_TIMEOUT) {
		result = ivs_channels_sleep(queue->channels, deadline_ns, rings);
		if (!result)
			result = attempt->run(queue, attempt);
	}
	set_sleeps(queue, false);
	return result;
}

static int try_for(struct ivs_queue *queue, struct attempt *attempt, int timeout_ms)
{
	int64_t deadline_ns;
	int result = attempt->run(queue, attempt);

	if (result != IVS_CHANNEL_E_TIMEOUT)
		return result;
	if (!timeout_ms) {
		result = ivs_channels_poll_sometimes(queue->channels);
		return result ? result : attempt->run(queue, attempt);
	}
	deadline_ns = ivs_clock_deadline(timeout_ms);
	for (unsigned int i = 0; i < SPINS; i++) {
		result = attempt->run(queue, attempt);
		if (result != IVS_CHANNEL_E_TIMEOUT)
			return result;
	}
	while (result == IVS_CHANNEL_E_TIMEOUT && ivs_clock_ns() < deadline_ns)
		result = sleep_once(queue, attempt, deadline_ns);
	if (!result)
		ivs_channels_awake(queue->channels);
	return result;
}

static int is_ready(struct ivs_queue *queue)
{
	const void *message;
	void *memory;
	uint32_t len;

	return queue->sends ? ivs_outlet_reserve(&queue->outlet, &memory)
			    : ivs_receiver_peek(&queue->receiver, &message, &len);
}

int ivs_channels_wait(struct ivs_channels *channels, int timeout_ms)
{
	int64_t deadline_ns = ivs_clock_deadline(timeout_ms);
	bool rings = true;
	bool ready = false;
	int result;

	if (!timeout_ms)
		return ivs_channels_poll(channels);
	for (struct ivs_queue *queue = channels->queues; queue; queue = queue->next) {
		if (queue->sends)
			continue; /* most senders are ready at most times */
		rings = set_sleeps(queue, true) && rings;
		ready = ready || is_ready(queue) != IVS_CHANNEL_E_TIMEOUT;
	}
	result = ready ? ivs_channels_poll(channels)
		       : ivs_channels_sleep(channels, deadline_ns, rings);
	for (struct ivs_queue *queue = channels->queues; queue; queue = queue->next) {
		if (!queue->sends)
			set_sleeps(queue, false);
	}
	return result;
}

/* Sending */

static int try_reserve(struct ivs_queue *queue, struct attempt *attempt)
{
	return ivs_outlet_reserve(&queue->outlet, &attempt->memory);
}

int ivs_queue_reserve(struct ivs_queue *queue, void **memory, int timeout_ms)
{
	struct attempt attempt = {.run = try_reserve};
	int result;

	if (!ivs_outlet_reserve(&queue->outlet, memory)) /* as it mostly is */
		return 0;
	result = try_for(queue, &attempt, timeout_ms);
	if (!result)
		*memory = attempt.memory;
	return result;
}

void ivs_queue_commit(struct ivs_queue *queue, size_t len)
{
	ivs_outlet_commit(&queue->outlet, (uint32_t)len);
}

int ivs_queue_send(struct ivs_queue *queue, const void *message, size_t len, int timeout_ms)
{
	void *memory;
	int result;

	if (len > queue->message_max)
		return IVS_CHANNEL_E_TOO_LONG;
	result = ivs_queue_reserve(queue, &memory, timeout_ms);
	if (result)
		return result;
	if (len)
		memcpy(memory, message, len);
	ivs_queue_commit(queue, len);
	return 0;
}

static int try_flush(struct ivs_queue *queue, struct attempt *attempt)
{
	int result = ivs_outlet_update(&queue->outlet);

	(void)attempt;
	if (!ivs_outlet_unread(&queue->outlet))
		return 0;
	return result ? result : IVS_CHANNEL_E_TIMEOUT;
}

int ivs_queue_flush(struct ivs_queue *queue, int timeout_ms)
{
	struct attempt attempt = {.run = try_flush};

	return try_for(queue, &attempt, timeout_ms);
}

/* Receiving */

static int try_peek(struct ivs_queue *queue, struct attempt *attempt)
{
	return ivs_receiver_peek(&queue->receiver, &attempt->message, &attempt->len);
}

int ivs_queue_peek(struct ivs_queue *queue, const void **message, size_t *len, int timeout_ms)
{
	struct attempt attempt = {.run = try_peek};
	int result = ivs_receiver_peek(&queue->receiver, &attempt.message, &attempt.len);

	if (result == IVS_CHANNEL_E_TIMEOUT)
		result = try_for(queue, &attempt, timeout_ms);
	if (result)
		return result;
	*message = attempt.message;
	*len = attempt.len;
	return 0;
}

void ivs_queue_release(struct ivs_queue *queue)
{
	ivs_receiver_release(&queue->receiver);
}

int ivs_queue_receive(struct ivs_queue *queue, void *buffer, size_t room, size_t *len,
		      int timeout_ms)
{
	const void *message;
	int result = ivs_queue_peek(queue, &message, len, timeout_ms);

	if (result)
		return result;
	if (*len > room)
		return IVS_CHANNEL_E_TOO_LONG;
	if (*len)
		memcpy(buffer, message, *len);
	ivs_queue_release(queue);
	return 0;
}

unsigned int ivs_queue_peers(const struct ivs_queue *queue)
{
	if (queue->sends)
		return ivs_outlet_will_be_rung(&queue->outlet) && !queue->outlet.result;
	return queue->receiver.inlets_n;
}
