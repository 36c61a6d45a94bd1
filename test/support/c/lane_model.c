/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/c/lane_model.h"

#include <string.h>

#define SLOT_LEN LANE_MODEL_SLOT_LEN
#define BASE 0xfffffffdu /* the numbers of messages wrap around soon */

struct lane_model lane_model;

void lane_model_fail(const char *why)
{
	if (!lane_model.failure)
		lane_model.failure = why;
}

/* A copy has slots of its own. */
void lane_model_settle(struct lane_model_state *state)
{
	state->lane.slots = state->memory;
	for (unsigned int i = 0; i < lane_model.readers_n; i++)
		state->readers[i].lane.slots = state->memory;
}

/* The writer */

static void next_sleeper(struct lane_model_state *state)
{
	if (++state->look < lane_model.readers_n) {
		state->step = W_SLEEPERS;
		return;
	}
	state->look = 0;
	state->step = lane_model.defect == SLEEPERS_FIRST ? W_COMMIT : W_RESERVE;
}

static void commit(struct lane_model_state *state)
{
	ivs_lane_commit(&state->lane, sizeof(uint32_t));
	state->sent++;
	state->look = 0;
	state->step = lane_model.defect == SLEEPERS_FIRST ? W_RESERVE : W_SLEEPERS;
	if (lane_model.defect == COMMIT_FIRST)
		state->step = W_MESSAGE;
}

static void write_message(struct lane_model_state *state)
{
	unsigned int number = state->sent - (lane_model.defect == COMMIT_FIRST);
	uint32_t *memory = (uint32_t *)(void *)(state->memory + 8 +
						number % lane_model.slots_n * SLOT_LEN);

	*memory = number;
	state->step = W_COMMIT;
	if (lane_model.defect == SLEEPERS_FIRST || lane_model.defect == COMMIT_FIRST)
		state->step = W_SLEEPERS;
}

/* One of the words that the writer loads when it is full or flushes; then what it does. */
static void update(struct lane_model_state *state)
{
	struct lane_model_reader *reader = &state->readers[state->look];
	unsigned int alive = 0;
	unsigned int best = lane_model.defect == FASTEST_READER ? 0 : UINT8_MAX;

	reader->known = reader->position;
	if (++state->look < lane_model.readers_n)
		return;
	state->look = 0;
	for (unsigned int i = 0; i < lane_model.readers_n; i++) {
		reader = &state->readers[i];
		if (reader->reported && lane_model.defect != DEATH_IGNORED)
			continue;
		alive++;
		if (lane_model.defect == FASTEST_READER ? reader->known > best
							: reader->known < best)
			best = reader->known;
	}
	state->gone = !alive;
	if (alive && ivs_lane_allow(&state->lane, best))
		lane_model_fail("the writer finds an impossible position");
	if (lane_model.defect == ONE_TOO_MANY)
		state->lane.limit += state->lane.limit == best + lane_model.slots_n;
	if (!alive || (state->flushes ? best == state->sent : !!ivs_lane_reserve(&state->lane)))
		state->step = state->announced || state->sleeps ? W_AWAKE
			      : !alive || state->flushes	? W_CLOSE
								: W_MESSAGE;
	else
		state->step = state->announced ? W_SLEEP : W_ANNOUNCE;
}

static void reserve(struct lane_model_state *state)
{
	state->look = 0;
	state->flushes = state->sent == lane_model.messages_n;
	if (state->flushes || !ivs_lane_reserve(&state->lane))
		state->step = W_UPDATE;
	else
		state->step = lane_model.defect == COMMIT_FIRST ? W_COMMIT : W_MESSAGE;
}

static void announce_writer(struct lane_model_state *state)
{
	state->announced = true;
	if (lane_model.defect == WRITER_NOT_FENCED)
		state->sleeps_is_buffered = true;
	else
		state->sleeps = true;
	state->step = lane_model.defect == WRITER_LOOKS_FIRST ? W_SLEEP : W_UPDATE;
}

static void wake_reader(struct lane_model_state *state)
{
	struct lane_model_reader *reader = &state->readers[state->look];

	/* It has released everything, or was rung for this position. */
	if (reader->position == state->lane.position || reader->position == reader->rung_at ||
	    (lane_model.defect == RUNG_ONCE && reader->rung_at != UINT8_MAX)) {
		next_sleeper(state);
		return;
	}
	reader->rung_at = reader->position;
	state->step = W_RING;
}

