/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define ROOM_MIN 64
#define CELL_COLUMNS_MAX 96
#define CUT "..."

/* Shorten a cell that would make its whole column too wide. */
static void cut(char *cell)
{
	char *end = cell;

	if (ivs_text_columns(cell) <= CELL_COLUMNS_MAX)
		return;
	for (size_t i = 0; i < CELL_COLUMNS_MAX - strlen(CUT); i++)
		end += ivs_text_char(end);
	strcpy(end, CUT);
}

int table_add(struct table *table, const char *text)
{
	size_t len = strlen(text) + 1;
	char *cell;

	if (table->cells_n == table->room) {
		size_t room = table->room ? 2 * table->room : ROOM_MIN;
		char **cells = reallocarray(table->cells, room, sizeof(*cells));

		if (!cells)
			return -ENOMEM;
		table->cells = cells;
		table->room = room;
	}
	cell = malloc(len);
	if (!cell)
		return -ENOMEM;
	ivs_text_shown(text, cell, len);
	if (table->cells_n % table->columns_n != table->columns_n - 1)
		cut(cell);
	table->cells[table->cells_n++] = cell;
	return 0;
}

static void widen(size_t *width, const char *cell)
{
	size_t n = ivs_text_columns(cell);

	*width = n > *width ? n : *width;
}

static void print_cell(const struct table *table, const size_t *widths, unsigned int column,
		       const char *cell)
{
	bool right = table->columns[column].right;
	int gap = (int)(widths[column] - ivs_text_columns(cell));

	if (column == table->columns_n - 1)
		printf("%*s%s\n", right ? gap : 0, "", cell);
	else
		printf("%*s%s%*s  ", right ? gap : 0, "", cell, right ? 0 : gap, "");
}

int table_print(const struct table *table)
{
	size_t *widths = calloc(table->columns_n, sizeof(*widths));

	if (!widths)
		return -ENOMEM;
	for (unsigned int i = 0; i < table->columns_n; i++)
		widen(&widths[i], table->columns[i].title);
	for (size_t i = 0; i < table->cells_n; i++)
		widen(&widths[i % table->columns_n], table->cells[i]);
	for (unsigned int i = 0; i < table->columns_n; i++)
		print_cell(table, widths, i, table->columns[i].title);
	for (size_t i = 0; i < table->cells_n; i++)
		print_cell(table, widths, (unsigned int)(i % table->columns_n), table->cells[i]);
	free(widths);
	return 0;
}

void table_deinit(struct table *table)
{
	for (size_t i = 0; i < table->cells_n; i++)
		free(table->cells[i]);
	free(table->cells);
	table->cells = NULL;
	table->cells_n = table->room = 0;
}
