/* SPDX-License-Identifier: BSD-3-Clause */
/* Delay signals and messages during steps that must be done or undone as a whole. */
#ifndef TOOLS_IVSHMEM_SIGNALS_H
#define TOOLS_IVSHMEM_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

#include "ivshmem/peer.h"

/**
 * signals_hold() - block the signals that users send to end programs (SIGINT, SIGTERM, SIGHUP,
 * SIGQUIT), and those that failed writes raise
 *
 * Messages are kept, too (usage_hold()).
 */
void signals_hold(sigset_t *before);

/** signals_release() - print the messages, unblock the signals; a pending one ends the process */
void signals_release(const sigset_t *before);

/** signals_pending() - whether a signal that ends this program is pending */
bool signals_pending(void);

/** signals_add_stop() - add to @set the signals that users send to end programs */
void signals_add_stop(sigset_t *set);

/**
 * signals_find_stop() - set @set to those of these signals that would end this program
 *
 * A signal that the user or the shell has chosen to ignore (nohup, background) is not one.
 */
void signals_find_stop(sigset_t *set);

/**
 * signals_stop_peer() - let signals that would end this program stop the peer instead
 *
 * A second signal ends the program.
 */
void signals_stop_peer(struct ivs_peer *peer);

/** signals_forget_peer() - before the peer is closed: signals no longer use it */
void signals_forget_peer(void);

/** signals_have_stopped() - whether such a signal has stopped the peer */
bool signals_have_stopped(void);

/** signals_end() - end this program by the signal that has stopped the peer, if there was one */
void signals_end(void);

#endif
