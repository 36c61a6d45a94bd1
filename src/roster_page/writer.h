/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The roster at the end of the region, as the server keeps it there: for guests and others whom
 * nobody tells who is connected. Rules P-1 ... in PROTOCOL.md. Written with pwrite(2): the server
 * never maps the region.
 */
#ifndef IVS_ROSTER_PAGE_WRITER_H
#define IVS_ROSTER_PAGE_WRITER_H

#include <stdbool.h>

#include "base/syscalls.h"
#include "ivshmem/region.h"
#include "roster_page/format.h"

extern const struct ivs_syscall ivs_roster_page_writer_syscalls[];

enum ivs_roster_page_writer_error {
	IVS_ROSTER_PAGE_WRITER_E_SIZE = 1,   /* the region is too small for so many entries */
	IVS_ROSTER_PAGE_WRITER_E_UNWRITABLE, /* the region's memory does not take write(2) */
	IVS_ROSTER_PAGE_WRITER_E_CUT,	     /* a client has truncated the region */
};

/**
 * struct ivs_roster_page_writer_peer - one id
 * @since: the generation at which it joined; 0: nobody
 * @entry:  in the table, or IVS_ROSTER_PAGE_WRITER_UNLISTED
 */
struct ivs_roster_page_writer_peer {
	uint64_t since;
	uint32_t vectors_n;
	uint32_t entry;
};

#define IVS_ROSTER_PAGE_WRITER_UNLISTED UINT32_MAX

/**
 * struct ivs_roster_page_writer - what is to be in the region, and what of it is not there yet
 * @header:     as it will be; odd sequence: a write has failed half-way
 * @peers:    by id
 * @table:      the bytes of all entries
 * @free:       the entries that are
 * @unlisted:   the ids of those who have no entry
 * @dirty_from: entries that the region does not show yet: from here ...
 * @dirty_end:  ... to below here
 * @changed:    something has changed, if only the header
 */
struct ivs_roster_page_writer {
	int fd;
	uint64_t region_len;
	struct ivs_roster_page_header header;
	struct ivs_roster_page_writer_peer *peers;
	uint8_t *table;
	uint64_t *free;
	uint64_t *unlisted;
	uint32_t dirty_from;
	uint32_t dirty_end;
	bool changed;
};

/**
 * ivs_roster_page_writer_new() - an empty roster, with the generation of the one that is in the region, if any
 * @region:  must outlive it
 * @entries_n: for how many peers, 1 to (IVS_ID_MAX + 1)
 *
 * Writes nothing yet.
 *
 * Return: 0, IVS_ROSTER_PAGE_WRITER_E_SIZE, _UNWRITABLE, -errno.
 */
IVS_MUST_USE int ivs_roster_page_writer_new(const struct ivs_region *region, uint32_t entries_n,
					    struct ivs_roster_page_writer **out,
					    struct ivs_error *err);

/** ivs_roster_page_writer_free() - leaves the region as it is; NULL is fine */
void ivs_roster_page_writer_free(struct ivs_roster_page_writer *writer);

/**
 * ivs_roster_page_writer_join() - @id is there; of one who is there already nothing changes
 * @since: the generation at which it joined, if it did so before; 0: it joins now
 */
void ivs_roster_page_writer_join(struct ivs_roster_page_writer *writer, unsigned int id,
				 uint32_t vectors_n, uint64_t since);

/** ivs_roster_page_writer_leave() - @id is not there; any id */
void ivs_roster_page_writer_leave(struct ivs_roster_page_writer *writer, unsigned int id);

/** ivs_roster_page_writer_since() - the generation at which @id joined; 0: it is not there */
uint64_t ivs_roster_page_writer_since(const struct ivs_roster_page_writer *writer, unsigned int id);

/** ivs_roster_page_writer_finish() - with the next flush the roster says that nobody keeps it any more (P-7) */
void ivs_roster_page_writer_finish(struct ivs_roster_page_writer *writer);

/**
 * ivs_roster_page_writer_flush() - write what has changed, if anything
 *
 * If it fails, the next one writes everything.
 *
 * Return: 0, IVS_ROSTER_PAGE_WRITER_E_CUT, -errno.
 */
IVS_MUST_USE int ivs_roster_page_writer_flush(struct ivs_roster_page_writer *writer);

#endif
