/* SPDX-License-Identifier: BSD-3-Clause */
/* Floors of a round trip: one cache line for processes that spin, eventfds for those that sleep. */
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "process.h"
#include "ways.h"

#define LINE_LEN 64

static uint32_t *line;
static uint32_t turn;

static const char *line_prepare(size_t len)
{
	(void)len;
	line = shared_memory(LINE_LEN);
	turn = 0;
	return NULL;
}

static void line_start(enum side side)
{
	(void)side;
}

static void line_send(const void *from, size_t len)
{
	(void)from;
	(void)len;
	__atomic_store_n(line, ++turn, __ATOMIC_RELEASE);
}

static void line_receive(void *to, size_t len)
{
	(void)to;
	(void)len;
	turn++;
	while (__atomic_load_n(line, __ATOMIC_ACQUIRE) != turn)
		;
}

static void line_clean(void)
{
	munmap(line, LINE_LEN);
}

static int fds[2]; /* indexed by the side that writes */
static enum side own;

static const char *eventfd_prepare(size_t len)
{
	(void)len;
	for (unsigned int i = 0; i < 2; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC);
		if (fds[i] < 0)
			die("eventfd");
	}
	return NULL;
}

static void eventfd_start(enum side side)
{
	own = side;
}

static void eventfd_send(const void *from, size_t len)
{
	(void)from;
	(void)len;
	if (eventfd_write(fds[own], 1))
		die("eventfd_write");
}

static void eventfd_receive(void *to, size_t len)
{
	eventfd_t value;

	(void)to;
	(void)len;
	if (eventfd_read(fds[!own], &value))
		die("eventfd_read");
}

static void eventfd_clean(void)
{
	close(fds[0]);
	close(fds[1]);
}

const struct way line_way = {
	.name = "cache line",
	.kind = WAY_FLOOR,
	.spins = true,
	.trips_only = true,
	.len_max = 64,
	.prepare = line_prepare,
	.start = line_start,
	.send = line_send,
	.receive = line_receive,
	.clean = line_clean,
};

const struct way eventfd_way = {
	.name = "eventfd",
	.kind = WAY_FLOOR,
	.trips_only = true,
	.len_max = 64,
	.prepare = eventfd_prepare,
	.start = eventfd_start,
	.send = eventfd_send,
	.receive = eventfd_receive,
	.clean = eventfd_clean,
};
