/* SPDX-License-Identifier: BSD-3-Clause */
#include "clients.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/fd.h"
#include "interrupt.h"
#include "protocol/socket.h"

#define SILENCE_MS 5000 /* give up if the server sends nothing for this long */
#define EVENTS_MAX 64
#define READS_MAX 64 /* maximum number of messages to read from a client in one turn */
#define CONNECT_TRIES 500

/**
 * struct client - one client of the storm
 * @vectors_n: number of vectors received so far, of all peers
 * @leaves_n:  number of leaves received so far
 * @own_n:     number of the client's own vectors received so far
 * @known:     for each id, the number of vectors received of that peer; reset to 0 by its leave
 */
struct client {
	int sock;
	struct ivs_v0_decoder decoder;
	unsigned int vectors_n;
	unsigned int leaves_n;
	unsigned int own_n;
	int64_t connect_ns;
	int64_t latency_ns;
	uint16_t *known;
};

/**
 * struct bench_clients - all clients of the storm
 * @ids_end:  all ids that the server assigns must be below this number
 * @leaves_n: number of leaves that each remaining client must receive
 * @done_n:   number of clients that have received everything
 */
struct bench_clients {
	unsigned int clients_n;
	unsigned int peers_n;
	unsigned int vectors_n;
	unsigned int ids_end;
	unsigned int leaves_n;
	unsigned int connected_n;
	unsigned int done_n;
	int epoll_fd;
	uint64_t messages_n;
	char why[BENCH_WHY_LEN];
	uint16_t *known;
	struct client clients[];
};

static bool clients_fail(struct bench_clients *all, const char *format, ...) IVS_PRINTF(2, 3);

static bool clients_fail(struct bench_clients *all, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(all->why, sizeof(all->why), format, args);
	va_end(args);
	return false;
}

struct bench_clients *bench_clients_new(unsigned int clients_n, unsigned int peers_n,
					unsigned int vectors_n)
{
	struct bench_clients *all = calloc(1, sizeof(*all) + clients_n * sizeof(all->clients[0]));

	if (!all)
		return NULL;
	all->clients_n = clients_n;
	all->peers_n = peers_n;
	all->vectors_n = vectors_n;
	all->ids_end = peers_n + 64; /* spare ids for servers that never assign an id twice */
	all->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	all->known = calloc((size_t)clients_n * all->ids_end, sizeof(*all->known));
	for (unsigned int i = 0; i < clients_n; i++) {
		all->clients[i].sock = -1;
		all->clients[i].decoder = (struct ivs_v0_decoder)IVS_V0_DECODER_INIT;
		all->clients[i].latency_ns = -1;
		if (all->known)
			all->clients[i].known = all->known + (size_t)i * all->ids_end;
	}
	if (all->known && all->epoll_fd >= 0)
		return all;
	bench_clients_free(all);
	return NULL;
}

static void client_close(struct bench_clients *all, struct client *client)
{
	int fd = ivs_v0_release(&client->decoder);

	ivs_fd_close(&fd);
	if (client->sock >= 0)
		all->connected_n--;
	ivs_fd_close(&client->sock);
}

void bench_clients_free(struct bench_clients *all)
{
	if (!all)
		return;
	for (unsigned int i = 0; i < all->clients_n; i++)
		client_close(all, &all->clients[i]);
	ivs_fd_close(&all->epoll_fd);
	free(all->known);
	free(all);
}

/* Return: whether to retry connect(2): the listener's queue is full, or the server is not listening
 * yet. */
static bool is_temporary(int errnum)
{
	return errnum == EAGAIN || errnum == ECONNREFUSED || errnum == ENOENT || errnum == EINTR;
}

int bench_connect(const char *path)
{
	const struct sockaddr_un any = {.sun_family = AF_UNIX};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const struct timespec pause = {0, 10 * IVS_NS_PER_MS};
	IVS_OWNED_FD sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* A client that has bound an address is told of leaves. */
	if (sock < 0 || bind(sock, (const struct sockaddr *)&any, sizeof(any.sun_family)))
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	for (unsigned int i = 0; i < CONNECT_TRIES && !bench_interrupted(); i++) {
		if (!connect(sock, (const struct sockaddr *)&addr, sizeof(addr)))
			return ivs_fd_take(&sock);
		if (!is_temporary(errno))
			return -errno;
		nanosleep(&pause, NULL);
	}
	return -ETIMEDOUT;
}

bool bench_clients_connect(struct bench_clients *all, const char *path)
{
	for (unsigned int i = 0; i < all->clients_n; i++) {
		struct client *client = &all->clients[i];
		struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

		client->connect_ns = ivs_clock_ns();
		client->sock = bench_connect(path);
		if (client->sock < 0)
			return clients_fail(all, "client %u of %u cannot connect: %s", i + 1,
					    all->clients_n, strerrordesc_np(-client->sock));
		all->connected_n++;
		if (epoll_ctl(all->epoll_fd, EPOLL_CTL_ADD, client->sock, &event))
			return clients_fail(all, "epoll_ctl: %s", strerrordesc_np(errno));
	}
	return true;
}

static bool client_is_complete(const struct bench_clients *all, const struct client *client)
{
	return client->vectors_n == all->peers_n * all->vectors_n &&
	       client->leaves_n == all->leaves_n;
}

