/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Perform the same random accesses to the PCI function and to a naive model of it
 * (support/c/device_naive.h), for many configurations. Both must return the same results. Sometimes
 * load the saved state into another function, and sometimes a damaged state, which must change
 * nothing if it is refused.
 *
 * The accesses depend only on the seed and the index of the configuration.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/c/device_naive.h"

#define BYTES_MAX 24
#define CANARY 0x50 /* the byte after the buffer, to detect a write past its end */
#define MEG (UINT64_C(1) << 20)

static const uint8_t uuid[IVS_PCI_UUID_LEN] = {1, 2, 3,	 4,  5,	 6,  7,	 8,
					       0, 0, 11, 12, 13, 14, 15, 16};

static const struct ivs_pci_function_options kinds[] = {
	{.revision = 1, .memory_len = MEG},
	{.revision = 1, .vectors_n = 1, .memory_len = 4096},
	{.revision = 1, .vectors_n = 2, .memory_len = MEG << 20},
	{.revision = 1, .vectors_n = 64, .memory_len = MEG, .name = "db"},
	{.revision = 1, .vectors_n = 65, .memory_len = MEG, .uuid = uuid},
	{.revision = 1, .vectors_n = 127, .memory_len = MEG},
	{.revision = 1, .vectors_n = 128, .memory_len = MEG},
	{.revision = 1, .vectors_n = 129, .memory_len = MEG},
	{.revision = 1, .vectors_n = 255, .memory_len = UINT64_C(1) << 63},
	{.revision = 1, .vectors_n = 2048, .memory_len = MEG, .name = "x", .uuid = uuid},
	{.revision = 1, .memory_len = MEG, .bar2_32bit = true, .name = "A.-_z09"},
	{.revision = 1, .memory_len = MEG, .name = "", .uuid = uuid},
	{.revision = 0, .memory_len = MEG, .intx = true},
	{.revision = 0, .memory_len = MEG << 11, .intx = true, .bar2_32bit = true, .name = "b"},
	{.revision = 0, .vectors_n = 4, .memory_len = MEG},
	{.revision = 0, .memory_len = MEG, .name = ""},
};

#define KINDS_N (sizeof(kinds) / sizeof(kinds[0]))

/**
 * struct run - test of one configuration
 * @rng:   state of the random number generator
 * @step:  steps so far
 * @wrong: description of a difference, or NULL
 * @trace: print each step
 */
struct run {
	struct ivs_pci_function device, other;
	struct naive naive;
	uint64_t rng;
	unsigned long step, sent_n, rung_n, refused_n;
	const char *wrong;
	bool trace;
	uint8_t *state;
};

