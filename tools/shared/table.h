/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables with aligned columns on standard output. */
#ifndef TOOLS_SHARED_TABLE_H
#define TOOLS_SHARED_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "ivshmem/api.h"

/**
 * struct table_column - a column; the last one of a table is not padded
 * @title: the title, in the first line of the column
 * @right: whether its cells are aligned to the right, as numbers are
 */
struct table_column {
	const char *title;
	bool right;
};

/**
 * struct table - a table that is being filled; start from {.columns = ..., .columns_n = ...}
 * @cells: copies of all cells, row by row
 */
struct table {
	const struct table_column *columns;
	unsigned int columns_n;
	char **cells;
	size_t cells_n;
	size_t room;
};

/**
 * table_add() - add the next cell of the row or, if the row is complete, the first of a new row
 * @text: text of the cell, which is copied and made safe for terminals. Beyond 96 characters it is
 *        cut off and "..." follows, unless the column is the last one
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int table_add(struct table *table, const char *text);

/** table_print() - print titles and rows; the last row is complete. Return: 0 or -ENOMEM. */
IVS_MUST_USE int table_print(const struct table *table);

void table_deinit(struct table *table);

#endif
