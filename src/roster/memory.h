/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A roster's memory, which records what each client has been told. It has no pointers, so that it
 * can outlive the process, and another process can resume from it after an upgrade or a crash.
 *
 * It consists of a header and an area of numbered records, one for each client, with sets of ids.
 * To make room, the records are copied to a second area, and then the header is switched to that
 * area. If the process crashes before the switch, the first area is still complete.
 *
 * Crash consistency: the stores to a record are made in this order.
 *   join   the id is added to the set outdated of clients that know it, the record is filled, then
 *          @state is set to IVS_ROSTER_PRESENT
 *   send   @in_doubt is set, messages are sent, the sets are updated, @in_doubt is cleared. If a
 *          crash leaves @in_doubt set, it is not known what the client has been sent, so a resuming
 *          process must drop the client
 *   leave  @state is set to IVS_ROSTER_VACANT or IVS_ROSTER_UNUSED
 *
 * Pure: no system calls except to allocate memory.
 */
#ifndef IVS_ROSTER_MEMORY_H
#define IVS_ROSTER_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/api.h"
#include "ivshmem/registers.h"

/**
 * struct ivs_roster_memory - memory that can grow, but not shrink
 * @base: start of the memory; may change when the memory grows
 * @len:  length in bytes
 * @grow: extend the memory to @len bytes; the new bytes are 0. Return: 0; -errno: nothing
 *        has changed.
 * @discard: the contents of @len bytes from @offset are not needed: the memory of whole pages may
 *           be returned to the system. With @zero, all of these bytes must be 0 afterwards. NULL:
 *           no memory is returned
 */
struct ivs_roster_memory {
	uint8_t *base;
	size_t len;
	int (*grow)(struct ivs_roster_memory *memory, size_t len);
	void (*discard)(struct ivs_roster_memory *memory, size_t offset, size_t len, bool zero);
};

/** ivs_roster_heap_grow() - a @grow that uses realloc(3); the owner must free(base) */
IVS_MUST_USE int ivs_roster_heap_grow(struct ivs_roster_memory *memory, size_t len);

/**
 * struct ivs_roster_area - the position and size of the records
 * @offset:  offset of the first record from the beginning of the memory, in bytes
 * @ids_n:   number of ids in each set, a multiple of 64
 * @records_n: number of records
 */
struct ivs_roster_area {
	uint64_t offset;
	uint32_t ids_n;
	uint32_t records_n;
};

/**
 * struct ivs_roster_memory_header - the beginning of the memory
 * @magic, @version: the format; memory in any other format cannot be resumed
 * @current: index of the area in use
 * @serial:  serial of the last client that joined
 */
struct ivs_roster_memory_header {
	char magic[8];
	uint32_t version;
	uint32_t current;
	uint64_t serial;
	struct ivs_roster_area areas[2];
};

#define IVS_ROSTER_NOTES_N 4

/* State of a record. */
enum ivs_roster_state {
	IVS_ROSTER_UNUSED,
	IVS_ROSTER_PRESENT, /* of a client that is connected */
	IVS_ROSTER_VACANT,  /* of a seat whose client has left */
};

/**
 * struct ivs_roster_record - a client's part of the roster, or a vacant seat
 * @state:      enum ivs_roster_state; if the seat is vacant, only @id, @vectors_n, @quiet,
 *              @seat_serial and @notes are valid
 * @in_doubt:   a send is in progress, so it is not known which messages arrived
 * @id:         id of the client
 * @quiet:      the client is never sent a leave
 * @vectors_n:  number of the client's vectors
 * @greeting:   number of messages of its greeting that the client has been sent
 * @at_id:      the peer whose vectors have been only partly sent, or IVS_ROSTER_NO_ID
 * @at_vector:  the next vector of peer @at_id to send
 * @cursor:     the id from which the search for joins continues upwards
 * @knows_self: sending the client's own vectors has begun, or the client has none
 * @self_after: the vectors of peers with ids below this are sent before the client's own
 * @mute: the id was given up before, so some quiet clients know it, but not its eventfds: the seat
 *              is not kept when the client leaves
 * @serial:     serial of the client
 * @seat_serial: serial of the first client that had the seat
 * @notes:      numbers kept for the caller: see ivs_roster_set_note()
 * @sets:       two sets of ids, known and outdated: see roster.c
 */
struct ivs_roster_record {
	uint32_t state;
	uint32_t in_doubt;
	uint32_t id;
	uint32_t quiet;
	uint32_t vectors_n;
	uint32_t greeting;
	uint32_t at_id;
	uint32_t at_vector;
	uint32_t cursor;
	uint32_t knows_self;
	uint32_t self_after;
	uint32_t mute;
	uint64_t serial;
	uint64_t seat_serial;
	uint64_t notes[IVS_ROSTER_NOTES_N];
	uint64_t sets[];
};

#define IVS_ROSTER_NO_ID (IVS_ID_MAX + 1)

/** ivs_roster_memory_init() - write a header and a small area. Return: 0 or -ENOMEM. */
IVS_MUST_USE int ivs_roster_memory_init(struct ivs_roster_memory *memory);

/** ivs_roster_memory_header_check() - check a header, before @memory_len bytes are mapped */
bool ivs_roster_memory_header_check(const struct ivs_roster_memory_header *header,
				    size_t memory_len);

/** ivs_roster_memory_check() - whether a roster can be resumed from @memory */
bool ivs_roster_memory_check(const struct ivs_roster_memory *memory);

/**
 * ivs_roster_memory_grow() - make room for more ids or records; neither number may decrease
 *
 * Return: 0; -errno: nothing has changed.
 */
IVS_MUST_USE int ivs_roster_memory_grow(struct ivs_roster_memory *memory, unsigned int ids_n,
					unsigned int records_n);

/** ivs_roster_memory_discard() - see @discard of struct ivs_roster_memory */
void ivs_roster_memory_discard(struct ivs_roster_memory *memory, size_t offset, size_t len,
			       bool zero);

static inline struct ivs_roster_memory_header *
ivs_roster_memory_header(const struct ivs_roster_memory *memory)
{
	return (struct ivs_roster_memory_header *)(void *)memory->base;
}

/** ivs_roster_area() - get the area that is in use */
static inline const struct ivs_roster_area *ivs_roster_area(const struct ivs_roster_memory *memory)
{
	const struct ivs_roster_memory_header *header = ivs_roster_memory_header(memory);

	return &header->areas[header->current];
}

/** ivs_roster_record_len() - length in bytes of a record with sets of @ids_n ids */
static inline size_t ivs_roster_record_len(unsigned int ids_n)
{
	return sizeof(struct ivs_roster_record) + 2 * (ids_n / 64) * sizeof(uint64_t);
}

#endif
