/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>

#include "base/access.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/parse.h"
#include "base/shell.h"
#include "daemon/close.h"
#include "daemon/log.h"
#include "daemon/socket_file.h"

/* System calls to remove the socket file at exit, and to adopt a socket after execve(2). */
IVS_SYSCALLS(ivs_listener_syscalls, IVS_CALL_LSTAT, IVS_CALL_UNLINK, {"accept4"}, {"close"},
	     {"setsockopt", {IVS_ARG_IS(2, SOL_SOCKET), IVS_ARG_IS(3, SO_PASSRIGHTS)}});

/*
 * Two servers that start at the same time must not both find the same stale socket: the second
 * would remove the socket that the first has just created. Locking the directory makes a lock file
 * unnecessary.
 */
static int lock_directory(const char *path, int *lock, struct ivs_error *err)
{
	char copy[IVS_UNIX_PATH_LEN];
	const char *dir;
	int result;

	snprintf(copy, sizeof(copy), "%s", path);
	dir = dirname(copy);
	*lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*lock < 0)
		return ivs_error_errno(err, errno, "cannot open %s, the directory of the socket",
				       dir);
	result = ivs_file_lock(*lock, LOCK_EX, false);
	if (result == IVS_FILE_E_BUSY)
		return ivs_error_set(err, IVS_LISTENER_E_BUSY,
				     "another process keeps the directory %s locked", dir);
	if (result)
		return ivs_error_errno(err, -result, "cannot lock %s", dir);
	return 0;
}

/*
 * Remove the socket file if no process is listening on it. Probe it with a datagram socket: the
 * kernel refuses to connect it to a stream socket, so a running server does not notice the probe.
 */
static int remove_stale(const struct sockaddr_un *addr, struct ivs_error *err)
{
	const char *path = addr->sun_path;
	char why[IVS_ACCESS_TEXT_LEN];
	IVS_OWNED_FD probe = -1;
	struct stat st;

	if (lstat(path, &st)) {
		if (errno == ENOENT)
			return 0; /* another process has removed it */
		return ivs_error_errno(err, errno, "cannot check %s", path);
	}
	if (!S_ISSOCK(st.st_mode))
		return ivs_error_set(err, IVS_LISTENER_E_PATH,
				     "%s exists and is not a socket, but %s: %suse another path",
				     path, ivs_file_kind(st.st_mode),
				     S_ISDIR(st.st_mode) ? "" : "remove it or ");
	probe = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (probe < 0)
		return ivs_error_errno(err, errno, "cannot create a socket");
	if (!connect(probe, (const struct sockaddr *)addr, sizeof(*addr)) || errno == EPROTOTYPE)
		return ivs_error_set(err, IVS_LISTENER_E_BUSY,
				     "another process is already listening at %s: stop it, or use "
				     "another path",
				     path);
	if (errno == EACCES)
		return ivs_error_set(err, -EACCES, "the socket %s exists: %s", path,
				     ivs_socket_file_explain(path, why));
	if (errno != ECONNREFUSED)
		return ivs_error_errno(err, errno, "cannot find out whether %s is in use", path);
	if (unlink(path)) {
		int errnum = errno;

		return ivs_error_set(err, -errnum, "cannot remove the stale socket %s: %s: %s",
				     path, strerrordesc_np(errnum),
				     ivs_socket_file_explain(path, why));
	}
	return 0;
}

/*
 * The kernel creates the socket file with the permission bits of the socket, minus the umask. So
 * the file has its mode from the beginning, and no path is followed to set it: another user who may
 * write to the directory could put a symbolic link there. @mode: the permission bits; 0: as the
 * umask permits.
 *
 * Return: 0 or -errno.
 */
static int bind_with_mode(int fd, const struct sockaddr_un *addr, mode_t mode)
{
	mode_t former;
	int result;

	if (!mode)
		return bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? -errno : 0;
	if (fchmod(fd, mode))
		return -errno;
	former = umask(0);
	result = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? -errno : 0;
	umask(former);
	return result;
}

static int replace_stale(int fd, const struct sockaddr_un *addr, mode_t mode, struct ivs_error *err)
{
	IVS_OWNED_FD lock = -1;
	int result;

	result = lock_directory(addr->sun_path, &lock, err);
	if (result)
		return result;
	result = remove_stale(addr, err);
	if (result)
		return result;
	result = bind_with_mode(fd, addr, mode);
	return result ? ivs_error_errno(err, -result, "cannot create the socket %s", addr->sun_path)
		      : 0;
}

/* Lock the directory only if necessary: any user can hold the lock on a directory such as /tmp. */
static int bind_or_replace(int fd, const struct sockaddr_un *addr, mode_t mode,
			   struct ivs_error *err)
{
	int result = bind_with_mode(fd, addr, mode);
	char copy[IVS_UNIX_PATH_LEN];
	char why[IVS_ACCESS_TEXT_LEN];

	if (!result)
		return 0;
	if (result == -EADDRINUSE)
		return replace_stale(fd, addr, mode, err);
	if (result == -EACCES)
		return ivs_error_set(err, result,
				     "cannot create the socket %s: Permission denied: %s",
				     addr->sun_path, ivs_access_explain(addr->sun_path, W_OK, why));
	snprintf(copy, sizeof(copy), "%s", addr->sun_path);
	ivs_error_errno(err, -result, "cannot create the socket %s", addr->sun_path);
	if (result == -ENOENT)
		ivs_shell_add_error(err, ": mkdir -p ", dirname(copy), "");
	return result;
}

