/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/migrate_side.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "base/text.h"
#include "tools/ivshmem/migrate_arguments.h"
#include "tools/shared/usage.h"

#define PATH_LEN 512
#define BRIDGES_MAX 16
#define PERIPHERAL "/machine/peripheral"

/* The VM's name in QEMU (-name), or "". */
static int learn_name(struct side *side, struct ivs_error *err)
{
	char name[IVS_MIGRATION_ID_LEN] = "";
	const char *text;
	json_t *reply;
	int result = ivs_qmp_execute(&side->qmp, &reply, err, "query-name", NULL);

	if (result)
		return result;
	text = json_string_value(json_object_get(reply, "name"));
	ivs_text_shown(text ? text : "", name, sizeof(name));
	json_decref(reply);
	snprintf(side->text, sizeof(side->text), "%s%s (monitor %s)", *name ? "VM " : "a VM", name,
		 side->qmp.path);
	return 0;
}

int side_open(struct side *side, const char *path)
{
	struct ivs_error err = {0};
	int result = ivs_qmp_connect(&side->qmp, path, &err);

	if (!result)
		result = learn_name(side, &err);
	if (result)
		return usage_failed("%s: %s", side->role, err.text);
	if (side->qmp.pid > 0)
		side->pidfd = (int)syscall(SYS_pidfd_open, side->qmp.pid, 0);
	side->facts.major = side->qmp.version.major;
	side->facts.minor = side->qmp.version.minor;
	side->local = arguments_learn(side->qmp.pid, &side->facts);
	return 0;
}

void side_close(struct side *side)
{
	ivs_qmp_close(&side->qmp);
	ivs_fd_close(&side->pidfd);
}

bool side_is_dead(const struct side *side)
{
	struct pollfd fd = {.fd = side->pidfd, .events = POLLIN};

	return side->local && side->pidfd >= 0 && poll(&fd, 1, 0) > 0;
}

int side_progress(struct side *side, struct ivs_migration_progress *out, struct ivs_error *err)
{
	json_t *reply;
	int result = ivs_qmp_execute(&side->qmp, &reply, err, "query-migrate", NULL);

	if (result)
		return result;
	ivs_migration_progress_parse(reply, out);
	json_decref(reply);
	return 0;
}

static int get_number(struct side *side, const char *path, const char *property, uint64_t *out,
		      struct ivs_error *err)
{
	json_t *value;
	int result = ivs_qmp_get(&side->qmp, path, property, &value, err);

	if (result)
		return result;
	*out = json_integer_value(value) > 0 ? (uint64_t)json_integer_value(value) : 0;
	json_decref(value);
	return 0;
}

/* Put the slot of the device at @path before @slot: "00.0" becomes "01.0:00.0". */
static int prepend_slot(struct side *side, const char *path, char slot[IVS_MIGRATION_ID_LEN],
			struct ivs_error *err)
{
	char rest[IVS_MIGRATION_ID_LEN];
	uint64_t addr = 0;
	int result = get_number(side, path, "addr", &addr, err);

	if (result)
		return result;
	memcpy(rest, slot, sizeof(rest));
	snprintf(slot, IVS_MIGRATION_ID_LEN, "%02x.%x%s%.100s", (unsigned int)(addr >> 3) & 31,
		 (unsigned int)addr & 7, *rest ? ":" : "", rest);
	return 0;
}

/*
 * The slots on the way from the root bus to the device at @path. A bus is a child of its bridge; a
 * host bridge is not a device with an id.
 */
static int learn_slot(struct side *side, const char *device, char slot[IVS_MIGRATION_ID_LEN],
		      struct ivs_error *err)
{
	char path[PATH_LEN];
	int result = 0;

	*slot = '\0';
	snprintf(path, sizeof(path), "%s", device);
	for (unsigned int i = 0; i < BRIDGES_MAX && !result; i++) {
		char *slash;

		if (strncmp(path, PERIPHERAL, strlen(PERIPHERAL)) != 0)
			break;
		result = prepend_slot(side, path, slot, err);
		if (!result)
			result = ivs_qmp_get_text(&side->qmp, path, "parent_bus", path,
						  sizeof(path), err);
		slash = strrchr(path, '/');
		if (slash)
			*slash = '\0';
	}
	return result;
}

