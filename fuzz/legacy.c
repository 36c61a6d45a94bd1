/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for legacy_parse().
 *
 * Input: an argument of --legacy. Parsing must yield an error with a message, or a valid device.
 * Writing out all options of that device and parsing them again must yield the same device.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "tools/device/legacy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

#define INPUT_MAX 8192
#define TEXT_MAX 1024

static int parse_text(const char *text, struct legacy *legacy)
{
	struct ivs_error err = {0};
	int result = legacy_parse(text, legacy, &err);

	CHECK(result == 0 || result == 1);
	CHECK(memchr(err.text, '\0', sizeof(err.text)));
	CHECK((result == 0) == (*err.text == '\0'));
	return result;
}

static void check_good(const struct legacy *legacy)
{
	CHECK(memchr(legacy->shm, '\0', sizeof(legacy->shm)));
	CHECK(memchr(legacy->chardev, '\0', sizeof(legacy->chardev)));
	CHECK(!*legacy->shm != !*legacy->chardev);
	CHECK(ivs_is_power_of_two(legacy->size) && legacy->size >= 1024);
	CHECK(legacy->use64 || legacy->size <= UINT64_C(2) << 30);
	CHECK(legacy->vectors_n >= 1 && legacy->vectors_n <= IVS_MSIX_VECTORS_MAX);
	CHECK(legacy->msi || !legacy->ioeventfd);
}

/* Copy @name, doubling each comma. */
static void write_name(const char *name, char *out)
{
	for (; *name; name++) {
		if (*name == ',')
			*out++ = ',';
		*out++ = *name;
	}
	*out = '\0';
}

static void write_all(const struct legacy *legacy, char out[TEXT_MAX])
{
	int n = snprintf(out, TEXT_MAX, "size=%lluK,vectors=%u,msi=%d,ioeventfd=%d,use64=%d,%s%s=",
			 (unsigned long long)legacy->size >> 10, legacy->vectors_n, legacy->msi,
			 legacy->ioeventfd, legacy->use64,
			 legacy->role == IVS_DEVICE_AUTO     ? ""
			 : legacy->role == IVS_DEVICE_MASTER ? "role=master,"
							     : "role=peer,",
			 *legacy->shm ? "shm" : "chardev");

	write_name(*legacy->shm ? legacy->shm : legacy->chardev, out + n);
}

static bool is_same(const struct legacy *a, const struct legacy *b)
{
	return a->size == b->size && !strcmp(a->shm, b->shm) && !strcmp(a->chardev, b->chardev) &&
	       a->vectors_n == b->vectors_n && a->msi == b->msi && a->ioeventfd == b->ioeventfd &&
	       a->use64 == b->use64 && a->role == b->role;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char device[] = "ivshmem,";
	char input[sizeof(device) + INPUT_MAX];
	char *text = input + sizeof(device) - 1;
	char written[TEXT_MAX];
	struct legacy first, again;

	if (size >= INPUT_MAX)
		return 0;
	memcpy(input, device, sizeof(device) - 1);
	memcpy(text, data, size);
	text[size] = '\0';
	if (parse_text(text, &first))
		return 0;
	check_good(&first);
	write_all(&first, written);
	CHECK(!parse_text(written, &again) && is_same(&first, &again));
	/* The options may follow the name of the device, as in QEMU's -device. */
	if (strncmp(text, device, sizeof(device) - 1))
		CHECK(!parse_text(input, &again) && is_same(&first, &again));
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

size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max)
{
	static const char *const pieces[] = {
		"shm=a",
		"shm=name",
		"chardev=/run/s",
		"size=4M",
		"size=1",
		"size=2K",
		"size=4G",
		"vectors=1",
		"msi=on",
		"msi=off",
		"ioeventfd",
		"vectors=2048",
		"ioeventfd=off",
		"use64=0",
		"use64",
		"role=peer",
		"role=master",
		"ivshmem",
		"id=x",
		"size=3",
		"=",
		",",
		"shm=x,,y",
		"msi=yes,",
		"\xff",
	};
	size_t len = 0;

	for (unsigned int n = 1 + rng_next(&seed) % 5; n; n--) {
		const char *piece = pieces[rng_next(&seed) % (sizeof(pieces) / sizeof(*pieces))];
		size_t piece_len = strlen(piece);

		if (len + piece_len + 1 > max)
			break;
		memcpy(out + len, piece, piece_len);
		len += piece_len;
		if (n > 1)
			out[len++] = ',';
	}
	if (len && rng_next(&seed) % 8 == 0)
		out[rng_next(&seed) % len] = (uint8_t)rng_next(&seed);
	return len;
}
