/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/migrate_run.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tools/ivshmem/progress.h"
#include "tools/shared/usage.h"

#define QUERY_MS 200	/* between two queries, unless an event comes */
#define SETTLE_MS 30000 /* for what QEMU does at the end of a migration */
#define RECONNECT_MS 5000

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

/* Have the destination listen, and the source begin. Nothing has to be undone if this fails. */
static int start(struct migration *migration)
{
	struct side *source = migration->source;
	struct side *destination = migration->destination;
	struct ivs_error err = {0};
	int status = set_capabilities(destination);
	int result;

	if (!status)
		status = set_capabilities(source);
	if (status)
		return status;
	if (ivs_qmp_execute(&destination->qmp, NULL, &err, "migrate-incoming", "{s:s}", "uri",
			    migration->uri))
		return run_failed(destination, &err);
	ivs_qmp_forget_events(&source->qmp);
	result = ivs_qmp_execute(&source->qmp, NULL, &err, "migrate", "{s:s}", "uri",
				 migration->uri);
	/* Without an answer, the source may have begun. follow() will find out. */
	return result && result != IVS_QMP_E_HUNG && result != IVS_QMP_E_LOST
		       ? run_failed(source, &err)
		       : 0;
}

/* Connect to the source's monitor again: a migration goes on without a monitor. */
static int reconnect(struct side *source, struct ivs_error *err)
{
	char path[IVS_UNIX_PATH_LEN];
	int64_t deadline_ns = after_ms(RECONNECT_MS);
	int result;

	snprintf(path, sizeof(path), "%s", source->qmp.path);
	do {
		ivs_qmp_close(&source->qmp);
		source->qmp = (struct ivs_qmp)IVS_QMP_INIT;
		result = ivs_qmp_connect(&source->qmp, path, err);
		if (result)
			poll(NULL, 0, QUERY_MS);
	} while (result && !side_is_dead(source) && !has_passed(deadline_ns));
	return result;
}

/* Query the source. Return: 0, or what ivs_qmp_execute() returned. */
static int query(struct migration *migration, struct ivs_error *err)
{
	struct side *source = migration->source;
	int result = side_progress(source, &migration->progress, err);

	if (result == IVS_QMP_E_LOST && !side_is_dead(source))
		result = reconnect(source, err);
	else if (!result)
		return 0;
	return result ? result : side_progress(source, &migration->progress, err);
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
	if (result == IVS_QMP_E_LOST)
		poll(NULL, 0, QUERY_MS);
	return result == IVS_QMP_E_INTERRUPTED ? result : 0;
}

/* Have the source give up, and wait until it has. It may also have completed before. */
static int cancel(struct migration *migration)
{
	struct side *source = migration->source;
	int64_t deadline_ns = after_ms(SETTLE_MS);
	struct ivs_error err = {0};
	int result = ivs_qmp_execute(&source->qmp, NULL, &err, "migrate_cancel", NULL);

	migration->stop_fd = -1;
	while (!result && !(result = query(migration, &err)) &&
	       !ivs_migration_is_over(&migration->progress) && !has_passed(deadline_ns))
		wait_a_while(migration);
	return result ? run_failed(source, &err) : 0;
}

