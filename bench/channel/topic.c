/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Topics of libivshmem, one for each direction. A publisher never waits, so only round trips are
 * comparable: see readers.c for the cost of a message.
 */
#include <errno.h>
#include <stdint.h>

#include "peers.h"
#include "process.h"
#include "ways.h"

static struct {
	size_t len;
	struct ivs_channels *channels;
	struct ivs_topic *out;
	struct ivs_topic *in;
} topic;

static const char *topic_prepare(size_t len)
{
	topic.len = len;
	region_open(topic_bytes(way_slots(len), len), 2);
	return NULL;
}

static const char *served_prepare(size_t len)
{
	topic.len = len;
	return region_serve(topic_bytes(way_slots(len), len), 2);
}

/* The first message may be published before the other side has subscribed. */
static void topic_start(enum side side)
{
	const struct ivs_topic_options size = {(uint32_t)way_slots(topic.len), (uint32_t)topic.len,
					       TOPIC_BORROWERS_N, 1};
	const struct ivs_subscriber_options from_last = {.last = true};

	topic.channels = channels_open(side, 2);
	check("publisher",
	      ivs_topic_open_publisher(topic.channels, side ? "back" : "forth", &size, &topic.out));
	check("subscriber", ivs_topic_open_subscriber(topic.channels, side ? "forth" : "back",
						      &from_last, &topic.in));
}

static void topic_send(const void *from, size_t len)
{
	check("publish", ivs_topic_publish(topic.out, from, len));
}

static inline void receive(void *to, size_t len, int timeout_ms)
{
	size_t got;
	int result;

	do {
		result = ivs_topic_receive(topic.in, to, len, &got, timeout_ms);
	} while (result == IVS_CHANNEL_E_TIMEOUT || result == -EINTR);
	check("receive", result);
}

static void spin_receive(void *to, size_t len)
{
	receive(to, len, 0);
}

static void sleep_receive(void *to, size_t len)
{
	receive(to, len, -1);
}

static void topic_finish(void)
{
	ivs_topic_close(topic.in);
	ivs_topic_close(topic.out);
	channels_close(topic.channels);
}

const struct way topic_way = {
	.name = "topic",
	.kind = WAY_OWN,
	.spins = true,
	.trips_only = true,
	.len_max = SIZE_MAX,
	.prepare = topic_prepare,
	.start = topic_start,
	.send = topic_send,
	.receive = spin_receive,
	.finish = topic_finish,
	.clean = region_close,
};

const struct way topic_sleep_way = {
	.name = "topic, with doorbells",
	.kind = WAY_OWN,
	.trips_only = true,
	.len_max = SIZE_MAX,
	.prepare = served_prepare,
	.start = topic_start,
	.send = topic_send,
	.receive = sleep_receive,
	.finish = topic_finish,
	.clean = region_close,
};
