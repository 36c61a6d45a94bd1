/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/stall.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/time.h>

IVS_SYSCALLS(ivs_stall_syscalls, {"setitimer"}, {"rt_sigreturn"}, {"sigreturn"},
	     {"restart_syscall"});

#define HURRY_MS 1

static volatile sig_atomic_t idle = true;
static volatile sig_atomic_t timer_runs;
static volatile sig_atomic_t hurries;
static bool is_open;

static void set_timer(int ms)
{
	const struct timeval period = {.tv_usec = ms * 1000};
	const struct itimerval timer = {period, period};

	timer_runs = ms > 0;
	(void)setitimer(ITIMER_REAL, &timer, NULL); /* fails for invalid values only */
}

/* The handler's only task is to stop the timer: the signal itself interrupts a blocking call. */
static void handle_alarm(int signo)
{
	const int saved = errno;

	(void)signo;
	if (idle && !hurries)
		set_timer(0);
	errno = saved;
}

/* The signal mask is inherited: the parent process may have blocked SIGALRM. */
void ivs_stall_open(void)
{
	const struct sigaction action = {.sa_handler = handle_alarm}; /* without SA_RESTART */
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGALRM);
	(void)sigaction(SIGALRM, &action, NULL); /* fails for invalid signals only */
	(void)sigprocmask(SIG_UNBLOCK, &signals, NULL);
	is_open = true;
}

/* Clear idle first: if the signal arrives before the check, the timer continues to run. */
void ivs_stall_busy(void)
{
	idle = false;
	if (!timer_runs)
		set_timer(IVS_STALL_PERIOD_MS);
}

void ivs_stall_hurry(bool on)
{
	if (!is_open)
		return;
	hurries = on;
	set_timer(on ? HURRY_MS : idle ? 0 : IVS_STALL_PERIOD_MS);
}

void ivs_stall_idle(void)
{
	idle = true;
}
