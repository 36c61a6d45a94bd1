/* SPDX-License-Identifier: BSD-3-Clause */
/* Regions of the benchmark, and the peers that use them. */
#ifndef BENCH_CHANNEL_PEERS_H
#define BENCH_CHANNEL_PEERS_H

#include <ivshmem/channel.h>

/** region_open() - create a plain region for @bytes in channels of each section */
void region_open(size_t bytes, unsigned int sections_n);
/** region_serve() - the same, with a server, and so with doorbells. Return: NULL, or why not */
const char *region_serve(size_t bytes, unsigned int sections_n);
/**
 * region_await() - wait until the server listens, for programs that do not try again
 *
 * It joins for a moment, so ids may begin with 1.
 */
void region_await(void);
/** region_address() - Return: the address of the region */
const char *region_address(void);
/** region_close() - remove the region, and end its server */
void region_close(void);

#define TOPIC_BORROWERS_N                                                                          \
	1 /* and one loan: as little memory as possible for what is not measured */

/** topic_bytes() - what a topic of @n messages of up to @len bytes needs: buffers and slots */
static inline size_t topic_bytes(size_t n, size_t len)
{
	return (n + TOPIC_BORROWERS_N) * (len + 4096) + n * 64 + 8192;
}

/**
 * channels_open() - join the region that the parent of this process has opened
 * @section: of this peer, without a server
 * @peers_n: number of peers that join, with this one
 */
struct ivs_channels *channels_open(unsigned int section, unsigned int peers_n);
/** channels_close() - leave it */
void channels_close(struct ivs_channels *channels);

/** check() - end the process unless @result is 0 */
void check(const char *what, int result);

#endif
