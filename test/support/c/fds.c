/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/c/fds.h"

/* The kernel's SCM_MAX_FD. */
#define FDS_MAX 253

static void must(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

unsigned int test_fds_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	must(dir != NULL, "/proc/self/fd");
	for (const struct dirent *entry; (entry = readdir(dir));)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n - 1; /* do not count the fd of the directory itself */
}

void test_fds_check(unsigned int before)
{
	unsigned int now = test_fds_open();

	if (now == before)
		return;
	fprintf(stderr, "%u fds are open, but %u were open before the test\n", now, before);
	abort();
}

int test_fds_make(void)
{
	int fd = memfd_create("test", 0);

	must(fd >= 0, "memfd_create");
	return fd;
}

bool test_fds_same(int a, int b)
{
	struct stat sa, sb;

	if (fstat(a, &sa) != 0 || fstat(b, &sb) != 0)
		return false;
	return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

bool test_fds_cloexec(int fd)
{
	int flags = fcntl(fd, F_GETFD);

	must(flags >= 0, "F_GETFD");
	return flags & FD_CLOEXEC;
}

void test_fds_pair(int out[2])
{
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out) == 0, "socketpair");
}

void test_fds_send(int sock, const void *bytes, size_t len, const int *fds, size_t fds_n)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(FDS_MAX * sizeof(int))] = {0};
	struct iovec iov = {.iov_base = (void *)bytes, .iov_len = len};
	struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};

	must(fds_n <= FDS_MAX, "too many fds");
	if (fds_n > 0) {
		struct cmsghdr *cmsg;

		hdr.msg_control = control;
		hdr.msg_controllen = CMSG_SPACE(fds_n * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&hdr);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fds_n * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, fds_n * sizeof(int));
	}
	must(sendmsg(sock, &hdr, MSG_NOSIGNAL) == (ssize_t)len, "sendmsg");
}

void test_fds_exhaust(unsigned int spare)
{
	struct rlimit limit;
	int top = 0, fd;

	/*
	 * RLIMIT_NOFILE limits the numbers that fds can have, not how many fds are open. So no
	 * number below the limit may remain unused.
	 */
	for (fd = 0; fd < 1024; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			top = fd;
	}
	while ((fd = fcntl(0, F_DUPFD_CLOEXEC, 0)) >= 0 && fd <= top)
		;
	must(fd >= 0, "dup");
	close(fd);
	must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	limit.rlim_cur = (rlim_t)fd + spare;
	must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}
