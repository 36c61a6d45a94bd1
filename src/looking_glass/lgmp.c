/* SPDX-License-Identifier: BSD-3-Clause */
#include "looking_glass/lgmp.h"

#include <string.h>

#define MAGIC 0x504d474cu

/* Offsets in the region. */
#define MAGIC_AT 0
#define VERSION_AT 4
#define SESSION_AT 8
#define TIMESTAMP_AT 16
#define QUEUES_N_AT 24
#define QUEUES_AT 32
#define UDATA_LEN_AT 5752
#define UDATA_AT 5756

/* Offsets of the magic and the heartbeat in later development versions. */
#define LATER_MAGIC_AT 8064
#define LATER_TIMESTAMP_AT 0

/* Offsets in a queue's descriptor. */
#define QUEUE_LEN 1144
#define Q_ID 0
#define Q_SLOTS_N 4
#define Q_MAX_TIME 12
#define Q_POSITION 16
#define Q_RING 20
#define Q_DEADLINES 24
#define Q_CLIENT_IDS 280
#define Q_LOCK 408
#define Q_SUBSCRIBERS 416 /* low half: those marked as bad; high half: all */
#define Q_START 424
#define Q_MESSAGE_DEADLINE 432
#define Q_COUNT 440
#define Q_MESSAGES_FREE 448
#define MESSAGES_N 10

/* Offsets in a slot. */
#define SLOT_LEN 16
#define S_UDATA 0
#define S_LEN 4
#define S_OFFSET 8
#define S_PENDING 12

#define LOCK_TRIES 256 /* a client holds the lock for less than a microsecond */

static uint32_t *word32(const struct ivs_lgmp *lgmp, size_t at)
{
	return (uint32_t *)(void *)(lgmp->memory + at);
}

static uint64_t *word64(const struct ivs_lgmp *lgmp, size_t at)
{
	return (uint64_t *)(void *)(lgmp->memory + at);
}

static uint32_t load32(const struct ivs_lgmp *lgmp, size_t at)
{
	return __atomic_load_n(word32(lgmp, at), __ATOMIC_SEQ_CST);
}

static uint64_t load64(const struct ivs_lgmp *lgmp, size_t at)
{
	return __atomic_load_n(word64(lgmp, at), __ATOMIC_SEQ_CST);
}

static void store32(const struct ivs_lgmp *lgmp, size_t at, uint32_t value)
{
	__atomic_store_n(word32(lgmp, at), value, __ATOMIC_SEQ_CST);
}

static void store64(const struct ivs_lgmp *lgmp, size_t at, uint64_t value)
{
	__atomic_store_n(word64(lgmp, at), value, __ATOMIC_SEQ_CST);
}

static size_t queue_at(unsigned int i)
{
	return QUEUES_AT + (size_t)i * QUEUE_LEN;
}

static size_t slot_at(const struct ivs_lgmp_queue *queue, uint32_t slot)
{
	return queue->ring + (size_t)slot * SLOT_LEN;
}

/* The rings follow the header and udata. */
static size_t rings_at(const struct ivs_lgmp *lgmp)
{
	return (IVS_LGMP_HEADER_LEN + (size_t)lgmp->udata_len + 3) & ~(size_t)3;
}

size_t ivs_lgmp_used(const struct ivs_lgmp *lgmp)
{
	size_t at = rings_at(lgmp);

	for (unsigned int i = 0; i < lgmp->queues_n; i++)
		at += (size_t)lgmp->queues[i].slots_n * SLOT_LEN;
	return at;
}

