/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of this folder share. A request comes in by connection.c, is looked up and checked
 * in table.c, and is answered by a handler: info.c, access.c, irqs.c, migration.c.
 */
#ifndef IVS_VFIO_USER_PRIVATE_H
#define IVS_VFIO_USER_PRIVATE_H

#include <errno.h>

#include "daemon/log.h"
#include "vfio_user/connection.h"
#include "vfio_user/memory.h"
#include "vfio_user/migration.h"
#include "vfio_user/session.h"

/**
 * struct ivs_vfu_intx - the pin's interrupt
 * @eventfd:  raised, it is written to; -1: none
 * @resample: readable, the client unmasks; -1: none
 * @masked:   by the client, or because it was sent and not yet unmasked
 */
struct ivs_vfu_intx {
	int eventfd;
	int resample;
	bool masked;
};

/**
 * struct ivs_vfu_irqs - the eventfds that the client gave; -1: none
 * @error: kept because clients insist on giving it; never written to unless they ask
 */
struct ivs_vfu_irqs {
	struct ivs_vfu_intx intx;
	int error;
	int msix[IVS_MSIX_VECTORS_MAX];
};

/**
 * struct ivs_vfio_user - the session
 * @epoll:     has the client's socket and the resample eventfd in it
 * @watched:   what it watches the socket for
 * @greeted:   VERSION is done
 * @takes_fds: the client can be sent one
 * @leaving:   the client is sent away: nothing more is done for it, whatever it has sent by now
 * @why:       a handler's reason to refuse, for the log; empty: the error's name has to do
 */
struct ivs_vfio_user {
	struct ivs_pci_function *function;
	const char *name;
	void (*ring)(void *context, unsigned int peer, unsigned int vector);
	void *context;
	int epoll;
	uint32_t watched;
	struct ivs_vfu_connection connection;
	bool greeted;
	bool takes_fds;
	bool leaving;
	struct ivs_vfu_memory memory;
	struct ivs_vfu_irqs irqs;
	struct ivs_vfu_migration migration;
	struct ivs_vfio_user_counts counts;
	struct ivs_log_limit log;
	struct ivs_error why;
};

/**
 * Handlers answer connection.header and connection.in.
 *
 * Return: 0, and it has made the reply; a positive errno that the client is to be told; or
 * IVS_VFU_HANGUP: there is no going on with it, session->why says why.
 */
#define IVS_VFU_HANGUP 4096 /* no errno is that large */

/** struct ivs_vfu_entry - one command, and what must be true of a request before its handler sees it */
struct ivs_vfu_entry {
	uint16_t command;
	uint32_t body_min;
	uint32_t body_max;
	unsigned int fds_max; /* that the handler may take; the others are closed before */
	unsigned int states;  /* in which it is allowed: bits, by enum ivs_vfu_migration_state */
	int (*handle)(struct ivs_vfio_user *session);
};

/**
 * ivs_vfu_handle() - the request that has come (table.c): checks, and then its handler
 *
 * Return: as a handler.
 */
IVS_MUST_USE int ivs_vfu_handle(struct ivs_vfio_user *session);

/* Handlers. */
int ivs_vfu_version(struct ivs_vfio_user *session);
int ivs_vfu_dma_map(struct ivs_vfio_user *session);
int ivs_vfu_dma_unmap(struct ivs_vfio_user *session);
int ivs_vfu_info(struct ivs_vfio_user *session);
int ivs_vfu_region_info(struct ivs_vfio_user *session);
int ivs_vfu_irq_info(struct ivs_vfio_user *session);
int ivs_vfu_set_irqs(struct ivs_vfio_user *session);
int ivs_vfu_region_read(struct ivs_vfio_user *session);
int ivs_vfu_region_write(struct ivs_vfio_user *session);
int ivs_vfu_reset(struct ivs_vfio_user *session);
int ivs_vfu_feature(struct ivs_vfio_user *session);
int ivs_vfu_mig_read(struct ivs_vfio_user *session);
int ivs_vfu_mig_write(struct ivs_vfio_user *session);

/** ivs_vfu_reply() - make the reply of the present request; NULL: no memory, say ENOMEM */
static inline uint8_t *ivs_vfu_reply(struct ivs_vfio_user *session, size_t body_len)
{
	return ivs_vfu_connection_reply(&session->connection, body_len, 0);
}

/** ivs_vfu_reply_empty() - a handler's last line where the reply has no body */
static inline int ivs_vfu_reply_empty(struct ivs_vfio_user *session)
{
	return ivs_vfu_reply(session, 0) ? 0 : ENOMEM;
}

/** ivs_vfu_irqs_init() - no eventfds */
void ivs_vfu_irqs_init(struct ivs_vfu_irqs *irqs);

/** ivs_vfu_irqs_drop() - close all eventfds, and the device has no routes */
void ivs_vfu_irqs_drop(struct ivs_vfio_user *session);

/** ivs_vfu_irqs_count() - how many interrupts this device has at @index */
unsigned int ivs_vfu_irqs_count(const struct ivs_vfio_user *session, uint32_t index);

/** ivs_vfu_irqs_resample() - see whether the client has unmasked by eventfd */
void ivs_vfu_irqs_resample(struct ivs_vfio_user *session);

/** ivs_vfu_irqs_deliver() - send what is due */
void ivs_vfu_irqs_deliver(struct ivs_vfio_user *session);

#endif
