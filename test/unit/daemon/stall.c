/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of daemon/stall.h: blocking calls are interrupted; an idle process gets no signals. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#include "daemon/stall.h"

#define TIMEOUT 60
#define FULL (UINT64_MAX - 1)
#define PERIOD_US (IVS_STALL_PERIOD_MS * 1000)

static bool timer_runs(void)
{
	struct itimerval timer;

	cr_assert_eq(getitimer(ITIMER_REAL, &timer), 0);
	return timer.it_interval.tv_usec || timer.it_value.tv_usec;
}

Test(stall, a_write_that_blocks_is_interrupted, .timeout = TIMEOUT)
{
	const uint64_t full = FULL, one = 1;
	int fd = eventfd(0, EFD_CLOEXEC);

	ivs_stall_open();
	cr_assert_eq(write(fd, &full, sizeof(full)), sizeof(full));
	for (int i = 0; i < 3; i++) {
		ivs_stall_busy();
		cr_assert_eq(write(fd, &one, sizeof(one)), -1);
		cr_assert_eq(errno, EINTR);
		ivs_stall_idle();
	}
	close(fd);
}

/* A process inherits its signal mask, so the parent may have blocked SIGALRM. */
Test(stall, a_blocked_signal_is_unblocked, .timeout = TIMEOUT)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGALRM);
	cr_assert_eq(sigprocmask(SIG_BLOCK, &signals, NULL), 0);
	ivs_stall_open();
	cr_assert_eq(sigprocmask(SIG_BLOCK, NULL, &signals), 0);
	cr_assert_not(sigismember(&signals, SIGALRM));
}

/* After ivs_stall_idle() the timer expires at most once more. */
Test(stall, an_idle_process_gets_no_signals, .timeout = TIMEOUT)
{
	ivs_stall_open();
	cr_assert_not(timer_runs());
	ivs_stall_busy();
	cr_assert(timer_runs());
	ivs_stall_idle();
	for (int i = 0; i < 100 && timer_runs(); i++)
		usleep(PERIOD_US / 10);
	cr_assert_not(timer_runs());
	cr_assert_eq(usleep(2 * PERIOD_US), 0);
	ivs_stall_busy();
	cr_assert(timer_runs());
}
