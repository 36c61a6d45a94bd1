/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/looking_glass_events.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/text.h"
#include "config/escape.h"
#include "daemon/json.h"

#define COMMAND "looking-glass-client -s -f "
#define RESTART_PAUSE_NS IVS_NS_PER_S

/* Print a JSON object on one line. If memory runs out, print nothing; the test continues. */
static void print_json(json_t *object)
{
	if (object && !ivs_json_write(object, JSON_COMPACT | JSON_PRESERVE_ORDER, stdout))
		putchar('\n');
	json_decref(object);
}

void events_started(const struct events *events, const struct event_start *start)
{
	const struct ivs_publisher_options *options = start->options;
	char shown[4 * 4096] = "";
	char command[sizeof(shown)] = "";
	struct ivs_out out = IVS_OUT_INIT(command, sizeof(command));
	char size[IVS_SIZE_TEXT_LEN];

	ivs_out_text(&out, COMMAND);
	ivs_escape(&out, IVS_SYNTAX_SHELL, start->path);
	if (events->json) {
		char valid[4096];

		print_json(json_pack("{ss, ss, sI, si, si, si, ss}", "event", "started", "path",
				     ivs_text_valid(start->path, valid, sizeof(valid)), "size",
				     (json_int_t)start->size, "width", (int)options->width,
				     "height", (int)options->height, "fps", (int)options->fps,
				     "command", ivs_text_valid(command, shown, sizeof(shown))));
	} else {
		printf("publishing %" PRIu32 "x%" PRIu32 " at %" PRIu32 " frames/s in %s (%s)\n"
		       "start the client %s:\n\n",
		       options->width, options->height, options->fps,
		       ivs_text_shown(start->path, shown, sizeof(shown)),
		       ivs_size_text(start->size, size), start->user);
		printf("    %s\n\n", ivs_text_shown(command, shown, sizeof(shown)));
	}
	fflush(stdout);
}

/* Print an event of a client. @frames: print how many frames the client took, too. */
static void print_client(const struct events *events, const char *name, unsigned int client,
			 bool frames, const char *text)
{
	uint64_t n = events->frames[client];

	if (events->json && frames)
		print_json(json_pack("{ss, si, sI}", "event", name, "client", (int)client, "frames",
				     (json_int_t)n));
	else if (events->json)
		print_json(json_pack("{ss, si}", "event", name, "client", (int)client));
	else if (frames)
		printf("client %u %s; it took %" PRIu64 " %s\n", client, text, n,
		       n == 1 ? "frame" : "frames");
	else
		printf("client %u %s\n", client, text);
}

static void print_restart(struct events *events, enum ivs_publisher_cause cause, int64_t now_ns)
{
	static const struct {
		const char *name;
		const char *text;
	} causes[] = {
		[IVS_PUBLISHER_WIPED] = {"overwritten",
					 "another process has overwritten the region"},
		[IVS_PUBLISHER_STUCK] = {"stuck",
					 "a client held a lock for 1 s, or died while holding it"},
		[IVS_PUBLISHER_BROKEN] = {"broken",
					  "another process has made a queue inconsistent"},
	};

	events->restarts_n++;
	if (events->restart_ns && now_ns - events->restart_ns < RESTART_PAUSE_NS)
		return;
	if (events->json)
		print_json(json_pack("{ss, ss, sI}", "event", "restarted", "cause",
				     causes[cause].name, "times", (json_int_t)events->restarts_n));
	else if (events->restarts_n == 1)
		printf("%s: published again\n", causes[cause].text);
	else
		printf("%s: published again (%" PRIu64 " times)\n", causes[cause].text,
		       events->restarts_n);
	events->restart_ns = now_ns;
	events->restarts_n = 0;
}

void events_report(struct events *events, const struct ivs_publisher_report *report, int64_t now_ns)
{
	for (unsigned int i = 0; i < IVS_LGMP_CLIENTS_MAX; i++) {
		uint32_t bit = UINT32_C(1) << i;

		events->frames_n += report->taken[i];
		if (report->taken[i] && !events->frames[i])
			print_client(events, "taking", i, false, "is taking frames");
		events->frames[i] += report->taken[i];
		if (report->late & bit)
			print_client(events, "dropped", i, true,
				     "is dropped: it has not read a frame for 10 s, so it is "
				     "ending or has ended");
		if (report->detached & bit)
			print_client(events, "detached", i, true,
				     report->cause ? "has lost its session, and is reconnecting"
						   : "has detached");
		if ((report->late | report->detached | report->attached) & bit)
			events->frames[i] = 0;
		if (report->attached & bit)
			print_client(events, "attached", i, false, "has attached");
	}
	if (report->cause)
		print_restart(events, report->cause, now_ns);
	fflush(stdout);
}

void events_ended(const struct events *events)
{
	if (events->json)
		print_json(json_pack("{ss, sI}", "event", "ended", "frames",
				     (json_int_t)events->frames_n));
	else
		printf("ended: clients have taken %" PRIu64 " %s\n", events->frames_n,
		       events->frames_n == 1 ? "frame" : "frames");
	fflush(stdout);
}
