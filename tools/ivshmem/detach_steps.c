/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order: device_del; DEVICE_DELETED; placeholders for the closed fds; QEMU still answers a
 * second later; then the character device or object is removed. The numbers of fds to replace are
 * noted in the name of a character device without function, so that another run of the command
 * knows them if the guest releases the device only after this one has ended.
 */
#include "tools/ivshmem/detach_steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "tools/ivshmem/detach_check.h"
#include "tools/ivshmem/detach_fds.h"
#include "tools/ivshmem/progress.h"
#include "tools/shared/usage.h"

#define TOKEN_LEN 8
#define POLL_MS 1000
#define BUSY_MS 200
#define SETTLE_MS 1000

/**
 * struct work - the state of an unplug
 * @fill:    placeholders are needed
 * @before:  fds of QEMU before the request
 * @exact:   the device had its fds when @before was read, so the fds to replace are those that are
 *           gone since then
 * @highest: the highest fd that may have to be replaced; -1: none
 * @note:    the character device that notes @noted, which was @highest; "" if there is none
 * @earlier: an earlier run has made a note, so its request may be pending
 * @requested: the guest may have a request of this run
 */
struct work {
	struct monitor *monitor;
	struct detach *detach;
	bool fill;
	struct fds before;
	bool exact;
	int highest;
	int noted;
	char note[MONITOR_BACKEND_LEN + 16];
	bool earlier;
	bool requested;
};

static bool is_doorbell(const struct detach *detach)
{
	return !strcmp(detach->type, "ivshmem-doorbell");
}

/* Whether @name is @id, then @kind, then @digits_n or any number of digits of this base. */
static bool name_is(const char *name, const char *id, const char *kind, size_t digits_n)
{
	size_t id_len = strlen(id);
	size_t kind_len = strlen(kind);
	const char *rest;

	if (strncmp(name, id, id_len) || strncmp(name + id_len, kind, kind_len))
		return false;
	rest = name + id_len + kind_len;
	if (!*rest)
		return false;
	return digits_n ? strlen(rest) == digits_n && !rest[strspn(rest, "0123456789abcdef")]
			: !rest[strspn(rest, "0123456789")];
}

/* Compare names that differ in their last number only. */
static bool is_later(const char *name, const char *other)
{
	size_t len = strlen(name);
	size_t other_len = strlen(other);

	return len == other_len ? strcmp(name, other) > 0 : len > other_len;
}

/* Find a character device or object that was created for the device; of several, the last one. */
static int find_named(struct work *work, bool chardev, const char *kind, size_t digits_n, char *out,
		      size_t out_len, struct ivs_error *err)
{
	struct ivs_qmp *qmp = &work->monitor->qmp;
	json_t *list;
	json_t *entry;
	size_t i;
	int result;

	*out = '\0';
	result = chardev ? ivs_qmp_execute(qmp, &list, err, "query-chardev", NULL)
			 : ivs_qmp_list(qmp, "/objects", &list, err);
	if (result)
		return result;
	json_array_foreach(list, i, entry)
	{
		const char *name = json_string_value(
			json_object_get(entry, chardev ? "label" : "name"));

		if (name && strlen(name) < out_len &&
		    name_is(name, work->detach->id, kind, digits_n) && is_later(name, out))
			snprintf(out, out_len, "%s", name);
	}
	json_decref(list);
	return 0;
}

/* Find the note of an earlier request, and what it says. */
static int find_note(struct work *work, struct ivs_error *err)
{
	uint64_t highest;
	int result = find_named(work, true, BACKEND_FDS, 0, work->note, sizeof(work->note), err);

	if (!result && *work->note &&
	    ivs_parse_uint(strrchr(work->note, '-') + 1, 0, 1 << 20, &highest))
		work->highest = work->noted = (int)highest;
	work->earlier = *work->note;
	return result;
}

/* Find what the device uses, before it is gone. */
static int find_backend(struct work *work, struct ivs_error *err)
{
	struct detach *detach = work->detach;
	char device[MONITOR_DEVICE_LEN];
	char value[DETACH_BACKEND_LEN];
	const char *slash;
	int result;

	monitor_device_path(detach->id, device);
	detach->chardev = is_doorbell(detach);
	if (!strcmp(detach->type, "vfio-user-pci"))
		return 0;
	result = ivs_qmp_get_text(&work->monitor->qmp, device,
				  detach->chardev ? "chardev" : "memdev", value, sizeof(value),
				  err);
	if (result)
		return result;
	slash = detach->chardev ? NULL : strrchr(value, '/');
	snprintf(detach->backend, sizeof(detach->backend), "%s", slash ? slash + 1 : value);
	return 0;
}

