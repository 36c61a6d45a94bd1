/* SPDX-License-Identifier: BSD-3-Clause */
/* The process that sends: a server under test, or the floor. Its end, its CPU time, its memory. */
#ifndef BENCH_SENDER_H
#define BENCH_SENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "ivshmem/api.h"

/**
 * struct bench_server - what to start
 * @path: the program
 * @args: separated by spaces; {socket}, {dir} and {vectors} in them are replaced
 * @dir:  for its socket, its log and whatever else it makes
 */
struct bench_server {
	const char *path;
	const char *args;
	const char *dir;
};

/**
 * struct bench_sender - a process of ours
 * @clock: its CPU time, of all its threads, in nanoseconds
 */
struct bench_sender {
	pid_t pid;
	clockid_t clock;
};

/** bench_sender_start() - a server. Return: 0 or -errno. */
IVS_MUST_USE int bench_sender_start(const struct bench_server *server, unsigned int vectors_n,
				    struct bench_sender *out);

/** bench_sender_become() - in a child just forked: end with the parent, run on the senders' CPU */
void bench_sender_become(pid_t parent);

/** bench_sender_cpu() - CPU time used until now; 0 when it is gone */
int64_t bench_sender_cpu(const struct bench_sender *sender);

/** bench_sender_settle() - wait until it uses no more CPU, for two seconds at most */
void bench_sender_settle(const struct bench_sender *sender);

/** bench_sender_rss_kib() - the most memory that it has had (VmHWM); -1 when it is gone */
long bench_sender_rss_kib(const struct bench_sender *sender);

/**
 * bench_sender_stop() - with SIGTERM, after five seconds with SIGKILL
 * @how: how it had ended, if it had ended before by itself; else ""
 */
void bench_sender_stop(struct bench_sender *sender, char *how, size_t how_len);

/**
 * bench_pin() - senders run on the first CPU that we may use and readers on the last one
 *
 * Unless there is only one, or pinning was not wanted.
 */
void bench_pin(bool sender);

/** bench_pin_disable() - for machines where the first or last CPU is busy */
void bench_pin_disable(void);

#endif
