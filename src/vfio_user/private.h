/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Declarations shared by the files of this folder. connection.c receives a request, table.c finds
 * and checks its command, and a handler in info.c, access.c, irqs.c or migration.c answers it.
 *
 * Names with the prefix ivs_vfio_user_ (session.h, options.h) are for other rooms, those with the
 * prefix ivs_vfu_ only for files of this one.
 */
#ifndef IVS_VFIO_USER_PRIVATE_H
#define IVS_VFIO_USER_PRIVATE_H

#include <errno.h>

#include "daemon/log.h"
#include "vfio_user/connection.h"
#include "vfio_user/flight.h"
#include "vfio_user/memory.h"
#include "vfio_user/migration.h"
#include "vfio_user/session.h"

/**
 * struct ivs_vfu_intx - INTx, the interrupt of the pin
 * @trigger_fd:  an eventfd, written to when the pin is raised; -1: none
 * @resample_fd: an eventfd that the client writes to in order to unmask INTx; -1: none
 * @masked:      the client has masked INTx, or INTx was sent and has not been unmasked since then
 */
struct ivs_vfu_intx {
	int trigger_fd;
	int resample_fd;
	bool masked;
};

/**
 * struct ivs_vfu_irqs - the client's eventfds; -1: none
 * @error_fd: accepted because clients insist on passing it; written to only by TRIGGER
 */
struct ivs_vfu_irqs {
	struct ivs_vfu_intx intx;
	int error_fd;
	int msix_fds[IVS_MSIX_VECTORS_MAX];
};

/**
 * struct ivs_vfio_user - the session
 * @client:    watches the client's socket
 * @resample:  watches the resample eventfd
 * @retry_timer: set while the kernel refuses to send a reply
 * @formers:   sockets of former clients, to which an fd may be in flight
 * @watched:   epoll events for which the socket is watched; 0: it is not watched
 * @greeted:   a valid VERSION has been received
 * @takes_fds: the client can receive fds
 * @dropped:   the client is being disconnected: its remaining messages are not processed
 * @why:       why a handler refused the request, for the log; empty: log the errno instead
 */
struct ivs_vfio_user {
	struct ivs_pci_function *function;
	const char *name;
	struct ivs_loop *loop;
	struct ivs_slow *slow;
	void (*due)(void *context);
	void (*ring)(void *context, unsigned int peer, unsigned int vector);
	void *context;
	struct ivs_loop_source client;
	struct ivs_loop_source resample;
	struct ivs_loop_timer retry_timer;
	uint32_t watched;
	struct ivs_vfu_connection connection;
	struct ivs_vfu_former formers[IVS_VFU_FLIGHT_MAX];
	bool greeted;
	bool takes_fds;
	bool dropped;
	struct ivs_vfu_memory memory;
	struct ivs_vfu_irqs irqs;
	struct ivs_vfu_migration migration;
	struct ivs_vfio_user_counts counts;
	struct ivs_log_limit log;
	struct ivs_error why;
};

/**
 * Handlers answer the request in connection.header, connection.in and connection.fds.
 *
 * Return: 0: the reply is in connection.out; a positive errno: send it as the reply;
 * IVS_VFU_HANGUP: disconnect the client, for the reason in session->why.
 */
#define IVS_VFU_HANGUP 4096 /* this is larger than any errno */

/** struct ivs_vfu_entry - a command, and what table.c checks before it calls the handler */
struct ivs_vfu_entry {
	uint16_t command;
	uint32_t body_min;
	uint32_t body_max;
	unsigned int fds_max; /* surplus fds are closed before the handler is called */
	unsigned int states;  /* states in which the command is allowed: bits 1 << state */
	int (*handle)(struct ivs_vfio_user *session);
};

/**
 * ivs_vfu_handle() - check the current request and call its handler (table.c)
 *
 * Return: the same values as a handler.
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

/** ivs_vfu_reply() - allocate the reply. Return: its body; NULL if out of memory. */
static inline uint8_t *ivs_vfu_reply(struct ivs_vfio_user *session, size_t body_len)
{
	return ivs_vfu_connection_reply(&session->connection, body_len, 0);
}

/** ivs_vfu_reply_empty() - allocate a reply without a body. Return: 0 or ENOMEM, like a handler. */
static inline int ivs_vfu_reply_empty(struct ivs_vfio_user *session)
{
	return ivs_vfu_reply(session, 0) ? 0 : ENOMEM;
}

/** ivs_vfu_irqs_init() - initialise without eventfds */
void ivs_vfu_irqs_init(struct ivs_vfu_irqs *irqs);

/** ivs_vfu_irqs_drop() - close all eventfds and remove all routes */
void ivs_vfu_irqs_drop(struct ivs_vfio_user *session);

/** ivs_vfu_irqs_count() - the number of interrupts at @index */
unsigned int ivs_vfu_irqs_count(const struct ivs_vfio_user *session, uint32_t index);

/** ivs_vfu_irqs_resample() - unmask INTx if the client has written to the resample eventfd */
void ivs_vfu_irqs_resample(struct ivs_vfio_user *session);

/** ivs_vfu_irqs_deliver() - send due interrupts */
void ivs_vfu_irqs_deliver(struct ivs_vfio_user *session);

#endif
