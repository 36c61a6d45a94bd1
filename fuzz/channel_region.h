/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the fuzz targets for channels have in common: a region, two peers with a peer API that needs
 * no transport, and stores of a third peer, which is hostile.
 *
 * Input: a byte of flags; with LAYOUT, the first 40 bytes of the region; then operations of a byte
 * and its arguments: stores to any word, which another peer makes between two calls, and calls of
 * two peers that use channels, and learn of joins and leaves. Sanitizers check accesses to the
 * region. With CONFINED, the stores go to section 2 only; then what the two peers send each other
 * must arrive unchanged.
 */
#ifndef FUZZ_CHANNEL_REGION_H
#define FUZZ_CHANNEL_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "channel/channels.h"
#include "test/support/c/peer_stub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max);

#define LAYOUT 1
#define CONFINED 2
#define ROSTER 4
#define NO_VECTORS 8

#define PEERS_N 2
#define SECTIONS_N 3
#define SECTION_LEN 32768u
#define REGION_LEN (4096 + SECTIONS_N * SECTION_LEN)
#define OPS_MAX 300
#define OP_STORE 0xc0 /* operations from this one on are stores */

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

struct ivs_peer {
	int id;
	bool rung;
	struct ivs_event event;
	bool has_event;
};

static uint8_t flags;
static uint8_t *region;
static struct ivs_peer peers[PEERS_N];
static struct ivs_channels *channels[PEERS_N];

void *ivs_peer_memory(const struct ivs_peer *peer, size_t *len)
{
	(void)peer;
	if (len)
		*len = REGION_LEN;
	return region;
}

size_t ivs_peer_usable_len(const struct ivs_peer *peer)
{
	(void)peer;
	return REGION_LEN;
}

unsigned int ivs_peer_caps(const struct ivs_peer *peer)
{
	(void)peer;
	return IVS_CAP_ID | IVS_CAP_RING | IVS_CAP_WRITE | (flags & ROSTER ? IVS_CAP_ROSTER : 0) |
	       (flags & NO_VECTORS ? 0 : IVS_CAP_WAIT);
}

const char *ivs_peer_transport(const struct ivs_peer *peer)
{
	(void)peer;
	return "unix";
}

int ivs_peer_id(const struct ivs_peer *peer)
{
	return peer->id;
}

unsigned int ivs_peer_vectors(const struct ivs_peer *peer)
{
	(void)peer;
	return flags & NO_VECTORS ? 0 : 1;
}

int ivs_peer_ring(struct ivs_peer *peer, unsigned int id, unsigned int vector)
{
	(void)peer;
	(void)vector;
	CHECK(id <= 65535 && vector <= 65535);
	if (id >= PEERS_N)
		return IVS_PEER_E_ABSENT;
	peers[id].rung = true;
	return 0;
}

int ivs_doorbell_new(struct ivs_peer *peer, unsigned int id, unsigned int vector,
		     struct ivs_doorbell **out)
{
	(void)peer;
	(void)vector;
	(void)out;
	return id < PEERS_N ? 0 : IVS_PEER_E_ABSENT;
}

unsigned int ivs_peer_roster(struct ivs_peer *peer, unsigned int *ids, unsigned int n)
{
	(void)peer;
	if (n)
		ids[0] = 1;
	return n ? 1 : 0;
}

int ivs_peer_read_roster(struct ivs_peer *peer, struct ivs_roster_info *out,
			 struct ivs_roster_entry *entries, unsigned int n)
{
	(void)peer;
	(void)out;
	(void)entries;
	(void)n;
	return IVS_PEER_E_ABSENT;
}

int ivs_peer_next(struct ivs_peer *peer, int timeout_ms, struct ivs_event *event)
{
	(void)timeout_ms;
	if (peer->has_event) {
		*event = peer->event;
		peer->has_event = false;
		return 0;
	}
	if (!peer->rung)
		return IVS_PEER_E_TIMEOUT;
	peer->rung = false;
	*event = (struct ivs_event){.type = IVS_EVENT_DOORBELL};
	return 0;
}

/* No input takes longer because a call pauses. */
int nanosleep(const struct timespec *time, struct timespec *left)
{
	(void)time;
	(void)left;
	return 0;
}

/* The input; it ends with zeroes. */

struct input {
	const uint8_t *data;
	size_t size;
};

static uint64_t take(struct input *input, unsigned int n)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < n && input->size; i++, input->size--)
		value |= (uint64_t)*input->data++ << 8 * i;
	return value;
}

