/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of the publisher of the test pattern, with simulated clients that follow the protocol. */
#include <criterion/criterion.h>

#include "support/c/looking_glass.h"

Test(publisher, sizes)
{
	/*
	 * Header, rings and udata fit in two pages; each frame has one page more than its pixels
	 * need.
	 */
	cr_assert_eq(ivs_publisher_size(64, 64), 2 * 4096 + 2 * (4096 + 64 * 256));
	cr_assert_eq(ivs_publisher_size(65, 64), 2 * 4096 + 2 * (4096 + 64 * 512));
	cr_assert_eq(ivs_publisher_size(640, 480), 2 * 4096 + 2 * (4096 + 480 * 2560));
	cr_assert_eq(ivs_publisher_size(1920, 1080), 2 * 4096 + 2 * (4096 + 1080 * 7680));
	cr_assert_eq(ivs_publisher_size(16384, 16384), 2 * 4096 + 2 * (4096 + (UINT64_C(1) << 30)));
}

Test(publisher, a_region_that_is_too_small_is_refused)
{
	struct ivs_publisher_options options = {.width = 64, .height = 64, .fps = 1};
	struct ivs_publisher publisher;
	uint64_t len = ivs_publisher_size(64, 64);

	cr_assert_eq(ivs_publisher_init(&publisher, &options, NULL, len - 1), IVS_PUBLISHER_E_ROOM);
	cr_assert_eq(ivs_publisher_init(&publisher, &options, NULL, len), 0);
}

Test(publisher, header_of_a_session)
{
	static const struct {
		size_t at;
		uint32_t value;
	} rows[] = {
		{0, MAGIC},
		{4, 6},
		{16, 1000},
		{20, 0},
		{24, 2},
		{5752, 48},
		{QUEUE, 2},
		{QUEUE + 4, 3},
		{QUEUE + 12, 10000},
		{QUEUE + 16, 0},
		{QUEUE + 20, 5808},
		{LOCK, 0},
		{QUEUE + 416, 0},
		{QUEUE + 420, 0},
		{QUEUE + 424, 0},
		{QUEUE + 440, 0},
		{QUEUE + 448, 10},
		{POINTERS, 1},
		{POINTERS + 4, 21},
		{POINTERS + 12, 10000},
		{POINTERS + 20, 5856},
		{POINTERS + 448, 10},
		{5764, 20},
		{5800, 0},
	};
	struct lg_world world;

	lg_make_world(&world, false);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		cr_assert_eq(lg_get32(&world, rows[i].at), rows[i].value, "offset %zu: %x",
			     rows[i].at, lg_get32(&world, rows[i].at));
	cr_assert_arr_eq(world.memory + 5756, "KVMFR---", 8);
	cr_assert_str_eq((char *)world.memory + 5768, "ivshmem test pattern");
	lg_end_world(&world);
}

Test(publisher, a_new_session_has_another_number)
{
	struct lg_world world;
	uint32_t session;

	lg_make_world(&world, false);
	session = lg_get32(&world, 8);
	world.publisher.options.seed = 1; /* yields the same random number as before */
	ivs_publisher_start(&world.publisher, world.now_ns);
	cr_assert_neq(lg_get32(&world, 8), session);
	lg_end_world(&world);
}

/* Without a client, there are heartbeats but no frames. */
Test(publisher, heartbeat)
{
	struct lg_world world;

	lg_make_world(&world, false);
	for (int i = 0; i < 200; i++) {
		cr_assert_eq(lg_step(&world), 0);
		cr_assert_eq(lg_get64(&world, 16), (uint64_t)(world.now_ns / MS));
	}
	cr_assert_eq(world.now_ns, 3000 * MS);
	cr_assert_eq(lg_get32(&world, QUEUE + 16), 0);
	lg_end_world(&world);
}

