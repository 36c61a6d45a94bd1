/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The roster: who is connected, and what has each of them been told.
 *
 * State is replicated, messages are not queued: for every client the roster keeps the set of peers
 * that it knows, and computes the next message from the difference to the set that is really there.
 * So memory is bounded whatever clients do (two bits per client and id), a client that does not
 * read costs no more than one that does, and one that reads again after a long time hears of the
 * state and not of the history.
 *
 * What each client hears (rules in PROTOCOL.md):
 *   - version, its id, the memory, in this order and first;
 *   - then others' vectors, and after those who were visible when its greeting was complete, its
 * own;
 *   - the vectors of one peer in order 0, 1, 2 ... and without anything between them, unless that
 *     peer leaves in the middle: then its leave comes instead of the rest;
 *   - a leave exactly for those peers of which it has heard a vector; leaves before joins;
 *   - never anything of a peer with 0 vectors, nor that it left itself.
 * A client is visible to others when its greeting (three messages) has been told to it.
 *
 * Ids: 0 to 65535, the lowest of which nobody who is there has ever heard. To be told of the leave
 * is not enough: QEMU (7.2 at least) frees a peer's table when that leaves and writes into it when
 * another joins with the same id. Only when all ids have been used up, which takes a client that
 * stays for 65536 joins (ivs_roster_unheard() counts down), is an id given of which nobody knows at
 * the moment and of which the fewest have heard; these are never told of its new owner.
 *
 * Pure: no system call but memory allocation, no clock, no global.
 */
#ifndef IVS_ROSTER_ROSTER_H
#define IVS_ROSTER_ROSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/v0.h"

enum ivs_roster_error {
	IVS_ROSTER_E_FULL = 1, /* peers_max peers are there, or no id is free */
	IVS_ROSTER_E_MEMORY,   /* what is in the memory cannot be gone on with */
};

struct ivs_roster;
struct ivs_roster_memory;

/**
 * ivs_roster_new() - an empty roster
 * @peers_max: how many may be there at a time, 1 to 65536
 * @memory:    empty; where what has been told whom is kept, must outlive it; NULL: in memory of its own
 *
 * Return: 0, -ENOMEM, what growing the memory returned.
 */
IVS_MUST_USE int ivs_roster_new(unsigned int peers_max, struct ivs_roster_memory *memory,
				struct ivs_roster **out);

/** ivs_roster_number_from() - the first to join gets a serial number above @serial; before that */
void ivs_roster_number_from(struct ivs_roster *roster, uint64_t serial);

/**
 * ivs_roster_resume() - go on where another roster in @memory, maybe of a dead process, stopped
 *
 * Those whose messages were on their way then (ivs_roster_begin_send()) are not there any more: what
 * they have been told is not known. The others will be told that these left.
 *
 * Return: 0, IVS_ROSTER_E_MEMORY, -ENOMEM.
 */
IVS_MUST_USE int ivs_roster_resume(unsigned int peers_max, struct ivs_roster_memory *memory,
				   struct ivs_roster **out);

/** ivs_roster_free() - not the memory that was given; NULL is fine */
void ivs_roster_free(struct ivs_roster *roster);

/**
 * ivs_roster_join() - somebody came
 * @vectors_n: how many vectors it has, 0 to 65536
 * @id:        the id it got
 *
 * Return: 0, IVS_ROSTER_E_FULL, -ENOMEM; if not 0, nothing has changed.
 */
IVS_MUST_USE int ivs_roster_join(struct ivs_roster *roster, unsigned int vectors_n,
				 unsigned int *id);

/** ivs_roster_leave() - @id, who is there, left; its fds are not needed any more */
void ivs_roster_leave(struct ivs_roster *roster, unsigned int id);

/**
 * ivs_roster_due() - what @id, who is there, must be told next
 * @out:   room for @out_n messages, at least 1; the fds in them are all -1, for the caller to fill
 * in
 *
 * Changes nothing. Fewer than @out_n does not mean that this is all: ask again after
 * ivs_roster_end_send().
 *
 * Return: how many; 0: it knows everything.
 */
IVS_MUST_USE unsigned int ivs_roster_due(const struct ivs_roster *roster, unsigned int id,
					 struct ivs_v0_message *out, unsigned int out_n);

/**
 * ivs_roster_begin_send() - messages for @id, who is there, are about to leave
 *
 * Until ivs_roster_end_send(), which must follow, also of none. Whoever dies in between leaves it in doubt.
 */
void ivs_roster_begin_send(struct ivs_roster *roster, unsigned int id);

/**
 * ivs_roster_end_send() - the first @msgs_n messages of the last ivs_roster_due() for @id have left
 *
 * Nothing else may have been done with the roster in between.
 */
void ivs_roster_end_send(struct ivs_roster *roster, unsigned int id,
			 const struct ivs_v0_message *msgs, unsigned int msgs_n);

/**
 * ivs_roster_behind() - how many messages @id, who is there, has still to be told
 *
 * If nobody comes or goes meanwhile: what ivs_roster_due() and ivs_roster_end_send() in turns will give.
 */
IVS_MUST_USE uint64_t ivs_roster_behind(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_greeted() - whether @id, who is there, has been told its whole greeting */
bool ivs_roster_greeted(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_present() - whether somebody with this id is there; any @id */
bool ivs_roster_present(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_serial() - the number of the join by which @id, who is there, came; no other has it */
uint64_t ivs_roster_serial(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_set_note() - numbers that are kept with @id, who is there; 0 at first; @which: 0 or 1 */
void ivs_roster_set_note(struct ivs_roster *roster, unsigned int id, unsigned int which,
			 uint64_t note);

/** ivs_roster_note() - such a number */
uint64_t ivs_roster_note(const struct ivs_roster *roster, unsigned int id, unsigned int which);

/** ivs_roster_vectors() - how many vectors @id, who is there, has */
unsigned int ivs_roster_vectors(const struct ivs_roster *roster, unsigned int id);

/** ivs_roster_unheard() - of how many ids nobody who is there has ever heard */
unsigned int ivs_roster_unheard(const struct ivs_roster *roster);

/** ivs_roster_peers() - how many are there */
unsigned int ivs_roster_peers(const struct ivs_roster *roster);

#endif
