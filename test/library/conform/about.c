/* SPDX-License-Identifier: BSD-3-Clause */
/* Cases for the getters: transport, capabilities and reasons, description, id, vectors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform.h"

static void transport(struct conform *c)
{
	EXPECT(c, !strcmp(ivs_peer_transport(c->peer), c->transport), "expected %s, got %s",
	       c->transport, ivs_peer_transport(c->peer));
}

static void caps(struct conform *c)
{
	EXPECT(c, ivs_peer_caps(c->peer) == c->expected, "expected 0x%x, got 0x%x", c->expected,
	       ivs_peer_caps(c->peer));
}

/*
 * The reason for a missing capability is a message for users: the cause, then a colon or a
 * semicolon and the remedy.
 */
static void reason(struct conform *c, enum ivs_peer_cap cap)
{
	const char *why = ivs_peer_cap_reason(c->peer, cap);

	if (can(c, cap)) {
		EXPECT(c, !why,
		       "the peer has the capability, but gives a reason for lacking it: %s", why);
		return;
	}
	EXPECT(c, why, "the peer lacks the capability, but gives no reason");
	EXPECT(c, strlen(why) > 20 && strchr(why, ' '), "the reason is not a sentence: %s", why);
	EXPECT(c, !strchr(why, '\n'), "the reason is not one line: %s", why);
	EXPECT(c, strpbrk(why, ":;"), "the reason does not name a remedy: %s", why);
}

static void reason_id(struct conform *c)
{
	reason(c, IVS_CAP_ID);
}

static void reason_ring(struct conform *c)
{
	reason(c, IVS_CAP_RING);
}

static void reason_wait(struct conform *c)
{
	reason(c, IVS_CAP_WAIT);
}

static void reason_roster(struct conform *c)
{
	reason(c, IVS_CAP_ROSTER);
}

static void reason_cached(struct conform *c)
{
	reason(c, IVS_CAP_CACHED);
}

static void reason_write(struct conform *c)
{
	reason(c, IVS_CAP_WRITE);
}

static void reason_stays(struct conform *c)
{
	for (unsigned int cap = 1; cap <= CAPS_ALL; cap <<= 1) {
		const char *why = ivs_peer_cap_reason(c->peer, (enum ivs_peer_cap)cap);

		EXPECT(c, why == ivs_peer_cap_reason(c->peer, (enum ivs_peer_cap)cap),
		       "the reason for 0x%x is a different string each time", cap);
	}
}

static void describe(struct conform *c)
{
	const char *text = ivs_peer_describe(c->peer);
	size_t len = strlen(c->transport);

	EXPECT(c, text, "NULL");
	EXPECT(c, !strncmp(text, c->transport, len) && !strncmp(text + len, ": ", 2),
	       "the description does not begin with \"%s: \": %s", c->transport, text);
	EXPECT(c, !strchr(text, '\n'), "the description is not one line: %s", text);
}

static void describe_memory(struct conform *c)
{
	const char *text = ivs_peer_describe(c->peer);
	bool uncached = strstr(text, "uncached memory");

	EXPECT(c, uncached || strstr(text, "cached memory"),
	       "the description does not mention memory: %s", text);
	EXPECT(c, uncached == !can(c, IVS_CAP_CACHED),
	       "the description names the wrong kind of memory: %s", text);
}

static void describe_vectors(struct conform *c)
{
	const char *text = ivs_peer_describe(c->peer);
	char wanted[32];

	snprintf(wanted, sizeof(wanted), "%u vectors", c->vectors_n);
	if (can(c, IVS_CAP_WAIT))
		EXPECT(c, strstr(text, wanted), "no \"%s\": %s", wanted, text);
	else
		EXPECT(c, !strstr(text, "vectors"),
		       "the description mentions vectors, but there are none: %s", text);
}

static void describe_stays(struct conform *c)
{
	const char *text = ivs_peer_describe(c->peer);
	char *copy = strdup(text);
	bool same;

	conform_drain(c, c->peer, 0);
	same = ivs_peer_describe(c->peer) == text && !strcmp(copy, text);
	EXPECT(c, same, "the description has changed: %s", ivs_peer_describe(c->peer));
	free(copy);
}

static void id_range(struct conform *c)
{
	int id = ivs_peer_id(c->peer);

	if (can(c, IVS_CAP_ID))
		EXPECT(c, id >= 0 && id <= 65535, "expected 0 to 65535, got %d", id);
	else
		EXPECT(c, id == -1, "expected -1, got %d", id);
}

static void id_known(struct conform *c)
{
	int id = ivs_peer_id(c->peer);

	if (!can(c, IVS_CAP_ID)) {
		EXPECT(c, id == -1, "expected -1, got %d", id);
		return;
	}
	EXPECT_OK(ASK(c, ASK_KNOWS, {(uint64_t)id, c->vectors_n}));
	EXPECT(c, ask_result(c, 0) == c->vectors_n,
	       "the partner knows peer %d with %d vectors, not %u", id, (int)ask_result(c, 0),
	       c->vectors_n);
}

static void id_of_one(struct conform *c)
{
	int id = ivs_peer_id(c->peer);

	if (can(c, IVS_CAP_ID))
		EXPECT(c, id != c->partner, "the partner has the same id, %d", id);
	else
		EXPECT(c, id == -1, "expected -1, got %d", id);
}

static void vectors(struct conform *c)
{
	unsigned int wanted = can(c, IVS_CAP_WAIT) ? c->vectors_n : 0;
	unsigned int n = ivs_peer_vectors(c->peer);

	EXPECT(c, n == wanted, "expected %u, got %u", wanted, n);
}

static void vectors_of_own(struct conform *c)
{
	unsigned int wanted = can(c, IVS_CAP_WAIT) ? c->vectors_n : 0;
	unsigned int n;

	if (!can(c, IVS_CAP_ID)) {
		n = ivs_peer_vectors_of(c->peer, 65535);
		EXPECT(c, !n, "expected 0 vectors of a peer that does not exist, got %u", n);
		return;
	}
	n = ivs_peer_vectors_of(c->peer, (unsigned int)ivs_peer_id(c->peer));
	EXPECT(c, n == wanted, "expected %u, got %u", wanted, n);
}

const struct conform_case about_cases[] = {
	{"about: the name of the transport", transport},
	{"about: exactly the capabilities of this transport", caps},
	{"about: why the peer has no id", reason_id},
	{"about: why the peer cannot ring", reason_ring},
	{"about: why the peer cannot wait", reason_wait},
	{"about: why the peer has no roster", reason_roster},
	{"about: why the memory is not cached", reason_cached},
	{"about: why the memory cannot be written", reason_write},
	{"about: a reason is always the same string", reason_stays},
	{"about: the description begins with the transport", describe},
	{"about: the description names the kind of memory", describe_memory},
	{"about: the description gives the number of vectors", describe_vectors},
	{"about: the description does not change", describe_stays},
	{"about: the id is 0 to 65535, or -1", id_range},
	{"about: the partner knows the id with all vectors", id_known},
	{"about: the partner has a different id", id_of_one},
	{"about: the number of the peer's vectors", vectors},
	{"about: the number of vectors of the peer's own id", vectors_of_own},
	{0},
};
