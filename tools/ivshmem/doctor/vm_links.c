/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/vm_links.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "ivshmem/registers.h"
#include "tools/ivshmem/doctor/bounded.h"
#include "tools/ivshmem/doctor/server_probe.h"
#include "tools/ivshmem/doctor/server_status.h"
#include "tools/ivshmem/doctor/trust.h"

#define ALL_MS 10000
#define LINE_LEN 512

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

static enum ivs_doctor_link_state look(const char *path)
{
	struct ivs_doctor_server server = {0};

	server_probe(path, &server);
	if (!(server.knows & IVS_DOCTOR_SERVER_SOCKET))
		return IVS_DOCTOR_LINK_UNKNOWN;
	if (server.socket == IVS_DOCTOR_SOCKET_LISTENS)
		return IVS_DOCTOR_LINK_LIVE;
	return server.socket == IVS_DOCTOR_SOCKET_DEAD ? IVS_DOCTOR_LINK_DEAD
						       : IVS_DOCTOR_LINK_UNKNOWN;
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

/* Return: whether a server can have such numbers of vectors and clients. */
static bool is_possible(const struct ivs_doctor_status *status)
{
	return status->vectors_n && status->vectors_n <= IVS_VECTOR_MAX + 1 &&
	       status->peers_n <= IVS_ID_MAX + 1 && status->peers_max <= IVS_ID_MAX + 1;
}

static void ask_server(const struct ivs_host_server *server, pid_t pid,
		       struct ivs_doctor_link *link)
{
	struct server_reply reply;

	if (!server_ask(server->control, pid, &reply) || !is_possible(&reply.status))
		return;
	link->answers = true;
	link->lists_vm = reply.lists_client || !shares_pids(server->pid);
	link->vectors = (unsigned int)reply.status.vectors_n;
	link->peers_n = (unsigned int)reply.status.peers_n;
	link->peers_max = (unsigned int)reply.status.peers_max;
}

/* Find the server that was started with the socket's path. */
static void find_server(const struct vm_links *links, pid_t pid, struct ivs_doctor_link *link)
{
	char shown[IVS_HOST_SOCKET_LEN];

	ivs_text_shown(link->socket->path, shown, sizeof(shown));
	for (size_t i = 0; i < links->host->servers_n && !link->answers; i++) {
		const struct ivs_host_server *server = &links->host->servers[i];

		if (!*shown || strcmp(server->socket, shown) != 0 ||
		    !trust_server(server->pid, link->socket->path))
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
