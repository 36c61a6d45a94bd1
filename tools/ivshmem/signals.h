/* SPDX-License-Identifier: BSD-3-Clause */
/* Delay signals and messages during steps that must be done or undone as a whole. */
#ifndef TOOLS_IVSHMEM_SIGNALS_H
#define TOOLS_IVSHMEM_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/**
 * signals_hold() - block the signals with which users end programs (SIGINT, SIGTERM, SIGHUP,
 * SIGQUIT), and those that failed writes raise
 *
 * Messages are kept, too (usage_hold()).
 */
void signals_hold(sigset_t *before);

/** signals_release() - print the messages, unblock the signals; a pending one ends the process */
void signals_release(const sigset_t *before);

/** signals_pending() - return whether a signal is pending with which a user ends this program */
bool signals_pending(void);

/** signals_add_stop() - add to @set the signals with which users end programs */
void signals_add_stop(sigset_t *set);

/**
 * signals_find_stop() - set @set to the signals with which users can end this program
 *
 * A signal that the user or the shell has chosen to ignore (nohup, background) is not one.
 */
void signals_find_stop(sigset_t *set);

#endif
