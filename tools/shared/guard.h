/* SPDX-License-Identifier: BSD-3-Clause */
/* Accesses to a region whose pages another process may remove, by truncating its file. */
#ifndef TOOLS_SHARED_GUARD_H
#define TOOLS_SHARED_GUARD_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>

#define GUARD_LOST "a process has truncated the region: these pages no longer exist"

/* Used only by GUARDED(). It is global, because no argument can be passed to a signal handler. */
extern struct guard {
	volatile sig_atomic_t active;
	sigjmp_buf lost;
} guard;

/**
 * guard_start() - install a handler for SIGBUS, which accesses to lost pages of the region raise
 *
 * Such an access ends the program with a message, unless it is in GUARDED().
 */
void guard_start(void);

/**
 * GUARDED() - run a statement that accesses the region, after guard_start()
 *
 * The value is whether all pages existed. If a page did not exist, the statement was not completed.
 */
#define GUARDED(statement)                                                                         \
	({                                                                                         \
		bool exists = !sigsetjmp(guard.lost, 1);                                           \
                                                                                                   \
		if (exists) {                                                                      \
			guard.active = true;                                                       \
			__atomic_signal_fence(__ATOMIC_SEQ_CST);                                   \
			statement;                                                                 \
			__atomic_signal_fence(__ATOMIC_SEQ_CST);                                   \
		}                                                                                  \
		guard.active = false;                                                              \
		exists;                                                                            \
	})

#endif
