/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of protocol/v0.h: encoding, decoding of a stream split in every possible way, and invalid
 * messages.
 *
 * The codec is pure, so the fds here are plain integers and need not be open.
 */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "protocol/v0.h"

#define STEPS_MAX 24
#define STREAM_MAX (STEPS_MAX * IVS_V0_LEN)
#define NO_FD -1

/* One message on the wire: a number, and an fd that arrives with one of its bytes. */
struct step {
	int64_t value;
	int fd_at; /* the byte with which the fd arrives, 0 to 7, or NO_FD */
};

/* A stream of bytes. @fds: the fd that arrives with each byte, or -1 */
struct stream {
	uint8_t bytes[STREAM_MAX];
	int fds[STREAM_MAX];
	size_t len;
};

/* Return: a number that no off-by-one error in the code under test could produce. */
static int fd_of_step(size_t step)
{
	return 1000 + (int)step;
}

/* Append a message without ivs_v0_put(), so that tests of the decoder do not depend on the
 * encoder. */
static void stream_add(struct stream *s, const struct step *step, size_t index)
{
	for (int i = 0; i < IVS_V0_LEN; i++) {
		s->bytes[s->len + (size_t)i] = (uint8_t)((uint64_t)step->value >> (8 * i));
		s->fds[s->len + (size_t)i] = i == step->fd_at ? fd_of_step(index) : -1;
	}
	s->len += IVS_V0_LEN;
}

static void stream_make(struct stream *s, const struct step *steps, size_t steps_n)
{
	s->len = 0;
	for (size_t i = 0; i < steps_n; i++)
		stream_add(s, &steps[i], i);
}

static bool same_message(const struct ivs_v0_message *a, const struct ivs_v0_message *b)
{
	return a->type == b->type && a->id == b->id && a->vector == b->vector && a->fd == b->fd;
}

/*
 * A long valid session, with adjacent messages without fds at the start and in the middle (so that
 * a chunk can hold several), extreme ids, the client's own vectors, an id that is reused, and
 * leaves of ids that never had a vector, which a server may send.
 */
static const struct step long_session[] = {
	{0, NO_FD}, {7, NO_FD}, {-1, 0},	{0, 0},		{0, 0},	      {65535, 0},
	{7, 0},	    {7, 0},	{0, NO_FD},	{65535, NO_FD}, {1, NO_FD},   {300, NO_FD},
	{0, 0},	    {256, 0},	{255, 0},	{255, NO_FD},	{256, NO_FD}, {32768, NO_FD},
	{7, 0},	    {65535, 0}, {65535, NO_FD}, {0, NO_FD},
};

#define LONG_N (sizeof(long_session) / sizeof(long_session[0]))
#define LONG_LEN (LONG_N * IVS_V0_LEN)

static struct ivs_v0_message long_expected(size_t i)
{
	const struct step *step = &long_session[i];
	struct ivs_v0_message msg = {.type = IVS_V0_VERSION, .fd = -1};

	if (step->fd_at == 0)
		msg.fd = fd_of_step(i);
	if (i == 1)
		msg.type = IVS_V0_ID;
	else if (i == 2)
		msg.type = IVS_V0_MEMORY;
	else if (i > 2)
		msg.type = step->fd_at == 0 ? IVS_V0_VECTOR : IVS_V0_LEAVE;
	if (i != 0 && i != 2)
		msg.id = (unsigned int)step->value;
	return msg;
}

/* Feed one chunk and compare every message. Return: NULL or a description of the failure. */
static const char *feed_good_chunk(struct ivs_v0_decoder *dec, const struct stream *s, size_t from,
				   size_t to, size_t *messages_n)
{
	const uint8_t *in = s->bytes + from;
	size_t in_len = to - from;
	int fd = s->fds[from];

	for (;;) {
		size_t before = in_len;
		struct ivs_v0_message want, got;
		int rc = ivs_v0_feed(dec, &in, &in_len, &fd, &got);

		if (in != s->bytes + to - in_len || in_len > before)
			return "in and in_len do not agree";
		if (fd != -1)
			return "fd not taken";
		if (rc == IVS_V0_E_MORE)
			return in_len == 0 ? NULL : "MORE, although bytes are left";
		if (rc != 0)
			return "refused a good session";
		if (*messages_n >= LONG_N)
			return "more messages than were sent";
		want = long_expected(*messages_n);
		if (!same_message(&want, &got))
			return "wrong message";
		(*messages_n)++;
		if ((size_t)(in - s->bytes) != *messages_n * IVS_V0_LEN)
			return "the message was not returned at its last byte";
	}
}

