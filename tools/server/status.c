/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ivshmem-server --status: sends one request and prints the reply. The reply is not trusted:
 * missing members are shown as "-", and only printable characters reach the terminal.
 */
#include "tools/server/status.h"

#include <errno.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "daemon/json.h"
#include "daemon/log.h"
#include "tools/server/options.h"
#include "tools/shared/ask.h"
#include "tools/shared/show.h"
#include "tools/shared/table.h"

#define DOORBELLS_SHOWN 16 /* upper bound for each client */
#define UNTAKEN_SHOWN 8	   /* upper bound on the vectors, for all clients */

static const char request_text[] = "{\"request\":\"status\",\"doorbells\":true}\n";

static const struct table_column columns[] = {
	{"ID", true},	  {"PID", true},	{"PROGRAM", false}, {"USER", false},
	{"SINCE", false}, {"STATE", false},	{"LEAVES", false},  {"VECTORS", true},
	{"BEHIND", true}, {"DOORBELLS", false},
};

static void show_program(const json_t *peer, char out[CELL_LEN])
{
	char path[64];
	char name[CELL_LEN] = "";
	FILE *file;

	snprintf(out, CELL_LEN, "-");
	snprintf(path, sizeof(path), "/proc/%" JSON_INTEGER_FORMAT "/comm",
		 json_integer_value(json_object_get(peer, "pid")));
	file = fopen(path, "re");
	if (!file)
		return;
	if (fgets(name, sizeof(name), file)) {
		name[strcspn(name, "\n")] = '\0';
		ivs_text_shown(name, out, CELL_LEN);
	}
	fclose(file);
}

static void show_user(const json_t *peer, char out[CELL_LEN])
{
	const json_t *uid = json_object_get(peer, "uid");
	const struct passwd *user = NULL;

	if (json_is_integer(uid))
		user = getpwuid((uid_t)json_integer_value(uid));
	if (user)
		ivs_text_shown(user->pw_name, out, CELL_LEN);
	else
		show(peer, "uid", out, CELL_LEN);
}

static void show_doorbells(const json_t *peer, char *out, size_t out_len)
{
	const json_t *counts = json_object_get(peer, "doorbells");
	size_t n = json_array_size(counts);
	size_t at = 0;

	snprintf(out, out_len, "-");
	for (size_t i = 0; i < n && i < DOORBELLS_SHOWN; i++)
		at += (size_t)snprintf(out + at, out_len - at, "%s%" JSON_INTEGER_FORMAT,
				       i ? " " : "", json_integer_value(json_array_get(counts, i)));
	if (n > DOORBELLS_SHOWN)
		snprintf(out + at, out_len - at, " and %zu more", n - DOORBELLS_SHOWN);
}

static const char *state_of(const json_t *peer)
{
	if (json_is_true(json_object_get(peer, "blocked")))
		return "blocked";
	return json_is_true(json_object_get(peer, "greeted")) ? "ready" : "new";
}

/* Return: whether the server tells the client of leaves, which it never tells a QEMU. */
static const char *leaves_of(const json_t *peer)
{
	return json_is_true(json_object_get(peer, "told_leaves")) ? "told" : "never";
}

/* Return: 0 or -ENOMEM. */
static int add_row(struct table *table, const json_t *peer)
{
	static const char *const numbers[] = {"vectors", "behind"};
	char doorbells[DOORBELLS_SHOWN * 21 + 32];
	char cell[CELL_LEN];
	int result;

	result = table_add(table, show(peer, "id", cell, CELL_LEN));
	if (!result)
		result = table_add(table, show(peer, "pid", cell, CELL_LEN));
	show_program(peer, cell);
	if (!result)
		result = table_add(table, cell);
	show_user(peer, cell);
	if (!result)
		result = table_add(table, cell);
	if (!result)
		result = table_add(table, show_time(peer, "since", cell));
	if (!result)
		result = table_add(table, state_of(peer));
	if (!result)
		result = table_add(table, leaves_of(peer));
	for (unsigned int i = 0; i < 2 && !result; i++)
		result = table_add(table, show(peer, numbers[i], cell, CELL_LEN));
	show_doorbells(peer, doorbells, sizeof(doorbells));
	return result ? result : table_add(table, doorbells);
}

static int print_peers(const json_t *peers, struct ivs_error *err)
{
	struct table table = {.columns = columns, .columns_n = sizeof(columns) / sizeof(*columns)};
	size_t n = json_array_size(peers);
	int result = 0;

	for (size_t i = 0; i < n && !result; i++)
		result = add_row(&table, json_array_get(peers, i));
	if (!result)
		result = table_print(&table);
	table_deinit(&table);
	return result ? ivs_error_errno(err, -result, "cannot create a table of %zu clients", n)
		      : 0;
}

static json_int_t sum_of(json_t *reasons)
{
	json_int_t sum = 0;
	const char *key;
	json_t *value;

	json_object_foreach(reasons, key, value) sum += json_integer_value(value);
	return sum;
}

/* Print, for example, "3 left (closed 2, spoke 1)", without reasons that did not occur. */
static void print_reasons(const char *what, json_t *reasons)
{
	const char *gap = " (";
	const char *key;
	json_t *value;

	printf("%" JSON_INTEGER_FORMAT " %s", sum_of(reasons), what);
	json_object_foreach(reasons, key, value)
	{
		char name[CELL_LEN];

		if (!json_integer_value(value))
			continue;
		printf("%s%s %" JSON_INTEGER_FORMAT, gap, ivs_text_shown(key, name, sizeof(name)),
		       json_integer_value(value));
		gap = ", ";
	}
	fputs(*gap == ',' ? ")" : "", stdout);
}

