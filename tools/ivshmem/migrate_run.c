/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/migrate_run.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tools/ivshmem/migrate_watch.h"
#include "tools/ivshmem/progress.h"
#include "tools/shared/usage.h"

#define QUERY_MS 200	/* between two queries, unless an event comes */
#define SETTLE_MS 30000 /* for what QEMU does at the end of a migration */
#define SETTLED_N 3	/* how often a state that may be temporary must be seen in a row */

static int64_t after_ms(int ms)
{
	return ivs_clock_ns() + (int64_t)ms * IVS_NS_PER_MS;
}

static bool has_passed(int64_t deadline_ns)
{
	return deadline_ns != IVS_CLOCK_NEVER && ivs_clock_ns() >= deadline_ns;
}

static int run_failed(const struct side *side, const struct ivs_error *err)
{
	progress_end();
	return usage_failed("%s: %s", side->role, err->text);
}

static int set_capabilities(struct side *side)
{
	struct ivs_error err = {0};
	int result = ivs_qmp_execute(&side->qmp, NULL, &err, "migrate-set-capabilities",
				     "{s:[{s:s, s:b}, {s:s, s:b}]}", "capabilities", "capability",
				     "return-path", "state", 1, "capability", "events", "state", 1);

	return result ? run_failed(side, &err) : 0;
}

/*
 * Have the destination listen, and the source begin to migrate. Nothing has to be undone if this
 * fails.
 */
static int start(struct migration *migration)
{
	struct side *source = migration->source;
	struct side *destination = migration->destination;
	struct ivs_error err = {0};
	int status = set_capabilities(destination);

	if (!status)
		status = set_capabilities(source);
	if (status)
		return status;
	ivs_qmp_forget_events(&destination->qmp);
	if (ivs_qmp_execute(&destination->qmp, NULL, &err, "migrate-incoming", "{s:s}", "uri",
			    migration->uri))
		return run_failed(destination, &err);
	ivs_qmp_forget_events(&source->qmp);
	/* Even without an answer, the source may have begun. follow() will find out. */
	if (ivs_qmp_execute(&source->qmp, NULL, &err, "migrate", "{s:s}", "uri", migration->uri) !=
	    IVS_QMP_E_REFUSED)
		return 0;
	run_failed(source, &err);
	return usage_failed("the destination already listens, and cannot be prepared again: "
			    "start it again before the next attempt (%s)",
			    destination->text);
}

/* Wait a while. Return: 0; IVS_QMP_E_INTERRUPTED. */
static int pause_a_while(const struct migration *migration)
{
	struct pollfd fd = {.fd = migration->stop_fd, .events = POLLIN};

	return poll(&fd, 1, QUERY_MS) > 0 ? IVS_QMP_E_INTERRUPTED : 0;
}

/* Wait for an event of the source, or a while. Return: 0; IVS_QMP_E_INTERRUPTED. */
static int wait_a_while(struct migration *migration)
{
	const struct ivs_qmp_wanted wanted = {.name = "MIGRATION"};
	struct ivs_error err;
	json_t *event = NULL;
	int result;

	migration->source->qmp.stop_fd = migration->stop_fd;
	result = ivs_qmp_wait_event(&migration->source->qmp, &wanted, 1, after_ms(QUERY_MS), &event,
				    &err);
	migration->source->qmp.stop_fd = -1;
	json_decref(event);
	if (!result || result == IVS_QMP_E_TIMEOUT || result == IVS_QMP_E_INTERRUPTED)
		return result == IVS_QMP_E_INTERRUPTED ? result : 0;
	return pause_a_while(migration);
}

/*
 * Have the source give up, and wait until it has. It may also have completed before. Return: 0, or
 * STATUS_FAILED if it is not known to have ended.
 */
static int cancel(struct migration *migration)
{
	struct side *source = migration->source;
	int64_t deadline_ns = after_ms(SETTLE_MS);
	bool accepted = false;
	struct ivs_error err = {0};

	migration->stop_fd = -1;
	do {
		if (!accepted)
			accepted = !watch_execute(source, "migrate_cancel", &err);
		if (!watch_progress(source, &migration->progress, &err) &&
		    ivs_migration_is_over(&migration->progress))
			return 0;
		wait_a_while(migration);
	} while (!side_is_dead(source) && !has_passed(deadline_ns));
	return *err.text ? run_failed(source, &err) : STATUS_FAILED;
}