/* Decode the long session, split into chunks at @cuts and before each byte with an fd. */
static const char *decode_long(const bool cuts[LONG_LEN])
{
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct stream s;
	size_t messages_n = 0;

	stream_make(&s, long_session, LONG_N);
	for (size_t from = 0, to; from < s.len; from = to) {
		const char *wrong;

		for (to = from + 1; to < s.len && !cuts[to] && s.fds[to] == -1; to++)
			;
		wrong = feed_good_chunk(&dec, &s, from, to, &messages_n);
		if (wrong)
			return wrong;
		if (messages_n != to / IVS_V0_LEN)
			return "a complete message was not yielded";
	}
	if (ivs_v0_release(&dec) != -1)
		return "an fd is left in the decoder";
	if (strcmp(ivs_v0_why(&dec), "") != 0)
		return "there is a reason, but no garbage";
	return NULL;
}

Test(codec, largest_chunks)
{
	const bool cuts[LONG_LEN] = {false};
	const char *wrong = decode_long(cuts);

	cr_assert(!wrong, "%s", wrong);
}

/* PROTOCOL.md, W-2 */
Test(codec, byte_by_byte)
{
	bool cuts[LONG_LEN];
	const char *wrong;

	memset(cuts, true, sizeof(cuts));
	wrong = decode_long(cuts);
	cr_assert(!wrong, "%s", wrong);
}

Test(codec, every_single_cut)
{
	for (size_t a = 1; a < LONG_LEN; a++) {
		bool cuts[LONG_LEN] = {false};
		const char *wrong;

		cuts[a] = true;
		wrong = decode_long(cuts);
		cr_assert(!wrong, "cut at %zu: %s", a, wrong);
	}
}

Test(codec, every_pair_of_cuts)
{
	for (size_t a = 1; a < LONG_LEN; a++) {
		for (size_t b = a + 1; b < LONG_LEN; b++) {
			bool cuts[LONG_LEN] = {false};
			const char *wrong;

			cuts[a] = cuts[b] = true;
			wrong = decode_long(cuts);
			if (wrong) /* an assertion for every pair would take a minute */
				cr_assert_fail("cuts at %zu and %zu: %s", a, b, wrong);
		}
	}
}

Test(codec, one_chunk_of_messages_without_fds)
{
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	const uint8_t bytes[] = {0, 0, 0, 0, 0, 0, 0, 0, 0x34, 0x12, 0, 0, 0, 0, 0, 0, 0xff};
	const uint8_t *in = bytes;
	size_t in_len = sizeof(bytes);
	struct ivs_v0_message msg;
	int fd = -1;

	cr_assert_eq(ivs_v0_feed(&dec, &in, &in_len, &fd, &msg), 0);
	cr_assert_eq(msg.type, IVS_V0_VERSION);
	cr_assert_eq(in_len, sizeof(bytes) - 8, "the second message must not be consumed yet");
	cr_assert_eq(ivs_v0_feed(&dec, &in, &in_len, &fd, &msg), 0);
	cr_assert_eq(msg.type, IVS_V0_ID);
	cr_assert_eq(msg.id, 0x1234);
	cr_assert_eq(in_len, 1);
	cr_assert_eq(ivs_v0_feed(&dec, &in, &in_len, &fd, &msg), IVS_V0_E_MORE);
	cr_assert_eq(in_len, 0);
	cr_assert_eq(in, bytes + sizeof(bytes));
	cr_assert_eq(ivs_v0_feed(&dec, &in, &in_len, &fd, &msg), IVS_V0_E_MORE,
		     "nothing fed: still incomplete");
	cr_assert_str_eq(ivs_v0_why(&dec), "");
	cr_assert_eq(ivs_v0_release(&dec), -1);
}

Test(codec, decoder_returns_zero_for_missing_fields)
{
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct stream s;
	const uint8_t *in;

	stream_make(&s, long_session, LONG_N);
	in = s.bytes;
	for (size_t i = 0; i < LONG_N; i++) {
		struct ivs_v0_message msg, want = long_expected(i);
		int fd = s.fds[i * IVS_V0_LEN];
		size_t in_len = IVS_V0_LEN;

		memset(&msg, 0x55, sizeof(msg));
		cr_assert_eq(ivs_v0_feed(&dec, &in, &in_len, &fd, &msg), 0);
		cr_assert(same_message(&msg, &want), "message %zu", i);
	}
}

