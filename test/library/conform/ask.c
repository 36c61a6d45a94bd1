/* SPDX-License-Identifier: BSD-3-Clause */
/* Sending requests to the partner and reading its answers. */
#include "conform.h"

#define ANSWER_MS 20000

void ask_begin(struct conform *c, const struct ask *ask)
{
	for (unsigned int i = 0; i < ARGS_N; i++)
		c->mailbox->args[i] = ask->args[i];
	c->mailbox->request = ask->request;
	c->mailbox->asked++;
}

bool ask_end(struct conform *c)
{
	int64_t end = conform_now_ms() + ANSWER_MS;

	while (c->mailbox->answered != c->mailbox->asked) {
		if (conform_now_ms() > end) {
			conform_fail(c, "the partner did not answer request %u",
				     c->mailbox->request);
			return false;
		}
		take_a_breath();
	}
	return true;
}

int64_t ask_result(const struct conform *c, unsigned int i)
{
	return c->mailbox->results[i];
}

bool ask_ring(struct conform *c, unsigned int vector, unsigned int times)
{
	int id = ivs_peer_id(c->peer);

	if (!ASK(c, ASK_RING, {0, (uint64_t)id, vector, times, 0}))
		return false;
	if (!ask_result(c, 0))
		return true;
	conform_fail(c, "the partner rings vector %u of peer %d: %s", vector, id,
		     conform_result((int)ask_result(c, 0)));
	return false;
}

bool ask_rung(struct conform *c, unsigned int vector)
{
	if (!ASK(c, ASK_TAKE, {0, vector, LONG_MS, WORDS_AT}))
		return false;
	if (!ask_result(c, 0))
		return true;
	conform_fail(c, "the partner was not rung on vector %u: %s", vector,
		     conform_result((int)ask_result(c, 0)));
	return false;
}

bool ask_not_rung(struct conform *c, unsigned int vector)
{
	if (!ASK(c, ASK_TAKE, {0, vector, 0, WORDS_AT}))
		return false;
	if (ask_result(c, 0))
		return true;
	conform_fail(c, "the partner was rung on vector %u", vector);
	return false;
}

int ask_join(struct conform *c, unsigned int slot)
{
	if (!ASK(c, ASK_JOIN, {slot}))
		return -1;
	if (!ask_result(c, 0) && ask_result(c, 1) >= 0)
		return (int)ask_result(c, 1);
	conform_fail(c, "the partner cannot open a new peer: %s, id %d",
		     conform_result((int)ask_result(c, 0)), (int)ask_result(c, 1));
	return -1;
}
