/* SPDX-License-Identifier: BSD-3-Clause */
/* The command channels: what the sections of a region contain. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "tools/ivshmem/channels_rates.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/json_print.h"
#include "tools/ivshmem/target.h"
#include "tools/shared/table.h"

#define NUMBER_LEN 24
#define CELL_LEN 96
#define INTERVAL_MAX 3600 /* s */
#define LINES_MAX 10000	  /* hostile peers can fill 4096 sections of 63 endpoints */

/**
 * struct show - the command line of channels
 * @interval_s: the time over which rates are measured; 0: no rates are shown
 * @watch:      show everything again after each interval
 * @shown_n:    number of endpoints that have been shown
 * @used_n:     number of sections in use
 */
struct show {
	struct target target;
	unsigned int interval_s;
	bool watch;
	struct ivs_peer *peer;
	struct channels_region region;
	struct channels_rates rates;
	unsigned int shown_n;
	unsigned int used_n;
};

static const char *const state_names[] = {
	[SECTION_UNUSED] = "unused", [SECTION_HELD] = "held",	      [SECTION_LEFT] = "left",
	[SECTION_GONE] = "gone",     [SECTION_DISPUTED] = "disputed",
};

static const char *const kinds[IVS_ROLES_N] = {
	[IVS_ROLE_NONE] = "",
	[IVS_ROLE_QUEUE_SENDER] = "sender",
	[IVS_ROLE_QUEUE_RECEIVER] = "receiver",
	[IVS_ROLE_READER] = "reader",
	[IVS_ROLE_LISTENER] = "listener",
	[IVS_ROLE_CONNECTOR] = "connector",
	[IVS_ROLE_ACCEPTOR] = "acceptor",
	[IVS_ROLE_PUBLISHER] = "publisher",
	[IVS_ROLE_SUBSCRIBER] = "subscriber",
};

static int take_option(void *context, int option, const char *value)
{
	struct show *show = context;
	uint64_t number;

	switch (option) {
	case 'i':
		if (!ivs_parse_uint(value, 1, INTERVAL_MAX, &number))
			return usage_error("invalid interval", value, "use 1 to 3600 seconds");
		show->interval_s = (unsigned int)number;
		return 0;
	case 'w':
		show->watch = true;
		return 0;
	default:
		return target_json_option(&show->target, option);
	}
}

static int take_operand(void *context, char *value)
{
	return target_operand(&((struct show *)context)->target, value);
}

static int parse(struct show *show, int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem channels ADDRESS [--interval SECONDS] [--watch] [--json]\n"
		"\n"
		"Lists the sections of the region that are in use, and their endpoints: queues,\n"
		"topics, streams, and how much has not been read. Changes nothing, and needs no\n"
		"other peer. With a server's socket, this command becomes a peer itself while it\n"
		"runs.\n"
		"\n"
		"  -i, --interval SECONDS  also show the messages per second of each endpoint,\n"
		"                         measured over this time\n"
		"  -w, --watch            show everything again after each interval (1 s by\n"
		"                         default), until it is interrupted\n" TARGET_JSON_HELP
		"\n" TARGET_ADDRESSES "\n"
		"Example: the channels of a server's region\n"
		"  ivshmem channels unix:/run/ivshmem/my-vms.sock\n";
	static const struct option options[] = {
		{"interval", required_argument, NULL, 'i'},
		{"watch", no_argument, NULL, 'w'},
		TARGET_JSON_OPTIONS,
		{0},
	};
	static const struct usage usage = {
		help, "i:w" TARGET_JSON_LETTERS, options, take_option, "see --help", take_operand};
	int status = usage_parse(&usage, show, argc, argv);

	if (show->watch && !show->interval_s)
		show->interval_s = 1;
	return status;
}

