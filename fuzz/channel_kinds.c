/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for topics, streams and `ivshmem channels` in a hostile region: see channel_region.h.
 * With CONFINED, a message that peer 0 publishes arrives unchanged, and does not change while it is
 * borrowed; and of the bytes that the two peers write to each other's streams, none is missing.
 */
#include "fuzz/channel_region.h"
#include "ivshmem/channel.h"
#include "tools/ivshmem/channels_read.h"

#define SLOTS_N 4
#define SECRET UINT64_C(0x5bd1e995a7c15d3f) /* what the hostile peer does not know */
#define BORROWED_MAX 3

struct message {
	uint64_t secret;
	uint64_t number;
	uint64_t check;
};

/** struct slot - what a peer has opened in one place: one of these, or nothing */
struct slot {
	struct ivs_topic *publisher;
	struct ivs_topic *subscriber;
	struct ivs_stream_listener *listener;
	struct ivs_stream *stream;
	const void *borrowed[BORROWED_MAX];
	uint64_t life[BORROWED_MAX];
	struct message expected[BORROWED_MAX];
	uint64_t written;
	uint64_t got;
};

static struct slot slots[PEERS_N][SLOTS_N];
static uint64_t published;

static struct message make_message(uint64_t number)
{
	return (struct message){SECRET, number, number * UINT64_C(0x9e3779b97f4a7c15)};
}

/* The message that peer 0 publishes is checked; another peer's may have any content. */
static void check_message(const struct message *message, size_t len)
{
	struct message expected = make_message(message->number);

	if (!(flags & CONFINED) || len != sizeof(*message) || message->secret != SECRET)
		return;
	CHECK(message->number < published && !memcmp(message, &expected, sizeof(expected)));
}

/* The next holder of section 0 can overwrite what was borrowed from it. */
static void give_back(struct slot *slot, unsigned int i)
{
	bool is_kept = channels[0] && channels[0]->life == slot->life[i];

	if (flags & CONFINED && is_kept && slot->expected[i].secret == SECRET)
		CHECK(!memcmp(slot->borrowed[i], &slot->expected[i], sizeof(struct message)));
	ivs_topic_give_back(slot->subscriber, slot->borrowed[i]);
	slot->borrowed[i] = NULL;
}

static void close_slot(struct slot *slot, bool aborts)
{
	for (unsigned int i = 0; i < BORROWED_MAX; i++) {
		if (slot->borrowed[i])
			give_back(slot, i);
	}
	ivs_topic_close(slot->publisher);
	ivs_topic_close(slot->subscriber);
	ivs_stream_listener_close(slot->listener);
	if (aborts)
		ivs_stream_abort(slot->stream);
	else
		ivs_stream_close(slot->stream);
	*slot = (struct slot){0};
}

static void close_all(unsigned int peer)
{
	for (unsigned int i = 0; i < SLOTS_N; i++)
		close_slot(&slots[peer][i], i % 2);
}

/* What is opened depends on the place, so that most pairs of peers have something in common. */
static void open_slot(unsigned int peer, unsigned int i, uint8_t how)
{
	const struct ivs_topic_options topic = {how & 3, 16u << (how >> 2 & 3), how >> 4 & 3,
						how >> 6};
	const struct ivs_subscriber_options subscriber = {how & 1, how & 2, how & 4};
	const struct ivs_stream_options stream = {how & 8 ? 64 : 0};
	struct slot *slot = &slots[peer][i];

	if (i == 0 && peer == 0)
		(void)!ivs_topic_open_publisher(channels[0], "t", &topic, &slot->publisher);
	else if (i < 2)
		(void)!ivs_topic_open_subscriber(channels[peer], "t", &subscriber,
						 &slot->subscriber);
	else if (i == 2 && peer == 1)
		(void)!ivs_stream_listen(channels[1], "s", &stream, &slot->listener);
	else if (peer == 0)
		(void)!ivs_stream_begin_connect(channels[0], "s", &stream, &slot->stream);
	else if (slots[1][2].listener)
		(void)!ivs_stream_accept(slots[1][2].listener, &slot->stream, 0);
}

static void use_publisher(struct slot *slot, uint8_t what)
{
	struct message message = make_message(published);
	void *memory;

	if (what & 1) {
		published += !ivs_topic_publish(slot->publisher, &message, sizeof(message));
		return;
	}
	memory = ivs_topic_reserve(slot->publisher);
	if (memory && what & 2) {
		memset(memory, 1, 16);
		ivs_topic_commit(slot->publisher, 16);
	}
}

static void use_subscriber(struct slot *slot, uint8_t what)
{
	struct message message;
	unsigned int i = what % BORROWED_MAX;
	size_t len = 0;

	if (what & 4) {
		if (ivs_topic_receive(slot->subscriber, &message, sizeof(message), &len, 0))
			return;
		CHECK(len <= sizeof(message));
		check_message(&message, len);
	} else if (slot->borrowed[i]) {
		give_back(slot, i);
	} else if (!ivs_topic_borrow(slot->subscriber, &slot->borrowed[i], &len, 0)) {
		slot->life[i] = channels[0] ? channels[0]->life : 0;
		memset(&slot->expected[i], 0, sizeof(slot->expected[i]));
		if (len == sizeof(message)) {
			memcpy(&slot->expected[i], slot->borrowed[i], len);
			check_message(&slot->expected[i], len);
		}
		(void)ivs_topic_is_in_place(slot->subscriber, slot->borrowed[i]);
	}
}

static uint8_t byte_at(uint64_t position)
{
	return (uint8_t)(position * 31 + 7);
}

