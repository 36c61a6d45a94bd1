/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Test kernel properties on which the server and the library rely, one per test, so that a kernel
 * that lacks a property fails here and not in production. The comment on each test names the source
 * file that relies on the property.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/c/fds.h"

/* Base of unprivileged uids. A test adds its pid, so that no other process has the same uid. */
#define STRANGER 61234
#define MESSAGE "8 bytes."
#define MESSAGE_LEN 8
#define TIMEOUT 30

static ssize_t send_fds(int sock, const int *fds, size_t fds_n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(300 * sizeof(int))];
	} control = {0};
	struct iovec iov = {(char[]){MESSAGE}, MESSAGE_LEN};
	struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cmsg;

	if (fds_n) {
		hdr.msg_control = control.bytes;
		hdr.msg_controllen = CMSG_SPACE(fds_n * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&hdr);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fds_n * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, fds_n * sizeof(int));
	}
	return sendmsg(sock, &hdr, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Call @run in an unprivileged child. Return: the child's exit status. */
static int as_stranger(int (*run)(int), int argument)
{
	pid_t pid = fork();
	int status;

	cr_assert_geq(pid, 0);
	if (!pid) {
		const uid_t stranger = STRANGER + (uid_t)getpid();

		if (!getuid() && (setgid(stranger) || setuid(stranger)))
			_exit(99);
		_exit(run(argument));
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

/*
 * client.c limits the messages in flight, and thus the fds, by the size of a socket's send buffer.
 */
Test(kernel, a_message_costs_768_bytes_of_buffer_with_or_without_fd, .timeout = TIMEOUT)
{
	const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const int size = 8192;

	for (size_t fds_n = 0; fds_n < 2; fds_n++) {
		int ends[2];
		int sent = 0;

		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
		cr_assert_eq(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
		while (send_fds(ends[0], &null, fds_n) == MESSAGE_LEN)
			sent++;
		cr_expect_eq(errno, EAGAIN);
		/* The three messages of the greeting fit easily; a hundred messages do not. */
		cr_expect(sent >= 8 && sent <= 64, "%d messages of %zu fds", sent, fds_n);
		close(ends[0]);
		close(ends[1]);
	}
	close(null);
}

static int refused_send_makes_an_edge(int unused)
{
	const struct rlimit limit = {32, 32};
	struct epoll_event event = {.events = EPOLLOUT | EPOLLET};
	int fd = eventfd(0, 0);
	int epoll = epoll_create1(0);
	int hoard[2];
	int ends[2];

	(void)unused;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, hoard) || socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		return 1;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		return 2;
	while (send_fds(hoard[0], &fd, 1) == MESSAGE_LEN)
		;
	if (errno != ETOOMANYREFS)
		return 3;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) ||
	    epoll_wait(epoll, &event, 1, 0) != 1)
		return 4;
	if (epoll_wait(epoll, &event, 1, 0) != 0)
		return 5; /* the first edge was already reported */
	if (send_fds(ends[0], &fd, 1) >= 0 || errno != ETOOMANYREFS)
		return 6;
	return epoll_wait(epoll, &event, 1, 0) == 1 ? 0 : 7;
}

/* server.c retries a refused send after a delay, because each refused send causes an EPOLLOUT. */
Test(kernel, a_send_refused_for_fds_in_flight_causes_an_event_of_its_own, .timeout = TIMEOUT)
{
	cr_expect_eq(as_stranger(refused_send_makes_an_edge, 0), 0);
}

/*
 * socket.c never reads more bytes than the current message still lacks, because recvmsg(2) can
 * return the fd of the next message together with bytes of this one.
 */
Test(kernel, bytes_without_fd_are_glued_to_those_with_one, .timeout = TIMEOUT)
{
	char bytes[4 * MESSAGE_LEN];
	char control[CMSG_SPACE(4 * sizeof(int))];
	struct iovec iov = {bytes, sizeof(bytes)};
	struct msghdr hdr = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	int fd = eventfd(0, 0);
	int ends[2];

	test_fds_pair(ends);
	cr_assert_eq(send_fds(ends[0], NULL, 0), MESSAGE_LEN);
	cr_assert_eq(send_fds(ends[0], &fd, 1), MESSAGE_LEN);
	cr_assert_eq(send_fds(ends[0], NULL, 0), MESSAGE_LEN);
	cr_expect_eq(recvmsg(ends[1], &hdr, 0), 2 * MESSAGE_LEN);
	cr_expect_not_null(CMSG_FIRSTHDR(&hdr));
}

/*
 * socket.c ends the connection if control data was truncated (PROTOCOL.md, W-14), because the bytes
 * of the message arrive without its fd.
 */
Test(kernel, without_room_for_an_fd_the_bytes_arrive_alone, .timeout = TIMEOUT)
{
	char bytes[MESSAGE_LEN];
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {bytes, sizeof(bytes)};
	struct msghdr hdr = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	int fd = eventfd(0, 0);
	int ends[2];

	test_fds_pair(ends);
	cr_assert_eq(send_fds(ends[0], &fd, 1), MESSAGE_LEN);
	test_fds_exhaust(0);
	cr_expect_eq(recvmsg(ends[1], &hdr, 0), MESSAGE_LEN);
	cr_expect(hdr.msg_flags & MSG_CTRUNC);
	cr_expect_null(CMSG_FIRSTHDR(&hdr));
}

/* client.c reads what clients send with read(2), which discards fds. */
Test(kernel, read_discards_fds, .timeout = TIMEOUT)
{
	int fds[200];
	unsigned int before;
	char bytes[64];
	int ends[2];

	test_fds_pair(ends);
	for (size_t i = 0; i < 200; i++)
		fds[i] = STDIN_FILENO;
	before = test_fds_open();
	for (int i = 0; i < 10; i++) {
		cr_assert_eq(send_fds(ends[0], fds, 200), MESSAGE_LEN);
		cr_expect_gt(read(ends[1], bytes, sizeof(bytes)), 0);
	}
	cr_expect_eq(test_fds_open(), before);
}

Test(kernel, a_message_has_room_for_253_fds, .timeout = TIMEOUT)
{
	int fds[254];
	int ends[2];

	test_fds_pair(ends);
	for (size_t i = 0; i < 254; i++)
		fds[i] = STDIN_FILENO;
	cr_expect_eq(send_fds(ends[0], fds, 253), MESSAGE_LEN);
	cr_expect_eq(send_fds(ends[0], fds, 254), -1);
	cr_expect_eq(errno, EINVAL);
}

/*
 * eventfd.c polls an eventfd before writing to it, and reads it with RWF_NOWAIT, because another
 * process can fill the eventfd and clear O_NONBLOCK.
 */
Test(kernel, another_process_can_fill_an_eventfd_and_make_it_blocking, .timeout = TIMEOUT)
{
	int ours = eventfd(0, EFD_NONBLOCK);
	int theirs = dup(ours);
	struct pollfd pfd = {.fd = ours, .events = POLLOUT};
	uint64_t count = UINT64_MAX - 1;
	struct iovec iov = {&count, sizeof(count)};

	cr_assert_eq(fcntl(theirs, F_SETFL, 0), 0);
	cr_expect_not(fcntl(ours, F_GETFL) & O_NONBLOCK, "O_NONBLOCK belongs to the open file");
	cr_expect_eq(write(theirs, &count, sizeof(count)), 8);
	cr_expect_eq(poll(&pfd, 1, 0), 0, "a full eventfd is not writable");
	cr_expect_eq(preadv2(ours, &iov, 1, -1, RWF_NOWAIT), 8);
	cr_expect_eq(preadv2(ours, &iov, 1, -1, RWF_NOWAIT), -1);
	cr_expect_eq(errno, EAGAIN, "RWF_NOWAIT does not wait even though O_NONBLOCK is off");
	cr_expect_eq(pwritev2(ours, &iov, 1, -1, RWF_NOWAIT), -1);
	cr_expect_eq(errno, EOPNOTSUPP,
		     "if RWF_NOWAIT works now, ivs_eventfd_signal() should use it");
}

static int reopen(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDWR) >= 0 ? 0 : errno;
}

