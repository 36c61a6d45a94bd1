/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The page is written through a mapping that this process never accesses itself: the kernel writes
 * there in process_vm_writev(2), which returns EFAULT where an access would raise SIGBUS.
 *
 * There are two reasons for not using pwrite(2). Clients share the open file and can set O_APPEND
 * and O_DIRECT; and each write(2) takes the lock of the file's inode. A client can hold this lock
 * for as long as it likes, by calling write(2) with memory whose page faults are not resolved. A
 * page fault cannot take that lock, because write(2) takes page faults while it holds the lock.
 */
#include "roster_page/writer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/error.h"
#include "base/parse.h"

/*
 * process_vm_readv(2) is used only at startup. After an upgrade, the previous program's filter is
 * already in force at that time.
 */
IVS_SYSCALLS(ivs_roster_page_writer_syscalls, {"process_vm_writev", {IVS_ARG_OWN_PID(1)}},
	     {"process_vm_readv", {IVS_ARG_OWN_PID(1)}}, {"munmap"}, IVS_CALL_FSTAT);

#define ENTRIES_A_PAGE (IVS_ROSTER_PAGE_LEN / IVS_ROSTER_PAGE_ENTRY_LEN)
#define WORDS(bits) (((bits) + IVS_BITMAP_BITS - 1) / IVS_BITMAP_BITS)

static int report_too_small(uint64_t region_len, uint32_t entries_n, uint64_t reserved_len,
			    struct ivs_error *err)
{
	char reserved[IVS_SIZE_TEXT_LEN];
	char least[IVS_SIZE_TEXT_LEN];
	char actual[IVS_SIZE_TEXT_LEN];
	uint64_t wanted = region_len;

	while (wanted < 2 * reserved_len)
		wanted *= 2;
	return ivs_error_set(err, IVS_ROSTER_PAGE_WRITER_E_SIZE,
			     "a roster of %u peers needs %s, more than half of a region of %s: "
			     "use --size %s or more, or a lower --roster-peers",
			     entries_n, ivs_size_text(reserved_len, reserved),
			     ivs_size_text(region_len, actual), ivs_size_text(wanted, least));
}

/* P-10: writing to a hole in a file of huge pages needs a free huge page. */
static int check_page_size(const struct ivs_region *region, struct ivs_error *err)
{
	if (ivs_region_page_size(region) == (uint64_t)sysconf(_SC_PAGESIZE))
		return 0;
	return ivs_error_set(
		err, IVS_ROSTER_PAGE_WRITER_E_HUGE_PAGES,
		"--roster needs a region of ordinary pages, because a client can remove huge pages "
		"from the region: use shm:NAME or memfd:, or omit --roster");
}

/* Map the reserved bytes. Round down to a page of the kernel, which can exceed 4096 bytes. */
static bool map_reserved(struct ivs_roster_page_writer *writer)
{
	uint64_t page_len = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t offset = (writer->region_len - writer->header.reserved_len) / page_len * page_len;
	size_t len = (size_t)(writer->region_len - offset);
	uint8_t *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, writer->fd,
			    (off_t)offset);

	if (map == MAP_FAILED)
		return false;
	writer->map = map;
	writer->map_offset = offset;
	return true;
}

/* P-5, P-9: continue the counts of a previous server, if they are valid. */
static void take_over(struct ivs_roster_page_writer *writer)
{
	uint8_t bytes[IVS_ROSTER_PAGE_HEADER_LEN];
	struct ivs_roster_page_header before;
	struct iovec to = {bytes, sizeof(bytes)};
	struct iovec from = {
		writer->map + (writer->region_len - IVS_ROSTER_PAGE_LEN - writer->map_offset),
		sizeof(bytes)};

	if (process_vm_readv(writer->pid, &to, 1, &from, 1, 0) != sizeof(bytes) ||
	    ivs_roster_page_get_header(bytes, writer->region_len, &before) ||
	    before.sequence >= IVS_ROSTER_PAGE_COUNT_MAX ||
	    before.generation >= IVS_ROSTER_PAGE_COUNT_MAX)
		return;
	writer->header.sequence = before.sequence;
	writer->header.generation = before.generation;
}

static void mark_all(struct ivs_roster_page_writer *writer)
{
	writer->dirty_from = 0;
	writer->dirty_end = writer->header.entries_n;
	writer->changed = true;
}

