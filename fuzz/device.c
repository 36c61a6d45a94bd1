/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for the PCI function.
 *
 * Input: three bytes that choose the device (init_device()), then records of 5 bytes: an operation
 * and its arguments. Operations are accesses with any offset and length, doorbells, changes of
 * routes, resets, and loading a damaged state. After each operation, everything that a guest cannot
 * change must be unchanged, and only vectors that exist may be pending or sent.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pci/function.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max);

#define RECORD_LEN 5
#define ACCESS_MAX 64
#define RECORDS_MAX 400

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

static struct ivs_pci_function device, fresh;

static bool init_device(const uint8_t *data, struct ivs_pci_function_options *out)
{
	static const uint8_t uuid[IVS_PCI_UUID_LEN] = {1, 2, 3};
	static const char *const names[] = {NULL, "", "db-1", "no/name"};
	int result;

	*out = (struct ivs_pci_function_options){
		.revision = data[0] & 1,
		.intx = data[0] & 2,
		.bar2_32bit = data[0] & 4,
		.uuid = data[0] & 8 ? uuid : NULL,
		.name = names[data[0] >> 4 & 3],
		.vectors_n = data[0] & 64 ? data[1] * 9u : data[1] % 4u,
		.memory_len = UINT64_C(1) << (data[2] & 63),
	};
	result = ivs_pci_init(&device, out, NULL);
	CHECK(result == 0 || result == IVS_PCI_E_OPTIONS);
	return result == 0;
}

static void check_device(void)
{
	for (size_t i = 0; i < IVS_PCI_CONFIG_LEN; i++) {
		CHECK(device.writable[i] == fresh.writable[i]);
		CHECK(((device.config[i] ^ fresh.config[i]) & ~device.writable[i]) == 0);
	}
	for (unsigned int i = 0; i < IVS_MSIX_VECTORS_MAX; i += 64) {
		unsigned int n = device.options.vectors_n;

		CHECK(i + 64 <= n || !(device.pending[i / 64] >> (n > i ? n - i : 0)));
	}
	CHECK(!ivs_pci_intx(&device) || device.options.intx);
}

static size_t offset_of(const uint8_t *record)
{
	size_t at = (size_t)record[1] | (size_t)record[2] << 8;

	return record[3] & 0x80 ? SIZE_MAX - at : at;
}

/* The buffer has the exact length of the access, so that a sanitizer detects accesses beyond it. */
static void access_region(const uint8_t *record, bool write)
{
	size_t len = record[3] % ACCESS_MAX;
	uint8_t *bytes = malloc(len ? len : 1);
	unsigned int region = record[0] >> 4 & 7;
	struct ivs_pci_ring ring;

	CHECK(bytes);
	memset(bytes, record[4], len);
	if (write) {
		ivs_pci_write(&device, region, offset_of(record), bytes, len, &ring);
		CHECK(!ring.rung || (region == IVS_PCI_BAR0 && ring.peer <= IVS_ID_MAX &&
				     ring.vector <= IVS_VECTOR_MAX));
	} else {
		ivs_pci_read(&device, region, offset_of(record), bytes, len);
	}
	free(bytes);
}

static void send_vectors(unsigned int n)
{
	unsigned int vector = 0, last = 0;

	for (unsigned int i = 0; i < n && ivs_pci_next_vector(&device, &vector); i++) {
		CHECK(vector < device.options.vectors_n && (!i || vector > last));
		CHECK(!(device.pending[vector / 64] >> vector % 64 & 1));
		CHECK(device.routed[vector / 64] >> vector % 64 & 1);
		last = vector;
	}
}

static void load_damaged(const uint8_t *record)
{
	static struct ivs_pci_function before;
	size_t len = ivs_pci_state_len(&device);
	uint8_t *state = malloc(len), *again = malloc(len);
	size_t n = record[0] & 0x80 ? offset_of(record) % len : len;

	CHECK(state && again);
	ivs_pci_save(&device, state);
	state[offset_of(record) % len] ^= record[4];
	before = device;
	if (ivs_pci_load(&device, state, n, NULL)) {
		CHECK(memcmp(&device, &before, sizeof(device)) == 0);
		CHECK(record[4] || n < len);
	} else {
		ivs_pci_save(&device, again);
		CHECK(n == len && memcmp(state, again, len) == 0);
	}
	free(state);
	free(again);
}

static void run_record(const uint8_t *record)
{
	unsigned int number = (unsigned int)record[1] | (unsigned int)record[2] << 8;

	switch (record[0] & 0x0f) {
	case 0:
	case 1:
	case 2:
		access_region(record, false);
		break;
	case 3:
	case 4:
	case 5:
	case 6:
		access_region(record, true);
		break;
	case 7:
	case 8:
		ivs_pci_doorbell(&device, number);
		break;
	case 9:
		ivs_pci_route(&device, number, record[3] & 1);
		break;
	case 10:
		send_vectors(record[1]);
		break;
	case 11:
		load_damaged(record);
		break;
	case 12:
		ivs_pci_set_id(&device, (int)number - 1);
		break;
	case 13:
		ivs_pci_reset(&device);
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ivs_pci_function_options options;

	if (size < 3 || !init_device(data, &options))
		return 0;
	fresh = device;
	data += 3;
	size -= 3;
	for (unsigned int i = 0; size >= RECORD_LEN && i < RECORDS_MAX; i++) {
		run_record(data);
		check_device();
		data += RECORD_LEN;
		size -= RECORD_LEN;
	}
	ivs_pci_reset(&device);
	check_device();
	CHECK(memcmp(device.config, fresh.config, sizeof(device.config)) == 0);
	CHECK(memcmp(device.table, fresh.table, sizeof(device.table)) == 0);
	return 0;
}

/* splitmix64 */
static uint64_t rng_next(uint64_t *rng)
{
	uint64_t z = (*rng += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/*
 * Create an input that chooses a valid device, and mostly accesses registers that the device has.
 */
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max)
{
	uint64_t rng = seed;
	size_t records_n = rng_next(&rng) % 60, len = 3;

	out[0] = (uint8_t)rng_next(&rng);
	if (out[0] & 2)
		out[0] &= 0xbe; /* INTx requires revision 0 */
	out[1] = out[0] & 2 ? 0 : (uint8_t)rng_next(&rng);
	out[2] = (uint8_t)(12 + rng_next(&rng) % 20);
	for (size_t i = 0; i < records_n && len + RECORD_LEN <= max; i++, len += RECORD_LEN) {
		uint64_t bits = rng_next(&rng);

		out[len] = (uint8_t)bits;
		out[len + 1] = (uint8_t)(bits >> 8) & (bits >> 40 & 1 ? 0xff : 0x4f);
		out[len + 2] = bits >> 41 & 3 ? 0 : (uint8_t)(bits >> 16);
		out[len + 3] = (uint8_t)(bits >> 24) & (bits >> 43 & 7 ? 0x0f : 0xff);
		out[len + 4] = bits >> 46 & 1 ? 0xff : (uint8_t)(bits >> 32);
	}
	return len;
}
