/* SPDX-License-Identifier: BSD-3-Clause */
/* The command send: messages to the receiver of a queue. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/ivshmem/channel_target.h"
#include "tools/ivshmem/commands.h"

#define MESSAGES_N 8
#define MESSAGE_LEN_MAX (64 * 1024)
#define MESSAGE_LEN_MIN 64

/**
 * struct send - the command line of send
 * @words:   TEXT, words_n of them; joined with blanks
 * @text:    the message that consists of @words; NULL: the lines of standard input are messages
 * @lines_n: number of lines that were read
 * @max:     maximum length of a message
 * @too_long: a message was longer
 */
struct send {
	struct channel_target target;
	char **words;
	size_t words_n;
	char *text;
	uint64_t lines_n;
	uint32_t max;
	bool too_long;
};

static int take_option(void *context, int option, const char *value)
{
	return channel_target_option(&((struct send *)context)->target, option, value);
}

static int take_operand(void *context, char *value)
{
	struct send *send = context;
	char **more;

	if (channel_target_operand(&send->target, value) != USAGE_SURPLUS)
		return 0;
	more = reallocarray(send->words, send->words_n + 1, sizeof(*more));
	if (!more)
		return usage_failed("%s", strerror(ENOMEM));
	send->words = more;
	send->words[send->words_n++] = value;
	return 0;
}

static int parse(struct send *send, int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem send ADDRESS NAME [TEXT]... [OPTION]...\n"
		"\n"
		"Sends the words of TEXT, separated by blanks, as one message to the peer that\n"
		"receives from the queue NAME. Without TEXT, each line of standard input is a\n"
		"message. Waits until the receiver has taken all messages.\n"
		"\n"
		"  -t, --timeout SECONDS  time limit for each wait for the receiver; by default,\n"
		"                         wait indefinitely\n" CHANNEL_HELP "\n" TARGET_ADDRESSES
		"\n"
		"Example: a message to a guest that runs \"ivshmem receive pci: jobs\"\n"
		"  ivshmem send unix:/run/ivshmem/my-vms.sock jobs rotate logs\n";
	static const struct option options[] = {CHANNEL_OPTIONS, {0}};
	static const struct usage usage = {help,	CHANNEL_LETTERS, options,
					   take_option, "see --help",	 take_operand};

	return usage_parse(&usage, send, argc, argv);
}

/* Return: 0, -ENOMEM. */
static int join_words(struct send *send)
{
	size_t len = 0;

	for (size_t i = 0; i < send->words_n; i++)
		len += strlen(send->words[i]) + 1;
	send->text = malloc(len);
	if (!send->text)
		return -ENOMEM;
	len = 0;
	for (size_t i = 0; i < send->words_n; i++) {
		size_t n = strlen(send->words[i]);

		memcpy(send->text + len, send->words[i], n);
		send->text[len + n] = ' ';
		len += n + 1;
	}
	send->text[len - 1] = '\0';
	return 0;
}

/* A section may be too small for long messages. Return: 0, IVS_CHANNEL_E_*, -errno. */
static int open_queue(struct send *send, struct ivs_queue **out)
{
	struct ivs_queue_options options = {MESSAGES_N, MESSAGE_LEN_MAX};
	int result;

	if (send->text && strlen(send->text) < IVS_CHANNEL_MESSAGE_MAX)
		options = (struct ivs_queue_options){2, (uint32_t)strlen(send->text) + 1};
	for (;; options.message_len /= 2) {
		result = ivs_queue_open_sender(send->target.channels, send->target.name, &options,
					       out);
		if (result != IVS_CHANNEL_E_FULL || options.message_len < 2 * MESSAGE_LEN_MIN)
			break;
	}
	send->max = options.message_len;
	return result;
}

static int failed(const struct send *send, int result)
{
	if (result == IVS_CHANNEL_E_TIMEOUT)
		return usage_failed("\"%s\" in %s: the receiver has not taken all messages within "
				    "%d s",
				    send->target.name, send->target.target.address,
				    send->target.timeout_ms / 1000);
	return channel_target_failed(&send->target, result);
}

