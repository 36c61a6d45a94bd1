/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for ivs_qmp_message_parse().
 *
 * Input: a line from QEMU's monitor. Parsing must yield a complete message or an error text. A
 * message that is printed in JSON and parsed again must be the same message.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

static void check_message(const struct ivs_qmp_message *message)
{
	CHECK(json_is_object(message->json) && message->id >= -1);
	switch (message->type) {
	case IVS_QMP_GREETING:
		CHECK(json_is_integer(json_object_get(message->data, "major")));
		break;
	case IVS_QMP_RETURN:
		CHECK(message->data);
		break;
	case IVS_QMP_ERROR:
		CHECK(message->name && message->text);
		break;
	case IVS_QMP_EVENT:
		CHECK(message->name && (!message->data || json_is_object(message->data)));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ivs_qmp_message first = {.id = 77};
	struct ivs_qmp_message again;
	struct ivs_error err = {0};
	int result = ivs_qmp_message_parse((const char *)data, size, &first, &err);
	char *text;

	CHECK(result == 0 || result == IVS_QMP_E_PROTOCOL);
	CHECK((result == 0) == (*err.text == '\0') && (result == 0) == (first.json != NULL));
	if (result)
		return 0;
	check_message(&first);
	text = json_dumps(first.json, JSON_COMPACT);
	CHECK(text && !ivs_qmp_message_parse(text, strlen(text), &again, &err));
	CHECK(json_equal(first.json, again.json) && first.type == again.type &&
	      first.id == again.id);
	free(text);
	ivs_qmp_message_deinit(&first);
	ivs_qmp_message_deinit(&again);
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

/* Messages assembled from pieces, some of which do not fit together. */
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max)
{
	static const char *const pieces[] = {
		"\"QMP\":{\"version\":{\"qemu\":{\"major\":7,\"minor\":2,\"micro\":1}}}",
		"\"return\":{}",
		"\"return\":[]",
		"\"return\":\"text\"",
		"\"id\":1",
		"\"id\":-5",
		"\"id\":\"a\"",
		"\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}",
		"\"error\":{}",
		"\"event\":\"DEVICE_DELETED\"",
		"\"event\":7",
		"\"data\":{\"device\":\"d\"}",
		"\"data\":[1]",
		"\"timestamp\":{\"seconds\":1}",
		"[[[[",
		"\"\\u0000\":1",
		"\xff",
	};
	const size_t pieces_n = sizeof(pieces) / sizeof(*pieces);
	uint64_t rng = seed;
	size_t len = 0;

	out[len++] = '{';
	do {
		const char *piece = pieces[rng_next(&rng) % pieces_n];
		size_t piece_len = strlen(piece);

		if (len + piece_len + 2 > max)
			break;
		if (len > 1)
			out[len++] = ',';
		memcpy(out + len, piece, piece_len);
		len += piece_len;
	} while (rng_next(&rng) % 3);
	if (rng_next(&rng) % 20)
		out[len++] = '}';
	return len;
}