/* A session whose last message is invalid. */
struct bad_session {
	const char *name;
	struct step steps[8];
	size_t steps_n;
};

#define GREETING                                                                                   \
	{0, NO_FD}, {7, NO_FD},                                                                    \
	{                                                                                          \
		-1, 0                                                                              \
	}
#define BAD(name, n, ...)                                                                          \
	{                                                                                          \
		name, {__VA_ARGS__}, n                                                             \
	}

static const struct bad_session bad_sessions[] = {
	BAD("version 1", 1, {1, NO_FD}),
	BAD("version -1", 1, {-1, NO_FD}),
	BAD("version INT64_MIN", 1, {INT64_MIN, NO_FD}),
	BAD("version INT64_MAX", 1, {INT64_MAX, NO_FD}),
	BAD("version 2^32: low half is right", 1, {INT64_C(1) << 32, NO_FD}),
	BAD("version 2^56: only the last byte is wrong", 1, {INT64_C(1) << 56, NO_FD}),
	BAD("version with fd", 1, {0, 0}),
	BAD("version with fd at its last byte", 1, {0, 7}),
	BAD("memory first", 1, {-1, 0}),
	BAD("vector first", 1, {3, 0}),
	BAD("id with fd", 2, {0, NO_FD}, {7, 0}),
	BAD("id with fd at its second byte", 2, {0, NO_FD}, {7, 1}),
	BAD("id -1", 2, {0, NO_FD}, {-1, NO_FD}),
	BAD("id -1 with fd", 2, {0, NO_FD}, {-1, 0}),
	BAD("id 65536", 2, {0, NO_FD}, {65536, NO_FD}),
	BAD("id 2^32", 2, {0, NO_FD}, {INT64_C(1) << 32, NO_FD}),
	BAD("id INT64_MIN", 2, {0, NO_FD}, {INT64_MIN, NO_FD}),
	BAD("id INT64_MAX", 2, {0, NO_FD}, {INT64_MAX, NO_FD}),
	BAD("third is 0 with fd", 3, {0, NO_FD}, {7, NO_FD}, {0, 0}),
	BAD("third is own id with fd", 3, {0, NO_FD}, {7, NO_FD}, {7, 0}),
	BAD("third is an id without fd", 3, {0, NO_FD}, {7, NO_FD}, {3, NO_FD}),
	BAD("third is -2 with fd", 3, {0, NO_FD}, {7, NO_FD}, {-2, 0}),
	BAD("third is 2^32 - 1 with fd", 3, {0, NO_FD}, {7, NO_FD}, {0xffffffffll, 0}),
	BAD("third is INT64_MIN with fd", 3, {0, NO_FD}, {7, NO_FD}, {INT64_MIN, 0}),
	BAD("memory without fd", 3, {0, NO_FD}, {7, NO_FD}, {-1, NO_FD}),
	BAD("memory with fd at its second byte", 3, {0, NO_FD}, {7, NO_FD}, {-1, 1}),
	BAD("memory with fd at its last byte", 3, {0, NO_FD}, {7, NO_FD}, {-1, 7}),
	BAD("second memory", 4, GREETING, {-1, 0}),
	BAD("second memory, no fd", 4, GREETING, {-1, NO_FD}),
	BAD("second memory after a vector", 5, GREETING, {3, 0}, {-1, 0}),
	BAD("join of 65536", 4, GREETING, {65536, 0}),
	BAD("leave of 65536", 4, GREETING, {65536, NO_FD}),
	BAD("join of 65536 later", 6, GREETING, {3, 0}, {3, NO_FD}, {65536, 0}),
	BAD("join of 2^32", 4, GREETING, {INT64_C(1) << 32, 0}),
	BAD("leave of 2^48", 4, GREETING, {INT64_C(1) << 48, NO_FD}),
	BAD("leave of 2^32 + 3", 5, GREETING, {3, 0}, {(INT64_C(1) << 32) + 3, NO_FD}),
	BAD("-2", 4, GREETING, {-2, NO_FD}),
	BAD("-2 with fd", 4, GREETING, {-2, 0}),
	BAD("-65536 with fd: low bits look like id 0", 4, GREETING, {-65536, 0}),
	BAD("INT64_MIN without fd", 4, GREETING, {INT64_MIN, NO_FD}),
	BAD("INT64_MIN with fd", 4, GREETING, {INT64_MIN, 0}),
	BAD("INT64_MAX with fd", 4, GREETING, {INT64_MAX, 0}),
	BAD("own id leaves", 4, GREETING, {7, NO_FD}),
	BAD("own id leaves after its vectors", 6, GREETING, {7, 0}, {7, 0}, {7, NO_FD}),
	BAD("join with fd at its second byte", 4, GREETING, {3, 1}),
	BAD("join with fd at its fifth byte", 5, GREETING, {3, 0}, {3, 4}),
	BAD("join with fd at its last byte", 4, GREETING, {3, 7}),
};

