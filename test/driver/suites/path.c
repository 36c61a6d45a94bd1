// SPDX-License-Identifier: BSD-3-Clause
/* driver-test path: map the region by path, through the sysfs attribute "memory". */
#include "common.h"

#include <sys/stat.h>

#define OTHER 3000

static struct ivs_ioc_info info;

static uint32_t type_now(void)
{
	int fd = open_device(O_RDONLY);
	uint32_t type = info_of(fd).memory_type;

	close(fd);
	return type;
}

static void test_attribute(int fd)
{
	struct stat found;
	char byte;

	need(!fstat(fd, &found), "fstat");
	check((found.st_mode & 0777) == 0600 && !found.st_uid, "only root may open the attribute");
	check(found.st_size == (off_t)info.memory_len, "the attribute's size is %ld",
	      (long)found.st_size);
	check(read(fd, &byte, 1) < 0 && errno == EIO, "the attribute cannot be read");
}

static void test_memory(int fd, int device)
{
	volatile uint32_t *memory = map(fd, 0, info.memory_len, PROT_READ | PROT_WRITE);
	volatile uint32_t *node = map(device, IVS_MMAP_MEMORY, info.memory_len, PROT_READ);
	size_t last = info.memory_len / 4 - 1;

	need(memory && node, "map the region by path and by the node");
	memory[0] = 0x1111;
	memory[last] = 0x2222;
	check(node[0] == 0x1111 && node[last] == 0x2222, "both mappings show the same memory");
	check(physical((void *)memory) == physical((void *)node),
	      "both mappings have the same physical address");
	check(!strcmp(cache_type((void *)memory), "WB"), "write-back");
	munmap((void *)node, info.memory_len);
	check(type_now() == IVS_MEMORY_WB, "the mapping by path is counted");
	check(!map(device, IVS_MMAP_MEMORY_WC, PAGE, PROT_READ) && errno == EBUSY,
	      "no write-combining while mapped by path");
	munmap((void *)memory, PAGE);
	check(memory[last] == 0x2222, "the rest of the mapping remains");
	munmap((void *)memory, info.memory_len);
	check(type_now() == IVS_MEMORY_NONE, "no mapping is left");
	node = map(device, IVS_MMAP_MEMORY_WC, PAGE, PROT_READ);
	check(node && !map(fd, 0, PAGE, PROT_READ) && errno == EBUSY,
	      "no mapping by path while mapped write-combining");
	munmap((void *)node, PAGE);
}

static void test_limits(int fd)
{
	int reader = open_memory(O_RDONLY);
	uint64_t offset = info.memory_len - PAGE;
	void *at = map(reader, offset, PAGE, PROT_READ);
	void *many[IVS_DRIVER_FILES_MAX];
	int n = 0;

	check(at, "the last page can be mapped");
	check(mprotect(at, PAGE, PROT_READ | PROT_WRITE) && errno == EACCES,
	      "a read-only file: mprotect cannot make its mapping writable");
	munmap(at, PAGE);
	check(!map(reader, 0, PAGE, PROT_READ | PROT_WRITE) && errno == EACCES,
	      "a read-only file: no writable mapping");
	close(reader);
	check(!map(fd, offset, 2 * PAGE, PROT_READ) && errno == EINVAL,
	      "nothing beyond the region can be mapped");
	check(!map(fd, info.memory_len, PAGE, PROT_READ) && errno == EINVAL,
	      "nothing can be mapped from the end of the region");
	check(!map(fd, IVS_MMAP_REGISTERS, PAGE, PROT_READ) && errno == EINVAL,
	      "the registers cannot be mapped");
	check(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == EINVAL,
	      "the region cannot be mapped MAP_PRIVATE");
	/* The suite has the device open once. */
	while (n < IVS_DRIVER_FILES_MAX && (many[n] = map(fd, 0, PAGE, PROT_READ)))
		n++;
	check(n == IVS_DRIVER_FILES_MAX - 1 && errno == EMFILE,
	      "each of %d mappings is an open file", n);
	while (n)
		munmap(many[--n], PAGE);
	check(type_now() == IVS_MEMORY_NONE, "after unmapping them, no mapping is left");
}

static void other(void)
{
	check_errno(EACCES, open_memory(O_RDONLY), "another user cannot open the attribute");
}

int suite_path(int argc, char **argv)
{
	int device = open_device(O_RDWR);
	int fd = open_memory(O_RDWR);

	(void)argv;
	need(fd >= 0, "the attribute can be opened");
	info = info_of(device);
	test_attribute(fd);
	test_memory(fd, device);
	test_limits(fd);
	as_user(OTHER, OTHER, other);
	close(fd);
	close(device);
	return argc != 1;
}
