// SPDX-License-Identifier: BSD-3-Clause
/*
 * driver-test user GROUP: test access to the device node by members of its group and by others. The
 * mode of the node is first 0660, then 0640, with which the group may only read, and then 0620.
 */
#include "common.h"

#include <sys/stat.h>

#define MEMBER 2000
#define OTHER 3000

static void member(void)
{
	int fd = open_device(O_RDWR);
	struct ivs_ioc_info info = info_of(fd);
	struct ivs_ioc_dmabuf wanted = {.len = PAGE, .flags = O_CLOEXEC};
	int event = eventfd(0, EFD_CLOEXEC);
	char *memory = map(fd, IVS_MMAP_MEMORY, info.memory_len, PROT_READ | PROT_WRITE);

	check(memory, "member: maps the region");
	memory[0] = 1;
	check(!mlock(memory, PAGE) || errno == EPERM || errno == ENOMEM,
	      "member: mlock succeeds or fails with the limit's error");
	munmap(memory, info.memory_len);
	memory = map(fd, IVS_MMAP_MEMORY_WC, info.memory_len, PROT_READ | PROT_WRITE);
	check(memory, "member: maps the region write-combining");
	munmap(memory, info.memory_len);
	if (info.flags & IVS_INFO_REGISTERS)
		check(map(fd, IVS_MMAP_REGISTERS, PAGE, PROT_READ | PROT_WRITE),
		      "member: maps the registers");
	check(map(fd, IVS_MMAP_STATUS, PAGE, PROT_READ), "member: maps the status page");
	check(!listen_to(fd, 0, event), "member: sets an eventfd");
	check(!ring(fd, (unsigned int)info.position, 0), "member: rings");
	check(take_event(event, TIMEOUT_MS), "member: receives the doorbell");
	fd = ioctl(fd, IVS_IOC_DMABUF, &wanted);
	check(fd >= 0 || errno == EOPNOTSUPP, "member: exports a dma-buf, if supported");
	check(*attribute("size") != '(', "member: reads sysfs");
}

static void reader(void)
{
	int fd = open_number(device_number, O_RDWR);

	check_errno(EACCES, fd, "reader: cannot open for writing");
	fd = open_device(O_RDONLY);
	check(map(fd, IVS_MMAP_MEMORY, PAGE, PROT_READ), "reader: maps the region read-only");
	check(!map(fd, IVS_MMAP_MEMORY, PAGE, PROT_READ | PROT_WRITE),
	      "reader: cannot map the region writable");
	check(!map(fd, IVS_MMAP_REGISTERS, PAGE, PROT_READ), "reader: cannot map the registers");
	check_errno(EBADF, ring(fd, 0, 0), "reader: cannot ring");
	check_errno(EBADF, listen_to(fd, 0, -1), "reader: cannot set an eventfd");
	check_errno(EBADF, ioctl(fd, IVS_IOC_DMABUF, &(struct ivs_ioc_dmabuf){.len = PAGE}),
		    "reader: cannot export a dma-buf");
	close(fd);
}

static void writer(void)
{
	int fd;

	check_errno(EACCES, open_number(device_number, O_RDWR), "writer: cannot open for reading");
	fd = open_device(O_WRONLY);
	check(!map(fd, IVS_MMAP_MEMORY, PAGE, PROT_WRITE), "writer: cannot map the region");
	check_errno(EBADF, ioctl(fd, IVS_IOC_DMABUF, &(struct ivs_ioc_dmabuf){.len = PAGE}),
		    "writer: cannot export a dma-buf, which could be read");
	close(fd);
}

static void other(void)
{
	check_errno(EACCES, open_number(device_number, O_RDONLY), "other: cannot open for reading");
	check_errno(EACCES, open_number(device_number, O_RDWR), "other: cannot open for writing");
}

int suite_user(int argc, char **argv)
{
	gid_t group;
	char path[32];

	if (argc != 2)
		return -1;
	group = (gid_t)atoi(argv[1]);
	snprintf(path, sizeof(path), "/dev/ivshmem%d", device_number);
	need(!chown(path, 0, group) && !chmod(path, 0660), "set the node's group, mode 0660");
	as_user(MEMBER, group, member);
	as_user(OTHER, OTHER, other);
	need(!chmod(path, 0640), "set mode 0640");
	as_user(MEMBER, group, reader);
	as_user(OTHER, OTHER, other);
	need(!chmod(path, 0620), "set mode 0620");
	as_user(MEMBER, group, writer);
	need(!chown(path, 0, 0) && !chmod(path, 0600), "restore the node's owner and mode");
	as_user(MEMBER, group, other);
	return 0;
}
