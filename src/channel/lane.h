/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lane: messages from one writer to one or more readers, in slots of the writer's section (C-8 to
 * C-12 in PROTOCOL.md). Pure.
 *
 * A slot begins with a word that holds the number of its message and the message's length, and only
 * the writer stores it: one store publishes the message. A reader publishes, in its own section,
 * how many messages it has released. The writer loads that position only when the lane seems full.
 *
 * Each side trusts only its own copy of its position. What the other side wrote can end the lane
 * (IVS_LANE_E_BROKEN), and nothing else.
 */
#ifndef IVS_CHANNEL_LANE_H
#define IVS_CHANNEL_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/api.h"

#define IVS_LANE_HEAD_LEN 8u	/* the word at the start of a slot */
#define IVS_LANE_SLOT_ALIGN 64u /* a cache line */
#define IVS_LANE_SLOTS_MAX (1u << 24)
#define IVS_LANE_MESSAGE_MAX (1u << 30)

enum ivs_lane_error {
	IVS_LANE_E_EMPTY = 1, /* no message has arrived */
	IVS_LANE_E_BROKEN,    /* the other side has stored an impossible value */
	IVS_LANE_E_LAPPED,    /* the writer has overwritten messages that were not read */
};

/**
 * struct ivs_lane_shape - the size of a lane
 * @slots_n:  number of slots, a power of two, 2 to IVS_LANE_SLOTS_MAX
 * @slot_len: distance between slots in bytes, a multiple of IVS_LANE_SLOT_ALIGN; a slot holds
 *            messages of up to @slot_len - IVS_LANE_HEAD_LEN bytes
 * @base:     number before the first message's. It differs each time the memory is used for a
 *            lane, so that a reader does not mistake a later lane for its own
 */
struct ivs_lane_shape {
	uint32_t slots_n;
	uint32_t slot_len;
	uint32_t base;
};

/** ivs_lane_slot_len() - the length of slots for messages of up to @message_len bytes */
static inline uint32_t ivs_lane_slot_len(uint32_t message_len)
{
	return (message_len + IVS_LANE_HEAD_LEN + IVS_LANE_SLOT_ALIGN - 1) / IVS_LANE_SLOT_ALIGN *
	       IVS_LANE_SLOT_ALIGN;
}

/** ivs_lane_slots_for() - a number of slots that is at least @n; 0: more than a lane may have */
IVS_MUST_USE uint32_t ivs_lane_slots_for(uint32_t n);

/** ivs_lane_len() - number of bytes that the slots occupy */
static inline uint64_t ivs_lane_len(const struct ivs_lane_shape *shape)
{
	return (uint64_t)shape->slots_n * shape->slot_len;
}

/** ivs_lane_is_possible() - whether a shape that another peer wrote is within the limits */
IVS_MUST_USE bool ivs_lane_is_possible(const struct ivs_lane_shape *shape);

/**
 * struct ivs_lane_writer - the writer's side
 * @slots:    the memory of the slots
 * @position: number of messages written
 * @limit:    the writer may write up to this position
 */
struct ivs_lane_writer {
	uint8_t *slots;
	struct ivs_lane_shape shape;
	uint64_t position;
	uint64_t limit;
};

/** ivs_lane_prepare() - mark all slots as empty, and start a lane in them */
void ivs_lane_prepare(struct ivs_lane_writer *writer, void *slots,
		      const struct ivs_lane_shape *shape);

/**
 * ivs_lane_reserve_ahead() - the memory for the message that follows @ahead others
 *
 * Return: room for slot_len - IVS_LANE_HEAD_LEN bytes, aligned to 8 bytes; NULL: the lane is full.
 */
IVS_MUST_USE static inline void *ivs_lane_reserve_ahead(const struct ivs_lane_writer *writer,
							uint64_t ahead)
{
	uint64_t slot = (writer->position + ahead) & (writer->shape.slots_n - 1);

	if (writer->limit - writer->position <= ahead)
		return NULL;
	return writer->slots + slot * writer->shape.slot_len + IVS_LANE_HEAD_LEN;
}

/** ivs_lane_reserve() - the memory for the next message, as ivs_lane_reserve_ahead() */
IVS_MUST_USE static inline void *ivs_lane_reserve(const struct ivs_lane_writer *writer)
{
	return ivs_lane_reserve_ahead(writer, 0);
}

/**
 * ivs_lane_begin() - the memory for the next message of a lane whose writer waits for no reader
 *
 * Readers that look at the slot see that its former message is gone.
 */
void *ivs_lane_begin(const struct ivs_lane_writer *writer);

/**
 * ivs_lane_commit() - store the message of @len bytes in the memory that was reserved
 *
 * A caller that then looks for sleeping readers calls ivs_shared_fence() first.
 */
void ivs_lane_commit(struct ivs_lane_writer *writer, uint32_t len);

/**
 * ivs_lane_allow() - update the limit: the slowest reader has released @released messages
 *
 * Return: 0; IVS_LANE_E_BROKEN, with the limit unchanged: no reader can have gone there from its
 * former position.
 */
IVS_MUST_USE int ivs_lane_allow(struct ivs_lane_writer *writer, uint64_t released);

/**
 * struct ivs_lane_reader - a reader's side
 * @slots:    the memory of the slots, in the writer's section
 * @position: number of messages released
 */
struct ivs_lane_reader {
	const uint8_t *slots;
	struct ivs_lane_shape shape;
	uint64_t position;
};

/**
 * ivs_lane_peek() - find the next message
 * @message: set to its bytes, which the writer can change at any time
 * @len:     set to its length, at most slot_len - IVS_LANE_HEAD_LEN
 *
 * Return: 0, IVS_LANE_E_EMPTY, _LAPPED, _BROKEN. If the writer waits for its readers, _LAPPED also
 * means that the lane is broken.
 */
IVS_MUST_USE int ivs_lane_peek(const struct ivs_lane_reader *reader, const void **message,
			       uint32_t *len);

/**
 * ivs_lane_fetch() - start to move a slot that the reader will soon come to into the CPU's cache
 *
 * For a reader that the writer is ahead of: if the slot has not been written, the writer waits for
 * its cache lines.
 */
void ivs_lane_fetch(const struct ivs_lane_reader *reader);

/**
 * ivs_lane_is_intact() - whether the message that ivs_lane_peek() found has not been overwritten
 *
 * For a reader that the writer does not wait for: call it after the message was copied.
 */
IVS_MUST_USE bool ivs_lane_is_intact(const struct ivs_lane_reader *reader);

/** ivs_lane_release() - go to the next message; the caller publishes the new position */
static inline void ivs_lane_release(struct ivs_lane_reader *reader)
{
	reader->position++;
}

#endif
