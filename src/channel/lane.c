/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/lane.h"

#include "channel/shared.h"

#define UNFINISHED UINT32_MAX /* in place of the length, while the message is being written */

/*
 * How many slots ahead a side starts to move cache lines. For short messages, the time that a line
 * takes from one CPU to another decides, and several lines can move at the same time.
 */
#define AHEAD 4

/*
 * The word of a slot: the number of the message in the upper half, its length in the lower. The
 * number of the message at position p is base + 1 + p, modulo 2^32. An unused slot has the number
 * that its message would have had one lap earlier.
 */
static uint32_t number_at(const struct ivs_lane_shape *shape, uint64_t position)
{
	return shape->base + 1 + (uint32_t)position;
}

static uint64_t *word_at(uint8_t *slots, const struct ivs_lane_shape *shape, uint64_t position)
{
	return (uint64_t *)(void *)(slots +
				    (position & (shape->slots_n - 1)) * (uint64_t)shape->slot_len);
}

static const uint64_t *word_of(const struct ivs_lane_reader *reader, uint64_t position)
{
	return (const uint64_t *)(const void *)(reader->slots +
						(position & (reader->shape.slots_n - 1)) *
							(uint64_t)reader->shape.slot_len);
}

static const uint64_t *next_word(const struct ivs_lane_reader *reader)
{
	return word_of(reader, reader->position);
}

static const void *second_line(const uint64_t *word)
{
	return word + IVS_LANE_SLOT_ALIGN / sizeof(*word);
}

uint32_t ivs_lane_slots_for(uint32_t n)
{
	uint32_t slots_n = 2;

	while (slots_n < n && slots_n <= IVS_LANE_SLOTS_MAX)
		slots_n *= 2;
	return slots_n <= IVS_LANE_SLOTS_MAX ? slots_n : 0;
}

bool ivs_lane_is_possible(const struct ivs_lane_shape *shape)
{
	return shape->slots_n >= 2 && shape->slots_n <= IVS_LANE_SLOTS_MAX &&
	       !(shape->slots_n & (shape->slots_n - 1)) && shape->slot_len >= IVS_LANE_SLOT_ALIGN &&
	       shape->slot_len % IVS_LANE_SLOT_ALIGN == 0 &&
	       shape->slot_len <= ivs_lane_slot_len(IVS_LANE_MESSAGE_MAX);
}

void ivs_lane_prepare(struct ivs_lane_writer *writer, void *slots,
		      const struct ivs_lane_shape *shape)
{
	*writer = (struct ivs_lane_writer){
		.slots = slots, .shape = *shape, .limit = shape->slots_n};
	ivs_shared_begin_reuse();
	for (uint64_t i = 0; i < shape->slots_n; i++)
		ivs_shared_store(word_at(slots, shape, i),
				 (uint64_t)(number_at(shape, i) - shape->slots_n) << 32);
}

void *ivs_lane_begin(const struct ivs_lane_writer *writer)
{
	uint64_t *word = word_at(writer->slots, &writer->shape, writer->position);
	uint64_t number = number_at(&writer->shape, writer->position);

	ivs_shared_store(word, number << 32 | UNFINISHED);
	/* The fence orders the store before those of the message. */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	return word + 1;
}

static void will_write(const struct ivs_lane_writer *writer)
{
	const uint64_t *word = word_at(writer->slots, &writer->shape, writer->position + AHEAD);

	ivs_shared_will_store(word);
	if (writer->shape.slot_len > IVS_LANE_SLOT_ALIGN)
		ivs_shared_will_store(second_line(word));
}

void ivs_lane_commit(struct ivs_lane_writer *writer, uint32_t len)
{
	uint64_t number = number_at(&writer->shape, writer->position);

	if (writer->limit - writer->position > AHEAD)
		will_write(writer);
	ivs_shared_store(word_at(writer->slots, &writer->shape, writer->position),
			 number << 32 | len);
	writer->position++;
}

int ivs_lane_allow(struct ivs_lane_writer *writer, uint64_t released)
{
	uint64_t before = writer->limit - writer->shape.slots_n;

	if (released - before > writer->position - before)
		return IVS_LANE_E_BROKEN;
	writer->limit = released + writer->shape.slots_n;
	return 0;
}

int ivs_lane_peek(const struct ivs_lane_reader *reader, const void **message, uint32_t *len)
{
	const uint64_t *word = next_word(reader);
	uint64_t value = ivs_shared_load(word);
	uint32_t ahead = (uint32_t)(value >> 32) - number_at(&reader->shape, reader->position);

	if (ahead == -reader->shape.slots_n) {
		/* The writer stores this line before the word, so both lines move at once. */
		if (reader->shape.slot_len > IVS_LANE_SLOT_ALIGN)
			ivs_shared_will_load(second_line(word));
		return IVS_LANE_E_EMPTY;
	}
	if (ahead)
		return ahead % reader->shape.slots_n || ahead > INT32_MAX ? IVS_LANE_E_BROKEN
									  : IVS_LANE_E_LAPPED;
	if ((uint32_t)value == UNFINISHED)
		return IVS_LANE_E_EMPTY;
	if ((uint32_t)value > reader->shape.slot_len - IVS_LANE_HEAD_LEN)
		return IVS_LANE_E_BROKEN;
	*message = word + 1;
	*len = (uint32_t)value;
	return 0;
}

void ivs_lane_fetch(const struct ivs_lane_reader *reader)
{
	const uint64_t *word = word_of(reader, reader->position + AHEAD);

	ivs_shared_will_load(word);
	if (reader->shape.slot_len > IVS_LANE_SLOT_ALIGN)
		ivs_shared_will_load(second_line(word));
}

bool ivs_lane_is_intact(const struct ivs_lane_reader *reader)
{
	/* The fence orders the loads of the copy before the load of the word. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return (uint32_t)(ivs_shared_load(next_word(reader)) >> 32) ==
	       number_at(&reader->shape, reader->position);
}
