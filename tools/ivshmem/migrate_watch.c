/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/migrate_watch.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define DRAIN_MS 1000 /* to receive what a process sent before it ended */
#define DEATH_MS 1000 /* between the end of a connection and that of its process */

/* Whether an event that has arrived has this name. */
static bool has_event(const struct side *side, const char *name)
{
	for (unsigned int i = 0; i < side->qmp.events_n; i++) {
		const char *event = json_string_value(
			json_object_get(side->qmp.events[i], "event"));

		if (event && !strcmp(event, name))
			return true;
	}
	return false;
}

/* QEMU sends RESUME before the first instruction of the guest. */
static void note_events(struct side *side)
{
	side->started |= has_event(side, "RESUME") || has_event(side, "SHUTDOWN");
}

/* Connect again, unless the process is about to end. Events may have been missed. */
static int reconnect(struct side *side, struct ivs_error *err)
{
	struct pollfd death = {.fd = side->local ? side->pidfd : -1, .events = POLLIN};
	char path[IVS_UNIX_PATH_LEN];
	pid_t pid = side->qmp.pid;
	int result;

	if (poll(&death, 1, side->local ? DEATH_MS : 0) > 0)
		return ivs_error_set(err, IVS_QMP_E_LOST, "QEMU (pid %d) has ended", (int)pid);
	note_events(side);
	snprintf(path, sizeof(path), "%s", side->qmp.path);
	ivs_qmp_close(&side->qmp);
	side->qmp = (struct ivs_qmp)IVS_QMP_INIT;
	side->cut = true;
	side->watched = false;
	result = ivs_qmp_connect(&side->qmp, path, err);
	if (!result && side->qmp.pid != pid)
		result = ivs_error_set(
			err, IVS_QMP_E_LOST,
			"a different process (pid %d) now listens at %s (before: pid %d)",
			(int)side->qmp.pid, path, (int)pid);
	if (result)
		side->qmp.broken = true;
	side->qmp.pid = pid;
	return result;
}

static int ready(struct side *side, struct ivs_error *err)
{
	return side->qmp.broken || side->qmp.sock < 0 ? reconnect(side, err) : 0;
}

int watch_state(struct side *side, char state[IVS_QMP_STATE_LEN], struct ivs_error *err)
{
	int result = ready(side, err);

	*state = '\0';
	return result ? result : ivs_qmp_state(&side->qmp, state, err);
}

int watch_progress(struct side *side, struct ivs_migration_progress *out, struct ivs_error *err)
{
	int result = ready(side, err);

	return result ? result : side_progress(side, out, err);
}

int watch_execute(struct side *side, const char *command, struct ivs_error *err)
{
	int result = ready(side, err);

	return result ? result : ivs_qmp_execute(&side->qmp, NULL, err, command, NULL);
}

bool watch_never_stopped(struct side *source)
{
	char state[IVS_QMP_STATE_LEN];
	struct ivs_error err;

	return source->running && !watch_state(source, state, &err) && !strcmp(state, "running") &&
	       !source->cut && !source->qmp.events_lost_n && !has_event(source, "STOP");
}

/* The process has ended. Whether it has run is known if all its events have been received. */
static enum fate fate_of_dead(struct side *side)
{
	const struct ivs_qmp_wanted wanted = {.name = "RESUME"};
	struct ivs_error err;
	json_t *event = NULL;
	int result;

	side->qmp.broken = false; /* what was sent can still be received */
	result = ivs_qmp_wait_event(&side->qmp, &wanted, 1, ivs_clock_deadline(DRAIN_MS), &event,
				    &err);
	json_decref(event);
	side->started |= !result;
	note_events(side);
	return side->watched && !side->started && !side->qmp.events_lost_n &&
			       result == IVS_QMP_E_LOST
		       ? FATE_GONE
		       : FATE_ENDED;
}

static enum fate fate_of_waiting(struct side *side, struct ivs_error *err)
{
	struct ivs_migration_progress progress = {0};

	side->watched = true;
	if (watch_progress(side, &progress, err))
		return FATE_UNKNOWN;
	if (!strcmp(progress.status, "failed"))
		return FATE_GONE;
	return !*progress.status || !strcmp(progress.status, "none") ||
			       !strcmp(progress.status, "setup")
		       ? FATE_WAITS
		       : FATE_UNKNOWN;
}

enum fate watch_fate(struct side *destination, char state[IVS_QMP_STATE_LEN], struct ivs_error *err)
{
	*state = '\0';
	if (side_is_dead(destination))
		return fate_of_dead(destination);
	if (watch_state(destination, state, err))
		return FATE_UNKNOWN;
	note_events(destination);
	if (!strcmp(state, "inmigrate"))
		return fate_of_waiting(destination, err);
	if (!strcmp(state, "running"))
		return FATE_RUNS;
	if (strcmp(state, "paused") != 0 && strcmp(state, "prelaunch") != 0)
		return FATE_ENDED;
	return destination->watched && !destination->started && !destination->qmp.events_lost_n
		       ? FATE_LOADED
		       : FATE_ENDED;
}
