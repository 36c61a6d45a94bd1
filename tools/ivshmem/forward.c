/* SPDX-License-Identifier: BSD-3-Clause */
/* The command forward: sockets over streams. */
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "daemon/stall.h"
#include "tools/ivshmem/channel_target.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/forward_loop.h"

#define NUMBER_LEN 16
#define INVALID_NAME "invalid name of a stream"
#define FIX_LEN 128

/**
 * struct command_line - of forward
 * @names: copies of the names of --serve, by rule
 */
struct command_line {
	struct channel_target target;
	struct forward forward;
	char names[FORWARD_RULES_MAX][IVS_CHANNEL_NAME_MAX + 1];
	bool verbose;
};

/* Return: the next rule; NULL after printing that there are too many. */
static struct forward_rule *new_rule(struct command_line *line, const char *value)
{
	struct forward_rule *rule = &line->forward.rules[line->forward.rules_n];

	if (line->forward.rules_n == FORWARD_RULES_MAX) {
		usage_error("too many addresses", value,
			    "use at most 32 options --listen and --serve");
		return NULL;
	}
	line->forward.rules_n++;
	*rule = (struct forward_rule){
		.sockets = IVS_LISTENER_INIT, .is_readable = true, .waiting_fd = -1};
	return rule;
}

/* Return: the last --listen, if it has no name yet; otherwise NULL. */
static struct forward_rule *nameless_rule(struct command_line *line)
{
	unsigned int n = line->forward.rules_n;

	return n && !line->forward.rules[n - 1].end.name ? &line->forward.rules[n - 1] : NULL;
}

static int take_listen(struct command_line *line, const char *value)
{
	struct forward_rule *rule;

	if (nameless_rule(line))
		return usage_error("no --to after --listen", nameless_rule(line)->end.address.text,
				   "name the stream with --to NAME");
	rule = new_rule(line, value);
	return rule ? forward_address_parse(value, &rule->end.address) : STATUS_USAGE;
}

static int take_to(struct command_line *line, const char *value)
{
	struct forward_rule *rule = nameless_rule(line);

	if (!rule)
		return usage_error("no --listen before --to", value,
				   "use --listen ADDRESS --to NAME");
	rule->end.name = value;
	return channel_target_check_name(value, INVALID_NAME, value);
}

static int take_serve(struct command_line *line, const char *value)
{
	const char *equals = strchr(value, '=');
	struct forward_rule *rule;
	char *name;

	if (nameless_rule(line))
		return usage_error("no --to after --listen", nameless_rule(line)->end.address.text,
				   "name the stream with --to NAME");
	if (!equals || equals - value > IVS_CHANNEL_NAME_MAX)
		return usage_error("invalid --serve", value,
				   "use NAME=ADDRESS, such as ssh=tcp:127.0.0.1:22");
	name = line->names[line->forward.rules_n % FORWARD_RULES_MAX];
	rule = new_rule(line, value);
	if (!rule)
		return STATUS_USAGE;
	snprintf(name, IVS_CHANNEL_NAME_MAX + 1, "%.*s", (int)(equals - value), value);
	rule->end.name = name;
	rule->serves = true;
	if (channel_target_check_name(name, INVALID_NAME, value))
		return STATUS_USAGE;
	return forward_address_parse(equals + 1, &rule->end.address);
}

static int take_number(struct command_line *line, int option, const char *value)
{
	uint64_t number;

	switch (option) {
	case 's':
		return channel_target_section(&line->target, value);
	case 'm':
		if (!ivs_parse_uint(value, 1, FORWARD_CONNECTIONS_MAX, &number))
			return usage_error("invalid number of connections", value,
					   "use 1 to 31: a connection takes two of the 63 "
					   "endpoints of the section");
		line->forward.connections_max = (unsigned int)number;
		return 0;
	default:
		if (!ivs_parse_size(value, &number) || !number)
			return usage_error("invalid size", value, "use a size, such as 64K");
		line->forward.buffer_len = number;
		return 0;
	}
}

