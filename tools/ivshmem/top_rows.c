/* SPDX-License-Identifier: BSD-3-Clause */
/* The rows of the tables: filtered and sorted. Text about all servers, and about one. */
#include "tools/ivshmem/top_rows.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"

const char *top_sort_name(enum top_sort sort)
{
	static const char *const names[TOP_SORTS_N] = {
		[TOP_SORT_UNREAD] = "unread",	[TOP_SORT_SEEN] = "seen",
		[TOP_SORT_BEHIND] = "behind",	[TOP_SORT_AGE] = "age",
		[TOP_SORT_PROGRAM] = "program", [TOP_SORT_PID] = "pid",
		[TOP_SORT_ID] = "id",
	};

	return names[sort];
}

/* Return: whether a cell of the row contains the filter's text. */
static bool row_matches(const char *filter, enum top_table table, const struct top_row *row)
{
	char cell[TOP_CELL_LEN];
	unsigned int n;

	if (!*filter)
		return true;
	top_columns(table, &n);
	for (unsigned int i = 0; i < n; i++) {
		if (strcasestr(top_cell(table, i, row, 0, cell), filter))
			return true;
	}
	return row->server &&
	       (strcasestr(row->server->socket, filter) || strcasestr(row->server->region, filter));
}

static int rows_add(struct top_rows *rows, const char *filter, enum top_table table,
		    const struct top_row *row)
{
	if (!row_matches(filter, table, row))
		return 0;
	if (rows->n == rows->room) {
		size_t room = rows->room ? 2 * rows->room : 64;
		struct top_row *list = reallocarray(rows->list, room, sizeof(*list));

		if (!list)
			return -ENOMEM;
		rows->list = list;
		rows->room = room;
	}
	rows->list[rows->n++] = *row;
	return 0;
}

/* Compare numbers: the larger one comes first. */
static int compare(double a, double b)
{
	return a == b ? 0 : a > b ? -1 : 1;
}

static uint64_t unread_of(const struct top_row *row, bool doorbells)
{
	return doorbells ? row->peer->doorbells[row->vector].unread : row->peer->unread;
}

static int compare_reads(const struct top_row *a, const struct top_row *b, bool doorbells)
{
	if (!doorbells)
		return compare(a->peer->reads == TOP_READS_NOT, b->peer->reads == TOP_READS_NOT);
	return compare(top_reads_of(&a->peer->doorbells[a->vector]) == TOP_READS_NOT,
		       top_reads_of(&b->peer->doorbells[b->vector]) == TOP_READS_NOT);
}

static int compare_seen(const struct top_row *a, const struct top_row *b, bool doorbells)
{
	if (!doorbells)
		return compare(a->peer->rate, b->peer->rate);
	return compare((double)a->peer->doorbells[a->vector].rate,
		       (double)b->peer->doorbells[b->vector].rate);
}

static int compare_programs(const struct top_peer *a, const struct top_peer *b)
{
	char name[TOP_CELL_LEN];
	char other[TOP_CELL_LEN];

	return strcmp(top_peer_name(a, name), top_peer_name(b, other));
}

static int compare_by(enum top_sort sort, const struct top_row *a, const struct top_row *b,
		      bool doorbells)
{
	int result;

	switch (sort) {
	case TOP_SORT_UNREAD:
		result = compare_reads(a, b, doorbells);
		return result ? result
			      : compare((double)unread_of(a, doorbells),
					(double)unread_of(b, doorbells));
	case TOP_SORT_SEEN:
		return compare_seen(a, b, doorbells);
	case TOP_SORT_BEHIND:
		return compare((double)a->peer->behind, (double)b->peer->behind);
	case TOP_SORT_AGE:
		return compare((double)a->peer->since_ms, (double)b->peer->since_ms);
	case TOP_SORT_PROGRAM:
		return compare_programs(a->peer, b->peer);
	case TOP_SORT_PID:
		return compare(b->peer->pid, a->peer->pid);
	default:
		return 0;
	}
}

struct sorting {
	const struct top_order *order;
	bool doorbells;
};

/* Rows that are equal are sorted by server, id and vector. */
static int compare_rows(const void *left, const void *right, void *context)
{
	const struct sorting *sorting = context;
	const struct top_row *a = left;
	const struct top_row *b = right;
	int result = compare_by(sorting->order->sort, a, b, sorting->doorbells);

	if (!result)
		result = compare(b->number, a->number);
	if (!result)
		result = compare(b->peer->id, a->peer->id);
	if (!result)
		result = compare(b->vector, a->vector);
	return sorting->order->reverse ? -result : result;
}

