/* SPDX-License-Identifier: BSD-3-Clause */
/* The command top: servers, peers, doorbells and regions of this host, again and again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/json_print.h"
#include "tools/ivshmem/top_screen.h"
#include "tools/shared/usage.h"

#define CONTROLS_MAX 16
#define INTERVAL_MS 2000
#define ONCE_MS 500 /* of --once */
#define INTERVAL_MAX_S 3600
#define ASK_COST 20 /* servers spend at most 1/20 of their time on replies */

/**
 * struct top_settings - the command line
 * @interval_ms: 0: the default
 * @once:        print instead of showing a screen
 */
struct top_settings {
	struct top_view view;
	const char *controls[CONTROLS_MAX];
	size_t controls_n;
	unsigned int interval_ms;
	bool once;
	bool json;
};

static const char help_text[] =
	"usage: ivshmem top [OPTION]...\n"
	"\n"
	"Shows the servers and regions of this host, the peers of each server, the rings\n"
	"that peers have not read, and the clients that servers have refused.\n"
	"\n"
	"  -i, --interval SECONDS  time from one sample to the next, from 0.1 to 3600\n"
	"                         (default 2; with --once 0.5)\n"
	"  -1, --once             take three samples, print them, and exit\n"
	"  -j, --json             like --once, as JSON\n"
	"  -s, --sort COLUMN      sort the peers by unread (the default), seen, behind, age,\n"
	"                         program, pid or id\n"
	"  -r, --reverse          reverse the order of the peers\n"
	"  -f, --filter TEXT      show only rows that contain the text\n"
	"  -c, --control PATH     the control socket of a server that is not found by itself;\n"
	"                         up to 16 times\n"
	"  -h, --help, -V, --version\n"
	"\n"
	"Peers are known only of servers that run with --control, and only to users that\n"
	"may connect to the control socket: run this command as root. Press ? for keys.\n"
	"\n"
	"Examples:\n"
	"  sudo ivshmem top\n"
	"  sudo ivshmem top --once --filter 'not reading'\n";

static const struct option options[] = {
	{"interval", required_argument, NULL, 'i'}, {"once", no_argument, NULL, '1'},
	{"json", no_argument, NULL, 'j'},	    {"sort", required_argument, NULL, 's'},
	{"reverse", no_argument, NULL, 'r'},	    {"filter", required_argument, NULL, 'f'},
	{"control", required_argument, NULL, 'c'},  {"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},	    {NULL, 0, NULL, 0},
};

static int take_interval(struct top_settings *settings, const char *value)
{
	char *end;
	double s;

	errno = 0;
	s = strtod(value, &end);
	if (end == value || *end || errno || !(s >= 0.1 && s <= INTERVAL_MAX_S))
		return usage_error("invalid interval", value, "use 0.1 to 3600 seconds");
	settings->interval_ms = (unsigned int)(s * 1000 + 0.5);
	return 0;
}

static int take_sort(struct top_settings *settings, const char *value)
{
	for (enum top_sort sort = 0; sort < TOP_SORTS_N; sort++) {
		if (!strcmp(value, top_sort_name(sort))) {
			settings->view.order.sort = sort;
			return 0;
		}
	}
	return usage_error("invalid order", value,
			   "use unread, seen, behind, age, program, pid or id");
}

static int take_filter(struct top_settings *settings, const char *value)
{
	if (strlen(value) >= sizeof(settings->view.order.filter) || !ivs_text_is_printable(value))
		return usage_error("invalid filter", value,
				   "use up to 63 bytes of UTF-8 without control characters");
	strcpy(settings->view.order.filter, value);
	return 0;
}

static int take_control(struct top_settings *settings, const char *value)
{
	if (settings->controls_n == CONTROLS_MAX)
		return usage_error("surplus control socket", value, "at most 16 can be given");
	if (!*value || strlen(value) >= TOP_PATH_LEN)
		return usage_error("invalid control socket", value, "use the path of a socket");
	settings->controls[settings->controls_n++] = value;
	return 0;
}

static int take_option(void *context, int option, const char *value)
{
	struct top_settings *settings = context;

	switch (option) {
	case 'i':
		return take_interval(settings, value);
	case '1':
		settings->once = true;
		return 0;
	case 'j':
		settings->once = settings->json = true;
		return 0;
	case 's':
		return take_sort(settings, value);
	case 'r':
		settings->view.order.reverse = true;
		return 0;
	case 'f':
		return take_filter(settings, value);
	case 'c':
		return take_control(settings, value);
	default:
		return STATUS_USAGE;
	}
}

static int print(struct top_sampler *sampler, const struct top_settings *settings)
{
	char notice[TOP_NOTE_LEN];
	int status = 0;
	int result = 0;

	pthread_mutex_lock(&sampler->lock);
	top_notice(sampler, notice);
	if (settings->json)
		status = json_print(top_json(&sampler->model));
	else
		result = top_print(&settings->view, &sampler->model, ivs_clock_wall_ms());
	pthread_mutex_unlock(&sampler->lock);
	if (result)
		status = usage_failed("%s", strerror(-result));
	else if (!settings->json && fflush(stdout))
		status = usage_failed("cannot print: %s", strerror(errno));
	if (*notice)
		usage_failed("%s", notice);
	return status;
}

static int run_once(struct top_sampler *sampler, const struct top_settings *settings)
{
	char busy[TOP_PATH_LEN];

	if (!top_sampler_wait(sampler, TOP_SAME_MAX))
		return print(sampler, settings);
	pthread_mutex_lock(&sampler->lock);
	memcpy(busy, sampler->busy, sizeof(busy));
	pthread_mutex_unlock(&sampler->lock);
	return usage_failed("gave up waiting for %s", busy);
}

static int top(int argc, char **argv)
{
	static const struct usage usage = {help_text,	"i:1js:rf:c:hV", options,
					   take_option, "see --help",	 NULL};
	static struct top_settings settings;
	static struct top_sampler sampler; /* the thread uses it until the process ends */
	int status = usage_parse(&usage, &settings, argc, argv);
	int result;

	if (status)
		return status < 0 ? 0 : status;
	if (!settings.once && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
		return usage_failed("standard input and output are not a terminal: use --once or "
				    "--json");
	if (!settings.interval_ms)
		settings.interval_ms = settings.once ? ONCE_MS : INTERVAL_MS;
	result = top_sampler_start(&sampler, settings.interval_ms, settings.once ? 0 : ASK_COST,
				   settings.controls, settings.controls_n);
	if (result)
		return usage_failed("cannot start: %s", strerror(-result));
	return settings.once ? run_once(&sampler, &settings)
			     : top_screen_run(&sampler, &settings.view);
}

const struct command command_top = {
	"top",
	"watch the servers of this host, their peers, and unread rings",
	top,
};