/* Query the source. Return: whether the migration has ended, or has not begun for a while. */
static bool is_over(struct migration *migration, unsigned int *absent_n)
{
	const char *status = migration->progress.status;

	*absent_n = !*status || !strcmp(status, "none") ? *absent_n + 1 : 0;
	return *absent_n == SETTLED_N || ivs_migration_is_over(&migration->progress);
}

/*
 * Wait until the migration is over, and show its progress. QEMU continues it without a monitor, so
 * a monitor that does not answer is queried again. Return: 0, or STATUS_FAILED if it is not known
 * to have ended.
 */
static int follow(struct migration *migration)
{
	int64_t deadline_ns = migration->timeout_ms ? after_ms(migration->timeout_ms)
						    : IVS_CLOCK_NEVER;
	char text[IVS_MIGRATION_PROGRESS_LEN];
	struct ivs_error err = {0};
	unsigned int absent_n = 0;
	bool silent = false;

	for (;;) {
		int result = watch_progress(migration->source, &migration->progress, &err);

		if (!result && is_over(migration, &absent_n))
			return 0;
		if (result && side_is_dead(migration->source))
			return run_failed(migration->source, &err);
		if (!result)
			progress_note(ivs_migration_progress_text(&migration->progress, text));
		else if (!silent && result != IVS_QMP_E_LOST)
			usage_failed("note: source: %s; the migration may still be running, so "
				     "the source is queried again",
				     err.text);
		silent = result && (silent || result != IVS_QMP_E_LOST);
		if (wait_a_while(migration)) {
			progress_end();
			usage_failed("interrupted: cancelling the migration");
			return cancel(migration);
		}
		if (has_passed(deadline_ns)) {
			progress_end();
			usage_failed("not completed within %d s: cancelling the migration",
				     migration->timeout_ms / 1000);
			return cancel(migration);
		}
	}
}

static bool is_running_as(const struct side *source, const char *state)
{
	return !strcmp(state, source->running ? "running" : "paused");
}

/* Report that both VMs may run, and what to do. */
static int report_unknown(struct migration *migration, const char *why)
{
	migration->runs = RUNS_UNKNOWN;
	usage_failed("%s", why);
	usage_failed("it is not known whether the destination is running: %s. The source is left "
		     "as it is: %s. Find out whether the destination is running; only if its "
		     "process has ended, resume the source (cont)",
		     migration->destination->text, migration->source->text);
	return STATUS_FAILED;
}

static int report_started(struct migration *migration, const char *state)
{
	migration->runs = RUNS_UNKNOWN;
	if (*state)
		usage_failed("the destination may have run, but is now in the state \"%s\": %s",
			     state, migration->destination->text);
	else
		usage_failed("the destination has ended, and may have run before: %s",
			     migration->destination->text);
	return usage_failed("the source is left as it is, because it has older content than the "
			    "VM had at the end: %s. To use it nevertheless, end the "
			    "destination, and resume the source (cont)",
			    migration->source->text);
}

/*
 * Report the state of the source, which should now run as before. The destination is not running.
 */
static int report_source(struct migration *migration, const char *state)
{
	const struct side *source = migration->source;

	if (is_running_as(source, state) || (!source->running && !strcmp(state, "postmigrate"))) {
		migration->runs = RUNS_SOURCE;
		return usage_failed("the source %s: %s",
				    source->running ? "is running" : "is paused, as before",
				    source->text);
	}
	migration->runs = RUNS_UNKNOWN;
	if (!*state)
		return usage_failed("the destination is not running: %s. The source does not "
				    "answer, and may be running: %s",
				    migration->destination->text, source->text);
	return usage_failed("the destination is not running: %s. Nor is the source, which is in "
			    "the state \"%s\": %s",
			    migration->destination->text, state, source->text);
}

/*
 * Have the source run as before, and check that it does. It must be certain that the destination is
 * not running, and will not run later.
 */
static int resume_source(struct migration *migration)
{
	struct side *source = migration->source;
	int64_t deadline_ns = after_ms(SETTLE_MS);
	char state[IVS_QMP_STATE_LEN] = "";
	struct ivs_error err = {0};

	for (;;) {
		int result = watch_state(source, state, &err);

		if (!result && (is_running_as(source, state) ||
				(!source->running && !strcmp(state, "postmigrate"))))
			break;
		if (!result && source->running &&
		    (!strcmp(state, "postmigrate") || !strcmp(state, "paused")))
			result = watch_execute(source, "cont", &err);
		if (side_is_dead(source) || has_passed(deadline_ns)) {
			if (result)
				run_failed(source, &err);
			break;
		}
		poll(NULL, 0, QUERY_MS);
	}
	return report_source(migration, state);
}