/* unnamed.c protects memfds with seals and with mode 0600. */
Test(kernel, a_sealed_memfd_of_mode_0600_cannot_be_truncated_or_reopened, .timeout = TIMEOUT)
{
	int fd = memfd_create("test", MFD_ALLOW_SEALING);

	cr_assert_eq(ftruncate(fd, 4096), 0);
	cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
	cr_expect_eq(ftruncate(fd, 0), -1);
	cr_expect_eq(errno, EPERM);
	cr_expect_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0,
		     "holes can be punched: zeroes appear, but no process dies");
	if (getuid())
		return; /* the user that created the memfd may always reopen it */
	cr_assert_eq(fchmod(fd, 0777), 0);
	cr_expect_eq(as_stranger(reopen, fd), 0);
	cr_assert_eq(fchmod(fd, 0600), 0);
	cr_expect_eq(as_stranger(reopen, fd), EACCES);
}

static int probe(const struct sockaddr_un *addr)
{
	int sock = socket(AF_UNIX, SOCK_DGRAM, 0);
	int result = connect(sock, (const struct sockaddr *)addr, sizeof(*addr)) ? errno : 0;

	close(sock);
	return result;
}

/* listener.c detects a live server by connecting a datagram socket, which the server never sees. */
Test(kernel, a_datagram_socket_shows_whether_a_listener_is_alive, .timeout = TIMEOUT)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/ivshmem-test-XXXXXX";
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	cr_assert_not_null(mkdtemp(dir));
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/socket", dir);
	cr_assert_eq(bind(sock, (const struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_expect_eq(probe(&addr), EPROTOTYPE, "the server is bound, but does not listen yet");
	cr_assert_eq(listen(sock, 5), 0);
	cr_expect_eq(probe(&addr), EPROTOTYPE);
	cr_expect_eq(accept(sock, NULL, NULL), -1);
	cr_expect_eq(errno, EAGAIN, "the server has seen no connection");
	close(sock);
	cr_expect_eq(probe(&addr), ECONNREFUSED);
	unlink(addr.sun_path);
	rmdir(dir);
}

/* region/received.c and the helper pread(2) the memory of a region; hugetlbfs has no write(2). */
Test(kernel, huge_pages_cannot_be_written_to_but_ordinary_memory_can, .timeout = TIMEOUT)
{
	const unsigned int flags[] = {MFD_CLOEXEC, MFD_CLOEXEC | MFD_HUGETLB};
	char byte = 0;

	for (int i = 0; i < 2; i++) {
		int fd = memfd_create("kernel", flags[i]);

		if (fd < 0 && flags[i] & MFD_HUGETLB)
			cr_skip_test("this kernel has no huge pages: %s", strerror(errno));
		cr_assert_geq(fd, 0);
		cr_assert_eq(ftruncate(fd, 4 << 20), 0);
		cr_expect_eq(pwrite(fd, &byte, 1, 4096), i ? -1 : 1);
		cr_expect(!i || errno == EINVAL);
		cr_expect_eq(pread(fd, &byte, 1, 4096), 1);
		close(fd);
	}
}
