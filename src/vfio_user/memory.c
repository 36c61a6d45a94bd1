/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. Two kinds of files are distinguished when the memory is opened:
 *
 *   memfd without huge pages,  small aligned accesses are loads and stores in a mapping; no page
 *   sealed against shrinking   can be lost, so they cannot raise SIGBUS
 *   others                     the mapping is never accessed directly: writes use
 *                              process_vm_writev(2), which returns EFAULT for a lost page. Reads
 *                              use pread(2), which allocates no pages, if the file is memory;
 *                              otherwise process_vm_readv(2)
 *
 * There are two reasons for not using pwrite(2). Untrusted processes share the open file and could
 * set O_APPEND, which would make the file grow; and hugetlbfs does not support pwrite(2). Large
 * accesses to files of the first kind are made in the same way as for the second kind, because
 * reading a hole through a mapping would allocate its pages.
 *
 * pread(2) of a file on a disk can take the lock of its inode, depending on the file system and on
 * O_DIRECT. A process that may write to the file can hold that lock for as long as it likes: in a
 * write(2) from memory whose page faults are never resolved. Page faults do not take the lock.
 */
#include "vfio_user/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#define WORD 8

/* Return: the mapping; NULL if the window cannot be mapped, and therefore cannot be written. */
static uint8_t *map_window(const struct ivs_vfu_memory *memory)
{
	int prot = PROT_READ | (memory->file.writable ? PROT_WRITE : 0);
	void *map = mmap(NULL, memory->len, prot, MAP_SHARED, memory->file.fd,
			 (off_t)memory->file.offset);

	return map == MAP_FAILED ? NULL : map;
}

/* Return: whether the file currently contains the first @end bytes of the window. */
static bool window_reaches(const struct ivs_vfu_memory *memory, uint64_t end)
{
	struct stat st;

	return !fstat(memory->file.fd, &st) && (uint64_t)st.st_size >= end &&
	       (uint64_t)st.st_size - end >= memory->file.offset;
}

/* Return: whether the file contains the whole window and can never become shorter. */
static bool cannot_shrink(const struct ivs_vfu_memory *memory)
{
	int seals = fcntl(memory->file.fd, F_GET_SEALS);

	return seals >= 0 && seals & F_SEAL_SHRINK && window_reaches(memory, memory->len);
}

void ivs_vfu_memory_open(struct ivs_vfu_memory *memory, const struct ivs_vfio_user_memory *file,
			 uint64_t len)
{
	struct statfs fs;
	bool is_huge = false;

	*memory = (struct ivs_vfu_memory){.file = *file, .len = len};
	if (file->fd < 0)
		return;
	memory->is_memory = fcntl(file->fd, F_GET_SEALS) >= 0;
	if (memory->is_memory)
		is_huge = !fstatfs(file->fd, &fs) && fs.f_type == HUGETLBFS_MAGIC;
	/* In hugetlbfs an access to a hole raises SIGBUS if no huge page is free. */
	memory->is_safe = memory->is_memory && !is_huge && cannot_shrink(memory);
	if (memory->is_safe || file->writable || !memory->is_memory)
		memory->map = map_window(memory);
	memory->is_safe = memory->is_safe && memory->map;
}

void ivs_vfu_memory_close(struct ivs_vfu_memory *memory)
{
	if (memory->map)
		munmap(memory->map, memory->len);
	*memory = (struct ivs_vfu_memory){.file = {.fd = -1}};
}

static bool is_small(uint64_t offset, size_t len)
{
	return len && len <= WORD && !(len & (len - 1)) && !(offset % len);
}

union word {
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
};

/* Load @len bytes with a single access; @from is aligned. */
static void load_word(const void *from, uint8_t *out, size_t len)
{
	union word value;

	if (len == sizeof(value.u8))
		value.u8 = *(const volatile uint8_t *)from;
	else if (len == sizeof(value.u16))
		value.u16 = *(const volatile uint16_t *)from;
	else if (len == sizeof(value.u32))
		value.u32 = *(const volatile uint32_t *)from;
	else
		value.u64 = *(const volatile uint64_t *)from;
	memcpy(out, &value, len);
}

static void store_word(void *to, const uint8_t *in, size_t len)
{
	union word value;

	memcpy(&value, in, len);
	if (len == sizeof(value.u8))
		*(volatile uint8_t *)to = value.u8;
	else if (len == sizeof(value.u16))
		*(volatile uint16_t *)to = value.u16;
	else if (len == sizeof(value.u32))
		*(volatile uint32_t *)to = value.u32;
	else
		*(volatile uint64_t *)to = value.u64;
}

/* Retry, because under a supervisor (seccomp_unotify(2)) a signal can interrupt even getpid(2). */
static pid_t own_pid(void)
{
	pid_t pid;

	do {
		pid = getpid();
	} while (pid < 0);
	return pid;
}

/* Read as if from another process's memory. Return: the number of bytes before a lost page. */
static size_t read_map(const struct ivs_vfu_memory *memory, uint64_t offset, uint8_t *out,
		       size_t len)
{
	struct iovec from = {memory->map + offset, len};
	struct iovec to = {out, len};
	ssize_t n = memory->map ? process_vm_readv(own_pid(), &to, 1, &from, 1, 0) : 0;

	return n > 0 ? (size_t)n : 0;
}

/* Read up to the end of the file. Return: the number of bytes read. */
static size_t read_file(const struct ivs_vfu_memory *memory, uint64_t offset, uint8_t *out,
			size_t len)
{
	size_t done = 0;

	if (!memory->is_memory)
		return read_map(memory, offset, out, len);
	while (done < len) {
		ssize_t n = pread(memory->file.fd, out + done, len - done,
				  (off_t)(memory->file.offset + offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

/* Write as if to another process's memory: a lost page causes EFAULT instead of SIGBUS. */
static bool write_map(const struct ivs_vfu_memory *memory, uint64_t offset, const uint8_t *in,
		      size_t len)
{
	struct iovec from = {(void *)(uintptr_t)in, len};
	struct iovec to = {memory->map + offset, len};

	return process_vm_writev(own_pid(), &from, 1, &to, 1, 0) == (ssize_t)len;
}

/*
 * The kernel copies an aligned word with a single access, but copies less than a word byte by byte
 * (x86: copy_to_user() of less than 8 bytes). So read the whole word that contains the bytes.
 */
static bool read_word(const struct ivs_vfu_memory *memory, uint64_t offset, uint8_t *out,
		      size_t len)
{
	_Alignas(WORD) uint8_t word[WORD];

	if (read_file(memory, offset & ~(uint64_t)(WORD - 1), word, WORD) != WORD)
		return false;
	memcpy(out, word + offset % WORD, len);
	return true;
}

size_t ivs_vfu_memory_read(struct ivs_vfu_memory *memory, uint64_t offset, uint8_t *out, size_t len)
{
	size_t got = 0;

	if (memory->is_safe && is_small(offset, len)) {
		load_word(memory->map + offset, out, len);
		return len;
	}
	if (memory->file.fd >= 0 && is_small(offset, len) && read_word(memory, offset, out, len))
		return len;
	if (memory->file.fd >= 0)
		got = read_file(memory, offset, out, len);
	memset(out + got, 0xff, len - got);
	return got;
}

bool ivs_vfu_memory_write(struct ivs_vfu_memory *memory, uint64_t offset, const uint8_t *in,
			  size_t len)
{
	if (!memory->map || !memory->file.writable)
		return false;
	if (memory->is_safe && is_small(offset, len)) {
		store_word(memory->map + offset, in, len);
		return true;
	}
	return write_map(memory, offset, in, len);
}
