/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The floor: a ring in shared memory whose slots carry the number of their message. Each side
 * trusts the other, and spins.
 */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "ways.h"

struct slot {
	_Alignas(64) uint64_t number;
	uint8_t bytes[];
};

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

static bool ring_prepare(size_t len)
{
	ring.slots = way_slots(len);
	ring.slot_len = (sizeof(uint64_t) + len + 63) / 64 * 64;
	ring.map_len = 2 * (ring.slots * ring.slot_len + 64);
	ring.memory[0] = mmap(NULL, ring.map_len, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (ring.memory[0] == MAP_FAILED)
		die("mmap");
	ring.memory[1] = ring.memory[0] + ring.map_len / 2;
	for (unsigned int i = 0; i < 2; i++)
		ring.taken[i] = (uint64_t *)(void *)(ring.memory[i] + ring.slots * ring.slot_len);
	ring.sent = ring.received = 0;
	ring.limit = ring.slots;
	return true;
}

static void ring_start(enum side side)
{
	ring.side = side;
}

static struct slot *slot_of(enum side sender, uint64_t position)
{
	return (struct slot *)(void *)(ring.memory[sender] + position % ring.slots * ring.slot_len);
}

static void ring_send(const void *from, size_t len)
{
	struct slot *slot = slot_of(ring.side, ring.sent);

	while (ring.sent == ring.limit)
		ring.limit = __atomic_load_n(ring.taken[ring.side], __ATOMIC_ACQUIRE) + ring.slots;
	if (from)
		memcpy(slot->bytes, from, len);
	__atomic_store_n(&slot->number, ++ring.sent, __ATOMIC_RELEASE);
}

static void ring_receive(void *to, size_t len)
{
	const struct slot *slot = slot_of(!ring.side, ring.received);

	while (__atomic_load_n(&slot->number, __ATOMIC_ACQUIRE) != ring.received + 1)
		;
	if (to)
		memcpy(to, slot->bytes, len);
	__atomic_store_n(ring.taken[!ring.side], ++ring.received, __ATOMIC_RELEASE);
}

static void ring_finish(void)
{
	munmap(ring.memory[0], ring.map_len);
}

const struct way ring_way = {
	"ring, unchecked", true,      SIZE_MAX,	    ring_prepare,
	ring_start,	   ring_send, ring_receive, ring_finish,
};
