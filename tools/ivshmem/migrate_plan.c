/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/migrate_plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "daemon/json.h"

#define STEPS_MAX 10
#define STEP_LEN 1024

/**
 * struct plan - the steps
 * @list: what is done, and what is true after that
 */
struct plan {
	unsigned int n;
	struct {
		char step[STEP_LEN];
		const char *after;
	} list[STEPS_MAX];
};

IVS_PRINTF(3, 4) static void add(struct plan *plan, const char *after, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(plan->list[plan->n].step, STEP_LEN, format, args);
	va_end(args);
	plan->list[plan->n++].after = after;
}

/* List the devices: "db0 (1M), pl0 (32M)". */
static const char *devices_text(const struct side *source, bool replug, char out[STEP_LEN])
{
	size_t len = 0;

	*out = '\0';
	for (unsigned int i = 0; i < source->facts.devices_n && len < STEP_LEN; i++) {
		const struct ivs_migration_device *device = &source->facts.devices[i];
		char size[IVS_SIZE_TEXT_LEN];

		if (device->replug == replug)
			len += (size_t)snprintf(out + len, STEP_LEN - len, "%s%s (%s)",
						len ? ", " : "", device->id,
						ivs_size_text(device->size, size));
	}
	return out;
}

/* Count the devices that are unplugged and plugged in again, or those that are not. */
static unsigned int count(const struct side *source, bool replug)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < source->facts.devices_n; i++)
		n += source->facts.devices[i].replug == replug;
	return n;
}

static void plan_before(struct plan *plan, const struct side *source, unsigned int peers_n)
{
	char devices[STEP_LEN];

	if (peers_n)
		add(plan,
		    "no other VM writes to the regions; whatever happens, these VMs continue at "
		    "the end",
		    "stop %u other VM%s", peers_n, peers_n == 1 ? "" : "s");
	if (count(source, true))
		add(plan,
		    "the source runs without these devices, and other programs still use their "
		    "regions; after a failure the devices are plugged in again",
		    "unplug %s from the source, and wait until its guest has released them",
		    devices_text(source, true, devices));
	add(plan,
	    "a failure of the destination becomes a failure of the source; nothing has been moved",
	    "set return-path and events on both sides");
}

static void plan_copy(struct plan *plan, const struct side *source, const char *uri)
{
	char devices[STEP_LEN];
	bool copies = count(source, false);

	add(plan, "the destination waits; the source runs", "have the destination listen at %s",
	    uri);
	add(plan,
	    copies ? "the source runs; what the destination's regions held is overwritten; a "
		     "failure or an interruption ends here, with the source running"
		   : "the source runs; a failure or an interruption ends here, with the source "
		     "running",
	    "copy the memory%s%s", copies ? ", with the regions of " : "",
	    devices_text(source, false, devices));
	add(plan, "neither runs: this is the downtime; rings to the source stay pending",
	    "stop the source, and copy the rest");
	add(plan,
	    "the destination is the VM; the source stays stopped, and is not ended. If the "
	    "destination has ended instead, the source continues",
	    "wait until the source has completed and the destination %s",
	    source->running ? "runs" : "is paused");
}

static void plan_after(struct plan *plan, const struct side *source, unsigned int peers_n,
		       bool rings, const char *server)
{
	char devices[STEP_LEN];

	if (count(source, true))
		add(plan, "the VM has the regions again, with what others have written",
		    "plug %s into the destination%s%.200s", devices_text(source, true, devices),
		    *server ? ", the doorbell device with the server " : "", server);
	if (peers_n)
		add(plan, "these VMs run; they are still connected to the old region",
		    "continue %u other VM%s", peers_n, peers_n == 1 ? "" : "s");
	if (rings)
		add(plan, "programs in the VM look at the region again",
		    "ring each vector of the VM's doorbell devices once");
}

static void plan_make(struct plan *plan, const struct side *source, unsigned int peers_n,
		      bool rings, const char *server, const char *uri)
{
	plan->n = 0;
	plan_before(plan, source, peers_n);
	plan_copy(plan, source, uri);
	plan_after(plan, source, peers_n, rings, server);
}

void plan_print(const struct side *source, unsigned int peers_n, bool rings, const char *server,
		const char *uri)
{
	struct plan plan;
	char shown[STEP_LEN];

	plan_make(&plan, source, peers_n, rings, server, uri);
	puts("Nothing has been changed. The steps would be:");
	for (unsigned int i = 0; i < plan.n; i++) {
		printf("%2u. %s\n", i + 1, ivs_text_shown(plan.list[i].step, shown, sizeof(shown)));
		printf("    after that: %s\n", plan.list[i].after);
	}
}

json_t *plan_json(const struct side *source, unsigned int peers_n, bool rings, const char *server,
		  const char *uri)
{
	json_t *list = json_array();
	struct plan plan;

	plan_make(&plan, source, peers_n, rings, server, uri);
	for (unsigned int i = 0; i < plan.n; i++)
		json_array_append_new(list, json_pack("{s:o, s:s}", "step",
						      ivs_json_text(plan.list[i].step), "after",
						      plan.list[i].after));
	return list;
}