static int send_one(struct send *send, struct ivs_queue *queue, const char *message, size_t len)
{
	int result;

	do
		result = ivs_queue_send(queue, message, len, send->target.timeout_ms);
	while (result == -EINTR);
	if (result != IVS_CHANNEL_E_TOO_LONG)
		return result ? failed(send, result) : 0;
	send->too_long = true;
	if (send->text)
		return usage_failed("TEXT has %zu bytes, and the section has room for messages of "
				    "%" PRIu32 ": use a larger region",
				    len, send->max);
	return usage_failed("line %" PRIu64 " is longer than %" PRIu32
			    " bytes: use shorter lines, or \"ivshmem pipe\"",
			    send->lines_n, send->max);
}

/* Return: 0 when standard input can be read, or STATUS_FAILED after printing the reason. */
static int await_input(struct send *send, struct ivs_queue *queue)
{
	struct pollfd fds[] = {
		{STDIN_FILENO, POLLIN, 0},
		{ivs_channels_fd(send->target.channels), POLLIN, 0},
	};

	while (!fds[0].revents) {
		int result;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return usage_failed("cannot wait for standard input: %s", strerror(errno));
		/* Otherwise the server would have messages for this peer that it does not take. */
		result = ivs_channels_wait(send->target.channels, 0);
		if (!result) /* find the receiver, or find out that it has died */
			result = ivs_queue_flush(queue, 0);
		if (result && result != IVS_CHANNEL_E_TIMEOUT && result != -EINTR)
			return failed(send, result);
	}
	return 0;
}

/* Send the complete lines at the start of @text; the last one may lack a newline if @is_end. */
static int send_part(struct send *send, struct ivs_queue *queue, char *text, size_t *len,
		     bool is_end)
{
	size_t at = 0;
	int status = 0;

	while (!status && at < *len) {
		const char *newline = memchr(text + at, '\n', *len - at);
		size_t line_len = newline ? (size_t)(newline - text) - at : *len - at;

		if (!newline && !is_end && line_len <= send->max)
			break;
		send->lines_n++;
		status = send_one(send, queue, text + at, line_len);
		at += line_len + (newline ? 1 : 0);
	}
	*len -= at;
	memmove(text, text + at, *len);
	return status;
}

static int send_lines(struct send *send, struct ivs_queue *queue)
{
	static char text[MESSAGE_LEN_MAX + 2]; /* the longest line, a newline, and one byte */
	size_t len = 0;
	int status = 0;
	ssize_t n = 1;

	while (!status && n) {
		status = await_input(send, queue);
		if (status)
			break;
		n = read(STDIN_FILENO, text + len, sizeof(text) - len);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return usage_failed("cannot read standard input: %s", strerror(errno));
		if (n < 0)
			continue;
		len += (size_t)n;
		status = send_part(send, queue, text, &len, !n);
	}
	return status;
}

static int flush(struct send *send, struct ivs_queue *queue)
{
	int result;

	do
		result = ivs_queue_flush(queue, send->target.timeout_ms);
	while (result == -EINTR);
	return result ? failed(send, result) : 0;
}

static int send_all(struct send *send)
{
	struct ivs_queue *queue;
	int result = open_queue(send, &queue);
	int status;

	if (result)
		return channel_target_failed(&send->target, result);
	status = send->text ? send_one(send, queue, send->text, strlen(send->text))
			    : send_lines(send, queue);
	/* Closing the queue would lose what the receiver has not found. */
	if (!status || send->too_long)
		status |= flush(send, queue);
	ivs_queue_close(queue);
	return status;
}

static int run_send(int argc, char **argv)
{
	static struct send send = {.target = CHANNEL_TARGET_INIT};
	int status = parse(&send, argc, argv);

	if (!status && send.words_n && join_words(&send))
		status = usage_failed("%s", strerror(ENOMEM));
	if (!status)
		status = channel_target_open(&send.target);
	if (!status) {
		status = send_all(&send);
		channel_target_close(&send.target);
	}
	free(send.text);
	free(send.words);
	return status < 0 ? 0 : status;
}

const struct command command_send = {"send", "send messages to the receiver of a queue", run_send};