/* A store of the hostile peer. Most words are those of headers and endpoints. */
static void store(struct input *input)
{
	uint8_t how = (uint8_t)take(input, 1);
	uint32_t at = (uint32_t)take(input, 2);
	uint32_t section = flags & CONFINED ? 2 : how >> 6;
	uint64_t *word;

	if (section < SECTIONS_N)
		at = 4096 + section * SECTION_LEN + at % (how & 32 ? SECTION_LEN / 8 : 6 * 32) * 8;
	else
		at = at % 512 * 8;
	word = (uint64_t *)(void *)(region + at);
	switch (how & 7) {
	case 0:
		*word = take(input, 8);
		break;
	case 1:
		*word = take(input, 1);
		break;
	case 2:
		*word += take(input, 1) - 128;
		break;
	case 3:
		*word ^= UINT64_C(1) << (take(input, 1) & 63);
		break;
	case 4: /* copy a word of a header or endpoint */
		section = (uint32_t)take(input, 1) % SECTIONS_N;
		memcpy(word, region + 4096 + section * SECTION_LEN + take(input, 2) % (64 * 32) * 8,
		       8);
		break;
	case 5: /* name the lane of a sender */
		section = (uint32_t)take(input, 1) % SECTIONS_N;
		*word = section | 1u << 16;
		memcpy((uint8_t *)word + 4, region + 4096 + section * SECTION_LEN + 256 + 4, 4);
		break;
	case 6:
		*word = take(input, 4) << 32 | take(input, 1);
		break;
	default:
		*word = UINT64_MAX - take(input, 1);
	}
}

static void open_peer(unsigned int peer)
{
	const struct ivs_channels_options opts = {IVS_CHANNEL_SECTION_OF_ID, SECTIONS_N, 0};
	struct ivs_error err;

	peers[peer] = (struct ivs_peer){.id = (int)peer};
	if (ivs_channels_open(&peers[peer], &opts, &channels[peer], &err))
		CHECK(*err.text && !channels[peer]);
}

/* The operations of a target */
static void use(struct input *input, uint8_t op);
static void close_all(unsigned int peer);

static void close_peer(unsigned int peer)
{
	close_all(peer);
	ivs_channels_close(channels[peer]);
	channels[peer] = NULL;
}

static void run(struct input *input)
{
	uint8_t op = (uint8_t)take(input, 1);
	unsigned int peer = op & 1;

	if (op >= OP_STORE) {
		store(input);
	} else if (!channels[peer]) {
		open_peer(peer);
	} else if (op < 0xa8) {
		use(input, op);
	} else if (op < 0xb0) {
		(void)!ivs_channels_wait(channels[peer], op & 2 ? 1 : 0);
	} else if (op < 0xb4) {
		close_peer(peer);
	} else {
		peers[peer].event = (struct ivs_event){
			.type = op & 2 ? IVS_EVENT_JOIN : IVS_EVENT_LEAVE,
			.id = flags & CONFINED ? 2 : (unsigned int)take(input, 2),
		};
		peers[peer].has_event = true;
	}
}

static void run_input(const uint8_t *data, size_t size)
{
	struct input input = {data, size};

	region = aligned_alloc(4096, REGION_LEN);
	if (!region)
		return;
	memset(region, 0, REGION_LEN);
	flags = (uint8_t)take(&input, 1);
	for (unsigned int i = 0; flags & LAYOUT && !(flags & CONFINED) && i < 40; i++)
		region[i] = (uint8_t)take(&input, 1);
	for (unsigned int peer = 0; peer < PEERS_N; peer++)
		open_peer(peer);
	for (unsigned int i = 0; i < OPS_MAX && input.size; i++)
		run(&input);
	for (unsigned int peer = 0; peer < PEERS_N; peer++)
		close_peer(peer);
	free(region);
}

/* splitmix64 */
static unsigned int random_below(uint64_t *rng, unsigned int n)
{
	uint64_t z = (*rng += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (unsigned int)((z >> 32) * n >> 32);
}

/* Make an input, mostly of the operations in @usual. */
static inline size_t make_input(uint64_t seed, uint8_t *out, size_t max, const uint8_t *usual,
				unsigned int usual_n)
{
	size_t len = 300 + random_below(&seed, 900);
	unsigned int hostile = 1 + random_below(&seed, 8);
	static const uint8_t layout[] = {'I', 'V', 'S', 'C', 'H', 'A', 'N', 'L', 1, 0,	0, 0,
					 0,   16,  0,	0,   3,	  0,   0,   0,	 0, 0,	0, 0,
					 0,   16,  0,	0,   0,	  0,   0,   0,	 0, 128};
	size_t at = 1;

	if (len > max)
		len = max;
	out[0] = (uint8_t)(random_below(&seed, 16) & ~(random_below(&seed, 4) ? LAYOUT : 0));
	if (out[0] & LAYOUT && !(out[0] & CONFINED)) {
		memset(out + 1, 0, 40);
		memcpy(out + 1, layout, sizeof(layout));
		out[1 + random_below(&seed, 40)] = (uint8_t)random_below(&seed, 256);
		at += 40;
	}
	for (; at < len; at++) {
		if (random_below(&seed, 10) < hostile)
			out[at] = (uint8_t)random_below(&seed, 256);
		else
			out[at] = usual[random_below(&seed, usual_n)];
	}
	return len;
}

#endif
