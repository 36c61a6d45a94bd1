/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/background.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/access.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/shell.h"
#include "daemon/log.h"

/* System calls to notify the parent that the child is ready, and to remove the pidfile at exit. */
IVS_SYSCALLS(ivs_background_syscalls, IVS_CALL_DUP2, {"write"}, {"close"}, IVS_CALL_FSTAT,
	     IVS_CALL_LSTAT, IVS_CALL_UNLINK);

/* Return: 1: the file is empty or holds a number; 0: it holds something else; -errno. */
static int looks_like_pidfile(int fd, const struct stat *st)
{
	char text[32] = "";
	ssize_t digits_n;
	ssize_t n;

	if (!S_ISREG(st->st_mode))
		return 0;
	n = pread(fd, text, sizeof(text) - 1, 0);
	if (n < 0)
		return -errno;
	if (n != st->st_size)
		return 0;
	digits_n = (ssize_t)strspn(text, "0123456789");
	return digits_n == n || (digits_n && digits_n == n - 1 && text[digits_n] == '\n');
}

/* A user who can write to the file could later put another process's id in it, for root to kill. */
static int check_pidfile(int fd, const char *path, struct ivs_error *err)
{
	struct stat st;
	int looks = fstat(fd, &st) ? -errno : looks_like_pidfile(fd, &st);

	if (looks < 0)
		return ivs_error_errno(err, -looks, "cannot read the pidfile %s", path);
	if (!looks)
		return ivs_error_set(err, IVS_PIDFILE_E_FOREIGN,
				     "%s does not look like a pidfile: remove it or use another "
				     "file (-p)",
				     path);
	if (st.st_uid && st.st_uid != geteuid())
		return ivs_error_set(err, IVS_PIDFILE_E_FOREIGN,
				     "the pidfile %s is owned by uid %d, who can change the number "
				     "in it: remove it or use another file (-p)",
				     path, (int)st.st_uid);
	if (st.st_mode & S_IWOTH)
		return ivs_error_set(err, IVS_PIDFILE_E_FOREIGN,
				     "the pidfile %s is writable by all users, who can change the "
				     "number in it: remove it or use another file (-p)",
				     path);
	return 0;
}

static int lock_pidfile(int fd, const char *path, struct ivs_error *err)
{
	int result = check_pidfile(fd, path, err);

	if (result || !flock(fd, LOCK_EX | LOCK_NB))
		return result;
	if (errno != EWOULDBLOCK)
		return ivs_error_errno(err, errno, "cannot lock the pidfile %s", path);
	return ivs_error_set(err, IVS_PIDFILE_E_BUSY,
			     "the pidfile %s belongs to a running server: stop it or use another "
			     "file (-p)",
			     path);
}

#define OPEN_FLAGS (O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)

/* Try to open an existing file first, to find out whether this call created it. */
static int open_pidfile(const char *path, bool *made)
{
	int fd = open(path, O_RDWR | OPEN_FLAGS);

	*made = fd < 0 && errno == ENOENT;
	return *made ? open(path, O_RDWR | O_CREAT | O_EXCL | OPEN_FLAGS, 0644) : fd;
}

static int pidfile_open_error(const char *path, int errnum, struct ivs_error *err)
{
	char why[IVS_ACCESS_TEXT_LEN];
	char copy[PATH_MAX];
	const char *dir;

	snprintf(copy, sizeof(copy), "%s", path);
	dir = dirname(copy);
	if (errnum == ENOENT && !access(dir, F_OK)) /* true if the path is "" */
		return ivs_error_errno(err, errnum, "cannot open the pidfile \"%s\"", path);
	switch (errnum) {
	case EACCES:
		return ivs_error_set(err, -errnum,
				     "cannot open the pidfile %s: Permission denied: %s (-p FILE)",
				     path, ivs_access_explain(path, R_OK | W_OK, why));
	case ENOENT:
		ivs_error_set(err, -errnum,
			      "cannot open the pidfile %s: the directory %s does not exist", path,
			      dir);
		ivs_shell_add_error(err, ": mkdir -p ", dir, "");
		return -errnum;
	case EISDIR:
		return ivs_error_set(err, -errnum,
				     "cannot open the pidfile %s: it is a directory: name a file "
				     "in it (-p FILE)",
				     path);
	case ELOOP:
	case ENXIO:
		return ivs_error_set(err, -errnum,
				     "cannot open the pidfile %s: it is %s: remove it or use "
				     "another file (-p)",
				     path, errnum == ELOOP ? "a symbolic link" : "not a file");
	default:
		return ivs_error_errno(err, errnum, "cannot open the pidfile %s", path);
	}
}

