/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/servers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/ivshmem/doctor/bounded.h"
#include "tools/ivshmem/doctor/regions.h"
#include "tools/ivshmem/doctor/server_probe.h"
#include "tools/ivshmem/doctor/server_process.h"
#include "tools/ivshmem/doctor/server_status.h"
#include "tools/ivshmem/doctor/trust.h"

#define SERVERS_MAX 64
#define ALL_MS 15000 /* for all servers: any user can start many that do not answer */
#define DEFAULT_SOCKET "/tmp/ivshmem_socket" /* of both servers, without --socket */

/* Runs in a child process. */
static bool look(const void *question, void *answer)
{
	struct ivs_doctor_server *server = answer;

	(void)question;
	if (*server->path == '/' || server->named)
		server_probe(server->path, server);
	if (server->pid)
		server_process_look(server);
	return true;
}

/* Runs in a child process. */
static bool join(const void *question, void *answer)
{
	struct ivs_doctor_server *server = answer;

	(void)question;
	server_join(server->path, server);
	return true;
}

/* Ask the server for its status, unless it cannot answer. */
static void ask_status(const char *control, struct ivs_doctor_server *server)
{
	struct server_reply reply;

	if (!*control || server->stopped || !server_ask(control, 0, &reply))
		return;
	server->status = reply.status;
	server->knows |= IVS_DOCTOR_SERVER_STATUS;
}

/*
 * Examine a server. The control socket tells more than a client learns, and other clients do not
 * notice. So a client joins only if there is no control socket, and the user has asked about this
 * server.
 */
static void examine(const char *control, struct ivs_doctor_server *server)
{
	(void)bounded_run(look, NULL, server, sizeof(*server));
	ask_status(control, server);
	if (!server->named || server->stopped || server->socket != IVS_DOCTOR_SOCKET_LISTENS ||
	    server->knows & IVS_DOCTOR_SERVER_STATUS)
		return;
	if (!bounded_run_for(SERVER_JOIN_MS, join, NULL, server, sizeof(*server)))
		server->socket = IVS_DOCTOR_SOCKET_SILENT;
}

/* Return: the path of the server's socket; "" if it is not known. */
static const char *socket_of(const struct ivs_host_server *found, struct server_reply *reply)
{
	if (*found->socket)
		return found->socket;
	/* A service manager may have passed a socket, which only the server knows. */
	if (!*found->control)
		return DEFAULT_SOCKET;
	return server_ask(found->control, 0, reply) ? reply->socket : "";
}

/* Return: whether the process belongs to root, or to the user of this one. */
static bool is_own(pid_t pid)
{
	uid_t uid;

	return trust_process(pid, &uid) && (!uid || uid == geteuid());
}

/*
 * Find the process that serves the socket. Any process can have arguments that name it, so
 * processes of other users are not considered.
 */
static const struct ivs_host_server *find_server(const struct collected *out, const char *path,
						 const char *full, int64_t deadline_ns)
{
	for (size_t i = 0; i < out->regions.servers_n && ivs_clock_left_ms(deadline_ns) > 0; i++) {
		const struct ivs_host_server *found = &out->regions.servers[i];
		struct server_reply reply;
		const char *socket;

		if (!trust_server(found->pid, path))
			continue;
		socket = socket_of(found, &reply);
		if (!strcmp(socket, path) || (full && !strcmp(socket, full)))
			return found;
	}
	return NULL;
}

static void select_region(pid_t pid, struct collected *out)
{
	for (size_t i = 0; i < out->facts.regions_n; i++) {
		const struct ivs_host_region *host = out->facts.regions[i].host;

		for (size_t k = 0; k < host->users_n; k++) {
			if (host->users[k].pid == pid)
				collect_region(&out->facts.regions[i]);
		}
	}
}

static void collect_named(const char *path, int64_t deadline_ns, struct collected *out)
{
	struct ivs_doctor_server *server = &out->facts.servers[out->facts.servers_n++];
	char *full = realpath(path, NULL);
	const struct ivs_host_server *found = find_server(out, path, full, deadline_ns);

	free(full);
	server->named = true;
	snprintf(server->path, sizeof(server->path), "%s", path);
	if (found) {
		server->pid = found->pid;
		server->is_trusted = is_own(found->pid);
		select_region(found->pid, out);
	}
	examine(found ? found->control : "", server);
}

static bool is_in_scope(const struct scope *scope, const struct collected *out, pid_t pid)
{
	if (scope_is_all(scope))
		return true;
	for (size_t i = 0; scope->has_name && i < out->facts.regions_n; i++) {
		const struct ivs_doctor_region *region = &out->facts.regions[i];

		for (size_t k = 0; region->named && k < region->host->users_n; k++) {
			if (region->host->users[k].pid == pid)
				return true;
		}
	}
	return false;
}

static void collect_found(const struct ivs_host_server *found, struct collected *out)
{
	struct ivs_doctor_server *server = &out->facts.servers[out->facts.servers_n++];
	struct server_reply reply;

	server->pid = found->pid;
	server->is_trusted = is_own(found->pid);
	snprintf(server->path, sizeof(server->path), "%s", socket_of(found, &reply));
	examine(found->control, server);
}

static bool is_known(const struct collected *out, pid_t pid)
{
	return out->facts.servers_n && out->facts.servers->pid == pid;
}

int collect_servers(const struct scope *scope, struct collected *out)
{
	const struct ivs_host_regions *host = &out->regions;
	int64_t deadline_ns = ivs_clock_deadline(ALL_MS);

	out->facts.servers = calloc(host->servers_n + 1, sizeof(*out->facts.servers));
	if (!out->facts.servers)
		return -ENOMEM;
	if (scope->server)
		collect_named(scope->server, deadline_ns, out);
	for (size_t i = 0; i < host->servers_n; i++) {
		pid_t pid = host->servers[i].pid;

		if (!is_in_scope(scope, out, pid) || is_known(out, pid))
			continue;
		/* Any user can start many processes with such a name. */
		if (out->facts.servers_n < SERVERS_MAX && ivs_clock_left_ms(deadline_ns) > 0)
			collect_found(&host->servers[i], out);
		else
			out->servers_left_n++;
	}
	return 0;
}
