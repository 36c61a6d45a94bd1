/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of the publisher of the test pattern, with clients that do not read, die while holding a
 * lock, or write garbage, and with other publishers.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "support/c/looking_glass.h"

/* A client that does not read blocks the others for 10 s, and is then dropped. */
Test(publisher_trouble, a_client_that_does_not_read_is_dropped)
{
	struct lg_world world;
	struct lg_client good;
	struct lg_client next;
	uint32_t late = 0;
	unsigned int frames_n = 0;
	int64_t begin_ns;

	lg_make_world(&world, false);
	cr_assert_eq(lg_subscribe(&world).bit, 0); /* this client never reads */
	good = lg_subscribe(&world);
	begin_ns = world.now_ns;
	while (!late) {
		cr_assert_eq(lg_step(&world), 0);
		late = world.report.late;
		frames_n += lg_read_all(&world, &good);
	}
	cr_assert_eq(late, 1);
	cr_assert_eq(world.report.detached, 0);
	cr_assert_leq(frames_n, 3);
	cr_assert(world.now_ns - begin_ns > 10000 * MS && world.now_ns - begin_ns < 10100 * MS);
	cr_assert_eq(lg_subs(&world), UINT64_C(0x300000001));
	cr_assert_eq(lg_get64(&world, QUEUE + 24), (uint64_t)(world.now_ns / MS) + 10000);
	for (int i = 0; i < 100; i++) {
		cr_assert_eq(lg_step(&world), 0);
		frames_n += lg_read_all(&world, &good);
	}
	cr_assert_gt(frames_n, 90);
	cr_assert_eq(lg_subscribe(&world).bit, 2, "the place is not free yet");
	for (int i = 0; i < 1100; i++) {
		cr_assert_eq(lg_step(&world), 0);
		lg_read_all(&world, &good);
	}
	next = lg_subscribe(&world);
	cr_assert_eq(next.bit, 0);
	cr_assert_eq(lg_step(&world), 0);
	cr_assert_eq(world.report.attached, 1);
	lg_end_world(&world);
}

/* Clients cannot extend this time by changing the deadline in the region. */
Test(publisher_trouble, the_deadline_is_private)
{
	struct lg_world world;
	uint32_t late = 0;

	lg_make_world(&world, false);
	lg_subscribe(&world);
	for (int i = 0; !late && i < 2000; i++) {
		cr_assert_eq(lg_step(&world), 0);
		late = world.report.late;
		lg_set64(&world, QUEUE + 432, UINT64_MAX);
	}
	cr_assert_eq(late, 1);
	lg_end_world(&world);
}

/*
 * A client dies while it holds a lock: after a second there is a new session, to which clients
 * connect.
 */
Test(publisher_trouble, a_client_dies_with_the_lock)
{
	static const size_t locks[] = {LOCK, POINTERS + 408};

	for (size_t i = 0; i < 2; i++) {
		struct lg_world world;
		struct lg_client client;
		int64_t begin_ns;

		lg_make_world(&world, false);
		client = lg_subscribe(&world);
		lg_pass(&world, 50);
		lg_set32(&world, locks[i], 1);
		begin_ns = world.now_ns;
		do {
			cr_assert_eq(lg_step(&world), 0);
			cr_assert_eq(lg_get64(&world, 16), (uint64_t)(world.now_ns / MS));
		} while (!world.report.cause);
		cr_assert_eq(world.report.cause, IVS_PUBLISHER_STUCK);
		cr_assert_eq(world.report.detached, 1);
		cr_assert(world.now_ns - begin_ns >= 1000 * MS &&
			  world.now_ns - begin_ns < 1100 * MS);
		cr_assert_neq(lg_get32(&world, 8), client.session);
		cr_assert_eq(lg_get32(&world, locks[i]), 0);
		client = lg_subscribe(&world);
		lg_pass(&world, 20);
		cr_assert_neq(lg_read_all(&world, &client), 0);
		lg_end_world(&world);
	}
}

