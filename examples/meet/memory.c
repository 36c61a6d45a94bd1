/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "meet.h"

#define MIB (1 << 20)
#define KIB (1 << 10)
#define MEASURE_S 0.2 /* duration of each measurement */

static char *area(const struct meet *meet, unsigned int id)
{
	return meet->memory + (id + 1) * meet->area_len;
}

/* xorshift64. Writer and reader start from the same nonce, so they get the same numbers. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

void meet_write(struct meet *meet)
{
	volatile uint64_t *words = (volatile uint64_t *)area(meet, meet->id);
	uint64_t state = meet->nonces[meet->id];

	for (size_t i = 0; i < meet->area_len / sizeof(*words); i++)
		words[i] = next_random(&state);
	printf("meet: wrote %zu KiB at offset %zu KiB\n", meet->area_len / KIB,
	       (meet->id + 1) * meet->area_len / KIB);
}

static bool check_area(const struct meet *meet, unsigned int id)
{
	const volatile uint64_t *words = (const volatile uint64_t *)area(meet, id);
	uint64_t state = meet->nonces[id];

	for (size_t i = 0; i < meet->area_len / sizeof(*words); i++) {
		if (words[i] != next_random(&state))
			return false;
	}
	return true;
}

bool meet_read(struct meet *meet)
{
	bool all = true;

	for (unsigned int id = 0; id < meet->peers_n; id++) {
		if (id == meet->id)
			continue;
		meet->correct[id] = check_area(meet, id);
		printf("meet: read what %u %s wrote: %s\n", id, meet->names[id],
		       meet->correct[id] ? "correct" : "WRONG");
		all &= meet->correct[id];
	}
	return all;
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double copy_speed(void *to, const void *from, size_t len)
{
	double start = now_s();
	double seconds;
	size_t copies = 0;

	do {
		memcpy(to, from, len);
		__asm__ volatile(""
				 :
				 : "r"(to)
				 : "memory"); /* otherwise the compiler could remove the memcpy() */
		copies++;
		seconds = now_s() - start;
	} while (seconds < MEASURE_S);
	return (double)len * (double)copies / seconds / 1e6;
}

/* Called by one peer at a time, so that the peers' measurements do not disturb each other. */
void meet_measure_memory(struct meet *meet)
{
	size_t len = meet->area_len;
	char *from = malloc(len);
	char *to = malloc(len);

	if (from && to) {
		memset(from, 1, len);
		memset(to, 2, len);
		meet->speeds.floor_mbs = copy_speed(to, from, len);
		meet->speeds.write_mbs = copy_speed(area(meet, meet->id), from, len);
		meet->speeds.read_mbs = copy_speed(to, area(meet, meet->id), len);
		printf("meet: region: written at %.0f MB/s, read at %.0f MB/s (private memory: "
		       "%.0f)\n",
		       meet->speeds.write_mbs, meet->speeds.read_mbs, meet->speeds.floor_mbs);
	}
	free(from);
	free(to);
}
