/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Serves a PCI function to VMMs over vfio-user, to one client at a time. Protocol: QEMU's
 * docs/interop/vfio-user, version 0.0. No function blocks: if a client has sent only a part of a
 * message, or does not read a reply, ivs_vfio_user_serve() resumes when the socket is ready.
 *
 * Requests are answered here. If the guest rings a doorbell, @ring is called before the reply.
 * Call ivs_vfio_user_deliver() after ivs_pci_doorbell(), and after any other call that can make the
 * PCI function raise an interrupt.
 */
#ifndef IVS_VFIO_USER_SESSION_H
#define IVS_VFIO_USER_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/syscalls.h"
#include "daemon/loop.h"
#include "daemon/slow.h"
#include "ivshmem/api.h"
#include "pci/function.h"
#include "vfio_user/options.h"

extern const struct ivs_syscall ivs_vfio_user_syscalls[];

enum ivs_vfio_user_error {
	IVS_VFIO_USER_E_GONE = 1, /* the client closed the connection between two messages */
	IVS_VFIO_USER_E_CUT,	  /* the connection was closed in the middle of a message */
	IVS_VFIO_USER_E_PROTOCOL, /* the client violated the framing, does not speak vfio-user, or
				     makes its socket slow */
	IVS_VFIO_USER_E_BUSY,	  /* a client is already connected */
	IVS_VFIO_USER_E_UNREAD,	  /* too many former clients have not read their fds (flight.h) */
};

/**
 * struct ivs_vfio_user_options - options of a session; ivs_vfio_user_new() copies them
 * @function:  must outlive the session
 * @name:      prefix of log lines; must outlive the session
 * @loop:      watches the client's fds; must outlive the session
 * @slow:      accounts for calls that clients slow down; must outlive the session
 * @due:       called in @loop when ivs_vfio_user_serve() is due
 * @ring:      called when the guest rings a doorbell; must not block or call the session
 * @context:   argument of @due and @ring
 */
struct ivs_vfio_user_options {
	struct ivs_pci_function *function;
	const char *name;
	struct ivs_loop *loop;
	struct ivs_slow *slow;
	struct ivs_vfio_user_memory memory;
	enum ivs_vfio_user_migration migration;
	void (*due)(void *context);
	void (*ring)(void *context, unsigned int peer, unsigned int vector);
	void *context;
};

struct ivs_vfio_user;

/** ivs_vfio_user_new() - create a session without a client. Return: 0 or -errno. */
IVS_MUST_USE int ivs_vfio_user_new(const struct ivs_vfio_user_options *opts,
				   struct ivs_vfio_user **out, struct ivs_error *err);

/** ivs_vfio_user_free() - disconnect the client, if any; @session may be NULL */
void ivs_vfio_user_free(struct ivs_vfio_user *session);

/**
 * ivs_vfio_user_connect() - serve a client from now on
 * @sock: a connected UNIX stream socket, non-blocking; set to -1 if it was taken
 *
 * The PCI function is reset to its power-on state.
 *
 * Return: 0, IVS_VFIO_USER_E_BUSY, _UNREAD, -errno.
 */
IVS_MUST_USE int ivs_vfio_user_connect(struct ivs_vfio_user *session, int *sock);

/** ivs_vfio_user_is_connected() - whether a client is connected */
bool ivs_vfio_user_is_connected(const struct ivs_vfio_user *session);

/** ivs_vfio_user_is_greeted() - whether the client has sent a valid VERSION */
bool ivs_vfio_user_is_greeted(const struct ivs_vfio_user *session);

/** ivs_vfio_user_has_hung_up() - whether the client has hung up; messages may still be unread */
bool ivs_vfio_user_has_hung_up(const struct ivs_vfio_user *session);

/** ivs_vfio_user_pause() - have ivs_vfio_user_serve() called after @ms, and not earlier */
void ivs_vfio_user_pause(struct ivs_vfio_user *session, int ms);

/** ivs_vfio_user_disconnect() - disconnect the client, if any */
void ivs_vfio_user_disconnect(struct ivs_vfio_user *session);

/** ivs_vfio_user_set_migration() - change what can be migrated, for requests from now on */
void ivs_vfio_user_set_migration(struct ivs_vfio_user *session,
				 enum ivs_vfio_user_migration migration);

/**
 * ivs_vfio_user_serve() - process a bounded number of messages
 *
 * Return: 0. Otherwise the client has been disconnected and all its fds are closed:
 * IVS_VFIO_USER_E_GONE, _CUT, _PROTOCOL; -errno.
 */
IVS_MUST_USE int ivs_vfio_user_serve(struct ivs_vfio_user *session, struct ivs_error *err);

/** ivs_vfio_user_deliver() - send due interrupts; without a client they stay pending */
void ivs_vfio_user_deliver(struct ivs_vfio_user *session);

/** ivs_vfio_user_set_memory() - replace the memory behind BAR 2 */
void ivs_vfio_user_set_memory(struct ivs_vfio_user *session,
			      const struct ivs_vfio_user_memory *memory);

/**
 * struct ivs_vfio_user_counts - counters since the session was created, for the status
 * @clients:         clients that have connected
 * @messages:        requests received
 * @refused:         requests answered with an error
 * @memory_reads:    reads of BAR 2 through messages; 0 if the guest has it mapped
 * @memory_writes:   writes of BAR 2 through messages
 * @doorbells:       doorbells rung by the guest
 * @interrupts:      interrupts sent to the client
 * @mapped:          the connected client has received an fd to map the memory
 * @asked_migration: the connected client has asked whether the device can be migrated
 */
struct ivs_vfio_user_counts {
	uint64_t clients;
	uint64_t messages;
	uint64_t refused;
	uint64_t memory_reads;
	uint64_t memory_writes;
	uint64_t doorbells;
	uint64_t interrupts;
	bool mapped;
	bool asked_migration;
};

/** ivs_vfio_user_counts() - a copy of the counters */
struct ivs_vfio_user_counts ivs_vfio_user_counts(const struct ivs_vfio_user *session);

#endif