static void step_writer(struct lane_model_state *state)
{
	struct lane_model_reader *reader = &state->readers[state->look];

	switch ((enum writer_step)state->step) {
	case W_RESERVE:
		reserve(state);
		step_writer(state); /* it had no access */
		break;
	case W_MESSAGE:
		write_message(state);
		break;
	case W_COMMIT:
		commit(state);
		break;
	case W_SLEEPERS:
		state->step = W_POSITION;
		if (!reader->sleeps)
			next_sleeper(state);
		break;
	case W_POSITION:
		wake_reader(state);
		break;
	case W_RING:
		reader->rung = reader->rung || lane_model.defect != READER_NOT_RUNG;
		next_sleeper(state);
		break;
	case W_UPDATE:
		update(state);
		break;
	case W_ANNOUNCE:
		announce_writer(state);
		break;
	case W_SLEEP:
		state->rung = false;
		state->step = W_UPDATE;
		break;
	case W_AWAKE:
		state->announced = state->sleeps = state->sleeps_is_buffered = false;
		state->step = state->gone || state->flushes ? W_CLOSE : W_RESERVE;
		break;
	case W_CLOSE:
		state->closed = true;
		state->step = lane_model.defect == CLOSES_SILENTLY ? W_END : W_RING_ALL;
		break;
	case W_RING_ALL:
		for (unsigned int i = 0; i < lane_model.readers_n; i++)
			state->readers[i].rung = true;
		state->step = W_END;
		break;
	default:
		lane_model_fail("the writer runs on");
	}
}

/* A reader */

static void peek(struct lane_model_state *state, struct lane_model_reader *reader, bool again)
{
	const void *message;
	uint32_t len;

	(void)state;
	switch (ivs_lane_peek(&reader->lane, &message, &len)) {
	case 0:
		reader->step = lane_model.defect == RELEASE_FIRST ? R_PUBLISH : R_MESSAGE;
		break;
	case IVS_LANE_E_EMPTY:
		reader->step = again ? R_END : R_OPEN;
		break;
	default:
		lane_model_fail("a reader finds an impossible word");
		reader->step = R_END;
	}
}

static void read_message(struct lane_model_state *state, struct lane_model_reader *reader)
{
	uint64_t at = 8 + reader->got % lane_model.slots_n * SLOT_LEN;

	if (*(const uint32_t *)(const void *)(state->memory + at) != reader->got)
		lane_model_fail("a message is torn, lost or out of order");
	reader->got++;
	ivs_lane_release(&reader->lane);
	reader->step = R_PUBLISH;
	if (reader->lane.position & (lane_model.slots_n < 4 ? 0 : lane_model.slots_n / 4 - 1))
		reader->step = lane_model.defect == QUARTERS_ONLY ? R_STORE : R_LOOK_NEXT;
	if (lane_model.defect == POSITION_LAST)
		reader->step = R_WRITER_SLEEPS;
	if (lane_model.defect == RELEASE_FIRST)
		reader->step = reader->announced ? R_AWAKE : R_PEEK;
}

static void look_next(struct lane_model_reader *reader)
{
	const void *message;
	uint32_t len;

	reader->step = ivs_lane_peek(&reader->lane, &message, &len) ? R_PUBLISH : R_STORE;
}

static void after_release(struct lane_model_reader *reader)
{
	if (lane_model.defect == POSITION_LAST)
		reader->step = R_PUBLISH;
	else if (lane_model.defect == RELEASE_FIRST)
		reader->step = R_MESSAGE;
	else
		reader->step = reader->announced ? R_AWAKE : R_PEEK;
}

static void publish_position(struct lane_model_reader *reader)
{
	uint8_t position = (uint8_t)(reader->got + (lane_model.defect == RELEASE_FIRST));

	if (lane_model.defect == POSITION_NOT_FENCED) {
		reader->buffered_position = position;
		reader->position_is_buffered = true;
	} else {
		reader->position = position;
		reader->position_is_buffered = false;
	}
	reader->step = R_WRITER_SLEEPS;
	if (lane_model.defect == POSITION_LAST)
		reader->step = reader->announced ? R_AWAKE : R_PEEK;
}

/* A publication makes what is in the buffer visible, too. */
static void announce_reader(struct lane_model_reader *reader)
{
	reader->announced = true;
	if (lane_model.defect == READER_NOT_FENCED) {
		reader->sleeps_is_buffered = true;
	} else {
		if (reader->position_is_buffered)
			reader->position = reader->buffered_position;
		reader->position_is_buffered = false;
		reader->sleeps = true;
	}
	reader->step = lane_model.defect == READER_LOOKS_FIRST ? R_SLEEP : R_PEEK;
}

