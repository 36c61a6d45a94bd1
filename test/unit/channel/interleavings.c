/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All interleavings of a writer and its readers on a small lane: see support/c/lane_model.h. Before
 * each step a peer may also be killed, which a server reports later, as a ring.
 *
 * In each state: no message is torn, lost or received twice, and no word is impossible. When no
 * step is left: each peer that was not killed has ended. A reader has got what was committed; a
 * writer knows that everything was released, or that its readers are gone.
 *
 * The program then runs the same search with each of several defects, and must find them all. With
 * the argument --large it searches larger lanes instead, and no defects.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/c/lane_model.h"

static const char *const defect_names[] = {
	"none",
	"reader looks first",
	"writer looks first",
	"reader not rung",
	"writer not rung",
	"rung once",
	"sleepers first",
	"position last",
	"release first",
	"commit first",
	"one too many",
	"fastest reader",
	"ends at once",
	"closes silently",
	"quarters only",
	"reader not fenced",
	"writer not fenced",
	"position not fenced",
	"death ignored",
};

static uint64_t states_n;

#define NEW (-1.0)
#define IN_PROGRESS (-2.0)

/* States that have been reached: a hash of 128 bits, and how many schedules begin there. */
static struct entry {
	uint64_t hash[2];
	double schedules;
} * table;
static size_t table_len = 1u << 21;

static void hash_words(uint64_t hash[2], const void *bytes, size_t len)
{
	uint64_t word;

	for (size_t i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
		memcpy(&word, (const uint8_t *)bytes + i, sizeof(word));
		hash[0] = (hash[0] ^ word) * UINT64_C(0xd1342543de82ef95);
		hash[0] ^= hash[0] >> 32;
		hash[1] = (hash[1] + word) * UINT64_C(0x9e3779b97f4a7c15);
		hash[1] ^= hash[1] >> 29;
	}
}

static struct entry *find(const struct lane_model_state *state)
{
	uint64_t hash[2] = {UINT64_C(0xcbf29ce484222325), 1};
	struct lane_model_state copy = *state;
	size_t i;

	copy.lane.slots = NULL;
	for (unsigned int r = 0; r < LANE_MODEL_READERS_MAX; r++)
		copy.readers[r].lane.slots = NULL;
	hash_words(hash, &copy,
		   offsetof(struct lane_model_state, memory) +
			   lane_model.slots_n * LANE_MODEL_SLOT_LEN);
	for (i = hash[0] % table_len; table[i].hash[0] || table[i].hash[1];
	     i = (i + 1) % table_len) {
		if (table[i].hash[0] == hash[0] && table[i].hash[1] == hash[1])
			return &table[i];
	}
	memcpy(table[i].hash, hash, sizeof(hash));
	table[i].schedules = NEW;
	return &table[i];
}

/* Return: the number of schedules that begin with this state. In none is it reached twice. */
static double explore(const struct lane_model_state *state)
{
	struct entry *entry = find(state);
	double schedules = 0;
	bool rests = true;

	if (lane_model.failure)
		return 0;
	if (entry->schedules == IN_PROGRESS)
		lane_model_fail("the peers can go on for ever without sending anything");
	if (entry->schedules >= 0)
		return entry->schedules;
	entry->schedules = IN_PROGRESS;
	if (++states_n > table_len / 2) {
		fputs("interleavings: there are too many states for the table\n", stderr);
		exit(1);
	}
	for (int reader = -1; reader < (int)lane_model.readers_n; reader++) {
		for (unsigned int kind = 0; kind < KINDS_N; kind++) {
			struct lane_model_state next = *state;

			lane_model_settle(&next);
			if (lane_model_step(&next, (enum lane_step)kind, reader)) {
				rests = rests && kind == KILL;
				schedules += explore(&next);
			}
		}
	}
	/* The peers do not wait for a death. */
	if (rests) {
		lane_model_check_end(state);
		schedules += 1;
	}
	entry->schedules = schedules;
	return schedules;
}

static double run(const struct lane_model *model)
{
	struct lane_model_state state;

	memset(table, 0, table_len * sizeof(*table));
	states_n = 0;
	lane_model = *model;
	lane_model_start(&state);
	return explore(&state);
}

/* Slots, readers, messages, messages sent before the readers begin, deaths. */
static const struct lane_model lanes[] = {
	{2, 1, 4, 0, true, NONE, NULL},	 {4, 1, 6, 0, true, NONE, NULL},
	{8, 1, 3, 0, true, NONE, NULL},	 {2, 2, 2, 0, false, NONE, NULL},
	{2, 2, 3, 2, false, NONE, NULL}, {2, 2, 1, 0, true, NONE, NULL},
	{2, 2, 2, 0, true, NONE, NULL},	 {4, 2, 5, 4, true, NONE, NULL},
};

static const struct lane_model large_lanes[] = {
	{2, 2, 4, 0, false, NONE, NULL},
	{4, 2, 3, 0, true, NONE, NULL},
	{4, 2, 6, 4, true, NONE, NULL},
};
#define LARGE_TABLE_LEN (1u << 25)

#define LANES_N (sizeof(lanes) / sizeof(*lanes))

/* Return: whether the lane has no error. */
static bool check_lane(const struct lane_model *model)
{
	double schedules = run(model);

	printf("%u slots, %u reader%s, %u messages", model->slots_n, model->readers_n,
	       model->readers_n > 1 ? "s" : "", model->messages_n);
	if (model->begun)
		printf(" (%u before the readers begin)", model->begun);
	printf("%s: %lu states, %.3g schedules\n", model->kills ? ", deaths" : "", states_n,
	       schedules);
	if (lane_model.failure)
		printf("FAILED: %s\n", lane_model.failure);
	fflush(stdout);
	return !lane_model.failure;
}

/* Return: whether a lane shows the defect. */
static bool check_defect(enum lane_defect defect)
{
	const char *found = NULL;

	for (size_t i = 0; i < LANES_N && !found; i++) {
		struct lane_model model = lanes[i];

		model.defect = defect;
		(void)run(&model);
		found = lane_model.failure;
	}
	printf("with the defect \"%s\": %s\n", defect_names[defect],
	       found ? found : "FAILED: not found");
	return found;
}

int main(int argc, char **argv)
{
	bool large = argc == 2 && !strcmp(argv[1], "--large");
	const struct lane_model *models = large ? large_lanes : lanes;
	size_t models_n = large ? sizeof(large_lanes) / sizeof(*large_lanes) : LANES_N;
	bool failed = false;

	if (argc > 1 && !large) {
		fputs("usage: interleavings [--large]\n", stderr);
		return 2;
	}
	if (large)
		table_len = LARGE_TABLE_LEN;
	table = calloc(table_len, sizeof(*table));
	if (!table)
		return 1;
	for (size_t i = 0; i < models_n; i++)
		failed = !check_lane(&models[i]) || failed;
	for (unsigned int defect = NONE + 1; defect < DEFECTS_N && !large; defect++)
		failed = !check_defect((enum lane_defect)defect) || failed;
	free(table);
	return failed;
}
