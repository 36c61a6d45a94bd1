/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer that prints what it sees, for tests of the library with hostile servers:
 *
 *   witness ADDRESS TIMEOUT_MS DOORBELLS_MAX [fork | nest | slow]
 *
 * It prints the result of opening, doorbells, joins and leaves, and the loss of the server. Then it
 * measures how much processor time waiting takes, closes the peer and prints how long that took.
 * With "fork" a child has all fds of the peer, too; with "nest" an epoll of the program watches the
 * peer's fd; with "slow" unmapping the region takes seconds, as it does if that frees many GiB.
 */
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
#define SLOW_S 8

static bool slow;

/* The library calls this function in place of libc's. */
int munmap(void *memory, size_t len)
{
	if (slow)
		sleep(SLOW_S);
	return (int)syscall(SYS_munmap, memory, len);
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

static void print_events(struct ivs_peer *peer)
{
	struct ivs_event event = {0};

	while (event.type != IVS_EVENT_SERVER_LOST && !ivs_peer_next(peer, -1, &event)) {
		if (event.type == IVS_EVENT_JOIN)
			printf("joined %u %u\n", event.id, event.vectors_n);
		else if (event.type == IVS_EVENT_LEAVE)
			printf("left %u\n", event.id);
		else if (event.type == IVS_EVENT_DOORBELL)
			printf("rung %u\n", event.vector);
	}
	printf("lost\n");
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
	slow = is_chosen("slow", argv);
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
	printf("waiting gave %d and took %ld ms of processor time\n", result,
	       now_ms(CLOCK_PROCESS_CPUTIME_ID) - began);
	began = now_ms(CLOCK_MONOTONIC);
	ivs_peer_close(peer);
	printf("closed after %ld ms\n", now_ms(CLOCK_MONOTONIC) - began);
	if (child > 0)
		kill(child, SIGKILL);
	return 0;
}
