// SPDX-License-Identifier: BSD-3-Clause
/*
 * driver-test life unbind ROUNDS    unbind and bind the device while it is in use
 * driver-test life modules ROUNDS   remove the module (must fail while in use) and reinsert it
 */
#include "common.h"

#include <sys/syscall.h>

#include "crew.h"

#define CREWS 3 /* number of files that remain open after their device has been unbound */

static char bdf[IVS_DRIVER_BDF_LEN];

static void check_zeroes(const struct crew *crew)
{
	size_t words = crew->len / 4;

	check_repeated(!crew->memory[0] && !crew->memory[words / 2] && !crew->memory[words - 1],
		       "gone: the region reads as zeroes");
	check_repeated(!crew->by_path[0] && !crew->by_path[words - 1],
		       "gone: the region reads as zeroes by path");
	if (crew->registers)
		check_repeated(!crew->registers[2], "gone: the registers read as zeroes");
}

/* Open the device, use it, unbind it, and bind it again. */
static void one_life(struct crew *crew, int number)
{
	bool load = number % 2;

	crew_open(crew);
	crew->memory[0] = 0x600d;
	crew_start(crew, load, number % 4 < 2);
	if (crew->vectors_n && !load)
		check_repeated(!ring(crew->device_fd, crew->self, 0), "ring");
	check_repeated(!write_file(bdf, "/sys/bus/pci/drivers/ivshmem/unbind"), "unbind");
	if (!load)
		check_zeroes(crew);
	crew_check_gone(crew);
	crew_stop(crew);
	check_repeated(access("/dev/ivshmem0", F_OK), "the node is gone");
	check_repeated(!write_file(bdf, "/sys/bus/pci/drivers/ivshmem/bind"), "bind");
	check_repeated(eventually(is_there, NULL), "the new node appears");
}

static void unbind(int rounds)
{
	static struct crew crews[CREWS];
	int fd;

	for (int i = 0; i < rounds; i++) {
		struct crew *crew = &crews[i % CREWS];

		if (i >= CREWS) {
			crew_check_gone(crew);
			crew_close(crew);
		}
		one_life(crew, i);
	}
	fd = open_device(O_RDWR);
	check(*(volatile uint32_t *)map(fd, IVS_MMAP_MEMORY, PAGE, PROT_READ) == 0x600d,
	      "the region is unchanged");
	for (int i = 0; i < CREWS; i++)
		crew_close(&crews[i]);
	check_repeated_report();
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

/* For eventually(), because the last reference to the module is dropped some time after close(). */
static bool is_removed(void *unused)
{
	(void)unused;
	return !remove_module();
}

static void check_in_use(const char *what)
{
	check(remove_module() < 0 && (errno == EBUSY || errno == EAGAIN),
	      "the module cannot be removed with %s", what);
	check(info_of(open_number(device_number, O_RDONLY)).version == IVS_DRIVER_VERSION,
	      "the device still works");
}

/*
 * In a child process, take a reference to the module and check that it cannot be removed. When the
 * child exits, the reference is dropped and the module can be removed.
 */
static void hold(int (*take)(int fd), const char *what)
{
	int status;
	pid_t pid = fork();

	need(pid >= 0, "fork");
	if (!pid) {
		int fd = open_device(O_RDWR);

		need(!take(fd), "create %s", what);
		check_in_use(what);
		_exit(0);
	}
	need(waitpid(pid, &status, 0) == pid && !status, "hold %s", what);
	check(eventually(is_removed, NULL), "the module can be removed without %s", what);
	check(!insert_module(), "insert the module");
	need(eventually(is_there, NULL), "the device node appears");
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

static int take_mapping_by_path(int fd)
{
	int path_fd = open_memory(O_RDWR);
	volatile char *memory = map(path_fd, 0, PAGE, PROT_READ | PROT_WRITE);

	memory[0] = 1;
	return close(path_fd) || close(fd);
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
		note("this region cannot be exported: errno %d", errno);
	return buf < 0 ? 0 : close(fd);
}

static void modules(int rounds)
{
	hold(take_file, "an open file");
	hold(take_mapping, "a mapping of the region");
	hold(take_mapping_by_path, "a mapping of the region by path");
	hold(take_status, "a mapping of the status page");
	hold(take_dmabuf, "a dma-buf");
	for (int i = 0; i < rounds; i++) {
		check_repeated(eventually(is_removed, NULL), "remove the module");
		check_repeated(access("/sys/class/ivshmem", F_OK), "its class is gone");
		check_repeated(!insert_module(), "insert the module");
		check_repeated(eventually(is_there, NULL), "the device node appears");
	}
	check_repeated_report();
}

int suite_life(int argc, char **argv)
{
	if (argc != 3)
		return -1;
	strcpy(bdf, info_of(open_number(device_number, O_RDONLY)).bdf);
	/* Close the file that was opened to read the PCI address. */
	close_range(3, ~0U, 0);
	if (!strcmp(argv[1], "unbind"))
		unbind(atoi(argv[2]));
	else
		modules(atoi(argv[2]));
	return 0;
}
