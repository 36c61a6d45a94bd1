/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of base/eventfd.h with eventfds that another process has filled, emptied or made blocking,
 * and with fds of other types. A call that blocks makes its test time out.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/eventfd.h"
#include "support/c/fds.h"

#define TIMEOUT 60

/* The highest counter value that write(2) can reach; only the kernel itself can exceed it. */
#define FULL (UINT64_MAX - 1)

static int make_eventfd(uint64_t count, bool nonblocking)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	cr_assert_geq(fd, 0);
	if (count)
		cr_assert_eq(write(fd, &count, sizeof(count)), sizeof(count));
	if (!nonblocking)
		cr_assert_eq(fcntl(fd, F_SETFL, 0), 0);
	return fd;
}

static short events_of(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN | POLLOUT};

	cr_assert_geq(poll(&pfd, 1, 0), 0);
	return pfd.revents;
}

/* Have the kernel signal @fd on completion of an asynchronous read. */
static void signal_by_kernel(int fd)
{
	char byte = 0;
	int file = test_fds_make();
	aio_context_t context = 0;
	struct io_event event;
	struct iocb request = {
		.aio_fildes = (uint32_t)file,
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_buf = (uintptr_t)&byte,
		.aio_nbytes = 1,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *requests[] = {&request};

	cr_assert_eq(write(file, "x", 1), 1);
	if (syscall(SYS_io_setup, 1, &context))
		cr_skip_test("the kernel has no asynchronous I/O");
	cr_assert_eq(syscall(SYS_io_submit, context, 1, requests), 1);
	cr_assert_eq(syscall(SYS_io_getevents, context, 1, 1, &event, NULL), 1);
	cr_assert_eq(event.res, 1);
	cr_assert_eq(syscall(SYS_io_destroy, context), 0);
	close(file);
}

Test(eventfd, two_signals_are_taken_once, .timeout = TIMEOUT)
{
	for (int nonblocking = 0; nonblocking < 2; nonblocking++) {
		int fd = make_eventfd(0, nonblocking);

		cr_assert_eq(ivs_eventfd_take(fd), 0);
		cr_assert_eq(ivs_eventfd_signal(fd), 0);
		cr_assert_eq(ivs_eventfd_signal(fd), 0);
		cr_assert_eq(events_of(fd), POLLIN | POLLOUT);
		cr_assert_eq(ivs_eventfd_take(fd), 1);
		cr_assert_eq(ivs_eventfd_take(fd), 0);
		cr_assert_eq(events_of(fd), POLLOUT);
		close(fd);
	}
}

/* A full counter means that a signal is already pending, so signalling must not block. */
Test(eventfd, a_full_counter_is_a_pending_signal, .timeout = TIMEOUT)
{
	for (int nonblocking = 0; nonblocking < 2; nonblocking++) {
		int fd = make_eventfd(FULL, nonblocking);

		cr_assert_eq(events_of(fd), POLLIN);
		cr_assert_eq(ivs_eventfd_signal(fd), 0);
		cr_assert_eq(ivs_eventfd_take(fd), 1);
		cr_assert_eq(ivs_eventfd_take(fd), 0);
		close(fd);
	}
}

/* With a counter of ULLONG_MAX the kernel reports POLLERR; the next read(2) resets the counter. */
Test(eventfd, an_overflown_counter_is_a_pending_signal, .timeout = TIMEOUT)
{
	for (int nonblocking = 0; nonblocking < 2; nonblocking++) {
		int fd = make_eventfd(FULL, nonblocking);

		signal_by_kernel(fd);
		cr_assert_eq(events_of(fd), POLLIN | POLLERR);
		cr_assert_eq(ivs_eventfd_signal(fd), 0);
		cr_assert_eq(ivs_eventfd_take(fd), 1);
		cr_assert_eq(ivs_eventfd_take(fd), 0);
		cr_assert_eq(ivs_eventfd_signal(fd), 0);
		cr_assert_eq(ivs_eventfd_take(fd), 1);
		close(fd);
	}
}

Test(eventfd, a_closed_fd_is_an_error, .timeout = TIMEOUT)
{
	int fd = make_eventfd(0, true);

	close(fd);
	cr_assert_lt(ivs_eventfd_signal(fd), 0);
	cr_assert_lt(ivs_eventfd_take(fd), 0);
	cr_assert_lt(ivs_eventfd_signal(-1), 0);
	cr_assert_lt(ivs_eventfd_take(-1), 0);
}

/* A pipe at end of file is always readable, so a caller that polled it as a doorbell would spin. */
Test(eventfd, a_pipe_at_end_of_file_is_an_error, .timeout = TIMEOUT)
{
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	close(ends[1]);
	cr_assert_lt(ivs_eventfd_take(ends[0]), 0);
	close(ends[0]);
}
