/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of daemon/close.h: received fds are closed. A call that blocks makes its test time out. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/close.h"
#include "daemon/closer.h"
#include "daemon/stall.h"
#include "support/c/fds.h"

#define TIMEOUT 60
#define LINGER_S 60
#define PAGE_LEN 4096

/* Return: a TCP socket whose close(2) would block: SO_LINGER is set, and @other, its other end,
 * does not read the data sent to it. */
static int make_lingering(int *other)
{
	const struct linger linger = {1, LINGER_S};
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int sock = socket(AF_INET, SOCK_STREAM, 0);
	char bytes[4096] = {0};

	cr_assert_eq(bind(listener, (struct sockaddr *)&addr, len), 0);
	cr_assert_eq(listen(listener, 1), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
	cr_assert_eq(connect(sock, (struct sockaddr *)&addr, len), 0);
	*other = accept(listener, NULL, NULL);
	cr_assert_geq(*other, 0);
	close(listener);
	cr_assert_eq(setsockopt(sock, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	while (send(sock, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	return sock;
}

Test(discard, a_lingering_socket_does_not_block, .timeout = TIMEOUT)
{
	int other;
	int sock = make_lingering(&other);
	int good = dup(STDIN_FILENO);
	int none = -1;

	ivs_stall_open();
	cr_expect_eq(ivs_fd_discard(&sock), IVS_CLOSE_E_SOCKET);
	cr_expect_eq(sock, -1);
	close(other);
	cr_expect_eq(ivs_fd_discard(&good), 0);
	cr_expect_eq(good, -1);
	cr_expect_eq(ivs_fd_discard(&none), 0);
}

/*
 * The timer must be disarmed, or its signal could reach a program that the process executes next.
 */
Test(discard, no_signal_comes_later, .timeout = TIMEOUT)
{
	struct itimerval timer;
	int other;
	int sock = make_lingering(&other);

	ivs_stall_open();
	cr_expect_eq(ivs_fd_discard(&sock), IVS_CLOSE_E_SOCKET);
	cr_assert_eq(getitimer(ITIMER_REAL, &timer), 0);
	cr_expect(!timer.it_value.tv_sec && !timer.it_value.tv_usec);
	cr_expect(!timer.it_interval.tv_sec && !timer.it_interval.tv_usec);
	close(other);
}

/* Three lingering sockets are in flight in a socket that is itself in flight. */
Test(discard, lingering_sockets_within_a_socket_do_not_block, .timeout = TIMEOUT)
{
	unsigned int before = test_fds_open();
	int inner[2];
	int outer[2];
	int other[3];
	char byte;

	ivs_stall_open();
	test_fds_pair(inner);
	test_fds_pair(outer);
	for (int i = 0; i < 3; i++) {
		int sock = make_lingering(&other[i]);

		test_fds_send(inner[0], "x", 1, &sock, 1);
		close(sock);
	}
	test_fds_send(outer[0], "x", 1, &inner[1], 1);
	close(inner[0]);
	close(inner[1]);
	cr_expect_eq(ivs_socket_take(outer[1], &byte, 1), -1);
	cr_expect_eq(errno, EPROTO);
	ivs_socket_discard(&outer[1]);
	close(outer[0]);
	for (int i = 0; i < 3; i++)
		close(other[i]);
	test_fds_check(before);
}

/* The lingering socket is in flight in a connection that the listener has not accepted. */
Test(discard, lingering_sockets_within_a_listener_do_not_block, .timeout = TIMEOUT)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	unsigned int before = test_fds_open();
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	int client = socket(AF_UNIX, SOCK_STREAM, 0);
	socklen_t len = sizeof(addr);
	int other;
	int sock = make_lingering(&other);

	ivs_stall_open();
	/* The kernel chooses the address (unix(7), "Autobind feature"). */
	cr_assert_eq(bind(listener, (struct sockaddr *)&addr, sizeof(addr.sun_family)), 0);
	cr_assert_eq(listen(listener, 1), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
	cr_assert_eq(connect(client, (struct sockaddr *)&addr, len), 0);
	test_fds_send(client, "x", 1, &sock, 1);
	close(sock);
	ivs_socket_close(&listener);
	cr_expect_eq(listener, -1);
	ivs_socket_close(&listener);
	close(client);
	close(other);
	test_fds_check(before);
}

static void *send_page(void *context)
{
	void *const *args = context;

	send(*(int *)args[0], args[1], PAGE_LEN, 0);
	return NULL;
}

/* Return: a page whose readers block until @faults, its userfaultfd, is closed. */
static void *make_missing_page(int *faults)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	void *page = mmap(NULL, PAGE_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			  0);

	cr_assert_neq(page, MAP_FAILED);
	*faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (*faults < 0)
		cr_skip_test("no userfaultfd for faults in the kernel: %s", strerror(errno));
	range.range = (struct uffdio_range){(uintptr_t)page, PAGE_LEN};
	cr_assert_eq(ioctl(*faults, UFFDIO_API, &api), 0);
	cr_assert_eq(ioctl(*faults, UFFDIO_REGISTER, &range), 0);
	return page;
}

/* A thread in send(2) holds the lock of the socket until its page fault is resolved. */
Test(discard, a_locked_socket_does_not_block, .timeout = TIMEOUT)
{
	struct pollfd pfd = {.events = POLLIN};
	int faults;
	void *page = make_missing_page(&faults);
	int other;
	int sock = make_lingering(&other);
	void *args[] = {&sock, page};
	char bytes[8192];
	pthread_t thread;
	int pair[2];

	ivs_stall_open();
	cr_assert_eq(shutdown(other, SHUT_WR), 0);
	while (recv(other, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	cr_assert_eq(pthread_create(&thread, NULL, send_page, args), 0);
	pfd.fd = faults;
	cr_assert_eq(poll(&pfd, 1, -1), 1, "the thread waits in send(2)");
	test_fds_pair(pair);
	test_fds_send(pair[0], "x", 1, &sock, 1);
	test_fds_send(pair[0], "x", 1, &sock, 1);
	cr_expect_eq(ivs_socket_take(pair[1], bytes, sizeof(bytes)), -1);
	cr_expect_eq(errno, EPROTO);
	ivs_socket_discard(&pair[1]);
	close(faults);
	close(other);
	pthread_join(thread, NULL);
	close(sock);
	close(pair[0]);
}

Test(discard, unread_fds_are_closed_with_the_socket, .timeout = TIMEOUT)
{
	unsigned int before = test_fds_open();
	int pair[2];
	int other[3];

	ivs_stall_open();
	test_fds_pair(pair);
	for (int i = 0; i < 3; i++) {
		int sock = make_lingering(&other[i]);

		test_fds_send(pair[0], "x", 1, &sock, 1);
		close(sock);
	}
	ivs_socket_discard(&pair[1]);
	cr_assert_eq(pair[1], -1);
	ivs_socket_discard(&pair[1]);
	close(pair[0]);
	for (int i = 0; i < 3; i++)
		close(other[i]);
	test_fds_check(before);
}

Test(discard, bytes_arrive_and_fds_do_not, .timeout = TIMEOUT)
{
	unsigned int before = test_fds_open();
	char bytes[8];
	int pair[2];
	int other;
	int sock = make_lingering(&other);
	int file = eventfd(0, EFD_CLOEXEC);

	ivs_stall_open();
	test_fds_pair(pair);
	cr_assert_eq(ivs_socket_take(pair[1], bytes, sizeof(bytes)), -1);
	cr_expect_eq(errno, EAGAIN);
	test_fds_send(pair[0], "here", 4, &file, 1);
	close(file);
	cr_assert_eq(ivs_socket_take(pair[1], bytes, sizeof(bytes)), 4);
	cr_assert_eq(memcmp(bytes, "here", 4), 0);
	test_fds_send(pair[0], "bad", 3, &sock, 1);
	close(sock);
	cr_assert_eq(ivs_socket_take(pair[1], bytes, sizeof(bytes)), -1);
	cr_expect_eq(errno, EPROTO);
	close(pair[0]);
	cr_assert_eq(ivs_socket_take(pair[1], bytes, sizeof(bytes)), 0);
	ivs_socket_discard(&pair[1]);
	close(other);
	test_fds_check(before);
}

/* Adopt a full socket in place of helper processes. Return: the end from which they would read. */
static int make_full_pool(void)
{
	int pool[2];

	test_fds_pair(pool);
	while (send(pool[0], "x", 1, MSG_DONTWAIT) > 0)
		;
	ivs_closer_adopt(pool[0]);
	return pool[1];
}

/* If an fd stays open, the result depends on whether it is a socket or another kind of file. */
Test(discard, an_fd_that_no_helper_process_takes_stays_open, .timeout = TIMEOUT)
{
	int reader = make_full_pool();
	int file = eventfd(0, EFD_CLOEXEC);
	int sock = socket(AF_UNIX, SOCK_STREAM, 0);
	char bytes[4096];
	int pair[2];

	test_fds_pair(pair);
	test_fds_send(pair[0], "file", 4, &file, 1);
	test_fds_send(pair[0], "sock", 4, &sock, 1);
	cr_expect_eq(ivs_socket_take(pair[1], bytes, 4), -1);
	cr_expect_eq(errno, EBUSY);
	cr_expect_eq(ivs_socket_take(pair[1], bytes, 4), -1);
	cr_expect_eq(errno, EPROTO);
	cr_expect_eq(ivs_fd_discard(&file), IVS_CLOSE_E_KEPT);
	cr_expect_eq(ivs_fd_discard(&sock), IVS_CLOSE_E_SOCKET);
	cr_expect_eq(file, -1);
	cr_expect_eq(sock, -1);
	cr_expect_eq(ivs_closer_kept_n(), 4);
	while (recv(reader, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	cr_expect_eq(ivs_closer_take_kept(), 0);
	cr_expect_eq(ivs_closer_kept_n(), 0);
	ivs_closer_close();
	close(reader);
	close(pair[0]);
	close(pair[1]);
}

/* The other end reads end of file even if a copy of the socket stays open. */
Test(discard, the_connection_ends, .timeout = TIMEOUT)
{
	int pair[2];
	int copy;
	char byte;

	test_fds_pair(pair);
	copy = dup(pair[1]);
	ivs_socket_discard(&pair[1]);
	cr_assert_eq(recv(pair[0], &byte, 1, 0), 0);
	close(copy);
	close(pair[0]);
}
