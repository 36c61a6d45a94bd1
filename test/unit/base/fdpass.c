/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of base/fdpass.h: fds arrive as sent, and never more than the caller has room for. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fdpass.h"
#include "support/c/fds.h"

#define SENT_N 5

static int pair[2];
static int sent[SENT_N];
static unsigned int before;

static void setup(void)
{
	before = test_fds_open();
	test_fds_pair(pair);
	for (unsigned int i = 0; i < SENT_N; i++)
		sent[i] = test_fds_make();
}

static void teardown(void)
{
	close(pair[0]);
	close(pair[1]);
	for (unsigned int i = 0; i < SENT_N; i++)
		close(sent[i]);
	test_fds_check(before);
}

TestSuite(fdpass, .init = setup, .fini = teardown);

/* Receive with room for @max fds, and check that exactly the first @n of sent[] arrive. */
static void expect(unsigned int max, unsigned int n, bool truncated)
{
	struct ivs_fdpass_fds fds;
	char byte;

	fds.max = max;
	cr_assert_eq(ivs_fdpass_recv(pair[1], &byte, 1, &fds), 1);
	cr_expect_eq(fds.n, n, "%u fds arrived, with room for %u", fds.n, max);
	cr_expect_eq(fds.truncated, truncated);
	for (unsigned int i = 0; i < fds.n; i++) {
		cr_expect(test_fds_same(fds.fds[i], sent[i]));
		cr_expect(test_fds_cloexec(fds.fds[i]));
		close(fds.fds[i]);
	}
}

Test(fdpass, all_fds_of_a_message_arrive)
{
	test_fds_send(pair[0], "x", 1, sent, SENT_N);
	expect(IVS_FDPASS_MAX, SENT_N, false);
}

Test(fdpass, no_fd_beyond_the_room_is_received)
{
	for (unsigned int max = 1; max < SENT_N; max++) {
		test_fds_send(pair[0], "x", 1, sent, SENT_N);
		expect(max, max, true);
	}
}

Test(fdpass, a_message_without_fds_has_none)
{
	test_fds_send(pair[0], "x", 1, NULL, 0);
	expect(IVS_FDPASS_MAX, 0, false);
}

Test(fdpass, running_out_of_fds_is_reported)
{
	struct ivs_fdpass_fds fds;
	char byte;

	test_fds_send(pair[0], "x", 1, sent, SENT_N);
	test_fds_exhaust(2);
	fds.max = IVS_FDPASS_MAX;
	cr_assert_eq(ivs_fdpass_recv(pair[1], &byte, 1, &fds), 1);
	cr_expect_eq(fds.n, 2);
	cr_expect(fds.truncated);
	for (unsigned int i = 0; i < fds.n; i++)
		close(fds.fds[i]);
}

/* When an event reports that a message was read, the kernel may still count that message. */
Test(fdpass, messages_count_as_unread_until_they_are_read)
{
	struct epoll_event event = {.events = EPOLLOUT | EPOLLET};
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

	cr_assert_eq(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pair[0], &event), 0);
	cr_expect_eq(epoll_wait(epoll_fd, &event, 1, 0), 1);
	cr_expect_eq(ivs_fdpass_unread(pair[0]), 0);
	for (unsigned int n = 1; n < 3; n++) {
		test_fds_send(pair[0], "x", 1, sent, 1);
		cr_expect_geq(ivs_fdpass_unread(pair[0]), n);
	}
	cr_expect_eq(epoll_wait(epoll_fd, &event, 1, 0), 0);
	for (unsigned int n = 2; n > 0; n--) {
		expect(IVS_FDPASS_MAX, 1, false);
		cr_expect_eq(epoll_wait(epoll_fd, &event, 1, 0), 1);
		cr_expect_geq(ivs_fdpass_unread(pair[0]), n - 1);
	}
	cr_expect_eq(ivs_fdpass_unread(pair[0]), 0);
	close(epoll_fd);
}

/*
 * The option also affects a byte that arrived before it was set, which would otherwise be
 * discarded.
 */
Test(fdpass, urgent_bytes_are_received_with_their_fds)
{
	union ivs_fdpass_control control;
	struct iovec iov = {(char[]){"x"}, 1};
	struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};

	ivs_fdpass_attach(&hdr, &control, sent[0]);
	if (sendmsg(pair[0], &hdr, MSG_OOB) < 0 && errno == EOPNOTSUPP)
		cr_skip_test("UNIX sockets of this kernel have no out-of-band bytes");
	cr_expect_eq(ivs_fdpass_take_urgent(pair[1]), 0);
	expect(IVS_FDPASS_MAX, 1, false);
}

Test(fdpass, an_empty_socket_does_not_block)
{
	struct ivs_fdpass_fds fds;
	char byte;

	fds.max = 1;
	cr_expect_eq(ivs_fdpass_recv(pair[1], &byte, 1, &fds), -EAGAIN);
	cr_expect_eq(fds.n, 0);
	shutdown(pair[0], SHUT_WR);
	cr_expect_eq(ivs_fdpass_recv(pair[1], &byte, 1, &fds), 0);
}
