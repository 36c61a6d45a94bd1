/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/vm_links.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"
#include "base/unix_address.h"
#include "tools/ivshmem/doctor/bounded.h"
#include "tools/shared/ask.h"

#define ALL_MS 10000
#define LIMIT_S 1
#define LINE_LEN 512

static const char request_text[] = "{\"request\":\"status\"}\n";

void vm_links_start(struct vm_links *links)
{
	links->deadline_ns = ivs_clock_deadline(ALL_MS);
}

/* Return: whether the process sees the same files as this one. */
static bool shares_files(pid_t pid)
{
	char link[64];
	struct stat there;
	struct stat here;

	snprintf(link, sizeof(link), "/proc/%d/ns/mnt", (int)pid);
	return !stat(link, &there) && !stat("/proc/self/ns/mnt", &here) &&
	       there.st_ino == here.st_ino;
}

/* Return: whether other processes know the process under this pid, not that of a namespace. */
static bool shares_pids(pid_t pid)
{
	char text[LINE_LEN];
	unsigned int n = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	while (file && !n && fgets(text, sizeof(text), file)) {
		if (strncmp(text, "NSpid:", 6) != 0)
			continue;
		for (const char *at = text; *at; at++)
			n += *at == '\t';
	}
	if (file)
		fclose(file);
	return n == 1;
}

/**
 * struct question - a socket in the arguments of a VM
 * @shares: the VM sees the same files as this process
 */
struct question {
	pid_t pid;
	bool shares;
	const char *path;
};

/**
 * struct answer - what is there
 * @here: the path leads this process to the same socket
 */
struct answer {
	enum ivs_doctor_link_state state;
	bool here;
};

/*
 * Find out whether a process listens, without connecting to it: a datagram socket cannot be
 * connected to a stream socket, and the kernel says so only if a process listens there.
 */
static enum ivs_doctor_link_state look(const char *path)
{
	enum ivs_doctor_link_state state = IVS_DOCTOR_LINK_UNKNOWN;
	struct sockaddr_un addr;
	IVS_OWNED_FD fd = -1;

	if (!ivs_unix_address(path, &addr, NULL))
		return state;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&addr, sizeof(addr))) {
		if (errno == EPROTOTYPE)
			state = IVS_DOCTOR_LINK_LIVE;
		else if (errno == ECONNREFUSED)
			state = IVS_DOCTOR_LINK_DEAD;
	}
	return state;
}

/* Runs in a child process, because a file system may not answer. */
static bool ask_socket(const void *given, void *out)
{
	const struct question *question = given;
	struct answer *answer = out;
	char directory[64] = "/";
	char path[PATH_MAX + 64];
	struct stat there;
	struct stat here;

	if (*question->path != '/')
		snprintf(directory, sizeof(directory), "/proc/%d/cwd/", (int)question->pid);
	else if (!question->shares)
		snprintf(directory, sizeof(directory), "/proc/%d/root/", (int)question->pid);
	snprintf(path, sizeof(path), "%s%.4000s", directory,
		 question->path + (*question->path == '/'));
	if (stat(path, &there)) {
		/* If the process has ended, its directory is missing, too. */
		if (errno == ENOENT && !stat(directory, &here))
			answer->state = IVS_DOCTOR_LINK_ABSENT;
		answer->here = question->shares && *question->path == '/';
		return true;
	}
	answer->state = look(path);
	/* A relative path leads elsewhere from here. */
	answer->here = *question->path == '/' && !stat(question->path, &here) &&
		       here.st_dev == there.st_dev && here.st_ino == there.st_ino;
	return true;
}

/* Return: whether the process has loaded GLib, which QEMU's server uses, and this project's not. */
static bool is_foreign(pid_t pid)
{
	char line[PATH_MAX + 128];
	bool found = false;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof(line), file))
		found = strstr(line, "/libglib-2.0.so");
	if (file)
		fclose(file);
	return found;
}

static bool is_client(const json_t *peers, pid_t pid)
{
	const json_t *peer;
	size_t i;

	json_array_foreach(peers, i, peer)
	{
		if (json_integer_value(json_object_get(peer, "pid")) == pid)
			return true;
	}
	return false;
}

static unsigned int number_of(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value > 0 && value <= UINT16_MAX + 1 ? (unsigned int)value : 0;
}

static void take_status(const json_t *status, const struct ivs_host_server *server, pid_t pid,
			struct ivs_doctor_link *link)
{
	const json_t *peers = json_object_get(status, "peers");

	if (!json_is_array(peers) || !number_of(status, "vectors"))
		return;
	link->answers = true;
	link->lists_vm = is_client(peers, pid) || !shares_pids(server->pid);
	link->vectors = number_of(status, "vectors");
	link->peers_n = (unsigned int)json_array_size(peers);
	link->peers_max = number_of(json_object_get(status, "limits"), "max_peers");
}

static void ask_server(const struct ivs_host_server *server, pid_t pid,
		       struct ivs_doctor_link *link)
{
	const struct ask ask = {server->control, "an ivshmem-server", "server", "clients", LIMIT_S};
	struct ivs_error err;
	struct reply reply;

	if (!ask_request(&ask, request_text, &reply, &err))
		take_status(reply.json, server, pid, link);
	reply_deinit(&reply);
}

/* Find the server that was started with the socket's path. */
static void find_server(const struct vm_links *links, pid_t pid, struct ivs_doctor_link *link)
{
	char shown[IVS_HOST_SOCKET_LEN];

	ivs_text_shown(link->socket->path, shown, sizeof(shown));
	for (size_t i = 0; i < links->host->servers_n && !link->answers; i++) {
		const struct ivs_host_server *server = &links->host->servers[i];

		if (!*shown || strcmp(server->socket, shown) != 0)
			continue;
		link->runs = true;
		link->is_foreign |= is_foreign(server->pid);
		if (*server->control && ivs_clock_left_ms(links->deadline_ns) > 0)
			ask_server(server, pid, link);
	}
}

int vm_links_ask(const struct vm_links *links, struct ivs_doctor_vm *vm)
{
	const struct ivs_host_vm *host = &vm->qemu->vm;
	const pid_t pid = vm->qemu->pid;
	bool shares = shares_files(pid);

	vm->links = calloc(host->sockets_n + 1, sizeof(*vm->links));
	if (!vm->links)
		return -ENOMEM;
	for (size_t i = 0; i < host->sockets_n; i++) {
		struct ivs_doctor_link *link = &vm->links[vm->links_n];
		const struct question question = {pid, shares, host->sockets[i].path};
		struct answer answer = {.state = IVS_DOCTOR_LINK_UNKNOWN};

		if (!host->sockets[i].doorbell)
			continue;
		vm->links_n++;
		link->socket = &host->sockets[i];
		if (ivs_clock_left_ms(links->deadline_ns) > 0)
			(void)bounded_run(ask_socket, &question, &answer, sizeof(answer));
		link->state = answer.state;
		if (answer.here)
			find_server(links, pid, link);
	}
	return 0;
}
