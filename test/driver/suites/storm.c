// SPDX-License-Identifier: BSD-3-Clause
/*
 * driver-test storm RINGS: the host rings all vectors in turn as fast as it can. Before each ring
 * it writes a sequence number to the start of the region, 8 bytes per vector. Meanwhile threads
 * open and close files and eventfds. Two permanent listeners must see the last number for each
 * vector.
 */
#include "common.h"

#include <pthread.h>
#include <stdatomic.h>

#define VECTORS_MAX IVS_LINUX_VECTORS_MAX
#define STEADY 2 /* number of permanent listeners: the first uses eventfds, the second read(2) */

static atomic_bool stop;
static atomic_ulong turns[3];
static volatile uint64_t *numbers;
static unsigned int vectors_n;
static atomic_ulong last[STEADY][VECTORS_MAX];

static void *come_and_go(void *unused)
{
	(void)unused;
	while (!stop) {
		int fd = open_number(device_number, O_RDWR | O_NONBLOCK);
		int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		bool file_first;
		char text[32];

		for (unsigned int i = 0; i < vectors_n; i++)
			listen_to(fd, i, event);
		for (int i = 0; i < 10; i++)
			(void)!read(fd, text, sizeof(text));
		file_first = turns[0]++ % 2; /* read turns[0] only once: two threads increment it */
		close(file_first ? fd : event);
		close(file_first ? event : fd);
	}
	return NULL;
}

/* Two threads run this function with the same file and replace each other's eventfds. */
static void *replace(void *data)
{
	int fd = *(int *)data;

	while (!stop) {
		int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		listen_to(fd, (unsigned int)(turns[1] % vectors_n), event);
		take_event(event, 1);
		close(event);
		if (turns[1] % 3)
			listen_to(fd, (unsigned int)(turns[1] % vectors_n), -1);
		turns[1]++;
	}
	return NULL;
}

static void *stay_with_events(void *unused)
{
	struct pollfd pollers[VECTORS_MAX];
	int fd = open_device(O_RDWR);

	(void)unused;
	for (unsigned int i = 0; i < vectors_n; i++) {
		pollers[i].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		pollers[i].events = POLLIN;
		need(!listen_to(fd, i, pollers[i].fd), "listen to vector %u", i);
	}
	turns[2]++;
	while (!stop) {
		if (poll(pollers, vectors_n, 100) < 0)
			break;
		for (unsigned int i = 0; i < vectors_n; i++)
			if (take_event(pollers[i].fd, 0))
				last[0][i] = numbers[i];
	}
	for (unsigned int i = 0; i < vectors_n; i++)
		close(pollers[i].fd);
	close(fd);
	return NULL;
}

static void *stay_reading(void *unused)
{
	int fd = open_device(O_RDONLY);
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	unsigned int vector;
	char text[64];

	(void)unused;
	turns[2]++;
	while (!stop) {
		ssize_t len;

		if (poll(&poller, 1, 100) != 1)
			continue;
		len = read(fd, text, sizeof(text) - 1);
		if (len <= 0)
			break;
		text[len] = '\0';
		if (sscanf(text, "%u", &vector) == 1 && vector < vectors_n)
			last[1][vector] = numbers[vector];
	}
	close(fd);
	return NULL;
}

static bool is_ready(void *unused)
{
	(void)unused;
	return turns[2] == STEADY && turns[0] && turns[1];
}

static bool all_seen(void *data)
{
	const atomic_ulong *seen = data;

	for (unsigned int i = 0; i < vectors_n; i++)
		if (seen[i] != numbers[i])
			return false;
	return true;
}

/* A condition for eventually(): doorbells may still be in flight after they have been counted. */
static bool is_quiet(void *unused)
{
	uint64_t count = count_of(0);

	(void)unused;
	usleep(QUIET_MS * 1000);
	return count_of(0) == count;
}

int suite_storm(int argc, char **argv)
{
	void *(*const runs[])(void *) = {come_and_go, come_and_go,	replace,
					 replace,     stay_with_events, stay_reading};
	pthread_t threads[6];
	int fd = open_device(O_RDWR);
	unsigned long turns_before;
	uint64_t count;
	uint64_t now;

	if (argc != 2)
		return -1;
	vectors_n = info_of(fd).vectors_n;
	numbers = map(fd, IVS_MMAP_MEMORY, PAGE, PROT_READ);
	need(numbers, "the region can be mapped");
	for (size_t i = 0; i < 6; i++)
		need(!pthread_create(&threads[i], NULL, runs[i], &fd), "start a thread");
	need(eventually(is_ready, NULL), "all threads are running");
	turns_before = turns[0];
	count = count_of(0);
	ask("storm %s", argv[1]);
	check(turns[0] > turns_before, "%lu files were opened and closed during the storm",
	      turns[0] - turns_before);
	check(eventually(all_seen, last[0]), "eventfds: the last number of each vector is seen");
	check(eventually(all_seen, last[1]), "read: the last number of each vector is seen");
	now = count_of(0);
	check(now > count && now != UINT64_MAX, "vector 0: %lu interrupts", now - count);
	check(numbers[0] > 0 && numbers[vectors_n - 1] > 0, "all vectors: %lu doorbells",
	      numbers[vectors_n - 1]);
	stop = true;
	for (size_t i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	check(eventually(is_quiet, NULL), "no interrupts after the storm");
	close(fd);
	return 0;
}
