/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/server_status.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "tools/ivshmem/doctor/bounded.h"
#include "tools/shared/ask.h"

#define LIMIT_S 1 /* to accept the connection, and again to reply */
#define PAUSE_NS (300L * IVS_NS_PER_MS)

static uint64_t number_of(const json_t *object, const char *name)
{
	json_int_t value = json_integer_value(json_object_get(object, name));

	return value > 0 ? (uint64_t)value : 0;
}

/* Copy an absolute path that can be printed. @out: "" if there is none. */
static void take_path(const json_t *object, const char *name, char *out, size_t out_len)
{
	const char *text = json_string_value(json_object_get(object, name));

	*out = '\0';
	if (text && *text == '/' && strlen(text) < out_len && ivs_text_is_printable(text))
		strcpy(out, text);
}

static void take_program(struct ivs_doctor_blocked *peer)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)peer->pid);
	file = fopen(path, "re");
	if (!file || !fgets(peer->program, sizeof(peer->program), file))
		*peer->program = '\0';
	peer->program[strcspn(peer->program, "\n")] = '\0';
	if (file)
		fclose(file);
}

static void take_peers(const json_t *reply, struct ivs_doctor_status *out)
{
	const json_t *peers = json_object_get(reply, "peers");
	const json_t *peer;
	size_t i;

	out->peers_n = json_array_size(peers);
	json_array_foreach(peers, i, peer)
	{
		struct ivs_doctor_blocked *to = &out->blocked[out->blocked_n];

		if (!json_is_true(json_object_get(peer, "blocked")))
			continue;
		to->id = (unsigned int)number_of(peer, "id");
		to->pid = (pid_t)(number_of(peer, "pid") & INT32_MAX);
		to->behind = number_of(peer, "behind");
		take_program(to);
		if (++out->blocked_n == IVS_DOCTOR_BLOCKED_MAX)
			break;
	}
}

static unsigned int changes_of(const json_t *region)
{
	static const char *const names[] = {"name_lost", "shrunk", "grown"};
	const json_t *changes = json_object_get(region, "changes");
	const json_t *change;
	unsigned int flags = 0;
	size_t i;

	json_array_foreach(changes, i, change)
	{
		for (unsigned int k = 0; k < 3; k++) {
			if (json_is_string(change) && !strcmp(json_string_value(change), names[k]))
				flags |= 1U << k;
		}
	}
	return flags;
}

static void take_status(const json_t *reply, struct ivs_doctor_status *out)
{
	const json_t *refused = json_object_get(json_object_get(reply, "totals"), "refused");
	const json_t *region = json_object_get(reply, "region");
	const json_t *ids_left = json_object_get(reply, "ids_left");

	out->vectors_n = number_of(reply, "vectors");
	out->ids_left = ids_left ? number_of(reply, "ids_left") : UINT64_MAX;
	out->peers_max = number_of(json_object_get(reply, "limits"), "max_peers");
	out->region_size = number_of(region, "size");
	out->changes = changes_of(region);
	take_path(region, "path", out->region_path, sizeof(out->region_path));
	for (unsigned int i = 0; i < IVS_DOCTOR_REFUSALS_N; i++)
		out->refused[i] = number_of(refused, ivs_doctor_refusal_name(i));
	take_peers(reply, out);
}

static bool has_client(const json_t *reply, pid_t pid)
{
	const json_t *peer;
	size_t i;

	json_array_foreach(json_object_get(reply, "peers"), i, peer)
	{
		if (pid && json_integer_value(json_object_get(peer, "pid")) == pid)
			return true;
	}
	return false;
}

/** struct question - what server_ask() is asked for */
struct question {
	const char *control;
	pid_t client;
};

/* Runs in a child process. */
static bool ask(const void *given, void *answer)
{
	const struct question *question = given;
	const struct ask ask = {question->control, "an ivshmem-server", "server", "clients",
				LIMIT_S};
	struct server_reply *out = answer;
	struct reply reply;
	struct ivs_error err;
	bool done;

	*out = (struct server_reply){0};
	done = !ask_request(&ask, "{\"request\":\"status\"}\n", &reply, &err);
	if (done) {
		out->pid = (pid_t)(number_of(reply.json, "pid") & INT32_MAX);
		out->lists_client = has_client(reply.json, question->client);
		take_path(reply.json, "socket", out->socket, sizeof(out->socket));
		take_status(reply.json, &out->status);
	}
	reply_deinit(&reply);
	return done;
}

/* Keep only clients that are still blocked, and as far behind as before or further. */
static void keep_blocked(struct ivs_doctor_status *status, const struct ivs_doctor_status *later)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < status->blocked_n; i++) {
		for (unsigned int k = 0; k < later->blocked_n; k++) {
			if (status->blocked[i].id == later->blocked[k].id &&
			    status->blocked[i].pid == later->blocked[k].pid &&
			    later->blocked[k].behind >= status->blocked[i].behind) {
				/* An untrusted server may list a client twice. */
				status->blocked[kept++] = later->blocked[k];
				break;
			}
		}
	}
	status->blocked_n = kept;
}

bool server_ask(const char *control, pid_t client, struct server_reply *out)
{
	const struct question question = {control, client};
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	struct server_reply later;

	if (!bounded_run(ask, &question, out, sizeof(*out)))
		return false;
	if (!out->status.blocked_n)
		return true;
	/* A client that reads is also blocked at times, for example while others join. */
	nanosleep(&pause, NULL);
	if (bounded_run(ask, &question, &later, sizeof(later)))
		keep_blocked(&out->status, &later.status);
	else
		out->status.blocked_n = 0;
	return true;
}
