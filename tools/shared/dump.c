/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/dump.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "ivshmem/registers.h"
#include "region/watch.h"

static void dump_caps(const struct ivs_peer *peer)
{
	static const struct {
		enum ivs_peer_cap cap;
		const char *name;
	} caps[] = {
		{IVS_CAP_ID, "id"},
		{IVS_CAP_RING, "ring"},
		{IVS_CAP_WAIT, "wait"},
		{IVS_CAP_ROSTER, "roster"},
		{IVS_CAP_CACHED, "cached memory"},
		{IVS_CAP_WRITE, "write"},
	};

	for (unsigned int i = 0; i < sizeof(caps) / sizeof(*caps); i++) {
		const char *why = ivs_peer_cap_reason(peer, caps[i].cap);

		if (why)
			printf("no %s: %s\n", caps[i].name, why);
	}
}

static void dump_region(const struct ivs_peer *peer)
{
	unsigned int changes = ivs_peer_region_changes(peer);
	char size[IVS_SIZE_TEXT_LEN];
	size_t len;

	ivs_peer_memory(peer, &len);
	if (ivs_peer_usable_len(peer) < len)
		printf("region      %s, of which the last %zu KiB are reserved\n",
		       ivs_size_text(len, size), (len - ivs_peer_usable_len(peer)) / 1024);
	else
		printf("region      %s\n", ivs_size_text(len, size));
	for (unsigned int i = 0; i < IVS_REGION_CHANGES_N; i++) {
		if (changes & 1U << i)
			printf("changed     %s\n", ivs_region_change_text(i));
	}
}

/* Print the header of the roster page. dump_peer() prints the peers. */
static void dump_roster_page(struct ivs_peer *peer)
{
	struct ivs_roster_info page;
	int result = ivs_peer_read_roster(peer, &page, NULL, 0);

	if (result == IVS_PEER_E_BUSY)
		printf("roster      page in the region, incomplete: its server was killed\n");
	if (result)
		return;
	printf("roster      page in the region: generation %" PRIu64
	       ", %u connected, %u listed%s\n",
	       page.generation, page.peers_n, page.listed_n,
	       page.maintained ? "" : "; its server has ended");
}

/* Return: how many vectors the server assigns to this peer, according to the page; -1: unknown */
static int vectors_assigned(struct ivs_peer *peer)
{
	static struct ivs_roster_entry entries[IVS_ID_MAX + 1];
	struct ivs_roster_info page;

	if (ivs_peer_read_roster(peer, &page, entries, IVS_ID_MAX + 1) || !page.maintained)
		return -1;
	for (unsigned int i = 0; i < page.listed_n && i <= IVS_ID_MAX; i++) {
		if ((int)entries[i].id == ivs_peer_id(peer))
			return (int)entries[i].vectors_n;
	}
	return -1;
}

/*
 * The server does not learn how many vectors a device has, and the device does not learn how many
 * the server assigns to it.
 */
static void dump_surplus_vectors(struct ivs_peer *peer)
{
	unsigned int has_n = ivs_peer_vectors(peer);
	int assigned_n = vectors_assigned(peer);

	if (assigned_n < 0 || assigned_n == (int)has_n ||
	    !strcmp(ivs_peer_transport(peer), "sysfs"))
		return;
	if (assigned_n > (int)has_n)
		printf("surplus     this peer has %u vectors and the server assigns %d: doorbells "
		       "on "
		       "vector %u and above are lost; start QEMU with vectors=%d\n",
		       has_n, assigned_n, has_n, assigned_n);
	else
		printf("surplus     this peer has %u vectors and the server assigns %d: no peer "
		       "can ring vector %d and above; start the server with -n %u\n",
		       has_n, assigned_n, assigned_n, has_n);
}

enum outcome dump_peer(struct ivs_peer *peer)
{
	static unsigned int ids[IVS_ID_MAX + 1];
	unsigned int n = ivs_peer_roster(peer, ids, IVS_ID_MAX + 1);

	printf("transport   %s\n", ivs_peer_describe(peer));
	dump_region(peer);
	if (ivs_peer_id(peer) >= 0)
		printf("peer %5d  %u vectors (this one)\n", ivs_peer_id(peer),
		       ivs_peer_vectors(peer));
	for (unsigned int i = 0; i < n; i++)
		printf("peer %5u  %u vectors\n", ids[i], ivs_peer_vectors_of(peer, ids[i]));
	if (!(ivs_peer_region_changes(peer) &
	      IVS_REGION_SHRUNK)) { /* the page may have been cut off */
		dump_roster_page(peer);
		dump_surplus_vectors(peer);
	}
	dump_caps(peer);
	return OUTCOME_OK;
}
