/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Peers that use queues, simulated: the real code of src/channel, with a peer API that this file
 * supplies. Each peer is a coroutine, and before each access to a shared word a random choice says
 * which peer runs next. So the schedules include those in which a peer is interrupted, or killed,
 * between any two accesses.
 *
 *   simulation [--runs N] [--seed N]
 *
 * Honest: the receiver gets every message of each sender once, in order and complete, until the
 * sender closes the queue or is killed. With streams, a server returns to each client the bytes
 * that it wrote, also after the client has shut the stream down. With topics, each subscriber gets
 * each message, or counts it as missed, and a message that it has borrowed does not change. No peer
 * sleeps forever while there is work for it.
 * Hostile: one peer rewrites random words of the region between any two accesses of the others.
 * They must end without a crash, an access outside the region, or an endless loop.
 */
#include <stdbool.h>
#include <stdint.h>

#define PROGRAM "simulation"
#define PEERS_N 3
#define LIVES_N (PEERS_N + 1)
#define MESSAGES_N 12
#define STREAMS_MAX 8
#define CONNECTIONS_N 2 /* of a client, one after another */
#define PARTS_N 3
#define BYTES_N 300
#define BORROWED_MAX 3

struct message {
	uint32_t sender;
	uint32_t number;
	uint64_t check[6];
};

/**
 * struct peer_work - what a peer does
 * @next_from: receiver: number of the next message of each sender
 * @aborts:    a client closes its streams without shutting down
 * @borrowed:  what a subscriber has borrowed
 */
struct peer_work {
	struct ivs_queue *queue;
	struct ivs_topic *topic;
	struct ivs_stream_listener *listener;
	struct ivs_stream *streams[STREAMS_MAX];
	uint32_t next_from[PEERS_N];
	uint32_t sent;
	bool aborts;
	struct borrowed {
		const void *message;
		struct message expected;
	} borrowed[BORROWED_MAX];
};

#include "unit/channel/simulated_peers.h"

static enum { QUEUES, STREAMS, TOPICS, KINDS_N } kind; /* of the channels of this run */

/* What the peers do */

static struct message make_message(unsigned int sender, uint32_t number)
{
	struct message message = {sender, number, {0}};

	for (unsigned int i = 0; i < 6; i++)
		message.check[i] = (number + 1) * UINT64_C(0x9e3779b97f4a7c15) + i;
	return message;
}

static void run_sender(struct ivs_peer *peer)
{
	const struct ivs_queue_options opts = {2u << random_below(3), sizeof(struct message)};
	int result = ivs_queue_open_sender(peer->channels, "queue", &opts, &peer->work.queue);

	for (uint32_t i = 0; !result && i < MESSAGES_N; i++) {
		struct message message = make_message((unsigned int)peer->id, i);

		result = ivs_queue_send(peer->work.queue, &message, sizeof(message), -1);
		peer->work.sent += !result;
	}
	if (!result)
		result = ivs_queue_flush(peer->work.queue, -1);
	if (result && !sim.hostile && !sim.over)
		fail("a sender failed");
	ivs_queue_close(peer->work.queue);
	peer->work.queue = NULL;
}

static void check_message(struct ivs_peer *peer, const struct message *got, size_t len)
{
	struct message expected;

	if (len != sizeof(*got) || got->sender >= PEERS_N) {
		fail("a message is not one that was sent");
		return;
	}
	expected = make_message(got->sender, peer->work.next_from[got->sender]++);
	if (memcmp(got, &expected, sizeof(expected)))
		fail("a message is torn, lost, doubled or out of order");
}

/* @dead: peer 0 is known to be dead, and what it has sent has been received */
static bool is_satisfied(const struct ivs_peer *peer, bool dead)
{
	return peer->work.next_from[1] == MESSAGES_N &&
	       (dead || peer->work.next_from[0] == MESSAGES_N);
}

static void run_receiver(struct ivs_peer *peer)
{
	int result = ivs_queue_open_receiver(peer->channels, "queue", &peer->work.queue);
	unsigned int failures = 0;
	bool dead = false;

	while (!result && !sim.over && !is_satisfied(peer, dead)) {
		struct message message;
		size_t len;

		/* Wait for anything, also for the death of a sender that has no queue yet. */
		dead = sim.peers[0].left;
		if (!dead || peer->work.next_from[1] < MESSAGES_N)
			result = ivs_channels_wait(peer->channels, -1);
		while (!result && !sim.over) {
			result = ivs_queue_receive(peer->work.queue, &message, sizeof(message),
						   &len, 0);
			if (!result && !sim.hostile)
				check_message(peer, &message, len);
		}
		if (result == IVS_CHANNEL_E_ENDED || result == IVS_CHANNEL_E_TIMEOUT ||
		    (sim.hostile && result == IVS_CHANNEL_E_BROKEN && ++failures < 8))
			result = 0;
	}
	if (result && !sim.hostile && !sim.over)
		fail("the receiver failed");
	ivs_queue_close(peer->work.queue);
	peer->work.queue = NULL;
}

