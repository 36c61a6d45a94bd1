// SPDX-License-Identifier: BSD-3-Clause
#include "common.h"

#include <grp.h>
#include <stdarg.h>
#include <time.h>

#include "../modules/ivs_walk.h"

int device_number;

void ask(const char *format, ...)
{
	char answer[64] = "";
	va_list args;

	va_start(args, format);
	printf("ask ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
	/* Skip empty lines, which the host sends to wake a suspended guest. */
	while (*answer == '\n' || !*answer)
		need(fgets(answer, sizeof(answer), stdin), "the host replies");
	need(!strcmp(answer, "done\n"), "the host replies \"done\", not \"%s\"", answer);
}

int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

bool eventually(bool (*is_so)(void *data), void *data)
{
	int64_t until = now_ms() + TIMEOUT_MS;

	while (!is_so(data)) {
		if (now_ms() > until)
			return false;
		usleep(2000);
	}
	return true;
}

int open_number(int number, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/ivshmem%d", number);
	return open(path, flags | O_CLOEXEC);
}

int open_device(int flags)
{
	int fd = open_number(device_number, flags);

	need(fd >= 0, "/dev/ivshmem%d can be opened", device_number);
	return fd;
}

int open_memory(int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/class/ivshmem/ivshmem%d/memory", device_number);
	return open(path, flags | O_CLOEXEC);
}

struct ivs_ioc_info info_of(int fd)
{
	struct ivs_ioc_info info = {};

	need(!ioctl(fd, IVS_IOC_INFO, &info), "IVS_IOC_INFO");
	return info;
}

void *map(int fd, uint64_t offset, size_t len, int prot)
{
	void *at = mmap(NULL, len, prot, MAP_SHARED, fd, (off_t)offset);

	return at == MAP_FAILED ? NULL : at;
}

const struct ivs_driver_status *map_status(int fd)
{
	const struct ivs_driver_status *status = map(fd, IVS_MMAP_STATUS, PAGE, PROT_READ);

	need(status, "the status page can be mapped");
	return status;
}

static const char *read_file(const char *path)
{
	static char text[8192];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (len < 0)
		return NULL;
	if (len && text[len - 1] == '\n')
		len--;
	text[len] = '\0';
	return text;
}

const char *attribute(const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/class/ivshmem/ivshmem%d/%s", device_number, name);
	return read_file(path) ?: "(none)";
}

int write_file(const char *text, const char *path_format, ...)
{
	char path[128];
	va_list args;
	int result = 0;
	int fd;

	va_start(args, path_format);
	vsnprintf(path, sizeof(path), path_format, args);
	va_end(args);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		result = -errno;
	close(fd);
	return result;
}

uint64_t count_of(unsigned int vector)
{
	const char *line = attribute("interrupts");
	unsigned int number;
	uint64_t count;

	while (line && sscanf(line, "%u %lu", &number, &count) == 2) {
		if (number == vector)
			return count;
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return UINT64_MAX;
}

int listen_to(int fd, unsigned int vector, int event)
{
	struct ivs_ioc_eventfd wanted = {.vector = vector, .fd = event};

	return ioctl(fd, IVS_IOC_EVENTFD, &wanted);
}

int ring(int fd, unsigned int peer, unsigned int vector)
{
	struct ivs_ioc_ring wanted = {.peer = peer, .vector = vector};

	return ioctl(fd, IVS_IOC_RING, &wanted);
}

uint64_t take_event(int event, int timeout_ms)
{
	struct pollfd poller = {.fd = event, .events = POLLIN};
	uint64_t count = 0;

	if (poll(&poller, 1, timeout_ms) != 1 ||
	    read(event, &count, sizeof(count)) != sizeof(count))
		return 0;
	return count;
}

long number_in(const char *path, const char *word)
{
	char line[256];
	long value = -1;
	FILE *file = fopen(path, "re");

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, word, strlen(word)))
			sscanf(line + strlen(word), "%*[ :]%ld", &value);
	if (file)
		fclose(file);
	return value;
}

static struct ivs_walk walk(const void *addr)
{
	struct ivs_walk asked = {.addr = (uintptr_t)addr};
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/ivs-walk", O_RDONLY | O_CLOEXEC);
	need(fd >= 0 && !ioctl(fd, IVS_WALK, &asked), "the page tables can be read");
	return asked;
}

const char *cache_type(const void *addr)
{
	static char type[sizeof(((struct ivs_walk *)0)->type)];
	struct ivs_walk found = walk(addr);

	memcpy(type, found.type, sizeof(type));
	return type;
}

uint64_t physical(const void *addr)
{
	return walk(addr).physical;
}

bool is_there(void *unused)
{
	int fd = open_number(device_number, O_RDWR);

	(void)unused;
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void become(uid_t user, gid_t group)
{
	need(!setgroups(1, &group) && !setgid(group) && !setuid(user), "become user %d", user);
}

void as_user(uid_t user, gid_t group, void (*run)(void))
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
