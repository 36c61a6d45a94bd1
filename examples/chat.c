/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A chat. Each peer publishes its lines in a topic of its own, and subscribes to the topics of all
 * others. The program also shows how to wait with poll(2) for channels and other fds:
 *
 *   chat unix:/tmp/ivshmem_socket alice      what you type is sent; end with Ctrl-D
 *   chat pci: bob                            in a guest
 *
 * Topics suit a chat, because nobody waits for a peer that is stopped: that peer misses lines, and
 * is told how many. Peers may come and go in any order. On a region without ids, each program must
 * be told which section of the region is its own:
 *
 *   chat shm:my-region alice 0
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ivshmem/channel.h>
#include <ivshmem/peer.h>

/* A section has 63 endpoints: the own topic needs one, and a subscriber two. */
#define PEERS_MAX 32
#define NAME_LEN 24
#define TEXT_LEN 232

/* A message. It has no pointers, and the same layout in each peer. */
struct line {
	char name[NAME_LEN];
	char text[TEXT_LEN]; /* empty: the peer has joined */
};

struct other {
	struct ivs_topic *topic;
	char name[NAME_LEN];
	uint64_t missed;
};

struct chat {
	struct ivs_channels *channels;
	struct ivs_topic *own;
	struct other others[PEERS_MAX];
	uint32_t others_n; /* including the unused place of this peer */
	struct line line;  /* what is being typed */
	size_t typed_len;
	bool ends;
};

static int fail(const char *what, int result)
{
	fprintf(stderr, "chat: %s: %s\n", what,
		result < 0 ? strerror(-result) : ivs_channel_strerror(result));
	return 1;
}

/* Other peers may send anything: terminate the text, and print no terminal escape sequences. */
static void make_printable(char *text, size_t len)
{
	text[len - 1] = 0;
	for (; *text; text++)
		*text = isprint((unsigned char)*text) ? *text : '?';
}

static void show_line(struct other *other, uint32_t number, struct line *line)
{
	make_printable(line->name, sizeof(line->name));
	make_printable(line->text, sizeof(line->text));
	memcpy(other->name, line->name, sizeof(other->name));
	/* Names and numbers are only what a peer claims: any peer may publish any topic. */
	if (line->text[0])
		printf("%u %s: %s\n", number, line->name, line->text);
	else
		printf("%u %s has joined\n", number, line->name);
}

/* Show the next line of a peer, if there is one. */
static int take_line(struct other *other, uint32_t number)
{
	struct line line;
	size_t len;
	int result = ivs_topic_receive(other->topic, &line, sizeof(line), &len, 0);
	uint64_t missed = ivs_topic_missed(other->topic);

	if (missed != other->missed)
		printf("%u %s: missed %" PRIu64 " lines\n", number, other->name,
		       missed - other->missed);
	other->missed = missed;
	switch (result) {
	case 0:
		if (len == sizeof(line))
			show_line(other, number, &line);
		return 0;
	case IVS_CHANNEL_E_ENDED: /* the subscriber now waits for the next peer with this number */
		printf("%u %s has left\n", number, other->name);
		return 0;
	case IVS_CHANNEL_E_BROKEN:
	case IVS_CHANNEL_E_TOO_LONG: /* the message would be there again: ignore this peer */
		printf("chat: peer %u does not send lines: ignoring it\n", number);
		ivs_topic_close(other->topic);
		other->topic = NULL;
		return 0;
	case IVS_CHANNEL_E_TIMEOUT:
	case -EINTR:
		return 0;
	default:
		return fail("cannot receive", result);
	}
}

static int send_line(struct chat *chat)
{
	int result = ivs_topic_publish(chat->own, &chat->line, sizeof(chat->line));

	memset(chat->line.text, 0, sizeof(chat->line.text));
	chat->typed_len = 0;
	return result ? fail("cannot send", result) : 0;
}

/* Use read(2) instead of fgets(), because poll(2) does not see what stdio has buffered. */
static int take_input(struct chat *chat)
{
	char bytes[256];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
	int status = 0;

	if (n < 0)
		return errno == EINTR ? 0 : fail("cannot read the input", -errno);
	chat->ends = !n;
	for (ssize_t i = 0; i < n && !status; i++) {
		bool is_end = bytes[i] == '\n';

		if (!is_end)
			chat->line.text[chat->typed_len++] = bytes[i];
		/* Split lines that are too long, and send no empty ones. */
		if (chat->typed_len == TEXT_LEN - 1 || (is_end && chat->typed_len))
			status = send_line(chat);
	}
	if (chat->ends && chat->typed_len)
		status = send_line(chat);
	return status;
}

