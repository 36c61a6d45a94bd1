/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A round gives each connection a turn, and then waits, unless anything has moved: for the sockets
 * and for the peer's doorbells in one poll(2).
 */
#include "tools/ivshmem/forward_loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "daemon/close.h"
#include "tools/ivshmem/signals.h"
#include "tools/shared/usage.h"

#define ACCEPTS_MAX 16 /* in a round, for each rule */
#define FIXED_POLLS 2  /* signals, channels */
#define POLLS_MAX (FIXED_POLLS + FORWARD_RULES_MAX + FORWARD_CONNECTIONS_MAX)
#define PAUSE_MS 10 /* if a channel reports what cannot be processed now */
#define FULL_MS 200 /* how long a socket waits for room: closed streams may leave some soon */
#define NO_FDS_PAUSE_MS 100 /* if a socket cannot be accepted */
#define SPARE_STREAMS 3	    /* closed ones whose bytes have not been read yet */
#define SLOTS_N 16	    /* of a stream's buffer; each slot begins with a word */
#define SLOT_ALIGN 64
#define SLOT_MAX (64 * 1024)

/**
 * struct loop - the state of forward_run()
 * @connections:    @n of them, in no order
 * @first:          index of the one that has the first turn
 * @accept_ns:      when sockets are accepted again; 0: now
 * @is_stuck:       the channels reported something in the last round, and nothing moved
 */
struct loop {
	struct forward *forward;
	struct ivs_channels *channels;
	struct ivs_stream_options opts;
	struct forward_connection *connections[FORWARD_CONNECTIONS_MAX];
	unsigned int n;
	unsigned int first;
	int signal_fd;
	int64_t accept_ns;
	bool is_stuck;
	bool stops;
	struct pollfd polls[POLLS_MAX];
};

/* Accepting */

static bool has_room(const struct loop *loop, const struct forward_rule *rule)
{
	if (loop->n < loop->forward->connections_max)
		return true;
	if (loop->n < forward_connections_max(loop->forward))
		forward_warn("%s: refused a connection, because there are %u: see "
			     "--max-connections",
			     rule->end.name, loop->n);
	else
		forward_warn("%s: refused a connection, because there are %u, and a section has "
			     "no endpoints for more: use another \"ivshmem forward\", with a "
			     "stream of another name",
			     rule->end.name, loop->n);
	return false;
}

static void warn_full(const struct loop *loop, const struct forward_rule *rule, const char *what)
{
	forward_warn("%s: %s, because section %u has no room for another stream beside %u "
		     "connections: a section holds at most %u streams, fewer with a large --buffer",
		     rule->end.name, what, ivs_channels_section(loop->channels), loop->n,
		     forward_connections_max(loop->forward));
}

/* Connect the waiting socket of a rule to a stream, or close it, or leave it. */
static void add_socket(struct loop *loop, struct forward_rule *rule)
{
	struct forward_connection *connection = NULL;
	struct ivs_stream *stream = NULL;
	int result = 0;

	if (has_room(loop, rule))
		result = ivs_stream_begin_connect(loop->channels, rule->end.name, &loop->opts,
						  &stream);
	if (result == IVS_CHANNEL_E_FULL && ivs_clock_ns() < rule->until_ns)
		return;
	if (result == IVS_CHANNEL_E_FULL)
		warn_full(loop, rule, "refused a connection");
	else if (result)
		forward_warn("%s: refused a connection: %s", rule->end.name,
			     ivs_channel_strerror(result));
	else if (stream)
		connection = forward_connection_accepted(&rule->end, rule->waiting_fd, stream);
	if (connection) {
		(void)ivs_fd_take(&rule->waiting_fd);
		loop->connections[loop->n++] = connection;
		return;
	}
	ivs_stream_close(stream);
	forward_connection_reset(&rule->end, &rule->waiting_fd);
}

/* Accept the next socket of a rule. */
static void accept_socket(struct loop *loop, struct forward_rule *rule)
{
	int fd = forward_address_accept(&rule->end.address, rule->sockets.fd);

	if (fd >= 0) {
		rule->waiting_fd = fd;
		rule->until_ns = ivs_clock_deadline(FULL_MS);
	} else if (fd == -EAGAIN) {
		rule->is_readable = false;
	} else if (fd != -EINTR && fd != -ECONNABORTED) {
		forward_warn("%s: cannot accept a connection: %s", rule->end.address.text,
			     strerrordesc_np(-fd));
		rule->is_readable = false;
		loop->accept_ns = ivs_clock_deadline(NO_FDS_PAUSE_MS);
	}
}

static bool accept_sockets(struct loop *loop, struct forward_rule *rule)
{
	bool moved = false;

	for (unsigned int i = 0; i < ACCEPTS_MAX; i++) {
		if (rule->waiting_fd < 0 && rule->is_readable)
			accept_socket(loop, rule);
		if (rule->waiting_fd < 0)
			break;
		add_socket(loop, rule);
		if (rule->waiting_fd >= 0)
			break;
		moved = true;
	}
	return moved;
}