/* Add the rows of one server to a table of peers or doorbells. */
static int rows_add_peers(struct top_rows *rows, const char *filter, enum top_table table,
			  const struct top_row *server)
{
	int result = 0;

	for (size_t i = 0; i < server->server->peers_n && !result; i++) {
		struct top_row row = *server;

		row.peer = &server->server->peers[i];
		if (table == TOP_PEERS)
			result = rows_add(rows, filter, table, &row);
		for (; table == TOP_DOORBELLS && row.vector < row.peer->doorbells_n && !result;
		     row.vector++)
			result = rows_add(rows, filter, table, &row);
	}
	return result;
}

static int rows_add_regions(struct top_rows *rows, const char *filter,
			    const struct ivs_host_regions *regions)
{
	int result = 0;

	for (size_t i = 0; i < regions->n && !result; i++) {
		const struct top_row row = {.region = &regions->list[i]};

		if (row.region->why)
			result = rows_add(rows, filter, TOP_REGIONS, &row);
	}
	return result;
}

int top_rows_find(const struct top_order *order, const struct top_model *model,
		  enum top_table table, struct top_rows *rows)
{
	bool of_peers = table == TOP_PEERS || table == TOP_DOORBELLS;
	struct sorting sorting = {order, table == TOP_DOORBELLS};
	int result = 0;

	if (table == TOP_REGIONS)
		return rows_add_regions(rows, order->filter, &model->regions);
	for (size_t i = 0; i < model->servers_n && !result; i++) {
		const struct top_row row = {.server = &model->servers[i],
					    .number = (unsigned int)i + 1};

		if (of_peers)
			result = rows_add_peers(rows, order->filter, table, &row);
		else
			result = rows_add(rows, order->filter, table, &row);
	}
	if (of_peers && rows->n)
		qsort_r(rows->list, rows->n, sizeof(*rows->list), compare_rows, &sorting);
	return result;
}

void top_rows_deinit(struct top_rows *rows)
{
	free(rows->list);
	*rows = (struct top_rows){0};
}

static size_t model_count_regions(const struct top_model *model)
{
	size_t n = 0;

	for (size_t i = 0; i < model->regions.n; i++)
		n += model->regions.list[i].why != 0;
	return n;
}

const char *top_summary(const struct top_model *model, unsigned int i, char out[TOP_CELL_LEN])
{
	struct top_server all = {.rate = -1};
	char left[TOP_CELL_LEN / 4];
	char refused[TOP_CELL_LEN / 4];
	char rate[TOP_RATE_LEN];

	for (size_t at = 0; at < model->servers_n; at++) {
		const struct top_server *server = &model->servers[at];

		all.peers_n += server->peers_n;
		all.joined += server->joined;
		all.unread += server->unread;
		all.not_n += server->not_n;
		if (server->rate >= 0)
			all.rate = (all.rate < 0 ? 0 : all.rate) + server->rate;
		for (size_t k = 0; k < server->left.n; k++)
			top_reasons_add(&all.left, server->left.list[k].name,
					server->left.list[k].n);
		for (size_t k = 0; k < server->refused.n; k++)
			top_reasons_add(&all.refused, server->refused.list[k].name,
					server->refused.list[k].n);
	}
	if (!i)
		snprintf(out, TOP_CELL_LEN,
			 "servers %zu, regions %zu, peers %zu (%u not reading), unread %" PRIu64
			 ", seen %s/s",
			 model->servers_n, model_count_regions(model), all.peers_n, all.not_n,
			 all.unread, top_rate_text(all.rate, rate));
	else
		snprintf(out, TOP_CELL_LEN, "joined %" PRIu64 ", refused %s, left %s", all.joined,
			 top_reasons_text(&all.refused, refused, sizeof(refused)),
			 top_reasons_text(&all.left, left, sizeof(left)));
	return out;
}

const char *top_details(const struct top_server *server, unsigned int i, char out[TOP_CELL_LEN])
{
	char left[TOP_CELL_LEN / 4];
	char refused[TOP_CELL_LEN / 4];
	char size[IVS_SIZE_TEXT_LEN];

	if (!server->sampled_ns)
		i += 2;
	if (!i)
		snprintf(out, TOP_CELL_LEN, "region %s, %s, %" PRIu64 " vectors, since %s",
			 server->region, ivs_size_text(server->region_size, size),
			 server->vectors_n, server->since);
	else if (i == 1)
		snprintf(out, TOP_CELL_LEN,
			 "joined %" PRIu64 ", refused %s, left %s, %" PRIu64 " ids left, %" PRIu64
			 " vacant, in flight %" PRIu64,
			 server->joined,
			 top_reasons_text(&server->refused, refused, sizeof(refused)),
			 top_reasons_text(&server->left, left, sizeof(left)), server->ids_left,
			 server->vacant_n, server->in_flight);
	else if (i == 2 && server->state != TOP_OK && *server->note)
		snprintf(out, TOP_CELL_LEN, "%s", server->note);
	else
		return NULL;
	return out;
}
