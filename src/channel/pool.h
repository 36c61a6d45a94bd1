/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The buffers that contain the messages of a topic, in the publisher's section (C-14 in
 * PROTOCOL.md). Each slot of the topic's lane names a buffer. There are more buffers than slots, so
 * that the publisher does not have to overwrite a buffer that a subscriber has borrowed. Pure.
 */
#ifndef IVS_CHANNEL_POOL_H
#define IVS_CHANNEL_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "ivshmem/channel.h"

#define IVS_POOL_BORROWERS_MAX IVS_TOPIC_BORROWERS_MAX
#define IVS_POOL_LOANS_MAX                                                                         \
	IVS_TOPIC_LOANS_MAX /* words of a reader that say what it has borrowed: a cache line */
#define IVS_POOL_ALIGN 64u  /* a cache line */
#define IVS_POOL_PAGE_LEN 4096u

/**
 * struct ivs_pool_shape - the size of a pool
 * @buffer_len:  distance between buffers in bytes, a multiple of IVS_POOL_ALIGN
 * @borrowers_n: number of subscribers that can borrow buffers, 0 to IVS_POOL_BORROWERS_MAX
 * @loans_n:     number of buffers that each of them can borrow, 0 to IVS_POOL_LOANS_MAX
 */
struct ivs_pool_shape {
	uint32_t buffer_len;
	uint32_t borrowers_n;
	uint32_t loans_n;
};

/** ivs_pool_buffer_len() - the length of buffers for messages of up to @message_len bytes */
static inline uint32_t ivs_pool_buffer_len(uint32_t message_len)
{
	uint32_t align = message_len < IVS_POOL_PAGE_LEN ? IVS_POOL_ALIGN : IVS_POOL_PAGE_LEN;
	uint32_t len = message_len ? message_len : 1;

	return (len + align - 1) / align * align;
}

/** ivs_pool_align() - the alignment of the pool in the section, in bytes */
static inline uint32_t ivs_pool_align(const struct ivs_pool_shape *shape)
{
	return shape->buffer_len % IVS_POOL_PAGE_LEN ? IVS_POOL_ALIGN : IVS_POOL_PAGE_LEN;
}

/** ivs_pool_buffers_n() - number of buffers of a topic with @slots_n slots */
static inline uint32_t ivs_pool_buffers_n(const struct ivs_pool_shape *shape, uint32_t slots_n)
{
	return slots_n + shape->borrowers_n * shape->loans_n;
}

/** ivs_pool_len() - number of bytes that the buffers occupy */
static inline uint64_t ivs_pool_len(const struct ivs_pool_shape *shape, uint32_t slots_n)
{
	return (uint64_t)ivs_pool_buffers_n(shape, slots_n) * shape->buffer_len;
}

/** ivs_pool_is_possible() - whether a shape that another peer wrote is within the limits */
static inline bool ivs_pool_is_possible(const struct ivs_pool_shape *shape)
{
	return shape->buffer_len && shape->buffer_len % IVS_POOL_ALIGN == 0 &&
	       shape->buffer_len <= ivs_pool_buffer_len(IVS_CHANNEL_MESSAGE_MAX) &&
	       shape->borrowers_n <= IVS_POOL_BORROWERS_MAX && shape->loans_n <= IVS_POOL_LOANS_MAX;
}

/**
 * struct ivs_pool - which buffers are free: the publisher's private memory
 * @in_slot:   the buffer of each slot, also after the slot's message is gone
 * @spares:    the buffers that no slot has, as many as can be borrowed
 * @lent_in:   for each buffer, the last round in which it was borrowed
 * @round:     differs for each buffer that is taken
 */
struct ivs_pool {
	struct ivs_pool_shape shape;
	uint32_t slots_n;
	uint32_t *in_slot;
	uint32_t *spares;
	uint64_t *lent_in;
	uint64_t round;
};

/** ivs_pool_init() - Return: false: not enough memory */
IVS_MUST_USE bool ivs_pool_init(struct ivs_pool *pool, const struct ivs_pool_shape *shape,
				uint32_t slots_n);
void ivs_pool_deinit(struct ivs_pool *pool);

/** ivs_pool_begin() - forget what ivs_pool_add_loan() was told for the former buffer */
static inline void ivs_pool_begin(struct ivs_pool *pool)
{
	pool->round++;
}

/**
 * ivs_pool_add_loan() - take note that a subscriber has borrowed a buffer
 * @word: the subscriber's word: the buffer's number + 1; other values are ignored
 */
void ivs_pool_add_loan(struct ivs_pool *pool, uint64_t word);

/**
 * ivs_pool_take() - a buffer for the next message of a slot, whose former message is gone
 *
 * At most borrowers_n x loans_n loans may have been added since ivs_pool_begin(): so one of the
 * spare buffers and the slot's former buffer is not borrowed.
 */
IVS_MUST_USE uint32_t ivs_pool_take(struct ivs_pool *pool, uint32_t slot);

/*
 * The message of a slot, as its lane has it: the number of the buffer in the lower half, the length
 * of the message in the upper half.
 */
#define IVS_POOL_ITEM_LEN 8u

static inline uint64_t ivs_pool_item(uint32_t buffer, uint32_t len)
{
	return buffer | (uint64_t)len << 32;
}

/** ivs_pool_item_is_possible() - whether an item that another peer wrote is within the limits */
static inline bool ivs_pool_item_is_possible(const struct ivs_pool_shape *shape, uint32_t slots_n,
					     uint64_t item)
{
	return (uint32_t)item < ivs_pool_buffers_n(shape, slots_n) &&
	       item >> 32 <= shape->buffer_len;
}

#endif
