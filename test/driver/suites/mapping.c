// SPDX-License-Identifier: BSD-3-Clause
/* driver-test mapping: test operations on existing mappings, and mappings in several processes. */
#include "common.h"

#include <sys/uio.h>

static size_t len; /* size of the region in bytes */
static int fd;	   /* fd of the device node, O_RDWR */

static volatile uint32_t *map_memory(void)
{
	volatile uint32_t *memory = map(fd, IVS_MMAP_MEMORY, len, PROT_READ | PROT_WRITE);

	need(memory, "the region can be mapped");
	return memory;
}

static uint32_t type_now(void)
{
	return info_of(fd).memory_type;
}

/*
 * Run a function in a child process. Return: its exit status, or 1000 + the signal that killed it.
 */
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

	check(memory, "map a page write-back");
	other = map(fd, IVS_MMAP_MEMORY_WC, PAGE, PROT_READ);
	check_errno(EBUSY, other ? 0 : -1, "no write-combining while mapped write-back");
	other = map(fd, IVS_MMAP_MEMORY_WC + len - PAGE, PAGE, PROT_READ);
	check_errno(EBUSY, other ? 0 : -1, "no write-combining of another page");
	other = map(fd, IVS_MMAP_MEMORY, len, PROT_READ);
	check(other, "map the region write-back");
	munmap(memory, PAGE);
	check(type_now() == IVS_MEMORY_WB, "still write-back while one mapping is left");
	munmap(other, len);
	check(type_now() == IVS_MEMORY_NONE, "not mapped after the last munmap");
	memory = map(fd, IVS_MMAP_MEMORY_WC, PAGE, PROT_READ);
	check(memory, "map a page write-combining");
	other = map(fd, IVS_MMAP_MEMORY, PAGE, PROT_READ);
	check_errno(EBUSY, other ? 0 : -1, "no write-back while mapped write-combining");
	/* Leave it mapped. */
	check(map(fd, IVS_MMAP_STATUS, PAGE, PROT_READ), "map the status page");
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
	check(!in_child(child_writes, memory), "fork: the child reads the parent's data");
	check(memory[7] == 0x7777, "fork: the parent reads the child's data");
	check(!in_child(child_unmaps, memory), "fork: the child unmaps its copy");
	check(memory[7] == 0x7777, "fork: the parent's mapping is unaffected");
	check(type_now() == IVS_MEMORY_WB, "fork: the parent's mapping is still counted");
	check(!madvise((void *)memory, len, MADV_DONTFORK), "MADV_DONTFORK succeeds");
	check(in_child(child_touches, memory) == 1000 + SIGSEGV,
	      "MADV_DONTFORK: the child has no mapping");
	check(type_now() == IVS_MEMORY_WB, "MADV_DONTFORK: the parent's mapping is counted");
	munmap((void *)memory, len);
	check(type_now() == IVS_MEMORY_NONE, "fork: no mapping is counted any more");
}

static void test_parts(void)
{
	volatile uint32_t *memory = map_memory();
	char *bytes = (char *)memory;

	memory[0] = 1;
	memory[len / 4 - 1] = 2;
	check(!munmap(bytes + PAGE, len - 2 * PAGE),
	      "split: unmap all but the first and the last page");
	check(memory[0] == 1 && memory[len / 4 - 1] == 2, "split: both pages are mapped");
	check(physical(bytes + len - PAGE) == physical(bytes) + len - PAGE,
	      "split: both pages have their physical address");
	check(type_now() == IVS_MEMORY_WB, "split: counted");
	munmap(bytes, PAGE);
	check(type_now() == IVS_MEMORY_WB, "split: one page is left");
	munmap(bytes + len - PAGE, PAGE);
	check(type_now() == IVS_MEMORY_NONE, "split: no page is left");
	/* A fault on a page in the middle of a mapping also maps the neighbouring pages. */
	bytes = map(fd, IVS_MMAP_MEMORY + 3 * PAGE, 5 * PAGE, PROT_READ | PROT_WRITE);
	need(bytes, "a part of the region can be mapped");
	bytes[2 * PAGE] = 5;
	bytes[0] = 3;
	check(physical(bytes + 2 * PAGE) - physical(bytes) == 2 * PAGE,
	      "part: pages are contiguous");
	munmap(bytes, 5 * PAGE);
	memory = map_memory();
	bytes = (char *)memory;
	check(bytes[5 * PAGE] == 5 && bytes[3 * PAGE] == 3, "part: pages 3 to 7 were mapped");
	munmap(bytes, len);
}

