/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The roster at the end of the region, as the server keeps it there: for guests and others whom
 * nobody tells who is connected. Rules P-1 ... in PROTOCOL.md. Written with pwrite(2): the server
 * never maps the region.
 */
#ifndef IVS_SERVER_PAGE_H
#define IVS_SERVER_PAGE_H

#include <stdbool.h>

#include "base/syscalls.h"
#include "ivshmem/region.h"
#include "wire/roster_page.h"

extern const struct ivs_syscall ivs_page_syscalls[];

enum ivs_page_error {
	IVS_PAGE_E_SIZE = 101, /* the region is too small for so many slots */
	IVS_PAGE_E_UNWRITABLE, /* the region's memory does not take write(2) */
	IVS_PAGE_E_CUT,	       /* a client has truncated the region */
};

/**
 * struct ivs_page_entry - one id
 * @since: the generation at which it joined; 0: nobody
 * @slot:  in the table, or IVS_PAGE_NO_SLOT
 */
struct ivs_page_entry {
	uint64_t since;
	uint32_t vectors_n;
	uint32_t slot;
};

#define IVS_PAGE_NO_SLOT UINT32_MAX

/**
 * struct ivs_page - what is to be in the region, and what of it is not there yet
 * @header:     as it will be; odd sequence: a write has failed half-way
 * @entries:    by id
 * @table:      the bytes of all slots
 * @free:       the slots that are
 * @unlisted:   the ids of those who have no slot
 * @dirty_from: slots that the region does not show yet: from here ...
 * @dirty_end:  ... to below here
 * @changed:    something has changed, if only the header
 */
struct ivs_page {
	int fd;
	uint64_t region_len;
	struct ivs_roster_header header;
	struct ivs_page_entry *entries;
	uint8_t *table;
	uint64_t *free;
	uint64_t *unlisted;
	uint32_t dirty_from;
	uint32_t dirty_end;
	bool changed;
};

/**
 * ivs_page_new() - an empty roster, with the generation of the one that is in the region, if any
 * @region:  must outlive it
 * @slots_n: for how many peers, 1 to IVS_ROSTER_SLOTS_MAX
 *
 * Writes nothing yet.
 *
 * Return: 0, IVS_PAGE_E_SIZE, _UNWRITABLE, -errno.
 */
IVS_MUST_USE int ivs_page_new(const struct ivs_region *region, uint32_t slots_n,
			      struct ivs_page **out, struct ivs_error *err);

/** ivs_page_free() - leaves the region as it is; NULL is fine */
void ivs_page_free(struct ivs_page *page);

/**
 * ivs_page_join() - @id is there; of one who is there already nothing changes
 * @since: the generation at which it joined, if it did so before; 0: it joins now
 */
void ivs_page_join(struct ivs_page *page, unsigned int id, uint32_t vectors_n, uint64_t since);

/** ivs_page_leave() - @id is not there; any id */
void ivs_page_leave(struct ivs_page *page, unsigned int id);

/** ivs_page_since() - the generation at which @id joined; 0: it is not there */
uint64_t ivs_page_since(const struct ivs_page *page, unsigned int id);

/** ivs_page_end() - with the next flush the roster says that nobody keeps it any more (P-7) */
void ivs_page_end(struct ivs_page *page);

/**
 * ivs_page_flush() - write what has changed, if anything
 *
 * If it fails, the next one writes everything.
 *
 * Return: 0, IVS_PAGE_E_CUT, -errno.
 */
IVS_MUST_USE int ivs_page_flush(struct ivs_page *page);

#endif
