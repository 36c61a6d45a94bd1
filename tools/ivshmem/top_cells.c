/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/top_cells.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "tools/ivshmem/list_note.h"
#include "tools/shared/address.h"

/* The order of the columns is that of the cells below. */
static const struct top_column server_columns[] = {
	{"S", 2, true, false},	     {"SERVER", 0, false, false}, {"PID", 7, true, false},
	{"PEERS", 5, true, false},   {"JOINED", 7, true, true},	  {"REFUSED", 7, true, false},
	{"UNREAD", 7, true, false},  {"SEEN/S", 8, true, true},	  {"AGE", 4, true, false},
	{"STATE", 11, false, false},
};
static const struct top_column region_columns[] = {
	{"REGION", 32, false, false},
	{"SIZE", 6, true, false},
	{"KIND", 7, false, false},
	{"USED BY", 0, false, false},
};
static const struct top_column peer_columns[] = {
	{"S", 2, true, false},	      {"ID", 5, true, false},	  {"PID", 7, true, false},
	{"PROGRAM", 0, false, false}, {"USER", 12, false, true},  {"SINCE", 20, false, true},
	{"AGE", 4, true, false},      {"VEC", 3, true, false},	  {"BEHIND", 6, true, false},
	{"UNREAD", 7, true, false},   {"SEEN/S", 8, true, false}, {"STATE", 11, false, false},
};
static const struct top_column doorbell_columns[] = {
	{"S", 2, true, false},	      {"ID", 5, true, false},	  {"PID", 7, true, false},
	{"PROGRAM", 0, false, false}, {"USER", 12, false, true},  {"VECTOR", 6, true, false},
	{"UNREAD", 7, true, false},   {"SEEN/S", 8, true, false}, {"STATE", 11, false, false},
};

const struct top_column *top_columns(enum top_table table, unsigned int *n)
{
	static const struct {
		const struct top_column *columns;
		unsigned int n;
	} tables[TOP_TABLES_N] = {
		[TOP_SERVERS] = {server_columns, 10},
		[TOP_REGIONS] = {region_columns, 4},
		[TOP_PEERS] = {peer_columns, 12},
		[TOP_DOORBELLS] = {doorbell_columns, 9},
	};

	*n = tables[table].n;
	return tables[table].columns;
}

const char *top_state_name(enum top_state state)
{
	static const char *const names[] = {
		[TOP_NEW] = "new",	 [TOP_OK] = "ok",     [TOP_NO_CONTROL] = "no_control",
		[TOP_FAILED] = "failed", [TOP_GONE] = "gone",
	};

	return names[state];
}

const char *top_reasons_text(const struct top_reasons *reasons, char *out, size_t out_len)
{
	size_t len = (size_t)snprintf(out, out_len, "%" PRIu64, top_reasons_sum(reasons));

	for (size_t i = 0; i < reasons->n && len < out_len; i++)
		len += (size_t)snprintf(out + len, out_len - len, "%s%s %" PRIu64 "%s",
					i ? ", " : " (", reasons->list[i].name, reasons->list[i].n,
					i + 1 == reasons->n ? ")" : "");
	return out;
}

const char *top_rate_text(double rate, char out[TOP_RATE_LEN])
{
	if (rate < 0)
		snprintf(out, TOP_RATE_LEN, "-");
	else
		snprintf(out, TOP_RATE_LEN,
			 rate < 1e5   ? "%.1f"
			 : rate < 1e8 ? "%.0f"
				      : "%.1e",
			 rate);
	return out;
}

const char *top_peer_name(const struct top_peer *peer, char out[TOP_CELL_LEN])
{
	if (*peer->vm)
		snprintf(out, TOP_CELL_LEN, "VM %s", peer->vm);
	else
		snprintf(out, TOP_CELL_LEN, "%s", *peer->program ? peer->program : "-");
	return out;
}

static void number_cell(uint64_t number, char *out)
{
	if (number < 10000000)
		snprintf(out, TOP_CELL_LEN, "%" PRIu64, number);
	else
		snprintf(out, TOP_CELL_LEN, "%.1e", (double)number);
}

static void pid_cell(pid_t pid, char *out)
{
	if (pid > 0)
		number_cell((uint64_t)pid, out);
	else
		strcpy(out, "-");
}

/* A time that has passed, in the largest unit: "59s", "59m", "47h", "12d". */
static void age_cell(int64_t since_ms, int64_t wall_ms, char *out)
{
	int64_t s = wall_ms > since_ms ? (wall_ms - since_ms) / 1000 : 0;

	if (!since_ms)
		strcpy(out, "-");
	else if (s < 60)
		snprintf(out, TOP_CELL_LEN, "%ds", (int)s);
	else if (s < 3600)
		snprintf(out, TOP_CELL_LEN, "%dm", (int)(s / 60));
	else if (s < 172800)
		snprintf(out, TOP_CELL_LEN, "%dh", (int)(s / 3600));
	else
		snprintf(out, TOP_CELL_LEN, "%" PRId64 "d", s / 86400);
}

