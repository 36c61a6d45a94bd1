/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/bench_rounds.h"

#include <stdlib.h>

#include "base/clock.h"
#include "tools/ivshmem/signals.h"

#define SAMPLE_NS 100000 /* so long that reading the clock does not count */
#define TIMES_MAX (1u << 24)
#define ROUNDS_MAX 999

/* Repeat the operation of a side. Return: 0, or enum bench_error. */
static int sample_take(const struct bench_work *work, enum bench_side side, unsigned int times,
		       int64_t *ns)
{
	int64_t start_ns;
	int result;

	if (signals_have_stopped())
		return BENCH_E_STOPPED;
	start_ns = ivs_clock_ns();
	result = work->run(work->context, side, times);
	*ns = ivs_clock_ns() - start_ns;
	return result;
}

/* Find out how often to repeat the operation in a sample. This also fills the caches. */
static int times_find(const struct bench_work *work, enum bench_side side, unsigned int *times)
{
	int64_t ns = 0;
	int result = 0;

	for (*times = 1; !result && *times < TIMES_MAX; *times *= 2) {
		result = sample_take(work, side, *times, &ns);
		if (ns >= SAMPLE_NS)
			break;
	}
	return result;
}

static int compare_numbers(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_find(double *numbers, unsigned int n)
{
	qsort(numbers, n, sizeof(*numbers), compare_numbers);
	return n % 2 ? numbers[n / 2] : (numbers[n / 2 - 1] + numbers[n / 2]) / 2;
}

/* Measure both sides once, and store the times in row @n. Return: 0, or enum bench_error. */
static int round_take(const struct bench_work *work, const unsigned int times[BENCH_SIDES_N],
		      double taken[BENCH_SIDES_N][ROUNDS_MAX], unsigned int n)
{
	int result = 0;

	for (unsigned int i = 0; i < BENCH_SIDES_N && !result; i++) {
		/* The side that is first changes, in case the second one has an advantage. */
		unsigned int side = (n + i) % BENCH_SIDES_N;
		int64_t ns = 0;

		result = sample_take(work, side, times[side], &ns);
		taken[side][n] = (double)ns / times[side];
	}
	return result;
}

int bench_rounds_run(const struct bench_work *work, int64_t budget_ns, struct bench_result *out)
{
	static double taken[BENCH_SIDES_N][ROUNDS_MAX];
	int64_t end_ns = ivs_clock_ns() + budget_ns;
	unsigned int times[BENCH_SIDES_N] = {0};
	unsigned int n = 0;
	int result = 0;

	for (unsigned int side = 0; side < BENCH_SIDES_N && !result; side++)
		result = times_find(work, side, &times[side]);
	while (!result && n < ROUNDS_MAX && (!n || ivs_clock_ns() < end_ns)) {
		result = round_take(work, times, taken, n);
		n += !result;
	}
	if (result)
		return result;
	out->rounds_n = n;
	for (unsigned int side = 0; side < BENCH_SIDES_N; side++)
		out->ns[side] = median_find(taken[side], n);
	return 0;
}

double bench_ratio(const struct bench_result *result)
{
	return result->ns[BENCH_FLOOR] > 0 ? result->ns[BENCH_REGION] / result->ns[BENCH_FLOOR] : 1;
}
