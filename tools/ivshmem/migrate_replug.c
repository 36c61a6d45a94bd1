/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/migrate_replug.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tools/ivshmem/migrate_file.h"
#include "tools/ivshmem/progress.h"
#include "tools/shared/usage.h"

#define UNPLUG_MS 30000

/* Return: the next device that is unplugged and plugged again, from @at on; NULL: none. */
static const struct ivs_migration_device *next_device(const struct side *source, unsigned int *at)
{
	while (*at < source->facts.devices_n) {
		const struct ivs_migration_device *device = &source->facts.devices[(*at)++];

		if (device->replug)
			return device;
	}
	return NULL;
}

/* Whether the slot of the device is behind the port with this slot. */
static bool is_behind(const char *device_slot, const char *port_slot)
{
	size_t len = strlen(port_slot);

	return !len || (!strncmp(device_slot, port_slot, len) && device_slot[len] == ':');
}

void replug_check(const struct side *source, struct side *destination,
		  struct ivs_migration_problems *problems)
{
	const struct ivs_migration_device *device;
	unsigned int at = 0;

	while ((device = next_device(source, &at))) {
		struct ivs_error err = {0};
		char slot[SIDE_SLOT_LEN] = "";
		int result = side_find_port(destination, device->port, slot, &err);

		file_check(source, destination, device, problems);
		if (result && result != IVS_QMP_E_REFUSED)
			ivs_migration_add(problems, "port", "destination: %s", err.text);
		else if (result || !is_behind(device->slot, slot))
			ivs_migration_add(problems, "port",
					  "%s is to be plugged in again after the migration, but "
					  "the destination has no port %.200s in the same slot: "
					  "start it with the same ports",
					  device->id, device->port);
	}
}

static int wait_until_deleted(struct side *source, const char *id, int stop_fd)
{
	const struct ivs_qmp_wanted wanted = {"DEVICE_DELETED", "device", id};
	struct ivs_error err = {0};
	char what[SIDE_TEXT_LEN];
	json_t *event = NULL;
	int result;

	snprintf(what, sizeof(what), "unplugging %.100s: waiting for the guest", id);
	progress_start(what);
	source->qmp.stop_fd = stop_fd;
	result = ivs_qmp_wait_event(&source->qmp, &wanted, 1, ivs_clock_deadline(UNPLUG_MS), &event,
				    &err);
	source->qmp.stop_fd = -1;
	progress_end();
	json_decref(event);
	if (!result)
		return 0;
	if (result != IVS_QMP_E_TIMEOUT && result != IVS_QMP_E_INTERRUPTED)
		return usage_failed("source: %s", err.text);
	return usage_failed(
		"the unplug of %s is requested, but the guest has not acknowledged it%s: "
		"the request cannot be withdrawn, and the device may go at any later "
		"time. The VM is not migrated while it is pending",
		id, result == IVS_QMP_E_TIMEOUT ? " within 30 s" : "");
}

int replug_unplug(struct side *source, int stop_fd, unsigned int *unplugged_n)
{
	const struct ivs_migration_device *device;
	unsigned int at = 0;
	int status = 0;

	while (!status && (device = next_device(source, &at))) {
		struct ivs_error err = {0};

		ivs_qmp_forget_events(&source->qmp);
		if (ivs_qmp_execute(&source->qmp, NULL, &err, "device_del", "{s:s}", "id",
				    device->id))
			return usage_failed("source: %s", err.text);
		status = wait_until_deleted(source, device->id, stop_fd);
		if (status)
			return status;
		++*unplugged_n;
		if (ivs_qmp_execute(&source->qmp, NULL, &err, "object-del", "{s:s}", "id",
				    device->backend))
			return usage_failed("source: %s", err.text);
	}
	return status;
}

static int plug(struct side *side, const struct ivs_migration_device *device, struct ivs_error *err)
{
	const char *dot = strrchr(device->slot, ':');
	int result = ivs_qmp_execute(&side->qmp, NULL, err, "object-add",
				     "{s:s, s:s, s:I, s:s, s:b}", "qom-type", "memory-backend-file",
				     "id", device->backend, "size", (json_int_t)device->size,
				     "mem-path", device->file, "share", (int)device->share);

	if (result)
		return result;
	result = ivs_qmp_execute(
		&side->qmp, NULL, err, "device_add", "{s:s, s:s, s:s, s:s, s:s, s:s}", "driver",
		"ivshmem-plain", "id", device->id, "memdev", device->backend, "bus", device->bus,
		"addr", dot ? dot + 1 : device->slot, "master", device->master ? "on" : "off");
	if (result) {
		struct ivs_error ignored;

		(void)ivs_qmp_execute(&side->qmp, NULL, &ignored, "object-del", "{s:s}", "id",
				      device->backend);
	}
	return result;
}

int replug_plug(const struct side *source, struct side *side, unsigned int n)
{
	const struct ivs_migration_device *device;
	unsigned int at = 0;
	int status = 0;

	while (n-- && (device = next_device(source, &at))) {
		struct ivs_error err = {0};

		if (plug(side, device, &err))
			status = usage_failed("%s runs without %s, which cannot be plugged in "
					      "again: %s. To add the region later, use ivshmem "
					      "attach",
					      side->text, device->id, err.text);
	}
	return status;
}
