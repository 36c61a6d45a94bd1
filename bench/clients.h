/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clients of a storm, all in one process with one epoll instance. They connect as fast as they
 * can, read all messages with the library's decoder, close each received fd immediately, and check
 * that each client received every vector of every peer, and every leave, exactly once.
 */
#ifndef BENCH_CLIENTS_H
#define BENCH_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/api.h"

#define BENCH_WHY_LEN 200
#define BENCH_GREETING_LEN 3 /* version, id, memory */

struct bench_clients;

/**
 * bench_clients_new() - allocate clients without connecting them
 * @clients_n: number of clients
 * @peers_n:   number of peers that each client must receive, including itself
 * @vectors_n: vectors per peer
 *
 * Return: the clients, or NULL if memory or fds are exhausted.
 */
struct bench_clients *bench_clients_new(unsigned int clients_n, unsigned int peers_n,
					unsigned int vectors_n);

/** bench_clients_free() - close all connections and free the clients; @clients may be NULL */
void bench_clients_free(struct bench_clients *clients);

/** bench_clients_connect() - connect the clients one by one. Return: whether all are connected. */
IVS_MUST_USE bool bench_clients_connect(struct bench_clients *clients, const char *path);

/**
 * bench_clients_read() - read until each client has received all messages
 *
 * Return: whether each client received exactly the messages that it should have received.
 */
IVS_MUST_USE bool bench_clients_read(struct bench_clients *clients);

/** bench_clients_leave() - disconnect every second client; the others must receive the leaves */
void bench_clients_leave(struct bench_clients *clients);

/** bench_clients_why() - the error message, after bench_clients_connect() or _read() failed */
const char *bench_clients_why(const struct bench_clients *clients);

/** bench_clients_messages() - the number of messages received so far, by all clients together */
uint64_t bench_clients_messages(const struct bench_clients *clients);

/**
 * struct bench_latency - time from a client's connect() to the receipt of its last own vector,
 * which the server sends after the vectors of all peers that were present at the client's greeting
 */
struct bench_latency {
	int64_t p50_ns;
	int64_t p99_ns;
	int64_t max_ns;
};

/** bench_clients_latency() - the latency of clients that have received all of their own vectors */
struct bench_latency bench_clients_latency(const struct bench_clients *clients);

/** bench_connect() - connect to the stream socket at @path. Return: the fd or -errno. */
IVS_MUST_USE int bench_connect(const char *path);

#endif
