/* SPDX-License-Identifier: BSD-3-Clause */
/* What the channels of libivshmem should reach, as ratios to something in the same run. */
#ifndef BENCH_CHANNEL_GOALS_H
#define BENCH_CHANNEL_GOALS_H

#include <stdbool.h>

#define GOALS_MAX 64

/**
 * struct goal - a value, and what it should be
 * @value:    NAN: not measured
 * @at_least: otherwise, at most
 * @less:     @limit itself is not good enough
 */
struct goal {
	char name[96];
	double value;
	double limit;
	bool at_least;
	bool less;
};

/** goals_find() - Return: the number of goals that were stored in @out */
unsigned int goals_find(struct goal out[GOALS_MAX]);

/** goal_verdict() - Return: "met", "NOT met" or "not measured" */
const char *goal_verdict(const struct goal *goal);

#endif
