/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/latency.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BAR_MAX 40

/* Times of less than LATENCY_STEPS ns are kept exactly, in the first places. */
static unsigned int place_of(uint64_t ns)
{
	unsigned int power;

	if (ns < LATENCY_STEPS)
		return (unsigned int)ns;
	power = 63 - (unsigned int)__builtin_clzll(ns);
	/* The bits behind the highest one; LATENCY_STEPS is 2^5. */
	return (power - 4) * LATENCY_STEPS +
	       (unsigned int)(ns >> (power - 5) & (LATENCY_STEPS - 1));
}

/* The middle of the times in a place. */
static uint64_t time_at(unsigned int place)
{
	unsigned int power = place / LATENCY_STEPS + 4;
	uint64_t step;

	if (place < LATENCY_STEPS)
		return place;
	step = UINT64_C(1) << (power - 5);
	return (LATENCY_STEPS + place % LATENCY_STEPS) * step + step / 2;
}

void latency_add(struct latency *latency, uint64_t ns)
{
	latency->counts[place_of(ns)]++;
	if (!latency->n || ns < latency->min_ns)
		latency->min_ns = ns;
	if (ns > latency->max_ns)
		latency->max_ns = ns;
	latency->n++;
}

uint64_t latency_percentile(const struct latency *latency, unsigned int permille)
{
	/* Rounded up; there are fewer than 2^54 times. */
	uint64_t wanted = (latency->n * permille + 999) / 1000;
	uint64_t passed = 0;

	for (unsigned int i = 0; i < 64 * LATENCY_STEPS; i++) {
		uint64_t ns = time_at(i);

		passed += latency->counts[i];
		if (passed < wanted || !latency->counts[i])
			continue;
		return ns < latency->min_ns   ? latency->min_ns
		       : ns > latency->max_ns ? latency->max_ns
					      : ns;
	}
	return 0;
}

uint64_t latency_between(const struct latency *latency, uint64_t from_ns, uint64_t to_ns)
{
	uint64_t n = 0;

	for (unsigned int i = place_of(from_ns); i < place_of(to_ns); i++)
		n += latency->counts[i];
	return n;
}

void latency_text(char text[LATENCY_TEXT_LEN], uint64_t ns)
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	double value = (double)ns;
	unsigned int unit = 0;

	/* 999.5 would be printed as 1000. */
	while (value >= (unit ? 999.5 : 1000) && unit < 3) {
		value /= 1000;
		unit++;
	}
	snprintf(text, LATENCY_TEXT_LEN, "%.*f %s",
		 !unit || value >= 99.95 ? 0
		 : value < 9.995	 ? 2
					 : 1,
		 value, units[unit]);
}

static void print_bar(const struct latency *latency, uint64_t from_ns, uint64_t most)
{
	uint64_t n = latency_between(latency, from_ns, 2 * from_ns);
	unsigned int len = (unsigned int)((double)n / (double)most * BAR_MAX + 0.5);
	char from[LATENCY_TEXT_LEN];
	char to[LATENCY_TEXT_LEN];
	char bar[BAR_MAX + 1] = "";

	latency_text(from, from_ns);
	latency_text(to, 2 * from_ns);
	memset(bar, '#', len ? len : n > 0);
	printf("%9s to %-9s %-*s %" PRIu64 "\n", from, to, BAR_MAX, bar, n);
}

void latency_print(const struct latency *latency)
{
	char texts[4][LATENCY_TEXT_LEN];
	uint64_t first = 1;
	uint64_t most = 1;

	if (!latency->n)
		return;
	latency_text(texts[0], latency->min_ns);
	latency_text(texts[1], latency_percentile(latency, 500));
	latency_text(texts[2], latency_percentile(latency, 990));
	latency_text(texts[3], latency->max_ns);
	printf("round trip: min %s, median %s, p99 %s, max %s\n", texts[0], texts[1], texts[2],
	       texts[3]);
	while (2 * first <= latency->min_ns)
		first *= 2;
	for (uint64_t from = first; from <= latency->max_ns; from *= 2) {
		uint64_t n = latency_between(latency, from, 2 * from);

		most = n > most ? n : most;
	}
	for (uint64_t from = first; from <= latency->max_ns; from *= 2)
		print_bar(latency, from, most);
}