Test(publisher, frames)
{
	static const uint32_t header[] = {1,	 0,	 1, WIDTH, HEIGHT, WIDTH, HEIGHT,
					  WIDTH, HEIGHT, 0, 64,	   PITCH,  4092,  0};
	static uint32_t expected[WIDTH * HEIGHT];
	struct ivs_pattern pattern = {WIDTH, HEIGHT, PITCH / 4};
	struct lg_world world;
	struct lg_client client;
	uint32_t last = 0;

	lg_make_world(&world, false);
	client = lg_subscribe(&world);
	for (uint32_t n = 0; n < 50; n++) {
		size_t slot;
		uint32_t frame;

		cr_assert_eq(lg_step(&world), 0);
		cr_assert_eq(world.report.attached, n ? 0 : 1);
		slot = lg_next_slot(&world, &client);
		cr_assert_neq(slot, 0);
		cr_assert_eq(lg_get32(&world, slot), 0);
		cr_assert_eq(lg_get32(&world, slot + 12), 1);
		frame = lg_get32(&world, slot + 8);
		cr_assert(frame % 4096 == 0 && frame != last);
		last = frame;
		for (size_t i = 0; i < sizeof(header) / sizeof(*header); i++)
			cr_assert_eq(lg_get32(&world, frame + 4 * i), i == 1 ? n + 1 : header[i]);
		cr_assert_eq(lg_get32(&world, frame + 1080), 0);
		cr_assert_eq(lg_get32(&world, frame + 4092), PITCH * HEIGHT);
		ivs_pattern_draw(&pattern, n, expected);
		cr_assert_arr_eq(world.memory + frame + 4096, expected, sizeof(expected));
		lg_done(&world, &client);
	}
	cr_assert_eq(lg_step(&world), 0);
	cr_assert_eq(world.taken[0], 50);
	lg_end_world(&world);
}

Test(publisher, frames_have_the_rate)
{
	struct lg_world world;
	struct lg_client client;
	unsigned int frames_n = 0;

	lg_make_world(&world, false);
	world.publisher.options.fps = 30;
	client = lg_subscribe(&world);
	for (int64_t end_ns = world.now_ns + 10000 * MS; world.now_ns < end_ns;) {
		cr_assert_eq(lg_step(&world), 0);
		frames_n += lg_read_all(&world, &client);
	}
	cr_assert(frames_n >= 299 && frames_n <= 301, "%u", frames_n);
	lg_end_world(&world);
}

/* While a client has two frames to read, no new frame overwrites either of them. */
Test(publisher, unread_frames_are_not_overwritten)
{
	struct lg_world world;
	struct lg_client client;
	size_t first;

	lg_make_world(&world, false);
	client = lg_subscribe(&world);
	lg_pass(&world, 100);
	first = lg_get32(&world, lg_next_slot(&world, &client) + 8);
	cr_assert_eq(lg_get32(&world, first + 4), 1);
	cr_assert_eq(lg_get32(&world, QUEUE + 440), 2);
	lg_pass(&world, 1000);
	cr_assert_eq(lg_get32(&world, first + 4), 1);
	cr_assert_eq(lg_read_all(&world, &client), 2);
	lg_pass(&world, 10);
	cr_assert_eq(lg_get32(&world, first + 4), 3);
	lg_end_world(&world);
}

Test(publisher, a_client_detaches)
{
	struct lg_world world;
	struct lg_client client;

	lg_make_world(&world, false);
	client = lg_subscribe(&world);
	lg_pass(&world, 10);
	cr_assert_eq(lg_read_all(&world, &client), 1);
	lg_pass(&world, 10);
	lg_unsubscribe(&world, &client);
	cr_assert_eq(lg_step(&world), 0);
	cr_assert_eq(world.report.detached, 1);
	cr_assert_eq(world.taken[0], 1, "a frame that it left unread is not counted");
	lg_pass(&world, 100);
	cr_assert_eq(lg_get32(&world, QUEUE + 440), 0);
	lg_end_world(&world);
}

Test(publisher, two_clients_are_counted_separately)
{
	struct lg_world world;
	struct lg_client clients[2];

	lg_make_world(&world, false);
	clients[0] = lg_subscribe(&world);
	clients[1] = lg_subscribe(&world);
	cr_assert_eq(clients[1].bit, 1);
	cr_assert_eq(lg_step(&world), 0);
	cr_assert_eq(world.report.attached, 3);
	for (int i = 0; i < 40; i++) {
		cr_assert_eq(lg_step(&world), 0);
		if (i == 20)
			lg_unsubscribe(&world, &clients[1]);
		lg_read_all(&world, &clients[0]);
		if (i < 20)
			lg_read_all(&world, &clients[1]);
	}
	cr_assert_eq(lg_step(&world), 0);
	cr_assert(world.taken[0] >= 40 && world.taken[1] >= 20 && world.taken[1] < 25);
	lg_end_world(&world);
}

Test(publisher, end)
{
	struct lg_world world;

	lg_make_world(&world, false);
	ivs_publisher_end(&world.publisher);
	cr_assert_eq(lg_get32(&world, 0), 0);
	lg_end_world(&world);
}
