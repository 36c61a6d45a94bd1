/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/top_view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tools/shared/table.h"

#define SERVERS_SHOWN 5 /* on the first page, of which the peers need most */
#define REGIONS_SHOWN 3
#define FLEX_MIN 8 /* characters of the column that gets what the others leave */
#define FLEX_MAX 400

static const char *const page_names[TOP_PAGES_N] = {
	[TOP_PAGE_ALL] = "all",
	[TOP_PAGE_SERVERS] = "servers",
	[TOP_PAGE_REGIONS] = "regions",
	[TOP_PAGE_DOORBELLS] = "doorbells",
};

static const char *const help_lines[] = {
	"q         end",
	"Tab       next page: all, servers, regions, doorbells of each peer",
	"s         sort the peers by the next column; r reverses the order",
	"/         show only rows that contain a text; Esc or an empty text shows all",
	"space     take a sample now, and look for new servers",
	"arrows, Page Up, Page Down, Home, End    scroll",
	"",
	"UNREAD    rings that the peer has not read. An eventfd has no total: its count",
	"          becomes 0 when it is read",
	"SEEN/S    rings per second that were seen: a lower bound. Rings that are read",
	"          between two samples are not seen, so a peer that reads at once has 0",
	"STATE     not reading: a doorbell was unread in three samples, and never became",
	"          less. unread: there are unread rings. behind: there are messages that",
	"          the server has not sent yet. blocked: the peer does not read messages.",
	"          new: it has not been greeted",
	"S         number of the server in the list of servers",
	"VEC       vectors of the peer",
	"AGE       time since the peer, or the server, has started",
};

#define HELP_N (sizeof(help_lines) / sizeof(*help_lines))

/* The screen that is being composed. */
struct canvas {
	struct top_view *view;
	const struct top_model *model;
	struct top_lines *lines;
	size_t width;
	size_t height;
	int64_t wall_ms;
	int result;
};

/* Return: the end of the first @n characters, at most. */
static size_t end_of(const char *text, size_t n)
{
	const char *at = text;

	for (size_t len; n-- && (len = ivs_text_char(at));)
		at += len;
	return (size_t)(at - text);
}

/* Add a line, cut off at the right edge; there is none below the bottom. */
static void canvas_add(struct canvas *canvas, enum top_style style, const char *text)
{
	struct top_lines *lines = canvas->lines;

	if (lines->n >= canvas->height || canvas->result)
		return;
	if (lines->n == lines->room) {
		size_t room = lines->room ? 2 * lines->room : 32;
		struct top_line *list = reallocarray(lines->list, room, sizeof(*list));

		if (!list) {
			canvas->result = -ENOMEM;
			return;
		}
		lines->list = list;
		lines->room = room;
	}
	lines->list[lines->n].style = style;
	lines->list[lines->n].text = strndup(text, end_of(text, canvas->width));
	if (lines->list[lines->n].text)
		lines->n++;
	else
		canvas->result = -ENOMEM;
}

void top_lines_deinit(struct top_lines *lines)
{
	for (size_t i = 0; i < lines->n; i++)
		free(lines->list[i].text);
	free(lines->list);
	*lines = (struct top_lines){0};
}

static bool column_is_shown(const struct top_column *column, size_t width)
{
	return !column->wide || width >= TOP_WIDE;
}

/* Return: the width of the column that gets what the others leave. */
static size_t flex_width(const struct top_column *columns, unsigned int n, size_t width)
{
	size_t used = 0;

	for (unsigned int i = 0; i < n; i++) {
		if (column_is_shown(&columns[i], width))
			used += columns[i].width + (i + 1 < n);
	}
	if (used + FLEX_MIN > width)
		return FLEX_MIN;
	return width - used < FLEX_MAX ? width - used : FLEX_MAX;
}

/*
 * Write a cell with exactly @width characters. If it has more, it is cut off at the end; a path at
 * its beginning, because the ends of paths differ.
 */
static size_t put_cell(char *out, size_t out_len, const char *cell, size_t width, bool right)
{
	size_t n = ivs_text_columns(cell);
	bool path = *cell == '/';
	int gap;

	if (n > width && path && width > 2) {
		cell += end_of(cell, n - width + 2);
		return (size_t)snprintf(out, out_len, "..%s", cell);
	}
	gap = n < width ? (int)(width - n) : 0;
	return (size_t)snprintf(out, out_len, "%*s%.*s%*s", right ? gap : 0, "",
				(int)end_of(cell, width), cell, right ? 0 : gap, "");
}

