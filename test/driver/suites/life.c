// SPDX-License-Identifier: BSD-3-Clause
/*
 * driver-test life unbind ROUNDS    unbound and bound again, used in all ways meanwhile
 * driver-test life modules ROUNDS   the module comes and goes, but not while it is in use
 */
#include "common.h"

#include <sys/syscall.h>

#include "crew.h"
#include "often.h"

#define KEPT 3 /* files of earlier lives that stay open */

static char bdf[IVS_DRIVER_BDF_LEN];

static void check_zeroes(const struct crew *crew)
{
	size_t words = crew->len / 4;

	often(!crew->memory[0] && !crew->memory[words / 2] && !crew->memory[words - 1],
	      "gone: the memory reads as zeroes");
	if (crew->registers)
		often(!crew->registers[2], "gone: the registers read as zeroes");
}

/* One life of the device. */
static void one_life(struct crew *crew, int number)
{
	bool load = number % 2;

	crew_open(crew);
	crew->memory[0] = 0x600d;
	crew_start(crew, load, number % 4 < 2);
	if (crew->vectors_n && !load)
		often(!ring(crew->fd, crew->self, 0), "rings");
	often(!write_file(bdf, "/sys/bus/pci/drivers/ivshmem/unbind"), "unbound");
	if (!load)
		check_zeroes(crew);
	crew_check_gone(crew);
	crew_stop(crew);
	often(access("/dev/ivshmem0", F_OK), "the node is gone");
	often(!write_file(bdf, "/sys/bus/pci/drivers/ivshmem/bind"), "bound");
	often(eventually(is_there, NULL), "there is a new one");
}

static void unbind(int rounds)
{
	static struct crew crews[KEPT];
	int fd;

	for (int i = 0; i < rounds; i++) {
		struct crew *crew = &crews[i % KEPT];

		if (i >= KEPT) {
			crew_check_gone(crew);
			crew_close(crew);
		}
		one_life(crew, i);
	}
	fd = open_device(O_RDWR);
	check(*(volatile uint32_t *)map(fd, IVS_MMAP_MEMORY, PAGE, PROT_READ) == 0x600d,
	      "the region is as it was");
	for (int i = 0; i < KEPT; i++)
		crew_close(&crews[i]);
	often_report();
}

static int remove_module(void)
{
	return (int)syscall(SYS_delete_module, "ivshmem", O_NONBLOCK);
}

static int insert_module(void)
{
	int fd = open("/modules/ivshmem.ko", O_RDONLY | O_CLOEXEC);
	int result = (int)syscall(SYS_finit_module, fd, "", 0);

	close(fd);
	return result;
}

/* Being waited for: the last reference goes a moment after the file. */
static bool is_removed(void *unused)
{
	(void)unused;
	return !remove_module();
}

static void check_in_use(const char *what)
{
	check(remove_module() < 0 && (errno == EBUSY || errno == EAGAIN), "not removed with %s",
	      what);
	check(info_of(open_number(device_number, O_RDONLY)).version == IVS_DRIVER_VERSION,
	      "and it goes on working");
}

/* In a process of its own: what it has opened is closed in the end. */
static void hold(int (*take)(int fd), const char *what)
{
	int status;
	pid_t pid = fork();

	need(pid >= 0, "fork");
	if (!pid) {
		int fd = open_device(O_RDWR);

		need(!take(fd), "take %s", what);
		check_in_use(what);
		_exit(0);
	}
	need(waitpid(pid, &status, 0) == pid && !status, "hold %s", what);
	check(eventually(is_removed, NULL), "removed without");
	check(!insert_module(), "and inserted again");
	need(eventually(is_there, NULL), "the device is there");
}

static int take_file(int fd)
{
	return fd < 0;
}

static int take_mapping(int fd)
{
	volatile char *memory = map(fd, IVS_MMAP_MEMORY, PAGE, PROT_READ | PROT_WRITE);

	memory[0] = 1;
	return close(fd);
}

static int take_status(int fd)
{
	return !map_status(fd)->gone ? close(fd) : -1;
}

static int take_dmabuf(int fd)
{
	struct ivs_ioc_dmabuf wanted = {.len = PAGE};
	int buf = ioctl(fd, IVS_IOC_DMABUF, &wanted);

	if (buf < 0)
		note("no dma-buf here: errno %d", errno);
	return buf < 0 ? 0 : close(fd);
}

static void modules(int rounds)
{
	hold(take_file, "a file");
	hold(take_mapping, "a mapping");
	hold(take_status, "the status page mapped");
	hold(take_dmabuf, "a dma-buf");
	for (int i = 0; i < rounds; i++) {
		often(eventually(is_removed, NULL), "removed");
		often(access("/sys/class/ivshmem", F_OK), "its class is gone");
		often(!insert_module(), "inserted");
		often(eventually(is_there, NULL), "the device is there");
	}
	often_report();
}

int suite_life(int argc, char **argv)
{
	if (argc != 3)
		return -1;
	strcpy(bdf, info_of(open_number(device_number, O_RDONLY)).bdf);
	/* The file that told it must not be in the way. */
	close_range(3, ~0U, 0);
	if (!strcmp(argv[1], "unbind"))
		unbind(atoi(argv[2]));
	else
		modules(atoi(argv[2]));
	return 0;
}
