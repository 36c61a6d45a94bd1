/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/ring.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "ivshmem/registers.h"

#define RINGS_MAX (1u << 20) /* doorbells per command; ringing them takes a second or a few */

static enum outcome ring_vector(struct ivs_peer *peer, bool verbose, unsigned int id,
				unsigned int vector)
{
	char what[64];
	int result = ivs_peer_ring(peer, id, vector);

	snprintf(what, sizeof(what), "cannot ring peer %u vector %u", id, vector);
	switch (result) {
	case 0:
		if (verbose)
			printf("rang peer %u vector %u\n", id, vector);
		return OUTCOME_OK;
	case IVS_PEER_E_ABSENT:
		return report_failure(what, "no such peer is connected (see dump)");
	case IVS_PEER_E_VECTOR:
		return report_failure(what, "the peer has no such vector (see dump)");
	case IVS_PEER_E_UNSUPPORTED:
		return report_failure(what, ivs_peer_cap_reason(peer, IVS_CAP_RING));
	default:
		return report_failure(what, ivs_peer_strerror(result));
	}
}

/* Ring the first @n vectors. If there are none, ringing the first one tells why. */
static enum outcome ring_vectors(struct ivs_peer *peer, bool verbose, unsigned int id,
				 unsigned int n)
{
	enum outcome outcome = OUTCOME_OK;

	if (!n)
		return ring_vector(peer, verbose, id, 0);
	for (unsigned int vector = 0; vector < n && outcome == OUTCOME_OK; vector++)
		outcome = ring_vector(peer, verbose, id, vector);
	return outcome;
}

/* Without a roster the number of the peer's vectors is unknown: assume that it equals our own. */
static enum outcome ring_all_vectors(struct ivs_peer *peer, bool verbose, unsigned int id)
{
	unsigned int n = ivs_peer_vectors_of(peer, id);

	if (!(ivs_peer_caps(peer) & IVS_CAP_ROSTER))
		n = ivs_peer_vectors(peer) ? ivs_peer_vectors(peer) : 1;
	return ring_vectors(peer, verbose, id, n);
}

static enum outcome report_total(uint64_t total)
{
	char why[192];

	snprintf(why, sizeof(why),
		 "the roster lists %" PRIu64
		 " vectors, and at most %u are rung at once: it may be wrong, because every peer "
		 "can write to it; ring one peer at a time",
		 total, RINGS_MAX);
	return report_failure("cannot ring all peers", why);
}

/* A roster page can list 2^32 vectors, and can change while it is read, so count them first. */
static enum outcome ring_all_peers(struct ivs_peer *peer, bool verbose)
{
	static unsigned int ids[IVS_ID_MAX + 1];
	static unsigned int vectors[IVS_ID_MAX + 1];
	unsigned int n = ivs_peer_roster(peer, ids, IVS_ID_MAX + 1);
	enum outcome outcome = OUTCOME_OK;
	uint64_t total = 0;

	if (!(ivs_peer_caps(peer) & IVS_CAP_ROSTER))
		return report_failure("cannot ring all peers",
				      ivs_peer_cap_reason(peer, IVS_CAP_ROSTER));
	for (unsigned int i = 0; i < n; i++) {
		vectors[i] = ivs_peer_vectors_of(peer, ids[i]);
		total += vectors[i];
	}
	if (total > RINGS_MAX)
		return report_total(total);
	for (unsigned int i = 0; i < n && outcome == OUTCOME_OK; i++)
		outcome = ring_vectors(peer, verbose, ids[i], vectors[i]);
	return outcome;
}

enum outcome ring_by_text(struct ivs_peer *peer, const char *id_text, const char *vector_text,
			  bool verbose)
{
	uint64_t vector;
	uint64_t id;

	if (!strcmp(id_text, "all") && !vector_text)
		return ring_all_peers(peer, verbose);
	if (!ivs_parse_uint(id_text, 0, IVS_ID_MAX, &id))
		return report_failure(id_text, "not the id of a peer: use 0 to 65535");
	if (!strcmp(vector_text, "all"))
		return ring_all_vectors(peer, verbose, (unsigned int)id);
	if (!ivs_parse_uint(vector_text, 0, IVS_VECTOR_MAX, &vector))
		return report_failure(vector_text,
				      "not the number of a vector: use 0 to 65535, or all");
	return ring_vector(peer, verbose, (unsigned int)id, (unsigned int)vector);
}
