/* SPDX-License-Identifier: BSD-3-Clause */
#include "migration/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "migration/progress.h"

/*
 * What a rule gets: both VMs, and a device of the source with that in its slot at the destination.
 */
struct pair {
	const struct ivs_migration_side *source;
	const struct ivs_migration_side *destination;
	const struct ivs_migration_device *from;
	const struct ivs_migration_device *to;
	const char *name;
	struct ivs_migration_problems *problems;
};

static void add_text(struct ivs_migration_problems *problems, const char *name, const char *format,
		     va_list args)
{
	char text[IVS_ERROR_LEN];

	if (problems->n == IVS_MIGRATION_PROBLEMS_MAX)
		return;
	vsnprintf(text, sizeof(text), format, args);
	problems->list[problems->n].name = name;
	ivs_text_shown(text, problems->list[problems->n].text, IVS_ERROR_LEN);
	problems->n++;
}

void ivs_migration_add(struct ivs_migration_problems *problems, const char *name,
		       const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_text(problems, name, format, args);
	va_end(args);
}

IVS_PRINTF(2, 3) static void wrong(const struct pair *pair, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_text(pair->problems, pair->name, format, args);
	va_end(args);
}

/* libvirt would not know where its domain runs. */
static void check_libvirt(const struct pair *pair)
{
	const struct ivs_migration_side *sides[] = {pair->source, pair->destination};
	static const char *const roles[] = {"source", "destination"};

	for (unsigned int i = 0; i < 2; i++) {
		if (sides[i]->libvirt)
			wrong(pair,
			      "the %s is a domain of libvirt, which must know of the migration: "
			      "use "
			      "virsh migrate",
			      roles[i]);
	}
}

/* Devices and blocks that are left out cannot be compared. */
static void check_limits(const struct pair *pair)
{
	const struct ivs_migration_side *sides[] = {pair->source, pair->destination};
	static const char *const roles[] = {"source", "destination"};

	for (unsigned int i = 0; i < 2; i++) {
		if (sides[i]->devices_left)
			wrong(pair,
			      "the %s has more than %d ivshmem devices, so not all of them can be "
			      "compared: detach some (ivshmem detach), or use QEMU's own commands",
			      roles[i], IVS_MIGRATION_DEVICES_MAX);
		if (sides[i]->blocks_left)
			wrong(pair,
			      "the %s has more than %d RAM blocks, so its memory cannot be "
			      "compared: start it with fewer devices, or use QEMU's own commands",
			      roles[i], IVS_MIGRATION_BLOCKS_MAX);
	}
}

static void check_version(const struct pair *pair)
{
	const struct ivs_migration_side *from = pair->source;
	const struct ivs_migration_side *to = pair->destination;

	if (from->major != to->major || from->minor != to->minor)
		wrong(pair,
		      "the source is QEMU %u.%u, but the destination is QEMU %u.%u: use the same "
		      "version",
		      from->major, from->minor, to->major, to->minor);
}

static void check_source_state(const struct pair *pair)
{
	const char *state = pair->source->state;

	if (strcmp(state, "running") != 0 && strcmp(state, "paused") != 0)
		wrong(pair,
		      "the source is in the state \"%s\": it must be running or paused (cont, "
		      "stop)",
		      state);
}

static bool is_over(const char *status)
{
	static const char *const over[] = {"", "none", "failed", "cancelled", "completed"};

	for (size_t i = 0; i < sizeof(over) / sizeof(*over); i++) {
		if (!strcmp(status, over[i]))
			return true;
	}
	return false;
}

static void check_active(const struct pair *pair)
{
	if (!is_over(pair->source->status))
		wrong(pair,
		      "a migration of the source is already under way (\"%s\"): wait for its end, "
		      "or end it with migrate_cancel",
		      pair->source->status);
}

static void check_incoming(const struct pair *pair)
{
	const struct ivs_migration_side *to = pair->destination;

	if (strcmp(to->state, "inmigrate") != 0)
		wrong(pair,
		      "the destination is in the state \"%s\", and does not wait for a migration: "
		      "start it with -incoming defer",
		      to->state);
	else if ((to->arguments && !to->defer) || (*to->status && strcmp(to->status, "none") != 0))
		wrong(pair, "the destination already listens for a migration, so it cannot be "
			    "prepared: start it with -incoming defer");
}

static bool has_peer(const struct ivs_migration_side *side)
{
	for (unsigned int i = 0; i < side->devices_n; i++) {
		if (!side->devices[i].master)
			return true; /* even if it will be unplugged first */
	}
	return false;
}

/* A peer also blocks the migration, but is reported with a message of its own. */
static void check_blocked(const struct pair *pair)
{
	if (*pair->source->blocked &&
	    !(ivs_migration_is_peer_reason(pair->source->blocked) && has_peer(pair->source)))
		wrong(pair, "QEMU refuses to migrate the source: %s", pair->source->blocked);
}

