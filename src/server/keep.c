/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/keep.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "region/backend.h"
#include "util/error.h"
#include "util/fd.h"
#include "util/log.h"

#define MAGIC "ivshmemK"
#define VERSION 1
#define NOTES_LEN 24576 /* whole pages */
/*
 * The file is as long as the roster's memory can become, so that nobody needs to change its size later.
 * It is sparse: what has not been written costs nothing.
 */
#define FILE_LEN (INT64_C(8) << 30)
#define SOCKET (-1) /* instead of a vector */
#define STORE_TRIES 20
#define STORE_PAUSE_MS 100

/* Whatever begins otherwise was given its name by somebody else. */
#define NAME_PREFIX "ivshmem."
#define NAME_STATE NAME_PREFIX "state"
#define NAME_REGION NAME_PREFIX "region"
#define NAME_LISTENER NAME_PREFIX "listener"
#define NAME_CONTROL NAME_PREFIX "control"
#define NAME_MANAGER NAME_PREFIX "manager"
#define NAME_CLIENT NAME_PREFIX "client"

/* The roster's memory grows. */
IVS_SYSCALLS(ivs_keep_syscalls, {"mremap"}, {"munmap"}, {"close"});

static_assert(sizeof(struct ivs_keep_notes) <= NOTES_LEN, "the roster's memory follows");

static bool is_our_name(const char *name)
{
	return !strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX));
}

struct ivs_keep_notes *ivs_keep_notes(const struct ivs_keep *keep)
{
	return (struct ivs_keep_notes *)(void *)(keep->memory.base - NOTES_LEN);
}

static struct ivs_keep *keep_of(struct ivs_roster_memory *memory)
{
	return (struct ivs_keep *)(void *)((char *)memory - offsetof(struct ivs_keep, memory));
}

/* What has never been written is 0. */
static int grow(struct ivs_roster_memory *memory, size_t len)
{
	struct ivs_keep *keep = keep_of(memory);
	void *map;

	if (NOTES_LEN + len > keep->file_len)
		return -ENOMEM;
	map = mremap(memory->base - NOTES_LEN, NOTES_LEN + memory->len, NOTES_LEN + len,
		     MREMAP_MAYMOVE);
	if (map == MAP_FAILED)
		return -errno;
	memory->base = (uint8_t *)map + NOTES_LEN;
	memory->len = len;
	ivs_keep_notes(keep)->memory_len = len;
	return 0;
}

static int map_memory(struct ivs_keep *keep, size_t len)
{
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, keep->fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	keep->memory = (struct ivs_roster_memory){(uint8_t *)map + NOTES_LEN, len - NOTES_LEN,
						  grow};
	return 0;
}

static void unmap_memory(struct ivs_keep *keep)
{
	if (keep->memory.base)
		munmap(keep->memory.base - NOTES_LEN, NOTES_LEN + keep->memory.len);
	keep->memory.base = NULL;
}

int ivs_keep_read(int fd, struct ivs_keep_notes *notes, struct ivs_error *err)
{
	ssize_t n = pread(fd, notes, sizeof(*notes), 0);

	if (n < 0)
		return ivs_error_errno(err, errno, "cannot read what the former server left");
	if (n < (ssize_t)sizeof(*notes) || memcmp(notes->magic, MAGIC, sizeof(notes->magic)) ||
	    notes->version != VERSION || !memchr(notes->region, 0, sizeof(notes->region)) ||
	    !memchr(notes->filter, 0, sizeof(notes->filter)) ||
	    notes->memory_len > FILE_LEN - NOTES_LEN)
		return ivs_error_set(err, IVS_KEEP_E_OTHER,
				     "the running server keeps what it knows in another way");
	return 0;
}

/* Else reading it would be the end. */
static bool is_whole(struct ivs_keep *keep, const struct ivs_keep_notes *notes)
{
	struct stat st;

	if (fstat(keep->fd, &st) || (uint64_t)st.st_size < NOTES_LEN + notes->memory_len)
		return false;
	keep->file_len = (uint64_t)st.st_size;
	return true;
}

/* Whether there is something to go on with. */
static bool resume(struct ivs_keep *keep)
{
	struct ivs_keep_notes notes;
	struct ivs_error err;

	keep->fd = ivs_inherited_take(&keep->inherited, NAME_STATE);
	if (keep->fd < 0)
		return false;
	if (!ivs_keep_read(keep->fd, &notes, &err) && is_whole(keep, &notes) &&
	    !map_memory(keep, NOTES_LEN + notes.memory_len)) {
		if (ivs_roster_memory_check(&keep->memory))
			return true;
		unmap_memory(keep);
	}
	ivs_log(IVS_LOG_WARNING, "cannot go on where the former server stopped: its clients are "
				 "disconnected");
	ivs_fd_close(&keep->fd);
	return false;
}

