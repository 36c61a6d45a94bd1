/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * F_GET_SEALS works for memory only, and does not query the file system. For other files, statx(2)
 * with AT_STATX_DONT_SYNC returns the device and the mount, also without querying the file system,
 * and mountinfo shows the type of that mount. If the fd was opened in another mount namespace,
 * mountinfo does not list the mount's id; the device number is the same in all namespaces.
 */
#include "region/received.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/fd.h"
#include "base/statx.h"

IVS_SYSCALLS(ivs_received_syscalls, {"fcntl", {IVS_ARG_IS(2, F_GET_SEALS)}},
	     {"fcntl64", {IVS_ARG_IS(2, F_GET_SEALS)}}, {"statx"}, {"pread64"});

#define MOUNTINFO_STEP (16U << 10)
#define MOUNTINFO_MAX (64U << 20)

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000U
#endif

/** struct mount - a line of mountinfo */
struct mount {
	uint64_t id;
	uint64_t device;
	const char *point;
	const char *type;
};

/** struct place - the file system and the mount that contain a file */
struct place {
	bool has_mount;
	uint64_t mount_id;
	uint64_t device;
};

static bool place_of(int fd, struct place *out)
{
	struct statx st;

	if (ivs_statx(fd, STATX_MNT_ID, &st))
		return false;
	*out = (struct place){
		.has_mount = st.stx_mask & STATX_MNT_ID,
		.mount_id = st.stx_mnt_id,
		.device = (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor,
	};
	return true;
}

/* Return: the text of mountinfo, or NULL. */
static char *read_mountinfo(int fd)
{
	size_t room = MOUNTINFO_STEP;
	size_t len = 0;
	char *text = malloc(room + 1);
	ssize_t n = 1;

	while (text && n > 0) {
		if (len == room && room < MOUNTINFO_MAX) {
			char *more = realloc(text, (room *= 2) + 1);

			if (!more)
				break;
			text = more;
		}
		n = pread(fd, text + len, room - len, (off_t)len);
		if (n > 0)
			len += (size_t)n;
		else if (n < 0 && errno == EINTR)
			n = 1;
	}
	if (text && !n) {
		text[len] = '\0';
		return text;
	}
	free(text);
	return NULL;
}

/*
 * Parse a line, in whose fields spaces are escaped; modifies @line. Return: whether it describes a
 * mount.
 */
static bool parse_mount(char *line, struct mount *out)
{
	char *separator = strstr(line, " - ");
	unsigned int major;
	unsigned int minor;
	unsigned int id;
	int point;

	if (!separator || sscanf(line, "%u %*u %u:%u %*s %n", &id, &major, &minor, &point) != 3)
		return false;
	*out = (struct mount){id, (uint64_t)major << 32 | minor, line + point, separator + 3};
	line[point + (int)strcspn(line + point, " ")] = '\0';
	separator[3 + strcspn(separator + 3, " ")] = '\0';
	return true;
}

/* Parse the next line of @text. Return: whether there was one. */
static bool next_mount(char **text, struct mount *out)
{
	char *line;

	while ((line = strsep(text, "\n"))) {
		if (parse_mount(line, out))
			return true;
	}
	return false;
}

/* Replace "\040" with " ", in place. */
static void unescape(char *text)
{
	char *to = text;

	while (*text) {
		unsigned int code;

		if (*text == '\\' && sscanf(text, "\\%3o", &code) == 1) {
			*to++ = (char)code;
			text += 4;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
}

/*
 * Open the path only if the kernel can resolve it without querying a file system: a user can mount
 * FUSE over a part of the path. The path may then lead to another mount, so compare the mounts.
 */
static void note_btrfs(struct ivs_received_mounts *mounts, const struct mount *mount)
{
	const struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_CACHED};
	IVS_OWNED_FD fd = -1;
	struct place place;

	if (mounts->btrfs_n == IVS_RECEIVED_BTRFS_MAX || strcmp(mount->type, "btrfs") != 0)
		return;
	unescape((char *)mount->point);
	fd = (int)syscall(SYS_openat2, AT_FDCWD, mount->point, &how, sizeof(how));
	if (fd >= 0 && place_of(fd, &place) && place.has_mount && place.mount_id == mount->id)
		mounts->btrfs[mounts->btrfs_n++] = place.device;
}

void ivs_received_mounts_open(struct ivs_received_mounts *mounts)
{
	struct mount mount;
	char *text;
	char *rest;

	mounts->btrfs_n = 0;
	mounts->fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	rest = text = mounts->fd < 0 ? NULL : read_mountinfo(mounts->fd);
	while (rest && next_mount(&rest, &mount))
		note_btrfs(mounts, &mount);
	free(text);
}

void ivs_received_mounts_close(struct ivs_received_mounts *mounts)
{
	ivs_fd_close(&mounts->fd);
}

static bool is_on_disk(const char *type)
{
	static const char *const types[] = {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"};

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (!strcmp(type, types[i]))
			return true;
	}
	return false;
}

/* Set @type to the type of the file system, or to "unknown". */
static void find_type(const struct ivs_received_mounts *mounts, const struct place *place,
		      char *type, size_t len)
{
	char *text = mounts->fd < 0 ? NULL : read_mountinfo(mounts->fd);
	char *rest = text;
	struct mount mount;
	bool found = false;

	snprintf(type, len, "unknown");
	while (rest && !found && next_mount(&rest, &mount)) {
		found = (place->has_mount && mount.id == place->mount_id) ||
			mount.device == place->device;
		if (found)
			snprintf(type, len, "%s", mount.type);
	}
	free(text);
	for (unsigned int i = 0; !found && i < mounts->btrfs_n; i++) {
		if (mounts->btrfs[i] == place->device)
			snprintf(type, len, "btrfs");
	}
}

bool ivs_received_is_memory(int fd)
{
	return fcntl(fd, F_GET_SEALS) >= 0;
}

void ivs_received_look(const struct ivs_received_mounts *mounts, int fd, struct ivs_received *out)
{
	struct place place;

	*out = (struct ivs_received){IVS_RECEIVED_MEMORY, "memory"};
	if (ivs_received_is_memory(fd))
		return;
	out->kind = IVS_RECEIVED_OTHER;
	snprintf(out->file_system, sizeof(out->file_system), "unknown");
	if (place_of(fd, &place))
		find_type(mounts, &place, out->file_system, sizeof(out->file_system));
	if (is_on_disk(out->file_system))
		out->kind = IVS_RECEIVED_DISK;
}
