/* SPDX-License-Identifier: BSD-3-Clause */
/* Run a storm of joins, then leaves, with a server under test or with the floor. */
#ifndef BENCH_STORM_H
#define BENCH_STORM_H

#include "clients.h"
#include "floor.h"
#include "sender.h"

/**
 * struct bench_shape - the size of a storm
 * @stalled_n: number of clients that connect before the storm and never read
 */
struct bench_shape {
	unsigned int clients_n;
	unsigned int vectors_n;
	unsigned int stalled_n;
};

/**
 * struct bench_part - measurements of the joins or of the leaves
 * @cpu_ns:  CPU time that the sender used
 * @wall_ns: time from the first to the last message, measured by the clients
 */
struct bench_part {
	uint64_t messages_n;
	int64_t cpu_ns;
	int64_t wall_ns;
};

/**
 * struct bench_storm - measurements of one storm
 * @why:      "" or an error message; after an error, only the fields measured before it are set
 * @rss_kib:  peak memory of the server in KiB
 * @idle_kib: peak memory of the server in KiB after a single client has joined and left
 */
struct bench_storm {
	char why[2 * BENCH_WHY_LEN + 4];
	struct bench_part join;
	struct bench_part leave;
	struct bench_latency latency;
	long rss_kib;
	long idle_kib;
	int64_t accept_ns;
	int64_t close_ns;
};

/** bench_storm_server() - start @server, measure a storm, and stop it */
void bench_storm_server(const struct bench_server *server, const struct bench_shape *shape,
			struct bench_storm *out);

/** bench_storm_floor() - measure a storm in which the floor sends @batch messages per call */
void bench_storm_floor(const char *dir, const struct bench_shape *shape, unsigned int batch,
		       struct bench_storm *out);

/** bench_remove_files() - remove all files in @dir */
void bench_remove_files(const char *dir);

#endif
