/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A writer and its readers on a small lane, whose state can be copied, with the real functions of
 * lane.c, and with the words that put each side to sleep as outlet.c, inlet.c and wait.c use them.
 *
 * A step of a peer has one access to a word or message that others use. A store that is not
 * published stays in a buffer of its peer until a step of its own, or the peer's next publication,
 * makes it visible.
 */
#ifndef TEST_LANE_MODEL_H
#define TEST_LANE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/lane.h"

#define LANE_MODEL_READERS_MAX 2
#define LANE_MODEL_SLOTS_MAX 8
#define LANE_MODEL_SLOT_LEN                                                                        \
	16 /* shorter than PROTOCOL.md allows, so that states can be copied fast */

enum lane_defect {
	NONE,
	READER_LOOKS_FIRST, /* it does not look again after it has announced that it sleeps */
	WRITER_LOOKS_FIRST,
	READER_NOT_RUNG,
	WRITER_NOT_RUNG,
	RUNG_ONCE,	   /* in a lifetime instead of once for each position */
	SLEEPERS_FIRST,	   /* the writer looks for a sleeping reader before it commits */
	POSITION_LAST,	   /* the reader looks for a sleeping writer before it stores */
	RELEASE_FIRST,	   /* before the message is read */
	COMMIT_FIRST,	   /* before the message is written */
	ONE_TOO_MANY,	   /* the writer takes one slot that was not released */
	FASTEST_READER,	   /* the writer waits for the fastest reader */
	ENDS_AT_ONCE,	   /* the reader does not look again when the writer has ended */
	CLOSES_SILENTLY,   /* the writer does not ring when it closes */
	QUARTERS_ONLY,	   /* the reader does not tell that the lane is empty */
	READER_NOT_FENCED, /* it announces with a store instead of a publication */
	WRITER_NOT_FENCED,
	POSITION_NOT_FENCED, /* the same for the position that a sleeping writer needs */
	DEATH_IGNORED,
	DEFECTS_N,
};

enum writer_step {
	W_RESERVE,
	W_MESSAGE,
	W_COMMIT,
	W_SLEEPERS, /* of reader @look */
	W_POSITION,
	W_RING,
	W_UPDATE,
	W_ANNOUNCE,
	W_SLEEP,
	W_AWAKE,
	W_CLOSE,
	W_RING_ALL,
	W_END,
};

enum reader_step {
	R_PEEK,
	R_MESSAGE,
	R_LOOK_NEXT,
	R_STORE,
	R_PUBLISH,
	R_WRITER_SLEEPS,
	R_RING,
	R_OPEN,
	R_PEEK_AGAIN,
	R_ANNOUNCE,
	R_SLEEP,
	R_AWAKE,
	R_END,
};

struct lane_model_reader {
	struct ivs_lane_reader lane;
	uint8_t step, got;
	bool announced, dead, reported, rung, told_first;
	/* Its shared words, and what its buffer has for them. */
	uint8_t position, buffered_position;
	bool sleeps, position_is_buffered, sleeps_is_buffered;
	/* What the writer knows of it. */
	uint8_t rung_at, known;
};

struct lane_model_state {
	struct ivs_lane_writer lane;
	uint8_t step, sent, look;
	bool announced, flushes, dead, reported, rung, sleeps, sleeps_is_buffered, closed, gone;
	struct lane_model_reader readers[LANE_MODEL_READERS_MAX];
	_Alignas(16) uint8_t memory[LANE_MODEL_SLOTS_MAX * LANE_MODEL_SLOT_LEN];
};

/**
 * struct lane_model - the lane and the peers of a search
 * @begun:   messages that were sent before the readers begin
 * @kills:   peers are killed
 * @failure: what was wrong first; NULL: nothing
 */
struct lane_model {
	unsigned int slots_n, readers_n, messages_n, begun;
	bool kills;
	enum lane_defect defect;
	const char *failure;
};

extern struct lane_model lane_model;

/**
 * enum lane_step - kinds of steps
 * @RUN:    the peer's next access
 * @KILL:   the peer is killed
 * @REPORT: the server reports its death, which rings the others
 * @DRAIN:  a store in its buffer becomes visible
 */
enum lane_step {
	RUN,
	KILL,
	REPORT,
	DRAIN,
	KINDS_N,
};

/** lane_model_start() - the first state */
void lane_model_start(struct lane_model_state *state);

/** lane_model_settle() - must be called for a copy of a state, which has slots of its own */
void lane_model_settle(struct lane_model_state *state);

/**
 * lane_model_step() - make a step
 * @reader: number of the reader; -1: the writer
 *
 * Return: false if there is no such step.
 */
bool lane_model_step(struct lane_model_state *state, enum lane_step kind, int reader);

/** lane_model_check_end() - check a state in which no peer has another step */
void lane_model_check_end(const struct lane_model_state *state);

void lane_model_fail(const char *why);

#endif
