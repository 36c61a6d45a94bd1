/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Helpers for hand-written tests of the roster. Messages to a client are written as text: "V I0 M"
 * is the greeting of client 0, "3.1" is vector 1 of peer 3, and "-3" is its leave. Any unexpected
 * message fails the test.
 */
#ifndef TEST_SUPPORT_ROSTER_HEARD_H
#define TEST_SUPPORT_ROSTER_HEARD_H

#include "roster/roster.h"

#define TIMEOUT 240
#define TEXT_LEN 4096
#define ALL 1000
#define HEARS(roster, id, most, text) cr_assert_str_eq(hear(roster, id, most), text)

/** make() - create an empty roster */
struct ivs_roster *make(unsigned int peers_max);

/** join() - add a peer; return its id */
unsigned int join(struct ivs_roster *roster, unsigned int vectors_n);

/** try_join() - add a peer; return the result of ivs_roster_join() */
int try_join(struct ivs_roster *roster, unsigned int vectors_n, unsigned int *id);

/** join_quiet() - add a quiet peer; return its id */
unsigned int join_quiet(struct ivs_roster *roster, unsigned int vectors_n);

/** take() - add a peer that takes the vacant seat @id; the seat must have @vectors_n vectors */
void take(struct ivs_roster *roster, unsigned int id, unsigned int vectors_n, bool quiet);

/** greeted() - add a peer that has read its greeting and nothing else; return its id */
unsigned int greeted(struct ivs_roster *roster, unsigned int vectors_n);

/** hear_by() - send at most @most messages to @id, @ask at a time; return them as text */
const char *hear_by(struct ivs_roster *roster, unsigned int id, unsigned int most,
		    unsigned int ask);

/** hear() - hear_by() with batches as large as the server's */
const char *hear(struct ivs_roster *roster, unsigned int id, unsigned int most);

#endif
