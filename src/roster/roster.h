/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The roster: who is connected, and what each client has been told.
 *
 * State is replicated; messages are not queued. For each client the roster keeps the set of peers
 * that the client knows, and computes the next messages from the difference between this set and
 * the peers that are visible. So memory is bounded (two bits per client and id) whatever clients
 * do, a client that does not read costs no more than any other, and a client that reads after a
 * long time is sent the current state rather than the history.
 *
 * What each client is sent (rules in PROTOCOL.md):
 *   - first the version, its id and the memory, in this order;
 *   - then the vectors of other peers, and its own vectors after those of the peers that were
 *     visible when its greeting was complete;
 *   - the vectors of one peer in order 0, 1, 2 ... without other messages in between; if that peer
 *     leaves before all have been sent, its leave replaces the rest;
 *   - the leave of each peer of which it has been sent a vector, and of no other peer; leaves
 *     come before joins;
 *   - nothing about a peer with 0 vectors, nor its own leave.
 * A client becomes visible to others when it has been sent its greeting (three messages).
 *
 * Ids: 0 to 65535. A new client gets the lowest id that no connected client has ever heard of. An
 * id does not become free when its leave has been sent to all clients: QEMU (at least 7.2) frees a
 * peer's table when the peer leaves, and writes into the freed table when another peer joins with
 * the same id. If a client stays for 65536 joins, all ids are used up (ivs_roster_unheard() returns
 * how many are left). From then on, a new client gets the id that the fewest clients have heard of,
 * among those that no client currently knows. The clients that have heard of it are never told of
 * its new owner.
 *
 * Pure: no system calls except to allocate memory, no clock, no global variables.
 */
#ifndef IVS_ROSTER_ROSTER_H
#define IVS_ROSTER_ROSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/v0.h"

enum ivs_roster_error {
	IVS_ROSTER_E_FULL = 1, /* peers_max clients are connected, or no id is free */
	IVS_ROSTER_E_MEMORY,   /* the memory to resume from is not valid */
};

struct ivs_roster;
struct ivs_roster_memory;

/**
 * ivs_roster_new() - create an empty roster
 * @peers_max: maximum number of clients at a time, 1 to 65536
 * @memory:    empty memory for the records, which must outlive the roster; NULL: the roster
 *             allocates its own
 *
 * Return: 0, -ENOMEM, or the -errno of growing @memory.
 */
IVS_MUST_USE int ivs_roster_new(unsigned int peers_max, struct ivs_roster_memory *memory,
				struct ivs_roster **out);

/** ivs_roster_number_from() - start serials above @serial; call this before the first join */
void ivs_roster_number_from(struct ivs_roster *roster, uint64_t serial);

/**
 * ivs_roster_resume() - create a roster from the records in @memory, even after a crash
 *
 * A client to which messages were being sent (ivs_roster_begin_send()) is dropped, because it is
 * not known which messages it has received. The other clients will be sent its leave.
 *
 * Return: 0, IVS_ROSTER_E_MEMORY, -ENOMEM.
 */
IVS_MUST_USE int ivs_roster_resume(unsigned int peers_max, struct ivs_roster_memory *memory,
				   struct ivs_roster **out);

/** ivs_roster_free() - free the roster, but not the caller's memory; NULL is ignored */
void ivs_roster_free(struct ivs_roster *roster);

/**
 * struct ivs_roster_owner - a party for which ids are assigned; initially zero
 * @ids_n: number of the owner's ids that are stale; until it is 0, the structure must not move
 */
struct ivs_roster_owner {
	unsigned int ids_n;
};

/**
 * ivs_roster_join() - add a client
 * @vectors_n: number of the client's vectors, 0 to 65536
 * @id:        set to the id that the client has been assigned
 *
 * Return: 0, IVS_ROSTER_E_FULL, -ENOMEM; if not 0, no client was added.
 */
IVS_MUST_USE int ivs_roster_join(struct ivs_roster *roster, unsigned int vectors_n,
				 unsigned int *id);

