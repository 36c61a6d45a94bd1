/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The publishing side of LGMP version 6: queues of messages in shared memory, through which Looking
 * Glass B7 passes frames to its clients. Pure.
 *
 * Any process that maps the region can write to it at any time, so nothing that is read from the
 * region is trusted. Offsets, sizes and the next slot are private copies; what is read is used as a
 * bit mask, for a comparison, or after a check of its range. No function blocks: if another process
 * holds a lock, the result is IVS_LGMP_E_BUSY, and the caller tries again later.
 *
 * Numbers are in this machine's byte order, because the clients are processes of this machine.
 */
#ifndef IVS_LOOKING_GLASS_LGMP_H
#define IVS_LOOKING_GLASS_LGMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/api.h"

#define IVS_LGMP_VERSION 6
#define IVS_LGMP_HEADER_LEN 5760 /* includes all queue descriptors; clients need all of it */
#define IVS_LGMP_QUEUES_MAX 5
#define IVS_LGMP_SLOTS_MAX 32
#define IVS_LGMP_CLIENTS_MAX 32

enum ivs_lgmp_error {
	IVS_LGMP_E_BUSY = 1, /* another process holds the lock on the queue */
	IVS_LGMP_E_NOBODY,   /* there is no subscriber, so the message is dropped */
	IVS_LGMP_E_FULL,     /* the queue is full */
	IVS_LGMP_E_BROKEN,   /* another process has changed what only we may change */
};

/**
 * struct ivs_lgmp_queue - a queue; set @id and @slots_n before ivs_lgmp_setup()
 * @slots_n:  slots of the ring, of which one stays free; 2 to IVS_LGMP_SLOTS_MAX
 * @ring:     offset of the ring in the region
 * @position: the slot that is filled next
 * @start:    the slot of the oldest message when the queue was last examined
 * @deadline_ms: the time by which the oldest message must have been read
 * @unread:   for each slot, the clients that are not yet known to have read the message
 */
struct ivs_lgmp_queue {
	uint32_t id;
	uint32_t slots_n;
	uint32_t ring;
	uint32_t position;
	uint32_t start;
	uint64_t deadline_ms;
	uint32_t unread[IVS_LGMP_SLOTS_MAX];
};

/**
 * struct ivs_lgmp - the publisher's view of the region
 * @memory:      aligned to 8 bytes
 * @len:         bytes that may be written; at least ivs_lgmp_used()
 * @max_time_ms: how long a client may leave a message unread before it is marked as bad
 * @udata:       data for clients, such as versions; owned by the caller
 * @session:     number of the session
 * @timestamp:   the last heartbeat
 */
struct ivs_lgmp {
	uint8_t *memory;
	size_t len;
	uint32_t max_time_ms;
	const void *udata;
	uint32_t udata_len;
	uint32_t queues_n;
	struct ivs_lgmp_queue queues[IVS_LGMP_QUEUES_MAX];
	uint32_t session;
	uint64_t timestamp;
};

/** struct ivs_lgmp_message - a message: @udata and the bytes at @offset of the region */
struct ivs_lgmp_message {
	uint32_t udata;
	uint32_t len;
	uint32_t offset;
};

/**
 * struct ivs_lgmp_progress - the result of ivs_lgmp_process(); one bit per client
 * @subscribed: the clients that are subscribed and not marked as bad
 * @late:       clients that have just been marked as bad, because they are not reading messages
 * @taken:      for each client, the number of messages that it has read since the last call
 * @waiting_n:  number of messages that some client has not read yet
 */
struct ivs_lgmp_progress {
	uint32_t subscribed;
	uint32_t late;
	uint32_t taken[IVS_LGMP_CLIENTS_MAX];
	uint32_t waiting_n;
};

/** ivs_lgmp_used() - the number of bytes that header, udata and rings occupy */
size_t ivs_lgmp_used(const struct ivs_lgmp *lgmp);

/**
 * ivs_lgmp_setup() - start a session: write everything except the field that shows that the session
 * is complete
 * @session: a random number; a different one is used if the region already has this one
 *
 * Until ivs_lgmp_show() is called, clients see that nothing is published.
 */
void ivs_lgmp_setup(struct ivs_lgmp *lgmp, uint32_t session, uint64_t now_ms);

/** ivs_lgmp_show() - let clients see the session */
void ivs_lgmp_show(const struct ivs_lgmp *lgmp);

/** ivs_lgmp_hide() - hide the session, so that clients wait for a new one */
void ivs_lgmp_hide(const struct ivs_lgmp *lgmp);

/** ivs_lgmp_is_own() - whether the fields that only the publisher writes are unchanged */
bool ivs_lgmp_is_own(const struct ivs_lgmp *lgmp);

/** ivs_lgmp_beat() - write the heartbeat, which clients expect several times a second */
void ivs_lgmp_beat(struct ivs_lgmp *lgmp, uint64_t now_ms);

/** ivs_lgmp_subscribers() - the clients of queue @i that are subscribed and not marked as bad */
uint32_t ivs_lgmp_subscribers(const struct ivs_lgmp *lgmp, unsigned int i);

/** ivs_lgmp_client_id() - the number that a client of queue @i has given itself; not unique */
uint32_t ivs_lgmp_client_id(const struct ivs_lgmp *lgmp, unsigned int i, unsigned int client);

/**
 * ivs_lgmp_post() - post a message to queue @i
 *
 * Return: 0 or IVS_LGMP_E_*.
 */
IVS_MUST_USE int ivs_lgmp_post(struct ivs_lgmp *lgmp, unsigned int i,
			       const struct ivs_lgmp_message *message, uint64_t now_ms);

/**
 * ivs_lgmp_process() - remove messages that were read from queue @i, and mark clients that are not
 * reading
 *
 * @out is also set if the result is not 0, as far as it is known without the lock.
 *
 * Return: 0, IVS_LGMP_E_BUSY, IVS_LGMP_E_BROKEN.
 */
IVS_MUST_USE int ivs_lgmp_process(struct ivs_lgmp *lgmp, unsigned int i, uint64_t now_ms,
				  struct ivs_lgmp_progress *out);

/**
 * ivs_lgmp_find_heartbeat() - find the heartbeat that a publisher of any known version writes
 * @memory: aligned to 8 bytes
 * @out:    set to the heartbeat, which changes while the publisher runs
 *
 * Return: whether the region looks as if a program is publishing, or has published, to it.
 */
IVS_MUST_USE bool ivs_lgmp_find_heartbeat(const void *memory, size_t len, uint64_t *out);

#endif