/* A lock that is released after a short time does not end the session. */
Test(publisher_trouble, a_lock_that_is_held_for_a_moment)
{
	struct lg_world world;
	struct lg_client client;

	lg_make_world(&world, false);
	client = lg_subscribe(&world);
	for (int i = 0; i < 100; i++) {
		lg_set32(&world, LOCK, 1);
		lg_pass(&world, 900);
		lg_set32(&world, LOCK, 0);
		lg_pass(&world, 20);
		lg_read_all(&world, &client);
	}
	cr_assert_eq(lg_get32(&world, 8), client.session);
	lg_end_world(&world);
}

Test(publisher_trouble, a_region_that_is_overwritten)
{
	for (int force = 0; force < 2; force++) {
		struct lg_world world;
		struct lg_client client;
		int64_t begin_ns;

		lg_make_world(&world, force);
		lg_subscribe(&world);
		lg_pass(&world, 50);
		memset(world.memory, 0, 4096);
		begin_ns = world.now_ns;
		do {
			cr_assert_eq(lg_step(&world), 0);
		} while (!world.report.cause);
		cr_assert_eq(world.report.cause, IVS_PUBLISHER_WIPED);
		cr_assert_eq(world.report.detached, 1);
		cr_assert_leq(world.now_ns - begin_ns, force ? 10 * MS : 320 * MS);
		client = lg_subscribe(&world);
		lg_pass(&world, 20);
		cr_assert_neq(lg_read_all(&world, &client), 0);
		lg_end_world(&world);
	}
}

/* If another program starts to publish, the publisher does not disturb it. */
Test(publisher_trouble, another_publisher_takes_over)
{
	struct lg_world world;
	struct lg_world before;
	int result;

	lg_make_world(&world, false);
	lg_subscribe(&world);
	lg_pass(&world, 50);
	before = world;
	before.memory = malloc(world.len);
	cr_assert_not_null(before.memory);
	lg_set32(&world, 8, lg_get32(&world, 8) + 5);
	do {
		lg_set64(&world, 16, lg_get64(&world, 16) + 10);
		memcpy(before.memory, world.memory, world.len);
		result = lg_step(&world);
		cr_assert_arr_eq(before.memory, world.memory, world.len);
	} while (!result);
	cr_assert_eq(result, IVS_PUBLISHER_E_OTHER);
	ivs_publisher_end(&world.publisher);
	cr_assert_eq(lg_get32(&world, 0), MAGIC);
	free(before.memory);
	lg_end_world(&world);
}

/* If the values of a queue contradict each other, the session ends, and clients connect again. */
Test(publisher_trouble, an_inconsistent_queue)
{
	static const struct {
		size_t at;
		uint32_t value;
	} rows[] = {
		{QUEUE + 424, 3}, {QUEUE + 424, UINT32_MAX}, {QUEUE + 440, UINT32_MAX},
		{QUEUE + 440, 3}, {POINTERS + 424, 20},	     {POINTERS + 440, 22},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct lg_world world;
		struct lg_client client;

		lg_make_world(&world, false);
		lg_subscribe(&world);
		lg_pass(&world, 10);
		lg_set32(&world, rows[i].at, rows[i].value);
		cr_assert_eq(lg_step(&world), 0);
		cr_assert_eq(world.report.cause, IVS_PUBLISHER_BROKEN, "row %zu", i);
		client = lg_subscribe(&world);
		lg_pass(&world, 20);
		cr_assert_neq(lg_read_all(&world, &client), 0);
		lg_end_world(&world);
	}
}

/*
 * After hostile processes have written random values at random places, a client can still attach
 * and read.
 */
Test(publisher_trouble, garbage)
{
	srandom(1);
	for (int round = 0; round < 60; round++) {
		struct lg_world world;
		struct lg_client client;

		lg_make_world(&world, true);
		lg_subscribe(&world);
		for (int i = 0; i < 300; i++) {
			for (long n = random() % 8; n > 0; n--) {
				size_t room = round % 2 ? 6192 : QUEUE + 464;

				lg_set32(&world, (size_t)random() % (room / 4) * 4,
					 random() % 2 ? (uint32_t)random() * 2u : random() % 4);
			}
			cr_assert_eq(lg_step(&world), 0);
		}
		lg_pass(&world, 2100);
		lg_set64(&world, QUEUE + 416, 0);
		client = lg_subscribe(&world);
		lg_pass(&world, 30);
		cr_assert_neq(lg_read_all(&world, &client), 0, "round %d", round);
		lg_end_world(&world);
	}
}