/* Add a row; NULL: the titles. */
static void canvas_add_row(struct canvas *canvas, enum top_table table, const struct top_row *row)
{
	char text[TOP_CELL_LEN * 2];
	char cell[TOP_CELL_LEN];
	enum top_style style = row ? TOP_PLAIN : TOP_TITLE;
	unsigned int n;
	const struct top_column *columns = top_columns(table, &n);
	size_t flex = flex_width(columns, n, canvas->width);
	size_t len = 0;

	for (unsigned int i = 0; i < n; i++) {
		size_t width = columns[i].width ? columns[i].width : flex;

		if (!column_is_shown(&columns[i], canvas->width))
			continue;
		if (row)
			top_cell(table, i, row, canvas->wall_ms, cell);
		len += put_cell(text + len, sizeof(text) - len, row ? cell : columns[i].title,
				width, columns[i].right);
		if (i + 1 < n)
			len += (size_t)snprintf(text + len, sizeof(text) - len, " ");
	}
	if (row && row->peer && table == TOP_PEERS && row->peer->reads == TOP_READS_NOT)
		style = TOP_ALERT;
	if (row && row->peer && table == TOP_DOORBELLS &&
	    top_reads_of(&row->peer->doorbells[row->vector]) == TOP_READS_NOT)
		style = TOP_ALERT;
	if (row && table == TOP_SERVERS && row->server->state != TOP_OK)
		style = TOP_ALERT;
	canvas_add(canvas, style, text);
}

/* Return: the number of lines above the bottom lines that are still free. */
static size_t canvas_free(const struct canvas *canvas)
{
	size_t bottom_n = *canvas->view->notice ? 2 : 1;
	size_t used = canvas->lines->n + bottom_n;

	return used < canvas->height ? canvas->height - used : 0;
}

/* Find the rows of a table; none after an error. */
static void canvas_find(struct canvas *canvas, enum top_table table, struct top_rows *rows)
{
	*rows = (struct top_rows){0};
	if (!canvas->result)
		canvas->result = top_rows_find(&canvas->view->order, canvas->model, table, rows);
}

/* Add a table with at most @max rows that do not scroll. */
static void canvas_add_part(struct canvas *canvas, enum top_table table, size_t max)
{
	char text[TOP_CELL_LEN];
	struct top_rows rows;

	canvas_find(canvas, table, &rows);
	if (!canvas->result && rows.n && max) {
		canvas_add_row(canvas, table, NULL);
		for (size_t i = 0; i < rows.n && i < max; i++)
			canvas_add_row(canvas, table, &rows.list[i]);
		if (rows.n > max) {
			snprintf(text, sizeof(text), "   and %zu more: see the page of %s",
				 rows.n - max, table == TOP_SERVERS ? "servers" : "regions");
			canvas_add(canvas, TOP_PLAIN, text);
		}
	}
	top_rows_deinit(&rows);
}

/* Limit the scrolling for @n lines or rows, of which @room are on the screen. */
static void view_limit(struct top_view *view, size_t n, size_t room)
{
	size_t last = n > room ? n - room : 0;

	view->page_n = room ? room : 1;
	if (view->scroll > last)
		view->scroll = last;
}

/* Add a table that fills the rest of the screen, and scrolls. */
static void canvas_add_table(struct canvas *canvas, enum top_table table)
{
	struct top_rows rows;
	size_t room;

	canvas_find(canvas, table, &rows);
	canvas_add_row(canvas, table, NULL);
	room = canvas_free(canvas);
	view_limit(canvas->view, rows.n, room);
	for (size_t i = canvas->view->scroll; i < rows.n && room && !canvas->result; i++, room--)
		canvas_add_row(canvas, table, &rows.list[i]);
	top_rows_deinit(&rows);
}

/* Add the servers with what is known about each; it scrolls by servers. */
static void canvas_add_servers(struct canvas *canvas)
{
	char detail[TOP_CELL_LEN];
	char text[TOP_CELL_LEN + 4];
	struct top_rows rows;

	canvas_find(canvas, TOP_SERVERS, &rows);
	canvas_add_row(canvas, TOP_SERVERS, NULL);
	view_limit(canvas->view, rows.n, 1);
	for (size_t i = canvas->view->scroll; i < rows.n && !canvas->result; i++) {
		if (!canvas_free(canvas))
			break;
		canvas_add_row(canvas, TOP_SERVERS, &rows.list[i]);
		for (unsigned int k = 0; top_details(rows.list[i].server, k, detail); k++) {
			snprintf(text, sizeof(text), "   %s", detail);
			if (canvas_free(canvas))
				canvas_add(canvas, TOP_PLAIN, text);
		}
	}
	top_rows_deinit(&rows);
}

static void canvas_add_help(struct canvas *canvas)
{
	size_t room = canvas_free(canvas);

	view_limit(canvas->view, HELP_N, room);
	for (size_t i = canvas->view->scroll; i < HELP_N && room; i++, room--)
		canvas_add(canvas, TOP_PLAIN, help_lines[i]);
}

