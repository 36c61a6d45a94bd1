/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/migrate_doorbell.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "tools/ivshmem/attach_steps.h"
#include "tools/shared/usage.h"

/* The device, as attach plugs it in. */
static struct attach as_attach(const struct ivs_migration_device *device, const char *socket)
{
	const char *dot = strrchr(device->slot, ':');

	return (struct attach){
		.target = {.server = socket, .vectors = device->vectors, .peer = true},
		.wanted_id = device->id,
		.wanted_bus = device->bus,
		.wanted_addr = dot ? dot + 1 : device->slot,
	};
}

/* Whether the device can be unplugged. If so, its server is known. */
static bool check_source(struct doorbell_way *way, struct side *source,
			 struct ivs_migration_device *device,
			 struct ivs_migration_problems *problems)
{
	struct detach detach = {
		.id = device->id, .control = way->control, .no_rings = way->no_rings};
	struct monitor monitor;
	int status;

	side_lend(source, -1, &monitor);
	status = detach_check(&monitor, &detach);
	side_reclaim(source, &monitor);
	if (status)
		ivs_migration_add(problems, "unplug",
				  "%s of the source is a peer, so it has to be unplugged first, "
				  "but: %s",
				  device->id, *detach.why ? detach.why : "it cannot be examined");
	else if (!*detach.server)
		ivs_migration_add(problems, "server",
				  "the server of %s does not report the path of its socket, so "
				  "the device could not be plugged in again after a failure: use "
				  "--control",
				  device->id);
	if (status || !*detach.server)
		return false;
	memcpy(way->from, detach.server, sizeof(way->from));
	snprintf(device->file, sizeof(device->file), "%s", detach.region);
	return true;
}

/* Compare the device with what the destination's server offers. */
static void check_fit(const struct doorbell_way *way, const struct attach_target *target,
		      const struct ivs_migration_device *device,
		      struct ivs_migration_problems *problems)
{
	char has[IVS_SIZE_TEXT_LEN];
	char wants[IVS_SIZE_TEXT_LEN];

	if (target->size != device->size)
		ivs_migration_add(problems, "size",
				  "the region of %s has %s at the source, but %s at the server %s",
				  device->id, ivs_size_text(device->size, wants),
				  ivs_size_text(target->size, has), target->path);
	if (target->probe.vectors_n < device->vectors && strcmp(way->from, way->to) != 0)
		ivs_migration_add(
			problems, "vectors",
			"%s has vectors=%u, but the server %s has %u: start it with -n %u",
			device->id, device->vectors, target->path, target->probe.vectors_n,
			device->vectors);
}

/*
 * Whether the device can be plugged in. Connects to the server first: one that does not answer
 * would block QEMU.
 */
static void check_destination(struct doorbell_way *way, struct side *destination,
			      const struct ivs_migration_device *device,
			      struct ivs_migration_problems *problems)
{
	struct attach attach = as_attach(device, way->to_server ? way->to_server : way->from);
	struct monitor monitor;
	int status = attach_target_check(&attach.target);

	if (status || strlen(attach.target.path) >= sizeof(way->to)) {
		ivs_migration_add(
			problems, "server",
			"%s cannot be plugged in at the destination with the server %.200s "
			"(the reason is above)",
			device->id, attach.target.server);
		return;
	}
	memcpy(way->to, attach.target.path, strlen(attach.target.path) + 1);
	check_fit(way, &attach.target, device, problems);
	side_lend(destination, -1, &monitor);
	status = attach_check(&monitor, &attach);
	side_reclaim(destination, &monitor);
	if (status)
		ivs_migration_add(
			problems, "plug",
			"%s cannot be plugged in at the destination (the reason is above)",
			device->id);
}

void doorbell_check(struct doorbell_way *way, struct side *source, struct side *destination,
		    struct ivs_migration_device *device, struct ivs_migration_problems *problems)
{
	if (*way->from)
		ivs_migration_add(problems, "unplug",
				  "%s is the second doorbell device that has to be unplugged, and "
				  "only one can be: detach it (ivshmem detach), and attach it at "
				  "the destination",
				  device->id);
	else if (!destination->local)
		ivs_migration_add(
			problems, "server",
			"%s has to be plugged in at the destination, which is not a process on "
			"this host, so its server cannot be examined: detach it (ivshmem "
			"detach), and attach it there",
			device->id);
	else if (check_source(way, source, device, problems) && !destination->facts.only_migratable)
		check_destination(way, destination, device, problems);
}

int doorbell_plug(struct side *side, const struct ivs_migration_device *device, const char *socket)
{
	struct attach attach = as_attach(device, socket);
	struct monitor monitor;
	int status = attach_target_check(&attach.target);

	if (status)
		return status;
	side_lend(side, -1, &monitor);
	status = attach_device(&monitor, &attach);
	side_reclaim(side, &monitor);
	return status;
}