static void check_master(const struct pair *pair)
{
	if (pair->from->replug)
		return;
	if (!pair->from->master)
		wrong(pair,
		      "%s of the source is a peer, whose memory QEMU does not migrate: start the "
		      "destination without this device, so that it is unplugged before the "
		      "migration and plugged in again after it",
		      pair->from->id);
	else if (pair->to && !pair->to->master)
		wrong(pair,
		      "%s is the master at the source, but a peer at the destination: the source "
		      "would complete, and the destination would exit; start the destination with "
		      "master=on",
		      pair->from->id);
}

static void check_slot(const struct pair *pair)
{
	if (!pair->to && !pair->from->replug)
		wrong(pair,
		      "%s is in slot %s at the source, but the destination has no ivshmem device "
		      "there: give it the same bus and addr",
		      pair->from->id, pair->from->slot);
	else if (pair->to && pair->from->doorbell != pair->to->doorbell)
		wrong(pair,
		      "%s is an ivshmem-%s, but the device in its slot at the destination is an "
		      "ivshmem-%s: use the same type",
		      pair->from->id, pair->from->doorbell ? "doorbell" : "plain",
		      pair->to->doorbell ? "doorbell" : "plain");
}

/* A device that the destination lacks is unplugged and plugged in again, if that is possible. */
static void check_replug(const struct pair *pair)
{
	const struct ivs_migration_device *from = pair->from;

	if (!from->replug)
		return;
	if (!strcmp(from->bus, "pcie.0"))
		wrong(pair,
		      "the destination lacks %s, and it cannot be unplugged from the source "
		      "because it is on the root bus (slot %s): start the destination with it",
		      from->id, from->slot);
	else if (!from->doorbell && !*from->file)
		wrong(pair,
		      "the destination lacks %s, and its region has no file with which it could "
		      "be plugged in again: start the destination with it",
		      from->id);
	else if (strcmp(pair->source->state, "running") != 0)
		wrong(pair,
		      "the destination lacks %s, so it would have to be unplugged, but the "
		      "source is paused and cannot acknowledge that: resume it (cont)",
		      from->id);
	else if (!from->master && pair->destination->only_migratable)
		wrong(pair,
		      "%s cannot be plugged in at the destination, which has -only-migratable: "
		      "start it without that option",
		      from->id);
}

static void check_vectors(const struct pair *pair)
{
	if (pair->to && pair->from->doorbell && pair->to->doorbell &&
	    pair->from->vectors != pair->to->vectors)
		wrong(pair,
		      "%s has vectors=%" PRIu32 " at the source, but vectors=%" PRIu32
		      " at the destination: the source would complete, and the destination would "
		      "exit",
		      pair->from->id, pair->from->vectors, pair->to->vectors);
}

static void check_size(const struct pair *pair)
{
	char from[IVS_SIZE_TEXT_LEN];
	char to[IVS_SIZE_TEXT_LEN];

	if (pair->to && pair->from->size != pair->to->size)
		wrong(pair, "the region of %s has %s at the source, but %s at the destination",
		      pair->from->id, ivs_size_text(pair->from->size, from),
		      ivs_size_text(pair->to->size, to));
}

static void check_backend(const struct pair *pair)
{
	if (pair->to && !pair->from->doorbell && !pair->to->doorbell &&
	    strcmp(pair->from->backend, pair->to->backend) != 0)
		wrong(pair,
		      "the memory backend of %s has the id \"%s\" at the source, but \"%s\" at the "
		      "destination: QEMU finds memory by this id",
		      pair->from->id, pair->from->backend, pair->to->backend);
}

static void check_share(const struct pair *pair)
{
	const bool plain = !pair->from->doorbell && pair->to && !pair->to->doorbell;

	if (!plain || (pair->from->share && pair->to->share))
		return;
	wrong(pair,
	      "the memory backend of %s has no share=on at the %s, so no other process sees what "
	      "the VM writes",
	      pair->from->id, pair->from->share ? "destination" : "source");
}

/* The devices of the destination that the source lacks: the rule runs with the sides exchanged. */
static void check_surplus(const struct pair *pair)
{
	if (!pair->to)
		wrong(pair,
		      "%s at the destination is in slot %s, where the source has no ivshmem "
		      "device: start the destination without it",
		      pair->from->id, pair->from->slot);
}

static const struct ivs_migration_block *find_block(const struct ivs_migration_side *side,
						    const char *name)
{
	for (unsigned int i = 0; i < side->blocks_n; i++) {
		if (!strcmp(side->blocks[i].name, name))
			return &side->blocks[i];
	}
	return NULL;
}

/* ROMs may differ in size. The memory of devices, which has a slash, has rules of its own. */
static bool is_ram(const char *name)
{
	return !strchr(name, '/') && strcmp(name, "pc.bios") != 0 && strcmp(name, "pc.rom") != 0;
}