static int allocate_tables(struct ivs_roster_page_writer *writer)
{
	writer->peers = calloc((IVS_ID_MAX + 1), sizeof(*writer->peers));
	writer->table = calloc(writer->header.entries_n, IVS_ROSTER_PAGE_ENTRY_LEN);
	writer->free = calloc(WORDS(writer->header.entries_n), sizeof(*writer->free));
	writer->unlisted = calloc(WORDS((IVS_ID_MAX + 1)), sizeof(*writer->unlisted));
	return writer->peers && writer->table && writer->free && writer->unlisted ? 0 : -ENOMEM;
}

int ivs_roster_page_writer_new(const struct ivs_region *region, uint32_t entries_n,
			       struct ivs_roster_page_writer **out, struct ivs_error *err)
{
	struct ivs_roster_page_writer *writer;
	int result = check_page_size(region, err);

	if (result)
		return result;
	writer = calloc(1, sizeof(*writer));
	if (!writer)
		return ivs_error_errno(err, ENOMEM, "cannot maintain a roster");
	writer->fd = ivs_region_fd(region);
	writer->pid = getpid();
	writer->region_len = ivs_region_size(region);
	writer->header.maintained = true;
	if (ivs_roster_page_layout(writer->region_len, entries_n, &writer->header))
		result = report_too_small(writer->region_len, entries_n,
					  writer->header.reserved_len, err);
	else if (allocate_tables(writer))
		result = ivs_error_errno(err, ENOMEM, "cannot maintain a roster");
	else if (!map_reserved(writer))
		result = ivs_error_errno(err, errno, "cannot map the roster page of the region");
	if (result) {
		ivs_roster_page_writer_free(writer);
		return result;
	}
	for (uint32_t entry = 0; entry < entries_n; entry++)
		ivs_bitmap_add(writer->free, entry);
	take_over(writer);
	writer->header.generation++; /* the previous server's peers have left */
	mark_all(writer);
	*out = writer;
	return 0;
}

void ivs_roster_page_writer_free(struct ivs_roster_page_writer *writer)
{
	if (!writer)
		return;
	if (writer->map)
		munmap(writer->map, (size_t)(writer->region_len - writer->map_offset));
	free(writer->peers);
	free(writer->table);
	free(writer->free);
	free(writer->unlisted);
	free(writer);
}

static void write_entry(struct ivs_roster_page_writer *writer, uint32_t entry,
			const struct ivs_roster_page_entry *content)
{
	ivs_roster_page_put_entry(content,
				  writer->table + (size_t)entry * IVS_ROSTER_PAGE_ENTRY_LEN);
	if (entry < writer->dirty_from || writer->dirty_from == writer->dirty_end)
		writer->dirty_from = entry;
	if (entry >= writer->dirty_end)
		writer->dirty_end = entry + 1;
}

/* Assign a free entry to @id, if there is one. */
static void list_peer(struct ivs_roster_page_writer *writer, unsigned int id)
{
	struct ivs_roster_page_writer_peer *peer = &writer->peers[id];
	uint32_t entries_n = writer->header.entries_n;
	uint32_t entry = ivs_bitmap_next_andnot(writer->free, NULL, 0, entries_n);

	peer->entry = IVS_ROSTER_PAGE_WRITER_UNLISTED;
	if (entry == entries_n) {
		ivs_bitmap_add(writer->unlisted, id);
		return;
	}
	ivs_bitmap_remove(writer->free, entry);
	ivs_bitmap_remove(writer->unlisted, id);
	peer->entry = entry;
	write_entry(writer, entry,
		    &(struct ivs_roster_page_entry){
			    .id = id, .vectors_n = peer->vectors_n, .since = peer->since});
}

void ivs_roster_page_writer_join(struct ivs_roster_page_writer *writer, unsigned int id,
				 uint32_t vectors_n, uint64_t since)
{
	struct ivs_roster_page_writer_peer *peer = &writer->peers[id];

	if (peer->since)
		return;
	writer->header.generation++;
	writer->header.peers_n++;
	writer->changed = true;
	peer->vectors_n = vectors_n;
	peer->since = since && since < writer->header.generation ? since
								 : writer->header.generation;
	list_peer(writer, id);
}