/**
 * ivs_roster_join_for() - add a client, as ivs_roster_join() does, and count its id for @owner
 * @share: if the owner has more than @share times as many stale ids as there are unheard ones, the
 *         client is assigned one of the owner's stale ids that is not in use, if there is any
 *
 * Return: 0, IVS_ROSTER_E_FULL, -ENOMEM; if not 0, no client was added.
 */
IVS_MUST_USE int ivs_roster_join_for(struct ivs_roster *roster, unsigned int vectors_n,
				     struct ivs_roster_owner *owner, unsigned int share,
				     unsigned int *id);

/** ivs_roster_set_owner() - count @id, which must be present, for @owner */
void ivs_roster_set_owner(struct ivs_roster *roster, unsigned int id,
			  struct ivs_roster_owner *owner);

/**
 * ivs_roster_leave() - remove client @id, which must be present; its fds are no longer needed
 */
void ivs_roster_leave(struct ivs_roster *roster, unsigned int id);

/**
 * ivs_roster_due() - the next messages for client @id, which must be present
 * @out: room for @out_n messages, at least 1; their fds are -1, for the caller to set
 *
 * The call changes nothing. Even if it returns fewer than @out_n messages, more may be due; call it
 * again after ivs_roster_end_send().
 *
 * Return: the number of messages; 0: the client has been sent everything.
 */
IVS_MUST_USE unsigned int ivs_roster_due(const struct ivs_roster *roster, unsigned int id,
					 struct ivs_v0_message *out, unsigned int out_n);

/**
 * ivs_roster_begin_send() - record that messages are about to be sent to client @id, which must be
 * present
 *
 * ivs_roster_end_send() must follow, even if no message was sent. If the process dies in between, a
 * resuming server drops the client.
 */
void ivs_roster_begin_send(struct ivs_roster *roster, unsigned int id);

/**
 * ivs_roster_end_send() - record that the first @msgs_n messages of the last ivs_roster_due() have
 * been sent
 *
 * The roster must not have changed since ivs_roster_due().
 */
void ivs_roster_end_send(struct ivs_roster *roster, unsigned int id,
			 const struct ivs_v0_message *msgs, unsigned int msgs_n);

/**
 * ivs_roster_behind() - the number of messages due to client @id, which must be present
 *
 * If no client joins or leaves, calling ivs_roster_due() and ivs_roster_end_send() in turn sends
 * this number of messages in total.
 */
IVS_MUST_USE uint64_t ivs_roster_behind(const struct ivs_roster *roster, unsigned int id);

/* For the functions below, @id must be present, unless stated otherwise. */

/** ivs_roster_greeted() - whether client @id has been sent its whole greeting */
bool ivs_roster_greeted(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_present() - whether a client has this id; @id may be any number */
bool ivs_roster_present(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_serial() - the serial of client @id, which no other client ever gets */
uint64_t ivs_roster_serial(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_set_note() - keep a number for the caller in the record of @id; @which: 0 or 1 */
void ivs_roster_set_note(struct ivs_roster *roster, unsigned int id, unsigned int which,
			 uint64_t note);

/** ivs_roster_note() - the number that ivs_roster_set_note() has set; initially 0 */
uint64_t ivs_roster_note(const struct ivs_roster *roster, unsigned int id, unsigned int which);

/** ivs_roster_vectors() - the number of vectors of client @id */
unsigned int ivs_roster_vectors(const struct ivs_roster *roster, unsigned int id);

/**
 * ivs_roster_known_n() - the number of clients that know @id: each has been sent a vector of peer
 * @id, but not the peer's leave. @id need not be present
 */
unsigned int ivs_roster_known_n(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_unheard() - the number of ids that no connected client has ever heard of */
unsigned int ivs_roster_unheard(const struct ivs_roster *roster);

/** ivs_roster_heard_n() - the number of clients that have heard of @id (any id) */
unsigned int ivs_roster_heard_n(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_peers() - the number of clients */
unsigned int ivs_roster_peers(const struct ivs_roster *roster);

#endif
