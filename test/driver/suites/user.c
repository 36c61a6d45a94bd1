// SPDX-License-Identifier: BSD-3-Clause
/*
 * driver-test user GROUP: what users may do when the device node belongs to a group, mode 0660; and
 * what a group that may only read can do (mode 0640).
 */
#include "common.h"

#include <grp.h>
#include <sys/stat.h>

#define MEMBER 2000
#define OTHER 3000

static void become(uid_t user, gid_t group)
{
	need(!setgroups(1, &group) && !setgid(group) && !setuid(user), "become user %d", user);
}

static void member(void)
{
	int fd = open_device(O_RDWR);
	struct ivs_ioc_info info = info_of(fd);
	struct ivs_ioc_dmabuf wanted = {.len = PAGE, .flags = O_CLOEXEC};
	int event = eventfd(0, EFD_CLOEXEC);
	char *memory = map(fd, IVS_MMAP_MEMORY, info.memory_len, PROT_READ | PROT_WRITE);

	check(memory, "a member maps the memory");
	memory[0] = 1;
	check(!mlock(memory, PAGE) || errno == EPERM || errno == ENOMEM, "mlock is as limits are");
	munmap(memory, info.memory_len);
	memory = map(fd, IVS_MMAP_MEMORY_WC, info.memory_len, PROT_READ | PROT_WRITE);
	check(memory, "write-combining");
	munmap(memory, info.memory_len);
	if (info.flags & IVS_INFO_REGISTERS)
		check(map(fd, IVS_MMAP_REGISTERS, PAGE, PROT_READ | PROT_WRITE), "the registers");
	check(map(fd, IVS_MMAP_STATUS, PAGE, PROT_READ), "the status page");
	check(!listen_to(fd, 0, event), "listens");
	check(!ring(fd, (unsigned int)info.position, 0), "rings");
	check(take_event(event, TIMEOUT_MS), "hears");
	fd = ioctl(fd, IVS_IOC_DMABUF, &wanted);
	check(fd >= 0 || errno == EOPNOTSUPP, "makes a dma-buf, if that can be");
	check(*attribute("size") != '(', "reads sysfs");
}

static void reader(void)
{
	int fd = open_number(device_number, O_RDWR);

	check_errno(EACCES, fd, "who may only read cannot open for writing");
	fd = open_device(O_RDONLY);
	check(map(fd, IVS_MMAP_MEMORY, PAGE, PROT_READ), "maps readable");
	check(!map(fd, IVS_MMAP_MEMORY, PAGE, PROT_READ | PROT_WRITE), "and not writable");
	check(!map(fd, IVS_MMAP_REGISTERS, PAGE, PROT_READ), "nor the registers");
	check_errno(EBADF, ring(fd, 0, 0), "does not ring");
	check_errno(EBADF, listen_to(fd, 0, -1), "does not listen");
	check_errno(EBADF, ioctl(fd, IVS_IOC_DMABUF, &(struct ivs_ioc_dmabuf){.len = PAGE}),
		    "makes no dma-buf");
	close(fd);
}

static void other(void)
{
	check_errno(EACCES, open_number(device_number, O_RDONLY), "others cannot open for reading");
	check_errno(EACCES, open_number(device_number, O_RDWR), "nor for writing");
}

/* In a process of its own, whose cases go on where ours are. */
static void as_user(uid_t user, gid_t group, void (*run)(void))
{
	int status;
	pid_t pid = fork();

	need(pid >= 0, "fork");
	if (pid) {
		need(waitpid(pid, &status, 0) == pid && !status, "user %d", user);
		return;
	}
	become(user, group);
	run();
	_exit(0);
}

int suite_user(int argc, char **argv)
{
	gid_t group;
	char path[32];

	if (argc != 2)
		return -1;
	group = (gid_t)atoi(argv[1]);
	snprintf(path, sizeof(path), "/dev/ivshmem%d", device_number);
	need(!chown(path, 0, group) && !chmod(path, 0660), "give the node to a group");
	as_user(MEMBER, group, member);
	as_user(OTHER, OTHER, other);
	need(!chmod(path, 0640), "who may only read");
	as_user(MEMBER, group, reader);
	as_user(OTHER, OTHER, other);
	need(!chown(path, 0, 0) && !chmod(path, 0600), "as it was");
	as_user(MEMBER, group, other);
	return 0;
}
