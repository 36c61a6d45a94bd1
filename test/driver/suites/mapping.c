// SPDX-License-Identifier: BSD-3-Clause
/* driver-test mapping: what can be done with mappings once there are some, and between processes. */
#include "common.h"

#include <sys/uio.h>

static size_t len; /* of the region */
static int fd;	   /* O_RDWR */

static volatile uint32_t *map_memory(void)
{
	volatile uint32_t *memory = map(fd, IVS_MMAP_MEMORY, len, PROT_READ | PROT_WRITE);

	need(memory, "the memory can be mapped");
	return memory;
}

static uint32_t type_now(void)
{
	return info_of(fd).memory_type;
}

/* Run in another process. Return: its status, or 1000 + the signal that ended it. */
static int in_child(int (*run)(volatile uint32_t *memory), volatile uint32_t *memory)
{
	pid_t pid = fork();
	int status;

	need(pid >= 0, "fork");
	if (!pid)
		_exit(run(memory));
	need(waitpid(pid, &status, 0) == pid, "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void test_two_types(void)
{
	void *memory = map(fd, IVS_MMAP_MEMORY, PAGE, PROT_READ);
	void *other;

	check(memory, "a page write-back");
	other = map(fd, IVS_MMAP_MEMORY_WC, PAGE, PROT_READ);
	check_errno(EBUSY, other ? 0 : -1, "write-combining while write-back is mapped");
	other = map(fd, IVS_MMAP_MEMORY_WC + len - PAGE, PAGE, PROT_READ);
	check_errno(EBUSY, other ? 0 : -1, "also another page");
	other = map(fd, IVS_MMAP_MEMORY, len, PROT_READ);
	check(other, "write-back once more");
	munmap(memory, PAGE);
	check(type_now() == IVS_MEMORY_WB, "it is write-back as long as one is left");
	munmap(other, len);
	check(type_now() == IVS_MEMORY_NONE, "then nothing is mapped");
	memory = map(fd, IVS_MMAP_MEMORY_WC, PAGE, PROT_READ);
	check(memory, "write-combining");
	other = map(fd, IVS_MMAP_MEMORY, PAGE, PROT_READ);
	check_errno(EBUSY, other ? 0 : -1, "write-back while write-combining is mapped");
	check(map(fd, IVS_MMAP_STATUS, PAGE, PROT_READ), "but the status page, which stays mapped");
	munmap(memory, PAGE);
}

static int child_writes(volatile uint32_t *memory)
{
	memory[7] = 0x7777;
	return memory[8] == 0x8888 && type_now() == IVS_MEMORY_WB ? 0 : 1;
}

static int child_unmaps(volatile uint32_t *memory)
{
	return munmap((void *)memory, len);
}

static int child_touches(volatile uint32_t *memory)
{
	return memory[0] == 0x12345678;
}

static void test_fork(void)
{
	volatile uint32_t *memory = map_memory();

	memory[8] = 0x8888;
	check(!in_child(child_writes, memory), "a child reads what its parent wrote");
	check(memory[7] == 0x7777, "and the other way round");
	check(!in_child(child_unmaps, memory), "a child unmaps its copy");
	check(memory[7] == 0x7777, "the parent's stays");
	check(type_now() == IVS_MEMORY_WB, "and counts");
	check(!madvise((void *)memory, len, MADV_DONTFORK), "MADV_DONTFORK");
	check(in_child(child_touches, memory) == 1000 + SIGSEGV, "then a child does not have it");
	check(type_now() == IVS_MEMORY_WB, "the parent still has it");
	munmap((void *)memory, len);
	check(type_now() == IVS_MEMORY_NONE, "all copies are counted");
}

static void test_parts(void)
{
	volatile uint32_t *memory = map_memory();
	char *bytes = (char *)memory;

	memory[0] = 1;
	memory[len / 4 - 1] = 2;
	check(!munmap(bytes + PAGE, len - 2 * PAGE),
	      "all but the first and the last page unmapped");
	check(memory[0] == 1 && memory[len / 4 - 1] == 2, "both are there");
	check(physical(bytes + len - PAGE) == physical(bytes) + len - PAGE, "where they were");
	check(type_now() == IVS_MEMORY_WB, "and count");
	munmap(bytes, PAGE);
	check(type_now() == IVS_MEMORY_WB, "one left");
	munmap(bytes + len - PAGE, PAGE);
	check(type_now() == IVS_MEMORY_NONE, "none left");
	/* A page in the middle that is touched first: its neighbours are put in with it. */
	bytes = map(fd, IVS_MMAP_MEMORY + 3 * PAGE, 5 * PAGE, PROT_READ | PROT_WRITE);
	need(bytes, "a part can be mapped");
	bytes[2 * PAGE] = 5;
	bytes[0] = 3;
	check(physical(bytes + 2 * PAGE) - physical(bytes) == 2 * PAGE, "a part of the region");
	munmap(bytes, 5 * PAGE);
	memory = map_memory();
	bytes = (char *)memory;
	check(bytes[5 * PAGE] == 5 && bytes[3 * PAGE] == 3, "it was pages 3 to 7");
	munmap(bytes, len);
}

static void test_mremap(void)
{
	volatile uint32_t *memory = map_memory();
	char *bytes = (char *)memory;
	char *moved;

	memory[1] = 0x1111;
	check_errno(EFAULT, mremap(bytes, len, 2 * len, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0,
		    "it cannot grow");
	moved = mremap(bytes, len, len / 2, 0);
	check(moved == bytes, "it can shrink");
	moved = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(moved != MAP_FAILED, "room");
	moved = mremap(bytes, len / 2, len / 2, MREMAP_MAYMOVE | MREMAP_FIXED, moved);
	if (check(moved != MAP_FAILED, "it can move")) {
		check(((volatile uint32_t *)moved)[1] == 0x1111, "the memory comes along");
		moved[len / 2 - 1] = 9;
		check(!strcmp(cache_type(moved), "WB"), "write-back");
		check(type_now() == IVS_MEMORY_WB, "counted");
		munmap(moved, len);
	}
	check(type_now() == IVS_MEMORY_NONE, "counted once");
}

static int child_writes_first(volatile uint32_t *memory)
{
	memory[0] = 1;
	return 0;
}

static void test_protection(void)
{
	volatile uint32_t *memory = map_memory();
	volatile uint32_t *readable;
	int only_readable = open_device(O_RDONLY);
	void *at;

	memory[0] = 0x12345678;
	check(!mprotect((void *)memory, len, PROT_READ), "mprotect to read-only");
	check(in_child(child_writes_first, memory) == 1000 + SIGSEGV, "writing is SIGSEGV");
	check(!mprotect((void *)memory, len, PROT_READ | PROT_WRITE), "and back");
	check(!in_child(child_writes_first, memory), "writing works");
	check(!mprotect((void *)memory, len, PROT_NONE), "to nothing");
	check(in_child(child_touches, memory) == 1000 + SIGSEGV, "reading is SIGSEGV");
	check(!mprotect((void *)memory, PAGE, PROT_READ | PROT_EXEC),
	      "and back, a part, executable");
	check(memory[0] == 1 && !strcmp(cache_type((void *)memory), "WB"), "reading works");
	munmap((void *)memory, len);

	at = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, only_readable, IVS_MMAP_MEMORY);
	check_errno(EINVAL, at == MAP_FAILED ? -1 : 0, "MAP_PRIVATE of an O_RDONLY file");
	readable = map(only_readable, IVS_MMAP_MEMORY, len, PROT_READ);
	need(readable, "an O_RDONLY file can be mapped readable");
	check(readable[0] == 1, "and be read");
	check_errno(EACCES, mprotect((void *)readable, len, PROT_READ | PROT_WRITE),
		    "and not be made writable");
	munmap((void *)readable, len);
	close(only_readable);

	at = map(fd, IVS_MMAP_STATUS, PAGE, PROT_READ);
	need(at, "the status page");
	check_errno(EACCES, mprotect(at, PAGE, PROT_READ | PROT_WRITE),
		    "the status page cannot be made writable");
	munmap(at, PAGE);
}

/* After this the kernel makes pages read-only to see who writes. */
static void test_soft_dirty(void)
{
	volatile uint32_t *memory = map_memory();

	memory[0] = 1;
	if (write_file("4", "/proc/self/clear_refs"))
		note("no clear_refs here");
	memory[0] = 2;
	memory[len / 4 - 1] = 3;
	check(memory[0] == 2 && memory[len / 4 - 1] == 3, "writable after clear_refs");
	check(!strcmp(cache_type((void *)memory), "WB"), "and write-back");
	munmap((void *)memory, len);
}

static void test_advice(void)
{
	volatile uint32_t *memory = map_memory();
	struct iovec ours = {.iov_base = (char[8]){}, .iov_len = 8};
	struct iovec theirs = {.iov_base = (void *)memory, .iov_len = 8};
	int pipes[2];

	memory[0] = 0x4444;
	check(!mlock((void *)memory, len), "mlock");
	check(!munlock((void *)memory, len), "munlock");
	check_errno(EINVAL, madvise((void *)memory, len, MADV_DONTNEED), "MADV_DONTNEED");
	check(madvise((void *)memory, len, MADV_REMOVE), "MADV_REMOVE is refused");
	check(process_vm_readv(getpid(), &ours, 1, &theirs, 1, 0) < 0,
	      "not through another process");
	need(!pipe2(pipes, O_CLOEXEC), "a pipe");
	check(write(pipes[1], (void *)memory, 8) == 8, "write(2) out of it");
	check(read(pipes[0], (void *)(memory + PAGE), 8) == 8, "read(2) into it");
	check(memory[PAGE] == 0x4444, "with the right bytes");
	check(vmsplice(pipes[1], &theirs, 1, 0) < 0, "its pages cannot be given to a pipe");
	check(memory[0] == 0x4444, "all is as it was");
	close(pipes[0]);
	close(pipes[1]);
	munmap((void *)memory, len);
}

/* Arguments and results in the region itself, in pages that have not been touched yet. */
static void test_arguments_there(void)
{
	volatile uint32_t *memory = map_memory();
	struct ivs_ioc_info *info = (void *)(memory + (len - PAGE) / 4);
	struct ivs_ioc_ring *doorbell;
	int other = open_device(O_RDWR | O_NONBLOCK);

	check(!ioctl(other, IVS_IOC_INFO, info) && info->memory_len == len,
	      "what is told lies in it");
	munmap((void *)memory, len);
	memory = map_memory();
	doorbell = (void *)memory;
	check(ioctl(other, IVS_IOC_RING, doorbell) <= 0, "what is asked lies in it");
	munmap((void *)memory, len);
	memory = map_memory();
	if (info_of(fd).vectors_n && !ring(fd, (unsigned int)info_of(fd).position, 0))
		check(poll(&(struct pollfd){.fd = other, .events = POLLIN}, 1, TIMEOUT_MS) == 1 &&
			      read(other, (void *)memory, 32) > 0,
		      "what is read lies in it");
	close(other);
	munmap((void *)memory, len);
}

/* What is mapped keeps the device's file, and is found when it has no descriptor any more. */
static void test_close(void)
{
	volatile uint32_t *memory;
	int other = open_device(O_RDWR);

	memory = map(other, IVS_MMAP_MEMORY, len, PROT_READ | PROT_WRITE);
	need(memory, "the memory can be mapped");
	close(other);
	memory[3] = 0x3333;
	check(memory[3] == 0x3333, "a mapping outlives its descriptor");
	check(type_now() == IVS_MEMORY_WB, "and counts");
	munmap((void *)memory, len);
	check(type_now() == IVS_MEMORY_NONE, "until it is unmapped");
}

/* What is behind the region must not be reached, whatever is tried. */
static void test_overreach(void)
{
	char *at = map(fd, IVS_MMAP_MEMORY + len - PAGE, PAGE, PROT_READ | PROT_WRITE);

	need(at, "the last page");
	check_errno(EFAULT, mremap(at, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0,
		    "the last page cannot grow");
	check(remap_file_pages(at, PAGE, 0, len / PAGE, 0), "remap_file_pages cannot lead behind");
	munmap(at, PAGE);
	check(pread(fd, (char[8]){}, 8, 0) < 0, "no pread");
	check(pwrite(fd, "12345678", 8, 0) < 0, "no pwrite");
	check(write(fd, "12345678", 8) < 0, "no write");
	check(lseek(fd, 0, SEEK_SET) <= 0, "no seeking beyond");
	check(ftruncate(fd, 1), "no ftruncate");
}

int suite_mapping(int argc, char **argv)
{
	(void)argv;
	fd = open_device(O_RDWR);
	len = info_of(fd).memory_len;
	test_two_types();
	test_fork();
	test_parts();
	test_mremap();
	test_protection();
	test_soft_dirty();
	test_advice();
	test_arguments_there();
	test_close();
	test_overreach();
	close(fd);
	return argc != 1;
}
