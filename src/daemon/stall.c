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
	(void)setitimer(ITIMER_REAL, &timer, NULL); /* this cannot fail: the values are valid */
}

/* The signal itself interrupts a blocking call. The handler stops the timer of an idle loop. */
static void handle_alarm(int signo)
{
	const int saved = errno;

	(void)signo;
	if (idle && !hurries)
		set_timer(0);
	errno = saved;
}

/* Unblock SIGALRM, because the parent process may have blocked it, and the mask is inherited. */
void ivs_stall_open(void)
{
	const struct sigaction action = {.sa_handler = handle_alarm}; /* SA_RESTART is not set */
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGALRM);
	(void)sigaction(SIGALRM, &action, NULL); /* this cannot fail: the signal is valid */
	(void)sigprocmask(SIG_UNBLOCK, &signals, NULL);
	is_open = true;
}

/* Clear @idle first, so that a signal that arrives before the check does not stop the timer. */
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
