/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer in a program with an event loop that waits for standard input, a timer and doorbells at
 * the same time. The program runs on the host and in a guest:
 *
 *   poll-loop unix:/tmp/ivshmem_socket      "ring 0 1" rings vector 1 of peer 0, "quit" exits
 *   poll-loop pci: 60                       prints its status every 60 seconds
 *
 * Joins and leaves are printed on the host, and in a guest if ivshmem-server runs with --roster.
 */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <ivshmem/peer.h>

enum { INPUT, TIMER, PEER, FDS_N };

struct loop {
	struct ivs_peer *peer;
	unsigned long doorbells_n;
	char line[80]; /* incomplete line of input */
	size_t line_len;
	bool ends;
};

static int fail(const char *what)
{
	fprintf(stderr, "poll-loop: %s\n", what);
	return 1;
}

static void show(struct loop *loop, const struct ivs_event *event)
{
	switch (event->type) {
	case IVS_EVENT_DOORBELL:
		loop->doorbells_n++;
		printf("doorbell on vector %u\n", event->vector);
		break;
	case IVS_EVENT_JOIN:
		printf("peer %u joined with %u vectors\n", event->id, event->vectors_n);
		break;
	case IVS_EVENT_LEAVE:
		printf("peer %u left\n", event->id);
		break;
	case IVS_EVENT_SERVER_LOST:
		printf("the server is gone; known doorbells continue to work\n");
		break;
	case IVS_EVENT_REGION:
		printf("the region's name or size has changed (0x%x)\n",
		       ivs_peer_region_changes(loop->peer));
		break;
	}
}

/*
 * Handle all pending events. When the peer's fd is readable, there may be several events, or none.
 */
static int take_events(struct loop *loop)
{
	struct ivs_event event;
	int result;

	while (!(result = ivs_peer_next(loop->peer, 0, &event)))
		show(loop, &event);
	if (result == IVS_PEER_E_TIMEOUT)
		return 0;
	return fail(ivs_peer_strerror(result));
}

static int take_timer(struct loop *loop, int timer)
{
	uint64_t count;

	if (read(timer, &count, sizeof(count)) != sizeof(count))
		return fail("cannot read the timer");
	printf("%u other peers, %lu doorbells so far\n", ivs_peer_roster(loop->peer, NULL, 0),
	       loop->doorbells_n);
	return 0;
}

/* A plain region with a roster page has events, but no doorbells. */
static const char *why_not_rung(const struct ivs_peer *peer, int result)
{
	const char *reason = ivs_peer_cap_reason(peer, IVS_CAP_RING);

	return result == IVS_PEER_E_UNSUPPORTED && reason ? reason : ivs_peer_strerror(result);
}

static void run_command(struct loop *loop, const char *command)
{
	unsigned int id;
	unsigned int vector;
	int result;

	if (!strcmp(command, "quit"))
		loop->ends = true;
	else if (sscanf(command, "ring %u %u", &id, &vector) != 2)
		printf("commands: ring PEER VECTOR, quit\n");
	else if ((result = ivs_peer_ring(loop->peer, id, vector)))
		printf("cannot ring peer %u vector %u: %s\n", id, vector,
		       why_not_rung(loop->peer, result));
}

/* Use read(2) instead of fgets(), because poll(2) does not see what stdio has buffered. */
static int take_input(struct loop *loop)
{
	char bytes[256];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

	if (n < 0)
		return fail("cannot read the input");
	loop->ends = !n;
	for (ssize_t i = 0; i < n && !loop->ends; i++) {
		if (bytes[i] != '\n') {
			/* Truncate lines that are too long. */
			if (loop->line_len < sizeof(loop->line) - 1)
				loop->line[loop->line_len++] = bytes[i];
			continue;
		}
		loop->line[loop->line_len] = 0;
		loop->line_len = 0;
		run_command(loop, loop->line);
	}
	return 0;
}

static int run(struct loop *loop, int timer)
{
	struct pollfd fds[FDS_N] = {
		[INPUT] = {.fd = STDIN_FILENO, .events = POLLIN},
		[TIMER] = {.fd = timer, .events = POLLIN},
		[PEER] = {.fd = ivs_peer_fd(loop->peer), .events = POLLIN},
	};
	int status = 0;

	if (!(ivs_peer_caps(loop->peer) & (IVS_CAP_WAIT | IVS_CAP_ROSTER)))
		return fail(ivs_peer_cap_reason(loop->peer, IVS_CAP_WAIT));
	printf("I am peer %d (%s), %u vectors\n", ivs_peer_id(loop->peer),
	       ivs_peer_transport(loop->peer), ivs_peer_vectors(loop->peer));
	while (!loop->ends && !status) {
		if (poll(fds, FDS_N, -1) < 0)
			return fail("cannot poll");
		if (fds[PEER].revents)
			status = take_events(loop);
		if (fds[TIMER].revents && !status)
			status = take_timer(loop, timer);
		if (fds[INPUT].revents && !status)
			status = take_input(loop);
	}
	return status;
}

int main(int argc, char **argv)
{
	bool help = argc == 2 && !strcmp(argv[1], "--help");
	int seconds = argc == 3 ? atoi(argv[2]) : 10;
	const struct timespec interval = {.tv_sec = seconds};
	const struct itimerspec every = {interval, interval};
	struct loop loop = {0};
	struct ivs_error err;
	int timer;
	int status;

	if (help || argc < 2 || argc > 3 || seconds < 1) {
		fprintf(help ? stdout : stderr, "usage: poll-loop ADDRESS [SECONDS]\n");
		return help ? 0 : 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (timer < 0 || timerfd_settime(timer, 0, &every, NULL))
		return fail("cannot create a timer");
	if (ivs_peer_open(argv[1], NULL, &loop.peer, &err)) {
		close(timer);
		return fail(err.text);
	}
	status = run(&loop, timer);
	ivs_peer_close(loop.peer);
	close(timer);
	return status;
}