static void server_state_cell(const struct top_server *server, int64_t wall_ms, char *out)
{
	static const char *const texts[] = {
		[TOP_NEW] = "new", [TOP_NO_CONTROL] = "no control", [TOP_FAILED] = "not asked"};
	char age[TOP_CELL_LEN];

	if (server->state == TOP_GONE) {
		age_cell(server->gone_ms, wall_ms, age);
		snprintf(out, TOP_CELL_LEN, "gone %.8s", age);
	} else if (server->state == TOP_OK) {
		strcpy(out, server->waiting ? "waiting" : server->not_n ? "not reading" : "ok");
	} else {
		strcpy(out, texts[server->state]);
	}
}

/* Text for a server that has been asked at least once. */
static void server_cell(unsigned int column, const struct top_row *row, int64_t wall_ms, char *out)
{
	const struct top_server *server = row->server;
	bool known = server->state == TOP_OK;
	const char *name = *server->socket ? server->socket : server->control;

	strcpy(out, "-");
	switch (column) {
	case 0:
		number_cell(row->number, out);
		break;
	case 1:
		ivs_text_shown(*name ? name : "-", out, TOP_CELL_LEN);
		break;
	case 2:
		pid_cell(server->pid, out);
		break;
	case 3:
		if (known)
			number_cell(server->peers_n, out);
		break;
	case 4:
		if (server->sampled_ns)
			number_cell(server->joined, out);
		break;
	case 5:
		if (server->sampled_ns)
			number_cell(top_reasons_sum(&server->refused), out);
		break;
	case 6:
		if (known)
			number_cell(server->unread, out);
		break;
	case 7:
		top_rate_text(server->rate, out);
		break;
	case 8:
		if (known)
			age_cell(server->since_ms, wall_ms, out);
		break;
	default:
		server_state_cell(server, wall_ms, out);
	}
}

static void region_cell(unsigned int column, const struct top_row *row, char *out)
{
	const struct ivs_host_region *region = row->region;
	char text[ADDRESS_LEN];

	switch (column) {
	case 0:
		ivs_host_region_address(region, text, sizeof(text));
		ivs_text_shown(text, out, TOP_CELL_LEN);
		break;
	case 1:
		if (region->known || region->size)
			ivs_size_text(region->size, out);
		else
			strcpy(out, "-");
		break;
	case 2:
		strcpy(out, ivs_host_kind_name(region->kind));
		break;
	default:
		if (region->users_n)
			list_users(region, out);
		else
			strcpy(out, "-");
	}
}

static const char *reads_text(enum top_reads reads)
{
	static const char *const texts[] = {
		[TOP_READS_UNKNOWN] = "ok",
		[TOP_READS_ALL] = "ok",
		[TOP_READS_LATE] = "unread",
		[TOP_READS_NOT] = "not reading",
	};

	return texts[reads];
}

static const char *peer_state_text(const struct top_peer *peer)
{
	if (peer->blocked)
		return "blocked";
	if (!peer->greeted)
		return "new";
	return peer->behind && peer->reads != TOP_READS_NOT ? "behind" : reads_text(peer->reads);
}

/* The cells that both tables of peers have. Return: whether @title is the title of one. */
static bool shared_cell(const char *title, const struct top_row *row, char *out)
{
	const struct top_peer *peer = row->peer;

	if (!strcmp(title, "S"))
		number_cell(row->number, out);
	else if (!strcmp(title, "ID"))
		number_cell(peer->id, out);
	else if (!strcmp(title, "PID"))
		pid_cell(peer->pid, out);
	else if (!strcmp(title, "PROGRAM"))
		top_peer_name(peer, out);
	else if (!strcmp(title, "USER"))
		strcpy(out, peer->user);
	else
		return false;
	return true;
}

static void peer_cell(unsigned int column, const struct top_row *row, int64_t wall_ms, char *out)
{
	const struct top_peer *peer = row->peer;

	switch (column) {
	case 5:
		strcpy(out, peer->since);
		break;
	case 6:
		age_cell(peer->since_ms, wall_ms, out);
		break;
	case 7:
		number_cell(peer->vectors_n, out);
		break;
	case 8:
		number_cell(peer->behind, out);
		break;
	case 9:
		if (peer->counted)
			number_cell(peer->unread, out);
		else
			strcpy(out, "-");
		break;
	case 10:
		top_rate_text(peer->rate, out);
		break;
	default:
		strcpy(out, peer_state_text(peer));
	}
}

static void doorbell_cell(unsigned int column, const struct top_row *row, char *out)
{
	const struct top_doorbell *doorbell = &row->peer->doorbells[row->vector];

	switch (column) {
	case 5:
		number_cell(row->vector, out);
		break;
	case 6:
		number_cell(doorbell->unread, out);
		break;
	case 7:
		top_rate_text((double)doorbell->rate, out);
		break;
	default:
		strcpy(out, reads_text(top_reads_of(doorbell)));
	}
}

const char *top_cell(enum top_table table, unsigned int column, const struct top_row *row,
		     int64_t wall_ms, char out[TOP_CELL_LEN])
{
	unsigned int n;
	const char *title = top_columns(table, &n)[column].title;

	if (table == TOP_SERVERS)
		server_cell(column, row, wall_ms, out);
	else if (table == TOP_REGIONS)
		region_cell(column, row, out);
	else if (shared_cell(title, row, out))
		return out;
	else if (table == TOP_PEERS)
		peer_cell(column, row, wall_ms, out);
	else
		doorbell_cell(column, row, out);
	return out;
}
