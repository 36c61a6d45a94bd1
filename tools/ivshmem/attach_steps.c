/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each device gets an object or a character device of its own, with a new name: QEMU aborts if a
 * device is given a memory object that another device has had, and hangs if it is given such a
 * character device.
 */
#include "tools/ivshmem/attach_steps.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/parse.h"
#include "base/text.h"
#include "tools/ivshmem/attach_memory.h"
#include "tools/ivshmem/detach_fds.h"
#include "tools/ivshmem/detach_note.h"
#include "tools/ivshmem/progress.h"
#include "tools/shared/usage.h"

#define IDS_MAX 1000
#define TOKENS_MAX 8
#define POLL_MS 100
#define TRIES 3 /* if the guest immediately unplugs the device */
#define TAKE_BACK_MS 20000
#define FDS_RESERVE 32 /* files that QEMU may open for other purposes */

static bool is_child(const json_t *list, const char *name)
{
	json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		const char *found = json_string_value(json_object_get(entry, "name"));

		if (found && !strcmp(found, name))
			return true;
	}
	return false;
}

/* Choose the id, or check the one that was given. */
static int choose_id(struct monitor *monitor, struct attach *attach)
{
	struct ivs_error err;
	json_t *list;
	bool taken = true;

	if (ivs_qmp_list(&monitor->qmp, MONITOR_DEVICES, &list, &err))
		return usage_failed("%s", err.text);
	if (attach->wanted_id) {
		snprintf(attach->id, sizeof(attach->id), "%s", attach->wanted_id);
		taken = is_child(list, attach->id);
	}
	for (unsigned int i = 0; !attach->wanted_id && taken && i < IDS_MAX; i++) {
		snprintf(attach->id, sizeof(attach->id), "ivshmem%u", i);
		taken = is_child(list, attach->id);
	}
	json_decref(list);
	return taken ? usage_failed("the VM already has a device \"%s\": choose another --id",
				    attach->id)
		     : 0;
}

/* Choose a name that the VM has never had. */
static int choose_backend(struct monitor *monitor, struct attach *attach)
{
	bool chardev = attach->target.kind == IVS_CONFIG_DOORBELL;
	char type[IVS_QMP_TYPE_LEN];
	struct ivs_error err;
	unsigned int token;
	bool taken = true;
	int result;

	if (attach->target.kind == IVS_CONFIG_VFIO_USER)
		return 0;
	for (unsigned int i = 0; taken && i < TOKENS_MAX; i++) {
		if (getrandom(&token, sizeof(token), 0) != sizeof(token))
			return usage_failed("cannot get a random number: %s", strerror(errno));
		snprintf(attach->backend, sizeof(attach->backend), "%s%s%08x", attach->id,
			 chardev ? BACKEND_CHARDEV : BACKEND_MEMORY, token);
		if (chardev) {
			result = monitor_has_chardev(monitor, attach->backend, &taken, &err);
		} else {
			result = ivs_qmp_find(&monitor->qmp, "/objects", attach->backend, type,
					      &err);
			taken = *type;
		}
		if (result)
			return usage_failed("%s", err.text);
	}
	return taken ? usage_failed("no free name for %s", attach->id) : 0;
}

/*
 * Refuse to plug in anything while an earlier unplug is incomplete: QEMU may still poll closed fds.
 */
static int check_unplugs(struct monitor *monitor)
{
	char id[IVS_CONFIG_ID_MAX + 1] = "";
	struct ivs_error err;
	json_t *list;
	size_t at = 0;
	bool found;

	if (ivs_qmp_execute(&monitor->qmp, &list, &err, "query-chardev", NULL))
		return usage_failed("%s", err.text);
	found = detach_note_next(list, &at, id);
	json_decref(list);
	if (!found)
		return 0;
	return usage_failed("the unplug of %s is not complete: run \"ivshmem detach --qmp %s %s\" "
			    "first, which makes it safe to plug in other devices",
			    id, monitor->qmp.path, id);
}

static int check_driver(struct monitor *monitor, const struct attach *attach)
{
	const char *driver = attach_target_driver(&attach->target);
	struct ivs_error err;
	int result = ivs_qmp_execute(&monitor->qmp, NULL, &err, "device-list-properties", "{s:s}",
				     "typename", driver);

	if (!result)
		return 0;
	if (result != IVS_QMP_E_REFUSED)
		return usage_failed("%s", err.text);
	return usage_failed(
		"this QEMU (%u.%u) lacks the device %s: %s", monitor->qmp.version.major,
		monitor->qmp.version.minor, driver,
		attach->target.kind == IVS_CONFIG_VFIO_USER
			? "it needs QEMU 10.1 or later"
			: "use ivshmem-device(1) and --device, with QEMU 10.1 or later");
}

