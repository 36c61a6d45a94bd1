/* SPDX-License-Identifier: BSD-3-Clause */
/* One storm: joins, then leaves, of a server under test or of the floor. */
#ifndef BENCH_STORM_H
#define BENCH_STORM_H

#include "clients.h"
#include "floor.h"
#include "sender.h"

/**
 * struct bench_shape - how large
 * @stalled_n: clients that connected before and never read
 */
struct bench_shape {
	unsigned int clients_n;
	unsigned int vectors_n;
	unsigned int stalled_n;
};

/**
 * struct bench_part - the joins, or the leaves
 * @cpu_ns:  CPU time of the sender
 * @wall_ns: from the first to the last message, as the clients see it
 */
struct bench_part {
	uint64_t messages_n;
	int64_t cpu_ns;
	int64_t wall_ns;
};

/**
 * struct bench_storm - what was measured
 * @why:     "", or what went wrong; then only what was measured before is set
 * @rss_kib: the most memory that the server had; with @idle_kib, what it had with one client
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

/** bench_storm_server() - of @server, started and ended here */
void bench_storm_server(const struct bench_server *server, const struct bench_shape *shape,
			struct bench_storm *out);

/** bench_storm_floor() - the same messages, @batch at a time, to the same clients */
void bench_storm_floor(const char *dir, const struct bench_shape *shape, unsigned int batch,
		       struct bench_storm *out);

/** bench_remove_files() - all that is in @dir */
void bench_remove_files(const char *dir);

#endif