/*
 * Open the socket file without following a link, so that it cannot be exchanged for another file
 * afterwards. If it has already been exchanged, it may be another socket, but no other kind of
 * file, and no file with a second hard link.
 */
static int open_socket_file(const char *path, int *file_fd, struct stat *st, struct ivs_error *err)
{
	*file_fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (*file_fd < 0 || fstat(*file_fd, st))
		return ivs_error_errno(err, errno, "cannot check the socket %s", path);
	if (S_ISSOCK(st->st_mode) && st->st_nlink == 1)
		return 0;
	return ivs_error_set(
		err, IVS_LISTENER_E_PATH,
		"another process has replaced the socket %s while it was being created: "
		"use a directory that no other user can write to",
		path);
}

/* A default ACL of the directory may have removed bits from the mode. */
static int restore_mode(int file_fd, const struct stat *st, mode_t mode)
{
	char name[40];

	if (!mode || (st->st_mode & 07777) == mode)
		return 0;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", file_fd);
	return chmod(name, mode) ? -errno : 0;
}

/* Call this before listen(2): until then the kernel refuses connections. */
static int set_owner(const struct ivs_listener_options *opts, struct stat *st,
		     struct ivs_error *err)
{
	char owner[IVS_OWNER_TEXT_LEN];
	IVS_OWNED_FD fd = -1;
	int result;

	result = open_socket_file(opts->path, &fd, st, err);
	if (result)
		return result;
	if ((opts->uid != (uid_t)-1 || opts->gid != (gid_t)-1) &&
	    fchownat(fd, "", opts->uid, opts->gid, AT_EMPTY_PATH))
		return ivs_error_set(err, -errno,
				     "cannot change the owner of the socket %s to %s: %s%s",
				     opts->path, ivs_owner_text(opts->uid, opts->gid, owner),
				     strerrordesc_np(errno),
				     errno == EPERM ? ivs_access_chown_cure(opts->uid) : "");
	result = restore_mode(fd, st, opts->mode);
	return result ? ivs_error_errno(err, -result, "cannot set the mode of %s", opts->path) : 0;
}

int ivs_listener_open(struct ivs_listener *listener, const struct ivs_listener_options *opts,
		      struct ivs_error *err)
{
	const char *path = opts->path;
	struct sockaddr_un addr;
	IVS_OWNED_FD fd = -1;
	int result;

	if (!ivs_unix_address(path, &addr, err))
		return IVS_LISTENER_E_PATH;
	strcpy(listener->path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ivs_error_errno(err, errno, "cannot create a socket");
	result = bind_or_replace(fd, &addr, opts->mode, err);
	if (result)
		return result;
	result = set_owner(opts, &listener->ours, err);
	if (!result && listen(fd, SOMAXCONN))
		result = ivs_error_errno(err, errno, "cannot listen at %s", path);
	if (result) {
		if (result != IVS_LISTENER_E_PATH) /* in that case the path names another file */
			unlink(path);
		return result;
	}
	listener->fd = ivs_fd_take(&fd);
	return 0;
}

int ivs_listener_adopt(struct ivs_listener *listener, int *fd, const struct stat *ours)
{
	struct sockaddr_un addr = {0};
	socklen_t len = sizeof(addr) - 1; /* leave room for the terminating NUL */
	int flags = fcntl(*fd, F_GETFL);

	if (getsockname(*fd, (struct sockaddr *)&addr, &len) || flags < 0 ||
	    (!(flags & O_NONBLOCK) && fcntl(*fd, F_SETFL, flags | O_NONBLOCK)))
		return -errno;
	strcpy(listener->path, addr.sun_path);
	memset(&listener->ours, 0, sizeof(listener->ours));
	if (ours) {
		listener->ours = *ours;
		if (ivs_path_is(listener->path, ours) <= 0)
			return IVS_LISTENER_E_PATH;
	}
	listener->fd = ivs_fd_take(fd);
	return 0;
}

void ivs_listener_refuse_fds(const struct ivs_listener *listener)
{
	const int none = 0;

	(void)setsockopt(listener->fd, SOL_SOCKET, SO_PASSRIGHTS, &none, sizeof(none));
}

/*
 * Connections that are waiting to be accepted would stay open as long as the listening socket, and
 * closing that socket could block on their unread fds. A process that looked up the socket's path
 * before it was removed can still connect until the shutdown(2).
 */
static void refuse_waiting(const struct ivs_listener *listener)
{
	(void)shutdown(listener->fd, SHUT_RD);
	for (;;) {
		int sock_fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);

		if (sock_fd >= 0)
			ivs_socket_discard(&sock_fd);
		else if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

void ivs_listener_close(struct ivs_listener *listener)
{
	int result;

	if (listener->fd < 0)
		return;
	result = listener->ours.st_ino ? ivs_path_is(listener->path, &listener->ours) : 0;
	if (result > 0)
		result = unlink(listener->path) ? -errno : 0;
	if (result && result != -ENOENT)
		ivs_log(IVS_LOG_WARNING, "cannot remove the socket %s: %s", listener->path,
			strerrordesc_np(-result));
	if (listener->ours.st_ino)
		refuse_waiting(listener);
	ivs_socket_close(&listener->fd);
}
