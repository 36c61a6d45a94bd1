/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Measure one transport and print a line of JSON; bench/guest runs it in guests and on the host.
 *
 *   transports ADDRESS          measure; if an echo is running, also measure round trips to it
 *   transports --echo ADDRESS   be the echo: answer doorbells on vector 0 until end of input
 *
 * Each run also measures a floor: a copy of the same size in private memory, and an eventfd round
 * trip between two threads. Under emulation only ratios to the floor are meaningful.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <ivshmem/peer.h>
#include <ivshmem/registers.h>

#define ROUNDS 500
#define BATCHES 20
#define BATCH_LEN 100
#define COPIES 8
#define TIMEOUT_MS 2000
#define COPY_LEN ((size_t)1 << 20)
#define SKEW 20544 /* offset so that source and target use different entries of an emulated TLB */

/* Data at the start of the region, by which the measuring peer and the echo find each other. */
struct mailbox {
	_Atomic uint32_t echo;	/* the echo's id plus 1; 0 if no echo is running */
	_Atomic uint32_t asker; /* id of the measuring peer */
};

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int compare_times(const void *a, const void *b)
{
	double left = *(const double *)a;
	double right = *(const double *)b;

	return (left > right) - (left < right);
}

static void print_times(const char *name, double *times, size_t n)
{
	qsort(times, n, sizeof(*times), compare_times);
	printf(",\"%s\":{\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f}", name, times[n / 2],
	       times[n * 90 / 100], times[n * 99 / 100]);
}

/*
 * Ring peer @to, which is this peer or a peer that rings back. Print the times of the call and of
 * the round trip.
 */
static void measure_trips(struct ivs_peer *peer, unsigned int to, const char *name)
{
	double times[ROUNDS];
	double rings[ROUNDS];
	char ring[32];

	for (size_t i = 0; i < ROUNDS; i++) {
		double begin = now_us();
		int result = ivs_peer_ring(peer, to, 0);

		rings[i] = now_us() - begin;
		if (result || ivs_peer_wait(peer, 0, TIMEOUT_MS)) {
			printf(",\"%s\":{\"lost\":%zu}", name, i);
			return;
		}
		times[i] = now_us() - begin;
	}
	print_times(name, times, ROUNDS);
	snprintf(ring, sizeof(ring), "%s_ring", name);
	print_times(ring, rings, ROUNDS);
}

/*
 * Ring through @doorbell or, if it is NULL, ring peer @id. Return: time per doorbell in the fastest
 * batch, in us; -1 on failure.
 */
static double best_ring_us(struct ivs_peer *peer, unsigned int id,
			   const struct ivs_doorbell *doorbell)
{
	double best = -1;

	for (unsigned int batch = 0; batch < BATCHES; batch++) {
		double begin = now_us();
		double us;

		for (unsigned int i = 0; i < BATCH_LEN; i++) {
			int result = doorbell ? ivs_doorbell_ring(doorbell)
					      : ivs_peer_ring(peer, id, 0);

			if (result < 0)
				return -1;
		}
		us = (now_us() - begin) / BATCH_LEN;
		best = best < 0 || us < best ? us : best;
	}
	return best;
}

/*
 * Measure the cost of ringing without delivery, by ringing an id that no peer has. On the host
 * ivs_doorbell_new() fails for such an id, so this peer rings itself, but does not wait.
 */
static void measure_ring(struct ivs_peer *peer)
{
	struct ivs_doorbell *doorbell;
	unsigned int id = IVS_ID_MAX;

	if (ivs_doorbell_new(peer, id, 0, &doorbell)) {
		id = (unsigned int)ivs_peer_id(peer);
		if (ivs_doorbell_new(peer, id, 0, &doorbell))
			return;
	}
	printf(",\"ring_us\":%.3f", best_ring_us(peer, id, NULL));
	printf(",\"doorbell_us\":%.3f", best_ring_us(peer, id, doorbell));
	ivs_doorbell_free(doorbell);
	if (ivs_peer_caps(peer) & IVS_CAP_WAIT)
		(void)!ivs_peer_wait(peer, 0, 0);
}

struct pair {
	int ask;
	int answer;
};

static void *answer_eventfd(void *data)
{
	const struct pair *pair = data;
	eventfd_t count;

	for (size_t i = 0; i < ROUNDS; i++) {
		if (eventfd_read(pair->ask, &count) || eventfd_write(pair->answer, 1))
			break;
	}
	return NULL;
}

