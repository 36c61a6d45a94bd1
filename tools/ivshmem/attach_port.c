/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port is a device with one slot behind it: pcie-root-port, for instance. Its bus is a child of
 * the device, and a device in the slot is a link of the bus. Unlike query-pci, this does not depend
 * on whether the guest has numbered its buses.
 */
#include "tools/ivshmem/attach_port.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "tools/shared/usage.h"

#define PORTS_MAX 256
#define PATH_LEN (MONITOR_DEVICE_LEN + BUS_LEN)
#define WINDOW_DEFAULT (UINT64_C(2) << 20)

/**
 * struct search - what has been found
 * @buses:     query-pci
 * @free_bus:  the best free bus; "" if there is none
 * @small_bus: a free bus whose window is too small; "" if there is none
 * @wanted_by: the device in the slot of the wanted bus; "" if it is free, or unknown
 * @window:    size of the window of @small_bus
 * @ports_n:   number of ports
 * @chassis:   the highest chassis or slot of any port
 */
struct search {
	struct monitor *monitor;
	const char *wanted;
	uint64_t size;
	json_t *buses;
	char free_bus[BUS_LEN];
	char small_bus[BUS_LEN];
	char wanted_by[IVS_QMP_TYPE_LEN];
	uint64_t window;
	unsigned int ports_n;
	json_int_t chassis;
	bool has_name;
};

#define PORT_NAME "ivshmem-port"

static bool is_port(const char *type)
{
	static const char *const types[] = {"pcie-root-port", "ioh3420", "xio3130-downstream"};

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (!strcmp(type, types[i]))
			return true;
	}
	return false;
}

/* The length of the port's window for a region; 0 until the firmware has assigned it. */
static uint64_t window_of(const struct search *search, const char *port)
{
	const json_t *device = monitor_find_pci(search->buses, port);
	const json_t *bridge = json_object_get(device, "pci_bridge");
	const json_t *range = json_object_get(json_object_get(bridge, "bus"), "prefetchable_range");
	json_int_t base = json_integer_value(json_object_get(range, "base"));
	json_int_t limit = json_integer_value(json_object_get(range, "limit"));

	return base > 0 && limit >= base ? (uint64_t)(limit - base) + 1 : 0;
}

/* Find out which device is in the slot of a bus. @type: "" if none is. */
static int slot_look(struct search *search, const char *bus_path, char type[IVS_QMP_TYPE_LEN],
		     struct ivs_error *err)
{
	json_t *list;
	json_t *entry;
	size_t i;
	int result = ivs_qmp_list(&search->monitor->qmp, bus_path, &list, err);

	*type = '\0';
	if (result)
		return result;
	json_array_foreach(list, i, entry)
	{
		const char *name = json_string_value(json_object_get(entry, "name"));
		const char *link = json_string_value(json_object_get(entry, "type"));

		if (name && link && !strncmp(name, "child[", 6) && !strncmp(link, "link<", 5)) {
			snprintf(type, IVS_QMP_TYPE_LEN, "%.60s", link + 5);
			type[strcspn(type, ">")] = '\0';
		}
	}
	json_decref(list);
	return 0;
}

/* Find the bus of a port. @bus: "" if it has none. */
static int bus_find(struct search *search, const char *port_path, char bus[BUS_LEN],
		    struct ivs_error *err)
{
	char type[IVS_QMP_TYPE_LEN];
	json_t *list;
	json_t *entry;
	size_t i;
	int result = ivs_qmp_list(&search->monitor->qmp, port_path, &list, err);

	*bus = '\0';
	if (result)
		return result;
	json_array_foreach(list, i, entry)
	{
		const char *name = json_string_value(json_object_get(entry, "name"));

		if (name && strlen(name) < BUS_LEN && ivs_qmp_child_type(entry, type) &&
		    (!strcmp(type, "PCIE") || !strcmp(type, "PCI")))
			snprintf(bus, BUS_LEN, "%s", name);
	}
	json_decref(list);
	return 0;
}

/* Get a property that some kinds of ports lack. @out: NULL if this one does. */
static int get_optional(struct search *search, const char *path, const char *property, json_t **out,
			struct ivs_error *err)
{
	int result = ivs_qmp_get(&search->monitor->qmp, path, property, out, err);

	if (result)
		*out = NULL;
	return result == IVS_QMP_E_REFUSED ? 0 : result;
}

/* Note the port's numbers, so that the advice does not use them again. */
static int port_note_numbers(struct search *search, const char *port_path, struct ivs_error *err)
{
	static const char *const keys[] = {"chassis", "slot"};
	json_t *value;
	int result;

	for (size_t i = 0; i < 2; i++) {
		result = get_optional(search, port_path, keys[i], &value, err);
		if (result)
			return result;
		if (json_integer_value(value) > search->chassis)
			search->chassis = json_integer_value(value);
		json_decref(value);
	}
	return 0;
}

