/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel offers: a UNIX stream socket, pipes, POSIX message queues. */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.h"
#include "ways.h"

static int fds[2][2]; /* of each sending side; [0] is to read from, [1] to write to */
static enum side own;

static void write_all(const void *from, size_t len)
{
	const uint8_t *bytes = from;

	while (len) {
		ssize_t n = write(fds[own][1], bytes, len);

		if (n < 0)
			die("write");
		bytes += n;
		len -= (size_t)n;
	}
}

static void read_all(void *to, size_t len)
{
	uint8_t *bytes = to;

	while (len) {
		ssize_t n = read(fds[!own][0], bytes, len);

		if (n <= 0)
			die("read");
		bytes += n;
		len -= (size_t)n;
	}
}

static void start(enum side side)
{
	own = side;
}

static void clean(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		close(fds[i][0]);
		close(fds[i][1]);
	}
}

static const char *unix_prepare(size_t len)
{
	int ends[2];

	(void)len;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		die("socketpair");
	fds[SIDE_ASKS][1] = ends[0];
	fds[SIDE_ANSWERS][0] = dup(ends[0]);
	fds[SIDE_ANSWERS][1] = ends[1];
	fds[SIDE_ASKS][0] = dup(ends[1]);
	return NULL;
}

static const char *pipe_prepare(size_t len)
{
	(void)len;
	if (pipe(fds[0]) || pipe(fds[1]))
		die("pipe");
	return NULL;
}

static size_t mqueue_len;

static const char *mqueue_prepare(size_t len)
{
	struct mq_attr attr = {.mq_maxmsg = 10, .mq_msgsize = (long)len};

	mqueue_len = len;
	for (unsigned int i = 0; i < 2; i++) {
		char name[64];

		snprintf(name, sizeof(name), "/ivs-bench-%d-%u", (int)getpid(), i);
		fds[i][0] = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
		if (fds[i][0] < 0 && !i)
			return "not permitted: see /proc/sys/fs/mqueue/msgsize_max";
		if (fds[i][0] < 0)
			die("mq_open");
		fds[i][1] = dup(fds[i][0]);
		mq_unlink(name);
	}
	return NULL;
}

static void mqueue_send(const void *from, size_t len)
{
	if (mq_send(fds[own][1], from, len, 0))
		die("mq_send");
}

static void mqueue_receive(void *to, size_t len)
{
	(void)len;
	if (mq_receive(fds[!own][0], to, mqueue_len, NULL) < 0)
		die("mq_receive");
}

const struct way unix_way = {
	.name = "AF_UNIX stream",
	.kind = WAY_OTHER,
	.len_max = SIZE_MAX,
	.prepare = unix_prepare,
	.start = start,
	.send = write_all,
	.receive = read_all,
	.clean = clean,
};

const struct way pipe_way = {
	.name = "pipe",
	.kind = WAY_OTHER,
	.len_max = SIZE_MAX,
	.prepare = pipe_prepare,
	.start = start,
	.send = write_all,
	.receive = read_all,
	.clean = clean,
};

const struct way mqueue_way = {
	.name = "POSIX message queue",
	.kind = WAY_OTHER,
	.len_max = 8192,
	.prepare = mqueue_prepare,
	.start = start,
	.send = mqueue_send,
	.receive = mqueue_receive,
	.clean = clean,
};
