/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a server's reply says, and rates from two replies. An eventfd has no total: its count is the
 * number of rings since it was last read. So a rate is a lower bound, and is exact only for a
 * doorbell that was not read in between.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "ivshmem/registers.h"
#include "tools/ivshmem/top_model.h"
#include "tools/shared/show.h"

void top_peers_free(struct top_peer *peers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(peers[i].doorbells);
	free(peers);
}

/* Add numbers up to INT64_MAX, which JSON can have. */
static void sum_add(uint64_t *sum, uint64_t n)
{
	*sum = n > INT64_MAX || *sum > INT64_MAX - n ? INT64_MAX : *sum + n;
}

uint64_t top_reasons_sum(const struct top_reasons *reasons)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < reasons->n; i++)
		sum_add(&sum, reasons->list[i].n);
	return sum;
}

void top_reasons_add(struct top_reasons *reasons, const char *name, uint64_t n)
{
	struct top_reason *reason = reasons->list;

	while (reason < reasons->list + reasons->n && strcmp(reason->name, name) != 0)
		reason++;
	if (reason == reasons->list + TOP_REASONS_MAX)
		return;
	if (reason == reasons->list + reasons->n) {
		*reason = (struct top_reason){.n = 0};
		snprintf(reason->name, sizeof(reason->name), "%s", name);
		reasons->n++;
	}
	sum_add(&reason->n, n);
}

enum top_reads top_reads_of(const struct top_doorbell *doorbell)
{
	if (!doorbell->unread)
		return TOP_READS_ALL;
	return doorbell->same_n < TOP_SAME_MAX ? TOP_READS_LATE : TOP_READS_NOT;
}

/* Return: a member that is a number and not negative; otherwise 0. */
static uint64_t number_of(const json_t *object, const char *key)
{
	json_int_t number = json_integer_value(json_object_get(object, key));

	return number > 0 ? (uint64_t)number : 0;
}

/* Copy a member that is a string, made safe for terminals; otherwise "". */
static void take_text(const json_t *object, const char *key, char *out, size_t out_len)
{
	const char *text = json_string_value(json_object_get(object, key));

	ivs_text_shown(text ? text : "", out, out_len);
}

/* Get a time of the form "2024-05-31T12:34:56.789Z". */
static void take_time(const json_t *object, const char *key, char text[TOP_TIME_LEN],
		      int64_t *wall_ms)
{
	char cell[CELL_LEN];
	struct tm tm = {0};

	snprintf(text, TOP_TIME_LEN, "%.*s", TOP_TIME_LEN - 1, show_time(object, key, cell));
	*wall_ms = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) ? (int64_t)timegm(&tm) * 1000 : 0;
}

static void take_reasons(json_t *object, struct top_reasons *reasons)
{
	const char *key;
	json_t *value;

	*reasons = (struct top_reasons){.n = 0};
	json_object_foreach(object, key, value)
	{
		char name[TOP_NAME_LEN];

		if (json_integer_value(value) > 0)
			top_reasons_add(reasons, ivs_text_shown(key, name, sizeof(name)),
					(uint64_t)json_integer_value(value));
	}
}

static void doorbell_take(struct top_doorbell *doorbell, uint64_t unread,
			  const struct top_doorbell *before, double s)
{
	bool fewer = before && unread < before->unread;

	doorbell->unread = unread;
	doorbell->rate = -1;
	/* If there are fewer, the peer has read it: all that are unread now came after that. */
	if (before && s > 0)
		doorbell->rate = (float)((double)(fewer ? unread : unread - before->unread) / s);
	doorbell->same_n = unread != 0;
	if (unread && before && !fewer)
		doorbell->same_n = before->same_n < TOP_SAME_MAX ? before->same_n + 1
								 : TOP_SAME_MAX;
}

/*
 * Set the doorbells of a peer, and their sums. A reply that has more than the peer has vectors, or
 * than @room, is wrong: then they are unknown.
 * Return: 0 or -ENOMEM.
 */
static int peer_take_doorbells(struct top_peer *peer, const json_t *counts, size_t room,
			       const struct top_peer *before, double s)
{
	size_t n = json_array_size(counts);

	peer->rate = -1;
	if (!json_is_array(counts) || n > room || n > peer->vectors_n || n > IVS_VECTOR_MAX + 1u)
		return 0;
	peer->doorbells = calloc(n + 1, sizeof(*peer->doorbells));
	if (!peer->doorbells)
		return -ENOMEM;
	peer->doorbells_n = n;
	peer->counted = true;
	peer->reads = TOP_READS_ALL;
	for (size_t i = 0; i < n; i++) {
		struct top_doorbell *doorbell = &peer->doorbells[i];
		json_int_t count = json_integer_value(json_array_get(counts, i));
		bool known = before && i < before->doorbells_n;

		/* The count of a full eventfd does not fit into JSON's signed numbers. */
		doorbell_take(doorbell, count < 0 ? INT64_MAX : (uint64_t)count,
			      known ? &before->doorbells[i] : NULL, s);
		sum_add(&peer->unread, doorbell->unread);
		if (doorbell->rate >= 0)
			peer->rate = (peer->rate < 0 ? 0 : peer->rate) + (double)doorbell->rate;
		if (top_reads_of(doorbell) > peer->reads)
			peer->reads = top_reads_of(doorbell);
	}
	return 0;
}