/* Return: 0, or STATUS_FAILED after printing the reason. */
static int read_layout(struct show *show)
{
	const char *address = show->target.address;
	size_t len = ivs_peer_usable_len(show->peer);

	show->region.memory = ivs_peer_memory(show->peer, NULL);
	switch (ivs_channel_layout_read(show->region.memory, len, &show->region.layout)) {
	case 0:
		return 0;
	case IVS_CHANNEL_LAYOUT_E_EMPTY:
	case IVS_CHANNEL_LAYOUT_E_UNFINISHED:
		return usage_failed("%s has no channels: no peer has opened channels in it",
				    address);
	case IVS_CHANNEL_LAYOUT_E_VERSION:
		return usage_failed("%s has channels with layout version %" PRIu32
				    ", and this program supports version %d: use the same version "
				    "of ivshmem as the peers",
				    address, show->region.layout.version,
				    IVS_CHANNEL_LAYOUT_VERSION);
	case IVS_CHANNEL_LAYOUT_E_DAMAGED:
		return usage_failed("%s has a damaged layout of channels, or one that does not fit "
				    "into its %zu bytes",
				    address, len);
	default:
		return usage_failed("%s has no channels: it has other content", address);
	}
}

/* The next endpoint of a section that is in use. Return: its index; 0: there is none. */
static unsigned int next_endpoint(struct show *show, unsigned int section, unsigned int after,
				  struct endpoint_info *out)
{
	for (unsigned int i = after + 1; i < IVS_SECTION_ENDPOINTS_N; i++) {
		if (show->shown_n < LINES_MAX &&
		    channels_read_endpoint(&show->region, section, i, out)) {
			show->shown_n++;
			return i;
		}
	}
	return 0;
}

/* Return: as channels_rates_next(); -1 if no rates are wanted. */
static double rate_of(struct show *show, unsigned int section, unsigned int index)
{
	return show->interval_s ? channels_rates_next(&show->rates, &show->region, section, index)
				: -1;
}

static const char *kind_of(const struct endpoint_info *info)
{
	return kinds[info->view.state.role];
}

/* Return: why the endpoint cannot be used, or is used no more; NULL: there is no reason. */
static const char *problem_of(const struct endpoint_info *info)
{
	if (info->damaged)
		return "impossible values";
	if (info->impossible)
		return "impossible positions";
	if (info->bad_message)
		return "impossible message";
	if (info->other_gone)
		return info->has_lane ? "reader gone" : "writer gone";
	return NULL;
}

static json_t *number_json(uint64_t number, bool known)
{
	return known && number <= INT64_MAX ? json_integer((json_int_t)number) : json_null();
}

static json_t *endpoint_json(unsigned int index, const struct endpoint_info *info, double rate)
{
	json_t *other = json_null();
	char name[IVS_SECTION_NAME_MAX + 1];

	if (info->has_other)
		other = json_pack("{s:i, s:i}", "section", info->other.section, "endpoint",
				  info->other.index);
	return json_pack(
		"{s:i, s:s, s:s, s:b, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:s?}",
		"endpoint", index, "kind", kind_of(info), "name",
		ivs_text_shown(info->view.name, name, sizeof(name)), "closed",
		info->view.state.closed, "damaged", info->damaged, "sleeps", info->sleeps, "other",
		other, "slots", number_json(info->view.shape.slots_n, info->has_lane),
		"message_len", number_json(info->message_len, info->has_lane), "position",
		number_json(info->position, info->has_position), "messages_per_s",
		rate >= 0 ? json_real(rate) : json_null(), "unread",
		number_json(info->unread, info->unread_known), "overwritten",
		number_json(info->overwritten, info->unread_known && !info->has_lane), "missed",
		number_json(info->missed, info->has_position && !info->has_lane), "impossible",
		info->impossible, "problem", problem_of(info));
}