static int take_option(void *context, int option, const char *value)
{
	struct command_line *line = context;

	switch (option) {
	case 'l':
		return take_listen(line, value);
	case 't':
		return take_to(line, value);
	case 'S':
		return take_serve(line, value);
	case 's':
	case 'm':
	case 'b':
		return take_number(line, option, value);
	case 'v':
		line->verbose = true;
		return 0;
	default:
		return target_option(&line->target.target, option);
	}
}

/* Return: 0, or STATUS_USAGE after printing that the section has too few endpoints. */
static int check_connections(struct forward *forward)
{
	unsigned int most = forward_connections_max(forward);
	char value[NUMBER_LEN];
	char fix[FIX_LEN];

	if (!forward->connections_max)
		forward->connections_max = most;
	if (forward->connections_max <= most)
		return 0;
	snprintf(value, sizeof(value), "%u", forward->connections_max);
	snprintf(fix, sizeof(fix),
		 "use at most %u, or fewer --serve, because each takes an endpoint of the section",
		 most);
	return usage_error("too many connections", value, fix);
}

static int take_operand(void *context, char *value)
{
	return target_operand(&((struct command_line *)context)->target.target, value);
}

static int parse(struct command_line *line, int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem forward ADDRESS --listen SOCKET --to NAME [OPTION]...\n"
		"       ivshmem forward ADDRESS --serve NAME=SOCKET [OPTION]...\n"
		"\n"
		"Forwards sockets between peers, over streams in the region, until SIGINT or\n"
		"SIGTERM. One peer listens at a socket, and the other connects to one. SOCKET is\n"
		"unix:PATH or tcp:HOST:PORT; HOST is an IP address (IPv6: [::1]) or localhost.\n"
		"\n"
		"  -l, --listen SOCKET    accept connections at SOCKET, and connect each to\n"
		"  -t, --to NAME          the stream NAME\n"
		"  -S, --serve NAME=SOCKET  connect each stream NAME to SOCKET\n"
		"                         (these options can be repeated)\n"
		"  -m, --max-connections N  refuse more than N connections; by default, and at\n"
		"                         most, 31, fewer if there are several --serve\n"
		"  -b, --buffer SIZE      how much is under way in one direction of a connection;\n"
		"                         by default, a part of the section for each connection\n"
		"  -v, --verbose          also log connections\n" CHANNEL_HELP "\n" TARGET_ADDRESSES
		"\n"
		"Example: reach the ssh server of the host from a guest, at port 2222\n"
		"  host:   ivshmem forward unix:/run/ivshmem/my-vms.sock --serve "
		"ssh=tcp:127.0.0.1:22\n"
		"  guest:  ivshmem forward pci: --listen tcp:127.0.0.1:2222 --to ssh\n";
	static const struct option options[] = {
		{"listen", required_argument, NULL, 'l'},
		{"to", required_argument, NULL, 't'},
		{"serve", required_argument, NULL, 'S'},
		{"section", required_argument, NULL, 's'},
		{"max-connections", required_argument, NULL, 'm'},
		{"buffer", required_argument, NULL, 'b'},
		{"verbose", no_argument, NULL, 'v'},
		TARGET_OPTIONS,
		{0},
	};
	static const struct usage usage = {help,	 "l:t:S:s:m:b:v" TARGET_LETTERS,
					   options,	 take_option,
					   "see --help", take_operand};
	int status = usage_parse(&usage, line, argc, argv);

	if (status)
		return status;
	if (nameless_rule(line))
		return usage_error("no --to after --listen", nameless_rule(line)->end.address.text,
				   "name the stream with --to NAME");
	if (line->target.target.text && !line->forward.rules_n) {
		fprintf(stderr, "%s: nothing to forward: use --listen and --to, or --serve\n",
			usage_name());
		return STATUS_USAGE;
	}
	return check_connections(&line->forward);
}

static int run(int argc, char **argv)
{
	static struct command_line line = {.target = CHANNEL_TARGET_INIT};
	int status = parse(&line, argc, argv);

	if (status)
		return status < 0 ? 0 : status;
	ivs_log_init(usage_name(), line.verbose);
	ivs_stall_open();
	status = channel_target_open(&line.target);
	if (status)
		return status;
	status = forward_run(&line.forward, line.target.peer, line.target.channels);
	channel_target_close(&line.target);
	return status;
}

const struct command command_forward = {"forward", "forward sockets to other peers", run};
