/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for ivs_v0_feed().
 *
 * Input: records. The low half of a record's first byte is the length of a chunk, 0 to 15, whose
 * bytes follow. If the flag FD is set in the first byte, an fd arrives with the chunk's first byte.
 * The same bytes, split into different chunks, must yield the same messages.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "protocol/v0.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LEN_MASK 0x0f
#define FD 0x10
#define BYTES_MAX 4096
/* The fd that arrives with byte i of the stream is FD_FIRST + i. These fds are not open. */
#define FD_FIRST 100

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

/**
 * struct stream - the bytes on the socket
 * @starts: for each byte, whether a chunk of the input starts with it
 * @fds:    for each byte, whether an fd arrives with it
 */
struct stream {
	uint8_t bytes[BYTES_MAX];
	bool starts[BYTES_MAX];
	bool fds[BYTES_MAX];
	size_t len;
};

/**
 * struct result - what decoding the stream yielded
 * @garbage: whether the messages were followed by invalid data
 */
struct result {
	struct ivs_v0_message msgs[BYTES_MAX / IVS_V0_LEN];
	size_t msgs_n;
	bool garbage;
};

static void parse(struct stream *s, const uint8_t *data, size_t size)
{
	memset(s, 0, sizeof(*s));
	while (size > 0) {
		size_t len = data[0] & LEN_MASK;
		bool fd = data[0] & FD;

		data++;
		size--;
		if (len > size)
			len = size;
		if (len == 0)
			continue; /* an fd can only arrive with a byte */
		if (len > BYTES_MAX - s->len)
			return;
		s->starts[s->len] = true;
		s->fds[s->len] = fd;
		memcpy(s->bytes + s->len, data, len);
		s->len += len;
		data += len;
		size -= len;
	}
}

/* Check the ranges of fields, and that a message has an fd if and only if its type needs one. */
static void check_message(const struct ivs_v0_message *msg, size_t index)
{
	CHECK(msg->vector == 0);
	CHECK(msg->id <= IVS_ID_MAX);
	CHECK((index == 0) == (msg->type == IVS_V0_VERSION));
	CHECK((index == 1) == (msg->type == IVS_V0_ID));
	CHECK((index == 2) == (msg->type == IVS_V0_MEMORY));
	if (msg->type == IVS_V0_MEMORY || msg->type == IVS_V0_VECTOR)
		CHECK(msg->fd >= FD_FIRST);
	else
		CHECK(msg->fd == -1);
	if (msg->type == IVS_V0_VERSION || msg->type == IVS_V0_MEMORY)
		CHECK(msg->id == 0);
}

/* Check that encoding @msg yields @bytes, from which it was decoded. */
static void check_bytes(const struct ivs_v0_message *msg, const uint8_t *bytes)
{
	uint8_t again[IVS_V0_LEN];

	ivs_v0_put(msg, again);
	CHECK(memcmp(again, bytes, IVS_V0_LEN) == 0);
}

/* Feed one chunk. @held is the fd that the decoder owns, or -1. */
static void feed_chunk(struct ivs_v0_decoder *dec, const struct stream *s, size_t from, size_t to,
		       int *held, struct result *result)
{
	const uint8_t *in = s->bytes + from;
	size_t in_len = to - from;
	int fd = s->fds[from] ? FD_FIRST + (int)from : -1;

	for (;;) {
		struct ivs_v0_message msg;
		const uint8_t *in_before = in;
		size_t len_before = in_len;
		int fd_before = fd;
		int rc = ivs_v0_feed(dec, &in, &in_len, &fd, &msg);

		CHECK(in_len <= len_before && in == in_before + (len_before - in_len));
		CHECK(fd == fd_before || fd == -1);
		if (fd != fd_before) {
			CHECK(*held == -1); /* otherwise the previous fd would leak */
			*held = fd_before;
		}
		CHECK(!result->garbage || rc == IVS_V0_E_GARBAGE);
		CHECK((rc == IVS_V0_E_GARBAGE) == (*ivs_v0_why(dec) != '\0'));
		if (rc == IVS_V0_E_GARBAGE) {
			result->garbage = true;
			return;
		}
		CHECK(fd == -1);
		if (rc == IVS_V0_E_MORE) {
			CHECK(in_len == 0);
			return;
		}
		CHECK(rc == 0);
		CHECK(msg.fd == *held);
		*held = -1;
		check_message(&msg, result->msgs_n);
		CHECK(msg.type != IVS_V0_LEAVE || msg.id != result->msgs[1].id);
		check_bytes(&msg, s->bytes + IVS_V0_LEN * result->msgs_n);
		result->msgs[result->msgs_n++] = msg;
		CHECK((size_t)(in - s->bytes) == IVS_V0_LEN * result->msgs_n);
	}
}

/*
 * Decode the whole stream, in chunks of @step bytes or, if @step is 0, in the chunks of the input.
 * As a chunk has at most one fd, each byte with an fd starts a new chunk.
 */
static void decode(const struct stream *s, size_t step, struct result *result)
{
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	int held = -1;

	result->msgs_n = 0;
	result->garbage = false;
	for (size_t from = 0, to; from < s->len; from = to) {
		for (to = from + 1; to < s->len && !s->fds[to]; to++) {
			if (step == 0 ? s->starts[to] : to - from == step)
				break;
		}
		feed_chunk(&dec, s, from, to, &held, result);
		if (!result->garbage)
			CHECK(result->msgs_n == to / IVS_V0_LEN);
	}
	CHECK(ivs_v0_release(&dec) == held);
	CHECK(ivs_v0_release(&dec) == -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t steps[] = {1, 3, 8, BYTES_MAX};
	static struct stream s;
	static struct result first, other;

	parse(&s, data, size);
	decode(&s, 0, &first);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		decode(&s, steps[i], &other);
		CHECK(other.msgs_n == first.msgs_n);
		CHECK(other.garbage == first.garbage);
		for (size_t m = 0; m < first.msgs_n; m++) {
			CHECK(other.msgs[m].type == first.msgs[m].type);
			CHECK(other.msgs[m].id == first.msgs[m].id);
			CHECK(other.msgs[m].fd == first.msgs[m].fd);
		}
	}
	return 0;
}