/* Poll the source until it is in a state that lasts. Return: whether it is; @state: that state. */
static bool settle_source(struct migration *migration, char state[IVS_QMP_STATE_LEN])
{
	static const char *const lasting[] = {"running", "paused", "postmigrate", "shutdown"};
	int64_t deadline_ns = after_ms(SETTLE_MS);
	struct ivs_error err;

	do {
		if (!watch_state(migration->source, state, &err)) {
			for (size_t i = 0; i < sizeof(lasting) / sizeof(*lasting); i++) {
				if (!strcmp(state, lasting[i]))
					return true;
			}
		}
		poll(NULL, 0, QUERY_MS);
	} while (!side_is_dead(migration->source) && !has_passed(deadline_ns));
	return false;
}

/*
 * The destination is running, although the source has failed or was cancelled: the destination had
 * received everything before the source gave up. If the source is running again, stop the
 * destination.
 */
static int end_with_both(struct migration *migration)
{
	struct side *destination = migration->destination;
	char state[IVS_QMP_STATE_LEN] = "";
	struct ivs_error err = {0};

	if (!settle_source(migration, state) && !side_is_dead(migration->source)) {
		migration->runs = RUNS_UNKNOWN;
		return usage_failed("the destination had already started, and is running: %s. It "
				    "is not known whether the source is running, too: %s. Find "
				    "out, and end one of them",
				    destination->text, migration->source->text);
	}
	if (side_is_dead(migration->source) || strcmp(state, "running") != 0) {
		migration->runs = RUNS_DESTINATION;
		return usage_failed("the destination had already started, and is running: %s. "
				    "The source is not running: %s",
				    destination->text, migration->source->text);
	}
	if (watch_execute(destination, "stop", &err))
		return report_unknown(migration, err.text);
	usage_failed("the destination had already started; it has been stopped, and can be ended");
	return resume_source(migration);
}

static bool is_lasting(enum fate fate)
{
	return fate == FATE_GONE || fate == FATE_RUNS || fate == FATE_ENDED;
}

/*
 * Look at the destination until it is clear what becomes of it. A fate that may be temporary counts
 * if it is seen SETTLED_N times in a row. Return: FATE_UNKNOWN if it does not become clear, or if
 * the destination does not answer and the source has never stopped.
 */
static enum fate settle_destination(struct migration *migration, char state[IVS_QMP_STATE_LEN],
				    struct ivs_error *err)
{
	int64_t deadline_ns = after_ms(SETTLE_MS);
	enum fate before = FATE_UNKNOWN;
	unsigned int same_n = 0;

	for (;;) {
		enum fate fate = watch_fate(migration->destination, state, err);

		same_n = fate == before ? same_n + 1 : 1;
		before = fate;
		if (is_lasting(fate) || (fate != FATE_UNKNOWN && same_n == SETTLED_N))
			return fate;
		if (has_passed(deadline_ns) || (!*state && watch_never_stopped(migration->source)))
			return FATE_UNKNOWN;
		poll(NULL, 0, QUERY_MS);
	}
}

static void report_failure(const struct migration *migration)
{
	const struct ivs_migration_progress *progress = &migration->progress;

	progress_end();
	if (!strcmp(progress->status, "failed"))
		usage_failed("the migration has failed: %s%s",
			     *progress->error ? progress->error : "QEMU gives no reason",
			     side_is_dead(migration->destination)
				     ? "; the destination has ended: see its messages"
				     : "");
	else if (!strcmp(progress->status, "cancelled"))
		usage_failed("the migration is cancelled");
	else
		usage_failed("the source has not begun to migrate");
}

/*
 * The source has failed, was cancelled, or has not begun. With return-path, the destination has
 * most likely not started, but it may have, or may still do so.
 */
