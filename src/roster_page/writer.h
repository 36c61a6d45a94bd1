/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing the roster page at the end of the region, for guests and other peers that are not clients
 * of the server (P-1 to P-10 in PROTOCOL.md). The server maps only this part of the region, and
 * never accesses the mapping directly.
 */
#ifndef IVS_ROSTER_PAGE_WRITER_H
#define IVS_ROSTER_PAGE_WRITER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/syscalls.h"
#include "ivshmem/region.h"
#include "roster_page/format.h"

extern const struct ivs_syscall ivs_roster_page_writer_syscalls[];

enum ivs_roster_page_writer_error {
	IVS_ROSTER_PAGE_WRITER_E_SIZE = 1,   /* the region is too small for @entries_n */
	IVS_ROSTER_PAGE_WRITER_E_HUGE_PAGES, /* the region has huge pages */
	IVS_ROSTER_PAGE_WRITER_E_CUT,	     /* a client has truncated the region */
	IVS_ROSTER_PAGE_WRITER_E_NO_PAGE,    /* a client punched a hole, and no memory is free */
};

/**
 * struct ivs_roster_page_writer_peer - the peer with a certain id
 * @since: the generation at which the peer joined; 0: no peer has this id
 * @entry: number of its entry in the table, or IVS_ROSTER_PAGE_WRITER_UNLISTED
 */
struct ivs_roster_page_writer_peer {
	uint64_t since;
	uint32_t vectors_n;
	uint32_t entry;
};

#define IVS_ROSTER_PAGE_WRITER_UNLISTED UINT32_MAX

/**
 * struct ivs_roster_page_writer - the page as it should be, and which parts have to be written
 * @pid:        this process
 * @map:        the mapped end of the region, from @map_offset on; NULL: not mapped
 * @header:     the header; its sequence is odd if the last write was not completed
 * @peers:      the peers by id
 * @table:      the bytes of all entries
 * @free:       bitmap of unused entries
 * @unlisted:   bitmap of the ids of peers without an entry
 * @dirty_from: first entry that has to be written
 * @dirty_end:  last entry that has to be written, plus 1
 * @changed:    the header has to be written, and entries if @dirty_from differs from @dirty_end
 */
struct ivs_roster_page_writer {
	int fd;
	pid_t pid;
	uint8_t *map;
	uint64_t map_offset;
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
 * ivs_roster_page_writer_new() - create a writer for an empty roster page; the writer continues the
 * generation of a previous server's page, if the region has one
 * @region:    the region, which must outlive the writer
 * @entries_n: number of peers for which there is room, 1 to 65536
 *
 * The function writes nothing yet.
 *
 * Return: 0, IVS_ROSTER_PAGE_WRITER_E_SIZE, _HUGE_PAGES, -errno.
 */
IVS_MUST_USE int ivs_roster_page_writer_new(const struct ivs_region *region, uint32_t entries_n,
					    struct ivs_roster_page_writer **out,
					    struct ivs_error *err);

/** ivs_roster_page_writer_free() - free the writer, leaving the region as it is; NULL is ignored */
void ivs_roster_page_writer_free(struct ivs_roster_page_writer *writer);

/**
 * ivs_roster_page_writer_join() - add peer @id; does nothing if it is already present
 * @since: the generation at which the peer joined a previous server; 0: the peer joins now
 */
void ivs_roster_page_writer_join(struct ivs_roster_page_writer *writer, unsigned int id,
				 uint32_t vectors_n, uint64_t since);

/** ivs_roster_page_writer_leave() - remove peer @id; does nothing if it is not present */
void ivs_roster_page_writer_leave(struct ivs_roster_page_writer *writer, unsigned int id);

/** ivs_roster_page_writer_since() - the generation at which @id joined; 0: @id is not present */
uint64_t ivs_roster_page_writer_since(const struct ivs_roster_page_writer *writer, unsigned int id);

/** ivs_roster_page_writer_finish() - have the next flush mark the page as not maintained (P-7) */
void ivs_roster_page_writer_finish(struct ivs_roster_page_writer *writer);

/**
 * ivs_roster_page_writer_flush() - write the changes, if any
 *
 * After a failure the next flush writes everything.
 *
 * Return: 0, IVS_ROSTER_PAGE_WRITER_E_CUT, _NO_PAGE, -errno.
 */
IVS_MUST_USE int ivs_roster_page_writer_flush(struct ivs_roster_page_writer *writer);

#endif
