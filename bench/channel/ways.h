/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ways to pass messages between two processes: floors, queues of libivshmem, and what programs
 * would use instead.
 */
#ifndef BENCH_CHANNEL_WAYS_H
#define BENCH_CHANNEL_WAYS_H

#include <stdbool.h>
#include <stddef.h>

/** way_slots() - number of messages in memory; fewer long ones, so that they fit into the cache */
static inline size_t way_slots(size_t len)
{
	return len <= 4096 ? 64 : 4;
}

/** enum side - the process that sends first, and the one that answers */
enum side { SIDE_PARENT, SIDE_CHILD };

/**
 * struct way - one way. All functions exit with a message if they fail
 * @is_floor: no implementation that checks what it reads can be faster
 * @len_max:  maximum length of a message
 * @prepare:  called before fork(2). Return: false if this system does not have the way
 * @start:    called by both processes after fork(2)
 * @send:     send a message of @len bytes; its bytes are copied from @from unless that is NULL,
 *            which ways that can write in place permit
 * @receive:  receive one; its bytes are copied to @to unless that is NULL
 * @finish:   called by both processes at the end
 */
struct way {
	const char *name;
	bool is_floor;
	size_t len_max;
	bool (*prepare)(size_t len);
	void (*start)(enum side side);
	void (*send)(const void *from, size_t len);
	void (*receive)(void *to, size_t len);
	void (*finish)(void);
};

extern const struct way ring_way;  /* a ring with a number in each slot, unchecked */
extern const struct way queue_way; /* queues of libivshmem */
extern const struct way unix_way;
extern const struct way pipe_way;
extern const struct way mqueue_way;

/** die() - print what failed, with errno, and exit */
void die(const char *what) __attribute__((noreturn));

#endif