static void write_some(struct slot *slot)
{
	uint8_t bytes[50];
	size_t written = 0;

	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = byte_at(slot->written + i);
	(void)!ivs_stream_write(slot->stream, bytes, sizeof(bytes), &written, 0);
	CHECK(written <= sizeof(bytes));
	slot->written += written;
}

static void write_in_place(struct slot *slot)
{
	struct iovec parts[3];
	unsigned int n = 3;
	size_t len = 0;

	if (ivs_stream_reserve(slot->stream, parts, &n, 0))
		return;
	CHECK(n >= 1 && n <= 3);
	for (unsigned int i = 0; i < n; i++) {
		for (size_t j = 0; j < parts[i].iov_len; j++, len++)
			((uint8_t *)parts[i].iov_base)[j] = byte_at(slot->written + len);
	}
	len -= slot->written % parts[0].iov_len; /* the last part is not always full */
	ivs_stream_commit(slot->stream, len);
	slot->written += len;
}

static void check_bytes(const struct slot *slot, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n && flags & CONFINED; i++)
		CHECK(ivs_stream_section(slot->stream) == 2 || bytes[i] == byte_at(slot->got + i));
}

/* What was read in place is right only if it could be released. */
static void read_in_place(struct slot *slot)
{
	static uint8_t copy[REGION_LEN];
	struct iovec parts[3];
	unsigned int n = 3;
	size_t len = 0;

	if (ivs_stream_peek(slot->stream, parts, &n, 0))
		return;
	CHECK(n >= 1 && n <= 3);
	for (unsigned int i = 0; i < n; i++) {
		const uint8_t *bytes = parts[i].iov_base;

		CHECK(parts[i].iov_len && bytes >= region &&
		      bytes + parts[i].iov_len <= region + REGION_LEN);
		memcpy(copy + len, bytes, parts[i].iov_len);
		len += parts[i].iov_len;
	}
	len -= len / 3;
	if (ivs_stream_release(slot->stream, len))
		return;
	check_bytes(slot, copy, len);
	slot->got += len;
}

static void read_some(struct slot *slot)
{
	uint8_t bytes[70];
	size_t got = 0;

	(void)!ivs_stream_read(slot->stream, bytes, sizeof(bytes), &got, 0);
	CHECK(got <= sizeof(bytes));
	check_bytes(slot, bytes, got);
	slot->got += got;
}

static void use_stream(struct slot *slot, uint8_t what)
{
	switch (what & 7) {
	case 0:
		write_some(slot);
		break;
	case 1:
		write_in_place(slot);
		break;
	case 2:
		read_some(slot);
		break;
	case 3:
		read_in_place(slot);
		break;
	case 4:
		ivs_stream_shutdown(slot->stream);
		break;
	case 5:
		(void)!ivs_stream_flush(slot->stream, 0);
		break;
	case 6:
		ivs_stream_set_reading(slot->stream, what & 8);
		break;
	default:
		(void)ivs_stream_is_complete(slot->stream);
		(void)ivs_stream_is_connected(slot->stream);
	}
}

/* What `ivshmem channels` reads, while peers that are hostile store anything. */
static void look_from_outside(void)
{
	struct channels_region outside = {.memory = region};

	if (ivs_channel_layout_read(region, REGION_LEN, &outside.layout))
		return;
	for (unsigned int i = 0; i < outside.layout.sections_n; i++) {
		struct ivs_section_holder holder;
		struct endpoint_info info;

		if (channels_read_section(&outside, &peers[0], i, &holder) == SECTION_UNUSED)
			continue;
		for (unsigned int j = 1; j < IVS_SECTION_ENDPOINTS_N; j++) {
			if (!channels_read_endpoint(&outside, i, j, &info))
				continue;
			CHECK(memchr(info.view.name, 0, sizeof(info.view.name)));
			CHECK(!info.has_other || info.other.section < outside.layout.sections_n);
			CHECK(!info.unread_known || !info.has_lane ||
			      info.unread <= info.view.shape.slots_n);
		}
	}
}

static void use(struct input *input, uint8_t what)
{
	unsigned int peer = what & 1;
	unsigned int i = what >> 1 & (SLOTS_N - 1);
	struct slot *slot = &slots[peer][i];
	int wait_ms;

	if ((what & 0xf8) == 0x90) {
		look_from_outside();
	} else if ((what & 0xf8) == 0x98) {
		(void)!ivs_channels_begin_wait(channels[peer], &wait_ms);
		(void)!ivs_channels_end_wait(channels[peer]);
	} else if ((what & 0xf8) == 0xa0) {
		close_slot(slot, take(input, 1) & 1);
	} else if (slot->publisher) {
		channels[peer]->polled_ns = 0; /* so that it looks for subscribers */
		use_publisher(slot, what >> 3);
	} else if (slot->subscriber) {
		use_subscriber(slot, what >> 3);
	} else if (slot->stream) {
		use_stream(slot, what >> 3);
	} else if (!slot->listener) {
		open_slot(peer, i, (uint8_t)take(input, 1));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	published = 0;
	run_input(data, size);
	return 0;
}

/* Mostly operations of a publisher, a subscriber and a stream. */
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max)
{
	static const uint8_t usual[] = {0x08, 0x18, 0x01, 0x21, 0x09, 0x11, 0x04, 0x14,
					0x24, 0x05, 0x07, 0x17, 0x0f, 0x27, 0x91, 0xa9};

	return make_input(seed, out, max, usual, sizeof(usual));
}
