// SPDX-License-Identifier: BSD-3-Clause
/*
 * Measure how much of the guest's memory a member of the device node's group can use.
 *
 * driver-test worst poor     export dma-bufs of a region for whose struct pages the guest has too
 *                            little memory
 * driver-test worst limits   use all files, eventfds and dma-bufs that the device permits
 */
#include "common.h"

#include <sys/klog.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define MEMBER 2000
#define GROUP 2001
#define ATTEMPTS 300

/* More than the limits in ivshmem(4), because a debug kernel takes more memory. */
#define FILES_KIB (32 * 1024)
#define DMABUFS_KIB (8 * 1024)
#define STRUCT_PAGES_KIB (8 * 1024)

#define SYSLOG_ACTION_READ_ALL 3

static int export(int fd)
{
	struct ivs_ioc_dmabuf wanted = {.len = PAGE, .flags = O_CLOEXEC};

	return ioctl(fd, IVS_IOC_DMABUF, &wanted);
}

static long available_kib(void)
{
	return number_in("/proc/meminfo", "MemAvailable");
}

/* Return: the number of lines in the kernel's log that contain @text */
static int logged_n(const char *text)
{
	static char log[1 << 18];
	int len = klogctl(SYSLOG_ACTION_READ_ALL, log, sizeof(log) - 1);
	int n = 0;

	need(len >= 0, "the kernel's log can be read");
	log[len] = '\0';
	for (const char *at = log; (at = strstr(at, text)); at++)
		n++;
	return n;
}

static void poor(void)
{
	long before_kib = available_kib();
	int fd = open_device(O_RDWR);
	int refused_n = 0;

	for (int i = 0; i < ATTEMPTS; i++)
		refused_n += export(fd) < 0 && errno == ENOMEM;
	check(refused_n == ATTEMPTS, "%d of %d exports fail with ENOMEM", refused_n, ATTEMPTS);
	check(available_kib() > before_kib - 4096, "failed exports take no memory: %ld KiB",
	      before_kib - available_kib());
	check(map(fd, IVS_MMAP_MEMORY_WC, PAGE, PROT_READ),
	      "the region can still be mapped write-combining");
}

/* Return: the number of vectors for which an eventfd was set that only the driver still holds */
static int leave_eventfds(int fd, int vectors_n)
{
	int set_n = 0;

	for (int vector = 0; vector < vectors_n; vector++) {
		int event = eventfd(0, EFD_CLOEXEC);

		set_n += event >= 0 && !listen_to(fd, (unsigned int)vector, event);
		close(event);
	}
	return set_n;
}

/*
 * Open as many files as the driver permits, one fewer than @fds has room for. Set an eventfd for
 * each vector of each file.
 */
static void open_all(int fds[IVS_DRIVER_FILES_MAX + 1])
{
	int vectors_n = atoi(attribute("vectors"));
	long before_kib = available_kib();
	int events_n = 0;
	int n = 0;

	while (n <= IVS_DRIVER_FILES_MAX && (fds[n] = open_number(device_number, O_RDWR)) >= 0)
		events_n += leave_eventfds(fds[n++], vectors_n);
	check(n == IVS_DRIVER_FILES_MAX && errno == EMFILE, "%d files can be opened", n);
	check(events_n == n * vectors_n, "each file has %d eventfds, held only by the driver",
	      vectors_n);
	check(before_kib - available_kib() < FILES_KIB, "together they take %ld KiB",
	      before_kib - available_kib());
}

static void export_all(int fd)
{
	int *bufs = calloc(IVS_DRIVER_DMABUFS_MAX + 1, sizeof(*bufs));
	int first = export(fd);
	long before_kib = available_kib();
	int n = 1;

	need(bufs, "memory for the fds");
	need(first >= 0 || errno == EOPNOTSUPP, "export a dma-buf");
	while (first >= 0 && n <= IVS_DRIVER_DMABUFS_MAX && (bufs[n] = export(fd)) >= 0)
		n++;
	if (first >= 0) {
		check(n == IVS_DRIVER_DMABUFS_MAX && errno == EMFILE, "%d dma-bufs can be exported",
		      n);
		check(before_kib - available_kib() < DMABUFS_KIB, "together they take %ld KiB",
		      before_kib - available_kib());
		close(first);
		check((bufs[0] = export(fd)) >= 0, "once one is closed, another can be exported");
	}
	while (first >= 0 && n)
		close(bufs[--n]);
	free(bufs);
}

static void map_all(int fd)
{
	struct ivs_ioc_info info = info_of(fd);
	long before_kib = number_in("/proc/self/status", "VmPTE");
	long page_tables_kib = (long)(info.memory_len / PAGE * sizeof(uint64_t) / 1024);
	volatile char *memory = map(fd, IVS_MMAP_MEMORY, info.memory_len, PROT_READ);

	need(memory, "map the region");
	for (uint64_t at = 0; at < info.memory_len; at += PAGE)
		(void)memory[at];
	check(number_in("/proc/self/status", "VmPTE") >= before_kib + page_tables_kib,
	      "the page tables of a mapping count as memory of its process");
	munmap((void *)memory, info.memory_len);
}

static void limits(void)
{
	struct rlimit limit = {4096, 4096};
	int fds[IVS_DRIVER_FILES_MAX + 1];

	need(!setrlimit(RLIMIT_NOFILE, &limit), "raise RLIMIT_NOFILE");
	open_all(fds);
	export_all(fds[0]);
	map_all(fds[0]);
}

static bool is_given_back(void *before_kib)
{
	return available_kib() > *(long *)before_kib - STRUCT_PAGES_KIB;
}

static void as_member(void (*run)(void))
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/ivshmem%d", device_number);
	need(!chown(path, 0, GROUP) && !chmod(path, 0660), "set the node's group, mode 0660");
	as_user(MEMBER, GROUP, run);
	need(!chown(path, 0, 0) && !chmod(path, 0600), "restore the node's owner and mode");
}

int suite_worst(int argc, char **argv)
{
	if (argc != 2)
		return -1;
	if (!strcmp(argv[1], "poor")) {
		as_member(poor);
		check(logged_n("KiB more than") == 1, "one log line says how much is missing");
		return 0;
	}
	if (!strcmp(argv[1], "limits")) {
		long before_kib = available_kib();

		as_member(limits);
		check(eventually(is_given_back, &before_kib),
		      "all memory except struct pages is given back");
		close(open_device(O_RDWR));
		return 0;
	}
	return -1;
}
