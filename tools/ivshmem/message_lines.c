/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/message_lines.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/ivshmem/signals.h"

#define SIGNAL_DELAY_MS 500

int message_lines_operand(struct message_lines *lines, char *value)
{
	char **more;

	if (channel_target_operand(lines->target, value) != USAGE_SURPLUS)
		return 0;
	more = reallocarray(lines->words, lines->words_n + 1, sizeof(*more));
	if (!more)
		return usage_failed("%s", strerror(ENOMEM));
	lines->words = more;
	lines->words[lines->words_n++] = value;
	return 0;
}

int message_lines_join(struct message_lines *lines)
{
	size_t len = 0;

	if (!lines->words_n)
		return 0;
	for (size_t i = 0; i < lines->words_n; i++)
		len += strlen(lines->words[i]) + 1;
	lines->text = malloc(len);
	if (!lines->text)
		return usage_failed("%s", strerror(ENOMEM));
	len = 0;
	for (size_t i = 0; i < lines->words_n; i++) {
		size_t n = strlen(lines->words[i]);

		memcpy(lines->text + len, lines->words[i], n);
		lines->text[len + n] = ' ';
		len += n + 1;
	}
	lines->text[len - 1] = '\0';
	return 0;
}

static int send_one(struct message_lines *lines, const char *message, size_t len)
{
	int result;

	do
		result = lines->send(lines->context, message, len);
	while (result == -EINTR && !signals_have_stopped());
	if (result != IVS_CHANNEL_E_TOO_LONG)
		return result ? lines->failed(lines->context, result) : 0;
	lines->too_long = true;
	if (lines->text)
		return usage_failed("TEXT has %zu bytes, and the section has room for messages of "
				    "%" PRIu32 ": use a larger region",
				    len, lines->max);
	return usage_failed("line %" PRIu64 " is longer than %" PRIu32
			    " bytes: use shorter lines, or \"ivshmem pipe\"",
			    lines->lines_n, lines->max);
}

/* Return: 0 when standard input can be read, or STATUS_FAILED after printing the reason. */
static int await_input(struct message_lines *lines)
{
	struct pollfd fds[] = {
		{STDIN_FILENO, POLLIN, 0},
		{ivs_channels_fd(lines->target->channels), POLLIN, 0},
	};

	while (!fds[0].revents) {
		int result;

		/* Without an fd, a signal can arrive unnoticed just before the call. */
		if (poll(fds, 2, fds[1].fd < 0 ? SIGNAL_DELAY_MS : -1) < 0 && errno != EINTR)
			return usage_failed("cannot wait for standard input: %s", strerror(errno));
		/* Otherwise the server would have messages for this peer that it does not take. */
		result = ivs_channels_wait(lines->target->channels, 0);
		if (!result)
			result = lines->idle(lines->context);
		if (result && result != IVS_CHANNEL_E_TIMEOUT && result != -EINTR)
			return lines->failed(lines->context, result);
	}
	return 0;
}

/* Send the complete lines at the start of @text; the last one may lack a newline if @is_end. */
static int send_part(struct message_lines *lines, char *text, size_t *len, bool is_end)
{
	size_t at = 0;
	int status = 0;

	while (!status && at < *len && !signals_have_stopped()) {
		const char *newline = memchr(text + at, '\n', *len - at);
		size_t line_len = newline ? (size_t)(newline - text) - at : *len - at;

		if (!newline && !is_end && line_len <= lines->max)
			break;
		lines->lines_n++;
		status = send_one(lines, text + at, line_len);
		at += line_len + (newline ? 1 : 0);
	}
	*len -= at;
	memmove(text, text + at, *len);
	return status;
}

static int send_lines(struct message_lines *lines)
{
	static char text[MESSAGE_LINES_MAX + 2]; /* the longest line, a newline, and one byte */
	size_t len = 0;
	int status = 0;
	ssize_t n = 1;

	while (!status && n) {
		status = await_input(lines);
		if (status)
			break;
		n = read(STDIN_FILENO, text + len, sizeof(text) - len);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return usage_failed("cannot read standard input: %s", strerror(errno));
		if (n < 0)
			continue;
		len += (size_t)n;
		status = send_part(lines, text, &len, !n);
	}
	return status;
}

int message_lines_send(struct message_lines *lines)
{
	return lines->text ? send_one(lines, lines->text, strlen(lines->text)) : send_lines(lines);
}

void message_lines_deinit(struct message_lines *lines)
{
	free(lines->text);
	free(lines->words);
}
