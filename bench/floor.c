/* SPDX-License-Identifier: BSD-3-Clause */
#include "floor.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "clients.h"

#define BATCH_MAX 32
#define EVENTS_MAX 64
#define SEND_BUFFER_LEN 8192 /* as in src/server/client.c */
#define WAIT_MS 5000
#define NUMBER_LEN 8

/* Storage for one message of a batch. The same storage is used for every batch. */
struct message {
	uint64_t number;
	struct iovec iov;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
};

/**
 * struct sender - state of the floor process
 * @next:     for each client, the index of the next message to send to it
 * @socks:    for each client, its connected socket
 * @eventfds: an eventfd for each vector of each client, at index client * @vectors_n + vector
 * @left:     true once clients 0, 2, 4 ... have left; the messages to send are then their leaves
 */
struct sender {
	unsigned int clients_n;
	unsigned int vectors_n;
	unsigned int batch;
	bool left;
	int listener_fd;
	int memory_fd;
	int epoll_fd;
	int *socks;
	int *eventfds;
	unsigned int *next;
	struct message messages[BATCH_MAX];
	struct mmsghdr hdrs[BATCH_MAX];
};

static int64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * IVS_NS_PER_S + now.tv_nsec;
}

static void sender_prepare(struct sender *self)
{
	for (unsigned int i = 0; i < BATCH_MAX; i++) {
		struct message *msg = &self->messages[i];
		struct msghdr *hdr = &self->hdrs[i].msg_hdr;
		struct cmsghdr *cmsg;

		msg->iov = (struct iovec){&msg->number, NUMBER_LEN};
		*hdr = (struct msghdr){.msg_iov = &msg->iov, .msg_iovlen = 1};
		hdr->msg_control = msg->control.bytes;
		hdr->msg_controllen = sizeof(msg->control.bytes);
		cmsg = CMSG_FIRSTHDR(hdr);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	}
}

static void sender_fill(struct sender *self, unsigned int place, uint64_t number, int fd)
{
	struct message *msg = &self->messages[place];
	struct msghdr *hdr = &self->hdrs[place].msg_hdr;

	msg->number = number;
	hdr->msg_control = fd < 0 ? NULL : msg->control.bytes;
	hdr->msg_controllen = fd < 0 ? 0 : sizeof(msg->control.bytes);
	if (fd >= 0)
		memcpy(CMSG_DATA(&msg->control.align), &fd, sizeof(fd));
}

static unsigned int sender_messages_n(const struct sender *self)
{
	if (self->left)
		return (self->clients_n + 1) / 2;
	return BENCH_GREETING_LEN + self->clients_n * self->vectors_n;
}

/*
 * Write the message with index @at for client @id into the batch at @place. The messages are the
 * greeting, the vectors of the other peers, and the client's own vectors.
 */
static void sender_fill_message(struct sender *self, unsigned int place, unsigned int id,
				unsigned int at)
{
	unsigned int peer;
	unsigned int vector;

	if (self->left) {
		sender_fill(self, place, 2 * at, -1);
		return;
	}
	if (at < BENCH_GREETING_LEN) {
		const uint64_t numbers[BENCH_GREETING_LEN] = {0, id, UINT64_MAX};

		sender_fill(self, place, numbers[at], at == 2 ? self->memory_fd : -1);
		return;
	}
	at -= BENCH_GREETING_LEN;
	peer = at / self->vectors_n;
	vector = at % self->vectors_n;
	if (peer == self->clients_n - 1)
		peer = id;
	else if (peer >= id)
		peer++;
	sender_fill(self, place, peer, self->eventfds[peer * self->vectors_n + vector]);
}

/* Send messages to one client until its socket is full. Return: 0 or -errno. */
static int sender_send_to(struct sender *self, unsigned int id)
{
	unsigned int end = sender_messages_n(self);

	while (self->next[id] < end) {
		unsigned int n = end - self->next[id];
		int sent;

		n = n < self->batch ? n : self->batch;
		for (unsigned int i = 0; i < n; i++)
			sender_fill_message(self, i, id, self->next[id] + i);
		if (self->batch == 1) {
			sent = sendmsg(self->socks[id], &self->hdrs[0].msg_hdr,
				       MSG_DONTWAIT | MSG_NOSIGNAL) == NUMBER_LEN
				       ? 1
				       : -1;
		} else {
			sent = sendmmsg(self->socks[id], self->hdrs, n,
					MSG_DONTWAIT | MSG_NOSIGNAL);
		}
		if (sent < 0)
			return errno == EAGAIN ? 0 : -errno;
		self->next[id] += (unsigned int)sent;
		if ((unsigned int)sent < n)
			return 0;
	}
	return 0;
}

/* Send to each client until its socket is full, then to clients whose sockets have drained. */
static int sender_send_all(struct sender *self)
{
	struct epoll_event events[EVENTS_MAX];
	unsigned int end = sender_messages_n(self);
	unsigned int first = self->left;
	unsigned int step = 1 + self->left;
	unsigned int done_n = 0;
	unsigned int want_n = 0;
	int result;

	for (unsigned int id = first; id < self->clients_n; id += step) {
		self->next[id] = 0;
		result = sender_send_to(self, id);
		if (result)
			return result;
		want_n++;
		done_n += self->next[id] == end;
	}
	while (done_n < want_n) {
		int n = epoll_wait(self->epoll_fd, events, EVENTS_MAX, WAIT_MS);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			return -ETIMEDOUT;
		for (int i = 0; i < n; i++) {
			unsigned int id = events[i].data.u32;

			if (self->next[id] == end)
				continue;
			result = sender_send_to(self, id);
			if (result)
				return result;
			done_n += self->next[id] == end;
		}
	}
	return 0;
}

