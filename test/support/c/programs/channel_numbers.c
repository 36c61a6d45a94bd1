/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer that sends or receives numbered messages through channels, for tests between processes:
 *
 *   channel-numbers ADDRESS SECTION CALL
 *
 *   send NAME SESSION COUNT          send messages, then flush
 *   receive NAME COUNT               receive messages of any sessions
 *   exchange OUT IN SENDS RECEIVES   both, in session 0
 *   live-send NAME                   begin a session for each receiver
 *   live-receive NAME                receive for ever
 *   publish NAME SESSION COUNT       publish messages
 *   subscribe NAME COUNT             receive messages of a topic
 *   live-publish NAME                publish for ever
 *   live-subscribe NAME              receive messages of a topic for ever
 *   listen NAME                      exchange bytes with all that connect, one after another
 *   connect NAME                     connect, and exchange bytes; then connect again
 *   reply NAME REQUEST ANSWER        accept streams: read REQUEST bytes, write ANSWER bytes, close
 *
 * SECTION is a number, or "id". A message has the number of its session, its own number, which
 * counts from 0, a checksum and a tail of varying length. A receiver exits with status 1 if a
 * message is lost, doubled, out of order or damaged; messages of a topic may be lost. It prints
 * "open" when its channel is open, and "begin SESSION" with the first message of a session. When
 * the other side is gone, a program prints "ended SESSION", and a sender that does not live exits
 * with status 3. After SIGUSR1 a program that lives prints "checked" when it has looked for other
 * sides. The sessions of streams are numbered by each side. They carry the same bytes in both
 * directions, from the first one.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ivshmem/channel.h"

#define SESSIONS_MAX 4096
#define TAIL_MAX 60
#define LIVE_MS 20 /* a live program looks for SIGUSR1 so often */
#define MESSAGES_N 64
#define PIECE_LEN 100 /* bytes of a stream that are written or read at a time, at most */

struct message {
	uint64_t session;
	uint64_t number;
	uint64_t sum;
	uint8_t tail[TAIL_MAX];
};

static volatile sig_atomic_t asked;
static uint64_t next_numbers[SESSIONS_MAX];
static uint64_t last_session; /* of the message that was sent or received last */

static void on_usr1(int number)
{
	(void)number;
	asked = 1;
}

static void fail(const char *what, int result)
{
	fprintf(stderr, "channel-numbers: %s: %s\n", what,
		result < 0 ? strerror(-result) : ivs_channel_strerror(result));
	exit(1);
}

static uint64_t sum_of(uint64_t session, uint64_t number)
{
	return (session + 1) * UINT64_C(0x9e3779b97f4a7c15) ^
	       (number + 1) * UINT64_C(0xbf58476d1ce4e5b9);
}

static void print_open(void)
{
	printf("open\n");
}

static size_t message_len(uint64_t number)
{
	return offsetof(struct message, tail) + number % (TAIL_MAX + 1);
}

static void fill(struct message *message, uint64_t session, uint64_t number)
{
	size_t tail_len = message_len(number) - offsetof(struct message, tail);

	message->session = session;
	message->number = number;
	message->sum = sum_of(session, number);
	memset(message->tail, (int)(number & 0xff), tail_len);
}

static void check(const struct message *message, size_t len)
{
	struct message expected;
	uint64_t next = 0;

	if (len >= offsetof(struct message, tail) && message->session < SESSIONS_MAX)
		next = next_numbers[message->session]++;
	fill(&expected, message->session, next);
	if (len != message_len(next) || memcmp(message, &expected, len)) {
		fprintf(stderr,
			"channel-numbers: session %lu: expected message %lu of %zu bytes, got "
			"message %lu of %zu bytes, or one with wrong bytes\n",
			message->session, next, message_len(next), message->number, len);
		exit(1);
	}
	last_session = message->session;
	if (!next)
		printf("begin %lu\n", message->session);
}

static int send_one(struct ivs_queue *queue, uint64_t session, uint64_t number, int timeout_ms)
{
	void *memory;
	int result = ivs_queue_reserve(queue, &memory, timeout_ms);

	if (result)
		return result;
	fill(memory, session, number);
	ivs_queue_commit(queue, message_len(number));
	last_session = session;
	return 0;
}

