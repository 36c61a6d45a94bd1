// SPDX-License-Identifier: BSD-3-Clause
/*
 * driver-test events HOST: test doorbells, eventfds and read(2). HOST is the id of a peer on the
 * host.
 */
#include "common.h"

#include <sys/resource.h>

#define VECTORS_MAX IVS_LINUX_VECTORS_MAX

static unsigned int vectors_n;
static unsigned int self;
static unsigned int host;
static const struct ivs_driver_status *status;

static bool count_has_grown(void *before)
{
	uint64_t *was = before; /* [0]: the vector, [1]: its previous count */

	return status->counts[was[0]] > was[1];
}

/* Ring one of the guest's own vectors, and wait until the driver has counted the interrupt. */
static void ring_self(int fd, unsigned int vector)
{
	uint64_t was[2] = {vector, status->counts[vector]};

	need(!ring(fd, self, vector), "ring vector %u", vector);
	need(eventually(count_has_grown, was), "vector %u is counted", vector);
}

static int new_event(void)
{
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	need(event >= 0, "create an eventfd");
	return event;
}

static void test_each(int fd)
{
	static int events[VECTORS_MAX];
	unsigned int wrong_n = 0;

	for (unsigned int i = 0; i < vectors_n; i++) {
		events[i] = new_event();
		need(!listen_to(fd, i, events[i]), "listen to vector %u", i);
	}
	for (unsigned int i = 0; i < vectors_n; i++) {
		uint64_t before = count_of(i);

		ask("ring %u", i);
		check(take_event(events[i], TIMEOUT_MS), "the host rings vector %u", i);
		check(count_of(i) > before && count_of(i) == status->counts[i],
		      "vector %u: counted in sysfs and in the status page", i);
		for (unsigned int other = 0; other < vectors_n; other++)
			wrong_n += take_event(events[other], 0) != 0;
	}
	check(!wrong_n, "%u eventfds of other vectors were signalled", wrong_n);
	for (unsigned int i = 0; i < vectors_n; i++) {
		ring_self(fd, i);
		check(take_event(events[i], TIMEOUT_MS), "we ring our own vector %u", i);
		close(events[i]);
		check(!listen_to(fd, i, -1), "vector %u: remove the eventfd", i);
	}
}

static void test_host(int fd)
{
	volatile uint32_t *registers;

	for (unsigned int i = 0; i < vectors_n && i < 4; i++) {
		check(!ring(fd, host, i), "ring the host's vector %u", i);
		ask("rung %u", i);
		check(true, "the host receives the doorbell on vector %u", i);
	}
	registers = map(fd, IVS_MMAP_REGISTERS, PAGE, PROT_READ | PROT_WRITE);
	if (!registers) {
		note("the registers cannot be mapped");
		return;
	}
	registers[IVS_REG_DOORBELL / 4] = IVS_DOORBELL(host, 0);
	ask("rung 0");
	check(true, "the host receives a doorbell that was rung through the registers");
	registers[IVS_REG_DOORBELL / 4] = IVS_DOORBELL(host, 60000);
	registers[IVS_REG_DOORBELL / 4] = IVS_DOORBELL(60000, 0);
	munmap((void *)registers, PAGE);
}

static void test_change(int fd)
{
	int first = new_event();
	int second = new_event();
	int both;

	listen_to(fd, 0, first);
	check(!listen_to(fd, 0, second), "set a second eventfd");
	ring_self(fd, 0);
	check(take_event(second, TIMEOUT_MS), "the second eventfd is signalled");
	check(!take_event(first, QUIET_MS), "the replaced eventfd is not signalled");
	check(!listen_to(fd, 0, -1), "remove the eventfd");
	check(!listen_to(fd, 0, -1), "remove the eventfd again");
	ring_self(fd, 0);
	check(!take_event(second, QUIET_MS), "the removed eventfd is not signalled");
	check(!listen_to(fd, 0, second) && !listen_to(fd, 0, second), "set an eventfd twice");
	if (vectors_n > 1)
		check(!listen_to(fd, 1, second), "set it for another vector, too");
	ring_self(fd, 0);
	check(take_event(second, TIMEOUT_MS) == 1, "signalled once for one doorbell");
	if (vectors_n > 1) {
		ring_self(fd, 1);
		check(take_event(second, TIMEOUT_MS) == 1, "signalled once for the other vector");
	}
	both = open_device(O_RDWR);
	listen_to(both, 0, first);
	ring_self(fd, 0);
	check(take_event(first, TIMEOUT_MS) && take_event(second, TIMEOUT_MS),
	      "the eventfds of two open files are signalled");
	close(both);
	ring_self(fd, 0);
	check(take_event(second, TIMEOUT_MS) && !take_event(first, QUIET_MS),
	      "a closed file's eventfd is not signalled");
	close(second);
	ring_self(fd, 0);
	check(true, "a doorbell for a closed eventfd is harmless");
	close(first);
}

/*
 * An eventfd whose counter has reached its maximum, so that write(2) would block, does not block
 * the driver.
 */
static void test_full(int fd)
{
	int event = new_event();
	uint64_t nearly = UINT64_MAX - 1;

	need(write(event, &nearly, sizeof(nearly)) == sizeof(nearly), "fill an eventfd");
	listen_to(fd, 0, event);
	ring_self(fd, 0);
	ring_self(fd, 0);
	check(true, "a full eventfd does not block the driver");
	listen_to(fd, 0, -1);
	close(event);
}

