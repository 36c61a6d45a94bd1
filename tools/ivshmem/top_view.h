/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What "ivshmem top" shows of the model: the lines of a screen of a given size, or the whole model
 * as tables. Pure, except for top_print().
 */
#ifndef TOOLS_IVSHMEM_TOP_VIEW_H
#define TOOLS_IVSHMEM_TOP_VIEW_H

#include "tools/ivshmem/top_rows.h"

enum top_page { TOP_PAGE_ALL, TOP_PAGE_SERVERS, TOP_PAGE_REGIONS, TOP_PAGE_DOORBELLS, TOP_PAGES_N };

/**
 * struct top_view - what the user has chosen
 * @asks:   the user is typing the filter
 * @help:   the help is shown instead of the page
 * @scroll: number of rows, or lines, that are above the first one on the screen; limited by
 *          top_view_show()
 * @page_n: set by top_view_show(): number of rows that the screen shows
 * @notice: a line to be shown at the bottom, or ""
 */
struct top_view {
	enum top_page page;
	struct top_order order;
	bool asks;
	bool help;
	size_t scroll;
	size_t page_n;
	char notice[TOP_NOTE_LEN];
};

enum top_style { TOP_PLAIN, TOP_TITLE, TOP_ALERT, TOP_HEAD };

/** struct top_line - a line of the screen: valid UTF-8, without control characters */
struct top_line {
	char *text;
	enum top_style style;
};

struct top_lines {
	struct top_line *list;
	size_t n;
	size_t room;
};

/**
 * top_view_show() - compose the lines of a screen
 * @lines: start from {0}; free them with top_lines_deinit(). There are at most @height lines, each
 *         of at most @width characters
 * @wall_ms: the time of day
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int top_view_show(struct top_view *view, const struct top_model *model, size_t width,
			       size_t height, int64_t wall_ms, struct top_lines *lines);

void top_lines_deinit(struct top_lines *lines);

/** top_print() - print totals, and tables that are as wide as their cells. Return: 0, -ENOMEM. */
IVS_MUST_USE int top_print(const struct top_view *view, const struct top_model *model,
			   int64_t wall_ms);

#endif
