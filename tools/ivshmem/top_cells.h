/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables of "ivshmem top": their columns, and the text of each cell. Pure. */
#ifndef TOOLS_IVSHMEM_TOP_CELLS_H
#define TOOLS_IVSHMEM_TOP_CELLS_H

#include "tools/ivshmem/top_model.h"

#define TOP_CELL_LEN 2200 /* room for the users of a region */

enum top_table { TOP_SERVERS, TOP_REGIONS, TOP_PEERS, TOP_DOORBELLS, TOP_TABLES_N };

/**
 * struct top_column - a column of a table
 * @title: its title
 * @width: its width on the screen; 0: what the other columns leave
 * @right: it is aligned to the right
 * @wide:  it is left out on screens with less than TOP_WIDE columns
 */
struct top_column {
	const char *title;
	unsigned int width;
	bool right;
	bool wide;
};

#define TOP_WIDE 110

/**
 * struct top_row - a row of a table
 * @number: number of the server in the table of servers, from 1
 * @peer:   of TOP_PEERS and TOP_DOORBELLS; @vector: of TOP_DOORBELLS
 * @region: of TOP_REGIONS
 */
struct top_row {
	const struct top_server *server;
	unsigned int number;
	const struct top_peer *peer;
	unsigned int vector;
	const struct ivs_host_region *region;
};

/** top_columns() - the columns of a table, @n of them */
const struct top_column *top_columns(enum top_table table, unsigned int *n);

/**
 * top_cell() - the text of a cell, safe to print
 * @wall_ms: the time of day
 */
const char *top_cell(enum top_table table, unsigned int column, const struct top_row *row,
		     int64_t wall_ms, char out[TOP_CELL_LEN]);

/** top_peer_name() - the name of a peer's VM or program, or "-" */
const char *top_peer_name(const struct top_peer *peer, char out[TOP_CELL_LEN]);

/** top_state_name() - a server's state as one word, for JSON */
const char *top_state_name(enum top_state state);

/** top_reasons_text() - such as "4 (closed 3, spoke 1)", or "0". Return: @out. */
const char *top_reasons_text(const struct top_reasons *reasons, char *out, size_t out_len);

#define TOP_RATE_LEN 24

/** top_rate_text() - a rate with one decimal if it is small, or "-" if it is unknown */
const char *top_rate_text(double rate, char out[TOP_RATE_LEN]);

#endif
