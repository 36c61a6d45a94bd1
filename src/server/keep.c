/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/keep_state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "daemon/log.h"
#include "region/private.h"

#define MAGIC "ivshmemK"
#define VERSION 1
#define NOTES_LEN 24576 /* whole pages */

/*
 * The file is as long as the roster's memory can become, so that nobody needs to change its size later.
 * It is sparse: what has not been written costs nothing.
 */
#define FILE_LEN (INT64_C(8) << 30)

/* The roster's memory grows. */
IVS_SYSCALLS(ivs_keep_syscalls, {"mremap"}, {"munmap"}, {"close"});

static_assert(sizeof(struct ivs_keep_notes) <= NOTES_LEN, "the roster's memory follows");

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

static int other(struct ivs_error *err)
{
	return ivs_error_set(err, IVS_KEEP_E_OTHER,
			     "the running server keeps what it knows in another way");
}

int ivs_keep_read(int fd, struct ivs_keep_notes *notes, struct ivs_error *err)
{
	struct ivs_roster_memory_header header;
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return other(err);
	if (pread(fd, notes, sizeof(*notes), 0) != sizeof(*notes) ||
	    pread(fd, &header, sizeof(header), NOTES_LEN) != sizeof(header))
		return other(err);
	if (memcmp(notes->magic, MAGIC, sizeof(notes->magic)) || notes->version != VERSION ||
	    !memchr(notes->region, 0, sizeof(notes->region)) ||
	    !memchr(notes->filter, 0, sizeof(notes->filter)) ||
	    notes->memory_len > (uint64_t)st.st_size - NOTES_LEN ||
	    !ivs_roster_memory_header_check(&header, notes->memory_len))
		return other(err);
	return 0;
}

/* Copies of it, which the manager may still have, must not be taken for those of what comes now. */
static void spoil(int fd)
{
	const char nothing[sizeof(((struct ivs_keep_notes *)0)->magic)] = {0};

	if (pwrite(fd, nothing, sizeof(nothing), 0) < 0)
		ivs_log(IVS_LOG_WARNING, "cannot discard what the former server left: %s",
			strerrordesc_np(errno));
}

/* Whether there is something to go on with. */
static bool resume(struct ivs_keep *keep)
{
	struct ivs_keep_notes notes;
	struct ivs_error err;
	struct stat st;

	keep->fd = ivs_keep_take_own(keep, IVS_KEEP_STATE);
	if (keep->fd < 0)
		return false;
	if (!ivs_keep_read(keep->fd, &notes, &err) && !fstat(keep->fd, &st)) {
		keep->file_len = (uint64_t)st.st_size;
		if (!map_memory(keep, NOTES_LEN + notes.memory_len))
			return true;
		spoil(keep->fd);
	}
	ivs_log(IVS_LOG_WARNING, "cannot go on where the former server stopped: its clients are "
				 "disconnected");
	ivs_fd_close(&keep->fd);
	keep->own[IVS_KEEP_STATE] = -1;
	return false;
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
	ivs_keep_store_own(keep, IVS_KEEP_STATE, keep->fd);
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
	if (result == -EINVAL) {
		ivs_log(IVS_LOG_WARNING, "%s: nothing is gone on with", err->text);
		result = 0;
	}
	if (result)
		return result;
	/* Clients matter more than what a crash may cost. */
	if (keep->in_place)
		ivs_service_adopt(&keep->service,
				  ivs_inherited_take(&keep->inherited, NAME_MANAGER));
	else if (ivs_service_open(&keep->service, err))
		ivs_log(IVS_LOG_WARNING, "%s: going on without it", err->text);
	keep->resumed = resume(keep);
	return keep->resumed ? 0 : begin(keep, err);
}

void ivs_keep_close(struct ivs_keep *keep)
{
	unmap_memory(keep);
	ivs_fd_close(&keep->fd);
	ivs_inherited_close(&keep->inherited);
	ivs_inherited_free(&keep->forget);
	ivs_service_close(&keep->service);
}

/* What was asked for is what there was, whatever size clients have given the file since. */
static bool is_same_region(const struct ivs_keep *keep, const char *address,
			   const struct ivs_region_options *opts, int fd)
{
	const struct ivs_keep_notes *notes = ivs_keep_notes(keep);
	struct stat st;

	return fd >= 0 && !strcmp(notes->region, address) && !fstat(fd, &st) &&
	       S_ISREG(st.st_mode) && (!opts->size || notes->region_len == opts->size);
}

static int adopt_region(const struct ivs_keep *keep, const char *address, int *fd,
			struct ivs_region **out, struct ivs_error *err)
{
	const struct ivs_keep_notes *notes = ivs_keep_notes(keep);
	const struct ivs_region_former former = {notes->region_len, notes->region_created};
	struct stat st;
	int result;

