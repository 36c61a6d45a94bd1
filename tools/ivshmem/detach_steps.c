/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order of the steps: send device_del; wait for DEVICE_DELETED; send placeholders for the
 * closed fds; check that QEMU still answers a second later; remove the character device or object.
 * A note in the VM tells other runs of the tool that a request may be pending, and which fds to
 * replace if the guest releases the device only after this one has ended.
 */
#include "tools/ivshmem/detach_steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tools/ivshmem/detach_examine.h"
#include "tools/ivshmem/progress.h"
#include "tools/shared/usage.h"

#define POLL_MS 1000
#define BUSY_MS 200
#define SETTLE_MS 1000

/* Make the note that an unplug is requested, and which fds are open before the request. */
static int make_note(struct work *work)
{
	struct ivs_error err;

	if (work->fill) {
		work_read_fds(work);
		if (!work->before.n)
			return usage_failed("cannot read /proc/%d/fd any more",
					    (int)work->monitor->pid);
		if (work->highest < fds_highest(&work->before))
			work->highest = fds_highest(&work->before);
	}
	if (detach_note_make(&work->monitor->qmp, work->detach->id, work->fill ? work->highest : 0,
			     &work->note, &err))
		return usage_failed("%s", err.text);
	return 0;
}

/* Remove the note, unless the guest may still release the device because of a request. */
static void drop_note(const struct work *work)
{
	if (*work->note.name && !work->earlier && !work->requested && !work->monitor->qmp.hung)
		(void)!monitor_remove(work->monitor, true, work->note.name, NULL);
}

/* Print @text, and what is left if the monitor does not answer any more. */
static int failed_with(const struct work *work, const char *text)
{
	const struct detach *detach = work->detach;

	if (*detach->backend)
		return usage_failed("%s. Unless QEMU has ended, the VM still has the %s %s", text,
				    detach->chardev ? "character device" : "object",
				    detach->backend);
	return usage_failed("%s", text);
}

/**
 * enum request - the result of requesting the unplug
 * @REQUEST_SENT:   the guest has received the request, now or earlier
 * @REQUEST_GONE:   the device is gone
 * @REQUEST_BUSY:   the guest cannot take requests yet: request again
 * @REQUEST_FAILED: the reason has been printed
 */
enum request {
	REQUEST_SENT,
	REQUEST_GONE,
	REQUEST_BUSY,
	REQUEST_FAILED,
};

static enum request request_unplug(struct work *work)
{
	struct ivs_qmp *qmp = &work->monitor->qmp;
	struct ivs_error err;
	int result = ivs_qmp_execute(qmp, NULL, &err, "device_del", "{s:s}", "id",
				     work->detach->id);

	work->requested |= result != IVS_QMP_E_REFUSED;
	if (!result)
		return REQUEST_SENT;
	if (result == IVS_QMP_E_REFUSED && !strcmp(qmp->refusal.class, "DeviceNotFound"))
		return REQUEST_GONE;
	if (result == IVS_QMP_E_REFUSED && strstr(qmp->refusal.text, "in the process of unplug")) {
		work->requested = true;
		return REQUEST_SENT;
	}
	/* The power indicator blinks for some seconds after a plug or a request. */
	if (result == IVS_QMP_E_REFUSED && strstr(qmp->refusal.text, "guest is busy"))
		return REQUEST_BUSY;
	if (result == IVS_QMP_E_REFUSED)
		usage_failed("%s", err.text);
	else
		failed_with(work, err.text);
	return REQUEST_FAILED;
}

static int pending(const struct work *work, bool interrupted)
{
	const char *id = work->detach->id;

	usage_failed("%sthe unplug of %s was requested, but the guest has not released it%s. The "
		     "request stays pending: the guest may release the device at any later time, "
		     "or at its next reboot. Until then, do not migrate the VM, and plug nothing "
		     "else into its slot; repeat this command to wait again, and to remove what "
		     "%s used",
		     interrupted ? "interrupted: " : "", id, interrupted ? "" : " in time", id);
	return STATUS_PENDING;
}

/* The guest has not accepted a request of this run, but may have accepted one of an earlier run. */
static int still_busy(const struct work *work, bool interrupted)
{
	const char *id = work->detach->id;

	if (work->earlier)
		return pending(work, interrupted);
	if (interrupted)
		return usage_failed("interrupted: QEMU has not accepted the request to unplug "
				    "%s; an earlier request, if there was one, stays pending",
				    id);
	return usage_failed("the guest is still busy with the port of %s: %s; try again later. "
			    "An earlier request, if there was one, stays pending",
			    id, work->monitor->qmp.refusal.text);
}

