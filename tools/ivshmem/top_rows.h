/* SPDX-License-Identifier: BSD-3-Clause */
/* The rows of the tables of "ivshmem top", filtered and sorted; text about servers. Pure. */
#ifndef TOOLS_IVSHMEM_TOP_ROWS_H
#define TOOLS_IVSHMEM_TOP_ROWS_H

#include "tools/ivshmem/top_cells.h"

#define TOP_FILTER_LEN 64

/** enum top_sort - by what the peers are sorted; the most important first */
enum top_sort {
	TOP_SORT_UNREAD,
	TOP_SORT_SEEN,
	TOP_SORT_BEHIND,
	TOP_SORT_AGE,
	TOP_SORT_PROGRAM,
	TOP_SORT_PID,
	TOP_SORT_ID,
	TOP_SORTS_N,
};

/**
 * struct top_order - which rows are shown, and in which order
 * @filter: only rows that contain this text, in any case; "": all
 */
struct top_order {
	enum top_sort sort;
	bool reverse;
	char filter[TOP_FILTER_LEN];
};

/** top_sort_name() - the name of an order, as the option --sort takes it */
const char *top_sort_name(enum top_sort sort);

/** struct top_rows - the rows of a table, filtered and sorted; start from {0} */
struct top_rows {
	struct top_row *list;
	size_t n;
	size_t room;
};

/** top_rows_find() - find the rows of a table. Return: 0 or -ENOMEM. */
IVS_MUST_USE int top_rows_find(const struct top_order *order, const struct top_model *model,
			       enum top_table table, struct top_rows *rows);

void top_rows_deinit(struct top_rows *rows);

/** top_summary() - line @i (0 or 1) of the totals of all servers */
const char *top_summary(const struct top_model *model, unsigned int i, char out[TOP_CELL_LEN]);

/** top_details() - line @i of what is known about a server; NULL: there are no more lines */
const char *top_details(const struct top_server *server, unsigned int i, char out[TOP_CELL_LEN]);

#endif