#define BAD_N (sizeof(bad_sessions) / sizeof(bad_sessions[0]))

/*
 * After an invalid message the decoder must refuse all input, and each fd must be owned by the
 * caller or be returned by ivs_v0_release(). @held: the fd that the decoder owns, or -1
 */
static const char *after_garbage(struct ivs_v0_decoder *dec, int held)
{
	static const uint8_t more[] = {3, 0, 0, 0, 0, 0, 0, 0};
	int released;

	for (int i = 0; i < 3; i++) {
		const uint8_t *in = more;
		size_t in_len = i == 2 ? 1 : sizeof(more);
		int fd = i == 0 ? -1 : 2000 + i;
		struct ivs_v0_message msg;

		if (ivs_v0_feed(dec, &in, &in_len, &fd, &msg) != IVS_V0_E_GARBAGE)
			return "garbage is not sticky";
		if (fd == -1 && i > 0) {
			if (held != -1)
				return "two fds were taken, but only one can be released";
			held = 2000 + i;
		} else if (i > 0 && fd != 2000 + i) {
			return "the caller's fd was changed";
		}
		if (strcmp(ivs_v0_why(dec), "") == 0)
			return "there is no reason";
	}
	released = ivs_v0_release(dec);
	if (released != held)
		return released == -1 ? "an fd was lost" : "an fd that was never fed";
	if (ivs_v0_release(dec) != -1)
		return "an fd was released twice";
	return NULL;
}

/*
 * Feed an invalid session in chunks of at most @chunk bytes, or of any length if @chunk is 0. Each
 * byte with an fd starts a chunk. The decoder must accept all messages but the last.
 */
static const char *refuse(const struct bad_session *bad, size_t chunk)
{
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct stream s;
	size_t yielded = 0;
	int held = -1; /* the fd that the decoder took and did not yield */

	stream_make(&s, bad->steps, bad->steps_n);
	for (size_t from = 0, to; from < s.len; from = to) {
		const uint8_t *in = s.bytes + from;
		size_t in_len;
		int fd = s.fds[from], rc;

		for (to = from + 1; to < s.len && s.fds[to] == -1 && to - from != chunk; to++)
			;
		in_len = to - from;
		do {
			struct ivs_v0_message msg;
			int offered = fd;

			rc = ivs_v0_feed(&dec, &in, &in_len, &fd, &msg);
			if (offered != -1 && fd == -1) {
				if (held != -1)
					return "took a second fd";
				held = offered;
			}
			if (rc != 0)
				continue;
			if (++yielded == bad->steps_n)
				return "the bad message was yielded";
			if (msg.fd != held)
				return "the fd of a good message is wrong";
			held = -1;
		} while (rc == 0);
		if (rc == IVS_V0_E_GARBAGE) {
			if (yielded != bad->steps_n - 1)
				return "garbage was reported too early";
			return after_garbage(&dec, held);
		}
		if (rc != IVS_V0_E_MORE || in_len != 0)
			return "no message and no garbage, but input is left";
	}
	return "garbage was not reported with the last byte";
}

/* Every violation of rules W-2 to W-7. */
Test(codec, invalid_sessions_are_refused)
{
	for (size_t i = 0; i < BAD_N; i++) {
		for (size_t chunk = 0; chunk <= 9; chunk++) {
			const char *wrong = refuse(&bad_sessions[i], chunk);

			cr_expect(!wrong, "%s, chunks of %zu: %s", bad_sessions[i].name, chunk,
				  wrong);
		}
	}
}