/**
 * enum moment - what has happened while the command waited for a short time
 * @MOMENT_GONE:    the device is gone
 * @MOMENT_REFUSED: the guest refuses to release it
 * @MOMENT_STOP:    the user has interrupted the command
 * @MOMENT_FAILED:  the monitor has failed; the reason has been printed
 */
enum moment {
	MOMENT_NOTHING,
	MOMENT_GONE,
	MOMENT_REFUSED,
	MOMENT_STOP,
	MOMENT_FAILED,
};

static enum moment await_moment(struct work *work, int ms)
{
	const struct ivs_qmp_wanted wanted[] = {
		{"DEVICE_DELETED", "device", work->detach->id},
		{"DEVICE_UNPLUG_GUEST_ERROR", "device", work->detach->id},
	};
	char type[IVS_QMP_TYPE_LEN];
	bool deleted;
	struct ivs_error err;
	json_t *event;
	int result = monitor_wait(work->monitor, wanted, 2, ms, &event, &err);

	if (!result) {
		deleted = !strcmp(json_string_value(json_object_get(event, "event")),
				  wanted[0].name);
		json_decref(event);
		return deleted ? MOMENT_GONE : MOMENT_REFUSED;
	}
	if (result == IVS_QMP_E_INTERRUPTED)
		return MOMENT_STOP;
	/* The event may have been sent to another program, or before this one was connected. */
	if (result == IVS_QMP_E_TIMEOUT)
		result = ivs_qmp_find(&work->monitor->qmp, MONITOR_DEVICES, work->detach->id, type,
				      &err);
	if (result) {
		failed_with(work, err.text);
		return MOMENT_FAILED;
	}
	return *type ? MOMENT_NOTHING : MOMENT_GONE;
}

/* Request the unplug, and wait until the device is gone. */
static int request_and_wait(struct work *work)
{
	int64_t deadline_ns = ivs_clock_deadline(work->detach->timeout_ms);
	enum request request = request_unplug(work);

	/* If there was an earlier request, the guest may have released the device at any time. */
	work->exact = request != REQUEST_GONE && !work->earlier;
	while (request != REQUEST_GONE) {
		int left_ms = ivs_clock_left_ms(deadline_ns);
		int most_ms = request == REQUEST_BUSY ? BUSY_MS : POLL_MS;

		if (request == REQUEST_FAILED)
			return STATUS_FAILED;
		switch (await_moment(work, left_ms < most_ms ? left_ms : most_ms)) {
		case MOMENT_GONE:
			return 0;
		case MOMENT_REFUSED:
			work->requested = false;
			return usage_failed("the guest refuses to release %s: it stays plugged in",
					    work->detach->id);
		case MOMENT_FAILED:
			return STATUS_FAILED;
		case MOMENT_STOP:
			return request == REQUEST_BUSY ? still_busy(work, true)
						       : pending(work, true);
		case MOMENT_NOTHING:
			break;
		}
		if (!ivs_clock_left_ms(deadline_ns))
			break;
		if (request == REQUEST_BUSY)
			request = request_unplug(work);
	}
	if (request == REQUEST_BUSY)
		return still_busy(work, false);
	return request == REQUEST_GONE ? 0 : pending(work, false);
}

/* Replace the fds that QEMU has closed. */
static int fill(struct work *work)
{
	struct fds after;
	int gone;

	if (!work->fill)
		return 0;
	gone = work->highest;
	if (work->exact && !fds_read(work->monitor->pid, &after)) {
		gone = fds_highest_gone(&work->before, &after);
		fds_deinit(&after);
	}
	return gone < 0 ? 0
			: fds_fill(work->monitor, work->detach->id, gone, &work->detach->filled_n);
}

/* Check that QEMU has survived: it may die after it has reported that the device is gone. */
static int check_alive(struct work *work)
{
	const struct ivs_qmp_wanted shutdown = {"SHUTDOWN", NULL, NULL};
	char state[IVS_QMP_STATE_LEN];
	struct ivs_error err;
	json_t *event = NULL;
	int result = ivs_qmp_state(&work->monitor->qmp, state, &err);

	if (!result) {
		result = monitor_wait(work->monitor, &shutdown, 1, SETTLE_MS, &event, &err);
		json_decref(event);
		if (!result || result == IVS_QMP_E_TIMEOUT)
			result = ivs_qmp_state(&work->monitor->qmp, state, &err);
	}
	return result ? failed_with(work, err.text) : 0;
}

