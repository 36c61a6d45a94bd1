/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/presence.h"

#include <stdlib.h>
#include <string.h>

static const void *section_at(const struct ivs_presence *presence, unsigned int section)
{
	return presence->sections + section * presence->section_len;
}

bool ivs_presence_init(struct ivs_presence *presence, struct ivs_peer *peer, const uint8_t *memory,
		       const struct ivs_channel_layout *layout, unsigned int own)
{
	*presence = (struct ivs_presence){
		.peer = peer,
		.sections = memory + layout->sections_at,
		.section_len = layout->section_len,
		.sections_n = layout->sections_n,
		.own = own,
		.others = calloc(layout->sections_n, sizeof(*presence->others)),
	};
	return presence->others;
}

void ivs_presence_free(struct ivs_presence *presence)
{
	free(presence->others);
}

/*
 * When a leave is processed, the section can have a life of the next peer with this id already.
 * Then the join of that peer follows. But a life that was seen before an earlier turn of events
 * began is the former peer's, because a server gives an id to another peer only after it has sent
 * the leave.
 */
void ivs_presence_handle(struct ivs_presence *presence, const struct ivs_event *event)
{
	struct ivs_presence_other *other;

	if (event->id >= presence->sections_n)
		return;
	other = &presence->others[event->id];
	if (event->type == IVS_EVENT_LEAVE) {
		other->ended_life = ivs_section_life(section_at(presence, event->id));
		other->is_certain = ivs_presence_is_certain(presence, event->id, other->ended_life);
	} else if (event->type == IVS_EVENT_JOIN && !other->is_certain) {
		other->ended_life = 0;
	}
}

static void set_absent(struct ivs_presence *presence, unsigned int section)
{
	if (section != presence->own)
		presence->others[section].ended_life = ivs_section_life(
			section_at(presence, section));
}

static void learn_from_page(struct ivs_presence *presence)
{
	unsigned int n = presence->sections_n;
	struct ivs_roster_entry *peers = calloc(n, sizeof(*peers));
	struct ivs_roster_info info;
	unsigned int at = 0;

	if (!peers || ivs_peer_read_roster(presence->peer, &info, peers, n) ||
	    info.listed_n < info.peers_n) {
		free(peers);
		return;
	}
	n = info.listed_n < n ? info.listed_n : n;
	for (unsigned int section = 0; section < presence->sections_n; section++) {
		while (at < n && peers[at].id < section)
			at++;
		if (at == n || peers[at].id != section)
			set_absent(presence, section);
	}
	free(peers);
}

/* A server announces the peers that have vectors, to peers that have vectors. */
static void learn_from_server(struct ivs_presence *presence)
{
	struct ivs_doorbell *doorbell;

	for (unsigned int i = 0; i < presence->sections_n; i++) {
		if (ivs_section_get_holder(section_at(presence, i)).vector < 0)
			continue;
		doorbell = NULL;
		if (ivs_doorbell_new(presence->peer, i, 0, &doorbell) == IVS_PEER_E_ABSENT)
			set_absent(presence, i);
		ivs_doorbell_free(doorbell);
	}
}

void ivs_presence_learn(struct ivs_presence *presence)
{
	struct ivs_peer *peer = presence->peer;

	if (!(ivs_peer_caps(peer) & IVS_CAP_ROSTER))
		return;
	if (strcmp(ivs_peer_transport(peer), "unix") != 0)
		learn_from_page(presence);
	else if (ivs_peer_vectors(peer))
		learn_from_server(presence);
}

bool ivs_presence_is_active(const struct ivs_presence *presence, unsigned int section,
			    uint64_t life)
{
	const void *memory = section_at(presence, section);
	struct ivs_presence_other *other = &presence->others[section];

	if (!life || life == IVS_SECTION_LIFE_DISPUTED || ivs_section_life(memory) != life ||
	    other->ended_life == life || ivs_section_get_holder(memory).left)
		return false;
	if (other->seen_life != life) {
		other->seen_life = life;
		other->seen_turn = presence->turns;
	}
	return true;
}

bool ivs_presence_may_return(const struct ivs_presence *presence, unsigned int section,
			     uint64_t life)
{
	const void *memory = section_at(presence, section);
	const struct ivs_presence_other *other = &presence->others[section];

	return life && ivs_section_life(memory) == life && other->ended_life == life &&
	       !other->is_certain && !ivs_section_get_holder(memory).left;
}

bool ivs_presence_can_ring(const struct ivs_presence *presence)
{
	for (unsigned int i = 0; i < presence->sections_n; i++) {
		const void *memory = section_at(presence, i);

		if (i != presence->own && ivs_section_get_holder(memory).id < 0 &&
		    ivs_presence_is_active(presence, i, ivs_section_life(memory)))
			return false;
	}
	return true;
}