/* At the start there is time to wait for a manager that is busy, and much depends on it. */
static int store_patiently(const struct ivs_service *service, const struct ivs_named_fd *named)
{
	struct pollfd writable = {.fd = service->sock, .events = POLLOUT};
	unsigned int stored_n;
	int result;

	for (int i = 0; i < STORE_TRIES; i++) {
		/* Names need not be unique in the manager's store: one of before goes first. */
		result = ivs_service_forget(service, named, 1, &stored_n);
		if (!result)
			result = ivs_service_store(service, named, 1, &stored_n);
		if (result != IVS_SERVICE_E_LATER)
			return result;
		if (poll(&writable, 1, STORE_PAUSE_MS) < 0 && errno != EINTR)
			return -errno;
	}
	return IVS_SERVICE_E_LATER;
}

static void store_own(const struct ivs_keep *keep, int fd, const char *name)
{
	struct ivs_named_fd named = {.fd = fd};

	if (!ivs_service_exists(&keep->service))
		return;
	snprintf(named.name, sizeof(named.name), "%s", name);
	if (store_patiently(&keep->service, &named))
		ivs_log(IVS_LOG_WARNING,
			"the service manager does not take %s: a crash will cost all clients "
			"their connections",
			name);
}

/* As much as may be needed, or as is allowed. */
static uint64_t file_len(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) || limit.rlim_cur > FILE_LEN)
		return FILE_LEN;
	return limit.rlim_cur > NOTES_LEN ? limit.rlim_cur : NOTES_LEN;
}

/* Nothing to go on with. */
static int begin(struct ivs_keep *keep, struct ivs_error *err)
{
	struct ivs_keep_notes *notes;
	int result;

	keep->resumed = false;
	keep->fd = memfd_create("ivshmem-state", MFD_CLOEXEC);
	keep->file_len = file_len();
	if (keep->fd < 0 || ftruncate(keep->fd, (off_t)keep->file_len))
		return ivs_error_errno(err, errno, "cannot make a memfd");
	result = map_memory(keep, NOTES_LEN);
	if (result)
		return ivs_error_errno(err, -result, "cannot map a memfd");
	notes = ivs_keep_notes(keep);
	notes->version = VERSION;
	memcpy(notes->magic, MAGIC, sizeof(notes->magic));
	store_own(keep, keep->fd, NAME_STATE);
	return 0;
}

int ivs_keep_open(struct ivs_keep *keep, int list_fd, struct ivs_error *err)
{
	int result;

	*keep = (struct ivs_keep)IVS_KEEP_INIT;
	keep->in_place = list_fd >= 0;
	if (keep->in_place)
		result = ivs_inherited_from_program(&keep->inherited, list_fd, err);
	else
		result = ivs_inherited_from_manager(&keep->inherited, err);
	if (result)
		return result;
	if (keep->in_place)
		ivs_service_adopt(&keep->service,
				  ivs_inherited_take(&keep->inherited, NAME_MANAGER));
	else if (ivs_service_open(&keep->service, err))
		ivs_log(IVS_LOG_WARNING, "going on without a service manager: %s", err->text);
	keep->resumed = resume(keep);
	return keep->resumed ? 0 : begin(keep, err);
}

void ivs_keep_close(struct ivs_keep *keep)
{
	unmap_memory(keep);
	ivs_fd_close(&keep->fd);
	ivs_inherited_close(&keep->inherited);
	ivs_service_close(&keep->service);
}

/* What was asked for is what there was. */
static bool is_same_region(const struct ivs_keep *keep, const char *address,
			   const struct ivs_region_options *opts, int fd)
{
	struct stat st;

	return fd >= 0 && !strcmp(ivs_keep_notes(keep)->region, address) && !fstat(fd, &st) &&
	       (!opts->size || (uint64_t)st.st_size == opts->size);
}

int ivs_keep_region(struct ivs_keep *keep, const char *address,
		    const struct ivs_region_options *opts, struct ivs_region **out,
		    struct ivs_error *err)
{
	IVS_OWNED_FD fd = ivs_inherited_take(&keep->inherited, NAME_REGION);
	struct ivs_keep_notes *notes = ivs_keep_notes(keep);
	int result;

