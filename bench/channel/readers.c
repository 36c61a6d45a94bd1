/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a message costs the publisher of a topic, with one subscriber and with eight. The publisher
 * has a CPU of its own; the subscribers share the other one.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "measure.h"
#include "peers.h"
#include "process.h"
#include "results.h"

#define PUBLISHED_MIN 100

/** struct shared - what publisher and subscribers tell each other */
struct shared {
	atomic_uint subscribed; /* number of subscribers that have received a message */
	double message_ns;
};

/** struct job - @timeout_ms: for which time a subscriber waits, 0: it spins */
struct job {
	size_t len;
	unsigned int readers_n;
	unsigned int messages;
	int timeout_ms;
	uint8_t *buffer;
	struct shared *shared;
};

static unsigned int messages_of(size_t len, const struct amount *amount)
{
	unsigned int n = len <= 64 ? 2000000 : len <= 4096 ? 200000 : len <= 65536 ? 20000 : 500;

	n /= amount->divisor;
	return n < PUBLISHED_MIN ? PUBLISHED_MIN : n;
}

static void publish(const struct job *job)
{
	const struct ivs_topic_options size = {(uint32_t)way_slots(job->len), (uint32_t)job->len,
					       TOPIC_BORROWERS_N, 1};
	struct ivs_channels *channels = channels_open(0, job->readers_n + 1);
	struct ivs_topic *topic;
	int64_t began_ns;

	check("publisher", ivs_topic_open_publisher(channels, "bench", &size, &topic));
	while (atomic_load(&job->shared->subscribed) < job->readers_n) {
		check("publish", ivs_topic_publish(topic, job->buffer, job->len));
		usleep(1000);
	}
	began_ns = now_ns();
	for (unsigned int i = 0; i < job->messages; i++)
		check("publish", ivs_topic_publish(topic, job->buffer, job->len));
	job->shared->message_ns = (double)(now_ns() - began_ns) / job->messages;
	ivs_topic_close(topic);
	channels_close(channels);
}

static void subscribe(const struct job *job, unsigned int section)
{
	struct ivs_channels *channels = channels_open(section, job->readers_n + 1);
	struct ivs_topic *topic;
	bool counted = false;
	size_t got;
	int result;

	check("subscriber", ivs_topic_open_subscriber(channels, "bench", NULL, &topic));
	do {
		result = ivs_topic_receive(topic, job->buffer, job->len, &got, job->timeout_ms);
		if (!result && !counted)
			atomic_fetch_add(&job->shared->subscribed, 1);
		counted = counted || !result;
	} while (!result || result == IVS_CHANNEL_E_TIMEOUT || result == -EINTR);
	if (result != IVS_CHANNEL_E_ENDED)
		check("receive", result);
	ivs_topic_close(topic);
	channels_close(channels);
}

static pid_t start(const struct job *job, unsigned int section)
{
	pid_t pid = process_fork();

	if (pid)
		return pid;
	pin(section > 0);
	memset(job->buffer, 1, job->len);
	if (section)
		subscribe(job, section);
	else
		publish(job);
	_exit(0);
}

static void run(enum topic_kind kind, unsigned int len, unsigned int readers_n, unsigned int round,
		const struct amount *amount)
{
	struct job job = {.len = lens[len],
			  .readers_n = readers_n,
			  .messages = messages_of(lens[len], amount),
			  .timeout_ms = kind == TOPIC_SPINS ? 0 : -1};
	size_t bytes = topic_bytes(way_slots(lens[len]), lens[len]);
	pid_t pids[READERS_MAX + 1];

	if (kind == TOPIC_SPINS)
		region_open(bytes, READERS_MAX + 1);
	else
		results.topic_absent[kind] = region_serve(bytes, READERS_MAX + 1);
	if (results.topic_absent[kind])
		return;
	job.shared = shared_memory(sizeof(*job.shared));
	job.buffer = malloc(job.len);
	if (!job.buffer)
		die("malloc");
	for (unsigned int i = 0; i <= readers_n; i++)
		pids[i] = start(&job, i);
	if (!processes_await(pids, readers_n + 1))
		die_because("topic", "its processes failed");
	results.topic_ns[kind][len][readers_n][round] = job.shared->message_ns;
	free(job.buffer);
	munmap(job.shared, sizeof(*job.shared));
	region_close();
}

void measure_topic(unsigned int len, unsigned int round, const struct amount *amount)
{
	if (lens[len] > 1 << 20)
		return;
	for (enum topic_kind kind = 0; kind < TOPIC_KINDS_N; kind++) {
		if (results.topic_absent[kind])
			continue;
		run(kind, len, 1, round, amount);
		if (!results.topic_absent[kind])
			run(kind, len, READERS_MAX, round, amount);
	}
}