/* Find out whether hot-plug is switched off for the port. */
static int port_is_off(struct search *search, const char *port_path, bool *off,
		       struct ivs_error *err)
{
	json_t *value;
	int result = get_optional(search, port_path, "hotplug", &value, err);

	*off = json_is_false(value);
	json_decref(value);
	return result;
}

/* Remember a free bus, if it is the first one, and large enough. */
static void bus_take(struct search *search, const char *port, const char *bus)
{
	uint64_t window = window_of(search, port);

	if (window && search->size && window < search->size) {
		snprintf(search->small_bus, BUS_LEN, "%s", bus);
		search->window = window;
	} else if (!*search->free_bus) {
		snprintf(search->free_bus, BUS_LEN, "%s", bus);
	}
}

static int port_look(struct search *search, const char *id, struct ivs_error *err)
{
	char port_path[MONITOR_DEVICE_LEN];
	char bus_path[PATH_LEN];
	char type[IVS_QMP_TYPE_LEN];
	char bus[BUS_LEN];
	bool off;
	int result;

	if (strlen(id) > IVS_CONFIG_ID_MAX || search->ports_n == PORTS_MAX)
		return 0;
	monitor_device_path(id, port_path);
	search->has_name |= !strcmp(id, PORT_NAME);
	search->ports_n++;
	if ((result = port_note_numbers(search, port_path, err)) ||
	    (result = port_is_off(search, port_path, &off, err)) ||
	    (result = bus_find(search, port_path, bus, err)) || !*bus)
		return result;
	snprintf(bus_path, sizeof(bus_path), "%s/%s", port_path, bus);
	result = slot_look(search, bus_path, type, err);
	if (result)
		return result;
	if (search->wanted && !strcmp(search->wanted, bus))
		memcpy(search->wanted_by, type, sizeof(type));
	if (!*type && !off)
		bus_take(search, id, bus);
	return 0;
}

static int ports_look(struct search *search, struct ivs_error *err)
{
	char type[IVS_QMP_TYPE_LEN];
	json_t *list;
	json_t *entry;
	size_t i;
	int result = ivs_qmp_list(&search->monitor->qmp, MONITOR_DEVICES, &list, err);

	if (result)
		return result;
	/* QEMU lists the newest device first. */
	for (i = json_array_size(list); !result && i--;) {
		entry = json_array_get(list, i);
		if (ivs_qmp_child_type(entry, type) && is_port(type))
			result = port_look(search,
					   json_string_value(json_object_get(entry, "name")) ?: "",
					   err);
	}
	json_decref(list);
	return result;
}

/* Print the argument with which the VM would have a suitable port. */
static int no_port(const struct search *search)
{
	const char *why = search->ports_n ? "no port of the VM is free and supports hot-plug"
					  : "the VM has no port into which a device can be plugged";
	char port[128];
	char reserve[64] = "";
	char window[IVS_SIZE_TEXT_LEN];
	char size[IVS_SIZE_TEXT_LEN];
	long long number = search->chassis + 1;

	if (search->size > WINDOW_DEFAULT)
		snprintf(reserve, sizeof(reserve), ",pref64-reserve=%s",
			 ivs_size_text(search->size, size));
	snprintf(port, sizeof(port),
		 "-device pcie-root-port,id=" PORT_NAME "%s,chassis=%lld,slot=%lld%s",
		 search->has_name ? "2" : "", number, number, reserve);
	if (*search->small_bus)
		return usage_failed("the window of the port %s has %s, but the region has %s: "
				    "start the VM with %s; or use --bus %s if its guest can "
				    "enlarge windows",
				    search->small_bus, ivs_size_text(search->window, window),
				    ivs_size_text(search->size, size), port, search->small_bus);
	return usage_failed("%s: start the VM with %s", why, port);
}

static int search_do(struct search *search, char out[BUS_LEN])
{
	char machine[IVS_QMP_TYPE_LEN];
	struct ivs_qmp *qmp = &search->monitor->qmp;
	struct ivs_error err;

	if (ivs_qmp_execute(qmp, &search->buses, &err, "query-pci", NULL) ||
	    ports_look(search, &err) ||
	    ivs_qmp_get_text(qmp, "/machine", "type", machine, sizeof(machine), &err))
		return usage_failed("%s", err.text);
	if (search->wanted && *search->wanted_by)
		return usage_failed("the bus %s already has a device (%s): use another --bus, or "
				    "none",
				    search->wanted, search->wanted_by);
	if (search->wanted)
		snprintf(out, BUS_LEN, "%s", search->wanted);
	else if (*search->free_bus)
		snprintf(out, BUS_LEN, "%s", search->free_bus);
	else if (!strncmp(machine, "pc-i440fx", 9))
		snprintf(out, BUS_LEN, "pci.0");
	else
		return no_port(search);
	return 0;
}

int attach_port_find(struct monitor *monitor, const char *wanted, uint64_t size, char out[BUS_LEN])
{
	struct search search = {.monitor = monitor, .wanted = wanted, .size = size};
	int status = search_do(&search, out);

	json_decref(search.buses);
	return status;
}