static uint8_t byte_at(unsigned int client, unsigned int i)
{
	return (uint8_t)(i * 7 + i / 50 + client * 31);
}

/* As ivs_stream_write(), sometimes in place. */
static int write_some(struct ivs_stream *stream, const uint8_t *bytes, uint32_t len, size_t *n)
{
	struct iovec parts[PARTS_N];
	unsigned int parts_n = 1 + random_below(PARTS_N);
	int result;

	if (random_below(2))
		return ivs_stream_write(stream, bytes, len, n, -1);
	result = ivs_stream_reserve(stream, parts, &parts_n, -1);
	*n = 0;
	for (unsigned int i = 0; i < parts_n && !result && *n < len; i++) {
		size_t more = len - *n < parts[i].iov_len ? len - *n : parts[i].iov_len;

		memcpy(parts[i].iov_base, bytes + *n, more);
		*n += more;
	}
	ivs_stream_commit(stream, *n);
	return result;
}

/* As ivs_stream_read(), sometimes in place. */
static int read_some(struct ivs_stream *stream, uint8_t *bytes, size_t len, size_t *n,
		     int timeout_ms)
{
	struct iovec parts[PARTS_N];
	unsigned int parts_n = 1 + random_below(PARTS_N);
	int result;

	if (random_below(2))
		return ivs_stream_read(stream, bytes, len, n, timeout_ms);
	result = ivs_stream_peek(stream, parts, &parts_n, timeout_ms);
	*n = 0;
	for (unsigned int i = 0; i < parts_n && !result && *n < len; i++) {
		size_t more = len - *n < parts[i].iov_len ? len - *n : parts[i].iov_len;

		ivs_shared_copy(bytes + *n, parts[i].iov_base, more);
		*n += more;
	}
	if (!result)
		result = ivs_stream_release(stream, *n);
	*n = result ? 0 : *n;
	return result;
}

/*
 * Write everything, then the end, unless the peer aborts; then read everything back.
 *
 * Return: 0, IVS_CHANNEL_E_*.
 */
static int ask_once(struct ivs_peer *peer, struct ivs_stream *stream)
{
	uint8_t bytes[BYTES_N];
	uint32_t sent = 0;
	uint32_t got = 0;
	int result = 0;
	size_t n;

	for (unsigned int i = 0; i < BYTES_N; i++)
		bytes[i] = byte_at((unsigned int)peer->id, i);
	while (!result && sent < BYTES_N) {
		uint32_t len = 1 + random_below(BYTES_N - sent);

		result = write_some(stream, bytes + sent, len, &n);
		sent += (uint32_t)n;
	}
	if (!peer->work.aborts)
		ivs_stream_shutdown(stream);
	while (!result && (!peer->work.aborts || got < BYTES_N)) {
		result = read_some(stream, bytes, 1 + random_below(BYTES_N), &n, -1);
		for (size_t i = 0; i < n && !sim.hostile; i++) {
			if (bytes[i] != byte_at((unsigned int)peer->id, got++))
				fail("a byte of a stream is wrong");
		}
	}
	if (got != BYTES_N && !sim.hostile && !sim.over)
		fail("bytes of a stream are missing");
	return result == IVS_CHANNEL_E_ENDED ? 0 : result;
}

/* As a program that polls several fds. @dead: do not wait without a limit */
static int wait_like_poll(struct ivs_peer *peer, bool dead)
{
	int wait_ms;

	if (ivs_channels_begin_wait(peer->channels, &wait_ms)) {
		peer->blocked = wait_ms >= 1000 && !dead;
		peer->busy = 0;
		if (!sim.over)
			yield();
		peer->blocked = false;
	}
	return ivs_channels_end_wait(peer->channels);
}

/* Return: as ivs_stream_connect(). */
static int connect_like_poll(struct ivs_peer *peer, const struct ivs_stream_options *opts)
{
	int result = ivs_stream_begin_connect(peer->channels, "stream", opts,
					      &peer->work.streams[0]);
	size_t n;

	while (!result && !ivs_stream_is_connected(peer->work.streams[0])) {
		if (sim.over)
			return IVS_CHANNEL_E_PEER;
		result = wait_like_poll(peer, false);
		if (!result)
			result = ivs_stream_write(peer->work.streams[0], NULL, 0, &n, 0);
		if (result == IVS_CHANNEL_E_TIMEOUT)
			result = 0;
	}
	/* The listener may have closed its side already. */
	return result == IVS_CHANNEL_E_ENDED && peer->work.streams[0] ? 0 : result;
}