static bool accept_streams(struct loop *loop, struct forward_rule *rule)
{
	struct forward_connection *connection;
	struct ivs_stream *stream;
	bool moved = false;
	int result = 0;

	for (unsigned int i = 0; i < ACCEPTS_MAX; i++) {
		result = ivs_stream_accept(rule->streams, &stream, 0);
		if (result)
			break;
		moved = true;
		connection = has_room(loop, rule) ? forward_connection_begin(&rule->end, stream)
						  : NULL;
		if (connection)
			loop->connections[loop->n++] = connection;
		else
			ivs_stream_close(stream);
	}
	if (result != IVS_CHANNEL_E_FULL || moved)
		rule->until_ns = ivs_clock_deadline(FULL_MS);
	else if (ivs_clock_ns() >= rule->until_ns)
		warn_full(loop, rule, "a stream waits");
	return moved;
}

static bool accept_all(struct loop *loop)
{
	bool moved = false;

	for (unsigned int i = 0; i < loop->forward->rules_n; i++) {
		struct forward_rule *rule = &loop->forward->rules[i];

		moved = (rule->serves ? accept_streams(loop, rule) : accept_sockets(loop, rule)) ||
			moved;
	}
	return moved;
}

/* Rounds */

static bool give_turns(struct loop *loop)
{
	bool moved = false;

	loop->first++;
	for (unsigned int i = 0; i < loop->n; i++) {
		unsigned int at = (loop->first + i) % loop->n;

		if (forward_connection_turn(loop->connections[at], &moved))
			continue;
		forward_connection_close(loop->connections[at]);
		loop->connections[at] = NULL;
		moved = true;
	}
	for (unsigned int i = loop->n; i-- > 0;) {
		if (!loop->connections[i])
			loop->connections[i] = loop->connections[--loop->n];
	}
	return moved;
}

/* Return: until when to wait, at most. */
static int64_t fill_polls(struct loop *loop)
{
	const struct forward *forward = loop->forward;
	bool accepts = ivs_clock_ns() >= loop->accept_ns;
	int64_t until_ns = accepts ? IVS_CLOCK_NEVER : loop->accept_ns;

	loop->polls[0] = (struct pollfd){.fd = loop->signal_fd, .events = POLLIN};
	loop->polls[1] = (struct pollfd){.fd = ivs_channels_fd(loop->channels), .events = POLLIN};
	for (unsigned int i = 0; i < forward->rules_n; i++) {
		const struct forward_rule *rule = &forward->rules[i];
		bool waits = rule->waiting_fd >= 0;

		loop->polls[FIXED_POLLS + i] = (struct pollfd){
			.fd = accepts && !waits ? rule->sockets.fd : -1, .events = POLLIN};
		if (waits)
			until_ns = ivs_clock_deadline(PAUSE_MS);
	}
	for (unsigned int i = 0; i < loop->n; i++) {
		int64_t ns = forward_connection_poll(
			loop->connections[i], &loop->polls[FIXED_POLLS + forward->rules_n + i]);

		until_ns = ns < until_ns ? ns : until_ns;
	}
	return until_ns;
}

static void take_polls(struct loop *loop)
{
	struct forward *forward = loop->forward;

	loop->stops = loop->polls[0].revents;
	for (unsigned int i = 0; i < forward->rules_n; i++) {
		if (loop->polls[FIXED_POLLS + i].revents)
			forward->rules[i].is_readable = true;
	}
	for (unsigned int i = 0; i < loop->n; i++)
		forward_connection_polled(loop->connections[i],
					  loop->polls[FIXED_POLLS + forward->rules_n + i].revents);
}

static int shorter(int a_ms, int b_ms)
{
	return b_ms < 0 || (a_ms >= 0 && a_ms < b_ms) ? a_ms : b_ms;
}

/* Wait, if nothing has moved. Return: 0, or an error of the channels. */
static int wait_for_all(struct loop *loop, bool moved)
{
	int64_t until_ns = fill_polls(loop);
	nfds_t polls_n = FIXED_POLLS + loop->forward->rules_n + loop->n;
	int wait_ms = 0;
	int result = 0;

	if (moved) {
		loop->is_stuck = false;
	} else if (ivs_channels_begin_wait(loop->channels, &wait_ms)) {
		wait_ms = shorter(wait_ms, ivs_clock_left_ms(until_ns));
		loop->is_stuck = false;
	} else {
		wait_ms = loop->is_stuck ? PAUSE_MS : 0;
		loop->is_stuck = true;
	}
	if (poll(loop->polls, polls_n, wait_ms) >= 0)
		take_polls(loop);
	if (!moved)
		result = ivs_channels_end_wait(loop->channels);
	return result == -EINTR ? 0 : result;
}

