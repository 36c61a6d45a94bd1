/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A section: the part of the region that one peer, its holder, writes. It has a header, a table of
 * endpoints, and an arena for the slots of lanes and the buffers of topics (C-4 to C-7 in
 * PROTOCOL.md). Pure.
 */
#ifndef IVS_CHANNEL_SECTION_H
#define IVS_CHANNEL_SECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/lane.h"
#include "channel/pool.h"
#include "ivshmem/api.h"

#define IVS_SECTION_LETTERS "IVSSECTN"
#define IVS_SECTION_ENDPOINT_LEN 256u
#define IVS_SECTION_ENDPOINTS_N 64 /* the first one has the place of the header */
#define IVS_SECTION_ARENA_AT (IVS_SECTION_ENDPOINT_LEN * IVS_SECTION_ENDPOINTS_N)
#define IVS_SECTION_NAME_MAX 39 /* bytes of an endpoint's name */
#define IVS_SUBSCRIBERS_MAX 64
#define IVS_SECTION_LIFE_DISPUTED UINT64_MAX /* two peers hold the section: both stop */

/** enum ivs_section_word - words of the header, by index */
enum ivs_section_word {
	IVS_SECTION_LETTERS_WORD,
	IVS_SECTION_LIFE,    /* differs each time a peer begins to hold the section; 0: unused */
	IVS_SECTION_HOLDER,  /* see struct ivs_section_holder */
	IVS_SECTION_CHANGES, /* incremented after each change to the table of endpoints */
};

/** enum ivs_endpoint_word - words of an endpoint, by index; each eight are a cache line */
enum ivs_endpoint_word {
	IVS_ENDPOINT_STATE,    /* see struct ivs_endpoint_state */
	IVS_ENDPOINT_NAME,     /* the name, IVS_SECTION_NAME_MAX bytes and a zero: 5 words */
	IVS_ENDPOINT_AT = 8,   /* writer: offset of the slots from the start of the section */
	IVS_ENDPOINT_SHAPE,    /* writer: number of slots; in the upper half, length of a slot */
	IVS_ENDPOINT_BASE,     /* writer: base of the lane */
	IVS_ENDPOINT_TARGET,   /* reader: struct ivs_endpoint_ref of the writer */
	IVS_ENDPOINT_LIFE,     /* reader: life of the writer's section */
	IVS_ENDPOINT_ACCEPTED, /* writer: struct ivs_endpoint_ref of its reader */
	IVS_ENDPOINT_POOL,     /* publisher: offset of the buffers. Reader: 1: it wants to borrow */
	IVS_ENDPOINT_POOL_SHAPE,    /* publisher: length of a buffer; above bit 31, number of
				  * borrowers; above bit 47, number of loans of each */
	IVS_ENDPOINT_POSITION = 16, /* reader: messages released. Writer: messages written */
	IVS_ENDPOINT_MISSED,	    /* reader of a topic: messages missed, only to be shown */
	IVS_ENDPOINT_SLEEPS = 24,   /* the holder sleeps until its vector is rung: see below */
	IVS_ENDPOINT_LOANS, /* reader: IVS_POOL_LOANS_MAX words: 1 + the number of a buffer */
	IVS_ENDPOINT_WORDS_N = IVS_SECTION_ENDPOINT_LEN / 8,
};

/** enum ivs_endpoint_role - what an endpoint is; others must be ignored */
enum ivs_endpoint_role {
	IVS_ROLE_NONE,		 /* the endpoint is unused */
	IVS_ROLE_QUEUE_SENDER,	 /* writer of a queue with this name */
	IVS_ROLE_QUEUE_RECEIVER, /* receives from all queues with this name; it has no lane */
	IVS_ROLE_READER,	 /* reader of one writer */
	IVS_ROLE_LISTENER,	 /* accepts streams with this name; it has no lane */
	IVS_ROLE_CONNECTOR,	 /* writer of a stream, of the side that connects */
	IVS_ROLE_ACCEPTOR,	 /* writer of a stream, of the side that accepts: its target is the
				  * connector */
	IVS_ROLE_PUBLISHER,	 /* writer of a topic with this name */
	IVS_ROLE_SUBSCRIBER,	 /* waits for publishers with this name; it has no lane */
	IVS_ROLES_N,
};

/**
 * struct ivs_section_holder - the peer that holds a section
 * @id:     the peer's id; -1: it has none
 * @vector: the peer's vector that is rung for its channels; -1: it cannot be rung
 * @left:   the peer has left: its lanes can be read to the end, but it writes no more
 */
struct ivs_section_holder {
	int id;
	int vector;
	bool left;
};

/**
 * struct ivs_endpoint_state - one word, so that the role and incarnation change together
 * @closed:      the holder has closed the endpoint: nothing more will be written
 * @incarnation: differs each time the place in the table is used
 * @complete:    the holder has shut down its direction of a stream before closing the stream
 */
struct ivs_endpoint_state {
	enum ivs_endpoint_role role;
	bool closed;
	uint32_t incarnation;
	bool complete;
};

