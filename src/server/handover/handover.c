/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/handover/private.h"

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
#include "base/file.h"
#include "base/unix_address.h"
#include "daemon/log.h"
#include "region/region.h"

#define MAGIC "ivshmemK"
#define VERSION 1
#define NOTES_LEN 24576 /* must be whole pages */

/*
 * The memfd is as long as the roster's memory can ever become, so it never has to be resized. It is
 * sparse: pages that have not been written cost nothing.
 */
#define FILE_LEN (INT64_C(8) << 30)

#define DISCARD_MIN (1 << 20) /* a roster of a few hundred clients is not worth the system calls */

/* mremap(2) grows the roster's memory, and madvise(2) returns parts of it to the system. */
IVS_SYSCALLS(ivs_handover_syscalls, {"mremap"}, {"madvise", {IVS_ARG_IS(3, MADV_REMOVE)}},
	     {"munmap"}, {"close"});

static_assert(sizeof(struct ivs_handover_notes) <= NOTES_LEN,
	      "the roster's memory follows the notes");

struct ivs_handover_notes *ivs_handover_notes(const struct ivs_handover *handover)
{
	return (struct ivs_handover_notes *)(void *)(handover->memory.base - NOTES_LEN);
}

static struct ivs_handover *handover_of(struct ivs_roster_memory *memory)
{
	return (struct ivs_handover *)(void *)((char *)memory -
					       offsetof(struct ivs_handover, memory));
}

/* The new bytes are 0, as the roster requires, because they have never been written. */
static int grow_memory(struct ivs_roster_memory *memory, size_t len)
{
	struct ivs_handover *handover = handover_of(memory);
	void *map;

	if (NOTES_LEN + len > handover->file_len)
		return -ENOMEM;
	map = mremap(memory->base - NOTES_LEN, NOTES_LEN + memory->len, NOTES_LEN + len,
		     MREMAP_MAYMOVE);
	if (map == MAP_FAILED)
		return -errno;
	memory->base = (uint8_t *)map + NOTES_LEN;
	memory->len = len;
	ivs_handover_notes(handover)->memory_len = len;
	return 0;
}

/* Punch holes in the memfd: their bytes read as 0, and they take no memory. */
static void discard_memory(struct ivs_roster_memory *memory, size_t offset, size_t len, bool zero)
{
	uintptr_t page_len = (uintptr_t)sysconf(_SC_PAGESIZE);
	uint8_t *begin = memory->base + offset;
	uint8_t *end = begin + len;
	uint8_t *first = begin + (-(uintptr_t)begin & (page_len - 1));
	uint8_t *last = end - ((uintptr_t)end & (page_len - 1));

	if (memory->len < DISCARD_MIN || first >= last ||
	    madvise(first, (size_t)(last - first), MADV_REMOVE))
		first = last = end;
	if (!zero)
		return;
	memset(begin, 0, (size_t)(first - begin));
	memset(last, 0, (size_t)(end - last));
}

static int map_memory(struct ivs_handover *handover, size_t len)
{
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, handover->state_fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	handover->memory = (struct ivs_roster_memory){(uint8_t *)map + NOTES_LEN, len - NOTES_LEN,
						      grow_memory, discard_memory};
	return 0;
}

static void unmap_memory(struct ivs_handover *handover)
{
	if (handover->memory.base)
		munmap(handover->memory.base - NOTES_LEN, NOTES_LEN + handover->memory.len);
	handover->memory.base = NULL;
}

static int refuse_format(struct ivs_error *err)
{
	return ivs_error_set(err, IVS_HANDOVER_E_OTHER,
			     "the running server uses a different state format");
}

