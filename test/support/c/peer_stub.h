/* SPDX-License-Identifier: BSD-3-Clause */
/* For a test that supplies the peer API itself: the functions that have no effect there. */
#ifndef TEST_PEER_STUB_H
#define TEST_PEER_STUB_H

#include "ivshmem/peer.h"

const char *ivs_peer_cap_reason(const struct ivs_peer *peer, enum ivs_peer_cap cap)
{
	(void)peer;
	(void)cap;
	return "";
}

int ivs_peer_fd(const struct ivs_peer *peer)
{
	(void)peer;
	return -1;
}

void ivs_doorbell_free(struct ivs_doorbell *doorbell)
{
	(void)doorbell;
}

#ifdef TEST_PEER_WITHOUT_ROSTER
const char *ivs_peer_transport(const struct ivs_peer *peer)
{
	(void)peer;
	return "";
}

int ivs_peer_read_roster(struct ivs_peer *peer, struct ivs_roster_info *out,
			 struct ivs_roster_entry *peers, unsigned int peers_n)
{
	(void)peer;
	(void)out;
	(void)peers;
	(void)peers_n;
	return IVS_PEER_E_ABSENT;
}

int ivs_doorbell_new(struct ivs_peer *peer, unsigned int id, unsigned int vector,
		     struct ivs_doorbell **out)
{
	(void)peer;
	(void)id;
	(void)vector;
	(void)out;
	return IVS_PEER_E_ABSENT;
}
#endif

#endif