	result = ivs_region_adopt(address, fd, &former, out, err);
	if (result)
		return result;
	if (!fstat(ivs_region_fd(*out), &st) && (uint64_t)st.st_size != former.size)
		ivs_log(IVS_LOG_WARNING, "a client has changed the size of the region %s", address);
	if (*ivs_region_path(*out) && !ivs_region_has_name(*out))
		ivs_log(IVS_LOG_WARNING,
			"%s has been removed: those who were connected go on with the memory, and "
			"nobody else finds it by that name",
			ivs_region_path(*out));
	return 0;
}

/* With another region nobody can be gone on with. */
static int begin_again(struct ivs_keep *keep, struct ivs_error *err)
{
	ivs_log(IVS_LOG_WARNING,
		"the region is not the same as before (%s): those who were connected are "
		"disconnected",
		ivs_keep_notes(keep)->region);
	spoil(keep->fd);
	unmap_memory(keep);
	ivs_fd_close(&keep->fd);
	return begin(keep, err);
}

int ivs_keep_region(struct ivs_keep *keep, const char *address,
		    const struct ivs_region_options *opts, struct ivs_region **out,
		    struct ivs_error *err)
{
	IVS_OWNED_FD fd = ivs_keep_take_own(keep, IVS_KEEP_REGION);
	struct ivs_keep_notes *notes = ivs_keep_notes(keep);
	int result;

	if (keep->resumed && is_same_region(keep, address, opts, fd)) {
		notes->resumed_n++;
		return adopt_region(keep, address, &fd, out, err);
	}
	keep->own[IVS_KEEP_REGION] = -1;
	/* First this: if it fails, the next start may still go on. */
	result = ivs_region_open(address, opts, out, err);
	if (!result && keep->resumed)
		result = begin_again(keep, err);
	if (result)
		return result;
	notes = ivs_keep_notes(keep);
	snprintf(notes->region, sizeof(notes->region), "%s", address);
	notes->region_created = ivs_region_created(*out);
	notes->region_len = ivs_region_size(*out);
	ivs_keep_store_own(keep, IVS_KEEP_REGION, ivs_region_fd(*out));
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

/* The manager's own sockets have names that its configuration gives them. */
static int take_managers_listener(struct ivs_keep *keep)
{
	for (size_t i = 0; i < keep->inherited.n; i++) {
		struct ivs_named_fd *entry = &keep->inherited.fds[i];

		if (entry->fd >= 0 && !ivs_keep_is_our_name(entry->name) && is_listener(entry->fd))
			return ivs_fd_take(&entry->fd);
	}
	return -1;
}

/* Whether @fd listens at @path and its name is there; where that is, @there. */
static bool is_named(int fd, const char *path, struct stat *there)
{
	struct sockaddr_un addr = {0};
	socklen_t len = sizeof(addr) - 1; /* so that a 0 follows */

	return !getsockname(fd, (struct sockaddr *)&addr, &len) && !strcmp(addr.sun_path, path) &&
	       !lstat(path, there) && S_ISSOCK(there->st_mode);
}

int ivs_keep_listener(struct ivs_keep *keep, const char *path, struct stat *ours)
{
	const struct ivs_keep_notes *notes = ivs_keep_notes(keep);
	struct stat there;
	int fd = ivs_keep_take_own(keep, IVS_KEEP_LISTENER);

	*ours = (struct stat){.st_dev = notes->socket_dev, .st_ino = notes->socket_ino};
	if (fd < 0) {
		*ours = (struct stat){0};
		return take_managers_listener(keep);
	}
	if (keep->resumed && !notes->socket_ino)
		return fd; /* the manager's, after an upgrade */
	if (is_listener(fd) && is_named(fd, path, &there) &&
	    (!keep->resumed || (there.st_dev == ours->st_dev && there.st_ino == ours->st_ino))) {
		*ours = there;
		return fd;
	}
	*ours = (struct stat){0};
	if (keep->in_place && is_listener(fd)) {
		ivs_log(IVS_LOG_WARNING, "the socket %s has been removed: nobody else can connect",
			path);
		return fd; /* under the filter another cannot be made */
	}
	ivs_log(IVS_LOG_WARNING,
		"the former server did not listen at %s, or that is gone: making it anew", path);
	keep->own[IVS_KEEP_LISTENER] = -1;
	ivs_fd_close(&fd);
	return take_managers_listener(keep);
}

void ivs_keep_new_listener(struct ivs_keep *keep, int sock, const struct stat *name)
{
	struct ivs_keep_notes *notes = ivs_keep_notes(keep);

	notes->socket_dev = name->st_dev;
	notes->socket_ino = name->st_ino;
	ivs_keep_store_own(keep, IVS_KEEP_LISTENER, sock);
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
