/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The roster: who is connected, and what each client has been told.
 *
 * State is replicated; messages are not queued. For each client the roster keeps the set of peers
 * that the client knows, and computes the next messages from the difference between this set and
 * the peers that are visible. So, whatever clients do, memory is bounded (two bits per client and
 * id), a client that does not read costs no more than any other, and a client that reads after a
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
 * A quiet client is never sent a leave: QEMU (at least up to 11.1) frees a peer's table when the
 * peer leaves, and uses the freed table when the id returns and when the device is unplugged. So a
 * quiet client has the id and the eventfds of a departed peer as long as it is connected. They are
 * the peer's seat. While a quiet client knows a seat, the vacant seat is kept for another client
 * with the same number of vectors. Quiet clients that know the seat are not told when that client
 * takes it; other clients are sent the leave and the join. A quiet client that has been sent only a
 * part of a seat's vectors is sent the rest even if the seat is vacant.
 *
 * Ids: 0 to 65535. A new client that takes no seat gets the lowest id that no connected client
 * knows. The caller decides who takes a seat, and when a seat is given up. The id of a seat that
 * was given up remains known to quiet clients. If all ids are known (ivs_roster_unknown() returns
 * how many are not), a new client gets, of the ids without a seat, the one that the fewest clients
 * know. Quiet clients that know the id are never told of its new owner, whose seat is not kept.
 *
 * Pure: no system calls except to allocate memory, no clock, no global variables.
 */
#ifndef IVS_ROSTER_ROSTER_H
#define IVS_ROSTER_ROSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/v0.h"

enum ivs_roster_error {
	IVS_ROSTER_E_FULL = 1, /* peers_max clients are connected, or each id has a seat */
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
 * not known which messages it has received. Its seat is vacant if a quiet client knows it. Seats
 * that no quiet client knows are given up.
 *
 * Return: 0, IVS_ROSTER_E_MEMORY, -ENOMEM.
 */
IVS_MUST_USE int ivs_roster_resume(unsigned int peers_max, struct ivs_roster_memory *memory,
				   struct ivs_roster **out);

/** ivs_roster_free() - free the roster, but not the caller's memory; NULL is ignored */
void ivs_roster_free(struct ivs_roster *roster);

/**
 * struct ivs_roster_owner - a party for which ids are assigned; initially zero
 * @ids_n: number of the owner's ids that are taken: in use, or known to a connected client; until
 *         it is 0, the structure must not move
 */
struct ivs_roster_owner {
	unsigned int ids_n;
};

/**
 * struct ivs_roster_newcomer - a client that is about to join
 * @vectors_n: number of its vectors, 0 to 65536
 * @quiet:     it must never be sent a leave
 * @lowest:    it may not be assigned an id below this
 * @owner:     count its id for this owner; NULL: for none
 * @share:     with an @owner: if the owner has more than @share times as many taken ids as there
 *             are unknown ones, the client is assigned one of the owner's taken ids without a seat,
 *             if there is any
 */
struct ivs_roster_newcomer {
	unsigned int vectors_n;
	bool quiet;
	unsigned int lowest;
	struct ivs_roster_owner *owner;
	unsigned int share;
};

/**
 * ivs_roster_join() - add a client
 * @id: set to the id that the client has been assigned
 *
 * Return: 0, IVS_ROSTER_E_FULL, -ENOMEM; if not 0, no client was added.
 */
IVS_MUST_USE int ivs_roster_join(struct ivs_roster *roster,
				 const struct ivs_roster_newcomer *newcomer, unsigned int *id);

/**
 * ivs_roster_join_seat() - add a client, which takes the vacant seat @id
 *
 * The seat must have @newcomer->vectors_n vectors; @lowest is ignored.
 *
 * Return: 0, IVS_ROSTER_E_FULL; if not 0, no client was added.
 */
IVS_MUST_USE int ivs_roster_join_seat(struct ivs_roster *roster,
				      const struct ivs_roster_newcomer *newcomer, unsigned int id);

/** ivs_roster_set_owner() - count @id, which must have a seat, for @owner */
void ivs_roster_set_owner(struct ivs_roster *roster, unsigned int id,
			  struct ivs_roster_owner *owner);

/**
 * ivs_roster_leave() - remove client @id, which must be present
 *
 * Return: whether its seat is kept, because a quiet client knows it. If not, its eventfds are no
 * longer needed. Call ivs_roster_give_up() on vacant seats for which ivs_roster_is_needed() is
 * false now.
 */
bool ivs_roster_leave(struct ivs_roster *roster, unsigned int id);

/** ivs_roster_next_vacant() - the lowest id from @from with a vacant seat; IVS_ID_MAX + 1: none */
unsigned int ivs_roster_next_vacant(const struct ivs_roster *roster, unsigned int from);

/** ivs_roster_is_needed() - whether a quiet client knows the seat @id */
bool ivs_roster_is_needed(const struct ivs_roster *roster, unsigned int id);

/**
 * ivs_roster_give_up() - remove the vacant seat @id; its eventfds are no longer needed
 *
 * Quiet clients that have not been sent all of the seat's vectors will not be sent the rest.
 */
void ivs_roster_give_up(struct ivs_roster *roster, unsigned int id);

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

/** ivs_roster_quiet() - whether client @id, or the former client of seat @id, is quiet */
bool ivs_roster_quiet(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_greeted() - whether client @id has been sent its whole greeting */
bool ivs_roster_greeted(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_present() - whether a client has this id; @id may be any number */
bool ivs_roster_present(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_serial() - the serial of client @id, which no other client ever gets */
uint64_t ivs_roster_serial(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_seat_serial() - the serial of the first client that had the seat @id */
uint64_t ivs_roster_seat_serial(const struct ivs_roster *roster, unsigned int id);

/**
 * ivs_roster_set_note() - keep a number for the caller in the record of @id
 * @which: below IVS_ROSTER_NOTES_N
 */
void ivs_roster_set_note(struct ivs_roster *roster, unsigned int id, unsigned int which,
			 uint64_t note);

/**
 * ivs_roster_note() - the number that ivs_roster_set_note() has set; 0 after a join. The notes of a
 * vacant seat are those of its former client
 */
uint64_t ivs_roster_note(const struct ivs_roster *roster, unsigned int id, unsigned int which);

/** ivs_roster_vectors() - the number of vectors of the seat @id */
unsigned int ivs_roster_vectors(const struct ivs_roster *roster, unsigned int id);

/**
 * ivs_roster_known_n() - the number of clients that know @id: each has been sent a vector of peer
 * @id, but not the peer's leave. @id need not be present
 */
unsigned int ivs_roster_known_n(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_quiet_n() - the number of quiet clients that know @id. @id need not be present */
unsigned int ivs_roster_quiet_n(const struct ivs_roster *roster, unsigned int id);

/**
 * ivs_roster_leaves_due_n() - the number of clients that must still be sent the leave of a former
 * owner of @id. @id need not be present
 */
unsigned int ivs_roster_leaves_due_n(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_unknown() - the number of ids that are not in use, and that no client knows */
unsigned int ivs_roster_unknown(const struct ivs_roster *roster);

/** ivs_roster_peers() - the number of clients */
unsigned int ivs_roster_peers(const struct ivs_roster *roster);

#endif