/* Set up a descriptor. Clients of an earlier session can still use it, so unlock it last. */
static void queue_setup(struct ivs_lgmp *lgmp, unsigned int i, uint32_t ring)
{
	struct ivs_lgmp_queue *queue = &lgmp->queues[i];
	size_t at = queue_at(i);

	queue->ring = ring;
	queue->position = 0;
	queue->start = 0;
	memset(queue->unread, 0, sizeof(queue->unread));
	store64(lgmp, at + Q_SUBSCRIBERS, 0);
	for (size_t word = 0; word < QUEUE_LEN; word += 4) {
		if (word < Q_LOCK || word >= Q_SUBSCRIBERS)
			store32(lgmp, at + word, 0);
	}
	store32(lgmp, at + Q_ID, queue->id);
	store32(lgmp, at + Q_SLOTS_N, queue->slots_n);
	store32(lgmp, at + Q_MAX_TIME, lgmp->max_time_ms);
	store32(lgmp, at + Q_RING, ring);
	store32(lgmp, at + Q_MESSAGES_FREE, MESSAGES_N);
	for (uint32_t slot = 0; slot < queue->slots_n; slot++) {
		for (size_t word = 0; word < SLOT_LEN; word += 4)
			store32(lgmp, slot_at(queue, slot) + word, 0);
	}
	store32(lgmp, at + Q_LOCK, 0);
}

void ivs_lgmp_setup(struct ivs_lgmp *lgmp, uint32_t session, uint64_t now_ms)
{
	size_t ring = rings_at(lgmp);

	store32(lgmp, MAGIC_AT, 0);
	if (session == load32(lgmp, SESSION_AT) || session == lgmp->session)
		session++;
	if (session == load32(lgmp, SESSION_AT) || session == lgmp->session)
		session++;
	lgmp->session = session;
	store32(lgmp, SESSION_AT, session);
	ivs_lgmp_beat(lgmp, now_ms);
	store32(lgmp, VERSION_AT, IVS_LGMP_VERSION);
	store32(lgmp, QUEUES_N_AT, 0);
	for (unsigned int i = 0; i < lgmp->queues_n; i++) {
		queue_setup(lgmp, i, (uint32_t)ring);
		ring += (size_t)lgmp->queues[i].slots_n * SLOT_LEN;
	}
	store32(lgmp, UDATA_LEN_AT, lgmp->udata_len);
	memcpy(lgmp->memory + UDATA_AT, lgmp->udata, lgmp->udata_len);
	store32(lgmp, QUEUES_N_AT, lgmp->queues_n);
}

void ivs_lgmp_show(const struct ivs_lgmp *lgmp)
{
	store32(lgmp, MAGIC_AT, MAGIC);
}

void ivs_lgmp_hide(const struct ivs_lgmp *lgmp)
{
	store32(lgmp, MAGIC_AT, 0);
}

/* Return: whether the fields of a descriptor that only the publisher writes are unchanged. */
static bool queue_is_own(const struct ivs_lgmp *lgmp, unsigned int i)
{
	const struct ivs_lgmp_queue *queue = &lgmp->queues[i];
	size_t at = queue_at(i);

	return load32(lgmp, at + Q_ID) == queue->id &&
	       load32(lgmp, at + Q_SLOTS_N) == queue->slots_n &&
	       load32(lgmp, at + Q_RING) == queue->ring &&
	       load32(lgmp, at + Q_POSITION) == queue->position;
}

bool ivs_lgmp_is_own(const struct ivs_lgmp *lgmp)
{
	bool own = load32(lgmp, MAGIC_AT) == MAGIC &&
		   load32(lgmp, VERSION_AT) == IVS_LGMP_VERSION &&
		   load32(lgmp, SESSION_AT) == lgmp->session &&
		   load64(lgmp, TIMESTAMP_AT) == lgmp->timestamp &&
		   load32(lgmp, QUEUES_N_AT) == lgmp->queues_n &&
		   load32(lgmp, UDATA_LEN_AT) == lgmp->udata_len &&
		   !memcmp(lgmp->memory + UDATA_AT, lgmp->udata, lgmp->udata_len);

	for (unsigned int i = 0; i < lgmp->queues_n && own; i++)
		own = queue_is_own(lgmp, i);
	return own;
}

void ivs_lgmp_beat(struct ivs_lgmp *lgmp, uint64_t now_ms)
{
	lgmp->timestamp = now_ms;
	store64(lgmp, TIMESTAMP_AT, now_ms);
}

