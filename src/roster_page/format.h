/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The format of the roster page, which a server publishes at the end of the region: converting its
 * bytes to numbers and back (P-1 to P-10 in PROTOCOL.md).
 *
 * A reader has the region mapped while untrusted peers write to it, so each word is loaded once,
 * and checked before it is used. Pure: no system call, no allocation, no clock.
 */
#ifndef IVS_ROSTER_PAGE_FORMAT_H
#define IVS_ROSTER_PAGE_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "ivshmem/api.h"
#include "ivshmem/registers.h"

#define IVS_ROSTER_PAGE_MAGIC "IVSROSTR"
#define IVS_ROSTER_PAGE_VERSION 1
#define IVS_ROSTER_PAGE_LEN 4096u
#define IVS_ROSTER_PAGE_HEADER_LEN 64u
#define IVS_ROSTER_PAGE_SEQUENCE_AT 16u /* offset of the sequence in the header */
#define IVS_ROSTER_PAGE_SEQUENCE_LEN 8u
#define IVS_ROSTER_PAGE_ENTRY_LEN 16u
/* P-9: a starting server continues an earlier generation or sequence only if it is below this. */
#define IVS_ROSTER_PAGE_COUNT_MAX (UINT64_C(1) << 62)

/* P-3: the number of entries that fit in the same page as the header, after it. */
#define IVS_ROSTER_PAGE_ENTRIES_DEFAULT                                                            \
	((IVS_ROSTER_PAGE_LEN - IVS_ROSTER_PAGE_HEADER_LEN) / IVS_ROSTER_PAGE_ENTRY_LEN)

enum ivs_roster_page_error {
	IVS_ROSTER_PAGE_E_ABSENT = 1, /* there is no roster page, or it is damaged */
	IVS_ROSTER_PAGE_E_BUSY,	      /* the page was being written at each attempt */
};

/**
 * struct ivs_roster_page_header - the header (P-1)
 * @sequence:     odd while the page is being written
 * @generation:   number of joins and leaves so far
 * @table_offset: offset of the entries from the start of the region
 * @reserved_len: number of bytes reserved at the end of the region
 * @entries_n:    number of entries in the table, including unused ones
 * @peers_n:      number of connected peers, including those without an entry
 * @maintained:   a server keeps the page up to date
 */
struct ivs_roster_page_header {
	uint64_t sequence;
	uint64_t generation;
	uint64_t table_offset;
	uint64_t reserved_len;
	uint32_t entries_n;
	uint32_t peers_n;
	bool maintained;
};

/**
 * struct ivs_roster_page_entry - a peer's line in the table (P-2)
 * @since: the generation at which the peer joined; 0: the entry is unused
 */
struct ivs_roster_page_entry {
	uint32_t id;
	uint32_t vectors_n;
	uint64_t since;
};

/**
 * ivs_roster_page_layout() - compute the offsets in a region of @region_len bytes
 * @entries_n: 1 to 65536
 * @out:       the function sets table_offset, reserved_len and entries_n; on error, only
 *             reserved_len
 *
 * Return: 0; IVS_ROSTER_PAGE_E_ABSENT: more than half of the region would be reserved.
 */
IVS_MUST_USE int ivs_roster_page_layout(uint64_t region_len, uint32_t entries_n,
					struct ivs_roster_page_header *out);

/** ivs_roster_page_put_header() - write the bytes of a header */
void ivs_roster_page_put_header(const struct ivs_roster_page_header *header,
				uint8_t out[IVS_ROSTER_PAGE_HEADER_LEN]);

/** ivs_roster_page_put_sequence() - write the bytes of the header's sequence alone */
void ivs_roster_page_put_sequence(uint64_t sequence, uint8_t out[IVS_ROSTER_PAGE_SEQUENCE_LEN]);

/** ivs_roster_page_put_entry() - write the bytes of an entry */
void ivs_roster_page_put_entry(const struct ivs_roster_page_entry *entry,
			       uint8_t out[IVS_ROSTER_PAGE_ENTRY_LEN]);

/**
 * ivs_roster_page_get_header() - parse a private copy of the header
 * @region_len: length of the region, within which the header's offsets must lie
 *
 * Return: 0, IVS_ROSTER_PAGE_E_ABSENT.
 */
IVS_MUST_USE int ivs_roster_page_get_header(const uint8_t bytes[IVS_ROSTER_PAGE_HEADER_LEN],
					    uint64_t region_len,
					    struct ivs_roster_page_header *out);

/**
 * ivs_roster_page_read_header() - read the header from a mapped region, even during a write
 * @memory: the region, aligned to 8 bytes
 * @len:    length of the region
 *
 * Offsets and lengths do not change while one server maintains the page; the other fields may be
 * from different moments.
 *
 * Return: 0, IVS_ROSTER_PAGE_E_ABSENT.
 */
IVS_MUST_USE int ivs_roster_page_read_header(const void *memory, uint64_t len,
					     struct ivs_roster_page_header *out);

/**
 * struct ivs_roster_page_snapshot - a consistent copy of the page
 * @entries:     an array that the caller provides
 * @entries_max: number of entries for which @entries has room
 * @used_n:      number of entries in use; if there is no room for all, @entries has the first ones
 */
struct ivs_roster_page_snapshot {
	struct ivs_roster_page_header header;
	struct ivs_roster_page_entry *entries;
	uint32_t entries_max;
	uint32_t used_n;
};

/**
 * ivs_roster_page_read() - read the page from a mapped region
 * @memory: the region, aligned to 8 bytes
 * @len:    length of the region
 * @tries:  maximum number of attempts, at least 1
 *
 * Return: 0, IVS_ROSTER_PAGE_E_*; if not 0, @out is not valid.
 */
IVS_MUST_USE int ivs_roster_page_read(const void *memory, uint64_t len, unsigned int tries,
				      struct ivs_roster_page_snapshot *out);

/**
 * ivs_roster_page_read_sequence() - read the sequence alone, to detect changes to the page, which
 * must already have been found
 */
uint64_t ivs_roster_page_read_sequence(const void *memory, uint64_t len);

#endif
