/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The roster: who is connected, and what each client has been told.
 *
 * State is replicated, messages are not queued: for every client the roster keeps the set of peers
 * that it knows, and computes the next message from the difference to the peers that are visible.
 * So memory is bounded whatever clients do (two bits per client and id), a client that does not
 * read costs no more than others, and one that reads after a long time is sent the state and not
 * the history.
 *
 * What each client is sent (rules in PROTOCOL.md):
 *   - version, its id, the memory, in this order and first;
 *   - then the vectors of others, and its own after those of the peers that were visible when its
 *     greeting was complete;
 *   - the vectors of one peer in order 0, 1, 2 ... without other messages in between, unless that
 *     peer leaves: then its leave replaces the rest;
 *   - a leave for each peer of which it was sent a vector, and for no other; leaves before joins;
 *   - nothing about a peer with 0 vectors, and not its own leave.
 * A client becomes visible to others when its greeting (three messages) has been sent to it.
 *
 * Ids: 0 to 65535. A new client gets the lowest id of which no connected client has ever heard.
 * That a client was sent the leave is not enough: QEMU (7.2 at least) frees a peer's table at its
 * leave and writes into it when another peer joins with the same id. Only when all ids have been
 * used up, which takes a client that stays for 65536 joins (ivs_roster_unheard() counts down), a
 * new client gets an id that no client knows at the moment and of which the fewest have heard;
 * these clients are never sent its new owner.
 *
 * Pure: no system call but memory allocation, no clock, no global.
 */
#ifndef IVS_ROSTER_ROSTER_H
#define IVS_ROSTER_ROSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/v0.h"

enum ivs_roster_error {
	IVS_ROSTER_E_FULL = 1, /* peers_max clients are connected, or no id is free */
	IVS_ROSTER_E_MEMORY,   /* the saved state is not usable */
};

struct ivs_roster;
struct ivs_roster_memory;

/**
 * ivs_roster_new() - an empty roster
 * @peers_max: clients at a time, 1 to 65536
 * @memory:    empty; holds the records, must outlive the roster; NULL: memory of its own
 *
 * Return: 0, -ENOMEM, or -errno of growing @memory.
 */
IVS_MUST_USE int ivs_roster_new(unsigned int peers_max, struct ivs_roster_memory *memory,
				struct ivs_roster **out);

/** ivs_roster_number_from() - begin serial numbers above @serial; call before the first join */
void ivs_roster_number_from(struct ivs_roster *roster, uint64_t serial);

/**
 * ivs_roster_resume() - resume from the records in @memory, also of a process that crashed
 *
 * Clients to which messages were being sent (ivs_roster_begin_send()) are dropped, because it is
 * not known which of them were sent. The others will be sent their leaves.
 *
 * Return: 0, IVS_ROSTER_E_MEMORY, -ENOMEM.
 */
IVS_MUST_USE int ivs_roster_resume(unsigned int peers_max, struct ivs_roster_memory *memory,
				   struct ivs_roster **out);

/** ivs_roster_free() - leaves the memory of ivs_roster_new() as it is; NULL is fine */
void ivs_roster_free(struct ivs_roster *roster);

/**
 * ivs_roster_join() - add a client
 * @vectors_n: how many vectors it has, 0 to 65536
 * @id:        assigned to it
 *
 * Return: 0, IVS_ROSTER_E_FULL, -ENOMEM; if not 0, nothing has changed.
 */
IVS_MUST_USE int ivs_roster_join(struct ivs_roster *roster, unsigned int vectors_n,
				 unsigned int *id);

/**
 * ivs_roster_leave() - remove client @id, which must be present; its fds are not needed any more
 */
void ivs_roster_leave(struct ivs_roster *roster, unsigned int id);

/**
 * ivs_roster_due() - the next messages for client @id, which must be present
 * @out: room for @out_n messages, at least 1; their fds are -1, for the caller to set
 *
 * Changes nothing. Fewer than @out_n are not necessarily all: call again after
 * ivs_roster_end_send().
 *
 * Return: how many; 0: it has been sent everything.
 */
IVS_MUST_USE unsigned int ivs_roster_due(const struct ivs_roster *roster, unsigned int id,
					 struct ivs_v0_message *out, unsigned int out_n);

/**
 * ivs_roster_begin_send() - messages are about to be sent to client @id, which must be present
 *
 * ivs_roster_end_send() must follow, also if none was sent. If the process dies in between, the
 * client is in doubt.
 */
void ivs_roster_begin_send(struct ivs_roster *roster, unsigned int id);

/**
 * ivs_roster_end_send() - the first @msgs_n messages of the last ivs_roster_due() have been sent
 *
 * The roster must not have changed in between.
 */
void ivs_roster_end_send(struct ivs_roster *roster, unsigned int id,
			 const struct ivs_v0_message *msgs, unsigned int msgs_n);

/**
 * ivs_roster_behind() - how many messages client @id, which must be present, has not been sent
 *
 * Without further joins and leaves ivs_roster_due() and ivs_roster_end_send() in turns give as
 * many.
 */
IVS_MUST_USE uint64_t ivs_roster_behind(const struct ivs_roster *roster, unsigned int id);

/* @id must be present in the functions below, unless they say otherwise. */

/** ivs_roster_greeted() - whether client @id has been sent its whole greeting */
bool ivs_roster_greeted(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_present() - whether a client has this id; any @id */
bool ivs_roster_present(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_serial() - the serial number of client @id; no other join ever has it */
uint64_t ivs_roster_serial(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_set_note() - keep a number for the caller in the record of @id; @which: 0 or 1 */
void ivs_roster_set_note(struct ivs_roster *roster, unsigned int id, unsigned int which,
			 uint64_t note);

/** ivs_roster_note() - the number that was set; 0 at first */
uint64_t ivs_roster_note(const struct ivs_roster *roster, unsigned int id, unsigned int which);

/** ivs_roster_vectors() - how many vectors client @id has */
unsigned int ivs_roster_vectors(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_unheard() - the number of ids of which no connected client has ever heard */
unsigned int ivs_roster_unheard(const struct ivs_roster *roster);

/** ivs_roster_peers() - the number of clients */
unsigned int ivs_roster_peers(const struct ivs_roster *roster);

#endif