void ivs_roster_page_writer_leave(struct ivs_roster_page_writer *writer, unsigned int id)
{
	struct ivs_roster_page_writer_peer *peer = &writer->peers[id];
	uint32_t entry = peer->entry;
	unsigned int next;

	if (!peer->since)
		return;
	writer->header.generation++;
	writer->header.peers_n--;
	writer->changed = true;
	*peer = (struct ivs_roster_page_writer_peer){0};
	if (entry == IVS_ROSTER_PAGE_WRITER_UNLISTED) {
		ivs_bitmap_remove(writer->unlisted, id);
		return;
	}
	ivs_bitmap_add(writer->free, entry);
	write_entry(writer, entry, &(struct ivs_roster_page_entry){0});
	/* P-2: another peer may be waiting for an entry. */
	next = ivs_bitmap_next_andnot(writer->unlisted, NULL, 0, (IVS_ID_MAX + 1));
	if (next < (IVS_ID_MAX + 1))
		list_peer(writer, next);
}

uint64_t ivs_roster_page_writer_since(const struct ivs_roster_page_writer *writer, unsigned int id)
{
	return writer->peers[id].since;
}

void ivs_roster_page_writer_finish(struct ivs_roster_page_writer *writer)
{
	writer->header.maintained = false;
	writer->changed = true;
}

/* Detect a region that a client has truncated. */
static int check_length(const struct ivs_roster_page_writer *writer)
{
	struct stat st;

	if (fstat(writer->fd, &st))
		return -errno;
	return (uint64_t)st.st_size < writer->region_len ? IVS_ROSTER_PAGE_WRITER_E_CUT : 0;
}

/* Find out whether a page is beyond the end of the file, or in a hole and cannot be allocated. */
static int explain_fault(const struct ivs_roster_page_writer *writer)
{
	int result = check_length(writer);

	return result ? result : IVS_ROSTER_PAGE_WRITER_E_NO_PAGE;
}

/* Return: 0, IVS_ROSTER_PAGE_WRITER_E_*, -errno. */
static int write_bytes(const struct ivs_roster_page_writer *writer, const uint8_t *bytes,
		       size_t len, uint64_t offset)
{
	/* P-4: keep the order of writes even on machines that reorder stores. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	while (len) {
		struct iovec from = {(void *)(uintptr_t)bytes, len};
		struct iovec to = {writer->map + (offset - writer->map_offset), len};
		ssize_t n = process_vm_writev(writer->pid, &from, 1, &to, 1, 0);

		if (n < 0 && errno == EFAULT)
			return explain_fault(writer);
		if (n <= 0)
			return n ? -errno : -EIO;
		bytes += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int write_sequence(const struct ivs_roster_page_writer *writer)
{
	uint8_t bytes[IVS_ROSTER_PAGE_SEQUENCE_LEN];

	ivs_roster_page_put_sequence(writer->header.sequence, bytes);
	return write_bytes(writer, bytes, sizeof(bytes),
			   writer->region_len - IVS_ROSTER_PAGE_LEN + IVS_ROSTER_PAGE_SEQUENCE_AT);
}

/* P-9: write whole pages, to overwrite what other peers may have written to nearby entries. */
static int write_table(const struct ivs_roster_page_writer *writer)
{
	uint32_t from = writer->dirty_from / ENTRIES_A_PAGE * ENTRIES_A_PAGE;
	uint32_t end = (writer->dirty_end + ENTRIES_A_PAGE - 1) / ENTRIES_A_PAGE * ENTRIES_A_PAGE;
	size_t offset = (size_t)from * IVS_ROSTER_PAGE_ENTRY_LEN;

	if (writer->dirty_from == writer->dirty_end)
		return 0;
	if (end > writer->header.entries_n)
		end = writer->header.entries_n;
	return write_bytes(writer, writer->table + offset,
			   (size_t)(end - from) * IVS_ROSTER_PAGE_ENTRY_LEN,
			   writer->header.table_offset + offset);
}

static int write_header(const struct ivs_roster_page_writer *writer)
{
	uint8_t bytes[IVS_ROSTER_PAGE_HEADER_LEN];

	ivs_roster_page_put_header(&writer->header, bytes);
	return write_bytes(writer, bytes, sizeof(bytes), writer->region_len - IVS_ROSTER_PAGE_LEN);
}

int ivs_roster_page_writer_flush(struct ivs_roster_page_writer *writer)
{
	int result;

	if (!writer->changed)
		return 0;
	result = check_length(writer);
	writer->header.sequence |= 1;
	if (!result)
		result = write_sequence(writer);
	if (!result)
		result = write_table(writer);
	if (!result)
		result = write_header(writer);
	if (!result) {
		writer->header.sequence++;
		result = write_sequence(writer);
	}
	if (result) {
		mark_all(writer);
		return result;
	}
	writer->dirty_from = writer->dirty_end = 0;
	writer->changed = false;
	return 0;
}