static void test_processes(int fd)
{
	int event = new_event();
	int said[2];
	char answer = 0;
	pid_t pid;

	need(!pipe2(said, O_CLOEXEC), "create a pipe");
	pid = fork();
	need(pid >= 0, "fork");
	if (!pid) {
		int own_event = new_event();
		int own = open_device(O_RDWR);

		answer = listen_to(own, 0, own_event) ? 'e' : 'r';
		(void)!write(said[1], &answer, 1);
		answer = take_event(own_event, TIMEOUT_MS) ? 'y' : 'n';
		(void)!write(said[1], &answer, 1);
		_exit(0);
	}
	listen_to(fd, 0, event);
	check(read(said[0], &answer, 1) == 1 && answer == 'r', "a second process listens");
	ask("ring 0");
	check(take_event(event, TIMEOUT_MS), "the first process is signalled");
	check(read(said[0], &answer, 1) == 1 && answer == 'y', "the second process is signalled");
	waitpid(pid, NULL, 0);
	close(said[0]);
	close(said[1]);
	listen_to(fd, 0, -1);
	close(event);
}

static short polled(int fd)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};

	return poll(&poller, 1, 0) < 0 ? -1 : poller.revents;
}

/* Read from the file until EAGAIN. Return: all lines that were read */
static const char *read_all(int fd)
{
	static char text[VECTORS_MAX * 32];
	size_t len = 0;
	ssize_t got;

	while ((got = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)got;
	text[len] = '\0';
	return text;
}

static void test_read(int fd)
{
	int first = open_device(O_RDONLY | O_NONBLOCK);
	int second = open_device(O_RDWR | O_NONBLOCK);
	void *nowhere = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int last = vectors_n - 1;
	char expected[64];
	char bytes[64];
	size_t len = 0;

	check_errno(EAGAIN, read(first, bytes, sizeof(bytes)), "read: EAGAIN after open");
	check(!polled(first), "poll: not readable after open");
	check(!read(first, bytes, 0), "read: 0 bytes requested");
	ring_self(fd, last);
	check(polled(first) == POLLIN && polled(second) == POLLIN, "poll: both files are readable");
	snprintf(expected, sizeof(expected), "%u %lu\n", last, count_of(last));
	check(!strcmp(read_all(first), expected), "read: \"VECTOR COUNT\" from the first file");
	check(!strcmp(read_all(second), expected), "read: the same from the second file");
	check(!polled(first) && !polled(second), "poll: neither file is readable afterwards");
	ring_self(fd, 0);
	ring_self(fd, 0);
	snprintf(expected, sizeof(expected), "0 %lu\n", count_of(0));
	check(!strcmp(read_all(first), expected), "read: one line for two doorbells");
	while (len < sizeof(bytes) && read(second, bytes + len, 1) == 1) {
		len++;
		if (len == 1)
			check(polled(second) == POLLIN, "poll: readable with half a line left");
	}
	check(len == strlen(expected) && !memcmp(bytes, expected, len), "read: byte by byte");
	ring_self(fd, 0);
	check_errno(EFAULT, read(first, nowhere, 8), "read: bad address");
	snprintf(expected, sizeof(expected), "0 %lu\n", count_of(0));
	check(!strcmp(read_all(first), expected), "read: the line is still there after EFAULT");
	for (unsigned int i = 0; i < vectors_n; i++)
		ring_self(fd, i);
	check(read(first, bytes, sizeof(bytes)) > 0 && strchr(bytes, '\n'), "read: one line");
	for (len = 1; len < vectors_n; len++)
		check(read(first, bytes, sizeof(bytes)) > 0, "read: the line of vector %zu", len);
	check_errno(EAGAIN, read(first, bytes, sizeof(bytes)), "read: EAGAIN after all lines");
	close(first);
	close(second);
}

static void test_blocking(int fd)
{
	int waits = open_device(O_RDONLY);
	char text[64] = "";
	char expected[64];

	ask("ring-soon 0");
	check(read(waits, text, sizeof(text) - 1) > 0, "read: blocks until a doorbell arrives");
	snprintf(expected, sizeof(expected), "0 %lu\n", count_of(0));
	check(!strcmp(text, expected), "read: its vector and count");
	ask("ring-soon 0");
	check(poll(&(struct pollfd){.fd = waits, .events = POLLIN}, 1, TIMEOUT_MS) == 1,
	      "poll: blocks until a doorbell arrives");
	close(waits);
	(void)fd;
}

static void test_open_files(void)
{
	struct rlimit limit = {2 * IVS_DRIVER_FILES_MAX, 2 * IVS_DRIVER_FILES_MAX};
	int fds[IVS_DRIVER_FILES_MAX + 1];
	int count = 0;

	need(!setrlimit(RLIMIT_NOFILE, &limit), "raise RLIMIT_NOFILE");
	while (count <= IVS_DRIVER_FILES_MAX &&
	       (fds[count] = open_number(device_number, O_RDONLY)) >= 0)
		count++;
	/* The suite itself already has the device open once. */
	check(count == IVS_DRIVER_FILES_MAX - 1, "%d more files can be opened", count);
	check(count <= IVS_DRIVER_FILES_MAX && errno == EMFILE, "the next open fails with EMFILE");
	while (count)
		close(fds[--count]);
	close(open_device(O_RDONLY));
	check(true, "after closing them, a file can be opened");
}

int suite_events(int argc, char **argv)
{
	int fd = open_device(O_RDWR);

	if (argc != 2)
		return -1;
	host = (unsigned int)atoi(argv[1]);
	vectors_n = info_of(fd).vectors_n;
	self = (unsigned int)info_of(fd).position;
	status = map_status(fd);
	test_each(fd);
	test_host(fd);
	test_change(fd);
	test_full(fd);
	test_processes(fd);
	test_read(fd);
	test_blocking(fd);
	munmap((void *)status, PAGE);
	test_open_files();
	close(fd);
	return 0;
}