	if (keep->resumed && is_same_region(keep, address, opts, fd)) {
		notes->resumed_n++;
		result = ivs_region_adopt(address, &fd, notes->region_created, out, err);
		if (!result && *ivs_region_path(*out) && !ivs_region_has_name(*out))
			ivs_log(IVS_LOG_WARNING,
				"%s has been removed: those who were connected go on with the "
				"memory, and nobody else finds it by that name",
				ivs_region_path(*out));
		return result;
	}
	if (keep->resumed) {
		ivs_log(IVS_LOG_WARNING,
			"the region is not the same as before (%s): those who were connected are "
			"disconnected",
			notes->region);
		unmap_memory(keep);
		ivs_fd_close(&keep->fd);
		result = begin(keep, err);
		if (result)
			return result;
	}
	result = ivs_region_open(address, opts, out, err);
	if (result)
		return result;
	notes = ivs_keep_notes(keep);
	snprintf(notes->region, sizeof(notes->region), "%s", address);
	notes->region_created = ivs_region_created(*out);
	store_own(keep, ivs_region_fd(*out), NAME_REGION);
	return 0;
}

static bool is_listener(int fd)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &len) || value != AF_UNIX)
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len) || value != SOCK_STREAM)
		return false;
	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) && value;
}

int ivs_keep_listener(struct ivs_keep *keep, bool *ours)
{
	int fd = ivs_inherited_take(&keep->inherited, NAME_LISTENER);

	*ours = fd >= 0 && ivs_keep_notes(keep)->socket_ino;
	if (fd >= 0)
		return fd;
	/* The manager's own sockets have names that its configuration gives them. */
	for (size_t i = 0; i < keep->inherited.n; i++) {
		struct ivs_named_fd *entry = &keep->inherited.fds[i];

		if (entry->fd >= 0 && !is_our_name(entry->name) && is_listener(entry->fd))
			return ivs_fd_take(&entry->fd);
	}
	return -1;
}

void ivs_keep_new_listener(struct ivs_keep *keep, int sock, const struct stat *name)
{
	struct ivs_keep_notes *notes = ivs_keep_notes(keep);

	notes->socket_dev = name->st_dev;
	notes->socket_ino = name->st_ino;
	store_own(keep, sock, NAME_LISTENER);
}

int ivs_keep_control(struct ivs_keep *keep, struct stat *name)
{
	const struct ivs_keep_notes *notes = ivs_keep_notes(keep);

	*name = (struct stat){.st_dev = notes->control_dev, .st_ino = notes->control_ino};
	return ivs_inherited_take(&keep->inherited, NAME_CONTROL);
}

void ivs_keep_note_control(struct ivs_keep *keep, const struct stat *name)
{
	struct ivs_keep_notes *notes = ivs_keep_notes(keep);

	notes->control_dev = name->st_dev;
	notes->control_ino = name->st_ino;
}

static void name_fd(struct ivs_named_fd *named, unsigned int id, uint64_t serial, int vector)
{
	int len = snprintf(named->name, sizeof(named->name), NAME_CLIENT "-%u-%llu-", id,
			   (unsigned long long)serial);

	if (vector == SOCKET)
		snprintf(named->name + len, sizeof(named->name) - (size_t)len, "socket");
	else
		snprintf(named->name + len, sizeof(named->name) - (size_t)len, "%d", vector);
}

int ivs_keep_take_client(struct ivs_keep *keep, unsigned int id, uint64_t serial,
			 unsigned int vectors_n, struct ivs_client **out)
{
	int *eventfds = reallocarray(NULL, vectors_n + 1, sizeof(int));
	struct ivs_named_fd key;
	IVS_OWNED_FD sock = -1;
	int result = 0;

	if (!eventfds)
		return -ENOMEM;
	name_fd(&key, id, serial, SOCKET);
	sock = ivs_inherited_take(&keep->inherited, key.name);
	for (unsigned int vector = 0; vector < vectors_n; vector++) {
		name_fd(&key, id, serial, (int)vector);
		eventfds[vector] = ivs_inherited_take(&keep->inherited, key.name);
		if (eventfds[vector] < 0)
			result = IVS_KEEP_E_ABSENT;
	}
	if (sock < 0)
		result = IVS_KEEP_E_ABSENT;
	if (!result)
		result = ivs_client_adopt(&sock, eventfds, vectors_n, out);
	if (!result) {
		(*out)->id = id;
		(*out)->serial = serial;
		(*out)->kept_n = ivs_keep_notes(keep)->unkept ? 0 : 1 + vectors_n;
	}
	for (unsigned int vector = 0; vector < vectors_n; vector++)
		ivs_fd_close(&eventfds[vector]);
	free(eventfds);
	return result;
}