static int check_vm(struct monitor *monitor, struct attach *attach)
{
	const struct attach_target *target = &attach->target;
	unsigned int fds_n = (target->probe.others_n + 1) * target->vectors + FDS_RESERVE;
	char state[IVS_QMP_STATE_LEN];
	struct ivs_error err;
	long room;

	if (ivs_qmp_state(&monitor->qmp, state, &err))
		return usage_failed("%s", err.text);
	attach->running = !strcmp(state, "running");
	if (monitor->only_migratable && !target->master && target->kind != IVS_CONFIG_VFIO_USER)
		return usage_failed("QEMU was started with -only-migratable, so it accepts only a "
				    "device with --master");
	if (target->kind != IVS_CONFIG_DOORBELL || !monitor->pid)
		return 0;
	room = fds_room(monitor->pid);
	if (room >= 0 && room < (long)fds_n)
		return usage_failed("QEMU (pid %d) may open %ld more files, but %u clients with %u "
				    "vectors each need %u: raise its limit (prlimit --pid %d "
				    "--nofile=...)",
				    (int)monitor->pid, room, target->probe.others_n + 1,
				    target->vectors, fds_n, (int)monitor->pid);
	return 0;
}

/* Open a file as QEMU would. Return: the fd; -EACCES: what QEMU would open is not known; -errno. */
static int open_as_qemu(pid_t pid, const char *file)
{
	const struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	IVS_OWNED_FD root = -1;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -EACCES;
	fd = (int)syscall(SYS_openat2, root, file, &how, sizeof(how));
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? -errno : -EACCES;
	return fd;
}

/* QEMU creates a file that does not exist; its guest would then have memory of its own. */
static int check_same_file(const struct monitor *monitor, const struct attach_target *target)
{
	IVS_OWNED_FD fd = -1;
	char shown[1024];
	struct stat st;

	if (!target->region || !monitor->pid)
		return 0;
	fd = open_as_qemu(monitor->pid, target->path);
	if (fd == -EACCES)
		return 0;
	ivs_text_shown(target->path, shown, sizeof(shown));
	if (fd < 0)
		return usage_failed("QEMU (pid %d) cannot find %s (%s), because it has another "
				    "root or other mounts: make the region visible there",
				    (int)monitor->pid, shown, strerror(-fd));
	if (fstat(fd, &st))
		return usage_failed("cannot examine %s: %s", shown, strerror(errno));
	if (st.st_dev != target->dev || st.st_ino != target->ino)
		return usage_failed("%s is a different file for QEMU (pid %d), which has another "
				    "root or other mounts: make the region visible there",
				    shown, (int)monitor->pid);
	return 0;
}

static int add_backend(struct monitor *monitor, struct attach *attach, struct ivs_error *err)
{
	const struct attach_target *target = &attach->target;
	int result = 0;

	if (target->kind == IVS_CONFIG_PLAIN)
		result = ivs_qmp_execute(
			&monitor->qmp, NULL, err, "object-add", "{s:s, s:s, s:s, s:I, s:b}",
			"qom-type", "memory-backend-file", "id", attach->backend, "mem-path",
			target->path, "size", (json_int_t)target->size, "share", 1);
	else if (target->kind == IVS_CONFIG_DOORBELL)
		result = ivs_qmp_execute(&monitor->qmp, NULL, err, "chardev-add",
					 "{s:s, s:{s:s, s:{s:b, s:{s:s, s:{s:s}}}}}", "id",
					 attach->backend, "backend", "type", "socket", "data",
					 "server", 0, "addr", "type", "unix", "data", "path",
					 target->path);
	/* Even without an answer, the step may have been taken. */
	attach->has_backend = *attach->backend && result != IVS_QMP_E_REFUSED;
	return result;
}

