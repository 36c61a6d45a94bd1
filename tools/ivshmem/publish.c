/* SPDX-License-Identifier: BSD-3-Clause */
/* The command publish: messages to the subscribers of a topic. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/message_lines.h"
#include "tools/ivshmem/signals.h"

#define MESSAGES_N 8
#define MESSAGE_LEN_MIN 64
#define LINGER_MAX (INT32_MAX / 1000)

/**
 * struct publish - the command line of publish, and its topic
 * @linger_s: how long the topic remains after the last message, in s
 */
struct publish {
	struct channel_target target;
	struct message_lines lines;
	uint64_t linger_s;
	struct ivs_topic *topic;
};

static int take_option(void *context, int option, const char *value)
{
	struct publish *publish = context;

	if (option != 'l')
		return channel_target_option(&publish->target, option, value);
	if (!ivs_parse_uint(value, 0, LINGER_MAX, &publish->linger_s))
		return usage_error("invalid number of seconds", value, "use 0 to 2147483");
	return 0;
}

static int take_operand(void *context, char *value)
{
	return message_lines_operand(&((struct publish *)context)->lines, value);
}

static int parse(struct publish *publish, int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem publish ADDRESS NAME [TEXT]... [OPTION]...\n"
		"\n"
		"Publishes the words of TEXT, separated by blanks, as one message to the\n"
		"subscribers of the topic NAME. Without TEXT, each line of standard input is a\n"
		"message. Does not wait for subscribers.\n"
		"\n"
		"  -l, --linger SECONDS   keep the topic for so long after the last message, for\n"
		"                         subscribers that begin with it (subscribe "
		"--last)\n" CHANNEL_HELP "\n" TARGET_ADDRESSES "\n"
		"Example: publish the load of this host every second\n"
		"  while cat /proc/loadavg; do sleep 1; done |\n"
		"    ivshmem publish unix:/run/ivshmem/my-vms.sock load\n";
	static const struct option options[] = {
		{"linger", required_argument, NULL, 'l'},
		{"section", required_argument, NULL, 's'},
		TARGET_OPTIONS,
		{0},
	};
	static const struct usage usage = {help,	"l:s:" TARGET_LETTERS, options,
					   take_option, "see --help",	       take_operand};

	return usage_parse(&usage, publish, argc, argv);
}

/* A section may be too small for long messages. Return: 0, IVS_CHANNEL_E_*, -errno. */
static int open_topic(struct publish *publish)
{
	struct ivs_topic_options options = {MESSAGES_N, MESSAGE_LINES_MAX};
	const char *text = publish->lines.text;
	int result;

	if (text && strlen(text) < IVS_CHANNEL_MESSAGE_MAX)
		options = (struct ivs_topic_options){2, (uint32_t)strlen(text) + 1};
	for (;; options.message_len /= 2) {
		result = ivs_topic_open_publisher(publish->target.channels, publish->target.name,
						  &options, &publish->topic);
		if (result != IVS_CHANNEL_E_FULL || options.message_len < 2 * MESSAGE_LEN_MIN)
			break;
	}
	publish->lines.max = options.message_len;
	return result;
}

static int failed(void *context, int result)
{
	return channel_target_failed(&((const struct publish *)context)->target, result);
}

static int publish_one(void *context, const char *message, size_t len)
{
	return ivs_topic_publish(((const struct publish *)context)->topic, message, len);
}

static int look(void *context)
{
	(void)context;
	return 0;
}

/* Keep the topic. Return: 0, STATUS_FAILED. */
static int linger(struct publish *publish)
{
	int64_t deadline_ns = ivs_clock_deadline((int)publish->linger_s * 1000);
	int left_ms;

	while (!signals_have_stopped() && (left_ms = ivs_clock_left_ms(deadline_ns))) {
		int result = ivs_channels_wait(publish->target.channels, left_ms);

		if (result && result != IVS_CHANNEL_E_TIMEOUT && result != -EINTR)
			return failed(publish, result);
	}
	return 0;
}

static int publish_all(struct publish *publish)
{
	int result = open_topic(publish);
	int status;

	if (result)
		return failed(publish, result);
	status = message_lines_send(&publish->lines);
	if (!status)
		status = linger(publish);
	ivs_topic_close(publish->topic);
	return status;
}

static int run_publish(int argc, char **argv)
{
	static struct publish publish = {.target = CHANNEL_TARGET_INIT};
	int status;

	publish.lines = (struct message_lines){
		.target = &publish.target,
		.send = publish_one,
		.idle = look,
		.failed = failed,
		.context = &publish,
	};
	status = parse(&publish, argc, argv);
	if (!status)
		status = message_lines_join(&publish.lines);
	if (!status)
		status = channel_target_open_named(&publish.target);
	if (!status) {
		signals_stop_peer(publish.target.peer);
		status = publish_all(&publish);
		channel_target_close(&publish.target);
	}
	message_lines_deinit(&publish.lines);
	return status < 0 ? 0 : status;
}

const struct command command_publish = {"publish", "publish messages to the subscribers of a topic",
					run_publish};
