/* SPDX-License-Identifier: BSD-3-Clause */
/* The command subscribe: messages of a topic. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/ivshmem/channel_target.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/message_print.h"

#define ROOM_MIN 4096

/** struct subscribe - the command line of subscribe */
struct subscribe {
	struct channel_target target;
	struct message_print print;
	struct ivs_subscriber_options opts;
};

static int take_option(void *context, int option, const char *value)
{
	struct subscribe *subscribe = context;
	int status = message_print_option(&subscribe->print, option, value);

	if (status >= 0)
		return status;
	switch (option) {
	case 'N':
		subscribe->opts.newest = true;
		return 0;
	case 'L':
		subscribe->opts.last = true;
		return 0;
	default:
		return channel_target_option(&subscribe->target, option, value);
	}
}

static int take_operand(void *context, char *value)
{
	return channel_target_operand(&((struct subscribe *)context)->target, value);
}

static int parse(struct subscribe *subscribe, int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem subscribe ADDRESS NAME [OPTION]...\n"
		"\n"
		"Prints each message of the topic NAME and a newline, until it is interrupted.\n"
		"The topic may be created later. Says how many messages were missed, because the\n"
		"publisher does not wait.\n"
		"\n"
		"  -N, --newest           print the newest message only, and skip older ones\n"
		"  -L, --last             begin with the last message that was published before,\n"
		"                         if there is one\n" MESSAGE_PRINT_HELP CHANNEL_HELP
		"\n" TARGET_ADDRESSES "\n"
		"Example: print the current value\n"
		"  ivshmem subscribe pci: load --newest --last --count 1\n";
	static const struct option options[] = {
		{"newest", no_argument, NULL, 'N'},
		{"last", no_argument, NULL, 'L'},
		MESSAGE_PRINT_OPTIONS,
		CHANNEL_OPTIONS,
		{0},
	};
	static const struct usage usage = {help,	 "NL" MESSAGE_PRINT_LETTERS CHANNEL_LETTERS,
					   options,	 take_option,
					   "see --help", take_operand};

	return usage_parse(&usage, subscribe, argc, argv);
}

static int receive_one(struct subscribe *subscribe, struct ivs_topic *topic, size_t *len,
		       int timeout_ms)
{
	struct message_print *print = &subscribe->print;

	for (;;) {
		int result = ivs_topic_receive(topic, print->buffer, print->room, len, timeout_ms);

		if (result != IVS_CHANNEL_E_TOO_LONG)
			return result;
		/* By the next call, the publisher may have replaced it by a longer message. */
		result = message_print_make_room(print, *len);
		if (result)
			return result;
	}
}

/* Return: 0: go on; or an exit status after printing the reason. */
static int handle(struct subscribe *subscribe, int result, size_t len)
{
	const struct channel_target *target = &subscribe->target;

	switch (result) {
	case 0:
		return message_print(&subscribe->print, len);
	case -EINTR:
	case IVS_CHANNEL_E_ENDED: /* there may be another publisher later */
		return 0;
	case IVS_CHANNEL_E_TIMEOUT:
		if (target->timeout_ms < 0)
			return 0; /* the publisher was too fast */
		return usage_failed("\"%s\" in %s: no message within %d s", target->name,
				    target->target.address, target->timeout_ms / 1000);
	default:
		return channel_target_failed(target, result);
	}
}

static int receive_all(struct subscribe *subscribe)
{
	struct ivs_topic *topic;
	uint64_t missed;
	int status = 0;
	int result = message_print_make_room(&subscribe->print, ROOM_MIN);

	if (!result)
		result = ivs_topic_open_subscriber(subscribe->target.channels,
						   subscribe->target.name, &subscribe->opts,
						   &topic);
	if (result)
		return channel_target_failed(&subscribe->target, result);
	while (!status && subscribe->print.left_n) {
		size_t len = 0;

		result = receive_one(subscribe, topic, &len, 0);
		if (result == IVS_CHANNEL_E_TIMEOUT) {
			status = message_print_flush();
			if (!status)
				result = receive_one(subscribe, topic, &len,
						     subscribe->target.timeout_ms);
		}
		if (!status)
			status = handle(subscribe, result, len);
	}
	if (!status)
		status = message_print_flush();
	missed = ivs_topic_missed(topic);
	if (missed && !subscribe->opts.newest)
		fprintf(stderr, "ivshmem subscribe: %" PRIu64 " messages were missed\n", missed);
	ivs_topic_close(topic);
	return status;
}

static int run_subscribe(int argc, char **argv)
{
	static struct subscribe subscribe = {.target = CHANNEL_TARGET_INIT,
					     .print = MESSAGE_PRINT_INIT};
	int status = parse(&subscribe, argc, argv);

	if (!status)
		status = channel_target_open_named(&subscribe.target);
	if (status)
		return status < 0 ? 0 : status;
	status = receive_all(&subscribe);
	channel_target_close(&subscribe.target);
	free(subscribe.print.buffer);
	return status;
}

const struct command command_subscribe = {"subscribe", "print the messages of a topic",
					  run_subscribe};
