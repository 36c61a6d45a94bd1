/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/copy.h"
#include "channel/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel/shared.h"

#define MESSAGES_DEFAULT 16
#define MESSAGE_LEN_DEFAULT 1024

_Static_assert(IVS_CHANNEL_NAME_MAX == IVS_SECTION_NAME_MAX, "the same limit");
_Static_assert(IVS_CHANNEL_MESSAGE_MAX == IVS_LANE_MESSAGE_MAX, "the same limit");

static struct ivs_queue *queue_of(struct ivs_channel *channel)
{
	return (struct ivs_queue *)channel;
}

static bool sender_set_sleeps(struct ivs_channel *channel, bool sleeps)
{
	struct ivs_outlet *outlet = &queue_of(channel)->outlet;

	ivs_outlet_set_sleeps(outlet, sleeps);
	return ivs_outlet_will_be_rung(outlet);
}

/* Most senders have room at most times: waiting for these would end each wait. */
static bool sender_waits(struct ivs_channel *channel)
{
	return ivs_outlet_is_full(&queue_of(channel)->outlet);
}

static bool sender_is_ready(struct ivs_channel *channel)
{
	void *memory;

	return ivs_outlet_reserve(&queue_of(channel)->outlet, &memory) != IVS_CHANNEL_E_TIMEOUT;
}

static bool receiver_set_sleeps(struct ivs_channel *channel, bool sleeps)
{
	return ivs_receiver_set_sleeps(&queue_of(channel)->receiver, sleeps);
}

static bool receiver_is_ready(struct ivs_channel *channel)
{
	return ivs_receiver_is_ready(&queue_of(channel)->receiver);
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
	return queue;
}

int ivs_queue_open_sender(struct ivs_channels *channels, const char *name,
			  const struct ivs_queue_options *opts, struct ivs_queue **out)
{
	uint32_t slots_n = ivs_lane_slots_for(opts && opts->messages_n ? opts->messages_n
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
	result = ivs_outlet_open(&queue->outlet, channels,
				 &(struct ivs_outlet_options){.role = IVS_ROLE_QUEUE_SENDER,
							      .name = name,
							      .slots_n = slots_n,
							      .message_len = len});
	if (result) {
		free(queue);
		return result;
	}
	ivs_channels_ring_name(channels, IVS_ROLE_QUEUE_RECEIVER, name);
	queue->base.set_sleeps = sender_set_sleeps;
	queue->base.waits = sender_waits;
	queue->base.is_ready = sender_is_ready;
	ivs_channel_add(&queue->base, channels);
	*out = queue;
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
	queue->base.set_sleeps = receiver_set_sleeps;
	queue->base.is_ready = receiver_is_ready;
	ivs_channel_add(&queue->base, channels);
	*out = queue;
	return 0;
}

void ivs_queue_close(struct ivs_queue *queue)
{
	if (!queue)
		return;
	ivs_channel_remove(&queue->base);
	if (queue->sends)
		ivs_outlet_close(&queue->outlet);
	else
		ivs_receiver_close(&queue->receiver);
	free(queue);
}

/* Sending */

static int try_reserve(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	return ivs_outlet_reserve(&queue_of(channel)->outlet, &attempt->memory);
}

int ivs_queue_reserve(struct ivs_queue *queue, void **memory, int timeout_ms)
{
	struct ivs_attempt attempt = {.run = try_reserve};
	int result = ivs_channel_await(&queue->base, &attempt, timeout_ms);

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
		ivs_copy_for_others(memory, message, len);
	ivs_queue_commit(queue, len);
	return 0;
}

static int try_flush(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	struct ivs_outlet *outlet = &queue_of(channel)->outlet;
	int result = ivs_outlet_update(outlet);

	(void)attempt;
	if (!ivs_outlet_unread(outlet))
		return 0;
	return result ? result : IVS_CHANNEL_E_TIMEOUT;
}

int ivs_queue_flush(struct ivs_queue *queue, int timeout_ms)
{
	struct ivs_attempt attempt = {.run = try_flush};

	return ivs_channel_await(&queue->base, &attempt, timeout_ms);
}

/* Receiving */

static int try_peek(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	return ivs_receiver_peek(&queue_of(channel)->receiver, &attempt->message, &attempt->len);
}

int ivs_queue_peek(struct ivs_queue *queue, const void **message, size_t *len, int timeout_ms)
{
	struct ivs_attempt attempt = {.run = try_peek};
	int result = ivs_channel_await(&queue->base, &attempt, timeout_ms);

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

static int try_receive(struct ivs_channel *channel, struct ivs_attempt *attempt)
{
	struct ivs_receiver *receiver = &queue_of(channel)->receiver;
	int result = ivs_receiver_peek(receiver, &attempt->message, &attempt->len);

	if (result)
		return result;
	if (attempt->len > attempt->room)
		return IVS_CHANNEL_E_TOO_LONG;
	if (attempt->len)
		ivs_shared_copy(attempt->memory, attempt->message, attempt->len);
	result = ivs_receiver_check_copy(receiver);
	if (!result)
		ivs_receiver_release(receiver);
	return result;
}

int ivs_queue_receive(struct ivs_queue *queue, void *buffer, size_t room, size_t *len,
		      int timeout_ms)
{
	struct ivs_attempt attempt = {.run = try_receive, .memory = buffer, .room = room};
	int result = ivs_channel_await(&queue->base, &attempt, timeout_ms);

	if (!result || result == IVS_CHANNEL_E_TOO_LONG)
		*len = attempt.len;
	return result;
}

unsigned int ivs_queue_peers(const struct ivs_queue *queue)
{
	if (queue->sends)
		return ivs_outlet_has_reader(&queue->outlet) && !queue->outlet.result;
	return queue->receiver.inlets_n;
}
