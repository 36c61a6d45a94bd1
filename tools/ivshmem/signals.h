/* SPDX-License-Identifier: BSD-3-Clause */
/* Delay signals during steps that a signal must not interrupt. */
#ifndef TOOLS_IVSHMEM_SIGNALS_H
#define TOOLS_IVSHMEM_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/** signals_hold() - block SIGINT, SIGTERM and SIGHUP */
static inline void signals_hold(sigset_t *before)
{
	sigset_t held;

	sigemptyset(&held);
	sigaddset(&held, SIGINT);
	sigaddset(&held, SIGTERM);
	sigaddset(&held, SIGHUP);
	sigprocmask(SIG_BLOCK, &held, before);
}

/** signals_release() - unblock these signals; a pending one then ends the process */
static inline void signals_release(const sigset_t *before)
{
	sigprocmask(SIG_SETMASK, before, NULL);
}

/** signals_pending() - return whether one of these signals is pending */
static inline bool signals_pending(void)
{
	sigset_t pending;

	return !sigpending(&pending) &&
	       (sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1 ||
		sigismember(&pending, SIGHUP) == 1);
}

#endif