static int finish(struct work *work)
{
	struct detach *detach = work->detach;
	struct ivs_error err;
	int status;

	monitor_ignore_signals(work->monitor);
	status = fill(work);
	if (!status && detach->chardev)
		status = check_alive(work);
	if (status)
		return status;
	if (*work->note.name && monitor_remove(work->monitor, true, work->note.name, &err))
		return failed_with(work, err.text);
	if (*detach->backend &&
	    monitor_remove(work->monitor, detach->chardev, detach->backend, &err))
		return failed_with(work, err.text);
	return 0;
}

/* Remove what was created for a device that is gone. */
static int finish_earlier(struct work *work)
{
	struct detach *detach = work->detach;
	struct monitor *monitor = work->monitor;
	struct ivs_error err;

	detach->chardev = true;
	if (work_find_note(work, &err) ||
	    detach_find_backend(&monitor->qmp, detach->id, true, detach->backend,
				sizeof(detach->backend), &err))
		return usage_failed("%s", err.text);
	if (!*detach->backend) {
		detach->chardev = false;
		if (detach_find_backend(&monitor->qmp, detach->id, false, detach->backend,
					sizeof(detach->backend), &err))
			return usage_failed("%s", err.text);
	}
	if (!*detach->backend && !*work->note.name)
		return usage_failed("the VM has no device \"%s\"", detach->id);
	work->fill = work->highest >= 0;
	if (work->fill && (!monitor->pid || fds_room(monitor->pid) < 0))
		return usage_failed("the device %s is gone, but this command must read "
				    "/proc/PID/fd of QEMU before it removes %s: run it as root or "
				    "as QEMU's user",
				    detach->id, detach->backend);
	return monitor_hold(monitor) ? STATUS_FAILED : finish(work);
}

/* Find the device and its type. @status: set if it cannot be unplugged. */
static bool find_device(struct work *work, int *status)
{
	struct detach *detach = work->detach;
	struct ivs_error err;

	/* Read the fds first: if the device is then found, its fds are among them. */
	work_read_fds(work);
	*status = 0;
	if (ivs_qmp_find(&work->monitor->qmp, MONITOR_DEVICES, detach->id, detach->type, &err))
		*status = usage_failed("%s", err.text);
	else if (*detach->type && strcmp(detach->type, "ivshmem-plain") &&
		 !work_is_doorbell(work) && strcmp(detach->type, "vfio-user-pci"))
		*status = usage_failed("the device \"%s\" is not an ivshmem device but %s: use "
				       "QEMU's command device_del",
				       detach->id, detach->type);
	return !*status && *detach->type;
}

static int detach_do(struct work *work)
{
	struct detach *detach = work->detach;
	int status;

	if (!find_device(work, &status))
		return status ? status : finish_earlier(work);
	status = work_examine(work);
	if (!status)
		status = monitor_hold(work->monitor);
	/* Ask the servers again as late as possible: other clients may have connected. */
	if (!status && work_is_doorbell(work))
		status = work_examine_doorbell(work);
	if (*detach->why)
		usage_failed("%s", detach->why);
	if (!status)
		status = make_note(work);
	if (status)
		return status;
	progress_start("waiting for the guest to release the device");
	status = request_and_wait(work);
	progress_end();
	if (status == STATUS_FAILED)
		drop_note(work);
	detach->gone = !status;
	return status ? status : finish(work);
}

/* Clear the results in @detach, about which nothing is known yet. */
static struct work begin(struct monitor *monitor, struct detach *detach)
{
	*detach->type = *detach->backend = *detach->why = *detach->server = *detach->region = '\0';
	detach->gone = false;
	detach->filled_n = 0;
	return (struct work){
		.monitor = monitor, .detach = detach, .highest = -1, .note.highest = -1};
}

int detach_check(struct monitor *monitor, struct detach *detach)
{
	struct work work = begin(monitor, detach);
	int status;

	if (find_device(&work, &status))
		status = work_examine(&work);
	else if (!status)
		status = usage_failed("the VM has no device \"%s\"", detach->id);
	fds_deinit(&work.before);
	return status;
}

int detach_device(struct monitor *monitor, struct detach *detach)
{
	struct work work = begin(monitor, detach);
	int status = detach_do(&work);

	fds_deinit(&work.before);
	return status;
}
