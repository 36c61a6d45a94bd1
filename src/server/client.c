/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "daemon/close.h"
#include "daemon/closer.h"

IVS_SYSCALLS(ivs_client_syscalls,
	     {"setsockopt", {IVS_ARG_IS(2, SOL_SOCKET), IVS_ARG_IS(3, SO_SNDBUF)}}, {"eventfd2"},
	     {"recvfrom"}, {"recv"}, {"close"});

/*
 * A full socket holds about 22 messages: the kernel charges 768 bytes for 8 bytes and an fd. This
 * limits each client's fds in flight; messages that do not fit remain due in the roster.
 */
#define SEND_BUFFER_LEN 8192

static struct ivs_client *alloc_client(unsigned int vectors_n)
{
	struct ivs_client *client = malloc(sizeof(*client) + vectors_n * sizeof(int));

	if (client)
		*client = (struct ivs_client){
			.id = IVS_ID_MAX + 1, .sock_fd = -1, .since_ms = ivs_clock_wall_ms()};
	return client;
}

/* Move the eventfds of @from to @to, which has room for them. */
static void move_eventfds(struct ivs_client *from, struct ivs_client *to)
{
	memcpy(to->eventfds, from->eventfds, from->vectors_n * sizeof(int));
	to->vectors_n = from->vectors_n;
	to->slow_n = from->slow_n;
	to->stored_n = from->stored_n < from->vectors_n ? from->stored_n : from->vectors_n;
	from->stored_n -= to->stored_n;
	from->vectors_n = 0;
}

int ivs_client_new(int *sock_fd, const struct ucred *cred, unsigned int vectors_n,
		   struct ivs_client *seat, struct ivs_client **out)
{
	struct ivs_client *client = alloc_client(vectors_n);
	const int buffer_len = SEND_BUFFER_LEN;
	int errnum;

	if (!client)
		return -ENOMEM;
	client->cred = *cred;
	if (setsockopt(*sock_fd, SOL_SOCKET, SO_SNDBUF, &buffer_len, sizeof(buffer_len)))
		goto fail;
	if (seat)
		move_eventfds(seat, client);
	for (; client->vectors_n < vectors_n; client->vectors_n++) {
		int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		if (fd < 0)
			goto fail;
		client->eventfds[client->vectors_n] = fd;
	}
	client->sock_fd = ivs_fd_take(sock_fd);
	*out = client;
	return 0;

fail:
	errnum = errno;
	/* Closing these eventfds cannot block, because no other process has them. */
	while (client->vectors_n)
		ivs_fd_close(&client->eventfds[--client->vectors_n]);
	free(client);
	return -errnum;
}

int ivs_client_adopt(int *sock_fd, int *eventfds, unsigned int vectors_n, struct ivs_client **out)
{
	struct ivs_client *client = alloc_client(vectors_n);
	socklen_t cred_len = sizeof(client->cred);

	if (!client)
		return -ENOMEM;
	if (*sock_fd >= 0 &&
	    getsockopt(*sock_fd, SOL_SOCKET, SO_PEERCRED, &client->cred, &cred_len)) {
		int errnum = errno;

		ivs_client_free(client);
		return -errnum;
	}
	client->sock_fd = ivs_fd_take(sock_fd);
	for (; client->vectors_n < vectors_n; client->vectors_n++)
		client->eventfds[client->vectors_n] = ivs_fd_take(&eventfds[client->vectors_n]);
	*out = client;
	return 0;
}

int ivs_client_split(struct ivs_client *client, struct ivs_client **seat)
{
	struct ivs_client *other = alloc_client(client->vectors_n);

	if (!other)
		return -ENOMEM;
	other->id = client->id;
	other->seat_serial = client->seat_serial;
	other->quiet = client->quiet;
	other->cred = client->cred;
	other->user = client->user;
	move_eventfds(client, other);
	*seat = other;
	return 0;
}

struct ivs_client *ivs_client_of_rest(const struct ivs_named_fd *fds, size_t fds_n)
{
	struct ivs_client *client = alloc_client((unsigned int)fds_n);

	if (!client)
		return NULL;
	client->cred.uid = (uid_t)-1; /* the fds of this object belong to several users */
	for (; client->vectors_n < fds_n; client->vectors_n++)
		client->eventfds[client->vectors_n] = fds[client->vectors_n].fd;
	return client;
}

void ivs_client_hang_up(struct ivs_client *client)
{
	if (client->sock_fd >= 0)
		(void)shutdown(client->sock_fd, SHUT_RDWR);
}

bool ivs_client_release(struct ivs_client *client)
{
	bool released;

	ivs_closer_set_owner(client->cred.uid);
	released = ivs_fds_release(client->eventfds, client->vectors_n) &&
		   ivs_socket_release(&client->sock_fd);
	ivs_closer_set_owner(IVS_CLOSER_ANYBODY);
	if (released)
		free(client);
	return released;
}

void ivs_client_free(struct ivs_client *client)
{
	if (!client)
		return;
	while (!ivs_client_release(client)) {
		if (ivs_closer_wait())
			continue;
		free(client); /* the client's fds stay open until this process exits */
		return;
	}
}

int ivs_client_check(const struct ivs_client *client)
{
	char byte;
	ssize_t n;

	/*
	 * Only peek, because receiving would close fds that were sent with the byte, which can
	 * block (close.h).
	 */
	do {
		n = recv(client->sock_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		return IVS_CLIENT_E_SPOKE;
	if (n == 0 || errno == ECONNRESET)
		return IVS_CLIENT_E_CLOSED;
	return errno == EAGAIN ? 0 : -errno;
}