static int run_loop(struct loop *loop)
{
	while (!loop->stops) {
		bool moved = accept_all(loop);
		int result;

		moved = give_turns(loop) || moved;
		result = wait_for_all(loop, moved);
		if (result == IVS_CHANNEL_E_SECTION)
			return usage_failed("another peer has taken section %u: use another "
					    "--section, and start again",
					    ivs_channels_section(loop->channels));
		if (result)
			return usage_failed("cannot continue: %s", ivs_channel_strerror(result));
	}
	return 0;
}

/* Start and end */

/* Return: a buffer length that leaves room for the buffers of all connections. */
static size_t choose_buffer(const struct forward *forward, size_t section_len)
{
	size_t streams = forward->connections_max + SPARE_STREAMS;
	size_t slot = (section_len - IVS_SECTION_ARENA_AT) / streams / SLOTS_N;

	slot = slot / SLOT_ALIGN * SLOT_ALIGN;
	slot = slot < SLOT_ALIGN ? SLOT_ALIGN : slot > SLOT_MAX ? SLOT_MAX : slot;
	return SLOTS_N * (slot - IVS_LANE_HEAD_LEN);
}

static int open_streams(struct loop *loop, struct ivs_peer *peer)
{
	const struct forward *forward = loop->forward;
	size_t section_len = ivs_peer_usable_len(peer) / ivs_channels_sections(loop->channels);

	if (forward->buffer_len > section_len / 2)
		return usage_failed("--buffer %zu is more than half of a section of %zu bytes: use "
				    "less, or a larger region",
				    forward->buffer_len, section_len);
	loop->opts.buffer_len = forward->buffer_len ? forward->buffer_len
						    : choose_buffer(forward, section_len);
	return 0;
}

static int open_rule(struct loop *loop, struct forward_rule *rule)
{
	char text[FORWARD_ADDRESS_LEN];
	int result;

	if (!rule->serves) {
		if (forward_address_listen(&rule->end.address, &rule->sockets))
			return STATUS_FAILED;
		ivs_log(IVS_LOG_INFO, "%s: listening at %s", rule->end.name,
			forward_address_bound(&rule->end.address, rule->sockets.fd, text));
		return 0;
	}
	result = ivs_stream_listen(loop->channels, rule->end.name, &loop->opts, &rule->streams);
	if (result == IVS_CHANNEL_E_BUSY)
		return usage_failed("another peer, or another --serve, listens to the stream %s: "
				    "use another name",
				    rule->end.name);
	if (result)
		return usage_failed("cannot listen to the stream %s: %s", rule->end.name,
				    ivs_channel_strerror(result));
	ivs_log(IVS_LOG_INFO, "%s: streams are connected to %s", rule->end.name,
		rule->end.address.text);
	return 0;
}

static int open_all(struct loop *loop, struct ivs_peer *peer)
{
	int status = open_streams(loop, peer);

	for (unsigned int i = 0; i < loop->forward->rules_n && !status; i++)
		status = open_rule(loop, &loop->forward->rules[i]);
	return status;
}

static void close_all(struct loop *loop)
{
	for (unsigned int i = 0; i < loop->n; i++)
		forward_connection_close(loop->connections[i]);
	for (unsigned int i = 0; i < loop->forward->rules_n; i++) {
		struct forward_rule *rule = &loop->forward->rules[i];

		if (rule->waiting_fd >= 0)
			forward_connection_reset(&rule->end, &rule->waiting_fd);
		ivs_stream_listener_close(rule->streams);
		ivs_listener_close(&rule->sockets);
	}
}

unsigned int forward_connections_max(const struct forward *forward)
{
	unsigned int serves_n = 0;

	for (unsigned int i = 0; i < forward->rules_n; i++)
		serves_n += forward->rules[i].serves;
	return (FORWARD_ENDPOINTS_N - serves_n) / 2;
}

int forward_run(struct forward *forward, struct ivs_peer *peer, struct ivs_channels *channels)
{
	static struct loop loop;
	sigset_t stop;
	int status;

	signals_find_stop(&stop);
	signal(SIGPIPE, SIG_IGN); /* a message to a closed pipe must not end the connections */
	if (sigprocmask(SIG_BLOCK, &stop, NULL))
		return usage_failed("cannot block signals: %s", strerrordesc_np(errno));
	loop = (struct loop){.forward = forward, .channels = channels};
	loop.signal_fd = signalfd(-1, &stop, SFD_NONBLOCK | SFD_CLOEXEC);
	if (loop.signal_fd < 0)
		return usage_failed("cannot receive signals: %s", strerrordesc_np(errno));
	status = open_all(&loop, peer);
	if (!status)
		status = run_loop(&loop);
	close_all(&loop);
	ivs_fd_close(&loop.signal_fd);
	return status;
}
