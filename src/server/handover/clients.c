/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients' fds in the handover. The name of each fd contains the client's id, and a serial: of the
 * client if it is the socket, of the seat if it is an eventfd. The eventfds come before the socket,
 * so that those of a seat need not be stored again when another client takes the seat.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "daemon/close.h"
#include "daemon/closer.h"
#include "daemon/log.h"
#include "server/handover/private.h"

#define SOCKET (-1) /* means the client's socket instead of a vector */

static void name_fd(struct ivs_named_fd *named, unsigned int id, uint64_t serial, int vector)
{
	int len = snprintf(named->name, sizeof(named->name), NAME_CLIENT "-%u-%llu-", id,
			   (unsigned long long)serial);

	if (vector == SOCKET)
		snprintf(named->name + len, sizeof(named->name) - (size_t)len, "socket");
	else
		snprintf(named->name + len, sizeof(named->name) - (size_t)len, "%d", vector);
}

/* Have the manager drop an fd of a client that is not resumed. */
static void forget_fd(struct ivs_handover *handover, const char *name)
{
	if (ivs_service_exists(&handover->service) &&
	    ivs_inherited_add(&handover->forget, IVS_NAMED_FD_NONE, name))
		ivs_log(IVS_LOG_WARNING, "out of memory: the service manager will not drop %s",
			name);
}

/*
 * Shut down sockets, because a copy elsewhere must not keep a connection open that no server
 * serves.
 */
static void move_to_rest(struct ivs_handover *handover, int *fd, const char *name)
{
	forget_fd(handover, name);
	if (*fd < 0)
		return;
	shutdown(*fd, SHUT_RDWR);
	if (ivs_inherited_add(&handover->rest, *fd, name))
		ivs_socket_discard(fd);
	*fd = -1;
}

/* Name fd number @i of a client: its eventfds, then its socket. */
static void name_nth(struct ivs_named_fd *named, const struct ivs_handover_client *which,
		     unsigned int i)
{
	if (i < which->vectors_n)
		name_fd(named, which->id, which->seat_serial, (int)i);
	else
		name_fd(named, which->id, which->serial, SOCKET);
}

/*
 * Take the inherited fds of a client or a vacant seat. @fds: room for the eventfds and the socket.
 * Return: whether all were there.
 */
static bool take_fds(struct ivs_handover *handover, const struct ivs_handover_client *which,
		     int *fds, unsigned int *stored_n)
{
	unsigned int end = which->vectors_n;
	struct ivs_named_fd key;
	bool socket_stored = false;
	bool all_stored = true;

	*stored_n = 0;
	if (which->serial) {
		name_nth(&key, which, end);
		fds[end] = ivs_handover_take_named(handover, key.name, &socket_stored);
		if (fds[end] < 0)
			return false;
	}
	for (unsigned int i = 0; i < end; i++) {
		bool stored;

		name_nth(&key, which, i);
		fds[i] = ivs_handover_take_named(handover, key.name, &stored);
		if (fds[i] < 0)
			return false;
		all_stored = all_stored && stored;
		*stored_n += all_stored;
	}
	*stored_n += all_stored && socket_stored;
	return true;
}

int ivs_handover_take_client(struct ivs_handover *handover, const struct ivs_handover_client *which,
			     struct ivs_client **out)
{
	unsigned int end = which->vectors_n;
	int *fds = reallocarray(NULL, end + 1, sizeof(int));
	unsigned int stored_n;
	int result = IVS_HANDOVER_E_ABSENT;

	if (!fds)
		return -ENOMEM;
	memset(fds, -1, (end + 1) * sizeof(int));
	if (take_fds(handover, which, fds, &stored_n))
		result = ivs_client_adopt(&fds[end], fds, end, out);
	if (!result) {
		(*out)->id = which->id;
		(*out)->serial = which->serial;
		(*out)->seat_serial = which->seat_serial;
		(*out)->stored_n = stored_n;
	}
	for (unsigned int i = 0; i <= end; i++) {
		struct ivs_named_fd key;

		name_nth(&key, which, i);
		if (fds[i] >= 0)
			move_to_rest(handover, &fds[i], key.name);
	}
	free(fds);
	return result;
}

struct ivs_client *ivs_handover_take_rest(struct ivs_handover *handover)
{
	struct ivs_client *client = NULL;