static int sender_accept(struct sender *self, unsigned int id)
{
	int buffer_len = SEND_BUFFER_LEN;
	struct epoll_event event = {.events = EPOLLOUT | EPOLLET, .data.u32 = id};
	int sock = accept4(self->listener_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (sock < 0)
		return -errno;
	self->socks[id] = sock;
	if (setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &buffer_len, sizeof(buffer_len)))
		return -errno;
	for (unsigned int i = 0; i < self->vectors_n; i++) {
		int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		if (fd < 0)
			return -errno;
		self->eventfds[id * self->vectors_n + i] = fd;
	}
	return epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, sock, &event) ? -errno : 0;
}

static void sender_close(struct sender *self, unsigned int id)
{
	ivs_fd_close(&self->socks[id]);
	for (unsigned int i = 0; i < self->vectors_n; i++)
		ivs_fd_close(&self->eventfds[id * self->vectors_n + i]);
}

static int wait_readable(int fd)
{
	struct pollfd waiting = {.fd = fd, .events = POLLIN};
	int n = poll(&waiting, 1, WAIT_MS);

	return n < 0 ? -errno : n ? 0 : -ETIMEDOUT;
}

static int sender_run(struct sender *self, int control, struct bench_floor_cost *cost)
{
	int64_t since = cpu_ns();
	char byte;
	int result;

	for (unsigned int id = 0; id < self->clients_n; id++) {
		result = wait_readable(self->listener_fd);
		if (!result)
			result = sender_accept(self, id);
		if (result)
			return result;
	}
	cost->accept_ns = cpu_ns() - since;

	since = cpu_ns();
	result = sender_send_all(self);
	cost->join_ns = cpu_ns() - since;
	if (result)
		return result;

	result = wait_readable(control);
	if (result)
		return result;
	if (read(control, &byte, 1) != 1)
		return -EPIPE;
	since = cpu_ns();
	for (unsigned int id = 0; id < self->clients_n; id += 2)
		sender_close(self, id);
	cost->close_ns = cpu_ns() - since;

	self->left = true;
	since = cpu_ns();
	result = sender_send_all(self);
	cost->leave_ns = cpu_ns() - since;
	return result;
}

static int sender_init(struct sender *self)
{
	unsigned int eventfds_n = self->clients_n * self->vectors_n;

	self->socks = malloc(self->clients_n * sizeof(int));
	self->eventfds = malloc(eventfds_n * sizeof(int));
	self->next = calloc(self->clients_n, sizeof(*self->next));
	self->memory_fd = memfd_create("bench-floor", MFD_CLOEXEC);
	self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!self->socks || !self->eventfds || !self->next)
		return -ENOMEM;
	if (self->memory_fd < 0 || self->epoll_fd < 0)
		return -errno;
	memset(self->socks, 0xff, self->clients_n * sizeof(int));
	memset(self->eventfds, 0xff, eventfds_n * sizeof(int));
	sender_prepare(self);
	return 0;
}

static int listen_at(const char *path, int *out)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	IVS_OWNED_FD sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	unlink(path);
	if (sock < 0 || bind(sock, (const struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(sock, SOMAXCONN))
		return -errno;
	*out = ivs_fd_take(&sock);
	return 0;
}

int bench_floor_start(const char *path, unsigned int clients_n, unsigned int vectors_n,
		      unsigned int batch, struct bench_floor *out)
{
	static struct sender self;
	struct bench_floor_cost cost = {0};
	IVS_OWNED_FD listener = -1;
	pid_t parent = getpid();
	int pair[2];
	int result = listen_at(path, &listener);

	if (result)
		return result;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	self = (struct sender){.clients_n = clients_n,
			       .vectors_n = vectors_n,
			       .batch = batch,
			       .listener_fd = listener};
	out->sender.pid = fork();
	if (out->sender.pid < 0) {
		result = -errno;
		close(pair[0]);
		close(pair[1]);
		return result;
	}
	if (!out->sender.pid) {
		bench_sender_become(parent);
		close(pair[0]);
		result = sender_init(&self);
		if (!result)
			result = sender_run(&self, pair[1], &cost);
		if (!result && write(pair[1], &cost, sizeof(cost)) != sizeof(cost))
			result = -EPIPE;
		if (!result)
			result = wait_readable(pair[1]); /* wait until bench_floor_stop() */
		_exit(result ? 1 : 0);
	}
	close(pair[1]);
	out->control_fd = pair[0];
	return 0;
}

int bench_floor_leave(struct bench_floor *floor)
{
	return send(floor->control_fd, "", 1, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

int bench_floor_cost(struct bench_floor *floor, struct bench_floor_cost *out)
{
	int result = wait_readable(floor->control_fd);

	if (result)
		return result;
	return read(floor->control_fd, out, sizeof(*out)) == sizeof(*out) ? 0 : -EPIPE;
}

void bench_floor_stop(struct bench_floor *floor)
{
	char how[BENCH_WHY_LEN];

	ivs_fd_close(&floor->control_fd);
	bench_sender_stop(&floor->sender, how, sizeof(how));
}
