/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI function served to a VMM over vfio-user: one device, one client at a time. Protocol: QEMU's
 * docs/interop/vfio-user, version 0.0. Nothing here waits: a client that sends half a message, or does
 * not read, is met again when it goes on.
 *
 * What the client does to the device is answered here; a doorbell goes out through @ring before the
 * reply to it. After a doorbell has come in (ivs_pci_doorbell()), or anything else that may
 * make the device interrupt, ivs_vfio_user_deliver().
 */
#ifndef IVS_VFIO_USER_SESSION_H
#define IVS_VFIO_USER_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/syscalls.h"
#include "ivshmem/api.h"
#include "pci/function.h"

extern const struct ivs_syscall ivs_vfio_user_syscalls[];

enum ivs_vfio_user_error {
	IVS_VFIO_USER_E_GONE = 1, /* the client closed, at the end of a message */
	IVS_VFIO_USER_E_CUT,	  /* in the middle of one */
	IVS_VFIO_USER_E_PROTOCOL, /* it broke the framing, or does not speak vfio-user */
	IVS_VFIO_USER_E_BUSY,	  /* there is a client already */
};

/**
 * struct ivs_vfio_user_memory - what is behind BAR 2
 * @fd:       -1: nothing yet; reads are all ones then, writes are ignored. The session's to use, not to
 *            close, until it is given another. Opened read-only if not @writable.
 * @offset:   of BAR 2's first byte in @fd, a multiple of its page
 * @writable: the guest may write
 * @trapped:  the client is not given it to map, so that each access is a message here. Then a guest
 *            that writes to what it may only read does no harm to itself: QEMU 11.1 ends at a store to what
 *            it has mapped only to be read
 *
 * Its length is the device's. The client maps it when it connects: what was not there then, or was
 * replaced, it reaches message by message (slower) until it connects anew.
 */
struct ivs_vfio_user_memory {
	int fd;
	uint64_t offset;
	bool writable;
	bool trapped;
};

/**
 * enum ivs_vfio_user_migration - what a VMM may do that migrates
 * @IVS_VFIO_USER_MIGRATE_NOT:    it is told that the device cannot be migrated ("peer")
 * @IVS_VFIO_USER_MIGRATE_DEVICE: the device's state only
 * @IVS_VFIO_USER_MIGRATE_MEMORY: that, and the content of BAR 2 ("master")
 */
enum ivs_vfio_user_migration {
	IVS_VFIO_USER_MIGRATE_NOT,
	IVS_VFIO_USER_MIGRATE_DEVICE,
	IVS_VFIO_USER_MIGRATE_MEMORY,
};

/**
 * struct ivs_vfio_user_options - copied
 * @function:  must outlive the session
 * @name:    before lines in the log; must outlive it
 * @ring:    the guest rang; must not wait
 * @context: for @ring
 */
struct ivs_vfio_user_options {
	struct ivs_pci_function *function;
	const char *name;
	struct ivs_vfio_user_memory memory;
	enum ivs_vfio_user_migration migration;
	void (*ring)(void *context, unsigned int peer, unsigned int vector);
	void *context;
};

struct ivs_vfio_user;

/** ivs_vfio_user_new() - a device that waits for a client. Return: 0 or -errno. */
IVS_MUST_USE int ivs_vfio_user_new(const struct ivs_vfio_user_options *opts,
				   struct ivs_vfio_user **out, struct ivs_error *err);

/** ivs_vfio_user_free() - with its client, if any. NULL is fine. */
void ivs_vfio_user_free(struct ivs_vfio_user *session);

/**
 * ivs_vfio_user_connect() - a client: a connected stream socket
 * @sock: non-blocking; set to -1 if taken
 *
 * The device is as after power on. Return: 0, IVS_VFIO_USER_E_BUSY, -errno.
 */
IVS_MUST_USE int ivs_vfio_user_connect(struct ivs_vfio_user *session, int *sock);

/** ivs_vfio_user_is_connected() - whether there is a client */
bool ivs_vfio_user_is_connected(const struct ivs_vfio_user *session);

/** ivs_vfio_user_is_greeted() - and it has said which protocol it speaks */
bool ivs_vfio_user_is_greeted(const struct ivs_vfio_user *session);

/** ivs_vfio_user_has_hung_up() - it is gone, but there may be messages of it that have not been served */
bool ivs_vfio_user_has_hung_up(const struct ivs_vfio_user *session);

/** ivs_vfio_user_disconnect() - have it gone, if there is one */
void ivs_vfio_user_disconnect(struct ivs_vfio_user *session);

/** ivs_vfio_user_set_migration() - from the next question on */
void ivs_vfio_user_set_migration(struct ivs_vfio_user *session,
				 enum ivs_vfio_user_migration migration);

/** ivs_vfio_user_fd() - readable (EPOLLIN) when ivs_vfio_user_serve() has something to do */
int ivs_vfio_user_fd(const struct ivs_vfio_user *session);

/**
 * ivs_vfio_user_serve() - what has come, at most a bounded number of messages
 *
 * Return: 0. Or the client is gone, all of its fds closed, and the next may connect:
 * IVS_VFIO_USER_E_GONE, _CUT, _PROTOCOL with the reason; -errno.
 */
IVS_MUST_USE int ivs_vfio_user_serve(struct ivs_vfio_user *session, struct ivs_error *err);

/** ivs_vfio_user_deliver() - send the interrupts that are due; without a client they stay pending */
void ivs_vfio_user_deliver(struct ivs_vfio_user *session);

/** ivs_vfio_user_set_memory() - what is behind BAR 2 from now on */
void ivs_vfio_user_set_memory(struct ivs_vfio_user *session,
			      const struct ivs_vfio_user_memory *memory);

/**
 * struct ivs_vfio_user_counts - since the session was made, to be shown
 * @clients:          that connected
 * @messages:         requests taken
 * @refused:          of them, answered with an error
 * @memory_reads:     reads and writes of BAR 2 by message: 0 where the guest has it mapped
 * @memory_writes:    likewise
 * @doorbells:        that the guest rang
 * @interrupts:       sent to the client
 * @mapped:           the client there is now was given the memory to map
 * @asked_migration:  the client there is now asked whether the device can be migrated
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

/** ivs_vfio_user_counts() - as they are now */
struct ivs_vfio_user_counts ivs_vfio_user_counts(const struct ivs_vfio_user *session);

#endif