	for (size_t i = 0; i < handover->inherited.n; i++) {
		struct ivs_named_fd *entry = &handover->inherited.fds[i];

		if (entry->fd != -1 && !strncmp(entry->name, NAME_CLIENT, strlen(NAME_CLIENT)))
			move_to_rest(handover, &entry->fd, entry->name);
	}
	ivs_inherited_close(&handover->inherited);
	if (handover->rest.n)
		client = ivs_client_of_rest(handover->rest.fds, handover->rest.n);
	for (size_t i = 0; !client && i < handover->rest.n; i++)
		ivs_socket_discard(&handover->rest.fds[i].fd);
	ivs_inherited_free(&handover->rest);
	return client;
}

static int fd_of_client(const struct ivs_client *client, unsigned int i)
{
	return i < client->vectors_n ? client->eventfds[i] : client->sock_fd;
}

static struct ivs_handover_client identify(const struct ivs_client *client)
{
	return (struct ivs_handover_client){client->id, client->serial, client->seat_serial,
					    client->vectors_n};
}

/*
 * Fill @fds with a client's fds and their names, starting at fd number @from. Return: how many were
 * filled in.
 */
static unsigned int name_fds(const struct ivs_client *client, unsigned int from, unsigned int end,
			     struct ivs_named_fd *fds)
{
	const struct ivs_handover_client which = identify(client);
	unsigned int n;

	for (n = 0; n < IVS_SERVICE_BATCH && from + n < end; n++) {
		name_nth(&fds[n], &which, from + n);
		fds[n].fd = fd_of_client(client, from + n);
	}
	return n;
}

int ivs_handover_store_client(const struct ivs_handover *handover, struct ivs_client *client)
{
	struct ivs_named_fd fds[IVS_SERVICE_BATCH];
	unsigned int done_n;
	int result = 0;

	if (!ivs_service_exists(&handover->service))
		client->stored_n = 1 + client->vectors_n;
	while (!result && client->stored_n < 1 + client->vectors_n) {
		unsigned int n = name_fds(client, client->stored_n, 1 + client->vectors_n, fds);

		result = ivs_service_store(&handover->service, fds, n, &done_n);
		client->stored_n += done_n;
	}
	return result > 0 ? IVS_HANDOVER_E_LATER : result;
}

void ivs_handover_forget_client(struct ivs_handover *handover, const struct ivs_client *client)
{
	const struct ivs_handover_client which = identify(client);
	struct ivs_named_fd named;

	if (!ivs_service_exists(&handover->service))
		return;
	for (unsigned int i = 0; i < client->stored_n; i++) {
		name_nth(&named, &which, i);
		if (ivs_inherited_add(&handover->forget, IVS_NAMED_FD_NONE, named.name)) {
			if (ivs_log_allows(&handover->log))
				ivs_log(IVS_LOG_WARNING,
					"out of memory: the service manager will not drop %s",
					named.name);
			return;
		}
	}
}

static int list_client(const struct ivs_client *client, struct ivs_inherited *out)
{
	const struct ivs_handover_client which = identify(client);
	struct ivs_named_fd named;
	int result = 0;

	for (unsigned int i = 0; !result && i <= client->vectors_n; i++) {
		if (fd_of_client(client, i) < 0)
			continue; /* an object for several clients' fds, or a seat, has no socket */
		name_nth(&named, &which, i);
		result = ivs_handover_list_named(out, fd_of_client(client, i), named.name,
						 i < client->stored_n);
	}
	return result;
}

int ivs_handover_list_fds(const struct ivs_handover *handover, const struct ivs_handover_fds *fds,
			  struct ivs_client *const *clients, struct ivs_client *const *seats,
			  const struct ivs_client *departed, struct ivs_inherited *out)
{
	int result = ivs_handover_list_own(handover, fds, out);

	if (!result && fds->control >= 0)
		result = ivs_inherited_add(out, fds->control, NAME_CONTROL);
	if (!result && ivs_service_exists(&handover->service))
		result = ivs_inherited_add(out, handover->service.sock_fd, NAME_MANAGER);
	if (!result && ivs_closer_fd() >= 0)
		result = ivs_inherited_add(out, ivs_closer_fd(), NAME_CLOSER);
	for (unsigned int id = 0; !result && id <= IVS_ID_MAX; id++) {
		if (clients[id] || seats[id])
			result = list_client(clients[id] ? clients[id] : seats[id], out);
	}
	for (; !result && departed; departed = departed->next)
		result = list_client(departed, out);
	return result;
}
