/* SPDX-License-Identifier: BSD-3-Clause */
/* The slots of one process, side by side: one epoll, no threads. */
#ifndef IVS_SLOT_LOOP_H
#define IVS_SLOT_LOOP_H

#include "daemon/listener.h"
#include "slot/slot.h"

extern const struct ivs_syscall ivs_slot_loop_syscalls[];

#define IVS_SLOTS_MAX 64

/**
 * struct ivs_slot_loop_options - what there is besides the slots
 * @signal_fd: a signalfd(2): whatever comes there ends the loop
 * @control:   where to be asked (slot/status.h); path NULL: nowhere
 */
struct ivs_slot_loop_options {
	int signal_fd;
	struct ivs_listener_options control;
};

struct ivs_slot_loop;

/** ivs_slot_loop_new() - Return: 0, IVS_LISTENER_E_*, -errno. */
IVS_MUST_USE int ivs_slot_loop_new(const struct ivs_slot_loop_options *opts,
				   struct ivs_slot_loop **out, struct ivs_error *err);

/** ivs_slot_loop_free() - the slots stay the caller's, who closes them afterwards */
void ivs_slot_loop_free(struct ivs_slot_loop *loop);

/**
 * ivs_slot_loop_add() - join the slot's server, which may take 5 s, and serve it from now on
 *
 * Return: 0, IVS_SLOT_E_SERVER, IVS_SLOT_E_OPTIONS, IVS_PCI_E_OPTIONS, IVS_REGION_E_*, -errno; what it
 * is about is in @err.
 */
IVS_MUST_USE int ivs_slot_loop_add(struct ivs_slot_loop *loop, struct ivs_slot *slot,
				   struct ivs_error *err);

/**
 * ivs_slot_loop_run() - until a signal comes, or nobody can come any more
 * @signo: the signal, or 0
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_slot_loop_run(struct ivs_slot_loop *loop, int *signo);

#endif
