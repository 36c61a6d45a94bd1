// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a member of the device node's group can cost the guest at worst.
 *
 * driver-test worst poor     export dma-bufs of a region for whose struct pages the guest has too
 *                            little memory
 */
#include "common.h"

#include <sys/klog.h>
#include <sys/stat.h>

#define MEMBER 2000
#define GROUP 2001
#define ATTEMPTS 300

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
	check(available_kib() > before_kib - 4096, "they take no memory: %ld KiB",
	      before_kib - available_kib());
	check(map(fd, IVS_MMAP_MEMORY_WC, PAGE, PROT_READ), "the region can be mapped by any type");
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
	return -1;
}
