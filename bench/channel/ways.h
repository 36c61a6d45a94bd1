/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ways to pass messages between two processes: floors, channels of libivshmem, and what programs
 * would use instead.
 */
#ifndef BENCH_CHANNEL_WAYS_H
#define BENCH_CHANNEL_WAYS_H

#include <stdbool.h>
#include <stddef.h>

/** way_slots() - number of messages in memory; fewer long ones, so that they fit into the cache */
static inline size_t way_slots(size_t len)
{
	return len <= 4096 ? 64 : len <= 65536 ? 16 : 4;
}

/** enum side - the process that sends first, and the one that answers */
enum side { SIDE_ASKS, SIDE_ANSWERS };

/**
 * enum way_kind
 * @WAY_FLOOR: checks nothing of what it reads, so that no channel is expected to be faster
 * @WAY_OWN:   a channel of libivshmem
 * @WAY_OTHER: what programs would use instead. If it fails, its row says so
 */
enum way_kind { WAY_FLOOR, WAY_OWN, WAY_OTHER };

/**
 * struct way - one way. All functions end the process with a message if they fail
 * @spins:      it does not sleep while it waits
 * @trips_only: many messages in one direction would be lost, or have no payload: measure only round
 *              trips
 * @in_place:   send() and receive() accept NULL, and do not touch the payload then
 * @rings:      it uses doorbells, which can be counted
 * @len_min:    shortest and
 * @len_max:    longest message with which the way is measured
 * @prepare:    called by the parent of the two processes. Return: NULL, or why this system does not
 *              have the way
 * @start:      called by both processes
 * @send:       send a message of @len bytes, which are copied from @from
 * @receive:    receive one; its bytes are copied to @to
 * @finish:     called by both processes at the end; may be NULL
 * @clean:      called by the parent after the two processes have ended; may be NULL
 */
struct way {
	const char *name;
	enum way_kind kind;
	bool spins;
	bool trips_only;
	bool in_place;
	bool rings;
	size_t len_min;
	size_t len_max;
	const char *(*prepare)(size_t len);
	void (*start)(enum side side);
	void (*send)(const void *from, size_t len);
	void (*receive)(void *to, size_t len);
	void (*finish)(void);
	void (*clean)(void);
};

extern const struct way ring_way;     /* a ring with a number in each slot, unchecked */
extern const struct way ring_nt_way;  /* the same, with non-temporal copies */
extern const struct way ring_rep_way; /* the same, with rep movsb */
extern const struct way line_way;     /* ping-pong of one cache line */
extern const struct way eventfd_way;  /* ping-pong of two eventfds */
extern const struct way queue_way;    /* queues of libivshmem that spin */
extern const struct way queue_copy_way;
extern const struct way queue_sleep_way; /* queues of libivshmem that wait for doorbells */
extern const struct way stream_way;
extern const struct way stream_sleep_way;
extern const struct way topic_way;
extern const struct way topic_sleep_way;
extern const struct way unix_way;
extern const struct way pipe_way;
extern const struct way mqueue_way;
extern const struct way zeromq_way;
extern const struct way iceoryx_way;

#endif