/** struct ivs_endpoint_ref - which endpoint: its section, place in the table, and incarnation */
struct ivs_endpoint_ref {
	uint16_t section;
	uint16_t index;
	uint32_t incarnation;
};

/**
 * struct ivs_endpoint_view - a copy of another peer's endpoint, checked
 * @at:       writer: offset of the slots from the start of the section
 * @pool_at:  publisher: offset of the buffers from the start of the section
 * @borrows:  reader: it wants to borrow buffers
 * @position: reader: where it begins; ivs_endpoint_get() sets it to 0
 */
struct ivs_endpoint_view {
	struct ivs_endpoint_state state;
	char name[IVS_SECTION_NAME_MAX + 1];
	uint64_t at;
	struct ivs_lane_shape shape;
	uint64_t pool_at;
	struct ivs_pool_shape pool;
	bool borrows;
	struct ivs_endpoint_ref target;
	uint64_t target_life;
	uint64_t position;
};

static inline uint64_t *ivs_section_endpoint(void *section, unsigned int index)
{
	return (uint64_t *)section + (uint64_t)index * IVS_ENDPOINT_WORDS_N;
}

static inline const uint64_t *ivs_section_foreign(const void *section, unsigned int index)
{
	return (const uint64_t *)section + (uint64_t)index * IVS_ENDPOINT_WORDS_N;
}

IVS_MUST_USE uint64_t ivs_endpoint_ref_pack(const struct ivs_endpoint_ref *ref);
IVS_MUST_USE struct ivs_endpoint_ref ivs_endpoint_ref_unpack(uint64_t word);

/**
 * ivs_section_begin() - clear the tables of the peer's section, then begin a new life
 * @life: not 0
 */
void ivs_section_begin(void *section, uint64_t life, const struct ivs_section_holder *holder);

/** ivs_section_end() - mark that the holder has left; what it has written stays readable */
void ivs_section_end(void *section, const struct ivs_section_holder *holder);

/** ivs_section_life() - the life of a section; 0: no peer holds it */
IVS_MUST_USE uint64_t ivs_section_life(const void *section);

/** ivs_section_holder() - copy and check the holder of a section */
IVS_MUST_USE struct ivs_section_holder ivs_section_get_holder(const void *section);

/** ivs_section_changed() - publish that the table of the peer's section has changed */
void ivs_section_changed(void *section);

/** ivs_endpoint_put() - fill in an unused endpoint of the peer's section, and publish it */
void ivs_endpoint_put(void *section, unsigned int index, const struct ivs_endpoint_view *view);

/** ivs_endpoint_set_state() - change the state of an endpoint of the peer's section */
void ivs_endpoint_set_state(void *section, unsigned int index,
			    const struct ivs_endpoint_state *state);

/** ivs_endpoint_state() - the state of an endpoint */
IVS_MUST_USE struct ivs_endpoint_state ivs_endpoint_get_state(const void *section,
							      unsigned int index);

/**
 * ivs_endpoint_get() - copy and check another peer's endpoint
 * @section_len: length of the section, within which the slots must lie
 *
 * Return: false if the endpoint is unused, is changing, or has impossible values.
 */
IVS_MUST_USE bool ivs_endpoint_get(const void *section, uint64_t section_len, unsigned int index,
				   struct ivs_endpoint_view *out);

/**
 * ivs_endpoint_slots_len() - number of bytes at a writer's offset: its slots, and after those of a
 * publisher the references of the IVS_SUBSCRIBERS_MAX subscribers that it knows
 */
static inline uint64_t ivs_endpoint_slots_len(const struct ivs_endpoint_view *view)
{
	return ivs_lane_len(&view->shape) + (view->state.role == IVS_ROLE_PUBLISHER
						     ? IVS_SUBSCRIBERS_MAX * sizeof(uint64_t)
						     : 0);
}

/**
 * ivs_endpoint_part_len() - number of bytes of the arena that a writer needs, with its buffers
 */
IVS_MUST_USE uint64_t ivs_endpoint_part_len(const struct ivs_endpoint_view *view);

/** ivs_endpoint_set_part() - place a writer's slots and buffers in a part of that length */
void ivs_endpoint_set_part(struct ivs_endpoint_view *view, uint64_t at);

/*
 * The word IVS_ENDPOINT_SLEEPS: the incarnation in the upper half; 1 in the lower half if the
 * holder sleeps.
 */
static inline uint64_t ivs_endpoint_sleeps(uint32_t incarnation, bool sleeps)
{
	return (uint64_t)incarnation << 32 | sleeps;
}

/**
 * struct ivs_section_readers - readers of a section that have released messages
 * @n: number of @views
 */
struct ivs_section_readers {
	unsigned int n;
	struct ivs_endpoint_view views[IVS_SECTION_ENDPOINTS_N];
};

/** ivs_section_find_readers() - the readers that the former holder of a section has left */
void ivs_section_find_readers(const void *section, uint64_t section_len,
			      struct ivs_section_readers *out);

/** ivs_endpoint_name_is_valid() - whether a name has 1 to IVS_SECTION_NAME_MAX printable bytes */
IVS_MUST_USE bool ivs_endpoint_name_is_valid(const char *name);

#endif
