/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/c/looking_glass.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

uint32_t lg_get32(const struct lg_world *world, size_t at)
{
	uint32_t value;

	memcpy(&value, world->memory + at, sizeof(value));
	return value;
}

uint64_t lg_get64(const struct lg_world *world, size_t at)
{
	uint64_t value;

	memcpy(&value, world->memory + at, sizeof(value));
	return value;
}

void lg_set32(struct lg_world *world, size_t at, uint32_t value)
{
	memcpy(world->memory + at, &value, sizeof(value));
}

void lg_set64(struct lg_world *world, size_t at, uint64_t value)
{
	memcpy(world->memory + at, &value, sizeof(value));
}

void lg_make_world(struct lg_world *world, bool force)
{
	struct ivs_publisher_options options = {
		.width = WIDTH, .height = HEIGHT, .fps = 100, .force = force, .seed = 1};

	memset(world, 0, sizeof(*world));
	world->now_ns = 1000 * MS;
	world->len = ivs_publisher_size(WIDTH, HEIGHT);
	cr_assert_eq(world->len % GUARD, 0);
	world->mapping = mmap(NULL, world->len + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			      -1, 0);
	cr_assert_neq(world->mapping, MAP_FAILED);
	world->memory = world->mapping + GUARD;
	cr_assert_eq(mprotect(world->memory, world->len, PROT_READ | PROT_WRITE), 0);
	cr_assert_eq(ivs_publisher_init(&world->publisher, &options, world->memory, world->len), 0);
	ivs_publisher_start(&world->publisher, world->now_ns);
}

void lg_end_world(struct lg_world *world)
{
	munmap(world->mapping, world->len + 2 * GUARD);
}

int lg_step(struct lg_world *world)
{
	int64_t due_ns = ivs_publisher_due_ns(&world->publisher);
	int result;

	cr_assert_leq(due_ns, world->now_ns + 10 * MS, "heartbeats are at most 10 ms apart");
	if (due_ns > world->now_ns)
		world->now_ns = due_ns;
	result = ivs_publisher_step(&world->publisher, world->now_ns, &world->report);
	for (unsigned int i = 0; i < IVS_LGMP_CLIENTS_MAX; i++)
		world->taken[i] += world->report.taken[i];
	return result;
}

void lg_pass(struct lg_world *world, int64_t ms)
{
	int64_t until_ns = world->now_ns + ms * MS;

	while (world->now_ns < until_ns)
		cr_assert_eq(lg_step(world), 0);
}

uint64_t lg_subs(const struct lg_world *world)
{
	return lg_get64(world, QUEUE + 416);
}

struct lg_client lg_subscribe(struct lg_world *world)
{
	uint64_t both = lg_subs(world);
	struct lg_client client = {.session = lg_get32(world, 8)};

	cr_assert_eq(lg_get32(world, 0), MAGIC);
	cr_assert_eq(lg_get32(world, LOCK), 0);
	for (unsigned int bit = 0; bit < 32; bit++) {
		if (both >> bit & 1 && lg_get64(world, QUEUE + 24 + 8 * bit) < lg_get64(world, 16))
			both &= ~(UINT64_C(0x100000001) << bit);
	}
	while ((both | both >> 32) >> client.bit & 1)
		client.bit++;
	cr_assert_lt(client.bit, 32);
	lg_set64(world, QUEUE + 24 + 8 * client.bit, 0);
	lg_set32(world, QUEUE + 280 + 4 * client.bit, 0x6b8b4567);
	lg_set64(world, QUEUE + 416, both | UINT64_C(1) << (32 + client.bit));
	lg_set32(world, QUEUE + 8, lg_get32(world, QUEUE + 8) + 1);
	client.read = lg_get32(world, QUEUE + 16);
	return client;
}

void lg_unsubscribe(struct lg_world *world, const struct lg_client *client)
{
	lg_set64(world, QUEUE + 416, lg_subs(world) & ~(UINT64_C(0x100000001) << client->bit));
}

size_t lg_next_slot(const struct lg_world *world, const struct lg_client *client)
{
	if (lg_get32(world, QUEUE + 16) == client->read)
		return 0;
	return lg_get32(world, QUEUE + 20) + (size_t)client->read * 16;
}

void lg_done(struct lg_world *world, struct lg_client *client)
{
	size_t slot = lg_next_slot(world, client);

	lg_set32(world, slot + 12, lg_get32(world, slot + 12) & ~(1u << client->bit));
	if (!lg_get32(world, slot + 12) && !lg_get32(world, LOCK) &&
	    lg_get32(world, QUEUE + 424) == client->read) {
		lg_set32(world, QUEUE + 424, (client->read + 1) % 3);
		lg_set32(world, QUEUE + 440, lg_get32(world, QUEUE + 440) - 1);
	}
	client->read = (client->read + 1) % 3;
}

unsigned int lg_read_all(struct lg_world *world, struct lg_client *client)
{
	unsigned int n = 0;

	while (lg_next_slot(world, client)) {
		lg_done(world, client);
		n++;
	}
	return n;
}
