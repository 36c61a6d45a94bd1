/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes the roster page at the end of the region, for guests and others that are not clients of
 * the server. Rules P-1 ... in PROTOCOL.md. Uses pwrite(2): the server never maps the region.
 */
#ifndef IVS_ROSTER_PAGE_WRITER_H
#define IVS_ROSTER_PAGE_WRITER_H

#include <stdbool.h>

#include "base/syscalls.h"
#include "ivshmem/region.h"
#include "roster_page/format.h"

extern const struct ivs_syscall ivs_roster_page_writer_syscalls[];

enum ivs_roster_page_writer_error {
	IVS_ROSTER_PAGE_WRITER_E_SIZE = 1,   /* the region is too small for @entries_n */
	IVS_ROSTER_PAGE_WRITER_E_UNWRITABLE, /* the region does not support write(2) */
	IVS_ROSTER_PAGE_WRITER_E_CUT,	     /* a client has truncated the region */
};

/**
 * struct ivs_roster_page_writer_peer - one id
 * @since: the generation at which it joined; 0: it is not connected
 * @entry: in the table, or IVS_ROSTER_PAGE_WRITER_UNLISTED
 */
struct ivs_roster_page_writer_peer {
	uint64_t since;
	uint32_t vectors_n;
	uint32_t entry;
};

#define IVS_ROSTER_PAGE_WRITER_UNLISTED UINT32_MAX

/**
 * struct ivs_roster_page_writer - the page as it should be, and which parts have to be written
 * @header:     odd sequence: a write has failed half-way
 * @peers:      by id
 * @table:      the bytes of all entries
 * @free:       bitmap of unused entries
 * @unlisted:   bitmap of the ids of peers without an entry
 * @dirty_from: first entry that has to be written
 * @dirty_end:  the last one, plus 1
 * @changed:    something has to be written, if only the header
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
 * ivs_roster_page_writer_new() - an empty roster that continues the generation in the region, if
 * any
 * @region:    must outlive it
 * @entries_n: room for peers, 1 to 65536
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
 * ivs_roster_page_writer_join() - add @id; no-op if it is present
 * @since: the generation at which it joined under a former server; 0: it joins now
 */
void ivs_roster_page_writer_join(struct ivs_roster_page_writer *writer, unsigned int id,
				 uint32_t vectors_n, uint64_t since);

/** ivs_roster_page_writer_leave() - remove @id; no-op if it is not present */
void ivs_roster_page_writer_leave(struct ivs_roster_page_writer *writer, unsigned int id);

/** ivs_roster_page_writer_since() - the generation at which @id joined; 0: it is not present */
uint64_t ivs_roster_page_writer_since(const struct ivs_roster_page_writer *writer, unsigned int id);

/** ivs_roster_page_writer_finish() - the next flush marks the page as not maintained (P-7) */
void ivs_roster_page_writer_finish(struct ivs_roster_page_writer *writer);

/**
 * ivs_roster_page_writer_flush() - write the changes, if any
 *
 * After a failure the next flush writes everything.
 *
 * Return: 0, IVS_ROSTER_PAGE_WRITER_E_CUT, -errno.
 */
IVS_MUST_USE int ivs_roster_page_writer_flush(struct ivs_roster_page_writer *writer);

#endif