/* splitmix64 */
static uint64_t rng_next(uint64_t *rng)
{
	uint64_t z = (*rng += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Return: a random number from 0 to @n - 1. */
static unsigned int random_below(struct run *run, unsigned int n)
{
	return (unsigned int)((rng_next(&run->rng) >> 32) * n >> 32);
}

static int pick_region(struct run *run)
{
	static const int regions[] = {0, 0, 0, 1, 1, 1, 7, 7, 7, 7};

	return random_below(run, 500) ? regions[random_below(run, 10)] : (int)random_below(run, 9);
}

static size_t pick_offset(struct run *run, int region)
{
	static const size_t config[] = {0x04, 0x04, 0x06, 0x10, 0x14, 0x18, 0x1c, 0x3c, 0x42, 0x43};
	size_t bar1_len = run->device.bar1_len;
	unsigned int shift = random_below(run, 64);

	if (random_below(run, 400) == 0)
		return rng_next(&run->rng) >> shift;
	if (region == 0)
		return random_below(run, 8) ? random_below(run, 17) : random_below(run, 260);
	if (region == 7)
		return random_below(run, 3) ? config[random_below(run, 10)]
					    : random_below(run, 260);
	if (random_below(run, 3) == 0)
		return run->device.pba + 4 * random_below(run, 2 + run->naive.o.vectors_n / 32);
	if (random_below(run, 8) == 0)
		return random_below(run, (unsigned int)bar1_len + 8);
	return 4 * (size_t)random_below(run, 4 * run->naive.o.vectors_n + 1);
}

static size_t pick_len(struct run *run)
{
	static const size_t lens[] = {1, 2, 2, 4, 4, 4, 8, 8};

	return random_below(run, 10) ? lens[random_below(run, 8)]
				     : random_below(run, BYTES_MAX + 1);
}

static void fill_random(struct run *run, uint8_t *bytes, int region, size_t at)
{
	unsigned int kind = random_below(run, 8);

	for (size_t i = 0; i < BYTES_MAX; i++)
		bytes[i] = kind == 0 ? 0xff : kind == 1 ? 0 : (uint8_t)rng_next(&run->rng);
	/* Often set Bus Master or MSI-X Enable; otherwise interrupts would hardly ever be sent. */
	if (region == 7 && at == 4 && kind > 3)
		bytes[0] |= 4;
	if (region == 7 && (at == 0x42 || at == 0x43) && kind > 3)
		bytes[0x43 - at] = 0x80;
}

static void do_read(struct run *run)
{
	uint8_t got[BYTES_MAX + 1], want[BYTES_MAX];
	int region = pick_region(run);
	size_t at = pick_offset(run, region), len = pick_len(run);

	got[len] = CANARY;
	ivs_pci_read(&run->device, (enum ivs_pci_space)region, at, got, len);
	naive_read(&run->naive, region, at, want, len);
	if (run->trace)
		printf("read %d 0x%zx %zu\n", region, at, len);
	if (memcmp(got, want, len) != 0 || got[len] != CANARY)
		run->wrong = "a read";
}

static void do_write(struct run *run)
{
	uint8_t bytes[BYTES_MAX];
	int region = pick_region(run);
	size_t at = pick_offset(run, region), len = pick_len(run);
	struct ivs_pci_ring got, want;

	fill_random(run, bytes, region, at);
	ivs_pci_write(&run->device, (enum ivs_pci_space)region, at, bytes, len, &got);
	want = naive_write(&run->naive, region, at, bytes, len);
	if (run->trace)
		printf("write %d 0x%zx %zu: %02x %02x %02x %02x ...\n", region, at, len, bytes[0],
		       bytes[1], bytes[2], bytes[3]);
	if (got.rung != want.rung || got.peer != want.peer || got.vector != want.vector)
		run->wrong = "a doorbell that was written";
	run->rung_n += got.rung;
}

static unsigned int pick_vector(struct run *run)
{
	return random_below(run, 20) ? random_below(run, run->naive.o.vectors_n + 1)
				     : random_below(run, 70000);
}

static void do_doorbell(struct run *run)
{
	unsigned int vector = pick_vector(run);

	if (run->trace)
		printf("doorbell %u\n", vector);
	ivs_pci_doorbell(&run->device, vector);
	naive_doorbell(&run->naive, vector);
}

static void do_route(struct run *run)
{
	unsigned int vector = pick_vector(run);
	bool routed = random_below(run, 3);

	if (run->trace)
		printf("route %u %d\n", vector, routed);
	ivs_pci_route(&run->device, vector, routed);
	if (vector < run->naive.o.vectors_n)
		run->naive.routed[vector] = routed;
}

static void do_next(struct run *run)
{
	unsigned int vector = 0;
	bool got = ivs_pci_next_vector(&run->device, &vector);
	int want = naive_next(&run->naive);

	if (run->trace)
		printf("next %d\n", want);
	if (got != (want >= 0) || (got && vector != (unsigned int)want))
		run->wrong = "the vector to be sent";
	run->sent_n += got;
}

static void do_reset(struct run *run)
{
	if (run->trace)
		printf("reset\n");
	ivs_pci_reset(&run->device);
	naive_reset(&run->naive);
}

static void do_id(struct run *run)
{
	int id = (int)random_below(run, 65537) - 1;

	ivs_pci_set_id(&run->device, id);
	run->naive.id = (uint32_t)id;
}

/*
 * Load the state into a function that has already been used. Copy routes and id, which are not part
 * of the state.
 */
static void do_move(struct run *run)
{
	size_t len = ivs_pci_state_len(&run->device);

	if (run->trace)
		printf("move\n");
	ivs_pci_save(&run->device, run->state);
	if (ivs_pci_load(&run->other, run->state, len, NULL))
		run->wrong = "a function's own state was refused";
	memcpy(run->other.routed, run->device.routed, sizeof(run->device.routed));
	run->other.id = run->device.id;
	if (memcmp(&run->other, &run->device, sizeof(run->device)) != 0)
		run->wrong = "the function differs after a move";
}

/* A damaged state may be accepted, but if it is refused, the function must be unchanged. */
static void do_damage(struct run *run)
{
	size_t len = ivs_pci_state_len(&run->device);
	uint8_t *state = run->state;
	size_t at = random_below(run, (unsigned int)len);

	ivs_pci_save(&run->device, state);
	run->other = run->device;
	state[at] ^= (uint8_t)(1 + random_below(run, 255));
	if (ivs_pci_load(&run->device, state, len, NULL)) {
		run->refused_n++;
		if (memcmp(&run->other, &run->device, sizeof(run->device)) != 0)
			run->wrong = "a refused state has changed the function";
	}
	run->device = run->other;
}

static void run_step(struct run *run)
{
	unsigned int chance = random_below(run, 1000);

	if (chance < 350)
		do_read(run);
	else if (chance < 700)
		do_write(run);
	else if (chance < 800)
		do_doorbell(run);
	else if (chance < 880)
		do_route(run);
	else if (chance < 980)
		do_next(run);
	else if (chance < 985)
		do_id(run);
	else if (chance < 990)
		do_move(run);
	else if (chance < 995)
		do_damage(run);
	else if (chance < 996)
		do_reset(run);
	if (ivs_pci_intx(&run->device) != naive_intx(&run->naive))
		run->wrong = "the pin";
}

static bool run_kind(struct run *run, size_t kind, uint64_t seed, unsigned long steps)
{
	run->rng = seed * 0x9e3779b97f4a7c15u ^ kind * 0xd1342543de82ef95u;
	run->wrong = NULL;
	naive_init(&run->naive, &kinds[kind]);
	if (ivs_pci_init(&run->device, &kinds[kind], NULL) ||
	    ivs_pci_init(&run->other, &kinds[kind], NULL))
		run->wrong = "valid options were refused";
	else if (ivs_pci_space_len(&run->device, 1) != naive_bar1_len(&run->naive))
		run->wrong = "the length of BAR 1";
	for (run->step = 0; run->step < steps && !run->wrong; run->step++)
		run_step(run);
	return !run->wrong;
}

static unsigned long get_argument(int argc, char **argv, const char *name, unsigned long otherwise)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], name) == 0)
			return strtoul(argv[i + 1], NULL, 10);
	}
	return otherwise;
}

/* Options: --seed N; --steps N for each configuration; --trace I to run only configuration number I
 * and print its steps. */
int main(int argc, char **argv)
{
	static struct run run;
	unsigned long seed = get_argument(argc, argv, "--seed", 20240607);
	unsigned long steps = get_argument(argc, argv, "--steps", 100000);
	unsigned long only = get_argument(argc, argv, "--trace", KINDS_N);
	size_t kind = only < KINDS_N ? only : 0;
	size_t end = only < KINDS_N ? only + 1 : KINDS_N;

	run.state = malloc(70000);
	run.trace = only < KINDS_N;
	while (run.state && kind < end && run_kind(&run, kind, seed, steps))
		kind++;
	if (kind < end)
		fprintf(stderr, "wrong: %s; to repeat: --seed %lu --steps %lu --trace %zu\n",
			run.wrong, seed, run.step, kind);
	printf("%zu kinds of device, %lu steps each, %lu vectors sent, %lu doorbells written, %lu "
	       "states refused, seed %lu: %s\n",
	       kind, steps, run.sent_n, run.rung_n, run.refused_n, seed,
	       kind < end ? "WRONG" : "all right");
	free(run.state);
	return kind < end;
}