/* Whether the block is that of an ivshmem device: "0000:00:" and its slot, then a slash. */
static bool is_of_device(const struct ivs_migration_side *side, const char *name)
{
	for (unsigned int i = 0; i < side->devices_n; i++) {
		size_t len = strlen(side->devices[i].slot);
		const char *slash = strchr(name, '/');

		if ((size_t)(slash - name) > len && slash[-(ptrdiff_t)len - 1] == ':' &&
		    !strncmp(slash - len, side->devices[i].slot, len))
			return true;
	}
	return false;
}

/*
 * A memory backend keeps its block when its device is gone, and QEMU keeps sending it. Other memory
 * of devices has names with a dot, such as "vga.vram".
 */
static void check_left(const struct pair *pair, const struct ivs_migration_block *block)
{
	const char *slash = strchr(block->name, '/');

	if (slash && slash != block->name && !strchr(slash, '.') &&
	    !find_block(pair->destination, block->name) && !is_of_device(pair->source, block->name))
		wrong(pair,
		      "the destination has no memory named \"%s\": if it is left from a device "
		      "that was unplugged from the source, remove it from the source "
		      "(object-del, id \"%s\")",
		      block->name, slash + 1);
}

static void check_memory(const struct pair *pair)
{
	for (unsigned int i = 0; i < pair->source->blocks_n; i++) {
		const struct ivs_migration_block *from = &pair->source->blocks[i];
		const struct ivs_migration_block *to = find_block(pair->destination, from->name);
		char sizes[2][IVS_SIZE_TEXT_LEN];

		check_left(pair, from);
		if (!is_ram(from->name))
			continue;
		if (!to)
			wrong(pair,
			      "the destination has no memory named \"%s\": use the same machine, "
			      "-m, and ids of memory backends",
			      from->name);
		else if (from->size != to->size)
			wrong(pair,
			      "the memory \"%s\" has %s at the source, but %s at the "
			      "destination",
			      from->name, ivs_size_text(from->size, sizes[0]),
			      ivs_size_text(to->size, sizes[1]));
	}
}

/* QEMU 10.0 and later abort under TCG if a block is larger than the one at offset 0. */
static void check_order(const struct pair *pair)
{
	const struct ivs_migration_side *side = pair->source;
	const struct ivs_migration_block *first = NULL;
	const struct ivs_migration_block *largest = NULL;

	for (unsigned int i = 0; i < side->blocks_n; i++) {
		const struct ivs_migration_block *block = &side->blocks[i];

		if (!block->offset)
			first = block;
		if (!largest || block->size > largest->size)
			largest = block;
	}
	if (side->kvm || side->major < 10 || !first || first->size >= largest->size)
		return;
	wrong(pair,
	      "the source would abort: under TCG, QEMU %u.%u fails an assertion because its first "
	      "memory, \"%s\", is smaller than \"%s\": start it with -machine "
	      "memory-backend=ID, and the -object of the RAM before that of the region",
	      side->major, side->minor, first->name, largest->name);
}

/**
 * struct rule - what is compared
 * @whole:      applied once
 * @device:     applied to each device of the source
 * @other_side: applied to each device of the destination, with the sides exchanged
 */
static const struct rule {
	const char *name;
	void (*whole)(const struct pair *pair);
	void (*device)(const struct pair *pair);
	void (*other_side)(const struct pair *pair);
} rules[] = {
	{.name = "libvirt", .whole = check_libvirt},
	{.name = "limits", .whole = check_limits},
	{.name = "version", .whole = check_version},
	{.name = "source", .whole = check_source_state},
	{.name = "active", .whole = check_active},
	{.name = "incoming", .whole = check_incoming},
	{.name = "slot", .device = check_slot},
	{.name = "replug", .device = check_replug},
	{.name = "surplus", .other_side = check_surplus},
	{.name = "master", .device = check_master},
	{.name = "blocked", .whole = check_blocked},
	{.name = "vectors", .device = check_vectors},
	{.name = "size", .device = check_size},
	{.name = "backend", .device = check_backend},
	{.name = "share", .device = check_share},
	{.name = "memory", .whole = check_memory},
	{.name = "order", .whole = check_order},
};

static void check_devices(struct pair *pair, const struct ivs_migration_side *from,
			  const struct ivs_migration_side *to,
			  void (*check)(const struct pair *pair))
{
	for (unsigned int i = 0; check && i < from->devices_n; i++) {
		pair->from = &from->devices[i];
		pair->to = ivs_migration_find(to, pair->from->slot);
		check(pair);
	}
}

void ivs_migration_check(const struct ivs_migration_side *source,
			 const struct ivs_migration_side *destination,
			 struct ivs_migration_problems *out)
{
	struct pair pair = {.source = source, .destination = destination, .problems = out};

	out->n = 0;
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		pair.name = rules[i].name;
		if (rules[i].whole)
			rules[i].whole(&pair);
		check_devices(&pair, source, destination, rules[i].device);
		check_devices(&pair, destination, source, rules[i].other_side);
	}
}
