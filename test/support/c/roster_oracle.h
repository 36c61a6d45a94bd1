/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A naive world beside a real roster, to judge what the roster says.
 *
 * It knows who is there, keeps for every client the literal list of messages that it was told, and
 * checks each message against the sentences of roster/roster.h at the moment it is told. It is slow
 * and obvious on purpose: flat tables, linear scans, nothing taken from the roster but its answers.
 */
#ifndef TEST_SUPPORT_ROSTER_ORACLE_H
#define TEST_SUPPORT_ROSTER_ORACLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "roster/memory.h"
#include "roster/roster.h"

/* More ids than any history here can use: ids grow past peers_max while clients do not read. */
#define ORACLE_IDS 1024
/* The most messages asked for at a time. */
#define ORACLE_ASK 40
#define ORACLE_WRONG_LEN 256

/**
 * struct oracle_view - what one client heard
 * @stage:    messages of the greeting, 0 to 3
 * @heard:    how many vectors of each id since it was last announced; 0 after its leave
 * @ever:     of whom it has ever heard
 * @awaited:  who was visible when the greeting was complete, and has not left since
 * @list:     every message it was told, in order
 */
struct oracle_view {
	unsigned int stage;
	uint8_t heard[ORACLE_IDS];
	bool ever[ORACLE_IDS];
	bool awaited[ORACLE_IDS];
	struct ivs_v0_message *list;
	size_t list_n, list_room;
};

/**
 * struct oracle - the roster under test and the truth
 * @roster:   under test
 * @memory:   of the roster
 * @twin:     if not NULL: a second roster with the same history but asked for one message at a time
 * @ids_end:  the highest id that was ever given, plus one
 * @fillers:  ids below this are only there to make others' ids higher: oracle_drain() skips them
 * @present, @vectors: by id
 * @view:     by id; of those who are there
 * @messages: how many were told, in all histories
 * @trace:    if not NULL: print every event
 * @wrong:    what the roster did wrong first, or empty
 */
struct oracle {
	struct ivs_roster *roster, *twin;
	struct ivs_roster_memory memory;
	unsigned int peers_max, peers_n, ids_end, fillers;
	bool present[ORACLE_IDS];
	uint8_t vectors[ORACLE_IDS];
	struct oracle_view view[ORACLE_IDS];
	unsigned long messages;
	FILE *trace;
	char wrong[ORACLE_WRONG_LEN];
};

/** oracle_new() - ends the process without memory */
struct oracle *oracle_new(void);
void oracle_free(struct oracle *o);

/** oracle_begin() - a new history with an empty roster; @twin: keep a twin */
void oracle_begin(struct oracle *o, unsigned int peers_max, bool twin);

/** oracle_fill() - @n fillers join the empty roster; false when the roster is wrong */
bool oracle_fill(struct oracle *o, unsigned int n);

/* Each of the following does one thing to the roster, judges it, and returns false when wrong. */

/** oracle_join() - somebody comes, also when there is no room: that must be refused */
bool oracle_join(struct oracle *o, unsigned int vectors_n);
bool oracle_leave(struct oracle *o, unsigned int id);
/** oracle_tell() - ask for @ask messages for @id and let at most @take of them leave */
bool oracle_tell(struct oracle *o, unsigned int id, unsigned int ask, unsigned int take);
/**
 * oracle_resume() - another process goes on, with a copy of the memory and nothing else
 * @in_doubt: to whom something was being sent at that moment: it is lost; or ORACLE_IDS
 */
bool oracle_resume(struct oracle *o, unsigned int in_doubt);
/** oracle_drain() - everybody reads everything, @ask at a time; every view must be the truth */
bool oracle_drain(struct oracle *o, unsigned int ask);

/** oracle_on_crash() - call @say before this process dies of a fault, also of a full stack */
void oracle_on_crash(void (*say)(void));

/** oracle_pending() - whether @id has anything to hear, by the oracle's own opinion */
bool oracle_pending(const struct oracle *o, unsigned int id);

#endif