static json_t *section_json(struct show *show, unsigned int section,
			    const struct ivs_section_holder *holder, enum section_state state)
{
	json_t *endpoints = json_array();
	struct endpoint_info info;
	unsigned int index = 0;

	while ((index = next_endpoint(show, section, index, &info)))
		(void)json_array_append_new(
			endpoints, endpoint_json(index, &info, rate_of(show, section, index)));
	return json_pack("{s:i, s:o, s:o, s:s, s:o}", "section", (int)section, "id",
			 number_json((uint64_t)holder->id, holder->id >= 0), "vector",
			 number_json((uint64_t)holder->vector, holder->vector >= 0), "state",
			 state_names[state], "endpoints", endpoints);
}

static int print_json(struct show *show)
{
	const struct ivs_channel_layout *layout = &show->region.layout;
	json_t *sections = json_array();

	for (unsigned int i = 0; i < layout->sections_n; i++) {
		struct ivs_section_holder holder;
		enum section_state state = channels_read_section(&show->region, show->peer, i,
								 &holder);

		if (state != SECTION_UNUSED)
			(void)json_array_append_new(sections,
						    section_json(show, i, &holder, state));
	}
	return json_print(json_pack("{s:s, s:i, s:I, s:I, s:o, s:o, s:b}", "address",
				    show->target.address, "version", (int)layout->version,
				    "sections_n", (json_int_t)layout->sections_n, "section_len",
				    (json_int_t)layout->section_len, "interval_s",
				    number_json(show->interval_s, show->interval_s), "sections",
				    sections, "truncated", show->shown_n == LINES_MAX));
}

static int add_number(struct table *table, uint64_t number, bool known)
{
	char text[NUMBER_LEN] = "-";

	if (known)
		snprintf(text, sizeof(text), "%" PRIu64, number);
	return table_add(table, text);
}

static int add_rate(struct table *table, double rate)
{
	char text[NUMBER_LEN] = "-";

	if (rate >= 0)
		snprintf(text, sizeof(text), "%.*f", rate < 100 ? 1 : 0, rate);
	return table_add(table, text);
}

static int add_place(struct table *table, unsigned int section, unsigned int index, bool known)
{
	char text[NUMBER_LEN] = "-";

	if (known)
		snprintf(text, sizeof(text), "%u:%u", section, index);
	return table_add(table, text);
}

static const char *endpoint_state(const struct endpoint_info *info, char out[CELL_LEN])
{
	int len = snprintf(out, CELL_LEN, "%s%s", info->view.state.closed ? "closed" : "open",
			   info->sleeps ? ", sleeps" : "");
	const char *problem = problem_of(info);

	if (info->missed)
		len += snprintf(out + len, CELL_LEN - (size_t)len, ", missed %" PRIu64,
				info->missed);
	if (info->overwritten)
		snprintf(out + len, CELL_LEN - (size_t)len, ", misses %" PRIu64, info->overwritten);
	else if (problem)
		snprintf(out + len, CELL_LEN - (size_t)len, ", %s", problem);
	return out;
}

static int add_endpoint(struct show *show, struct table *table, unsigned int section,
			unsigned int index, const struct endpoint_info *info)
{
	char state[CELL_LEN];
	int result = add_place(table, section, index, true);

	if (!result)
		result = table_add(table, kind_of(info));
	if (!result)
		result = table_add(table, info->view.name);
	if (!result)
		result = add_place(table, info->other.section, info->other.index, info->has_other);
	if (!result)
		result = add_number(table, info->view.shape.slots_n, info->has_lane);
	if (!result)
		result = add_number(table, info->message_len, info->has_lane);
	if (!result)
		result = add_number(table, info->position, info->has_position);
	if (!result && show->interval_s)
		result = add_rate(table, rate_of(show, section, index));
	if (!result)
		result = add_number(table, info->unread, info->unread_known);
	return result ? result : table_add(table, endpoint_state(info, state));
}

