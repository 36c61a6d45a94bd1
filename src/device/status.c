/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/status.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/json.h"
#include "device/private.h"

static json_t *number_json(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static const char *state_name(enum ivs_device_server_state state)
{
	static const char *const names[] = {
		[SERVER_NONE] = "none",
		[SERVER_LOST] = "lost",
		[SERVER_CONNECTED] = "greeted",
		[SERVER_JOINED] = "joined",
		[SERVER_OTHER_REGION] = "foreign",
	};

	return names[state];
}

static unsigned int count_peers(const struct ivs_doorbells *doorbells)
{
	unsigned int n = 0;

	for (unsigned int id = 0; id < doorbells->ids_n; id++)
		n += doorbells->entries[id].set != NULL;
	return n;
}

static json_t *server_json(const struct ivs_device *device)
{
	const struct ivs_device_server *server = &device->server;
	bool joined = server->state == SERVER_JOINED;

	if (server->state == SERVER_NONE)
		return json_null();
	return json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "socket",
			 ivs_json_text(device->opts.server), "state", state_name(server->state),
			 "since", ivs_json_time(server->since_ms), "id",
			 server->last_id >= 0 ? json_integer(server->last_id) : json_null(),
			 "vectors", number_json(server->vectors_n), "peers",
			 joined ? number_json(count_peers(&server->connection.doorbells))
				: json_null(),
			 "joins", number_json(server->joins), "problem",
			 *server->problem.text ? ivs_json_text(server->problem.text) : json_null());
}

static json_t *memory_json(const struct ivs_device *device)
{
	/* Without a region of its own, the device watches nothing. */
	unsigned int changes = ivs_region_watch_look(&device->bar2.watch);

	return json_pack(
		"{s:o, s:o, s:o, s:b, s:b, s:o}", "region", ivs_json_text(device->opts.region),
		"offset", number_json(device->opts.window.offset), "size",
		number_json(device->function.options.memory_len), "read_only",
		device->opts.access != IVS_DEVICE_WRITES, "attached", device->bar2.fd >= 0,
		"changes", ivs_json_flags(changes, IVS_REGION_CHANGES_N, ivs_region_change_name));
}

static json_t *vmm_json(const struct ivs_device *device, const struct ivs_vfio_user_counts *counts)
{
	if (!ivs_vfio_user_is_connected(device->session))
		return json_null();
	return json_pack("{s:b, s:b}", "memory_mapped", counts->mapped, "asked_migration",
			 counts->asked_migration);
}

static json_t *totals_json(const struct ivs_device *device,
			   const struct ivs_vfio_user_counts *counts)
{
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "vmms",
		number_json(counts->clients), "turned_away",
		number_json(device->totals.turned_away), "messages", number_json(counts->messages),
		"refused", number_json(counts->refused), "memory_reads",
		number_json(counts->memory_reads), "memory_writes",
		number_json(counts->memory_writes), "doorbells_out", number_json(counts->doorbells),
		"doorbells_to_nobody", number_json(device->totals.lost), "doorbells_in",
		number_json(device->totals.rung), "interrupts", number_json(counts->interrupts));
}

static const char *model_name(const struct ivs_device *device)
{
	return device->opts.server ? "doorbell" : "plain";
}

static json_t *device_json(const struct ivs_device *device)
{
	const struct ivs_vfio_user_counts counts = ivs_vfio_user_counts(device->session);
	const struct ivs_pci_function_options *function = &device->opts.function;

	return json_pack("{s:o, s:s, s:o, s:o, s:b, s:o, s:s, s:o, s:o, s:o, s:o}", "socket",
			 ivs_json_text(device->name), "model", model_name(device), "revision",
			 number_json(function->revision), "vectors",
			 number_json(function->vectors_n), "intx", function->intx, "name",
			 ivs_json_text(function->name), "role",
			 ivs_device_is_master(device) ? "master" : "peer", "memory",
			 memory_json(device), "server", server_json(device), "vmm",
			 vmm_json(device, &counts), "totals", totals_json(device, &counts));
}

static json_t *reply_json(struct ivs_device *const *devices, unsigned int devices_n)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < devices_n; i++) {
		if (json_array_append_new(list, device_json(devices[i]))) {
			json_decref(list);
			return NULL;
		}
	}
	return json_pack("{s:s, s:s, s:o}", "program", "ivshmem-device", "version", IVS_VERSION,
			 "devices", list);
}

/* Return: whether the line is the request for the status; no other request exists. */
static bool is_status_request(const char *line, size_t line_len)
{
	json_t *request = json_loadb(line, line_len, JSON_REJECT_DUPLICATES, NULL);
	const char *what = json_string_value(json_object_get(request, "request"));
	bool is_valid = what && !strcmp(what, "status");

	json_decref(request);
	return is_valid;
}

int ivs_device_answer(struct ivs_device *const *devices, unsigned int devices_n, const char *line,
		      size_t line_len, char **text, size_t *len)
{
	json_t *reply = is_status_request(line, line_len)
				? reply_json(devices, devices_n)
				: json_pack("{s:s}", "error",
					    "the only request is " IVS_DEVICE_STATUS_REQUEST);
	FILE *out = reply ? open_memstream(text, len) : NULL;
	bool good = out && !ivs_json_write(reply, JSON_COMPACT, out) && fputs("\n", out) != EOF;

	json_decref(reply);
	if (out && !fclose(out) && good)
		return 0;
	if (out)
		free(*text);
	return -ENOMEM;
}
