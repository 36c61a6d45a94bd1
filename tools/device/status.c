/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ivshmem-device --status. The reply is not trusted: missing values are printed as "-", and control
 * characters are replaced.
 */
#include "tools/device/status.h"

#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "daemon/json.h"
#include "daemon/log.h"
#include "device/status.h"
#include "tools/shared/ask.h"
#include "tools/shared/show.h"
#include "tools/shared/usage.h"

#define TEXT_LEN 512 /* enough for paths and error messages */

static json_int_t get_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static bool is_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static void print_device(const json_t *device)
{
	char cells[4][TEXT_LEN];

	printf("device   %s: %s of revision %s, ",
	       show(device, "socket", cells[0], sizeof(cells[0])),
	       show(device, "model", cells[1], sizeof(cells[1])),
	       show(device, "revision", cells[2], sizeof(cells[2])));
	if (get_number(device, "vectors"))
		printf("%" JSON_INTEGER_FORMAT " vector%s, ", get_number(device, "vectors"),
		       get_number(device, "vectors") == 1 ? "" : "s");
	else if (is_true(device, "intx"))
		printf("pin A, ");
	printf("%s", show(device, "role", cells[3], sizeof(cells[3])));
	if (json_is_string(json_object_get(device, "name")))
		printf(", named %s", show(device, "name", cells[0], sizeof(cells[0])));
	putchar('\n');
}

static void print_memory(const json_t *memory, const json_t *vmm)
{
	char size[IVS_SIZE_TEXT_LEN];
	char region[TEXT_LEN];

	printf("memory   %s", show_size(memory, "size", size));
	if (get_number(memory, "offset"))
		printf(" from offset %" JSON_INTEGER_FORMAT, get_number(memory, "offset"));
	if (json_is_string(json_object_get(memory, "region")))
		printf(" of %s", show(memory, "region", region, sizeof(region)));
	else
		printf(" of the server's region");
	if (is_true(memory, "read_only"))
		printf(", read-only");
	if (!is_true(memory, "attached"))
		printf(", not there yet");
	else if (json_is_object(vmm))
		printf(", %s", is_true(vmm, "memory_mapped") ? "mapped by the VMM"
							     : "accessed through messages (slow)");
	putchar('\n');
	print_changes(memory);
}

static void print_server(const json_t *server)
{
	char cells[4][TEXT_LEN];
	char since[CELL_LEN];

	if (!json_is_object(server))
		return;
	printf("server   %s: %s since %s", show(server, "socket", cells[0], sizeof(cells[0])),
	       show(server, "state", cells[1], sizeof(cells[1])),
	       show_time(server, "since", since));
	if (json_is_integer(json_object_get(server, "id")))
		printf(", peer %" JSON_INTEGER_FORMAT, get_number(server, "id"));
	if (json_is_integer(json_object_get(server, "peers")))
		printf(", others %" JSON_INTEGER_FORMAT, get_number(server, "peers"));
	if (json_is_string(json_object_get(server, "problem")))
		printf("\n         %s", show(server, "problem", cells[3], sizeof(cells[3])));
	putchar('\n');
}

static void print_totals(const json_t *device)
{
	const json_t *totals = json_object_get(device, "totals");
	char cells[7][CELL_LEN];

	printf("vmm      %s; %s connected so far, %s refused\n",
	       json_is_object(json_object_get(device, "vmm")) ? "connected" : "none",
	       show(totals, "vmms", cells[0], sizeof(cells[0])),
	       show(totals, "turned_away", cells[1], sizeof(cells[1])));
	printf("rung     %s by the guest (%s to no peer), %s by peers, %s interrupts\n",
	       show(totals, "doorbells_out", cells[2], sizeof(cells[2])),
	       show(totals, "doorbells_to_nobody", cells[3], sizeof(cells[3])),
	       show(totals, "doorbells_in", cells[4], sizeof(cells[4])),
	       show(totals, "interrupts", cells[5], sizeof(cells[5])));
}

static void print_status(const json_t *status)
{
	const json_t *devices = json_object_get(status, "devices");
	const json_t *device;
	size_t i;

	json_array_foreach(devices, i, device)
	{
		if (i)
			putchar('\n');
		print_device(device);
		print_memory(json_object_get(device, "memory"), json_object_get(device, "vmm"));
		print_server(json_object_get(device, "server"));
		print_totals(device);
	}
}

int show_status(const char *path, bool json)
{
	const struct ask ask = {path, "an ivshmem-device", "program", "VMMs"};
	struct reply reply = {0};
	struct ivs_error err = {0};
	int result;

	result = ask_request(&ask, IVS_DEVICE_STATUS_REQUEST "\n", &reply, &err);
	if (!result && !json_is_array(json_object_get(reply.json, "devices")))
		result = ask_doubt(&ask, "sent an unexpected reply", &err);
	if (!result && json)
		result = ivs_json_write(reply.json, JSON_COMPACT, stdout) || putchar('\n') == EOF
				 ? ivs_error_errno(&err, errno, "cannot print the status")
				 : 0;
	else if (!result)
		print_status(reply.json);
	if (!result && fflush(stdout))
		result = ivs_error_errno(&err, errno, "cannot print the status");
	reply_deinit(&reply);
	if (result)
		ivs_log(IVS_LOG_ERROR, "%s", err.text);
	return result ? STATUS_FAILED : 0;
}
