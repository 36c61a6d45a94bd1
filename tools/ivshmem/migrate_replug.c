/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/migrate_replug.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tools/ivshmem/detach_note.h"
#include "tools/ivshmem/detach_steps.h"
#include "tools/ivshmem/migrate_file.h"
#include "tools/shared/usage.h"

#define UNPLUG_MS 30000
#define ENABLED_MS 5000
#define ENABLED_POLL_MS 50
#define FREED_MS 10000
#define FREED_POLL_MS 10

/*
 * Return: the next device that is unplugged and plugged in again, from @at on; NULL: none. QEMU
 * lists the newest device first; here the oldest one is first, so that the guest numbers them as
 * before.
 */
static struct ivs_migration_device *next_device(struct side *source, unsigned int *at)
{
	while (*at < source->facts.devices_n) {
		unsigned int n = source->facts.devices_n - ++*at;
		struct ivs_migration_device *device = &source->facts.devices[n];

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

static void check_port(struct side *destination, const struct ivs_migration_device *device,
		       struct ivs_migration_problems *problems)
{
	struct ivs_error err = {0};
	char slot[SIDE_SLOT_LEN] = "";
	int result = side_find_port(destination, device->port, slot, &err);

	if (result && result != IVS_QMP_E_REFUSED)
		ivs_migration_add(problems, "port", "destination: %s", err.text);
	else if (result || !is_behind(device->slot, slot))
		ivs_migration_add(problems, "port",
				  "%s is to be plugged in again after the migration, but the "
				  "destination has no port %.200s in the same slot: start it with "
				  "the same ports",
				  device->id, device->port);
}

/* Return: the device of the source with this id that is unplugged; NULL: there is none. */
static const struct ivs_migration_device *find_device(struct side *source, const char *id)
{
	const struct ivs_migration_device *device;
	unsigned int at = 0;

	while ((device = next_device(source, &at))) {
		if (!strcmp(device->id, id))
			return device;
	}
	return NULL;
}

/* QEMU does not show that an unplug is pending, but "ivshmem detach" makes a note in the VM. */
static void check_pending(struct side *source, struct ivs_migration_problems *problems)
{
	char id[IVS_CONFIG_ID_MAX + 1];
	struct ivs_error err = {0};
	json_t *chardevs;
	size_t at = 0;

	if (ivs_qmp_execute(&source->qmp, &chardevs, &err, "query-chardev", NULL)) {
		ivs_migration_add(problems, "pending", "source: %s", err.text);
		return;
	}
	while (detach_note_next(chardevs, &at, id)) {
		if (!find_device(source, id))
			ivs_migration_add(
				problems, "pending",
				"the unplug of %s was requested and is not complete, so the "
				"device could vanish during the migration, and the destination "
				"would keep it: run \"ivshmem detach --qmp %s %s\" first",
				id, source->qmp.path, id);
	}
	json_decref(chardevs);
}

void replug_check(struct replug *replug, struct side *source, struct side *destination,
		  struct ivs_migration_problems *problems)
{
	struct ivs_migration_device *device;
	unsigned int at = 0;

	check_pending(source, problems);
	while ((device = next_device(source, &at))) {
		if (!ivs_config_id(device->id) || strlen(device->id) > IVS_CONFIG_ID_MAX) {
			ivs_migration_add(
				problems, "replug",
				"the destination lacks %s, which cannot be unplugged from "
				"the source because it has no id (id=) of at most %d "
				"characters: start the destination with it",
				device->id, IVS_CONFIG_ID_MAX);
			continue;
		}
		check_port(destination, device, problems);
		if (device->doorbell)
			doorbell_check(&replug->way, source, destination, device, problems);
		else
			file_check(source, destination, device, problems);
	}
}

/*
 * QEMU frees the memory of an unplugged device some 50 ms later. Until then, QEMU would send this
 * memory, which the destination would not accept, and would abort if the device was plugged in
 * again.
 */
static int wait_until_freed(struct side *side, const struct ivs_migration_device *device)
{
	int64_t deadline_ns = ivs_clock_deadline(FREED_MS);
	char name[2 * IVS_MIGRATION_ID_LEN];
	struct ivs_error err = {0};
	bool has;

	snprintf(name, sizeof(name), "%s/%s", device->slot,
		 device->doorbell ? "ivshmem.bar2" : device->backend);
	for (;;) {
		if (side_has_block(side, name, &has, &err))
			return usage_failed("%s: %s", side->role, err.text);
		if (!has)
			return 0;
		if (!ivs_clock_left_ms(deadline_ns))
			return usage_failed(
				"QEMU has not freed the memory of %s within %d s of the unplug",
				device->id, FREED_MS / 1000);
		poll(NULL, 0, FREED_POLL_MS);
	}
}

/* Unplug the devices of one kind. */
static int unplug_kind(struct replug *replug, struct side *source, bool doorbell, int stop_fd)
{
	const struct ivs_migration_device *device;
	unsigned int at = 0;
	int status = 0;

	while (!status && (device = next_device(source, &at))) {
		struct detach detach = {
			.id = device->id,
			.control = replug->way.control,
			.no_rings = replug->way.no_rings,
			.timeout_ms = UNPLUG_MS,
		};
		struct monitor monitor;

		if (device->doorbell != doorbell)
			continue;
		ivs_qmp_forget_events(&source->qmp);
		side_lend(source, stop_fd, &monitor);
		status = detach_device(&monitor, &detach);
		side_reclaim(source, &monitor);
		replug->unplugged[device - source->facts.devices] = detach.gone;
		replug->unplugged_n += detach.gone;
		if (!status)
			status = wait_until_freed(source, device);
	}
	return status;
}

int replug_unplug(struct replug *replug, struct side *source, int stop_fd)
{
	/*
	 * The doorbell device comes last: it could not be plugged in again while another unplug is
	 * pending.
	 */
	int status = unplug_kind(replug, source, false, stop_fd);

	return status ? status : unplug_kind(replug, source, true, stop_fd);
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

/* Wait until the guest has enabled a device, so that it finds the devices in their order. */
static void wait_until_enabled(struct side *side, const char *id)
{
	int64_t deadline_ns = ivs_clock_deadline(ENABLED_MS);
	struct ivs_error err;
	bool enabled = false;

	while (!enabled && ivs_clock_left_ms(deadline_ns)) {
		const json_t *device;
		json_t *buses;

		if (ivs_qmp_execute(&side->qmp, &buses, &err, "query-pci", NULL))
			return;
		device = monitor_find_pci(buses, id);
		enabled = device && monitor_bar(device, 0) >= 0 && monitor_bar(device, 2) >= 0;
		json_decref(buses);
		poll(NULL, 0, enabled ? 0 : ENABLED_POLL_MS);
	}
}

static int plug_again(const struct replug *replug, const struct ivs_migration_device *device,
		      struct side *side, bool back)
{
	struct ivs_error err = {"the reason is above"};
	int result;

	/* QEMU aborts if two blocks have the same name. */
	result = wait_until_freed(side, device);
	if (!result && device->doorbell)
		result = doorbell_plug(side, device, back ? replug->way.from : replug->way.to);
	else if (!result)
		result = plug(side, device, &err);
	return result ? usage_failed("%s is running without %s, which cannot be plugged in "
				     "again: %s. To add it later, use ivshmem attach",
				     side->text, device->id, err.text)
		      : 0;
}

int replug_plug(struct replug *replug, struct side *source, struct side *side)
{
	const struct ivs_migration_device *before = NULL;
	const struct ivs_migration_device *device;
	unsigned int at = 0;
	int status = 0;

	while ((device = next_device(source, &at))) {
		if (!replug->unplugged[device - source->facts.devices])
			continue;
		if (before)
			wait_until_enabled(side, before->id);
		if (plug_again(replug, device, side, side == source))
			status = STATUS_FAILED;
		before = device;
	}
	return status;
}