void ivs_keep_rest(struct ivs_keep *keep)
{
	unsigned int failed_n = 0;
	unsigned int forgotten_n;

	for (size_t i = 0; i < keep->inherited.n; i++) {
		struct ivs_named_fd *entry = &keep->inherited.fds[i];

		if (entry->fd < 0 || !is_our_name(entry->name))
			continue;
		/* Copies elsewhere must not keep a connection alive that nobody serves. */
		shutdown(entry->fd, SHUT_RDWR);
		if (ivs_service_exists(&keep->service))
			failed_n += ivs_service_forget(&keep->service, entry, 1, &forgotten_n) != 0;
	}
	if (failed_n)
		ivs_log(IVS_LOG_WARNING,
			"the service manager keeps %u file descriptors that nobody needs, until "
			"the next start",
			failed_n);
	ivs_inherited_close(&keep->inherited);
}

static int fd_of(const struct ivs_client *client, unsigned int i)
{
	return i ? client->eventfds[i - 1] : client->sock;
}

/* The next of a client's fds, by name. Return: how many. */
static unsigned int name_fds(const struct ivs_client *client, unsigned int from, unsigned int end,
			     struct ivs_named_fd *fds)
{
	unsigned int n;

	for (n = 0; n < IVS_SERVICE_BATCH && from + n < end; n++) {
		name_fd(&fds[n], client->id, client->serial, (int)(from + n) - 1);
		fds[n].fd = fd_of(client, from + n);
	}
	return n;
}

int ivs_keep_client(const struct ivs_keep *keep, struct ivs_client *client)
{
	struct ivs_named_fd fds[IVS_SERVICE_BATCH];
	unsigned int done_n;
	int result = 0;

	if (!ivs_service_exists(&keep->service))
		client->kept_n = 1 + client->vectors_n;
	while (!result && client->kept_n < 1 + client->vectors_n) {
		unsigned int n = name_fds(client, client->kept_n, 1 + client->vectors_n, fds);

		result = ivs_service_store(&keep->service, fds, n, &done_n);
		client->kept_n += done_n;
	}
	return result;
}

int ivs_keep_forget_client(const struct ivs_keep *keep, struct ivs_client *client)
{
	struct ivs_named_fd fds[IVS_SERVICE_BATCH];
	unsigned int done_n;
	int result = 0;

	if (!ivs_service_exists(&keep->service))
		client->kept_n = 0;
	while (!result && client->kept_n) {
		unsigned int from = client->kept_n > IVS_SERVICE_BATCH
					    ? client->kept_n - IVS_SERVICE_BATCH
					    : 0;
		unsigned int n = name_fds(client, from, client->kept_n, fds);

		result = ivs_service_forget(&keep->service, fds, n, &done_n);
		/* In the order of their names, so what is left to do is counted from the front. */
		if (done_n == n)
			client->kept_n -= n;
	}
	return result;
}

static int list_client(const struct ivs_client *client, struct ivs_inherited *out)
{
	struct ivs_named_fd named;
	int result = 0;

	for (unsigned int i = 0; !result && i <= client->vectors_n; i++) {
		name_fd(&named, client->id, client->serial, (int)i - 1);
		result = ivs_inherited_add(out, fd_of(client, i), named.name);
	}
	return result;
}

int ivs_keep_list(const struct ivs_keep *keep, const struct ivs_keep_fds *fds,
		  struct ivs_client *const *clients, unsigned int ids_end,
		  struct ivs_inherited *out)
{
	int result = ivs_inherited_add(out, keep->fd, NAME_STATE);

	if (!result)
		result = ivs_inherited_add(out, fds->region, NAME_REGION);
	if (!result)
		result = ivs_inherited_add(out, fds->listener, NAME_LISTENER);
	if (!result && fds->control >= 0)
		result = ivs_inherited_add(out, fds->control, NAME_CONTROL);
	if (!result && ivs_service_exists(&keep->service))
		result = ivs_inherited_add(out, keep->service.sock, NAME_MANAGER);
	ivs_keep_notes(keep)->unkept = false;
	for (unsigned int id = 0; !result && id < ids_end; id++) {
		if (!clients[id])
			continue;
		if (clients[id]->kept_n != 1 + clients[id]->vectors_n)
			ivs_keep_notes(keep)->unkept = true;
		result = list_client(clients[id], out);
	}
	return result;
}
