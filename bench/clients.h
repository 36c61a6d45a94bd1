/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clients of a storm, all in one process with one epoll. They connect as fast as they can, read
 * everything with the real decoder, close each fd at once, and know in the end whether each of them
 * was told everything: every peer with every vector, and every leave once.
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
 * bench_clients_new() - none is connected yet
 * @clients_n: how many
 * @peers_n:   of how many peers each is to hear, itself included
 * @vectors_n: with how many vectors each
 *
 * Return: the clients, or NULL without memory or fds.
 */
struct bench_clients *bench_clients_new(unsigned int clients_n, unsigned int peers_n,
					unsigned int vectors_n);

/** bench_clients_free() - closes all connections; NULL is fine */
void bench_clients_free(struct bench_clients *clients);

/** bench_clients_connect() - all, one right after the other. Return: whether all have connected. */
IVS_MUST_USE bool bench_clients_connect(struct bench_clients *clients, const char *path);

/**
 * bench_clients_read() - until each has as many messages as it must get
 *
 * Return: whether they came, and are the right ones.
 */
IVS_MUST_USE bool bench_clients_read(struct bench_clients *clients);

/** bench_clients_leave() - every second one closes its connection; the others are to hear it */
void bench_clients_leave(struct bench_clients *clients);

/** bench_clients_why() - what was wrong when one of the above returned false */
const char *bench_clients_why(const struct bench_clients *clients);

/** bench_clients_messages() - how many have been received so far, by all */
uint64_t bench_clients_messages(const struct bench_clients *clients);

/**
 * struct bench_latency - from connect() to a client's own last vector, which comes after all who
 * were there when it was greeted
 */
struct bench_latency {
	int64_t p50_ns;
	int64_t p99_ns;
	int64_t max_ns;
};

/** bench_clients_latency() - of those who have been told their own vectors */
struct bench_latency bench_clients_latency(const struct bench_clients *clients);

/** bench_connect() - to the stream socket at @path. Return: the fd or -errno. */
IVS_MUST_USE int bench_connect(const char *path);

#endif
