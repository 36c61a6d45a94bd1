/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A naive model that runs alongside a real roster and checks the roster's messages.
 *
 * It knows all peers, keeps for every client the literal list of messages that it was sent, and
 * checks each message against the sentences of roster/roster.h when it is sent. It is slow and
 * obvious on purpose: flat tables, linear scans, and no data of the roster except its messages.
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
/* The maximum number of messages read at a time. */
#define ORACLE_ASK 40
#define ORACLE_WRONG_LEN 256

/**
 * struct oracle_view - messages to one client
 * @stage:    messages of the greeting, 0 to 3
 * @heard:    number of vectors of each id since its last join; 0 after its leave
 * @ever:     ids that it has ever received
 * @awaited:  peers that were visible when the greeting was complete, and have not left since
 * @list:     every message it was sent, in order
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
 * struct oracle - the roster under test and its model
 * @roster:   under test
 * @memory:   of the roster
 * @twin:     if not NULL: a second roster with the same history, read one message at a time
 * @ids_end:  the highest id that was ever assigned, plus one
 * @fillers:  peers with ids below this only make others' ids higher: oracle_drain() skips them
 * @present, @vectors: by id
 * @view:     by id; of connected clients
 * @messages: number of messages sent, in all histories
 * @trace:    if not NULL: print every event
 * @wrong:    the roster's first mistake, or empty
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

/** oracle_new() - ends the process if memory is exhausted */
struct oracle *oracle_new(void);
void oracle_free(struct oracle *o);

/** oracle_begin() - start a new history with an empty roster; @twin: keep a twin */
void oracle_begin(struct oracle *o, unsigned int peers_max, bool twin);

/** oracle_fill() - @n fillers join the empty roster; false if the roster is wrong */
bool oracle_fill(struct oracle *o, unsigned int n);

/* Each of the following performs one action on the roster, checks it, and returns false if it is
 * wrong. */

/** oracle_join() - a peer joins; if there is no room it must be refused */
bool oracle_join(struct oracle *o, unsigned int vectors_n);
bool oracle_leave(struct oracle *o, unsigned int id);
/** oracle_tell() - read @ask messages for @id and let at most @take of them be sent */
bool oracle_tell(struct oracle *o, unsigned int id, unsigned int ask, unsigned int take);
/**
 * oracle_resume() - another process resumes with only a copy of the memory
 * @in_doubt: the client to which a message was being sent, and which is lost; or ORACLE_IDS
 */
bool oracle_resume(struct oracle *o, unsigned int in_doubt);
/** oracle_drain() - all read everything, @ask at a time; each must know exactly the peers */
bool oracle_drain(struct oracle *o, unsigned int ask);

/** oracle_on_crash() - call @say before this process dies of a fault, also of a full stack */
void oracle_on_crash(void (*say)(void));

/** oracle_pending() - whether messages are due for @id according to the model */
bool oracle_pending(const struct oracle *o, unsigned int id);

#endif
