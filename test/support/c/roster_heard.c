/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/c/roster_heard.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

struct ivs_roster *make(unsigned int peers_max)
{
	struct ivs_roster *roster = NULL;

	cr_assert_eq(ivs_roster_new(peers_max, NULL, &roster), 0);
	cr_assert_not_null(roster);
	return roster;
}

int try_join(struct ivs_roster *roster, unsigned int vectors_n, unsigned int *id)
{
	const struct ivs_roster_newcomer newcomer = {.vectors_n = vectors_n};

	return ivs_roster_join(roster, &newcomer, id);
}

unsigned int join(struct ivs_roster *roster, unsigned int vectors_n)
{
	unsigned int id = 99999;

	cr_assert_eq(try_join(roster, vectors_n, &id), 0);
	return id;
}

unsigned int join_quiet(struct ivs_roster *roster, unsigned int vectors_n)
{
	const struct ivs_roster_newcomer newcomer = {.vectors_n = vectors_n, .quiet = true};
	unsigned int id = 99999;

	cr_assert_eq(ivs_roster_join(roster, &newcomer, &id), 0);
	return id;
}

void take(struct ivs_roster *roster, unsigned int id, unsigned int vectors_n, bool quiet)
{
	const struct ivs_roster_newcomer newcomer = {.vectors_n = vectors_n, .quiet = quiet};

	cr_assert_eq(ivs_roster_next_vacant(roster, id), id);
	cr_assert_eq(ivs_roster_join_seat(roster, &newcomer, id), 0);
}

static void text_add(char text[TEXT_LEN], const struct ivs_v0_message *msg)
{
	size_t len = strlen(text);
	const char *gap = len ? " " : "";

	cr_assert_lt(len, TEXT_LEN - 32);
	cr_assert_eq(msg->fd, -1, "the caller must fill in the fd");
	text += len;
	switch (msg->type) {
	case IVS_V0_VERSION:
		snprintf(text, 32, "%sV", gap);
		return;
	case IVS_V0_ID:
		snprintf(text, 32, "%sI%u", gap, msg->id);
		return;
	case IVS_V0_MEMORY:
		snprintf(text, 32, "%sM", gap);
		return;
	case IVS_V0_VECTOR:
		snprintf(text, 32, "%s%u.%u", gap, msg->id, msg->vector);
		return;
	case IVS_V0_LEAVE:
		snprintf(text, 32, "%s-%u", gap, msg->id);
		return;
	}
	cr_assert_fail("no such type: %d", (int)msg->type);
}

const char *hear_by(struct ivs_roster *roster, unsigned int id, unsigned int most, unsigned int ask)
{
	static char text[TEXT_LEN];
	struct ivs_v0_message msgs[64];

	text[0] = '\0';
	while (most > 0) {
		unsigned int n = ivs_roster_due(roster, id, msgs, ask);

		cr_assert_leq(n, ask);
		if (n == 0)
			break;
		if (n > most)
			n = most;
		for (unsigned int i = 0; i < n; i++)
			text_add(text, &msgs[i]);
		ivs_roster_end_send(roster, id, msgs, n);
		most -= n;
	}
	return text;
}

const char *hear(struct ivs_roster *roster, unsigned int id, unsigned int most)
{
	return hear_by(roster, id, most, 32);
}

unsigned int greeted(struct ivs_roster *roster, unsigned int vectors_n)
{
	unsigned int id = join(roster, vectors_n);

	hear(roster, id, 3);
	cr_assert(ivs_roster_greeted(roster, id));
	return id;
}
