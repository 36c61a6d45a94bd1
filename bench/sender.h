/* SPDX-License-Identifier: BSD-3-Clause */
/* The CPU time and memory of the sender, which is a server under test or the floor. */
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
 * @args: its arguments, separated by spaces; {socket}, {dir} and {vectors} are replaced
 * @dir:  directory for its socket, log and other files
 */
struct bench_server {
	const char *path;
	const char *args;
	const char *dir;
};

/**
 * struct bench_sender - a sender, as a child process
 * @clock: clock of the CPU time of all its threads
 */
struct bench_sender {
	pid_t pid;
	clockid_t clock;
};

/** bench_sender_start() - start a server. Return: 0 or -errno. */
IVS_MUST_USE int bench_sender_start(const struct bench_server *server, unsigned int vectors_n,
				    struct bench_sender *out);

/** bench_sender_become() - called in the child: die with @parent, and run on the CPU for senders */
void bench_sender_become(pid_t parent);

/** bench_sender_cpu() - CPU time used so far, in ns; 0 if the process has exited */
int64_t bench_sender_cpu(const struct bench_sender *sender);

/** bench_sender_settle() - wait at most 2 s for the process to become idle */
void bench_sender_settle(const struct bench_sender *sender);

/** bench_sender_rss_kib() - peak memory (VmHWM) in KiB; -1 if the process has exited */
long bench_sender_rss_kib(const struct bench_sender *sender);

/**
 * bench_sender_stop() - terminate the process by SIGTERM or, after 5 s, SIGKILL
 * @how: if the process had already exited, set to how it did; otherwise to ""
 */
void bench_sender_stop(struct bench_sender *sender, char *how, size_t how_len);

/**
 * bench_pin() - run on the first available CPU (if @sender) or on the last one (readers)
 *
 * No-op if only one CPU is available, or after bench_pin_disable().
 */
void bench_pin(bool sender);

/** bench_pin_disable() - for machines where the first or last CPU is busy */
void bench_pin_disable(void);

#endif