/* Receive a copy, or every other time check the message where it is. */
static int receive_one(struct ivs_queue *queue, int timeout_ms)
{
	static bool in_place;
	struct message copy = {0};
	const void *memory = &copy;
	size_t len = 0;
	int result;

	in_place = !in_place;
	result = in_place ? ivs_queue_peek(queue, &memory, &len, timeout_ms)
			  : ivs_queue_receive(queue, &copy, sizeof(copy), &len, timeout_ms);
	if (result)
		return result;
	check(memory, len);
	if (in_place)
		ivs_queue_release(queue);
	return 0;
}

static struct ivs_queue *open_sender(struct ivs_channels *channels, const char *name)
{
	const struct ivs_queue_options opts = {MESSAGES_N, sizeof(struct message)};
	struct ivs_queue *queue = NULL;
	int result = ivs_queue_open_sender(channels, name, &opts, &queue);

	if (result)
		fail(name, result);
	print_open();
	return queue;
}

static struct ivs_queue *open_receiver(struct ivs_channels *channels, const char *name)
{
	struct ivs_queue *queue = NULL;
	int result = ivs_queue_open_receiver(channels, name, &queue);

	if (result)
		fail(name, result);
	print_open();
	return queue;
}

static int end(int result)
{
	if (result != IVS_CHANNEL_E_ENDED)
		fail("cannot go on", result);
	printf("ended %lu\n", last_session);
	return 3;
}

static int run_send(struct ivs_channels *channels, char **words)
{
	struct ivs_queue *queue = open_sender(channels, words[0]);
	uint64_t session = strtoul(words[1], NULL, 10);
	uint64_t count = strtoul(words[2], NULL, 10);
	int result = 0;

	for (uint64_t i = 0; i < count && !result; i++)
		result = send_one(queue, session, i, -1);
	if (!result)
		result = ivs_queue_flush(queue, -1);
	ivs_queue_close(queue);
	return result ? end(result) : 0;
}

static int run_receive(struct ivs_channels *channels, char **words)
{
	struct ivs_queue *queue = open_receiver(channels, words[0]);
	uint64_t left = strtoul(words[1], NULL, 10);

	while (left) {
		int result = receive_one(queue, -1);

		if (!result)
			left--;
		else
			end(result);
	}
	ivs_queue_close(queue);
	return 0;
}

/* Return: whether something was sent or received, and more remains. */
static bool is_some(int result, uint64_t *left)
{
	if (result && result != IVS_CHANNEL_E_TIMEOUT)
		fail("cannot exchange messages", result);
	*left -= !result;
	return !result;
}

/* A program with several queues tries each of them, and then waits for all. */
static int run_exchange(struct ivs_channels *channels, char **words)
{
	struct ivs_queue *sender = open_sender(channels, words[0]);
	struct ivs_queue *receiver = open_receiver(channels, words[1]);
	uint64_t sends = strtoul(words[2], NULL, 10);
	uint64_t receives = strtoul(words[3], NULL, 10);
	uint64_t to_send = sends;
	int result = 0;

	while (!result && (to_send || receives)) {
		bool some = to_send && is_some(send_one(sender, 0, sends - to_send, 0), &to_send);

		some = (receives && is_some(receive_one(receiver, 0), &receives)) || some;
		if (!some)
			result = ivs_channels_wait(channels, -1);
	}
	if (!result)
		result = ivs_queue_flush(sender, -1);
	if (result)
		fail("cannot wait", result);
	ivs_queue_close(sender);
	ivs_queue_close(receiver);
	return 0;
}

/* Report after a look at the other sides. */
static void answer(struct ivs_channels *channels, bool looked)
{
	int result;

	if (!asked || !looked)
		return;
	asked = 0;
	result = ivs_channels_wait(channels, 0);
	if (result)
		fail("cannot look for events", result);
	printf("checked\n");
}

static bool is_pause(int result)
{
	return result == IVS_CHANNEL_E_TIMEOUT || result == -EINTR;
}

static int run_live_send(struct ivs_channels *channels, char **words)
{
	for (uint64_t session = 0;; session++) {
		struct ivs_queue *queue = open_sender(channels, words[0]);
		uint64_t number = 0;
		int result = 0;

		last_session = session;
		while (!result || is_pause(result)) {
			bool was_asked = asked;

			result = send_one(queue, session, number, LIVE_MS);
			number += !result;
			answer(channels, was_asked);
		}
		end(result);
		ivs_queue_close(queue);
	}
	return 0; /* not reached */
}