static int end_failed(struct migration *migration)
{
	char state[IVS_QMP_STATE_LEN] = "";
	struct ivs_error err = {0};

	report_failure(migration);
	switch (settle_destination(migration, state, &err)) {
	case FATE_WAITS:
	case FATE_GONE:
	case FATE_LOADED:
		return resume_source(migration);
	case FATE_RUNS:
		return end_with_both(migration);
	case FATE_ENDED:
		return report_started(migration, state);
	default:
		if (watch_never_stopped(migration->source))
			return resume_source(migration);
		return report_unknown(migration,
				      *state ? "the destination is still loading" : err.text);
	}
}

/* The destination has loaded the VM, but was started with -S. */
static void continue_destination(struct migration *migration)
{
	struct ivs_error err;

	if (watch_execute(migration->destination, "cont", &err))
		usage_failed("note: destination: %s", err.text);
	migration->destination->started = true; /* it may have started */
}

/* The source reports its times a moment after the state. */
static void query_times(struct migration *migration)
{
	struct ivs_migration_progress progress = {0};
	struct ivs_error err;

	for (unsigned int i = 0; i < SETTLED_N; i++) {
		if (watch_progress(migration->source, &progress, &err))
			return;
		migration->progress = progress;
		if (progress.total_ms)
			return;
		poll(NULL, 0, QUERY_MS);
	}
}

/* The source has completed. The migration has succeeded only if the destination is running. */
static int end_completed(struct migration *migration)
{
	struct side *source = migration->source;
	int64_t deadline_ns = after_ms(SETTLE_MS);
	char state[IVS_QMP_STATE_LEN] = "";
	char why[sizeof(state) + 80];
	struct ivs_error err = {0};
	unsigned int loaded_n = 0;
	enum fate fate;

	do {
		fate = watch_fate(migration->destination, state, &err);
		if (is_running_as(source, state)) {
			migration->runs = RUNS_DESTINATION;
			query_times(migration);
			return 0;
		}
		if (fate == FATE_GONE) {
			usage_failed("the source has completed, but the destination has ended: see "
				     "its messages");
			return resume_source(migration);
		}
		/* If the destination has died since watch_fate(), look again. */
		if (fate == FATE_ENDED && side_is_dead(migration->destination))
			return report_started(migration, "");
		loaded_n = fate == FATE_LOADED ? loaded_n + 1 : 0;
		if (loaded_n == SETTLED_N && source->running)
			continue_destination(migration);
		poll(NULL, 0, QUERY_MS);
	} while (!has_passed(deadline_ns));
	snprintf(why, sizeof(why),
		 "the source has completed, but the destination is in the state \"%s\"", state);
	return report_unknown(migration, *state ? why : err.text);
}

/* The source has ended. Find out whether the VM is at the destination; nothing else can be done. */
static int end_without_source(struct migration *migration)
{
	char state[IVS_QMP_STATE_LEN] = "";
	struct ivs_error err = {0};
	enum fate fate = settle_destination(migration, state, &err);

	migration->runs = RUNS_UNKNOWN;
	if (fate == FATE_RUNS) {
		migration->runs = RUNS_DESTINATION;
		return usage_failed("the source has ended, but the destination is running: %s",
				    migration->destination->text);
	}
	if (fate == FATE_UNKNOWN)
		return report_unknown(migration, "the source has ended during the migration");
	return usage_failed("the source has ended during the migration, and the destination is "
			    "not running: %s",
			    migration->destination->text);
}

/* The source does not answer, or does not end the migration, which may still be running. */
static int end_undecided(struct migration *migration)
{
	char state[IVS_QMP_STATE_LEN] = "";
	struct ivs_error err = {0};

	if (settle_destination(migration, state, &err) == FATE_GONE)
		return resume_source(migration);
	return report_unknown(migration,
			      "the source is not known to have given up, so the migration may "
			      "still be running");
}

int migrate_run(struct migration *migration)
{
	char what[SIDE_TEXT_LEN + 32];
	int status = start(migration);

	migration->runs = RUNS_SOURCE;
	if (status) {
		usage_failed("nothing has been migrated. The source %s: %s",
			     migration->source->running ? "is running" : "is paused, as before",
			     migration->source->text);
		return status;
	}
	snprintf(what, sizeof(what), "migrating %.200s", migration->source->text);
	progress_start(what);
	status = follow(migration);
	progress_end();
	if (status)
		return side_is_dead(migration->source) ? end_without_source(migration)
						       : end_undecided(migration);
	return strcmp(migration->progress.status, "completed") != 0 ? end_failed(migration)
								    : end_completed(migration);
}
