/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A naive model that runs alongside a real roster and checks the roster's messages.
 *
 * It knows all peers, keeps for every client the literal list of messages that it was sent, and
 * checks each message against the rules of roster/roster.h when it is sent. The model is slow
 * and obvious on purpose: it has flat tables and linear scans, and sees only the roster's messages.
 */
#ifndef TEST_SUPPORT_ROSTER_ORACLE_H
#define TEST_SUPPORT_ROSTER_ORACLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "roster/memory.h"
#include "roster/roster.h"

/* More ids than any history uses. Ids may exceed peers_max while clients do not read. */
#define ORACLE_IDS 1024
/* The maximum number of messages read at a time. */
#define ORACLE_ASK 40
#define ORACLE_WRONG_LEN 256

/**
 * struct oracle_view - what one client has been sent
 * @stage:    number of messages of the greeting, 0 to 3
 * @heard:    for each id, number of vectors since its last join; 0 after its leave
 * @owner:    for each id with @heard, the owner at the time of the first vector
 * @awaited:  for each id, true if the peer was visible when the greeting was complete and has not
 *            left since
 * @list:     all messages, in order
 */
struct oracle_view {
	unsigned int stage;
	uint8_t heard[ORACLE_IDS];
	unsigned long owner[ORACLE_IDS];
	bool awaited[ORACLE_IDS];
	struct ivs_v0_message *list;
	size_t list_n, list_room;
};

/**
 * struct oracle - the roster under test and its model
 * @roster:   the roster under test
 * @memory:   the memory of @roster
 * @twin:     NULL, or a second roster with the same history that is read one message at a time
 * @ids_end:  the highest id that was ever assigned in this history, plus one
 * @fillers:  peers with ids below this number merely make the ids of others higher, and
 *            oracle_drain() skips them
 * @present, @vacant: for each id, whether it is connected, and whether it has a vacant seat
 * @vectors:  for each id, the number of vectors of its last owner
 * @quiet:    for each id, whether its last owner is never sent a leave
 * @owner:    for each id, the number of its last owner
 * @owners_n: number of joins, in all histories
 * @view:     for each id, what it has been sent; valid for connected clients
 * @messages: number of messages sent, in all histories
 * @trace:    NULL, or the file to which every event is printed
 * @wrong:    the roster's first mistake, or empty
 */
struct oracle {
	struct ivs_roster *roster, *twin;
	struct ivs_roster_memory memory;
	unsigned int peers_max, peers_n, ids_end, fillers;
	bool present[ORACLE_IDS];
	bool vacant[ORACLE_IDS];
	bool quiet[ORACLE_IDS];
	uint8_t vectors[ORACLE_IDS];
	unsigned long owner[ORACLE_IDS];
	unsigned long owners_n;
	struct oracle_view view[ORACLE_IDS];
	unsigned long messages;
	FILE *trace;
	char wrong[ORACLE_WRONG_LEN];
};

/** oracle_new() - create an oracle; aborts if memory is exhausted */
struct oracle *oracle_new(void);
void oracle_free(struct oracle *o);

/** oracle_begin() - start a new history with an empty roster and, if @twin is true, with a twin */
void oracle_begin(struct oracle *o, unsigned int peers_max, bool twin);

/** oracle_fill() - let @n fillers join the empty roster. Return: false if it makes a mistake */
bool oracle_fill(struct oracle *o, unsigned int n);

/*
 * Each of the following functions performs one action on the roster, checks the result, and returns
 * false if the roster has made a mistake.
 */

/** oracle_join() - let a peer join; a full roster must refuse it */
bool oracle_join(struct oracle *o, unsigned int vectors_n, bool quiet);
/** oracle_take() - let a peer take the vacant seat @id; a full roster must refuse it */
bool oracle_take(struct oracle *o, unsigned int id, bool quiet);
/** oracle_give_up() - remove the vacant seat @id */
bool oracle_give_up(struct oracle *o, unsigned int id);
/** oracle_leave() - let a peer leave, and give up the seats that no quiet client knows any more */
bool oracle_leave(struct oracle *o, unsigned int id);
/** oracle_tell() - get up to @ask messages due for @id and send at most @take of them */
bool oracle_tell(struct oracle *o, unsigned int id, unsigned int ask, unsigned int take);
/**
 * oracle_resume() - replace the roster with one that resumes from a copy of its memory
 * @in_doubt: client to which a message is being sent, and which is therefore lost; ORACLE_IDS: none
 */
bool oracle_resume(struct oracle *o, unsigned int in_doubt);
/** oracle_drain() - let all clients read everything, @ask at a time; each must know the others */
bool oracle_drain(struct oracle *o, unsigned int ask);

/** oracle_pending() - return true if, according to the model, messages are due for @id */
bool oracle_pending(const struct oracle *o, unsigned int id);

#endif