static bool client_take_vector(struct bench_clients *all, struct client *client, unsigned int id)
{
	if (client->known[id] == all->vectors_n)
		return clients_fail(all, "a client received more than %u vectors of peer %u",
				    all->vectors_n, id);
	client->known[id]++;
	client->vectors_n++;
	if (id != client->decoder.own_id)
		return true;
	client->own_n++;
	if (client->own_n == all->vectors_n)
		client->latency_ns = ivs_clock_ns() - client->connect_ns;
	return true;
}

static bool client_take_leave(struct bench_clients *all, struct client *client, unsigned int id)
{
	if (!client->known[id])
		return clients_fail(
			all, "a client received a leave for peer %u, which it did not know", id);
	if (!all->leaves_n)
		return clients_fail(
			all, "a client received a leave for peer %u, but no client has left", id);
	client->known[id] = 0;
	client->leaves_n++;
	return true;
}

static bool client_take(struct bench_clients *all, struct client *client,
			struct ivs_v0_message *msg)
{
	ivs_fd_close(&msg->fd);
	all->messages_n++;
	if (msg->id >= all->ids_end)
		return clients_fail(all, "a client received peer %u, but there are %u peers",
				    msg->id, all->peers_n);
	if (msg->type == IVS_V0_VECTOR)
		return client_take_vector(all, client, msg->id);
	if (msg->type == IVS_V0_LEAVE)
		return client_take_leave(all, client, msg->id);
	return true;
}

static bool client_fail(struct bench_clients *all, const struct client *client, const char *what)
{
	return clients_fail(all, "%s: client %u had %u of %u vectors and %u of %u leaves", what,
			    (unsigned int)(client - all->clients), client->vectors_n,
			    all->peers_n * all->vectors_n, client->leaves_n, all->leaves_n);
}

static bool client_read(struct bench_clients *all, struct client *client)
{
	bool was_complete = client_is_complete(all, client);

	for (unsigned int i = 0; i < READS_MAX; i++) {
		struct ivs_v0_message msg;
		int result = ivs_socket_recv_message(client->sock, &client->decoder, &msg, NULL);

		if (result == IVS_SOCKET_E_AGAIN)
			break;
		if (result == IVS_SOCKET_E_GARBAGE)
			return client_fail(all, client, ivs_v0_why(&client->decoder));
		if (result == IVS_SOCKET_E_GONE)
			return client_fail(all, client, "the server closed a connection");
		if (result)
			return client_fail(all, client, "a client lost a message");
		if (!client_take(all, client, &msg))
			return false;
	}
	if (client_is_complete(all, client) != was_complete)
		all->done_n++;
	return true;
}

static bool clients_report_silence(struct bench_clients *all)
{
	for (unsigned int i = 0; i < all->clients_n; i++) {
		const struct client *client = &all->clients[i];

		if (client->sock >= 0 && !client_is_complete(all, client))
			return client_fail(all, client, "no message within 5 s");
	}
	return clients_fail(all, "no message within 5 s");
}

/* Check that each client knows all vectors of every connected peer, and no other vectors. */
static bool clients_check(struct bench_clients *all)
{
	for (unsigned int i = 0; i < all->clients_n; i++) {
		const struct client *client = &all->clients[i];
		unsigned int whole_n = 0;
		unsigned int part_n = 0;

		if (client->sock < 0)
			continue;
		for (unsigned int id = 0; id < all->ids_end; id++) {
			whole_n += client->known[id] == all->vectors_n;
			part_n += client->known[id] && client->known[id] != all->vectors_n;
		}
		if (part_n || whole_n != all->peers_n - all->leaves_n)
			return clients_fail(all,
					    "client %u sees %u of %u peers, %u of them without all "
					    "vectors",
					    i, whole_n + part_n, all->peers_n - all->leaves_n,
					    part_n);
	}
	return true;
}

bool bench_clients_read(struct bench_clients *all)
{
	struct epoll_event events[EVENTS_MAX];

	while (all->done_n < all->connected_n) {
		int n = epoll_wait(all->epoll_fd, events, EVENTS_MAX, SILENCE_MS);

		if (bench_interrupted())
			return clients_fail(all, "interrupted");
		if (n < 0 && errno != EINTR)
			return clients_fail(all, "epoll_wait: %s", strerrordesc_np(errno));
		if (!n)
			return clients_report_silence(all);
		for (int i = 0; i < n; i++) {
			if (!client_read(all, &all->clients[events[i].data.u32]))
				return false;
		}
	}
	return clients_check(all);
}

void bench_clients_leave(struct bench_clients *all)
{
	for (unsigned int i = 0; i < all->clients_n; i += 2) {
		client_close(all, &all->clients[i]);
		all->leaves_n++;
	}
	all->done_n = 0;
}

const char *bench_clients_why(const struct bench_clients *all)
{
	return all->why;
}

uint64_t bench_clients_messages(const struct bench_clients *all)
{
	return all->messages_n;
}

static int compare_times(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a;
	int64_t right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

struct bench_latency bench_clients_latency(const struct bench_clients *all)
{
	int64_t *sorted = calloc(all->clients_n, sizeof(*sorted));
	struct bench_latency latency = {-1, -1, -1};
	unsigned int n = 0;

	if (!sorted)
		return latency;
	for (unsigned int i = 0; i < all->clients_n; i++) {
		if (all->clients[i].latency_ns >= 0)
			sorted[n++] = all->clients[i].latency_ns;
	}
	if (n) {
		qsort(sorted, n, sizeof(*sorted), compare_times);
		latency = (struct bench_latency){sorted[n / 2], sorted[(n * 99 - 1) / 100],
						 sorted[n - 1]};
	}
	free(sorted);
	return latency;
}