/* Count the doorbell devices in a container of devices. */
static int count_doorbells(struct work *work, const char *path, unsigned int *n,
			   struct ivs_error *err)
{
	char type[IVS_QMP_TYPE_LEN];
	json_t *list;
	json_t *entry;
	size_t i;
	int result = ivs_qmp_list(&work->monitor->qmp, path, &list, err);

	if (result)
		return result;
	json_array_foreach(list, i, entry)
	{
		if (ivs_qmp_child_type(entry, type))
			*n += !strcmp(type, "ivshmem-doorbell");
	}
	json_decref(list);
	return 0;
}

/* Read which fds are open. */
static void read_before(struct work *work)
{
	fds_deinit(&work->before);
	if (work->monitor->pid)
		(void)!fds_read(work->monitor->pid, &work->before);
}

static int check_doorbell(struct work *work)
{
	const struct detach *detach = work->detach;
	struct monitor *monitor = work->monitor;
	struct server_view view;
	struct unplug_facts facts = {
		.version = monitor->qmp.version,
		.kvm = monitor->kvm,
		.no_rings = detach->no_rings,
		.server = &view,
	};
	char why[UNPLUG_WHY_LEN];
	unsigned int devices_n = 0;
	struct ivs_error err;
	int status;

	if (count_doorbells(work, MONITOR_DEVICES, &devices_n, &err) ||
	    count_doorbells(work, "/machine/peripheral-anon", &devices_n, &err))
		return usage_failed("%s", err.text);
	status = server_view_get(detach->control, monitor->pid, devices_n, &view);
	if (status)
		return status;
	work->fill = unplug_needs_placeholders(&monitor->qmp.version, monitor->kvm);
	facts.fds_known = work->before.n;
	if (work->highest < fds_highest(&work->before))
		work->highest = fds_highest(&work->before);
	if (*unplug_why_not(&facts, detach->id, why))
		return usage_failed("%s", why);
	if (work->fill && work->highest >= FDS_FILL_MAX)
		return usage_failed("QEMU (pid %d) has a file descriptor with the number %d, so "
				    "more than %d might have to be replaced after the unplug: "
				    "leave %s plugged in until the VM is shut down, which is safe",
				    (int)monitor->pid, work->highest, FDS_FILL_MAX, detach->id);
	return 0;
}

/* A vfio-user device with interrupts makes QEMU abort. */
static int check_vfio_user(struct work *work)
{
	const json_t *device;
	struct ivs_error err;
	json_t *buses;
	int status = 0;

	if (ivs_qmp_execute(&work->monitor->qmp, &buses, &err, "query-pci", NULL))
		return usage_failed("%s", err.text);
	device = monitor_find_pci(buses, work->detach->id);
	if (!device)
		status = usage_failed("the guest has not found %s, so it is not known whether it "
				      "has doorbells, with which QEMU would abort: start the "
				      "guest's operating system; or leave it until the VM is shut "
				      "down",
				      work->detach->id);
	else if (monitor_has_bar(device, 1))
		status = usage_failed("QEMU aborts when a vfio-user device with doorbells, such as "
				      "%s, is unplugged: leave it until the VM is shut down, which "
				      "is safe",
				      work->detach->id);
	json_decref(buses);
	return status;
}

static int check(struct work *work)
{
	struct detach *detach = work->detach;
	char state[IVS_QMP_STATE_LEN];
	struct ivs_error err;

	if (ivs_qmp_state(&work->monitor->qmp, state, &err) || find_backend(work, &err) ||
	    find_note(work, &err))
		return usage_failed("%s", err.text);
	if (strcmp(state, "running"))
		return usage_failed("the VM is not running (%s), so its guest cannot release %s: "
				    "continue the VM first",
				    state, detach->id);
	if (is_doorbell(detach))
		return check_doorbell(work);
	return strcmp(detach->type, "vfio-user-pci") ? 0 : check_vfio_user(work);
}

/* From the first change on, an interruption must not leave anything half done. */
static int hold(struct work *work)
{
	return work->monitor->held ? 0 : monitor_hold(work->monitor);
}

/* Note which fds are open before the request. There is a note of an earlier run until this one. */
static int make_note(struct work *work)
{
	char earlier[sizeof(work->note)];
	struct ivs_error err;

	read_before(work);
	if (!work->before.n)
		return usage_failed("cannot read /proc/%d/fd any more", (int)work->monitor->pid);
	if (work->highest < fds_highest(&work->before))
		work->highest = fds_highest(&work->before);
	if (*work->note && work->noted >= work->highest)
		return 0;
	memcpy(earlier, work->note, sizeof(earlier));
	snprintf(work->note, sizeof(work->note), "%s" BACKEND_FDS "%d", work->detach->id,
		 work->highest);
	if (ivs_qmp_execute(&work->monitor->qmp, NULL, &err, "chardev-add", "{s:s, s:{s:s, s:{}}}",
			    "id", work->note, "backend", "type", "null", "data") ||
	    (*earlier && monitor_remove(work->monitor, true, earlier, &err)))
		return usage_failed("%s", err.text);
	return 0;
}

