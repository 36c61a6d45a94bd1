/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/page.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/error.h"
#include "base/parse.h"

IVS_SYSCALLS(ivs_page_syscalls, {"pwrite64"}, IVS_CALL_FSTAT);

#define IDS_N (IVS_ROSTER_ID_MAX + 1)
#define SLOTS_A_PAGE (IVS_ROSTER_PAGE_LEN / IVS_ROSTER_SLOT_LEN)
#define WORDS(bits) (((bits) + IVS_BITMAP_BITS - 1) / IVS_BITMAP_BITS)

static int too_small(uint64_t region_len, uint32_t slots_n, uint64_t reserved_len,
		     struct ivs_error *err)
{
	char reserved[IVS_SIZE_TEXT_LEN];
	char least[IVS_SIZE_TEXT_LEN];
	char is[IVS_SIZE_TEXT_LEN];
	uint64_t wanted = region_len;

	while (wanted < 2 * reserved_len)
		wanted *= 2;
	return ivs_error_set(err, IVS_PAGE_E_SIZE,
			     "the roster of %u peers needs %s, and a region of %s has at most half "
			     "of that for it: use --size %s or more, or a lower --roster-peers",
			     slots_n, ivs_size_text(reserved_len, reserved),
			     ivs_size_text(region_len, is), ivs_size_text(wanted, least));
}

/*
 * hugetlbfs does not take write(2). To map it in the server instead would put the server at the
 * mercy of any client that punches a hole, also in a sealed memfd (P-10).
 */
static int check_writable(const struct ivs_region *region, struct ivs_error *err)
{
	if (ivs_region_page_size(region) == (uint64_t)sysconf(_SC_PAGESIZE))
		return 0;
	return ivs_error_set(err, IVS_PAGE_E_UNWRITABLE,
			     "--roster needs memory of ordinary pages, because a server writes to "
			     "the region and does not map it, and huge pages cannot be written to: "
			     "use shm:NAME or memfd:, or leave --roster out");
}

/* P-5, P-9: from whoever kept it before; what makes no sense is not believed. */
static void take_over(struct ivs_page *page)
{
	uint8_t bytes[IVS_ROSTER_HEADER_LEN];
	struct ivs_roster_header before;
	off_t offset = (off_t)(page->region_len - IVS_ROSTER_PAGE_LEN);

	if (pread(page->fd, bytes, sizeof(bytes), offset) != sizeof(bytes) ||
	    ivs_roster_get_header(bytes, page->region_len, &before) ||
	    before.sequence >= IVS_ROSTER_COUNT_MAX || before.generation >= IVS_ROSTER_COUNT_MAX)
		return;
	page->header.sequence = before.sequence;
	page->header.generation = before.generation;
}

static void mark_all(struct ivs_page *page)
{
	page->dirty_from = 0;
	page->dirty_end = page->header.slots_n;
	page->changed = true;
}

static int allocate(struct ivs_page *page)
{
	page->entries = calloc(IDS_N, sizeof(*page->entries));
	page->table = calloc(page->header.slots_n, IVS_ROSTER_SLOT_LEN);
	page->free = calloc(WORDS(page->header.slots_n), sizeof(*page->free));
	page->unlisted = calloc(WORDS(IDS_N), sizeof(*page->unlisted));
	return page->entries && page->table && page->free && page->unlisted ? 0 : -ENOMEM;
}

int ivs_page_new(const struct ivs_region *region, uint32_t slots_n, struct ivs_page **out,
		 struct ivs_error *err)
{
	struct ivs_page *page;
	int result = check_writable(region, err);

	if (result)
		return result;
	page = calloc(1, sizeof(*page));
	if (!page)
		return ivs_error_errno(err, ENOMEM, "cannot keep a roster");
	page->fd = ivs_region_fd(region);
	page->region_len = ivs_region_size(region);
	page->header.kept = true;
	if (ivs_roster_layout(page->region_len, slots_n, &page->header))
		result = too_small(page->region_len, slots_n, page->header.reserved_len, err);
	else if (allocate(page))
		result = ivs_error_errno(err, ENOMEM, "cannot keep a roster");
	if (result) {
		ivs_page_free(page);
		return result;
	}
	for (uint32_t slot = 0; slot < slots_n; slot++)
		ivs_bitmap_add(page->free, slot);
	take_over(page);
	page->header.generation++; /* those who were there before are not any more */
	mark_all(page);
	*out = page;
	return 0;
}

void ivs_page_free(struct ivs_page *page)
{
	if (!page)
		return;
	free(page->entries);
	free(page->table);
	free(page->free);
	free(page->unlisted);
	free(page);
}

static void write_slot(struct ivs_page *page, uint32_t slot, const struct ivs_roster_slot *content)
{
	ivs_roster_put_slot(content, page->table + (size_t)slot * IVS_ROSTER_SLOT_LEN);
	if (slot < page->dirty_from || page->dirty_from == page->dirty_end)
		page->dirty_from = slot;
	if (slot >= page->dirty_end)
		page->dirty_end = slot + 1;
}