static void test_mremap(void)
{
	volatile uint32_t *memory = map_memory();
	char *bytes = (char *)memory;
	char *moved;

	memory[1] = 0x1111;
	check_errno(EFAULT, mremap(bytes, len, 2 * len, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0,
		    "mremap: cannot grow");
	moved = mremap(bytes, len, len / 2, 0);
	check(moved == bytes, "mremap: can shrink");
	moved = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(moved != MAP_FAILED, "reserve address space");
	moved = mremap(bytes, len / 2, len / 2, MREMAP_MAYMOVE | MREMAP_FIXED, moved);
	if (check(moved != MAP_FAILED, "mremap: can move")) {
		check(((volatile uint32_t *)moved)[1] == 0x1111, "mremap: same contents");
		moved[len / 2 - 1] = 9;
		check(!strcmp(cache_type(moved), "WB"), "mremap: write-back");
		check(type_now() == IVS_MEMORY_WB, "mremap: counted");
		munmap(moved, len);
	}
	check(type_now() == IVS_MEMORY_NONE, "mremap: counted once");
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
	check(!mprotect((void *)memory, len, PROT_READ), "mprotect: PROT_READ");
	check(in_child(child_writes_first, memory) == 1000 + SIGSEGV,
	      "mprotect: a write raises SIGSEGV");
	check(!mprotect((void *)memory, len, PROT_READ | PROT_WRITE),
	      "mprotect: PROT_READ | PROT_WRITE");
	check(!in_child(child_writes_first, memory), "mprotect: a write succeeds");
	check(!mprotect((void *)memory, len, PROT_NONE), "mprotect: PROT_NONE");
	check(in_child(child_touches, memory) == 1000 + SIGSEGV, "mprotect: a read raises SIGSEGV");
	check(!mprotect((void *)memory, PAGE, PROT_READ | PROT_EXEC),
	      "mprotect: PROT_READ | PROT_EXEC on a part");
	check(memory[0] == 1 && !strcmp(cache_type((void *)memory), "WB"),
	      "mprotect: a read succeeds");
	munmap((void *)memory, len);

	at = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, only_readable, IVS_MMAP_MEMORY);
	check_errno(EINVAL, at == MAP_FAILED ? -1 : 0, "O_RDONLY: MAP_PRIVATE");
	readable = map(only_readable, IVS_MMAP_MEMORY, len, PROT_READ);
	need(readable, "O_RDONLY: can be mapped PROT_READ");
	check(readable[0] == 1, "O_RDONLY: the mapping is readable");
	check_errno(EACCES, mprotect((void *)readable, len, PROT_READ | PROT_WRITE),
		    "O_RDONLY: mprotect cannot make it writable");
	munmap((void *)readable, len);
	close(only_readable);

	at = map(fd, IVS_MMAP_STATUS, PAGE, PROT_READ);
	need(at, "the status page can be mapped");
	check_errno(EACCES, mprotect(at, PAGE, PROT_READ | PROT_WRITE),
		    "status page: mprotect cannot make it writable");
	munmap(at, PAGE);
}

/*
 * A write to /proc/self/clear_refs makes the kernel write-protect pages in order to track writes.
 */
