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
static volatile sig_atomic_t runs; /* the timer */
static volatile sig_atomic_t hurries;
static bool is_open;

static void set_timer(int ms)
{
	const struct timeval period = {.tv_usec = ms * 1000};
	const struct itimerval timer = {period, period};

	runs = ms > 0;
	(void)setitimer(ITIMER_REAL, &timer, NULL); /* fails for bad values only */
}

/* That it came is all: what waits has ended by now. */
static void handle_alarm(int signo)
{
	const int saved = errno;

	(void)signo;
	if (idle && !hurries)
		set_timer(0);
	errno = saved;
}

/* Whoever started us may have blocked it: that is handed down. */
void ivs_stall_open(void)
{
	const struct sigaction action = {.sa_handler = handle_alarm}; /* without SA_RESTART */
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGALRM);
	(void)sigaction(SIGALRM, &action, NULL); /* fails for signals that there are not only */
	(void)sigprocmask(SIG_UNBLOCK, &signals, NULL);
	is_open = true;
}

/* In this order: a signal in between finds it busy, and lets the timer run. */
void ivs_stall_busy(void)
{
	idle = false;
	if (!runs)
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
