/* SPDX-License-Identifier: BSD-3-Clause */
/* Which holders of sections are alive, as far as the sections and a roster say. */
#ifndef IVS_CHANNEL_PRESENCE_H
#define IVS_CHANNEL_PRESENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/layout.h"
#include "channel/section.h"
#include "ivshmem/peer.h"

/**
 * struct ivs_presence_other - what is known about a section of another peer
 * @ended_life: this life of the section has ended: its holder has left the server
 * @is_certain: @ended_life is not the life of a peer that got the id after that
 * @seen_life:  the life that the section had when it was last found active
 * @seen_turn:  value of @turns when @seen_life was first seen
 * @unrung:     a doorbell was lost, because the holder's join has not been received yet
 */
struct ivs_presence_other {
	uint64_t ended_life;
	bool is_certain;
	uint64_t seen_life;
	uint64_t seen_turn;
	bool unrung;
};

/**
 * struct ivs_presence - what is known about all sections
 * @sections: memory of the first section
 * @own:      the peer's own section
 * @others:   by section
 * @turns:    how often all pending events of the peer have been processed
 */
struct ivs_presence {
	struct ivs_peer *peer;
	const uint8_t *sections;
	uint64_t section_len;
	unsigned int sections_n;
	unsigned int own;
	struct ivs_presence_other *others;
	uint64_t turns;
};

/** ivs_presence_init() - Return: false if memory is short. */
IVS_MUST_USE bool ivs_presence_init(struct ivs_presence *presence, struct ivs_peer *peer,
				    const uint8_t *memory, const struct ivs_channel_layout *layout,
				    unsigned int own);

void ivs_presence_free(struct ivs_presence *presence);

/**
 * ivs_presence_learn() - take holders that are not connected for dead, until their joins are
 * reported
 *
 * The joins of those that are connected may have been reported before the channels were opened.
 */
void ivs_presence_learn(struct ivs_presence *presence);

/** ivs_presence_handle() - process a join or leave; other events are ignored */
void ivs_presence_handle(struct ivs_presence *presence, const struct ivs_event *event);

/**
 * ivs_presence_is_active() - whether the holder of a section in its life @life may still write
 *
 * Return: false if it has left, as far as the section or the server says, or the section has
 * another life.
 */
IVS_MUST_USE bool ivs_presence_is_active(const struct ivs_presence *presence, unsigned int section,
					 uint64_t life);

/**
 * ivs_presence_can_ring() - whether the holders of all other sections can ring
 *
 * A peer that waits for one that it does not know yet must otherwise look at the region.
 */
bool ivs_presence_can_ring(const struct ivs_presence *presence);

/**
 * ivs_presence_may_return() - whether the end of a life is not certain: see @is_certain
 *
 * Its holder can be a peer whose join has not been processed yet.
 */
IVS_MUST_USE bool ivs_presence_may_return(const struct ivs_presence *presence, unsigned int section,
					  uint64_t life);

/**
 * ivs_presence_is_certain() - whether the end of an active life will be certain: see @is_certain
 */
static inline bool ivs_presence_is_certain(const struct ivs_presence *presence,
					   unsigned int section, uint64_t life)
{
	const struct ivs_presence_other *other = &presence->others[section];

	return other->seen_life == life && other->seen_turn < presence->turns;
}

#endif
