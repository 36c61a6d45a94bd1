/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of what "ivshmem top" concludes from the replies of a server. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "tools/ivshmem/top_model.h"

static struct top_server server;

/* Take a reply with one peer that has the given counts, @s seconds after the start. */
static void take(const char *since, const char *counts, int s)
{
	json_t *reply = json_pack("{s:[{s:i, s:i, s:i, s:s, s:o}]}", "peers", "id", 3, "vectors", 3,
				  "pid", 7, "since", since, "doorbells",
				  json_loads(counts, JSON_DECODE_ANY, NULL));

	cr_assert_not_null(reply);
	cr_assert_eq(top_reply_take(&server, reply, (100 + s) * IVS_NS_PER_S), 0);
	cr_assert_eq(server.peers_n, 1);
	json_decref(reply);
}

static void forget(void)
{
	top_peers_free(server.peers, server.peers_n);
	server = (struct top_server){.rate = -1};
}

static const char early[] = "2024-05-31T12:34:56.789Z";
static const char late[] = "2024-05-31T12:34:57.789Z";

TestSuite(top_reply, .init = forget, .fini = forget);

Test(top_reply, times_are_parsed)
{
	take(early, "[]", 0);
	cr_expect_str_eq(server.peers[0].since, "2024-05-31T12:34:56Z");
	cr_expect_eq(server.peers[0].since_ms, 1717158896000);
}

Test(top_reply, one_sample_has_no_rate)
{
	take(early, "[5, 0]", 0);
	cr_expect_eq(server.peers[0].unread, 5);
	cr_expect_lt(server.peers[0].rate, 0);
	cr_expect_lt(server.rate, 0);
	cr_expect_eq(server.peers[0].reads, TOP_READS_LATE);
}

/* Growth is exact; of a count that has become less, all came after the read. */
Test(top_reply, rates)
{
	take(early, "[5, 9, 0]", 0);
	take(early, "[9, 4, 0]", 2);
	cr_expect_float_eq(server.peers[0].doorbells[0].rate, 2, 1e-6);
	cr_expect_float_eq(server.peers[0].doorbells[1].rate, 2, 1e-6);
	cr_expect_float_eq(server.peers[0].doorbells[2].rate, 0, 1e-6);
	cr_expect_float_eq(server.peers[0].rate, 4, 1e-6);
	cr_expect_float_eq(server.rate, 4, 1e-6);
	cr_expect_eq(server.unread, 13);
}

Test(top_reply, three_samples_make_a_peer_that_does_not_read)
{
	take(early, "[0, 1]", 0);
	take(early, "[0, 1]", 1);
	cr_expect_eq(server.peers[0].reads, TOP_READS_LATE);
	take(early, "[0, 1]", 2);
	cr_expect_eq(server.peers[0].reads, TOP_READS_NOT);
	cr_expect_eq(top_reads_of(&server.peers[0].doorbells[0]), TOP_READS_ALL);
	cr_expect_eq(server.not_n, 1);
	for (int i = 3; i < 300; i++)
		take(early, "[0, 2]", i);
	cr_expect_eq(server.peers[0].reads, TOP_READS_NOT);
	take(early, "[0, 1]", 300);
	cr_expect_eq(server.peers[0].reads, TOP_READS_LATE);
	take(early, "[0, 0]", 301);
	cr_expect_eq(server.peers[0].reads, TOP_READS_ALL);
	cr_expect_eq(server.not_n, 0);
}

/* A new peer with the id of one that has left does not inherit its samples. */
Test(top_reply, another_peer_with_the_same_id)
{
	take(early, "[1]", 0);
	take(early, "[1]", 1);
	strcpy(server.peers[0].user, "alice");
	take(early, "[1]", 2);
	cr_expect_str_eq(server.peers[0].user, "alice");
	take(late, "[1]", 3);
	cr_expect_str_eq(server.peers[0].user, "");
	cr_expect_eq(server.peers[0].reads, TOP_READS_LATE);
	cr_expect_lt(server.peers[0].rate, 0);
}

Test(top_reply, rings_that_are_not_known)
{
	take(early, "[1]", 0);
	take(early, "null", 1);
	cr_expect_not(server.peers[0].counted);
	cr_expect_eq(server.peers[0].reads, TOP_READS_UNKNOWN);
	cr_expect_lt(server.rate, 0);
}

/* A peer has at most as many doorbells as vectors. */
Test(top_reply, more_doorbells_than_vectors)
{
	take(early, "[1, 1, 1]", 0);
	cr_expect_eq(server.peers[0].doorbells_n, 3);
	take(early, "[1, 1, 1, 1]", 1);
	cr_expect_eq(server.peers[0].doorbells_n, 0);
	cr_expect_not(server.peers[0].counted);
}

/* A server that lies cannot exhaust memory: the doorbells of all its peers are limited. */
Test(top_reply, more_doorbells_than_a_server_can_have)
{
	json_t *counts = json_array();
	json_t *list = json_array();
	json_t *reply;

	for (size_t i = 0; i < TOP_DOORBELLS_MAX / 2; i++)
		json_array_append_new(counts, json_integer(1));
	for (int i = 0; i < 3; i++)
		json_array_append_new(list, json_pack("{s:i, s:i, s:O}", "id", i, "vectors",
						      1 << 16, "doorbells", counts));
	reply = json_pack("{s:o}", "peers", list);
	cr_assert_not_null(reply);
	cr_assert_eq(top_reply_take(&server, reply, IVS_NS_PER_S), 0);
	cr_assert_eq(server.peers_n, 3);
	cr_expect_eq(server.peers[1].doorbells_n, TOP_DOORBELLS_MAX / 2);
	cr_expect_eq(server.peers[2].doorbells_n, 0);
	cr_expect_not(server.peers[2].counted);
	cr_expect_eq(server.unread, TOP_DOORBELLS_MAX);
	json_decref(reply);
	json_decref(counts);
}

Test(top_reply, texts_are_made_safe)
{
	json_t *reply = json_pack("{s:[], s:s, s:{s:{s:i}}}", "peers", "socket", "/\033[2J",
				  "totals", "refused", "a\nb", 1);

	cr_assert_eq(top_reply_take(&server, reply, 1), 0);
	cr_expect_str_eq(server.socket, "/?[2J");
	cr_expect_str_eq(server.refused.list[0].name, "a?b");
	json_decref(reply);
}