/*
 * Measure eventfd round trips between two threads. Both run on one processor, because the time
 * needed to wake an idle processor varies most.
 */
static void measure_floor_trips(void)
{
	cpu_set_t first;
	cpu_set_t all;
	struct pair pair = {eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC)};
	double times[ROUNDS] = {0};
	pthread_t thread;
	eventfd_t count;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	sched_getaffinity(0, sizeof(all), &all);
	sched_setaffinity(0, sizeof(first), &first);
	if (pthread_create(&thread, NULL, answer_eventfd, &pair))
		return;
	for (size_t i = 0; i < ROUNDS; i++) {
		double begin = now_us();

		if (eventfd_write(pair.ask, 1) || eventfd_read(pair.answer, &count))
			break;
		times[i] = now_us() - begin;
	}
	pthread_join(thread, NULL);
	sched_setaffinity(0, sizeof(all), &all);
	close(pair.ask);
	close(pair.answer);
	print_times("eventfd", times, ROUNDS);
}

static double copy_mbs(char *to, const char *from, size_t len)
{
	double best = 0;

	for (int i = 0; i < COPIES; i++) {
		double begin = now_us();
		double mbs;

		memcpy(to, from, len);
		__asm__ volatile("" : : "r"(to) : "memory");
		mbs = (double)len / (now_us() - begin);
		best = mbs > best ? mbs : best;
	}
	return best;
}

static void measure_memory(const struct ivs_peer *peer)
{
	size_t half = ivs_peer_usable_len(peer) / 2;
	char *memory = ivs_peer_memory(peer, NULL);
	size_t len = half < COPY_LEN ? half : COPY_LEN;
	char *own = malloc(2 * len + SKEW);

	if (!own)
		return;
	memset(own, 1, 2 * len + SKEW);
	printf(",\"write_mbs\":%.0f", copy_mbs(memory + half, own, len));
	printf(",\"read_mbs\":%.0f", copy_mbs(own, memory + half, len));
	printf(",\"own_mbs\":%.0f", copy_mbs(own, own + len + SKEW, len));
	free(own);
}

static void measure_peer(struct ivs_peer *peer, struct mailbox *mailbox)
{
	uint32_t echo = mailbox->echo;

	printf("transports: {\"transport\":\"%s\",\"what\":\"%s\"", ivs_peer_transport(peer),
	       ivs_peer_describe(peer));
	measure_memory(peer);
	measure_floor_trips();
	if (ivs_peer_caps(peer) & IVS_CAP_RING)
		measure_ring(peer);
	if (ivs_peer_caps(peer) & IVS_CAP_WAIT) {
		measure_trips(peer, (unsigned int)ivs_peer_id(peer), "self");
		mailbox->asker = (uint32_t)ivs_peer_id(peer);
		if (echo)
			measure_trips(peer, echo - 1, "host");
	}
	printf("}\n");
}

static int run_echo(struct ivs_peer *peer, struct mailbox *mailbox)
{
	struct pollfd pfds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
				{.fd = ivs_peer_vector_fd(peer, 0), .events = POLLIN}};

	mailbox->echo = (uint32_t)ivs_peer_id(peer) + 1;
	printf("transports: echo is peer %d\n", ivs_peer_id(peer));
	fflush(stdout);
	while (poll(pfds, 2, -1) > 0 && !pfds[0].revents) {
		if (!ivs_peer_wait(peer, 0, 0) && ivs_peer_ring(peer, mailbox->asker, 0) < 0)
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	bool echo = argc == 3 && !strcmp(argv[1], "--echo");
	struct mailbox *mailbox;
	struct ivs_peer *peer;
	struct ivs_error err;
	int status = 0;

	if (argc != 2 + echo) {
		fprintf(stderr, "usage: transports [--echo] ADDRESS\n");
		return 2;
	}
	if (ivs_peer_open(argv[1 + echo], NULL, &peer, &err)) {
		fprintf(stderr, "transports: %s\n", err.text);
		return 1;
	}
	mailbox = ivs_peer_memory(peer, NULL);
	if (echo)
		status = run_echo(peer, mailbox);
	else
		measure_peer(peer, mailbox);
	ivs_peer_close(peer);
	return status;
}