/* Return: 0 or -ENOMEM. */
static int add_section(struct show *show, struct table *sections, struct table *endpoints,
		       unsigned int section)
{
	struct ivs_section_holder holder;
	enum section_state state = channels_read_section(&show->region, show->peer, section,
							 &holder);
	struct endpoint_info info;
	unsigned int index = 0;
	int result;

	if (state == SECTION_UNUSED)
		return 0;
	show->used_n++;
	result = add_number(sections, section, true);
	if (!result)
		result = add_number(sections, (uint64_t)holder.id, holder.id >= 0);
	if (!result)
		result = add_number(sections, (uint64_t)holder.vector, holder.vector >= 0);
	if (!result)
		result = table_add(sections, state_names[state]);
	while (!result && (index = next_endpoint(show, section, index, &info)))
		result = add_endpoint(show, endpoints, section, index, &info);
	return result;
}

/* Return: 0 or -ENOMEM. */
static int print_tables(struct show *show, const struct table *sections,
			const struct table *endpoints)
{
	const struct ivs_channel_layout *layout = &show->region.layout;
	int result = 0;

	printf("%" PRIu32 " sections of %" PRIu64 " bytes, %u in use\n", layout->sections_n,
	       layout->section_len, show->used_n);
	if (show->used_n) {
		putchar('\n');
		result = table_print(sections);
	}
	if (!result && show->shown_n) {
		putchar('\n');
		result = table_print(endpoints);
	}
	if (show->shown_n == LINES_MAX)
		printf("only the first %d endpoints are shown\n", LINES_MAX);
	return result;
}

static int print_text(struct show *show)
{
	static const struct table_column section_columns[] = {
		{"SECTION", true}, {"ID", true}, {"VECTOR", true}, {"STATE", false}};
	static const struct table_column endpoint_columns[] = {
		{"ENDPOINT", true}, {"KIND", false},  {"NAME", false},
		{"OTHER", true},    {"SLOTS", true},  {"LENGTH", true},
		{"POSITION", true}, {"UNREAD", true}, {"STATE", false}};
	static const struct table_column rate_columns[] = {
		{"ENDPOINT", true}, {"KIND", false},  {"NAME", false},	  {"OTHER", true},
		{"SLOTS", true},    {"LENGTH", true}, {"POSITION", true}, {"MSGS/S", true},
		{"UNREAD", true},   {"STATE", false}};
	struct table sections = {.columns = section_columns, .columns_n = 4};
	struct table endpoints = {.columns = show->interval_s ? rate_columns : endpoint_columns,
				  .columns_n = show->interval_s ? 10 : 9};
	int result = 0;

	for (unsigned int i = 0; i < show->region.layout.sections_n && !result; i++)
		result = add_section(show, &sections, &endpoints, i);
	if (!result)
		result = print_tables(show, &sections, &endpoints);
	table_deinit(&sections);
	table_deinit(&endpoints);
	if (result)
		return usage_failed("%s", strerror(-result));
	return fflush(stdout) ? usage_failed("cannot print: %s", strerror(errno)) : 0;
}

/* Return: 0, or STATUS_FAILED after printing the reason. */
static int show_once(struct show *show)
{
	show->shown_n = 0;
	show->used_n = 0;
	return show->target.json ? print_json(show) : print_text(show);
}

/* Return: 0, or STATUS_FAILED after printing the reason. */
static int show_all(struct show *show)
{
	int status = read_layout(show);

	if (!status && show->interval_s && channels_rates_init(&show->rates, &show->region))
		status = usage_failed("%s", strerror(ENOMEM));
	for (bool again = false; !status && (!again || show->watch); again = true) {
		if (again && !show->target.json)
			putchar('\n');
		if (show->interval_s)
			channels_rates_wait(show->peer, show->interval_s);
		status = show_once(show);
	}
	channels_rates_deinit(&show->rates);
	return status;
}

static int run_channels(int argc, char **argv)
{
	static struct show show;
	int status = parse(&show, argc, argv);

	if (!status)
		status = target_open(&show.target, true, &show.peer);
	if (status)
		return status < 0 ? 0 : status;
	target_take_joins(show.peer);
	status = show_all(&show);
	ivs_peer_close(show.peer);
	return status;
}

const struct command command_channels = {
	"channels", "list queues, topics and streams, and their users", run_channels};