static bool queue_lock(const struct ivs_lgmp *lgmp, unsigned int i)
{
	uint32_t *lock = word32(lgmp, queue_at(i) + Q_LOCK);

	for (unsigned int tries = 0; tries < LOCK_TRIES; tries++) {
		uint32_t unlocked = 0;

		if (__atomic_compare_exchange_n(lock, &unlocked, 1, false, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			return true;
	}
	return false;
}

static void queue_unlock(const struct ivs_lgmp *lgmp, unsigned int i)
{
	store32(lgmp, queue_at(i) + Q_LOCK, 0);
}

/*
 * Get start and count, which clients also change when they have read a message.
 * Return: whether they agree with each other and with the private position.
 */
static bool queue_state(const struct ivs_lgmp *lgmp, unsigned int i, uint32_t *start,
			uint32_t *count)
{
	const struct ivs_lgmp_queue *queue = &lgmp->queues[i];

	*start = load32(lgmp, queue_at(i) + Q_START);
	*count = load32(lgmp, queue_at(i) + Q_COUNT);
	return *start < queue->slots_n && *count < queue->slots_n &&
	       (*start + *count) % queue->slots_n == queue->position;
}

/*
 * Set the deadline of the oldest message, which is in @slot. Clients of a queue write this deadline
 * but never read it.
 */
static void queue_set_deadline(struct ivs_lgmp *lgmp, unsigned int i, uint32_t slot,
			       uint64_t now_ms)
{
	struct ivs_lgmp_queue *queue = &lgmp->queues[i];

	queue->start = slot;
	queue->deadline_ms = now_ms + lgmp->max_time_ms;
	store64(lgmp, queue_at(i) + Q_MESSAGE_DEADLINE, queue->deadline_ms);
}

static void queue_put_state(const struct ivs_lgmp *lgmp, unsigned int i, uint32_t start,
			    uint32_t count)
{
	store32(lgmp, queue_at(i) + Q_START, start);
	store32(lgmp, queue_at(i) + Q_COUNT, count);
}

static uint32_t subscribers_of(uint64_t both)
{
	return (uint32_t)(both >> 32) & ~(uint32_t)both;
}

uint32_t ivs_lgmp_subscribers(const struct ivs_lgmp *lgmp, unsigned int i)
{
	return subscribers_of(load64(lgmp, queue_at(i) + Q_SUBSCRIBERS));
}

uint32_t ivs_lgmp_client_id(const struct ivs_lgmp *lgmp, unsigned int i, unsigned int client)
{
	return load32(lgmp, queue_at(i) + Q_CLIENT_IDS + (size_t)client * 4);
}

/* Count which clients have read the message in a slot since the last call. */
static void slot_count(struct ivs_lgmp *lgmp, unsigned int i, uint32_t slot,
		       struct ivs_lgmp_progress *out)
{
	struct ivs_lgmp_queue *queue = &lgmp->queues[i];
	uint32_t pending = load32(lgmp, slot_at(queue, slot) + S_PENDING);
	uint32_t taken = queue->unread[slot] & ~pending;

	queue->unread[slot] &= pending;
	for (; taken; taken &= taken - 1)
		out->taken[__builtin_ctz(taken)]++;
}

int ivs_lgmp_post(struct ivs_lgmp *lgmp, unsigned int i, const struct ivs_lgmp_message *message,
		  uint64_t now_ms)
{
	struct ivs_lgmp_queue *queue = &lgmp->queues[i];
	size_t at = slot_at(queue, queue->position);
	uint32_t pending;
	uint32_t start;
	uint32_t count;
	int result = 0;

	if (!queue_lock(lgmp, i))
		return IVS_LGMP_E_BUSY;
	pending = ivs_lgmp_subscribers(lgmp, i);
	if (!queue_state(lgmp, i, &start, &count)) {
		result = IVS_LGMP_E_BROKEN;
	} else if (!pending) {
		result = IVS_LGMP_E_NOBODY;
	} else if (count == queue->slots_n - 1) {
		result = IVS_LGMP_E_FULL;
	} else {
		store32(lgmp, at + S_UDATA, message->udata);
		store32(lgmp, at + S_LEN, message->len);
		store32(lgmp, at + S_OFFSET, message->offset);
		store32(lgmp, at + S_PENDING, pending);
		queue->unread[queue->position] = pending;
		if (!count)
			queue_set_deadline(lgmp, i, queue->position, now_ms);
		queue_put_state(lgmp, i, start, count + 1);
		queue->position = (queue->position + 1) % queue->slots_n;
		store32(lgmp, queue_at(i) + Q_POSITION, queue->position);
	}
	queue_unlock(lgmp, i);
	return result;
}

/* Mark clients as bad. They stay subscribed; new clients may replace them after @until_ms. */
static void mark_bad(const struct ivs_lgmp *lgmp, unsigned int i, uint32_t late, uint64_t until_ms)
{
	size_t at = queue_at(i);

	for (uint32_t left = late; left; left &= left - 1)
		store64(lgmp, at + Q_DEADLINES + (size_t)__builtin_ctz(left) * 8, until_ms);
	__atomic_fetch_or(word64(lgmp, at + Q_SUBSCRIBERS), late, __ATOMIC_SEQ_CST);
}

/* With the lock held, remove messages from the front of the queue. Return: how many are left. */
static uint32_t queue_retire(struct ivs_lgmp *lgmp, unsigned int i, uint32_t start, uint32_t count,
			     uint64_t now_ms, struct ivs_lgmp_progress *out)
{
	struct ivs_lgmp_queue *queue = &lgmp->queues[i];

	if (start != queue->start)
		queue_set_deadline(lgmp, i, start, now_ms);
	while (count > 0) {
		uint32_t late;

		slot_count(lgmp, i, start, out);
		late = queue->unread[start] & ivs_lgmp_subscribers(lgmp, i);
		if (late && now_ms <= queue->deadline_ms)
			break;
		if (late) {
			mark_bad(lgmp, i, late, now_ms + lgmp->max_time_ms);
			store32(lgmp, slot_at(queue, start) + S_PENDING, 0);
			out->late |= late;
		}
		queue->unread[start] = 0;
		start = (start + 1) % queue->slots_n;
		count--;
		queue_set_deadline(lgmp, i, start, now_ms);
	}
	queue_put_state(lgmp, i, start, count);
	return count;
}

int ivs_lgmp_process(struct ivs_lgmp *lgmp, unsigned int i, uint64_t now_ms,
		     struct ivs_lgmp_progress *out)
{
	struct ivs_lgmp_queue *queue = &lgmp->queues[i];
	uint32_t start;
	uint32_t count;
	int result = 0;

	memset(out, 0, sizeof(*out));
	out->subscribed = ivs_lgmp_subscribers(lgmp, i);
	out->waiting_n = queue->slots_n - 1;
	for (uint32_t slot = 0; slot < queue->slots_n; slot++)
		slot_count(lgmp, i, slot, out);
	if (!queue_lock(lgmp, i))
		return IVS_LGMP_E_BUSY;
	if (queue_state(lgmp, i, &start, &count))
		out->waiting_n = queue_retire(lgmp, i, start, count, now_ms, out);
	else
		result = IVS_LGMP_E_BROKEN;
	out->subscribed = ivs_lgmp_subscribers(lgmp, i);
	queue_unlock(lgmp, i);
	return result;
}

bool ivs_lgmp_find_heartbeat(const void *memory, size_t len, uint64_t *out)
{
	/* This function only loads; the cast serves the functions above. */
	const struct ivs_lgmp lgmp = {.memory = (uint8_t *)(uintptr_t)memory, .len = len};

	if (len >= IVS_LGMP_HEADER_LEN && load32(&lgmp, MAGIC_AT) == MAGIC) {
		*out = load64(&lgmp, TIMESTAMP_AT);
		return true;
	}
	if (len >= LATER_MAGIC_AT + 4 && load32(&lgmp, LATER_MAGIC_AT) == MAGIC) {
		*out = load64(&lgmp, LATER_TIMESTAMP_AT);
		return true;
	}
	return false;
}
