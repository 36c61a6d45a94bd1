/* SPDX-License-Identifier: BSD-3-Clause */
/* The command subscribe: messages of a topic. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/message_receive.h"

/** struct subscribe - the command line of subscribe, and its topic */
struct subscribe {
	struct message_receive base;
	struct ivs_subscriber_options opts;
	struct ivs_topic *topic;
};

static int take_option(void *context, int option, const char *value)
{
	struct subscribe *subscribe = context;

	switch (option) {
	case 'N':
		subscribe->opts.newest = true;
		return 0;
	case 'L':
		subscribe->opts.last = true;
		return 0;
	default:
		return message_receive_option(&subscribe->base, option, value);
	}
}

static int take_operand(void *context, char *value)
{
	return channel_target_operand(&((struct subscribe *)context)->base.target, value);
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
		"                         if there is one\n" MESSAGE_RECEIVE_HELP
		"\n" TARGET_ADDRESSES "\n"
		"Example: print the current value\n"
		"  ivshmem subscribe pci: load --newest --last --count 1\n";
	static const struct option options[] = {
		{"newest", no_argument, NULL, 'N'},
		{"last", no_argument, NULL, 'L'},
		MESSAGE_RECEIVE_OPTIONS,
		{0},
	};
	static const struct usage usage = {help,	 "NL" MESSAGE_RECEIVE_LETTERS,
					   options,	 take_option,
					   "see --help", take_operand};

	return usage_parse(&usage, subscribe, argc, argv);
}

static int receive_one(void *context, void *buffer, size_t room, size_t *len, int timeout_ms)
{
	return ivs_topic_receive(((const struct subscribe *)context)->topic, buffer, room, len,
				 timeout_ms);
}

static int failed(void *context, int result)
{
	return channel_target_failed(&((const struct subscribe *)context)->base.target, result);
}

static int receive_all(void *context)
{
	struct subscribe *subscribe = context;
	const struct channel_target *target = &subscribe->base.target;
	int result = ivs_topic_open_subscriber(target->channels, target->name, &subscribe->opts,
					       &subscribe->topic);
	uint64_t missed;
	int status;

	if (result)
		return failed(subscribe, result);
	status = message_receive_all(&subscribe->base);
	missed = ivs_topic_missed(subscribe->topic);
	if (missed && !subscribe->opts.newest)
		fprintf(stderr, "ivshmem subscribe: %" PRIu64 " messages were missed\n", missed);
	ivs_topic_close(subscribe->topic);
	return status;
}

static int run_subscribe(int argc, char **argv)
{
	static struct subscribe subscribe = {.base = MESSAGE_RECEIVE_INIT};
	int status = parse(&subscribe, argc, argv);

	subscribe.base.receive = receive_one;
	subscribe.base.failed = failed;
	subscribe.base.context = &subscribe;
	if (status)
		return status < 0 ? 0 : status;
	return message_receive_run(&subscribe.base, receive_all);
}

const struct command command_subscribe = {"subscribe", "print the messages of a topic",
					  run_subscribe};