static void test_soft_dirty(void)
{
	volatile uint32_t *memory = map_memory();

	memory[0] = 1;
	if (write_file("4", "/proc/self/clear_refs"))
		note("this kernel has no clear_refs");
	memory[0] = 2;
	memory[len / 4 - 1] = 3;
	check(memory[0] == 2 && memory[len / 4 - 1] == 3, "clear_refs: the region is writable");
	check(!strcmp(cache_type((void *)memory), "WB"), "clear_refs: write-back");
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
	check(madvise((void *)memory, len, MADV_REMOVE), "MADV_REMOVE fails");
	check(process_vm_readv(getpid(), &ours, 1, &theirs, 1, 0) < 0, "process_vm_readv fails");
	need(!pipe2(pipes, O_CLOEXEC), "create a pipe");
	check(write(pipes[1], (void *)memory, 8) == 8, "write(2) from the mapping");
	check(read(pipes[0], (void *)(memory + PAGE), 8) == 8, "read(2) into the mapping");
	check(memory[PAGE] == 0x4444, "read(2) and write(2) copy the data");
	check(vmsplice(pipes[1], &theirs, 1, 0) < 0, "vmsplice fails");
	check(memory[0] == 0x4444, "the region is unchanged");
	close(pipes[0]);
	close(pipes[1]);
	munmap((void *)memory, len);
}

/* Pass system calls pointers to pages of the region that have not been faulted in. */
static void test_arguments_there(void)
{
	volatile uint32_t *memory = map_memory();
	struct ivs_ioc_info *info = (void *)(memory + (len - PAGE) / 4);
	struct ivs_ioc_ring *doorbell;
	int other = open_device(O_RDWR | O_NONBLOCK);

	check(!ioctl(other, IVS_IOC_INFO, info) && info->memory_len == len,
	      "IVS_IOC_INFO writes to the region");
	munmap((void *)memory, len);
	memory = map_memory();
	doorbell = (void *)memory;
	check(ioctl(other, IVS_IOC_RING, doorbell) <= 0, "IVS_IOC_RING reads from the region");
	munmap((void *)memory, len);
	memory = map_memory();
	if (info_of(fd).vectors_n && !ring(fd, (unsigned int)info_of(fd).position, 0))
		check(poll(&(struct pollfd){.fd = other, .events = POLLIN}, 1, TIMEOUT_MS) == 1 &&
			      read(other, (void *)memory, 32) > 0,
		      "read(2) writes to the region");
	close(other);
	munmap((void *)memory, len);
}

/* A mapping keeps the device open after the fd is closed. */
static void test_close(void)
{
	volatile uint32_t *memory;
	int other = open_device(O_RDWR);

	memory = map(other, IVS_MMAP_MEMORY, len, PROT_READ | PROT_WRITE);
	need(memory, "the region can be mapped");
	close(other);
	memory[3] = 0x3333;
	check(memory[3] == 0x3333, "close: the mapping outlives its fd");
	check(type_now() == IVS_MEMORY_WB, "close: counted");
	munmap((void *)memory, len);
	check(type_now() == IVS_MEMORY_NONE, "close: not counted after munmap");
}

/* A process must not be able to access memory beyond the region. */
static void test_overreach(void)
{
	char *at = map(fd, IVS_MMAP_MEMORY + len - PAGE, PAGE, PROT_READ | PROT_WRITE);

	need(at, "the last page can be mapped");
	check_errno(EFAULT, mremap(at, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0,
		    "the last page cannot grow");
	check(remap_file_pages(at, PAGE, 0, len / PAGE, 0),
	      "remap_file_pages cannot map beyond the region");
	munmap(at, PAGE);
	check(pread(fd, (char[8]){}, 8, 0) < 0, "pread fails");
	check(pwrite(fd, "12345678", 8, 0) < 0, "pwrite fails");
	check(write(fd, "12345678", 8) < 0, "write fails");
	check(lseek(fd, 0, SEEK_SET) <= 0, "lseek does not move");
	check(ftruncate(fd, 1), "ftruncate fails");
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