static void run_client(struct ivs_peer *peer)
{
	const struct ivs_stream_options opts = {64u << random_below(4)};
	int result = 0;

	peer->work.aborts = random_below(2);
	for (unsigned int i = 0; i < CONNECTIONS_N && !result; i++) {
		result = random_below(2) ? connect_like_poll(peer, &opts)
					 : ivs_stream_connect(peer->channels, "stream", &opts,
							      &peer->work.streams[0], -1);
		if (result)
			break;
		result = ask_once(peer, peer->work.streams[0]);
		ivs_stream_close(peer->work.streams[0]);
		peer->work.streams[0] = NULL;
		peer->work.sent += !result;
	}
	ivs_stream_close(peer->work.streams[0]);
	peer->work.streams[0] = NULL;
	if (result && !sim.hostile && !sim.over)
		fail("a client failed");
}

/* Return what was read. Return: false at the end of the stream. */
static bool serve_stream(struct ivs_stream *stream)
{
	uint8_t bytes[64];
	size_t at = 0;
	size_t got;
	size_t n;
	int result = read_some(stream, bytes, sizeof(bytes), &got, 0);

	while (!result && at < got) {
		result = ivs_stream_write(stream, bytes + at, got - at, &n, -1);
		at += n;
	}
	return !result || result == IVS_CHANNEL_E_TIMEOUT;
}

/* The end of a stream that was not shut down tells that the other side does not read, either. */
static void check_abort(struct ivs_stream *stream, unsigned int client)
{
	size_t n;

	if (!sim.hostile && !sim.over && sim.peers[client].work.aborts &&
	    ivs_stream_write(stream, NULL, 0, &n, 0) != IVS_CHANNEL_E_ENDED)
		fail("a closed stream looks as if it had been shut down");
}

static void serve_all(struct ivs_peer *peer)
{
	for (unsigned int i = 0; i < STREAMS_MAX; i++) {
		struct ivs_stream **stream = &peer->work.streams[i];
		unsigned int client;

		if (!*stream && ivs_stream_accept(peer->work.listener, stream, 0))
			*stream = NULL;
		if (!*stream || serve_stream(*stream))
			continue;
		client = ivs_stream_section(*stream);
		check_abort(*stream, client);
		peer->work.next_from[client < PEERS_N ? client : 0]++;
		ivs_stream_close(*stream);
		*stream = NULL;
	}
}

static bool has_served(const struct ivs_peer *peer, bool dead)
{
	bool idle = true;

	for (unsigned int i = 0; i < STREAMS_MAX; i++)
		idle = idle && !peer->work.streams[i];
	return idle && peer->work.next_from[1] >= CONNECTIONS_N &&
	       (dead || peer->work.next_from[0] >= CONNECTIONS_N);
}

static void run_server(struct ivs_peer *peer)
{
	const struct ivs_stream_options opts = {64u << random_below(4)};
	int result = ivs_stream_listen(peer->channels, "stream", &opts, &peer->work.listener);
	bool dead = false;

	while (!result && !sim.over && !has_served(peer, dead)) {
		dead = sim.peers[0].left;
		result = wait_like_poll(peer, dead);
		serve_all(peer);
	}
	if (result && !sim.hostile && !sim.over)
		fail("the server failed");
	for (unsigned int i = 0; i < STREAMS_MAX; i++)
		ivs_stream_close(peer->work.streams[i]);
	ivs_stream_listener_close(peer->work.listener);
}

/* One peer publishes, the others subscribe. Any kind of peer can be killed, as it is peer 0. */
static unsigned int publisher;
static unsigned long borrowed_n; /* messages that were borrowed in place, in all runs */

static void run_publisher(struct ivs_peer *peer)
{
	const struct ivs_topic_options opts = {2u << random_below(3), sizeof(struct message),
					       1 + random_below(2), 1 + random_below(2)};
	int result = ivs_topic_open_publisher(peer->channels, "topic", &opts, &peer->work.topic);

	for (uint32_t i = 0; !result && i < 4 * MESSAGES_N; i++) {
		struct message message = make_message(publisher, i);

		if (random_below(2)) /* otherwise it looks for subscribers once per millisecond */
			peer->channels->polled_ns = 0;
		result = ivs_topic_publish(peer->work.topic, &message, sizeof(message));
		peer->work.sent += !result;
		if (random_below(4) == 0 && !sim.over)
			yield();
	}
	if (result && !sim.hostile && !sim.over)
		fail("the publisher failed");
	ivs_topic_close(peer->work.topic);
	peer->work.topic = NULL;
}