/* Wait for input and for the other peers, and handle the input. */
static int wait_once(struct chat *chat)
{
	struct pollfd fds[] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = ivs_channels_fd(chat->channels), .events = POLLIN},
	};
	int wait_ms = 0; /* only look at the input if a channel already has something to report */
	int error = 0;
	int result = ivs_channels_begin_wait(chat->channels, &wait_ms);

	/* Until ivs_channels_end_wait(), make no other call for the channels. */
	if (poll(fds, 2, result == IVS_CHANNEL_E_TIMEOUT ? wait_ms : 0) < 0)
		error = errno;
	result = ivs_channels_end_wait(chat->channels);
	if (result && result != -EINTR)
		return fail("cannot wait", result);
	if (error)
		return error == EINTR ? 0 : fail("cannot poll", -error);
	return fds[0].revents ? take_input(chat) : 0;
}

/* Return: 0, IVS_CHANNEL_E_*, -errno. */
static int open_topics(struct chat *chat)
{
	const struct ivs_topic_options size = {.message_len = sizeof(struct line)};
	/* A peer that was just found has published at least one line: begin with the last one. */
	const struct ivs_subscriber_options begin = {.last = true};
	uint32_t own = ivs_channels_section(chat->channels);
	char name[IVS_CHANNEL_NAME_MAX + 1];
	int result;

	snprintf(name, sizeof(name), "chat of %u", own);
	result = ivs_topic_open_publisher(chat->channels, name, &size, &chat->own);
	chat->others_n = ivs_channels_sections(chat->channels);
	if (chat->others_n > PEERS_MAX)
		chat->others_n = PEERS_MAX;
	for (uint32_t i = 0; i < chat->others_n && !result; i++) {
		snprintf(name, sizeof(name), "chat of %u", i);
		if (i != own)
			result = ivs_topic_open_subscriber(chat->channels, name, &begin,
							   &chat->others[i].topic);
	}
	return result;
}

static int run(struct chat *chat)
{
	int result = 0;
	int status = 0;

	if (ivs_channels_section(chat->channels) >= PEERS_MAX) {
		fprintf(stderr, "chat: only the peers 0 to %d can chat\n", PEERS_MAX - 1);
		return 1;
	}
	result = open_topics(chat);
	if (result)
		status = fail("cannot open the topics", result);
	else
		status = send_line(chat); /* without text: this peer has joined */
	if (!status)
		printf("chat: I am %u %s\n", ivs_channels_section(chat->channels), chat->line.name);
	while (!status && !chat->ends) {
		/* One line of each, so that a peer that floods the chat holds up no other. */
		for (uint32_t i = 0; i < chat->others_n && !status; i++)
			status = chat->others[i].topic ? take_line(&chat->others[i], i) : 0;
		if (!status)
			status = wait_once(chat);
	}
	for (uint32_t i = 0; i < chat->others_n; i++)
		ivs_topic_close(chat->others[i].topic);
	ivs_topic_close(chat->own);
	return status;
}

static int usage(bool is_help)
{
	fputs("usage: chat ADDRESS NAME [SECTION]\n", is_help ? stdout : stderr);
	return is_help ? 0 : 2;
}

/* Return: whether @text is a number; it is then stored in *@section. */
static bool parse_section(const char *text, uint32_t *section)
{
	char *end;

	*section = (uint32_t)strtoul(text, &end, 10);
	return isdigit((unsigned char)*text) && !*end;
}

int main(int argc, char **argv)
{
	struct ivs_channels_options opts = IVS_CHANNELS_OPTIONS_INIT;
	struct chat chat = {0};
	struct ivs_peer *peer;
	struct ivs_error err;
	int status;

	if (argc == 2 && !strcmp(argv[1], "--help"))
		return usage(true);
	if (argc < 3 || argc > 4 || !*argv[2] ||
	    (argc == 4 && !parse_section(argv[3], &opts.section)))
		return usage(false);
	snprintf(chat.line.name, sizeof(chat.line.name), "%s", argv[2]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (ivs_peer_open(argv[1], NULL, &peer, &err)) {
		fprintf(stderr, "chat: %s\n", err.text);
		return 1;
	}
	if (ivs_channels_open(peer, &opts, &chat.channels, &err)) {
		fprintf(stderr, "chat: %s\n", err.text);
		ivs_peer_close(peer);
		return 1;
	}
	status = run(&chat);
	ivs_channels_close(chat.channels);
	ivs_peer_close(peer);
	return status;
}
