/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/stall.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/time.h>

IVS_SYSCALLS(ivs_stall_syscalls, {"setitimer"}, {"rt_sigreturn"}, {"sigreturn"},
	     {"restart_syscall"});

static volatile sig_atomic_t idle = true;
static volatile sig_atomic_t runs; /* the timer */

static void set_timer(bool on)
{
	const struct timeval period = {.tv_usec = on ? IVS_STALL_PERIOD_MS * 1000 : 0};
	const struct itimerval timer = {period, period};

	runs = on;
	(void)setitimer(ITIMER_REAL, &timer, NULL); /* fails for bad values only */
}

/* That it came is all: what waits has ended by now. */
static void handle_alarm(int signo)
{
	const int saved = errno;

	(void)signo;
	if (idle)
		set_timer(false);
	errno = saved;
}

int ivs_stall_open(void)
{
	const struct sigaction action = {.sa_handler = handle_alarm}; /* without SA_RESTART */

	return sigaction(SIGALRM, &action, NULL) ? -errno : 0;
}

/* In this order: a signal in between finds it busy, and lets the timer run. */
void ivs_stall_busy(void)
{
	idle = false;
	if (!runs)
		set_timer(true);
}

void ivs_stall_idle(void)
{
	idle = true;
}