/* Wait until the migration is over, and show its progress. */
static int follow(struct migration *migration)
{
	int64_t deadline_ns = migration->timeout_ms ? after_ms(migration->timeout_ms)
						    : IVS_CLOCK_NEVER;
	char text[IVS_MIGRATION_PROGRESS_LEN];
	struct ivs_error err = {0};

	for (;;) {
		if (query(migration, &err))
			return run_failed(migration->source, &err);
		if (ivs_migration_is_over(&migration->progress))
			return 0;
		progress_note(ivs_migration_progress_text(&migration->progress, text));
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

/* Report that both VMs may exist, and what to do. */
static int report_unknown(struct migration *migration, const char *why)
{
	migration->runs = RUNS_UNKNOWN;
	usage_failed("%s", why);
	usage_failed("it is not known whether the destination runs: %s. The source is left as it "
		     "is: %s. Find out whether the destination runs; only if its process has "
		     "ended, continue the source (cont)",
		     migration->destination->text, migration->source->text);
	return STATUS_FAILED;
}

/* Have the source run as before, and check that it does. The destination must not run. */
static int resume_source(struct migration *migration)
{
	struct side *source = migration->source;
	int64_t deadline_ns = after_ms(SETTLE_MS);
	char state[IVS_QMP_STATE_LEN] = "";
	struct ivs_error err = {0};
	int result;

	do {
		result = ivs_qmp_state(&source->qmp, state, &err);
		if (!result && is_running_as(source, state))
			break;
		if (!result && source->running &&
		    (!strcmp(state, "postmigrate") || !strcmp(state, "paused")))
			result = ivs_qmp_execute(&source->qmp, NULL, &err, "cont", NULL);
		else if (!result && !strcmp(state, "postmigrate"))
			break; /* it was paused, and so it is */
		if (!result)
			poll(NULL, 0, QUERY_MS);
	} while (!result && !has_passed(deadline_ns));
	if (result)
		return report_unknown(migration, err.text);
	migration->runs = RUNS_SOURCE;
	if (!source->running)
		return usage_failed("the source is paused, as before: %s", source->text);
	if (strcmp(state, "running") != 0)
		return usage_failed("the source does not run, but is in the state \"%s\": %s",
				    state, source->text);
	return usage_failed("the source runs: %s", source->text);
}

/*
 * The destination runs, although the source has failed or was cancelled: it had everything before
 * the source gave up. If the source runs again, stop the destination.
 */
static int end_with_both(struct migration *migration)
{
	struct side *destination = migration->destination;
	char state[IVS_QMP_STATE_LEN] = "";
	struct ivs_error err = {0};
	int result = ivs_qmp_state(&migration->source->qmp, state, &err);

	if (!result && strcmp(state, "running") != 0) {
		migration->runs = RUNS_DESTINATION;
		return usage_failed("the destination had started before, and runs: %s. The source "
				    "does not run: %s",
				    destination->text, migration->source->text);
	}
	if (!result)
		result = ivs_qmp_execute(&destination->qmp, NULL, &err, "stop", NULL);
	if (result)
		return report_unknown(migration, err.text);
	usage_failed("the destination had started before; it has been stopped, and can be ended");
	return resume_source(migration);
}

/* The source has failed or was cancelled: with return-path, the destination has not started. */
static int end_failed(struct migration *migration)
{
	struct side *destination = migration->destination;
	const struct ivs_migration_progress *progress = &migration->progress;
	char state[IVS_QMP_STATE_LEN] = "";
	struct ivs_error err = {0};

	progress_end();
	if (!strcmp(progress->status, "failed"))
		usage_failed("the migration has failed: %s%s",
			     *progress->error ? progress->error : "QEMU gives no reason",
			     side_is_dead(destination)
				     ? "; the destination has ended: see its messages"
				     : "");
	else if (!strcmp(progress->status, "cancelled"))
		usage_failed("the migration is cancelled");
	else
		return report_unknown(migration, "the migration has not ended");
	if (!side_is_dead(destination) && !ivs_qmp_state(&destination->qmp, state, &err) &&
	    !strcmp(state, "running"))
		return end_with_both(migration);
	return resume_source(migration);
}

/* The destination's monitor is gone after the source has completed. */
static int end_without_destination(struct migration *migration, const char *why)
{
	struct side *destination = migration->destination;
	struct pollfd fd = {.fd = destination->pidfd, .events = POLLIN};

	if (!destination->local || destination->pidfd < 0 || poll(&fd, 1, SETTLE_MS) <= 0)
		return report_unknown(migration, why);
	usage_failed("the source has completed, but the destination has ended: see its messages");
	return resume_source(migration);
}

/* The source has completed. Success is that the destination runs. */
static int end_completed(struct migration *migration)
{
	struct side *destination = migration->destination;
	int64_t deadline_ns = after_ms(SETTLE_MS);
	char state[IVS_QMP_STATE_LEN] = "";
	struct ivs_error err = {0};
	int result;

	do {
		result = ivs_qmp_state(&destination->qmp, state, &err);
		if (!result && is_running_as(migration->source, state)) {
			migration->runs = RUNS_DESTINATION;
			/* The source reports its times a moment after the state. */
			(void)query(migration, &err);
			return 0;
		}
		if (!result)
			poll(NULL, 0, QUERY_MS);
	} while (!result && !has_passed(deadline_ns));
	progress_end();
	if (result)
		return end_without_destination(migration, err.text);
	snprintf(err.text, sizeof(err.text),
		 "the source has completed, but the destination is in the state \"%s\"", state);
	return report_unknown(migration, err.text);
}

/* The source cannot be queried. Find out from the destination which VM runs. */
static int end_without_source(struct migration *migration)
{
	char state[IVS_QMP_STATE_LEN] = "";
	struct ivs_error err = {0};

	progress_end();
	if (!ivs_qmp_state(&migration->destination->qmp, state, &err) &&
	    is_running_as(migration->source, state)) {
		migration->runs = RUNS_DESTINATION;
		return usage_failed("the destination runs: %s", migration->destination->text);
	}
	if (side_is_dead(migration->source)) {
		migration->runs = RUNS_UNKNOWN;
		return usage_failed("the source has ended during the migration, and the "
				    "destination does not run: %s",
				    migration->destination->text);
	}
	migration->runs = RUNS_SOURCE;
	return usage_failed("the destination does not run. The source cannot be queried, and "
			    "probably runs: %s",
			    migration->source->text);
}

int migrate_run(struct migration *migration)
{
	char what[SIDE_TEXT_LEN + 32];
	int status = start(migration);

	migration->runs = RUNS_SOURCE;
	if (status) {
		usage_failed("nothing has been migrated. The source %s: %s",
			     migration->source->running ? "runs" : "is paused, as before",
			     migration->source->text);
		return status;
	}
	snprintf(what, sizeof(what), "migrating %.200s", migration->source->text);
	progress_start(what);
	status = follow(migration);
	if (status)
		status = end_without_source(migration);
	else if (!strcmp(migration->progress.status, "completed"))
		status = end_completed(migration);
	else
		status = end_failed(migration);
	progress_end();
	return status;
}