Test(codec, valid_beginnings_of_invalid_sessions_are_accepted)
{
	/* Without this test, a decoder that refuses every message at its first byte would pass. */
	for (size_t i = 0; i < BAD_N; i++) {
		struct bad_session prefix = bad_sessions[i];

		if (--prefix.steps_n == 0)
			continue;
		cr_expect_str_eq(refuse(&prefix, 0), "the bad message was yielded", "%s",
				 prefix.name);
	}
}

Test(codec, fd_in_the_middle_while_one_is_held)
{
	static const struct step steps[] = {GREETING};
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct stream s;
	struct ivs_v0_message msg;
	const uint8_t *in;
	size_t in_len = 16;
	int fd = -1, first;

	stream_make(&s, steps, 3);
	in = s.bytes;
	cr_assert_eq(ivs_v0_feed(&dec, &in, &in_len, &fd, &msg), 0);
	cr_assert_eq(ivs_v0_feed(&dec, &in, &in_len, &fd, &msg), 0);
	in_len = 3;
	fd = 50;
	cr_assert_eq(ivs_v0_feed(&dec, &in, &in_len, &fd, &msg), IVS_V0_E_MORE);
	cr_assert_eq(fd, -1, "the fd of an incomplete message belongs to the decoder");
	in_len = 5;
	fd = 51;
	cr_assert_eq(ivs_v0_feed(&dec, &in, &in_len, &fd, &msg), IVS_V0_E_GARBAGE);
	cr_assert_eq(fd, 51, "the decoder has room for one fd");
	cr_assert_str_not_empty(ivs_v0_why(&dec));
	first = ivs_v0_release(&dec);
	cr_assert_eq(first, 50);
	cr_assert_eq(ivs_v0_release(&dec), -1);
}

Test(codec, release_returns_the_fd_of_an_incomplete_message)
{
	for (size_t cut = 1; cut < IVS_V0_LEN; cut++) {
		static const struct step steps[] = {GREETING, {9, 0}};
		struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
		struct stream s;
		struct ivs_v0_message msg;
		const uint8_t *in;
		size_t in_len;
		int fd;

		stream_make(&s, steps, 4);
		in = s.bytes;
		for (size_t i = 0; i < 3; i++) {
			in_len = IVS_V0_LEN;
			fd = s.fds[i * IVS_V0_LEN];
			cr_assert_eq(ivs_v0_feed(&dec, &in, &in_len, &fd, &msg), 0);
		}
		in_len = cut;
		fd = 77;
		cr_assert_eq(ivs_v0_feed(&dec, &in, &in_len, &fd, &msg), IVS_V0_E_MORE);
		cr_assert_eq(fd, -1);
		cr_assert_str_eq(ivs_v0_why(&dec), "", "incomplete is not garbage");
		cr_assert_eq(ivs_v0_release(&dec), 77, "cut %zu", cut);
		cr_assert_eq(ivs_v0_release(&dec), -1, "cut %zu", cut);
	}
}

Test(codec, fd_zero_is_a_valid_fd)
{
	static const struct step steps[] = {GREETING};
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct stream s;
	struct ivs_v0_message msg;
	const uint8_t *in;
	size_t in_len = 16;
	int fd = -1;

	stream_make(&s, steps, 3);
	in = s.bytes;
	cr_assert_eq(ivs_v0_feed(&dec, &in, &in_len, &fd, &msg), 0);
	cr_assert_eq(ivs_v0_feed(&dec, &in, &in_len, &fd, &msg), 0);
	in_len = 8;
	fd = 0;
	cr_assert_eq(ivs_v0_feed(&dec, &in, &in_len, &fd, &msg), 0);
	cr_assert_eq(msg.type, IVS_V0_MEMORY);
	cr_assert_eq(msg.fd, 0);
	cr_assert_eq(fd, -1);
	cr_assert_eq(ivs_v0_release(&dec), -1);
}

struct encoding {
	struct ivs_v0_message msg;
	uint8_t bytes[IVS_V0_LEN];
};