/* A subscriber can begin with any message. Each later one is received, or counted as missed. */
static void check_published(const struct ivs_peer *peer, const struct message *got, size_t len,
			    uint32_t *first, uint32_t received_n)
{
	struct message expected = make_message(publisher, got->number);

	if (len != sizeof(*got) || memcmp(got, &expected, sizeof(expected)))
		fail("a message of a topic is torn");
	if (!received_n)
		*first = got->number - (uint32_t)ivs_topic_missed(peer->work.topic);
	if (*first + received_n + ivs_topic_missed(peer->work.topic) != got->number)
		fail("a message of a topic is lost, doubled, or out of order");
}

/* Check a message that was borrowed, and give it back. */
static void give_back(struct ivs_peer *peer, struct borrowed *borrowed)
{
	if (!borrowed->message)
		return;
	if (!sim.hostile && !sim.over &&
	    memcmp(borrowed->message, &borrowed->expected, sizeof(borrowed->expected)))
		fail("a borrowed message has changed");
	ivs_topic_give_back(peer->work.topic, borrowed->message);
	borrowed->message = NULL;
}

/* Keep the message, and copy it. */
static int borrow(struct ivs_peer *peer, struct message *message, size_t *len)
{
	struct borrowed *borrowed = &peer->work.borrowed[random_below(BORROWED_MAX)];
	int result;

	give_back(peer, borrowed);
	result = ivs_topic_borrow(peer->work.topic, &borrowed->message, len, 0);
	if (result || *len != sizeof(*message))
		return result;
	memcpy(message, borrowed->message, sizeof(*message));
	borrowed->expected = *message;
	borrowed_n += ivs_topic_is_in_place(peer->work.topic, borrowed->message);
	return 0;
}

static void run_subscriber(struct ivs_peer *peer)
{
	const struct ivs_subscriber_options opts = {random_below(2), random_below(2),
						    random_below(4)};
	const struct ivs_peer *other = &sim.peers[publisher];
	int result = ivs_topic_open_subscriber(peer->channels, "topic", &opts, &peer->work.topic);
	struct message message;
	uint32_t received_n = 0;
	uint32_t first = 0;
	size_t len;

	/* A subscriber that comes after the publisher has gone would wait forever. */
	while (!result && !sim.over && !other->ended && !other->left) {
		result = wait_like_poll(peer, false);
		while (!result) {
			result = random_below(2) ? borrow(peer, &message, &len)
						 : ivs_topic_receive(peer->work.topic, &message,
								     sizeof(message), &len, 0);
			if (!result && !sim.hostile)
				check_published(peer, &message, len, &first, received_n++);
		}
		if (result == IVS_CHANNEL_E_TIMEOUT || result == IVS_CHANNEL_E_ENDED ||
		    (sim.hostile && result > 0 && result != IVS_CHANNEL_E_SECTION))
			result = 0;
	}
	if (result && !sim.hostile && !sim.over)
		fail("a subscriber failed");
	for (unsigned int i = 0; i < BORROWED_MAX; i++)
		give_back(peer, &peer->work.borrowed[i]);
	ivs_topic_close(peer->work.topic);
	peer->work.topic = NULL;
}

/* Runs */

static void check_end(void)
{
	const struct peer_work *receiver = &sim.peers[PEERS_N - 1].work;

	if (sim.hostile)
		return;
	check_that_all_ended();
	/* The queue of a sender that dies before the receiver finds it is lost. */
	if (kind == QUEUES && receiver->next_from[0] &&
	    receiver->next_from[0] < sim.peers[0].work.sent)
		fail("messages of a killed sender were lost");
}

static void run_once(unsigned long seed, bool hostile)
{
	static void (*const firsts[])(struct ivs_peer *) = {run_sender, run_client, run_subscriber};
	static void (*const lasts[])(struct ivs_peer *) = {run_receiver, run_server,
							   run_subscriber};

	begin_run(seed, hostile);
	sim.kill_at = !hostile && random_below(2) ? 1 + random_below(8000) : 0;
	kind = random_below(KINDS_N);
	sim.rings_at_end = kind == TOPICS;
	for (unsigned int i = 0; i < LIVES_N; i++)
		start_peer(i, i == PEERS_N - 1 ? lasts[kind] : firsts[kind]);
	publisher = random_below(2) ? 0 : PEERS_N - 1;
	if (kind == TOPICS)
		sim.peers[publisher].run = run_publisher;
	schedule();
	check_end();
	end_run();
}

int main(int argc, char **argv)
{
	int status = simulate(argc, argv, 5000, run_once);

	printf("%lu messages of topics were borrowed in place\n", borrowed_n);
	return status;
}
