/* SPDX-License-Identifier: BSD-3-Clause */
/* What "ivshmem bench" has measured, as a table with a verdict, and as JSON. */
#ifndef TOOLS_IVSHMEM_BENCH_PRINT_H
#define TOOLS_IVSHMEM_BENCH_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/ivshmem/bench_work.h"

#define BENCH_SIZES_MAX 16
#define BENCH_ROWS_MAX (BENCH_SIZES_MAX * BENCH_OPERATIONS_N)

/** struct bench_row - one operation on one size */
struct bench_row {
	enum bench_operation operation;
	size_t size;
	struct bench_result result;
};

/**
 * struct bench_report - the measurements
 * @offset, @len:    the part of the region
 * @overwrite:       writes were to be measured as well
 * @overwritten:     there were writes
 * @complete:        no signal has ended the measurements
 * @why_no_doorbell: why doorbells were not measured; NULL: they were
 */
struct bench_report {
	const char *address;
	const struct ivs_peer *peer;
	size_t offset;
	size_t len;
	bool overwrite;
	bool overwritten;
	bool complete;
	struct bench_row rows[BENCH_ROWS_MAX];
	unsigned int rows_n;
	unsigned int vector;
	struct bench_result doorbell;
	const char *why_no_doorbell;
};

/** bench_print() - print the report. Return: 0, or STATUS_FAILED after printing the reason. */
int bench_print(const struct bench_report *report);

/** bench_print_json() - as bench_print(), as JSON */
int bench_print_json(const struct bench_report *report);

#endif
