/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor is a process that only sends the messages of a storm. join.c explains why it is fair to
 * compare a server with the floor.
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include <stdint.h>

#include "sender.h"

/**
 * struct bench_floor_cost - CPU time that the floor process used
 * @accept_ns: time to accept the clients, create their eventfds and watch their sockets
 * @join_ns:   time to send the greetings and the joins
 * @close_ns:  time to close the sockets and eventfds of clients that left
 * @leave_ns:  time to send the leaves
 */
struct bench_floor_cost {
	int64_t accept_ns;
	int64_t join_ns;
	int64_t close_ns;
	int64_t leave_ns;
};

/**
 * struct bench_floor - a running floor
 * @control_fd: socket connected to the floor process. When that process receives a byte here, it
 *              sends the leaves to the clients, and then replies with its struct bench_floor_cost
 */
struct bench_floor {
	struct bench_sender sender;
	int control_fd;
};

/**
 * bench_floor_start() - start a floor, which listens at @path and waits for clients
 * @batch: messages per system call: 1 for sendmsg(), more for sendmmsg()
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int bench_floor_start(const char *path, unsigned int clients_n, unsigned int vectors_n,
				   unsigned int batch, struct bench_floor *out);

/** bench_floor_leave() - have @floor send the leaves of clients 0, 2, 4 ... Return: 0 or -errno. */
IVS_MUST_USE int bench_floor_leave(struct bench_floor *floor);

/** bench_floor_cost() - get the cost, after all messages have been read. Return: 0 or -errno. */
IVS_MUST_USE int bench_floor_cost(struct bench_floor *floor, struct bench_floor_cost *out);

/** bench_floor_stop() */
void bench_floor_stop(struct bench_floor *floor);

#endif