int ivs_handover_read_notes(int fd, struct ivs_handover_notes *notes, struct ivs_error *err)
{
	struct ivs_roster_memory_header header;
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return refuse_format(err);
	if (pread(fd, notes, sizeof(*notes), 0) != sizeof(*notes) ||
	    pread(fd, &header, sizeof(header), NOTES_LEN) != sizeof(header))
		return refuse_format(err);
	if (memcmp(notes->magic, MAGIC, sizeof(notes->magic)) || notes->version != VERSION ||
	    !memchr(notes->region, 0, sizeof(notes->region)) ||
	    !memchr(notes->filter, 0, sizeof(notes->filter)) ||
	    notes->memory_len > (uint64_t)st.st_size - NOTES_LEN ||
	    !ivs_roster_memory_header_check(&header, notes->memory_len))
		return refuse_format(err);
	return 0;
}

/*
 * Invalidate the state. The manager may still have copies of @fd, but no server may resume from
 * them.
 */
static void discard_state(int fd)
{
	const char nothing[sizeof(((struct ivs_handover_notes *)0)->magic)] = {0};

	if (pwrite(fd, nothing, sizeof(nothing), 0) < 0)
		ivs_log(IVS_LOG_WARNING, "cannot discard the state of the previous server: %s",
			strerrordesc_np(errno));
}

/* Return: whether there is state to resume. */
static bool resume_state(struct ivs_handover *handover)
{
	struct ivs_handover_notes notes;
	struct ivs_error err;
	struct stat st;

	handover->state_fd = ivs_handover_take_own(handover, IVS_HANDOVER_STATE);
	if (handover->state_fd < 0)
		return false;
	if (!ivs_handover_read_notes(handover->state_fd, &notes, &err) &&
	    !fstat(handover->state_fd, &st)) {
		handover->file_len = (uint64_t)st.st_size;
		if (!map_memory(handover, NOTES_LEN + notes.memory_len))
			return true;
		discard_state(handover->state_fd);
	}
	ivs_log(IVS_LOG_WARNING,
		"cannot resume the state of the previous server; disconnecting its clients");
	ivs_fd_close(&handover->state_fd);
	handover->unstored_fds[IVS_HANDOVER_STATE] = -1;
	return false;
}

/* Return: FILE_LEN, or the limit set with "ulimit -f" if that is lower. */
static uint64_t file_len(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) || limit.rlim_cur > FILE_LEN)
		return FILE_LEN;
	return limit.rlim_cur > NOTES_LEN ? limit.rlim_cur : NOTES_LEN;
}

/* Start with new, empty state. */
static int begin_state(struct ivs_handover *handover, struct ivs_error *err)
{
	struct ivs_handover_notes *notes;
	int result;

	handover->resumed = false;
	handover->state_fd = memfd_create("ivshmem-state", MFD_CLOEXEC);
	handover->file_len = file_len();
	if (handover->state_fd < 0 || ftruncate(handover->state_fd, (off_t)handover->file_len))
		return ivs_error_errno(err, errno, "cannot create a memfd");
	result = map_memory(handover, NOTES_LEN);
	if (result)
		return ivs_error_errno(err, -result, "cannot map a memfd");
	notes = ivs_handover_notes(handover);
	notes->version = VERSION;
	memcpy(notes->magic, MAGIC, sizeof(notes->magic));
	ivs_handover_store_own(handover, IVS_HANDOVER_STATE, handover->state_fd);
	return 0;
}

int ivs_handover_open(struct ivs_handover *handover, int list_fd, struct ivs_error *err)
{
	int result;

	*handover = (struct ivs_handover)IVS_HANDOVER_INIT;
	handover->in_place = list_fd >= 0;
	if (handover->in_place)
		result = ivs_inherited_from_program(&handover->inherited, list_fd, err);
	else
		result = ivs_inherited_from_manager(&handover->inherited, err);
	if (result == -EINVAL) {
		ivs_log(IVS_LOG_WARNING, "%s: starting without saved state", err->text);
		result = 0;
	}
	if (result)
		return result;
	/* If the manager cannot be reached, serve the clients without it. */
	if (handover->in_place)
		ivs_service_adopt(&handover->service,
				  ivs_inherited_take(&handover->inherited, NAME_MANAGER));
	else if (ivs_service_open(&handover->service, err))
		ivs_log(IVS_LOG_WARNING, "%s: continuing without it", err->text);
	handover->resumed = resume_state(handover);
	return handover->resumed ? 0 : begin_state(handover, err);
}