static void step_reader(struct lane_model_state *state, struct lane_model_reader *reader)
{
	switch ((enum reader_step)reader->step) {
	case R_PEEK:
		peek(state, reader, false);
		break;
	case R_MESSAGE:
		read_message(state, reader);
		break;
	case R_LOOK_NEXT:
		look_next(reader);
		break;
	case R_STORE:
		reader->buffered_position = reader->got;
		reader->position_is_buffered = true;
		reader->step = reader->announced ? R_AWAKE : R_PEEK;
		break;
	case R_PUBLISH:
		publish_position(reader);
		break;
	case R_WRITER_SLEEPS:
		reader->step = R_RING;
		if (!state->sleeps)
			after_release(reader);
		break;
	case R_RING:
		state->rung = state->rung || lane_model.defect != WRITER_NOT_RUNG;
		after_release(reader);
		break;
	case R_OPEN:
		if (state->closed || (state->reported && lane_model.defect != DEATH_IGNORED))
			reader->step = lane_model.defect == ENDS_AT_ONCE ? R_END : R_PEEK_AGAIN;
		else
			reader->step = reader->announced ? R_SLEEP : R_ANNOUNCE;
		break;
	case R_PEEK_AGAIN:
		peek(state, reader, true);
		break;
	case R_ANNOUNCE:
		announce_reader(reader);
		break;
	case R_SLEEP:
		reader->rung = false;
		reader->step = R_PEEK;
		break;
	case R_AWAKE:
		reader->announced = reader->sleeps = reader->sleeps_is_buffered = false;
		reader->step = R_PEEK;
		break;
	default:
		lane_model_fail("a reader runs on");
	}
}

/* The steps of a state: of the writer and the readers; kills; reports of deaths; buffers. */

static bool step_party(struct lane_model_state *state, enum lane_step kind,
		       struct lane_model_reader *reader)
{
	bool ended = reader ? reader->step == R_END : state->step == W_END;
	bool asleep = reader ? reader->step == R_SLEEP && !reader->rung
			     : state->step == W_SLEEP && !state->rung;
	bool *dead = reader ? &reader->dead : &state->dead;
	bool *reported = reader ? &reader->reported : &state->reported;

	switch (kind) {
	case RUN:
		if (*dead || ended || asleep)
			return false;
		if (reader)
			step_reader(state, reader);
		else
			step_writer(state);
		return true;
	case KILL:
		if (!lane_model.kills || *dead || ended)
			return false;
		*dead = true;
		return true;
	case REPORT:
		if (!*dead || *reported)
			return false;
		*reported = true;
		state->rung = true;
		for (unsigned int i = 0; i < lane_model.readers_n; i++)
			state->readers[i].rung = true;
		return true;
	default:
		break;
	}
	if (!reader) {
		if (!state->sleeps_is_buffered)
			return false;
		state->sleeps = true;
		state->sleeps_is_buffered = false;
		return true;
	}
	if (!reader->position_is_buffered && !reader->sleeps_is_buffered)
		return false;
	/* In the order in which they were stored: the position first. */
	if (reader->position_is_buffered) {
		reader->position = reader->buffered_position;
		reader->position_is_buffered = false;
	} else {
		reader->sleeps = true;
		reader->sleeps_is_buffered = false;
	}
	return true;
}

/* Forget what has no effect any more. */
static void normalize(struct lane_model_state *state)
{
	if (state->dead || state->step == W_END) {
		state->rung = state->announced = state->sleeps_is_buffered = false;
		state->look = 0;
	}
	if (state->dead)
		state->step = W_END;
	for (unsigned int i = 0; i < lane_model.readers_n; i++) {
		struct lane_model_reader *reader = &state->readers[i];

		if (state->step != W_UPDATE)
			reader->known = 0;
		if (!reader->position_is_buffered)
			reader->buffered_position = 0;
		if (state->step == W_END) {
			reader->rung_at = 0;
			reader->position = 0;
		}
		if (reader->dead) {
			reader->step = R_END;
			reader->got = 0;
			reader->lane.position = 0;
		}
		if (reader->step == R_END)
			reader->rung = reader->announced = false;
	}
}

void lane_model_check_end(const struct lane_model_state *state)
{
	bool all = true;

	for (unsigned int i = 0; i < lane_model.readers_n; i++) {
		const struct lane_model_reader *reader = &state->readers[i];

		if (!reader->dead && reader->step != R_END)
			lane_model_fail("a reader sleeps for ever");
		if (!reader->dead && reader->got != state->lane.position)
			lane_model_fail("a reader has lost messages at the end");
		all = all && !reader->dead;
	}
	if (!state->dead && state->step != W_END)
		lane_model_fail("the writer sleeps for ever");
	if (!state->dead && all && state->sent != lane_model.messages_n)
		lane_model_fail("the writer has not sent all messages");
}

bool lane_model_step(struct lane_model_state *state, enum lane_step kind, int reader)
{
	if (!step_party(state, kind, reader < 0 ? NULL : &state->readers[reader]))
		return false;
	normalize(state);
	return true;
}

void lane_model_start(struct lane_model_state *state)
{
	const struct ivs_lane_shape shape = {lane_model.slots_n, SLOT_LEN, BASE};

	memset(state, 0, sizeof(*state));
	ivs_lane_prepare(&state->lane, state->memory, &shape);
	for (unsigned int i = 0; i < lane_model.readers_n; i++) {
		state->readers[i].lane.shape = shape;
		state->readers[i].rung_at = UINT8_MAX;
	}
	lane_model_settle(state);
	for (unsigned int i = 0; i < lane_model.begun; i++) {
		write_message(state);
		commit(state);
	}
	state->step = W_RESERVE;
}
