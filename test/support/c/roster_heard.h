/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For tests of the roster by hand. Messages to a client are written as text: "V I0 M" is the
 * greeting, "3.1" the vector 1 of peer 3, "-3" its leave. Anything unexpected fails the test.
 */
#ifndef TEST_SUPPORT_ROSTER_HEARD_H
#define TEST_SUPPORT_ROSTER_HEARD_H

#include "roster/roster.h"

#define TIMEOUT 60
#define TEXT_LEN 4096
#define ALL 1000
#define HEARS(roster, id, most, text) cr_assert_str_eq(hear(roster, id, most), text)

/** make() - an empty roster */
struct ivs_roster *make(unsigned int peers_max);

/** join() - add a peer; returns its id */
unsigned int join(struct ivs_roster *roster, unsigned int vectors_n);

/** greeted() - add a peer with @vectors_n vectors that reads its greeting only; returns its id */
unsigned int greeted(struct ivs_roster *roster, unsigned int vectors_n);

/** hear_by() - send @id at most @most messages, @ask at a time; returns them as text */
const char *hear_by(struct ivs_roster *roster, unsigned int id, unsigned int most,
		    unsigned int ask);

/** hear() - the same with batches as the server's */
const char *hear(struct ivs_roster *roster, unsigned int id, unsigned int most);

#endif