void ivs_handover_close(struct ivs_handover *handover)
{
	unmap_memory(handover);
	ivs_fd_close(&handover->state_fd);
	ivs_inherited_close(&handover->inherited);
	ivs_inherited_free(&handover->forget);
	ivs_service_close(&handover->service);
}

/*
 * Check that the address and the size are those that the previous server had. The file's current
 * size does not matter: clients may have changed it.
 */
static bool is_same_region(const struct ivs_handover *handover, const char *address,
			   const struct ivs_region_options *opts, int fd)
{
	const struct ivs_handover_notes *notes = ivs_handover_notes(handover);
	struct stat st;

	return fd >= 0 && !strcmp(notes->region, address) && !fstat(fd, &st) &&
	       S_ISREG(st.st_mode) && (!opts->size || notes->region_len == opts->size);
}

static int adopt_region(const struct ivs_handover *handover, const char *address, int *fd,
			struct ivs_region **out, struct ivs_error *err)
{
	const struct ivs_handover_notes *notes = ivs_handover_notes(handover);
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
			"%s has been removed: connected clients continue to use the memory, but it "
			"cannot be opened by that name",
			ivs_region_path(*out));
	return 0;
}

/* Start with new state, because no client can be resumed with a different region. */
static int restart_state(struct ivs_handover *handover, struct ivs_error *err)
{
	ivs_log(IVS_LOG_WARNING,
		"the region is different from before (%s): the clients of the previous server are "
		"disconnected",
		ivs_handover_notes(handover)->region);
	discard_state(handover->state_fd);
	unmap_memory(handover);
	ivs_fd_close(&handover->state_fd);
	return begin_state(handover, err);
}

int ivs_handover_open_region(struct ivs_handover *handover, const char *address,
			     const struct ivs_region_options *opts, struct ivs_region **out,
			     struct ivs_error *err)
{
	IVS_OWNED_FD fd = ivs_handover_take_own(handover, IVS_HANDOVER_REGION);
	struct ivs_handover_notes *notes = ivs_handover_notes(handover);
	int result;

	if (handover->resumed && is_same_region(handover, address, opts, fd)) {
		notes->resumed_n++;
		return adopt_region(handover, address, &fd, out, err);
	}
	handover->unstored_fds[IVS_HANDOVER_REGION] = -1;
	/* Open the region first: if this fails, the next start can resume the previous state. */
	result = ivs_region_open(address, opts, out, err);
	if (!result && handover->resumed)
		result = restart_state(handover, err);
	if (result)
		return result;
	notes = ivs_handover_notes(handover);
	snprintf(notes->region, sizeof(notes->region), "%s", address);
	notes->region_created = ivs_region_created(*out);
	notes->region_len = ivs_region_size(*out);
	ivs_handover_store_own(handover, IVS_HANDOVER_REGION, ivs_region_fd(*out));
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

/*
 * Take a listening socket that the manager opened. The socket's name comes from the manager's
 * configuration.
 */
static int take_activated_listener(struct ivs_handover *handover)
{
	for (size_t i = 0; i < handover->inherited.n; i++) {
		struct ivs_named_fd *entry = &handover->inherited.fds[i];

		if (entry->fd >= 0 && !ivs_handover_is_our_name(entry->name) &&
		    is_listener(entry->fd))
			return ivs_fd_take(&entry->fd);
	}
	return -1;
}

/* Return: whether @fd is bound to @path and a socket file exists there, which @there describes. */
static bool is_named(int fd, const char *path, struct stat *there)
{
	struct sockaddr_un addr = {0};
	socklen_t len = sizeof(addr) - 1; /* room for the terminating NUL */

	return !getsockname(fd, (struct sockaddr *)&addr, &len) && !strcmp(addr.sun_path, path) &&
	       !lstat(path, there) && S_ISSOCK(there->st_mode);
}

/*
 * Return: whether @fd is the socket that listens at @path: SO_PEERCRED of a connection, and of the
 * listening socket, shows the process that called listen(2). The connection is closed immediately.
 */
static bool listens_at(int fd, const char *path)
{
	IVS_OWNED_FD probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un addr;
	struct ucred ours;
	struct ucred theirs;
	socklen_t len = sizeof(ours);

	return probe >= 0 && ivs_unix_address(path, &addr, NULL) &&
	       !connect(probe, (const struct sockaddr *)&addr, sizeof(addr)) &&
	       !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ours, &len) &&
	       !getsockopt(probe, SOL_SOCKET, SO_PEERCRED, &theirs, &len) && ours.pid &&
	       ours.pid == theirs.pid && ours.uid == theirs.uid && ours.gid == theirs.gid;
}