/* Where the device is plugged in: the name of its bus, and the object that has the bus. */
static int learn_bus(struct side *side, const char *path, struct ivs_migration_device *device,
		     struct ivs_error *err)
{
	int result = ivs_qmp_get_text(&side->qmp, path, "parent_bus", device->port,
				      sizeof(device->port), err);
	char *slash = result ? NULL : strrchr(device->port, '/');

	if (slash) {
		snprintf(device->bus, sizeof(device->bus), "%.100s", slash + 1);
		*slash = '\0';
	}
	return result;
}

/* The file of a memory backend. Other kinds of backends have no such property. */
static int learn_file(struct side *side, const char *backend, struct ivs_migration_device *device,
		      struct ivs_error *err)
{
	int result = ivs_qmp_get_text(&side->qmp, backend, "mem-path", device->file,
				      sizeof(device->file), err);

	return result == IVS_QMP_E_REFUSED ? 0 : result;
}

static bool is_default(const json_t *value)
{
	const char *text = json_string_value(value);

	return text ? !strcmp(text, "off") || !strcmp(text, "auto")
		    : !json_is_true(value) && !json_integer_value(value);
}

/*
 * The options of a memory backend that replug_plug() does not set. Some versions of QEMU lack some
 * of them.
 */
static int learn_option(struct side *side, const char *backend, struct ivs_migration_device *device,
			struct ivs_error *err)
{
	static const char *const options[] = {"offset", "readonly", "rom", "pmem"};

	for (unsigned int i = 0; i < sizeof(options) / sizeof(*options); i++) {
		json_t *value;
		int result = ivs_qmp_get(&side->qmp, backend, options[i], &value, err);

		if (result == IVS_QMP_E_REFUSED)
			continue;
		if (result)
			return result;
		if (!is_default(value))
			snprintf(device->option, sizeof(device->option), "%s=", options[i]);
		json_decref(value);
	}
	return 0;
}

static int learn_plain(struct side *side, const char *path, struct ivs_migration_device *device,
		       struct ivs_error *err)
{
	char backend[PATH_LEN];
	const char *slash;
	json_t *share;
	int result = ivs_qmp_get_text(&side->qmp, path, "memdev", backend, sizeof(backend), err);

	if (result)
		return result;
	slash = strrchr(backend, '/');
	snprintf(device->backend, sizeof(device->backend), "%.100s", slash ? slash + 1 : backend);
	result = get_number(side, backend, "size", &device->size, err);
	if (!result)
		result = learn_file(side, backend, device, err);
	if (!result)
		result = learn_option(side, backend, device, err);
	if (!result)
		result = learn_bus(side, path, device, err);
	if (!result)
		result = ivs_qmp_get(&side->qmp, backend, "share", &share, err);
	if (result)
		return result;
	device->share = json_is_true(share);
	json_decref(share);
	return 0;
}

/* The region of a doorbell device is that of its server, and is asked for only if needed. */
static int learn_doorbell(struct side *side, const char *path, struct ivs_migration_device *device,
			  struct ivs_error *err)
{
	char memory[PATH_LEN + 32];
	uint64_t vectors = 0;
	int result = get_number(side, path, "vectors", &vectors, err);

	device->vectors = (uint32_t)vectors;
	snprintf(memory, sizeof(memory), "%s/ivshmem.bar2[0]", path);
	if (!result)
		result = get_number(side, memory, "size", &device->size, err);
	return result ? result : learn_bus(side, path, device, err);
}

static int learn_device(struct side *side, const char *parent, const char *name, bool doorbell,
			struct ivs_error *err)
{
	struct ivs_migration_device *device = &side->facts.devices[side->facts.devices_n];
	char path[PATH_LEN];
	char master[16];
	int result;

