/* SPDX-License-Identifier: BSD-3-Clause */
/* Run the sender, which is a server under test or the floor; measure its CPU time and memory. */
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
 * @path: path of the server program
 * @args: the server's arguments, separated by spaces; {socket}, {dir} and {vectors} are replaced
 * @dir:  directory for the server's socket, log and other files
 */
struct bench_server {
	const char *path;
	const char *args;
	const char *dir;
};

/**
 * struct bench_sender - a child process that is the sender
 * @clock: clock that measures the CPU time of all threads of the sender
 */
struct bench_sender {
	pid_t pid;
	clockid_t clock;
};

/** bench_sender_start() - start a server. Return: 0 or -errno. */
IVS_MUST_USE int bench_sender_start(const struct bench_server *server, unsigned int vectors_n,
				    struct bench_sender *out);

/** bench_sender_become() - in the child: die when @parent does, and run on the CPU for senders */
void bench_sender_become(pid_t parent);

/** bench_sender_cpu() - CPU time that the sender has used so far, in ns; 0 if it has exited */
int64_t bench_sender_cpu(const struct bench_sender *sender);

/** bench_sender_settle() - wait at most 2 s for the sender to become idle */
void bench_sender_settle(const struct bench_sender *sender);

/** bench_sender_rss_kib() - the sender's peak memory (VmHWM) in KiB; -1 if it has exited */
long bench_sender_rss_kib(const struct bench_sender *sender);

/**
 * bench_sender_stop() - terminate the sender by SIGTERM or, after 5 s, SIGKILL
 * @how: set to a description of how the sender exited, if it had already exited; otherwise to ""
 */
void bench_sender_stop(struct bench_sender *sender, char *how, size_t how_len);

/**
 * bench_pin() - pin this process to the first available CPU if @sender, or else to the last one
 *
 * No-op if only one CPU is available, or after bench_pin_disable().
 */
void bench_pin(bool sender);

/** bench_pin_disable() - make bench_pin() a no-op, for machines whose first or last CPU is busy */
void bench_pin_disable(void);

#endif