/*
 * Return: whether the socket file at @path is that of the previous server's @fd; @there: set to the
 * attributes of the socket file. If the notes name another file, they may be damaged. If @fd
 * nevertheless listens at @path, no new socket can be created there, because the service manager's
 * copy of @fd still listens.
 */
static bool is_former(const struct ivs_handover *handover, int fd, const char *path,
		      struct stat *there)
{
	const struct ivs_handover_notes *notes = ivs_handover_notes(handover);
	const struct stat noted = {.st_dev = notes->socket_dev, .st_ino = notes->socket_ino};

	if (!is_listener(fd) || !is_named(fd, path, there))
		return false;
	return !handover->resumed || ivs_stat_same(there, &noted) ||
	       (!handover->in_place && listens_at(fd, path));
}

int ivs_handover_take_listener(struct ivs_handover *handover, const char *path, struct stat *ours)
{
	struct ivs_handover_notes *notes = ivs_handover_notes(handover);
	struct stat there;
	int fd = ivs_handover_take_own(handover, IVS_HANDOVER_LISTENER);

	*ours = (struct stat){0};
	if (fd < 0)
		return take_activated_listener(handover);
	if (handover->resumed && !notes->socket_ino)
		return fd; /* the manager opened this socket, and an upgrade passed it on */
	if (is_former(handover, fd, path, &there)) {
		*ours = there;
		notes->socket_dev = there.st_dev;
		notes->socket_ino = there.st_ino;
		return fd;
	}
	if (handover->in_place && is_listener(fd)) {
		ivs_log(IVS_LOG_WARNING,
			"the socket %s has been removed: no new client can connect", path);
		return fd; /* the filter does not permit creating another socket */
	}
	ivs_log(IVS_LOG_WARNING,
		"the previous server did not listen at %s, or the socket is gone: creating a new "
		"one",
		path);
	handover->unstored_fds[IVS_HANDOVER_LISTENER] = -1;
	ivs_fd_close(&fd);
	return take_activated_listener(handover);
}

void ivs_handover_store_listener(struct ivs_handover *handover, int sock_fd,
				 const struct stat *name)
{
	struct ivs_handover_notes *notes = ivs_handover_notes(handover);

	notes->socket_dev = name->st_dev;
	notes->socket_ino = name->st_ino;
	ivs_handover_store_own(handover, IVS_HANDOVER_LISTENER, sock_fd);
}

int ivs_handover_take_control(struct ivs_handover *handover, struct stat *name)
{
	const struct ivs_handover_notes *notes = ivs_handover_notes(handover);

	*name = (struct stat){.st_dev = notes->control_dev, .st_ino = notes->control_ino};
	return ivs_inherited_take(&handover->inherited, NAME_CONTROL);
}

int ivs_handover_take_closer(struct ivs_handover *handover)
{
	return ivs_inherited_take(&handover->inherited, NAME_CLOSER);
}

void ivs_handover_note_control(struct ivs_handover *handover, const struct stat *name)
{
	struct ivs_handover_notes *notes = ivs_handover_notes(handover);

	notes->control_dev = name->st_dev;
	notes->control_ino = name->st_ino;
}