static int add_device(struct monitor *monitor, struct attach *attach, struct ivs_error *err)
{
	const struct attach_target *target = &attach->target;
	const char *master = target->master ? "on" : target->peer ? "off" : NULL;
	const char *driver = attach_target_driver(target);
	int result;

	/* An event about an earlier device with this id is not about this one. */
	ivs_qmp_forget_events(&monitor->qmp);
	if (target->kind == IVS_CONFIG_PLAIN)
		result = ivs_qmp_execute(&monitor->qmp, NULL, err, "device_add",
					 "{s:s, s:s, s:s, s:s, s:s*, s:s*}", "driver", driver, "id",
					 attach->id, "bus", attach->bus, "memdev", attach->backend,
					 "master", master, "addr", attach->wanted_addr);
	else if (target->kind == IVS_CONFIG_DOORBELL)
		result = ivs_qmp_execute(&monitor->qmp, NULL, err, "device_add",
					 "{s:s, s:s, s:s, s:s, s:i, s:s*, s:s*}", "driver", driver,
					 "id", attach->id, "bus", attach->bus, "chardev",
					 attach->backend, "vectors", (int)target->vectors, "master",
					 master, "addr", attach->wanted_addr);
	else
		result = ivs_qmp_execute(&monitor->qmp, NULL, err, "device_add",
					 "{s:s, s:s, s:s, s:{s:s, s:s}}", "driver", driver, "id",
					 attach->id, "bus", attach->bus, "socket", "type", "unix",
					 "path", target->path);
	attach->has_device = result != IVS_QMP_E_REFUSED;
	return result;
}

static void say_left(const struct monitor *monitor, const struct attach *attach, const char *why)
{
	const char *kind = attach->target.kind == IVS_CONFIG_PLAIN ? "object" : "character device";

	if (attach->has_device)
		usage_failed("the steps cannot be undone: %s. Unless QEMU has ended, the VM may "
			     "still have the device %s: when the monitor answers again, use "
			     "\"ivshmem detach --qmp %s %s\"",
			     why, attach->id, monitor->qmp.path, attach->id);
	else
		usage_failed("the steps cannot be undone: %s. Unless QEMU has ended, the VM may "
			     "still have the %s %s: when the monitor answers again, use "
			     "\"ivshmem detach --qmp %s %s\"",
			     why, kind, attach->backend, monitor->qmp.path, attach->id);
}

/* Undo the steps in reverse order. Return: whether all were undone; if not, print what is left. */
static bool take_back(struct monitor *monitor, struct attach *attach)
{
	struct detach detach = {.id = attach->id, .timeout_ms = TAKE_BACK_MS};
	struct ivs_error err = {"the monitor does not answer"};

	if (monitor->qmp.broken || monitor->qmp.hung) {
		if (attach->has_device || attach->has_backend)
			say_left(monitor, attach, err.text);
		return false;
	}
	if (attach->has_device && detach_device(monitor, &detach)) {
		usage_failed("%s stays plugged in", attach->id);
		return false;
	}
	if (!attach->has_device && attach->has_backend &&
	    monitor_remove(monitor, attach->target.kind == IVS_CONFIG_DOORBELL, attach->backend,
			   &err)) {
		say_left(monitor, attach, err.text);
		attach->has_backend = false; /* the message about it has been printed */
		return false;
	}
	attach->has_device = attach->has_backend = false;
	return true;
}

/* Check whether the guest has enabled the device. */
static int look_at_guest(struct monitor *monitor, struct attach *attach, struct ivs_error *err)
{
	const json_t *device;
	json_t *buses;
	int result = ivs_qmp_execute(&monitor->qmp, &buses, err, "query-pci", NULL);

	if (result)
		return result;
	device = monitor_find_pci(buses, attach->id);
	attach->bar2 = device && monitor_bar(device, 0) >= 0 ? monitor_bar(device, 2) : -1;
	json_decref(buses);
	return 0;
}

/* Return: whether QEMU needs placeholders if the guest unplugs the device: see detach_fds.h. */
static bool needs_placeholders(const struct monitor *monitor, const struct attach *attach)
{
	return attach->target.kind == IVS_CONFIG_DOORBELL &&
	       unplug_needs_placeholders(&monitor->qmp.version, monitor->kvm);
}

/*
 * Note which fds QEMU may close if the guest unplugs the device. @expected_n: the number of fds
 * that the device will have, if it has none yet
 */
static void note_fds(const struct monitor *monitor, struct attach *attach, unsigned int expected_n)
{
	struct fds fds;
	int highest;

	if (!needs_placeholders(monitor, attach) || !monitor->pid || fds_read(monitor->pid, &fds))
		return;
	highest = fds_highest(&fds) + (int)expected_n;
	if (highest > attach->highest_fd)
		attach->highest_fd = highest;
	fds_deinit(&fds);
}

