/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/c/channel_pair.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

struct test_channels test_channels_open(size_t len, unsigned int n)
{
	struct ivs_region_options region = IVS_REGION_OPTIONS_INIT;
	struct test_channels all = {.n = n};
	struct ivs_error err;
	char address[64];

	region.size = len;
	snprintf(address, sizeof(address), "shm:ivs-channel-%d", (int)getpid());
	cr_assert_eq(ivs_region_open(address, &region, &all.region, &err), 0, "%s", err.text);
	for (unsigned int i = 0; i < n; i++) {
		cr_assert_eq(ivs_peer_open(address, NULL, &all.peers[i], &err), 0, "%s", err.text);
		test_channels_reopen(&all, i);
	}
	cr_assert_eq(ivs_region_remove(all.region), 0);
	return all;
}

void test_channels_reopen(struct test_channels *all, unsigned int i)
{
	struct ivs_channels_options opts = IVS_CHANNELS_OPTIONS_INIT;
	struct ivs_error err;

	opts.section = i;
	cr_assert_eq(ivs_channels_open(all->peers[i], &opts, &all->channels[i], &err), 0, "%s",
		     err.text);
}

void test_channels_close(struct test_channels *all)
{
	for (unsigned int i = 0; i < all->n; i++) {
		ivs_channels_close(all->channels[i]);
		ivs_peer_close(all->peers[i]);
	}
	ivs_region_close(all->region);
}
