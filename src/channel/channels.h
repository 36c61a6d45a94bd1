/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One peer's view of all sections: its own section, which other sections have a holder, and waiting
 * for their holders.
 */
#ifndef IVS_CHANNEL_CHANNELS_H
#define IVS_CHANNEL_CHANNELS_H

#include "channel/arena.h"
#include "channel/layout.h"
#include "channel/presence.h"
#include "channel/section.h"
#include "channel/spin.h"
#include "ivshmem/channel.h"

#define IVS_CHANNELS_PAUSE_MIN_NS 20000

/**
 * struct ivs_channels - the sections, as seen by the holder of one of them
 * @memory:       the region
 * @life:         life of this peer's section
 * @endpoints:    bitmap of the endpoints in use
 * @lingering:    bitmap of closed endpoints whose lane still has a reader
 * @incarnations: incremented for each endpoint
 * @presence:     which holders of other sections are alive
 * @key:          random, so that no peer can make the fingerprint hide another's change
 * @pause_ns:     how long the next pause is, if the peer cannot be rung
 * @spin:         how long calls that wait look before they sleep
 * @lost:         another peer has taken the section: nothing is written to it any more
 * @unused_word:  written instead of a word of a section that is lost
 * @polled_ns:    when the peer's events were last processed
 * @open:         the open queues, streams and listeners
 */
struct ivs_channels {
	struct ivs_peer *peer;
	uint8_t *memory;
	struct ivs_channel_layout layout;
	uint32_t section;
	uint64_t life;
	struct ivs_section_holder holder;
	struct ivs_arena arena;
	uint64_t endpoints;
	uint64_t lingering;
	uint32_t incarnations;
	struct ivs_presence presence;
	uint64_t key;
	int64_t pause_ns;
	struct ivs_spin spin;
	bool lost;
	uint64_t unused_word;
	int64_t polled_ns;
	struct ivs_channel *open;
};

/** ivs_channels_at() - the memory of a section */
static inline void *ivs_channels_at(const struct ivs_channels *channels, unsigned int section)
{
	return channels->memory + channels->layout.sections_at +
	       section * channels->layout.section_len;
}

/** ivs_channels_own() - the memory of this peer's section */
static inline void *ivs_channels_own(const struct ivs_channels *channels)
{
	return ivs_channels_at(channels, channels->section);
}

/** ivs_channels_own_word() - a word of an endpoint of this peer */
static inline uint64_t *ivs_channels_own_word(struct ivs_channels *channels, unsigned int index,
					      enum ivs_endpoint_word word)
{
	return channels->lost ? &channels->unused_word
			      : ivs_section_endpoint(ivs_channels_own(channels), index) + word;
}

/** ivs_channels_holds_section() - whether no other peer has taken this peer's section */
IVS_MUST_USE bool ivs_channels_holds_section(const struct ivs_channels *channels);

/** ivs_channels_take_endpoint() - reserve a place in the table. Return: its index; 0: no place */
IVS_MUST_USE unsigned int ivs_channels_take_endpoint(struct ivs_channels *channels,
						     uint32_t *incarnation);

/** ivs_channels_give_back() - clear an endpoint, and free its place and its part of the arena */
void ivs_channels_give_back(struct ivs_channels *channels, unsigned int index);

/**
 * ivs_channels_linger() - close an endpoint, and free it when the other side is done with it: the
 * reader of a lane, or the writer that does not know yet how much was read
 */
void ivs_channels_linger(struct ivs_channels *channels, unsigned int index,
			 enum ivs_endpoint_role role, uint32_t incarnation);

/**
 * ivs_channels_lingering_from() - number of closed endpoints that remain because of a section
 * @role: IVS_ROLE_READER: readers of its lanes; otherwise lanes that it reads
 */
IVS_MUST_USE unsigned int ivs_channels_lingering_from(struct ivs_channels *channels,
						      unsigned int section,
						      enum ivs_endpoint_role role);

/**
 * ivs_channels_is_ringer() - whether the holder of a section can ring other peers
 *
 * One that has no id, such as a peer at shm: in a region of a server, cannot.
 */
IVS_MUST_USE bool ivs_channels_is_ringer(const struct ivs_channels *channels, unsigned int section);

/** ivs_channels_ring() - ring the holder of a section, if it can be rung */
void ivs_channels_ring(struct ivs_channels *channels, unsigned int section);

/**
 * ivs_channels_ring_name() - ring the peers that wait for this name, because this peer has a new
 * endpoint that they do not know
 */
void ivs_channels_ring_name(struct ivs_channels *channels, enum ivs_endpoint_role role,
			    const char *name);

/** ivs_channels_ref() - the reference that names an endpoint of this peer */
static inline struct ivs_endpoint_ref ivs_channels_ref(const struct ivs_channels *channels,
						       unsigned int index, uint32_t incarnation)
{
	return (struct ivs_endpoint_ref){(uint16_t)channels->section, (uint16_t)index, incarnation};
}

/**
 * ivs_channels_find() - the next endpoint that has this role and name
 * @name: NULL: any
 * @gone: also find endpoints that are closed, and those of peers that have left or died
 * @at:   where to begin; set to the endpoint that was found
 * @life: set to the life of its section
 *
 * Return: false if there is no other.
 */
IVS_MUST_USE bool ivs_channels_find(const struct ivs_channels *channels,
				    enum ivs_endpoint_role role, const char *name, bool gone,
				    struct ivs_endpoint_ref *at, uint64_t *life,
				    struct ivs_endpoint_view *out);

/**
 * ivs_channels_fingerprint() - a number that changes when a section's holder or table changes
 */
IVS_MUST_USE uint64_t ivs_channels_fingerprint(const struct ivs_channels *channels);

/**
 * ivs_channels_poll() - process the peer's pending events
 *
 * Return: 0, IVS_CHANNEL_E_SECTION, _PEER, -errno.
 */
IVS_MUST_USE int ivs_channels_poll(struct ivs_channels *channels);

/**
 * ivs_channels_poll_sometimes() - ivs_channels_poll(), but at most once per millisecond, for
 * programs that spin
 *
 * Return: as ivs_channels_poll(); IVS_CHANNEL_E_TIMEOUT: it is too early.
 */
IVS_MUST_USE int ivs_channels_poll_sometimes(struct ivs_channels *channels);

/** ivs_channels_awake() - take note that there was something to do, so that pauses are short */
static inline void ivs_channels_awake(struct ivs_channels *channels)
{
	channels->pause_ns = IVS_CHANNELS_PAUSE_MIN_NS;
}

/** ivs_channels_pause() - sleep for so long. Return: 0; -EINTR: a signal arrived. */
IVS_MUST_USE int ivs_channels_pause(int64_t ns);

/**
 * ivs_channels_patience() - how long this peer may sleep before it has to look again, in ms
 * @rings: as for ivs_channels_sleep()
 */
IVS_MUST_USE int ivs_channels_patience(struct ivs_channels *channels, bool rings);

/**
 * ivs_channels_sleep() - wait until this peer is rung, or another joins or leaves
 * @deadline_ns: IVS_CLOCK_NEVER: none
 * @rings:       the other sides know that this peer sleeps, and will ring it
 *
 * Return: as ivs_channels_wait().
 */
IVS_MUST_USE int ivs_channels_sleep(struct ivs_channels *channels, int64_t deadline_ns, bool rings);

#endif