/* Neither the vector nor the number of the fd is encoded. */
static const struct encoding encodings[] = {
	{{IVS_V0_VERSION, 0, 0, -1}, {0, 0, 0, 0, 0, 0, 0, 0}},
	{{IVS_V0_ID, 0, 0, -1}, {0, 0, 0, 0, 0, 0, 0, 0}},
	{{IVS_V0_ID, 65535, 0, -1}, {0xff, 0xff, 0, 0, 0, 0, 0, 0}},
	{{IVS_V0_ID, 0x1234, 0, -1}, {0x34, 0x12, 0, 0, 0, 0, 0, 0}},
	{{IVS_V0_MEMORY, 0, 0, 5}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
	{{IVS_V0_VECTOR, 0, 3, 5}, {0, 0, 0, 0, 0, 0, 0, 0}},
	{{IVS_V0_VECTOR, 256, 65535, 5}, {0, 1, 0, 0, 0, 0, 0, 0}},
	{{IVS_V0_VECTOR, 65535, 1, 5}, {0xff, 0xff, 0, 0, 0, 0, 0, 0}},
	{{IVS_V0_LEAVE, 0, 0, -1}, {0, 0, 0, 0, 0, 0, 0, 0}},
	{{IVS_V0_LEAVE, 255, 0, -1}, {0xff, 0, 0, 0, 0, 0, 0, 0}},
	{{IVS_V0_LEAVE, 65535, 0, -1}, {0xff, 0xff, 0, 0, 0, 0, 0, 0}},
};

/* PROTOCOL.md, W-2 to W-7 */
Test(codec, encoding_is_these_bytes)
{
	for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++) {
		/* The extra byte detects a write past the end. */
		uint8_t out[IVS_V0_LEN + 1];

		memset(out, 0xa5, sizeof(out));
		ivs_v0_put(&encodings[i].msg, out);
		cr_expect_eq(memcmp(out, encodings[i].bytes, IVS_V0_LEN), 0, "row %zu", i);
		cr_expect_eq(out[IVS_V0_LEN], 0xa5, "row %zu", i);
	}
}

/* Encode and decode @msg. Return: true if the result is the same, except for the vector, which is
 * not sent. */
static bool comes_back(struct ivs_v0_decoder *dec, struct ivs_v0_message msg)
{
	uint8_t bytes[IVS_V0_LEN];
	const uint8_t *in = bytes;
	size_t in_len = sizeof(bytes);
	struct ivs_v0_message got;
	int fd = msg.fd;

	ivs_v0_put(&msg, bytes);
	if (ivs_v0_feed(dec, &in, &in_len, &fd, &got) != 0 || in_len != 0 || fd != -1)
		return false;
	msg.vector = 0;
	return same_message(&got, &msg);
}

Test(codec, round_trip)
{
	static const unsigned int ids[] = {0, 1, 127, 128, 255, 256, 32767, 32768, 65534, 65535};
	const size_t ids_n = sizeof(ids) / sizeof(ids[0]);

	for (size_t own = 0; own < ids_n; own++) {
		struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
		struct ivs_v0_message msg = {.type = IVS_V0_VERSION, .fd = -1};

		cr_assert(comes_back(&dec, msg));
		msg = (struct ivs_v0_message){.type = IVS_V0_ID, .id = ids[own], .fd = -1};
		cr_assert(comes_back(&dec, msg), "own id %u", ids[own]);
		msg = (struct ivs_v0_message){.type = IVS_V0_MEMORY, .fd = 11};
		cr_assert(comes_back(&dec, msg));
		for (size_t i = 0; i < ids_n; i++) {
			msg = (struct ivs_v0_message){IVS_V0_VECTOR, ids[i], 4, 12};
			cr_assert(comes_back(&dec, msg), "vector of %u", ids[i]);
			if (i == own)
				continue;
			msg = (struct ivs_v0_message){IVS_V0_LEAVE, ids[i], 0, -1};
			cr_assert(comes_back(&dec, msg), "leave of %u", ids[i]);
		}
	}
}

Test(codec, every_id_round_trips)
{
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct ivs_v0_message msg = {.type = IVS_V0_VERSION, .fd = -1};

	cr_assert(comes_back(&dec, msg));
	msg.type = IVS_V0_ID;
	cr_assert(comes_back(&dec, msg));
	msg = (struct ivs_v0_message){.type = IVS_V0_MEMORY, .fd = 0};
	cr_assert(comes_back(&dec, msg));
	for (unsigned int id = 0; id <= IVS_ID_MAX; id++) {
		bool good;

		msg = (struct ivs_v0_message){IVS_V0_VECTOR, id, 0, (int)id};
		good = comes_back(&dec, msg);
		msg = (struct ivs_v0_message){IVS_V0_LEAVE, id, 0, -1};
		if (id != 0)
			good = good && comes_back(&dec, msg);
		if (!good)
			cr_assert_fail("id %u", id);
	}
}