/* Remove the note, unless the guest may still release the device because of a request. */
static void drop_note(const struct work *work)
{
	if (*work->note && !work->earlier && !work->requested && !work->monitor->qmp.hung)
		(void)!monitor_remove(work->monitor, true, work->note, NULL);
}

/* What is left if the monitor does not answer any more. */
static int failed_with(const struct work *work, const char *text)
{
	const struct detach *detach = work->detach;

	if (*detach->backend)
		return usage_failed("%s. What is left: the %s %s, unless QEMU has ended", text,
				    detach->chardev ? "character device" : "object",
				    detach->backend);
	return usage_failed("%s", text);
}

/**
 * enum request - the result of requesting the unplug
 * @REQUEST_SENT:   the guest has the request, now or from an earlier time
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

	usage_failed("%s%s was requested to leave, but the guest has not released it%s. The "
		     "request stays: the guest may do so at any later time, or at its next reboot. "
		     "Until then, do not migrate the VM or plug in anything at its place; repeat "
		     "this command to wait again, and to remove what %s used",
		     interrupted ? "interrupted: " : "", id, interrupted ? "" : " in time", id);
	return STATUS_PENDING;
}

/* The guest has not taken a request of this run, but it may have one of an earlier run. */
static int still_busy(const struct work *work, bool interrupted)
{
	const char *id = work->detach->id;

	if (work->earlier)
		return pending(work, interrupted);
	if (interrupted)
		return usage_failed("interrupted: QEMU has not accepted the request to unplug %s; "
				    "an earlier request, if there was one, stays",
				    id);
	return usage_failed("the guest is still busy with the port of %s: %s; try again later. An "
			    "earlier request, if there was one, stays",
			    id, work->monitor->qmp.refusal.text);
}

/**
 * enum moment - what has happened while the command waited for a moment
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

	/* With an earlier request, the guest may have released the device at any time. */
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
	if (*work->note && monitor_remove(work->monitor, true, work->note, &err))
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
	if (find_note(work, &err) || find_named(work, true, BACKEND_CHARDEV, TOKEN_LEN,
						detach->backend, sizeof(detach->backend), &err))
		return usage_failed("%s", err.text);
	if (!*detach->backend) {
		detach->chardev = false;
		if (find_named(work, false, BACKEND_MEMORY, TOKEN_LEN, detach->backend,
			       sizeof(detach->backend), &err))
			return usage_failed("%s", err.text);
	}
	if (!*detach->backend && !*work->note)
		return usage_failed("the VM has no device \"%s\"", detach->id);
	work->fill = work->highest >= 0;
	if (work->fill && (!monitor->pid || fds_room(monitor->pid) < 0))
		return usage_failed("the device %s is gone, but this command must read "
				    "/proc/PID/fd of QEMU before it removes %s: run it as root or "
				    "as QEMU's user",
				    detach->id, detach->backend);
	return hold(work) ? STATUS_FAILED : finish(work);
}

static int detach_do(struct work *work)
{
	struct detach *detach = work->detach;
	struct ivs_error err;
	int status;

	/* If the device is found after this, its fds are among these. */
	read_before(work);
	if (ivs_qmp_find(&work->monitor->qmp, MONITOR_DEVICES, detach->id, detach->type, &err))
		return usage_failed("%s", err.text);
	if (!*detach->type)
		return finish_earlier(work);
	if (strcmp(detach->type, "ivshmem-plain") && !is_doorbell(detach) &&
	    strcmp(detach->type, "vfio-user-pci"))
		return usage_failed("the device \"%s\" is not an ivshmem device but %s: use QEMU's "
				    "command device_del",
				    detach->id, detach->type);
	status = check(work);
	if (!status)
		status = hold(work);
	/* Ask again as late as possible: other clients may have connected. */
	if (!status && is_doorbell(detach))
		status = check_doorbell(work);
	if (!status && work->fill)
		status = make_note(work);
	if (status)
		return status;
	progress_start("waiting for the guest to release the device");
	status = request_and_wait(work);
	progress_end();
	if (status == STATUS_FAILED)
		drop_note(work);
	return status ? status : finish(work);
}

int detach_device(struct monitor *monitor, struct detach *detach)
{
	struct work work = {.monitor = monitor, .detach = detach, .highest = -1, .noted = -1};
	int status;

	*detach->type = *detach->backend = '\0';
	detach->filled_n = 0;
	status = detach_do(&work);
	fds_deinit(&work.before);
	return status;
}
