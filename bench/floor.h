/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor: what the kernel takes for the messages of a storm, and nothing else. See join.c for
 * what makes it fair.
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include <stdint.h>

#include "sender.h"

/**
 * struct bench_floor_cost - CPU time of the sending process
 * @accept_ns: to accept the clients, make their eventfds and watch them
 * @join_ns:   to send what they are told when all have joined
 * @close_ns:  to close the sockets and eventfds of those who left
 * @leave_ns:  to tell the others
 */
struct bench_floor_cost {
	int64_t accept_ns;
	int64_t join_ns;
	int64_t close_ns;
	int64_t leave_ns;
};

/**
 * struct bench_floor - a floor that runs
 * @control: a byte written to it starts the leaves; the cost is read from it
 */
struct bench_floor {
	struct bench_sender sender;
	int control;
};

/**
 * bench_floor_start() - listen at @path and wait for clients
 * @batch: messages per system call: 1 for sendmsg(), more for sendmmsg()
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int bench_floor_start(const char *path, unsigned int clients_n, unsigned int vectors_n,
				   unsigned int batch, struct bench_floor *out);

/** bench_floor_leave() - clients 0, 2, 4 ... have left: tell the others. Return: 0 or -errno. */
IVS_MUST_USE int bench_floor_leave(struct bench_floor *floor);

/** bench_floor_cost() - after all has been read. Return: 0 or -errno. */
IVS_MUST_USE int bench_floor_cost(struct bench_floor *floor, struct bench_floor_cost *out);

/** bench_floor_stop() */
void bench_floor_stop(struct bench_floor *floor);

#endif