static void print_region(const json_t *region)
{
	bool sealed = json_is_true(json_object_get(region, "sealed"));
	bool created = json_is_true(json_object_get(region, "created"));
	char page[IVS_SIZE_TEXT_LEN];
	char size[IVS_SIZE_TEXT_LEN];
	char text[4352];

	printf("region   %s", show(region, "address", text, sizeof(text)));
	printf(", %s in pages of %s", show_size(region, "size", size),
	       show_size(region, "page_size", page));
	if (json_is_string(json_object_get(region, "path")))
		printf(", at %s", show(region, "path", text, sizeof(text)));
	printf(", %s, %s\n", sealed ? "sealed" : "not sealed", created ? "new" : "existed before");
	print_changes(region);
}

static void print_limits(const json_t *status)
{
	const json_t *limits = json_object_get(status, "limits");
	char peers[CELL_LEN];
	char each[CELL_LEN];
	char nofile[CELL_LEN];
	char left[CELL_LEN];
	char vacant[CELL_LEN];

	printf("limits   clients %s, of one user %s, open files %s, ids left %s, vacant %s\n",
	       show(limits, "max_peers", peers, CELL_LEN),
	       show(limits, "max_peers_per_user", each, CELL_LEN),
	       show(limits, "nofile", nofile, CELL_LEN), show(status, "ids_left", left, CELL_LEN),
	       show(status, "vacant_ids", vacant, CELL_LEN));
}

/* Print the doorbells that clients have not read. QEMU reads none beyond its vectors=. */
static void print_untaken(json_t *peers)
{
	unsigned int n = 0;
	char id[CELL_LEN];
	json_t *peer;
	json_t *count;
	size_t i;
	size_t vector;

	json_array_foreach(peers, i, peer)
	{
		json_array_foreach(json_object_get(peer, "doorbells"), vector, count)
		{
			if (json_integer_value(count) <= 0 || n++ >= UNTAKEN_SHOWN)
				continue;
			printf("%sclient %s vector %zu (%" JSON_INTEGER_FORMAT ")",
			       n == 1 ? "untaken  " : ", ", show(peer, "id", id, CELL_LEN), vector,
			       json_integer_value(count));
		}
	}
	if (n > UNTAKEN_SHOWN)
		printf(" and %u more", n - UNTAKEN_SHOWN);
	if (n)
		puts("; QEMU reads only the doorbells of the vectors that its option vectors= "
		     "specifies");
}

static void print_totals(const json_t *status)
{
	const json_t *totals = json_object_get(status, "totals");
	char joined[CELL_LEN];
	char messages[CELL_LEN];
	char waits[CELL_LEN];

	printf("clients  %zu now, %s joined, ", json_array_size(json_object_get(status, "peers")),
	       show(totals, "joined", joined, CELL_LEN));
	print_reasons("left", json_object_get(totals, "left"));
	fputs("\nrefused  ", stdout);
	print_reasons("connections", json_object_get(totals, "refused"));
	printf("\nsent     %s messages, %s waits for the kernel%s\n",
	       show(totals, "messages", messages, CELL_LEN), show(totals, "waits", waits, CELL_LEN),
	       json_is_true(json_object_get(status, "waiting")) ? ", waiting now" : "");
}

static int print_status(const json_t *status, struct ivs_error *err)
{
	const json_t *vectors = json_object_get(status, "vectors");
	char version[CELL_LEN];
	char pid[CELL_LEN];
	char since[CELL_LEN];
	char socket[512];

	printf("server   pid %s, version %s, since %s\n", show(status, "pid", pid, CELL_LEN),
	       show(status, "version", version, CELL_LEN), show_time(status, "since", since));
	printf("socket   %s, %" JSON_INTEGER_FORMAT " vectors%s\n",
	       show(status, "socket", socket, sizeof(socket)), json_integer_value(vectors),
	       json_is_integer(vectors) && !json_integer_value(vectors)
		       ? ": clients cannot ring each other (-n)"
		       : "");
	print_region(json_object_get(status, "region"));
	print_limits(status);
	print_totals(status);
	print_untaken(json_object_get(status, "peers"));
	putchar('\n');
	return print_peers(json_object_get(status, "peers"), err);
}

static int print_json(const json_t *json, struct ivs_error *err)
{
	if (ivs_json_write(json, JSON_COMPACT, stdout) || putchar('\n') == EOF)
		return ivs_error_errno(err, errno, "cannot print the status");
	return 0;
}

static int print_reply(const struct ask *ask, const struct reply *reply, bool json,
		       struct ivs_error *err)
{
	int result;

	if (!json_is_array(json_object_get(reply->json, "peers")))
		result = ask_doubt(ask, "sent an unexpected reply", err);
	else if (json)
		result = print_json(reply->json, err);
	else
		result = print_status(reply->json, err);
	if (!result && fflush(stdout))
		result = ivs_error_errno(err, errno, "cannot print the status");
	return result;
}

int show_status(const char *path, bool json)
{
	const struct ask ask = {
		.path = path,
		.program = "an " PROGRAM,
		.what = "server",
		.others = "clients",
	};
	struct ivs_error err = {0};
	struct reply reply;
	int result;

	result = ask_request(&ask, request_text, &reply, &err);
	if (!result)
		result = print_reply(&ask, &reply, json, &err);
	reply_deinit(&reply);
	if (result)
		ivs_log(IVS_LOG_ERROR, "%s", err.text);
	return result ? STATUS_FAILED : 0;
}
