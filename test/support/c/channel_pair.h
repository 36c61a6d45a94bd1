/* SPDX-License-Identifier: BSD-3-Clause */
/* Channels of two or more peers in this process, in a plain region that has no name any more. */
#ifndef TEST_CHANNEL_PAIR_H
#define TEST_CHANNEL_PAIR_H

#include "ivshmem/channel.h"
#include "ivshmem/region.h"

#define TEST_CHANNEL_PEERS_MAX 10

/** struct test_channels - peer i has section i */
struct test_channels {
	struct ivs_region *region;
	struct ivs_peer *peers[TEST_CHANNEL_PEERS_MAX];
	struct ivs_channels *channels[TEST_CHANNEL_PEERS_MAX];
	unsigned int n;
};

/** test_channels_open() - create a region of @len bytes with @n peers, or fail the test */
struct test_channels test_channels_open(size_t len, unsigned int n);

/** test_channels_reopen() - open the channels of peer @i again, as after its process was killed */
void test_channels_reopen(struct test_channels *all, unsigned int i);

void test_channels_close(struct test_channels *all);

#endif