static int run_live_receive(struct ivs_channels *channels, char **words)
{
	struct ivs_queue *queue = open_receiver(channels, words[0]);

	for (;;) {
		bool was_asked = asked;
		int result = receive_one(queue, LIVE_MS);

		/* The messages that are there have been received, and the end was noticed. */
		answer(channels, was_asked && is_pause(result));
		if (result && !is_pause(result))
			end(result);
	}
	return 0; /* not reached */
}

/* Topics */

static int publish_one(struct ivs_channels *channels, struct ivs_topic *topic, uint64_t session,
		       uint64_t number)
{
	void *memory = ivs_topic_reserve(topic);
	int result;

	if (!memory)
		fail("cannot publish", IVS_CHANNEL_E_SECTION);
	fill(memory, session, number);
	ivs_topic_commit(topic, message_len(number));
	/* Another process may need the processor. */
	result = ivs_channels_wait(channels, number % MESSAGES_N ? 0 : 1);
	return is_pause(result) ? 0 : result;
}

static int publish(struct ivs_channels *channels, const char *name, uint64_t session,
		   uint64_t count)
{
	const struct ivs_topic_options opts = {MESSAGES_N, sizeof(struct message)};
	struct ivs_topic *topic;
	int result = ivs_topic_open_publisher(channels, name, &opts, &topic);

	if (result)
		fail(name, result);
	print_open();
	for (uint64_t i = 0; i < count; i++) {
		bool was_asked = asked;

		result = publish_one(channels, topic, session, i);
		if (result)
			fail("cannot publish", result);
		if (!i)
			printf("begin %lu\n", session);
		answer(channels, was_asked);
	}
	ivs_topic_close(topic);
	return 0;
}

static int run_publish(struct ivs_channels *channels, char **words)
{
	return publish(channels, words[0], strtoul(words[1], NULL, 10),
		       strtoul(words[2], NULL, 10));
}

static int run_live_publish(struct ivs_channels *channels, char **words)
{
	return publish(channels, words[0], 0, UINT64_MAX);
}

/* Like check(), but messages may be missing. */
static void check_later(const struct message *message, size_t len)
{
	if (len >= offsetof(struct message, tail) && message->session < SESSIONS_MAX) {
		uint64_t *next = &next_numbers[message->session];

		if (message->number > *next) {
			if (!*next)
				printf("begin %lu\n", message->session);
			*next = message->number;
		}
	}
	check(message, len);
}

static void subscribe(struct ivs_channels *channels, const char *name, uint64_t count)
{
	struct ivs_topic *topic;
	int result = ivs_topic_open_subscriber(channels, name, NULL, &topic);

	if (result)
		fail(name, result);
	print_open();
	while (count) {
		bool was_asked = asked;
		struct message message = {0};
		size_t len = 0;

		result = ivs_topic_receive(topic, &message, sizeof(message), &len, LIVE_MS);
		answer(channels, was_asked && is_pause(result));
		if (!result) {
			check_later(&message, len);
			count--;
		} else if (!is_pause(result)) {
			end(result);
		}
	}
	ivs_topic_close(topic);
}

static int run_subscribe(struct ivs_channels *channels, char **words)
{
	subscribe(channels, words[0], strtoul(words[1], NULL, 10));
	return 0;
}

static int run_live_subscribe(struct ivs_channels *channels, char **words)
{
	subscribe(channels, words[0], UINT64_MAX);
	return 0;
}

/* Streams */

