/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The roster that a server publishes at the end of the region: bytes to numbers and back. Rules P-1
 * ... in PROTOCOL.md.
 *
 * Whoever reads has the region mapped, and strangers write into it meanwhile: each word is loaded
 * once, and checked before it is used. Pure: no system call, no allocation, no clock.
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
#define IVS_ROSTER_PAGE_SEQUENCE_AT 16u /* in the header */
#define IVS_ROSTER_PAGE_SEQUENCE_LEN 8u
#define IVS_ROSTER_PAGE_ENTRY_LEN 16u
/* P-9: what a number that is to grow may be at start. */
#define IVS_ROSTER_PAGE_COUNT_MAX (UINT64_C(1) << 62)

/* P-3: as many as fit behind the header. */
#define IVS_ROSTER_PAGE_ENTRIES_DEFAULT                                                            \
	((IVS_ROSTER_PAGE_LEN - IVS_ROSTER_PAGE_HEADER_LEN) / IVS_ROSTER_PAGE_ENTRY_LEN)

enum ivs_roster_page_error {
	IVS_ROSTER_PAGE_E_ABSENT = 1, /* there is no roster, or it is damaged */
	IVS_ROSTER_PAGE_E_BUSY,	      /* somebody is writing it, each time that we looked */
};

/**
 * struct ivs_roster_page_header - P-1
 * @sequence:     odd while it is written
 * @generation:   changes so far
 * @table_offset: where entries begin, from the start of the region
 * @reserved_len: bytes at the end of the region that belong to the roster
 * @entries_n:      in the table, free ones too
 * @peers_n:      who are connected, also without an entry
 * @maintained:  a server keeps it
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
 * struct ivs_roster_page_entry - P-2
 * @since: the generation at which it joined; 0: nobody
 */
struct ivs_roster_page_entry {
	uint32_t id;
	uint32_t vectors_n;
	uint64_t since;
};

/**
 * ivs_roster_page_layout() - where things are in a region of @region_len bytes
 * @entries_n: 1 to (IVS_ID_MAX + 1)
 * @out:     table_offset, reserved_len and entries_n are set; with an error, only reserved_len
 *
 * Return: 0, IVS_ROSTER_PAGE_E_ABSENT if more than half of the region would be reserved.
 */
IVS_MUST_USE int ivs_roster_page_layout(uint64_t region_len, uint32_t entries_n,
					struct ivs_roster_page_header *out);

/** ivs_roster_page_put_header() - its bytes */
void ivs_roster_page_put_header(const struct ivs_roster_page_header *header,
				uint8_t out[IVS_ROSTER_PAGE_HEADER_LEN]);

/** ivs_roster_page_put_sequence() - the bytes of that field alone */
void ivs_roster_page_put_sequence(uint64_t sequence, uint8_t out[IVS_ROSTER_PAGE_SEQUENCE_LEN]);

/** ivs_roster_page_put_entry() - its bytes */
void ivs_roster_page_put_entry(const struct ivs_roster_page_entry *entry,
			       uint8_t out[IVS_ROSTER_PAGE_ENTRY_LEN]);

/**
 * ivs_roster_page_get_header() - of bytes that nobody else writes
 * @region_len: of the region that they come from; what they name must be in it
 *
 * Return: 0, IVS_ROSTER_PAGE_E_ABSENT.
 */
IVS_MUST_USE int ivs_roster_page_get_header(const uint8_t bytes[IVS_ROSTER_PAGE_HEADER_LEN],
					    uint64_t region_len,
					    struct ivs_roster_page_header *out);

/**
 * ivs_roster_page_read_header() - from a region that is mapped, also while it is written
 * @memory: aligned to 8 bytes
 *
 * Where things are does not change as long as one server keeps the roster; the rest may be of two
 * moments.
 *
 * Return: 0, IVS_ROSTER_PAGE_E_ABSENT.
 */
IVS_MUST_USE int ivs_roster_page_read_header(const void *memory, uint64_t len,
					     struct ivs_roster_page_header *out);

/**
 * struct ivs_roster_page_snapshot - what was there at one moment
 * @entries:     room of the caller
 * @entries_max: for so many
 * @used_n:    how many are used; may be more than @entries_max, then the first are in @entries
 */
struct ivs_roster_page_snapshot {
	struct ivs_roster_page_header header;
	struct ivs_roster_page_entry *entries;
	uint32_t entries_max;
	uint32_t used_n;
};

/**
 * ivs_roster_page_read() - from a region that is mapped
 * @memory: aligned to 8 bytes
 * @tries:  how often to look, at least 1
 *
 * Return: 0, IVS_ROSTER_PAGE_E_*; if not 0, what is in @out has no meaning.
 */
IVS_MUST_USE int ivs_roster_page_read(const void *memory, uint64_t len, unsigned int tries,
				      struct ivs_roster_page_snapshot *out);

/** ivs_roster_page_read_sequence() - of a region in which a roster was found: does it differ? */
uint64_t ivs_roster_page_read_sequence(const void *memory, uint64_t len);

#endif