	snprintf(path, sizeof(path), "%s/%.200s", parent, name);
	*device = (struct ivs_migration_device){.doorbell = doorbell};
	ivs_text_shown(name, device->id, sizeof(device->id));
	result = ivs_qmp_get_text(&side->qmp, path, "master", master, sizeof(master), err);
	device->master = !strcmp(master, "on");
	if (!result)
		result = learn_slot(side, path, device->slot, err);
	if (!result)
		result = doorbell ? learn_doorbell(side, path, device, err)
				  : learn_plain(side, path, device, err);
	side->facts.devices_n += !result;
	return result;
}

/* Find the ivshmem devices among the children of @parent. */
static int learn_devices(struct side *side, const char *parent, struct ivs_error *err)
{
	char type[IVS_QMP_TYPE_LEN];
	json_t *list;
	json_t *entry;
	size_t i;
	int result = ivs_qmp_list(&side->qmp, parent, &list, err);

	if (result)
		return result;
	json_array_foreach(list, i, entry)
	{
		const char *name = json_string_value(json_object_get(entry, "name"));
		bool doorbell;

		if (!name || !ivs_qmp_child_type(entry, type) || strncmp(type, "ivshmem-", 8) != 0)
			continue;
		doorbell = !strcmp(type, "ivshmem-doorbell");
		if (side->facts.devices_n == IVS_MIGRATION_DEVICES_MAX)
			side->facts.devices_left = true;
		else if (!result)
			result = learn_device(side, parent, name, doorbell, err);
	}
	json_decref(list);
	return result;
}

static int learn_blocks(struct side *side, struct ivs_error *err)
{
	char *text;
	int result = ivs_qmp_human(&side->qmp, "info ramblock", &text, err);

	if (result)
		return result;
	ivs_migration_parse_blocks(text, &side->facts);
	free(text);
	return 0;
}

int side_has_block(struct side *side, const char *name, bool *out, struct ivs_error *err)
{
	int result = learn_blocks(side, err);

	*out = false;
	for (unsigned int i = 0; i < side->facts.blocks_n && !result; i++) {
		const char *found = side->facts.blocks[i].name;
		size_t before = strlen(found) - strlen(name);

		*out |= strlen(found) > strlen(name) && found[before - 1] == ':' &&
			!strcmp(found + before, name);
	}
	return result;
}

int side_find_port(struct side *side, const char *port, char slot[SIDE_SLOT_LEN],
		   struct ivs_error *err)
{
	return learn_slot(side, port, slot, err);
}

void side_lend(struct side *side, int stop_fd, struct monitor *out)
{
	*out = (struct monitor){
		.qmp = side->qmp,
		.kvm = side->facts.kvm,
		.pid = side->local ? side->qmp.pid : 0,
		.only_migratable = side->facts.only_migratable,
		.held = true,
	};
	out->qmp.stop_fd = fcntl(stop_fd, F_DUPFD_CLOEXEC, 0);
}

void side_reclaim(struct side *side, struct monitor *monitor)
{
	ivs_fd_close(&monitor->qmp.stop_fd);
	side->qmp = monitor->qmp;
}

int side_learn(struct side *side)
{
	struct ivs_migration_progress progress = {0};
	struct ivs_error err = {0};
	int result = ivs_qmp_state(&side->qmp, side->facts.state, &err);

	side->running = !strcmp(side->facts.state, "running");
	side->watched = !strcmp(side->facts.state, "inmigrate");
	if (!result)
		result = ivs_qmp_is_kvm(&side->qmp, &side->facts.kvm, &err);
	if (!result)
		result = side_progress(side, &progress, &err);
	if (!result)
		result = learn_devices(side, PERIPHERAL, &err);
	if (!result)
		result = learn_devices(side, PERIPHERAL "-anon", &err);
	if (!result)
		result = learn_blocks(side, &err);
	if (result)
		return usage_failed("%s: %s", side->role, err.text);
	memcpy(side->facts.status, progress.status, sizeof(progress.status));
	memcpy(side->facts.blocked, progress.blocked, sizeof(progress.blocked));
	return 0;
}