/**
 * struct take - the peers of a reply that is being taken
 * @at:        index of the next known peer
 * @room:      number of doorbells that all further peers together can have
 * @s:         seconds since the reply before
 */
struct take {
	size_t at;
	size_t room;
	double s;
};

/* Return: 0 or -ENOMEM. */
static int peer_take(struct top_peer *peer, const json_t *json, const struct top_server *server,
		     struct take *take)
{
	const struct top_peer *before = NULL;
	int result;

	peer->id = (unsigned int)number_of(json, "id");
	peer->pid = (pid_t)number_of(json, "pid");
	peer->uid = (uid_t)number_of(json, "uid");
	take_time(json, "since", peer->since, &peer->since_ms);
	peer->vectors_n = (unsigned int)number_of(json, "vectors");
	peer->told_leaves = json_is_true(json_object_get(json, "told_leaves"));
	peer->greeted = json_is_true(json_object_get(json, "greeted"));
	peer->blocked = json_is_true(json_object_get(json, "blocked"));
	peer->behind = number_of(json, "behind");
	/* Both lists are sorted by id. */
	while (take->at < server->peers_n && server->peers[take->at].id < peer->id)
		take->at++;
	if (take->at < server->peers_n)
		before = &server->peers[take->at];
	if (before && (before->id != peer->id || before->pid != peer->pid ||
		       strcmp(before->since, peer->since) != 0))
		before = NULL;
	if (before) {
		memcpy(peer->program, before->program, sizeof(peer->program));
		memcpy(peer->vm, before->vm, sizeof(peer->vm));
		memcpy(peer->user, before->user, sizeof(peer->user));
	}
	result = peer_take_doorbells(peer, json_object_get(json, "doorbells"), take->room, before,
				     take->s);
	take->room -= peer->doorbells_n;
	return result;
}

static void server_sum(struct top_server *server)
{
	server->unread = 0;
	server->rate = -1;
	server->not_n = 0;
	for (size_t i = 0; i < server->peers_n; i++) {
		const struct top_peer *peer = &server->peers[i];

		sum_add(&server->unread, peer->unread);
		if (peer->rate >= 0)
			server->rate = (server->rate < 0 ? 0 : server->rate) + peer->rate;
		server->not_n += peer->reads == TOP_READS_NOT;
	}
}

static int server_take_peers(struct top_server *server, const json_t *list, int64_t now_ns)
{
	struct take take = {.room = TOP_DOORBELLS_MAX,
			    .s = (double)(now_ns - server->sampled_ns) / (double)IVS_NS_PER_S};
	size_t n = json_array_size(list);
	struct top_peer *peers;
	int result = 0;

	if (n > IVS_ID_MAX + 1u)
		n = IVS_ID_MAX + 1u;
	peers = calloc(n + 1, sizeof(*peers));
	if (!peers)
		return -ENOMEM;
	for (size_t i = 0; i < n && !result; i++)
		result = peer_take(&peers[i], json_array_get(list, i), server, &take);
	if (result) {
		top_peers_free(peers, n);
		return result;
	}
	top_peers_free(server->peers, server->peers_n);
	server->peers = peers;
	server->peers_n = n;
	return 0;
}

int top_reply_take(struct top_server *server, const json_t *reply, int64_t now_ns)
{
	const json_t *region = json_object_get(reply, "region");
	const json_t *totals = json_object_get(reply, "totals");
	int result = server_take_peers(server, json_object_get(reply, "peers"), now_ns);

	if (result)
		return result;
	server_sum(server);
	server->sampled_ns = now_ns;
	if (number_of(reply, "pid"))
		server->pid = (pid_t)number_of(reply, "pid");
	take_text(reply, "socket", server->socket, sizeof(server->socket));
	take_text(reply, "version", server->version, sizeof(server->version));
	take_time(reply, "since", server->since, &server->since_ms);
	take_text(region, "address", server->region, sizeof(server->region));
	server->region_size = number_of(region, "size");
	server->vectors_n = number_of(reply, "vectors");
	server->joined = number_of(totals, "joined");
	take_reasons(json_object_get(totals, "left"), &server->left);
	take_reasons(json_object_get(totals, "refused"), &server->refused);
	server->messages = number_of(totals, "messages");
	server->ids_left = number_of(reply, "ids_left");
	server->vacant_n = number_of(reply, "vacant_ids");
	server->in_flight = number_of(reply, "in_flight");
	server->waiting = json_is_true(json_object_get(reply, "waiting"));
	return 0;
}
