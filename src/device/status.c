/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/status.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "device/private.h"

#define TEXT_MAX 4352 /* a path and a prefix, or a struct ivs_error */

/* Paths may be any bytes, JSON only UTF-8. */
static json_t *text_of(const char *text)
{
	char valid[TEXT_MAX];

	return text ? json_string(ivs_text_valid(text, valid, sizeof(valid))) : json_null();
}

static json_t *time_of(int64_t wall_ms)
{
	char text[IVS_CLOCK_TEXT_LEN];

	return json_string(ivs_clock_wall_text(wall_ms, text));
}

static json_t *number_of(uint64_t n)
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

static json_t *server_of(const struct ivs_device *device)
{
	const struct ivs_device_server *server = &device->server;
	bool joined = server->state == SERVER_JOINED;

	if (server->state == SERVER_NONE)
		return json_null();
	return json_pack(
		"{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "socket", text_of(device->opts.server),
		"state", state_name(server->state), "since", time_of(server->since_ms), "id",
		server->last_id >= 0 ? json_integer(server->last_id) : json_null(), "vectors",
		number_of(server->vectors_n), "peers",
		joined ? number_of(count_peers(&server->connection.doorbells)) : json_null(),
		"joins", number_of(server->joins_n), "problem",
		*server->problem.text ? text_of(server->problem.text) : json_null());
}

static json_t *memory_of(const struct ivs_device *device)
{
	return json_pack("{s:o, s:o, s:o, s:b, s:b}", "region", text_of(device->opts.region),
			 "offset", number_of(device->opts.window.offset), "size",
			 number_of(device->function.options.memory_len), "read_only",
			 device->opts.access != IVS_DEVICE_WRITES, "attached",
			 device->memory.fd >= 0);
}

static json_t *vmm_of(const struct ivs_device *device, const struct ivs_vfio_user_counts *counts)
{
	if (!ivs_vfio_user_is_connected(device->session))
		return json_null();
	return json_pack("{s:b, s:b}", "memory_mapped", counts->mapped, "asked_migration",
			 counts->asked_migration);
}

static json_t *totals_of(const struct ivs_device *device, const struct ivs_vfio_user_counts *counts)
{
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "vmms",
		number_of(counts->clients), "turned_away", number_of(device->totals.turned),
		"messages", number_of(counts->messages), "refused", number_of(counts->refused),
		"memory_reads", number_of(counts->memory_reads), "memory_writes",
		number_of(counts->memory_writes), "doorbells_out", number_of(counts->doorbells),
		"doorbells_to_nobody", number_of(device->totals.lost), "doorbells_in",
		number_of(device->totals.rung), "interrupts", number_of(counts->interrupts));
}

static const char *model_of(const struct ivs_device *device)
{
	return device->opts.server ? "doorbell" : "plain";
}

static json_t *device_json(const struct ivs_device *device)
{
	const struct ivs_vfio_user_counts counts = ivs_vfio_user_counts(device->session);
	const struct ivs_pci_function_options *function = &device->opts.function;

	return json_pack("{s:o, s:s, s:o, s:o, s:b, s:o, s:s, s:o, s:o, s:o, s:o}", "socket",
			 text_of(device->name), "model", model_of(device), "revision",
			 number_of(function->revision), "vectors", number_of(function->vectors_n),
			 "intx", function->intx, "name", text_of(function->name), "role",
			 ivs_device_is_master(device) ? "master" : "peer", "memory",
			 memory_of(device), "server", server_of(device), "vmm",
			 vmm_of(device, &counts), "totals", totals_of(device, &counts));
}

static json_t *all_of(struct ivs_device *const *devices, unsigned int devices_n)
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

/* One of the requests there are. */
static bool is_status(const char *line, size_t line_len)
{
	json_t *request = json_loadb(line, line_len, JSON_REJECT_DUPLICATES, NULL);
	const char *what = json_string_value(json_object_get(request, "request"));
	const bool good = what && !strcmp(what, "status");

	json_decref(request);
	return good;
}

int ivs_device_answer(struct ivs_device *const *devices, unsigned int devices_n, const char *line,
		      size_t line_len, char **text, size_t *len)
{
	json_t *reply = is_status(line, line_len)
				? all_of(devices, devices_n)
				: json_pack("{s:s}", "error",
					    "there is one request: " IVS_DEVICE_STATUS_REQUEST);
	char *dumped = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
	const int n = dumped ? asprintf(text, "%s\n", dumped) : -1;

	json_decref(reply);
	free(dumped);
	if (n < 0)
		return -ENOMEM;
	*len = (size_t)n;
	return 0;
}
