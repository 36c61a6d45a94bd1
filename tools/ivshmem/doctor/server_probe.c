/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/server_probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/access.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/unix_address.h"
#include "client/greeting.h"
#include "tools/ivshmem/attach_probe.h"

#define GREETING_MS 3000
#define LEAVE_MS 1000

static void set_socket(struct ivs_doctor_server *server, enum ivs_doctor_socket socket)
{
	server->socket = socket;
	server->knows |= IVS_DOCTOR_SERVER_SOCKET;
}

static void set_denied(const char *path, struct ivs_doctor_server *server)
{
	set_socket(server, IVS_DOCTOR_SOCKET_DENIED);
	ivs_access_explain(path, W_OK, server->denied_why);
}

/*
 * Try to connect a socket of the wrong type: the kernel then says EPROTOTYPE if a process listens,
 * and the process does not notice.
 */
static void probe_listener(const char *path, struct ivs_doctor_server *server)
{
	struct sockaddr_un addr;
	struct ivs_error err;
	IVS_OWNED_FD fd = -1;

	if (!ivs_unix_address(path, &addr, &err))
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (!connect(fd, (const struct sockaddr *)&addr, sizeof(addr))) {
		set_socket(server, IVS_DOCTOR_SOCKET_ALIEN);
		strcpy(server->spoken, "it is a datagram socket");
	} else if (errno == EPROTOTYPE) {
		set_socket(server, IVS_DOCTOR_SOCKET_LISTENS);
	} else if (errno == ECONNREFUSED) {
		set_socket(server, IVS_DOCTOR_SOCKET_DEAD);
	} else if (errno == EACCES) {
		set_denied(path, server);
	}
}

void server_probe(const char *path, struct ivs_doctor_server *server)
{
	struct stat st;

	if (stat(path, &st)) {
		if (errno == ENOENT || errno == ENOTDIR)
			set_socket(server, IVS_DOCTOR_SOCKET_ABSENT);
		else if (errno == EACCES)
			set_denied(path, server);
		return;
	}
	server->mode = st.st_mode;
	server->owner = st.st_uid;
	if (S_ISSOCK(st.st_mode))
		probe_listener(path, server);
	else
		set_socket(server, IVS_DOCTOR_SOCKET_OTHER);
}

/* Ask the kernel which process listens. */
static void take_listener(int sock, struct ivs_doctor_server *server)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return;
	server->listener = cred.pid;
	server->listener_uid = cred.uid;
	server->knows |= IVS_DOCTOR_SERVER_LISTENER;
}

static enum ivs_doctor_socket socket_of(int result)
{
	switch (result) {
	case IVS_CONNECTION_E_AGAIN:
		return IVS_DOCTOR_SOCKET_GREETS;
	case IVS_CONNECTION_E_LOST:
		return IVS_DOCTOR_SOCKET_REFUSES;
	case IVS_CONNECTION_E_PROTOCOL:
		return IVS_DOCTOR_SOCKET_ALIEN;
	case IVS_CONNECTION_E_TIMEOUT:
	case IVS_CONNECTION_E_BUSY:
		return IVS_DOCTOR_SOCKET_SILENT;
	case -EPROTOTYPE:
		return IVS_DOCTOR_SOCKET_ALIEN;
	case IVS_CONNECTION_E_ABSENT:
		return IVS_DOCTOR_SOCKET_DEAD;
	default:
		return IVS_DOCTOR_SOCKET_LISTENS;
	}
}

void server_join(const char *path, struct ivs_doctor_server *server)
{
	struct ivs_greeting greeting = {.region_only = true,
					.deadline_ns = ivs_clock_deadline(GREETING_MS)};
	struct ivs_connection connection = IVS_CONNECTION_INIT;
	struct ivs_connection_event event;
	struct ivs_error err = {0};
	int result;

	result = ivs_greeting_connect(&greeting, &connection, path, &err);
	if (!result)
		take_listener(connection.sock, server);
	while (!result) {
		result = ivs_greeting_next(&greeting, &connection, &event, &err);
		if (!result)
			ivs_fd_close(&event.fd);
	}
	if (result == -ECONNRESET)
		result = IVS_CONNECTION_E_LOST;
	set_socket(server, socket_of(result));
	if (server->socket == IVS_DOCTOR_SOCKET_ALIEN)
		snprintf(server->spoken, sizeof(server->spoken), "%.*s",
			 (int)sizeof(server->spoken) - 1, err.text);
	if (server->socket == IVS_DOCTOR_SOCKET_GREETS)
		probe_leave(&connection, LEAVE_MS);
	ivs_connection_deinit(&connection);
}