static void canvas_add_head(struct canvas *canvas)
{
	const struct top_model *model = canvas->model;
	char summary[TOP_CELL_LEN];
	char text[TOP_CELL_LEN + 64];

	/* Without the samples, totals would say that there is nothing. */
	if (!model->samples_n) {
		canvas_add(canvas, TOP_HEAD, "ivshmem top: examining this host ...");
		canvas_add(canvas, TOP_HEAD, "");
		return;
	}
	canvas_add(canvas, TOP_HEAD, top_summary(model, 0, summary));
	snprintf(text, sizeof(text), "%s", top_summary(model, 1, summary));
	canvas_add(canvas, TOP_HEAD, text);
}

/* The last lines: a notice, and what the user has chosen or is typing. */
static void canvas_add_bottom(struct canvas *canvas)
{
	const struct top_view *view = canvas->view;
	char text[TOP_CELL_LEN];

	while (canvas_free(canvas) && !canvas->result)
		canvas_add(canvas, TOP_PLAIN, "");
	if (*view->notice)
		canvas_add(canvas, TOP_ALERT, view->notice);
	if (view->asks)
		snprintf(text, sizeof(text), "/%s", view->order.filter);
	else
		snprintf(text, sizeof(text),
			 "q end  ? help  Tab page: %s  s sort: %s%s  / filter: %s  %.3g s",
			 view->help ? "help" : page_names[view->page],
			 top_sort_name(view->order.sort), view->order.reverse ? " (reversed)" : "",
			 *view->order.filter ? view->order.filter : "none",
			 canvas->model->interval_ms / 1000.0);
	canvas_add(canvas, TOP_TITLE, text);
}

int top_view_show(struct top_view *view, const struct top_model *model, size_t width, size_t height,
		  int64_t wall_ms, struct top_lines *lines)
{
	struct canvas canvas = {view, model, lines, width, height, wall_ms, 0};
	size_t part = height < 12 ? 0 : (height - 8) / 4;

	canvas_add_head(&canvas);
	if (view->help) {
		canvas_add_help(&canvas);
	} else if (view->page == TOP_PAGE_SERVERS) {
		canvas_add_servers(&canvas);
	} else if (view->page == TOP_PAGE_REGIONS) {
		canvas_add_table(&canvas, TOP_REGIONS);
	} else if (view->page == TOP_PAGE_DOORBELLS) {
		canvas_add_table(&canvas, TOP_DOORBELLS);
	} else {
		if (model->samples_n && !model->servers_n)
			canvas_add(&canvas, TOP_PLAIN, "no servers on this host");
		canvas_add_part(&canvas, TOP_SERVERS, part > SERVERS_SHOWN ? SERVERS_SHOWN : part);
		canvas_add_part(&canvas, TOP_REGIONS, part > REGIONS_SHOWN ? REGIONS_SHOWN : part);
		canvas_add_table(&canvas, TOP_PEERS);
	}
	canvas_add_bottom(&canvas);
	return canvas.result;
}

static int table_add_row(struct table *table, enum top_table which, const struct top_row *row,
			 int64_t wall_ms)
{
	char cell[TOP_CELL_LEN];
	int result = 0;

	for (unsigned int i = 0; i < table->columns_n && !result; i++)
		result = table_add(table, top_cell(which, i, row, wall_ms, cell));
	return result;
}

static int print_rows(enum top_table which, const struct top_rows *rows, int64_t wall_ms)
{
	unsigned int n;
	const struct top_column *columns = top_columns(which, &n);
	struct table_column *titles = calloc(n, sizeof(*titles));
	struct table table = {.columns = titles, .columns_n = n};
	int result = titles ? 0 : -ENOMEM;

	for (unsigned int i = 0; i < n && !result; i++)
		titles[i] = (struct table_column){columns[i].title, columns[i].right};
	for (size_t i = 0; i < rows->n && !result; i++)
		result = table_add_row(&table, which, &rows->list[i], wall_ms);
	if (!result) {
		putchar('\n');
		result = table_print(&table);
	}
	table_deinit(&table);
	free(titles);
	return result;
}

static void print_details(const struct top_rows *servers)
{
	char text[TOP_CELL_LEN];

	putchar('\n');
	for (size_t i = 0; i < servers->n; i++) {
		for (unsigned int k = 0; top_details(servers->list[i].server, k, text); k++)
			printf("server %u: %s\n", servers->list[i].number, text);
	}
}

int top_print(const struct top_view *view, const struct top_model *model, int64_t wall_ms)
{
	char text[TOP_CELL_LEN];
	int result = 0;

	for (unsigned int i = 0; i < 2; i++)
		puts(top_summary(model, i, text));
	for (enum top_table table = 0; table < TOP_TABLES_N && !result; table++) {
		struct top_rows rows = {0};

		result = top_rows_find(&view->order, model, table, &rows);
		if (!result && rows.n)
			result = print_rows(table, &rows, wall_ms);
		if (!result && rows.n && table == TOP_SERVERS)
			print_details(&rows);
		top_rows_deinit(&rows);
	}
	return result;
}