/* Lock the file of @fd through a separate, read-only fd. Return: like ivs_pidfile_open(). */
static int lock_for_good(int fd, const char *path, int *lock_fd, int *same, struct ivs_error *err)
{
	int result;

	*same = 0;
	*lock_fd = open(path, O_RDONLY | OPEN_FLAGS);
	if (*lock_fd < 0 && (errno == ENOENT || errno == ELOOP))
		return 0; /* the file has been removed or replaced in the meantime */
	if (*lock_fd < 0)
		return ivs_error_errno(err, errno, "cannot open the pidfile %s", path);
	result = lock_pidfile(*lock_fd, path, err);
	/* The owner of the pidfile may have removed it between our open() and our lock. */
	*same = ivs_path_is_fd(path, *lock_fd);
	if (*same > 0)
		*same = ivs_path_is_fd(path, fd);
	if (!result && *same < 0)
		result = ivs_error_errno(err, -*same, "cannot check the pidfile %s", path);
	return result;
}

int ivs_pidfile_open(struct ivs_pidfile *file, const char *path, struct ivs_error *err)
{
	for (;;) {
		bool made;
		IVS_OWNED_FD fd = open_pidfile(path, &made);
		IVS_OWNED_FD lock_fd = -1;
		int result;
		int same;

		if (fd < 0 && made && errno == EEXIST)
			continue;
		if (fd < 0)
			return pidfile_open_error(path, errno, err);
		result = lock_for_good(fd, path, &lock_fd, &same, err);
		if (result < 0 && made && (same || lock_fd < 0))
			unlink(path); /* this is safe: no other process has locked the file */
		if (result)
			return result;
		if (!same)
			continue;
		*file = (struct ivs_pidfile){ivs_fd_take(&lock_fd), ivs_fd_take(&fd), made, path};
		return 0;
	}
}

void ivs_pidfile_adopt(struct ivs_pidfile *file, int fd, const char *path)
{
	*file = (struct ivs_pidfile){fd, -1, true, path};
}

int ivs_pidfile_write(struct ivs_pidfile *file, struct ivs_error *err)
{
	if (ftruncate(file->write_fd, 0) || dprintf(file->write_fd, "%d\n", (int)getpid()) < 0)
		return ivs_error_errno(err, errno, "cannot write the pidfile %s", file->path);
	file->ours = true;
	ivs_fd_close(&file->write_fd);
	return 0;
}

void ivs_pidfile_close(struct ivs_pidfile *file)
{
	int result;

	if (file->fd < 0)
		return;
	result = file->ours ? ivs_path_is_fd(file->path, file->fd) : 0;
	if (result > 0)
		result = unlink(file->path) ? -errno : 0;
	if (result && result != -ENOENT)
		ivs_log(IVS_LOG_WARNING, "cannot remove the pidfile %s: %s", file->path,
			strerrordesc_np(-result));
	ivs_fd_close(&file->write_fd);
	ivs_fd_close(&file->fd);
}

/* Return: 0 or IVS_BACKGROUND_E_CHILD. */
static int wait_until_ready(int fd)
{
	char byte;
	ssize_t n;

	do {
		n = read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : IVS_BACKGROUND_E_CHILD;
}

int ivs_background_fork(struct ivs_background *daemon, bool *parent, struct ivs_error *err)
{
	IVS_OWNED_FD null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int ends[2];
	pid_t pid;
	int result;

	if (null < 0)
		return ivs_error_errno(err, errno, "cannot open /dev/null");
	if (pipe2(ends, O_CLOEXEC))
		return ivs_error_errno(err, errno, "cannot create a pipe");
	pid = fork();
	if (pid < 0) {
		result = ivs_error_errno(err, errno, "cannot fork");
		close(ends[0]);
		close(ends[1]);
		return result;
	}
	*parent = pid > 0;
	if (*parent) {
		close(ends[1]);
		result = wait_until_ready(ends[0]);
		close(ends[0]);
		return result;
	}
	close(ends[0]);
	daemon->ready_fd = ends[1];
	daemon->null_fd = ivs_fd_take(&null);
	setsid(); /* this cannot fail: a new child does not lead a process group */
	return 0;
}

int ivs_background_ready(struct ivs_background *daemon, struct ivs_error *err)
{
	if (dup2(daemon->null_fd, STDIN_FILENO) < 0 || dup2(daemon->null_fd, STDOUT_FILENO) < 0)
		return ivs_error_errno(err, errno, "cannot detach from the terminal");
	if (write(daemon->ready_fd, "", 1) != 1)
		return ivs_error_errno(err, errno, "cannot notify the parent process");
	ivs_fd_close(&daemon->ready_fd);
	/* Detach standard error last: errors after this point are not fatal. */
	if (dup2(daemon->null_fd, STDERR_FILENO) < 0)
		ivs_log(IVS_LOG_WARNING, "cannot detach standard error from the terminal: %s",
			strerrordesc_np(errno));
	ivs_fd_close(&daemon->null_fd);
	return 0;
}
