/* SPDX-License-Identifier: BSD-3-Clause */
/* The output of the benchmark. */
#ifndef BENCH_CHANNEL_REPORT_H
#define BENCH_CHANNEL_REPORT_H

#include <stddef.h>
#include <stdio.h>

/** length_name() - Return: one of lens[] in words: "4 KiB" */
const char *length_name(size_t len);

/** chain_name() - Return: an enum chain in words */
const char *chain_name(size_t chain);

/** report_print() - print tables, and the goals */
void report_print(void);
/** json_print() - print the same as JSON */
void json_print(FILE *to);

#endif
