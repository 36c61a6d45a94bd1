/* SPDX-License-Identifier: BSD-3-Clause */
/* The process that sends: a server under test, or the floor. Its CPU time and memory. */
#ifndef BENCH_SENDER_H
#define BENCH_SENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "ivshmem/api.h"

/**
 * struct bench_server - a server under test
 * @path: the program
 * @args: separated by spaces; {socket}, {dir} and {vectors} are replaced
 * @dir:  for its socket, log and other files
 */
struct bench_server {
	const char *path;
	const char *args;
	const char *dir;
};

/**
 * struct bench_sender - a child process
 * @clock: CPU time of all its threads
 */
struct bench_sender {
	pid_t pid;
	clockid_t clock;
};

/** bench_sender_start() - start a server. Return: 0 or -errno. */
IVS_MUST_USE int bench_sender_start(const struct bench_server *server, unsigned int vectors_n,
				    struct bench_sender *out);

/** bench_sender_become() - call it in the child: die with the parent, run on the senders' CPU */
void bench_sender_become(pid_t parent);

/** bench_sender_cpu() - CPU time used so far, in ns; 0 if the process is gone */
int64_t bench_sender_cpu(const struct bench_sender *sender);

/** bench_sender_settle() - wait until it is idle, for at most 2 s */
void bench_sender_settle(const struct bench_sender *sender);

/** bench_sender_rss_kib() - its peak memory (VmHWM); -1 if the process is gone */
long bench_sender_rss_kib(const struct bench_sender *sender);

/**
 * bench_sender_stop() - send SIGTERM, and after 5 s SIGKILL
 * @how: set to how the process has ended if it ended before this call; else to ""
 */
void bench_sender_stop(struct bench_sender *sender, char *how, size_t how_len);

/**
 * bench_pin() - run on the first CPU available to us (senders) or on the last one (readers)
 *
 * Does nothing if there is only one, or after bench_pin_disable().
 */
void bench_pin(bool sender);

/** bench_pin_disable() - for machines where the first or last CPU is busy */
void bench_pin_disable(void);

#endif