static uint8_t byte_at(uint64_t position)
{
	return (uint8_t)((position + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

static int write_some(struct ivs_stream *stream, uint64_t *position)
{
	uint8_t bytes[PIECE_LEN];
	size_t written = 0;
	int result;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = byte_at(*position + i);
	result = ivs_stream_write(stream, bytes, 1 + *position % sizeof(bytes), &written, 0);
	*position += written;
	return result;
}

static int read_some(struct ivs_stream *stream, uint64_t *position)
{
	uint8_t bytes[PIECE_LEN];
	size_t got = 0;
	int result = ivs_stream_read(stream, bytes, 1 + *position % sizeof(bytes), &got, 0);

	for (size_t i = 0; i < got; i++) {
		if (bytes[i] != byte_at(*position + i)) {
			fprintf(stderr, "channel-numbers: byte %lu is wrong\n", *position + i);
			exit(1);
		}
	}
	if (got && !*position)
		printf("begin %lu\n", last_session);
	*position += got;
	return result;
}

/* Write and read until the other side is gone, and what it wrote has been read. */
static void exchange_bytes(struct ivs_channels *channels, struct ivs_stream *stream)
{
	uint64_t written = 0;
	uint64_t got = 0;
	int result = 0;

	while (!result || is_pause(result)) {
		bool was_asked = asked;
		bool some = !write_some(stream, &written);

		result = read_some(stream, &got);
		answer(channels, was_asked && is_pause(result));
		if (!some && is_pause(result) && !is_pause(ivs_channels_wait(channels, LIVE_MS)))
			result = 0;
	}
	if (ivs_stream_is_complete(stream)) {
		fprintf(stderr, "channel-numbers: a killed peer has ended its stream\n");
		exit(1);
	}
	ivs_stream_close(stream);
	end(result);
	last_session++;
}

static int run_listen(struct ivs_channels *channels, char **words)
{
	struct ivs_stream_listener *listener;
	int result = ivs_stream_listen(channels, words[0], NULL, &listener);

	if (result)
		fail(words[0], result);
	print_open();
	for (;;) {
		bool was_asked = asked;
		struct ivs_stream *stream;

		result = ivs_stream_accept(listener, &stream, LIVE_MS);
		answer(channels, was_asked && is_pause(result));
		if (!result)
			exchange_bytes(channels, stream);
		else if (!is_pause(result))
			fail("cannot accept", result);
	}
	return 0; /* not reached */
}

static int run_connect(struct ivs_channels *channels, char **words)
{
	for (;;) {
		struct ivs_stream *stream;
		int result = ivs_stream_begin_connect(channels, words[0], NULL, &stream);

		if (result)
			fail(words[0], result);
		print_open();
		exchange_bytes(channels, stream);
	}
	return 0; /* not reached */
}

/* Without waiting for the end of the other side's bytes. */
static int run_reply(struct ivs_channels *channels, char **words)
{
	static uint8_t bytes[1 << 16];
	struct ivs_stream_listener *listener;
	struct ivs_stream *stream;
	int result = ivs_stream_listen(channels, words[0], NULL, &listener);

	print_open();
	while (!result && !(result = ivs_stream_accept(listener, &stream, -1))) {
		size_t request = strtoul(words[1], NULL, 10);
		size_t answer = strtoul(words[2], NULL, 10);
		size_t n;

		while (request && !(result = ivs_stream_read(stream, bytes, request, &n, -1)))
			request -= n;
		while (answer && !(result = ivs_stream_write(stream, bytes, answer, &n, -1)))
			answer -= n;
		ivs_stream_shutdown(stream);
		ivs_stream_close(stream);
	}
	fail(words[0], result);
}

static const struct {
	const char *name;
	int words_n;
	int (*run)(struct ivs_channels *channels, char **words);
} modes[] = {
	{"send", 3, run_send},
	{"receive", 2, run_receive},
	{"exchange", 4, run_exchange},
	{"live-send", 1, run_live_send},
	{"live-receive", 1, run_live_receive},
	{"publish", 3, run_publish},
	{"subscribe", 2, run_subscribe},
	{"live-publish", 1, run_live_publish},
	{"live-subscribe", 1, run_live_subscribe},
	{"listen", 1, run_listen},
	{"connect", 1, run_connect},
	{"reply", 3, run_reply},
};

int main(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = on_usr1};
	const struct ivs_peer_options wanted = {.vectors_n = 1}; /* opening waits for no others */
	struct ivs_channels_options opts = IVS_CHANNELS_OPTIONS_INIT;
	struct ivs_channels *channels;
	bool has_id;
	struct ivs_peer *peer;
	struct ivs_error err;
	int status = 2;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGUSR1, &action, NULL);
	if (argc < 4)
		return 2;
	has_id = !strcmp(argv[2], "id");
	if (!has_id)
		opts.section = (uint32_t)strtoul(argv[2], NULL, 10);
	if (ivs_peer_open(argv[1], has_id ? &wanted : NULL, &peer, &err) ||
	    ivs_channels_open(peer, &opts, &channels, &err)) {
		fprintf(stderr, "channel-numbers: %s\n", err.text);
		return 1;
	}
	printf("section %u\n", ivs_channels_section(channels));
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (!strcmp(argv[3], modes[i].name) && argc == 4 + modes[i].words_n)
			status = modes[i].run(channels, argv + 4);
	}
	ivs_channels_close(channels);
	ivs_peer_close(peer);
	return status;
}
