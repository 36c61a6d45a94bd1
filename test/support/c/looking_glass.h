/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Simulated clients of Looking Glass B7, for tests of src/looking_glass. The offsets are defined
 * separately here, so that the tests do not repeat a mistake in the code. Time is simulated.
 */
#ifndef TEST_SUPPORT_LOOKING_GLASS_H
#define TEST_SUPPORT_LOOKING_GLASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "looking_glass/publisher.h"

#define GUARD 4096u
#define MS 1000000ll
#define WIDTH 64u
#define HEIGHT 64u
#define PITCH 256u
#define QUEUE 32u /* descriptor of the frame queue */
#define POINTERS (32u + 1144u)
#define LOCK (QUEUE + 408)
#define MAGIC 0x504d474cu

/* A region between unmapped pages, so that an access outside it crashes the test. */
struct lg_world {
	uint8_t *mapping;
	uint8_t *memory;
	size_t len;
	struct ivs_publisher publisher;
	struct ivs_publisher_report report;
	int64_t now_ns;
	uint64_t taken[IVS_LGMP_CLIENTS_MAX];
};

/* A client of the frame queue. */
struct lg_client {
	unsigned int bit;
	uint32_t session;
	uint32_t read;
};
uint32_t lg_get32(const struct lg_world *world, size_t at);
uint64_t lg_get64(const struct lg_world *world, size_t at);
void lg_set32(struct lg_world *world, size_t at, uint32_t value);
void lg_set64(struct lg_world *world, size_t at, uint64_t value);
void lg_make_world(struct lg_world *world, bool force);
void lg_end_world(struct lg_world *world);

/* Let time pass until the next step is due, and run that step. Return: its result. */
int lg_step(struct lg_world *world);
void lg_pass(struct lg_world *world, int64_t ms);
uint64_t lg_subs(const struct lg_world *world);

/* Subscribe, as described in the protocol. */
struct lg_client lg_subscribe(struct lg_world *world);
void lg_unsubscribe(struct lg_world *world, const struct lg_client *client);

/* Return: the slot of the next message, or 0 if there is none. */
size_t lg_next_slot(const struct lg_world *world, const struct lg_client *client);

/*
 * Tell the publisher that the next message has been read, and remove the message if all clients
 * have read it.
 */
void lg_done(struct lg_world *world, struct lg_client *client);

/* Read all messages. Return: how many messages there were. */
unsigned int lg_read_all(struct lg_world *world, struct lg_client *client);

#endif