/* Give @id a slot, if there is one. */
static void list(struct ivs_page *page, unsigned int id)
{
	struct ivs_page_entry *entry = &page->entries[id];
	uint32_t slots_n = page->header.slots_n;
	uint32_t slot = ivs_bitmap_first_only(page->free, NULL, 0, slots_n);

	entry->slot = IVS_PAGE_NO_SLOT;
	if (slot == slots_n) {
		ivs_bitmap_add(page->unlisted, id);
		return;
	}
	ivs_bitmap_remove(page->free, slot);
	ivs_bitmap_remove(page->unlisted, id);
	entry->slot = slot;
	write_slot(page, slot,
		   &(struct ivs_roster_slot){
			   .id = id, .vectors_n = entry->vectors_n, .since = entry->since});
}

void ivs_page_join(struct ivs_page *page, unsigned int id, uint32_t vectors_n, uint64_t since)
{
	struct ivs_page_entry *entry = &page->entries[id];

	if (entry->since)
		return;
	page->header.generation++;
	page->header.peers_n++;
	page->changed = true;
	entry->vectors_n = vectors_n;
	entry->since = since && since < page->header.generation ? since : page->header.generation;
	list(page, id);
}

void ivs_page_leave(struct ivs_page *page, unsigned int id)
{
	struct ivs_page_entry *entry = &page->entries[id];
	uint32_t slot = entry->slot;
	unsigned int next;

	if (!entry->since)
		return;
	page->header.generation++;
	page->header.peers_n--;
	page->changed = true;
	*entry = (struct ivs_page_entry){0};
	if (slot == IVS_PAGE_NO_SLOT) {
		ivs_bitmap_remove(page->unlisted, id);
		return;
	}
	ivs_bitmap_add(page->free, slot);
	write_slot(page, slot, &(struct ivs_roster_slot){0});
	/* P-2: somebody may have waited for it. */
	next = ivs_bitmap_first_only(page->unlisted, NULL, 0, IDS_N);
	if (next < IDS_N)
		list(page, next);
}

uint64_t ivs_page_since(const struct ivs_page *page, unsigned int id)
{
	return page->entries[id].since;
}

void ivs_page_end(struct ivs_page *page)
{
	page->header.kept = false;
	page->changed = true;
}

/* Return: 0 or -errno. */
static int write_bytes(const struct ivs_page *page, const uint8_t *bytes, size_t len,
		       uint64_t offset)
{
	/* P-4: on machines that reorder, too. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	while (len) {
		ssize_t n = pwrite(page->fd, bytes, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		bytes += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int write_sequence(const struct ivs_page *page)
{
	uint8_t bytes[IVS_ROSTER_SEQUENCE_LEN];

	ivs_roster_put_sequence(page->header.sequence, bytes);
	return write_bytes(page, bytes, sizeof(bytes),
			   page->region_len - IVS_ROSTER_PAGE_LEN + IVS_ROSTER_SEQUENCE_AT);
}

/* P-9: whole pages, so that what strangers have done to other slots there does not last. */
static int write_table(const struct ivs_page *page)
{
	uint32_t from = page->dirty_from / SLOTS_A_PAGE * SLOTS_A_PAGE;
	uint32_t end = (page->dirty_end + SLOTS_A_PAGE - 1) / SLOTS_A_PAGE * SLOTS_A_PAGE;
	size_t offset = (size_t)from * IVS_ROSTER_SLOT_LEN;

	if (page->dirty_from == page->dirty_end)
		return 0;
	if (end > page->header.slots_n)
		end = page->header.slots_n;
	return write_bytes(page, page->table + offset, (size_t)(end - from) * IVS_ROSTER_SLOT_LEN,
			   page->header.table_offset + offset);
}

static int write_header(const struct ivs_page *page)
{
	uint8_t bytes[IVS_ROSTER_HEADER_LEN];

	ivs_roster_put_header(&page->header, bytes);
	return write_bytes(page, bytes, sizeof(bytes), page->region_len - IVS_ROSTER_PAGE_LEN);
}

/* Writing would make a region longer again that a client has cut. */
static int check_length(const struct ivs_page *page)
{
	struct stat st;

	if (fstat(page->fd, &st))
		return -errno;
	return (uint64_t)st.st_size < page->region_len ? IVS_PAGE_E_CUT : 0;
}

int ivs_page_flush(struct ivs_page *page)
{
	int result;

	if (!page->changed)
		return 0;
	result = check_length(page);
	page->header.sequence |= 1;
	if (!result)
		result = write_sequence(page);
	if (!result)
		result = write_table(page);
	if (!result)
		result = write_header(page);
	if (!result) {
		page->header.sequence++;
		result = write_sequence(page);
	}
	if (result) {
		mark_all(page);
		return result;
	}
	page->dirty_from = page->dirty_end = 0;
	page->changed = false;
	return 0;
}
