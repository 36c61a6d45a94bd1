/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer that prints what it sees, for tests of the library with hostile servers:
 *
 *   witness ADDRESS TIMEOUT_MS DOORBELLS_MAX [fork | nest | unmap | close]
 *
 * It prints the result of opening, doorbells, joins and leaves, and the loss of the server. Each of
 * these lines ends with the longest time by which a call has exceeded its time limit so far. Then
 * the program measures how much processor time waiting takes, closes the peer and prints how long
 * that took. With "fork" a child process has copies of all fds of the peer; with "nest" an epoll
 * instance in the program watches the peer's fd; with "unmap" unmapping the region takes seconds,
 * as if it freed many GiB; with "close" each close(2) takes CLOSE_MS.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ivshmem/peer.h"

#define WAIT_MS 300
#define NEXT_MS 20
#define UNMAP_MS 8000
#define CLOSE_MS 95

static int unmap_ms;
static int close_ms;

/* The library calls this function and the next one instead of libc's. */
int munmap(void *memory, size_t len)
{
	if (unmap_ms)
		poll(NULL, 0, unmap_ms);
	return (int)syscall(SYS_munmap, memory, len);
}

int close(int fd)
{
	if (close_ms)
		poll(NULL, 0, close_ms);
	return (int)syscall(SYS_close, fd);
}

static long now_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static pid_t start_child(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pause();
	_exit(0);
}

static bool is_chosen(const char *option, char **argv)
{
	return argv[4] && !strcmp(argv[4], option);
}

static int nest(int fd)
{
	struct epoll_event event = {.events = EPOLLIN};
	int outer = epoll_create1(EPOLL_CLOEXEC);

	return outer < 0 || epoll_ctl(outer, EPOLL_CTL_ADD, fd, &event);
}

/*
 * Wait for an event in a series of short calls. @late_ms: raised to the delay of the latest call,
 * if that is larger. Return: as ivs_peer_next().
 */
static int next_event(struct ivs_peer *peer, struct ivs_event *event, long *late_ms)
{
	long began;
	long late;
	int result;

	do {
		began = now_ms(CLOCK_MONOTONIC);
		result = ivs_peer_next(peer, NEXT_MS, event);
		late = now_ms(CLOCK_MONOTONIC) - began - NEXT_MS;
		if (late > *late_ms)
			*late_ms = late;
	} while (result == IVS_PEER_E_TIMEOUT || result == -EINTR);
	return result;
}

static void print_events(struct ivs_peer *peer)
{
	struct ivs_event event = {0};
	long late_ms = 0;

	while (event.type != IVS_EVENT_SERVER_LOST && !next_event(peer, &event, &late_ms)) {
		if (event.type == IVS_EVENT_JOIN)
			printf("joined %u %u", event.id, event.vectors_n);
		else if (event.type == IVS_EVENT_LEAVE)
			printf("left %u", event.id);
		else if (event.type == IVS_EVENT_DOORBELL)
			printf("rung %u", event.vector);
		else
			printf("lost");
		printf("; %ld ms late\n", late_ms);
	}
}

int main(int argc, char **argv)
{
	struct ivs_peer_options opts = {0};
	long began = now_ms(CLOCK_MONOTONIC);
	struct ivs_peer *peer;
	struct ivs_event event;
	struct ivs_error err;
	pid_t child = 0;
	int result;

	if (argc < 4)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	unmap_ms = is_chosen("unmap", argv) ? UNMAP_MS : 0;
	close_ms = is_chosen("close", argv) ? CLOSE_MS : 0;
	opts.timeout_ms = (unsigned int)atoi(argv[2]);
	opts.doorbells_max = (unsigned int)atoi(argv[3]);
	result = ivs_peer_open(argv[1], &opts, &peer, &err);
	printf("opened %d after %ld ms: %s\n", result, now_ms(CLOCK_MONOTONIC) - began, err.text);
	if (result)
		return 1;
	if (is_chosen("fork", argv))
		child = start_child();
	if (is_chosen("nest", argv) && nest(ivs_peer_fd(peer)))
		return 1;
	print_events(peer);
	began = now_ms(CLOCK_PROCESS_CPUTIME_ID);
	result = ivs_peer_next(peer, WAIT_MS, &event);
	printf("waiting returned %d and took %ld ms of processor time\n", result,
	       now_ms(CLOCK_PROCESS_CPUTIME_ID) - began);
	began = now_ms(CLOCK_MONOTONIC);
	ivs_peer_close(peer);
	printf("closed after %ld ms\n", now_ms(CLOCK_MONOTONIC) - began);
	if (child > 0)
		kill(child, SIGKILL);
	return 0;
}
