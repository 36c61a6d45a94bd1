/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor: a ring in shared memory whose slots carry the number of their message. Each side
 * trusts the other, and spins. There is one ring for each way to copy that the CPU has.
 */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "process.h"
#include "ways.h"

#define COPIED_LONG_MIN (1 << 20) /* other copies are no use for shorter messages */

struct slot {
	_Alignas(64) uint64_t number;
	uint8_t bytes[];
};

typedef void copy_fn(void *to, const void *from, size_t len);

static struct {
	uint8_t *memory[2]; /* indexed by the side that sends */
	uint64_t *taken[2]; /* how many messages the other side has read */
	size_t slot_len;
	size_t map_len;
	size_t slots;
	enum side side;
	uint64_t sent;
	uint64_t received;
	uint64_t limit;
} ring;

static const char *ring_prepare(size_t len)
{
	ring.slots = way_slots(len);
	ring.slot_len = (sizeof(uint64_t) + len + 63) / 64 * 64;
	ring.map_len = 2 * (ring.slots * ring.slot_len + 64);
	ring.memory[0] = shared_memory(ring.map_len);
	ring.memory[1] = ring.memory[0] + ring.map_len / 2;
	for (unsigned int i = 0; i < 2; i++)
		ring.taken[i] = (uint64_t *)(void *)(ring.memory[i] + ring.slots * ring.slot_len);
	ring.sent = ring.received = 0;
	ring.limit = ring.slots;
	return NULL;
}

static void ring_start(enum side side)
{
	ring.side = side;
}

static struct slot *slot_of(enum side sender, uint64_t position)
{
	return (struct slot *)(void *)(ring.memory[sender] + position % ring.slots * ring.slot_len);
}

static inline void send_by(copy_fn *copy, const void *from, size_t len)
{
	struct slot *slot = slot_of(ring.side, ring.sent);

	while (ring.sent == ring.limit)
		ring.limit = __atomic_load_n(ring.taken[ring.side], __ATOMIC_ACQUIRE) + ring.slots;
	if (from)
		copy(slot->bytes, from, len);
	__atomic_store_n(&slot->number, ++ring.sent, __ATOMIC_RELEASE);
}

static inline void receive_by(copy_fn *copy, void *to, size_t len)
{
	const struct slot *slot = slot_of(!ring.side, ring.received);

	while (__atomic_load_n(&slot->number, __ATOMIC_ACQUIRE) != ring.received + 1)
		;
	if (to)
		copy(to, slot->bytes, len);
	__atomic_store_n(ring.taken[!ring.side], ++ring.received, __ATOMIC_RELEASE);
}

static void ring_clean(void)
{
	munmap(ring.memory[0], ring.map_len);
}

static inline void copy_plain(void *to, const void *from, size_t len)
{
	memcpy(to, from, len);
}

static void ring_send(const void *from, size_t len)
{
	send_by(copy_plain, from, len);
}

static void ring_receive(void *to, size_t len)
{
	receive_by(copy_plain, to, len);
}

#ifdef __x86_64__
static const char *other_prepare(size_t len)
{
	return ring_prepare(len);
}

static inline void copy_nt(void *to, const void *from, size_t len)
{
	uint8_t *out = to;
	const uint8_t *in = from;
	size_t head = (64 - (uintptr_t)out % 64) % 64;

	if (head > len)
		head = len;
	memcpy(out, in, head);
	for (out += head, in += head, len -= head; len >= 64; out += 64, in += 64, len -= 64) {
		for (unsigned int i = 0; i < 64; i += 16)
			_mm_stream_si128((__m128i *)(void *)(out + i),
					 _mm_loadu_si128((const __m128i *)(const void *)(in + i)));
	}
	memcpy(out, in, len);
	_mm_sfence();
}

static inline void copy_rep(void *to, const void *from, size_t len)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
}
#else
static const char *other_prepare(size_t len)
{
	(void)len;
	return "not written for this architecture";
}

#define copy_nt copy_plain
#define copy_rep copy_plain
#endif

static void ring_nt_send(const void *from, size_t len)
{
	send_by(copy_nt, from, len);
}

static void ring_nt_receive(void *to, size_t len)
{
	receive_by(copy_nt, to, len);
}

static void ring_rep_send(const void *from, size_t len)
{
	send_by(copy_rep, from, len);
}

static void ring_rep_receive(void *to, size_t len)
{
	receive_by(copy_rep, to, len);
}

const struct way ring_way = {
	.name = "ring, unchecked",
	.kind = WAY_FLOOR,
	.spins = true,
	.in_place = true,
	.len_max = SIZE_MAX,
	.prepare = ring_prepare,
	.start = ring_start,
	.send = ring_send,
	.receive = ring_receive,
	.clean = ring_clean,
};

const struct way ring_nt_way = {
	.name = "ring, non-temporal",
	.kind = WAY_FLOOR,
	.spins = true,
	.len_min = COPIED_LONG_MIN,
	.len_max = SIZE_MAX,
	.prepare = other_prepare,
	.start = ring_start,
	.send = ring_nt_send,
	.receive = ring_nt_receive,
	.clean = ring_clean,
};

const struct way ring_rep_way = {
	.name = "ring, rep movsb",
	.kind = WAY_FLOOR,
	.spins = true,
	.len_min = COPIED_LONG_MIN,
	.len_max = SIZE_MAX,
	.prepare = other_prepare,
	.start = ring_start,
	.send = ring_rep_send,
	.receive = ring_rep_receive,
	.clean = ring_clean,
};