/*
 * Give QEMU the placeholders that it needs, or note that it lacks them, so that no device is
 * plugged in before "ivshmem detach" has completed the unplug. Return: whether QEMU lacks none.
 */
static bool replace_fds(struct monitor *monitor, const struct attach *attach)
{
	struct detach_note note = {.highest = -1};
	unsigned int filled_n = 0;
	struct ivs_error err;

	if (!needs_placeholders(monitor, attach))
		return true;
	if (attach->highest_fd >= 0 &&
	    !fds_fill(monitor, attach->id, attach->highest_fd, &filled_n))
		return true;
	(void)!detach_note_make(&monitor->qmp, attach->id,
				attach->highest_fd < 0 ? 0 : attach->highest_fd, &note, &err);
	return false;
}

/* The guest has unplugged the device. Return: IVS_QMP_E_REFUSED. */
static int was_unplugged(struct monitor *monitor, struct attach *attach, struct ivs_error *err)
{
	attach->has_device = false;
	attach->was_unplugged = replace_fds(monitor, attach);
	return ivs_error_set(err, IVS_QMP_E_REFUSED, "the guest has immediately unplugged %s",
			     attach->id);
}

/*
 * Wait until the guest has enabled the device, or cannot be expected to do so. Return: 0,
 * IVS_QMP_E_*.
 */
static int await_guest(struct monitor *monitor, struct attach *attach, struct ivs_error *err)
{
	const struct ivs_qmp_wanted gone = {"DEVICE_DELETED", "device", attach->id};
	int64_t deadline_ns = ivs_clock_deadline(attach->timeout_ms);
	json_t *event;
	int result;

	do {
		note_fds(monitor, attach, 0);
		result = look_at_guest(monitor, attach, err);
		if (result || attach->bar2 >= 0 || !attach->running)
			return result;
		result = monitor_wait(monitor, &gone, 1, POLL_MS, &event, err);
		if (!result) {
			json_decref(event);
			return was_unplugged(monitor, attach, err);
		}
		if (result != IVS_QMP_E_TIMEOUT)
			return result;
	} while (ivs_clock_left_ms(deadline_ns));
	return 0;
}

static int take_steps_once(struct monitor *monitor, struct attach *attach, struct ivs_error *err)
{
	const struct attach_target *target = &attach->target;
	int result = add_backend(monitor, attach, err);

	if (!result && target->kind == IVS_CONFIG_DOORBELL)
		result = attach_await_freed(monitor, err);
	if (result)
		return result;
	note_fds(monitor, attach, (target->probe.others_n + 1) * target->vectors);
	result = add_device(monitor, attach, err);
	if (result)
		return result;
	progress_start("waiting for the guest to enable the device");
	result = await_guest(monitor, attach, err);
	progress_end();
	return result;
}

/*
 * A guest may still be completing an earlier unplug from the same port, and then powers off the new
 * device, too. If it does so, repeat the steps.
 */
static int take_steps(struct monitor *monitor, struct attach *attach, struct ivs_error *err)
{
	int result = take_steps_once(monitor, attach, err);

	for (unsigned int i = 1; i < TRIES && result && attach->was_unplugged; i++) {
		if (!take_back(monitor, attach) || choose_backend(monitor, attach))
			return result;
		attach->was_unplugged = false;
		result = take_steps_once(monitor, attach, err);
	}
	return result;
}

int attach_check(struct monitor *monitor, struct attach *attach)
{
	int status = check_driver(monitor, attach);

	if (!status)
		status = check_vm(monitor, attach);
	if (!status)
		status = check_same_file(monitor, &attach->target);
	if (!status)
		status = check_unplugs(monitor);
	return status ? status : choose_id(monitor, attach);
}

int attach_device(struct monitor *monitor, struct attach *attach)
{
	struct ivs_error err;
	int status;
	int result;

	attach->bar2 = -1;
	attach->highest_fd = -1;
	if ((status = attach_check(monitor, attach)) ||
	    (status = choose_backend(monitor, attach)) ||
	    (status = attach_port_find(monitor, attach->wanted_bus, attach->target.size,
				       attach->bus)) ||
	    (status = monitor_hold(monitor)))
		return status;
	result = take_steps(monitor, attach, &err);
	if (result) {
		status = usage_failed("%s", err.text);
		monitor_ignore_signals(monitor);
		(void)take_back(monitor, attach);
		return status;
	}
	return attach->bar2 < 0 && attach->running && attach->timeout_ms ? STATUS_PENDING : 0;
}
