/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "host/vm.h"
#include "tools/ivshmem/progress.h"
#include "tools/ivshmem/signals.h"
#include "tools/shared/usage.h"

#define CMDLINE_MAX (1 << 20)
#define PROGRAM_WORDS 8 /* a loader and its options may come before the program */
#define REMOVE_MS 2000	/* how long to retry to remove a backend that is in use */
#define REMOVE_PAUSE_MS 20
#define BRIDGES_MAX 16 /* nested PCI bridges to look behind */

/* Read /proc/PID/cmdline. Return: NULL if it cannot be read; the caller frees it. */
static char *cmdline_read(pid_t pid, size_t *len)
{
	IVS_OWNED_FD fd = -1;
	char path[64];
	char *text;
	ssize_t n = 1;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	text = fd < 0 ? NULL : malloc(CMDLINE_MAX + 1);
	*len = 0;
	while (text && n > 0 && *len < CMDLINE_MAX) {
		n = read(fd, text + *len, CMDLINE_MAX - *len);
		if (n > 0)
			*len += (size_t)n;
	}
	if (text)
		text[*len] = '\0';
	return text;
}

/* Look at QEMU's arguments. Return: whether the VM belongs to libvirt. */
static bool monitor_take_cmdline(struct monitor *monitor)
{
	bool libvirt = false;
	unsigned int word = 0;
	size_t len;
	char *text = cmdline_read(monitor->qmp.pid, &len);

	if (!text)
		return false;
	for (const char *at = text; at < text + len; at += strlen(at) + 1, word++) {
		if (word < PROGRAM_WORDS && ivs_host_vm_is_qemu(at))
			monitor->pid = monitor->qmp.pid;
		else if (!strcmp(at, "-only-migratable") || !strcmp(at, "--only-migratable"))
			monitor->only_migratable = true;
		else if (strstr(at, "id=charmonitor,"))
			libvirt = true;
	}
	free(text);
	return libvirt;
}

int monitor_open(struct monitor *monitor, const char *path)
{
	struct ivs_error err;
	int result;

	*monitor = (struct monitor){.qmp = IVS_QMP_INIT};
	progress_start("waiting for the monitor to answer");
	result = ivs_qmp_connect(&monitor->qmp, path, &err);
	progress_end();
	if (result)
		return usage_failed("%s", err.text);
	if (monitor_take_cmdline(monitor))
		return usage_failed("the VM with the monitor %s belongs to libvirt, which must "
				    "know its devices: use --domain",
				    path);
	if (ivs_qmp_is_kvm(&monitor->qmp, &monitor->kvm, &err))
		return usage_failed("%s", err.text);
	return 0;
}

int monitor_hold(struct monitor *monitor)
{
	sigset_t stop;

	if (monitor->held)
		return 0;
	signals_hold(&monitor->before);
	monitor->held = true;
	sigemptyset(&stop);
	signals_add_stop(&stop);
	monitor->qmp.stop_fd = signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
	if (monitor->qmp.stop_fd < 0)
		return usage_failed("cannot watch for signals: %s", strerror(errno));
	return 0;
}

void monitor_ignore_signals(struct monitor *monitor)
{
	ivs_fd_close(&monitor->qmp.stop_fd);
}

void monitor_close(struct monitor *monitor)
{
	ivs_fd_close(&monitor->qmp.stop_fd);
	ivs_qmp_close(&monitor->qmp);
	if (monitor->held)
		signals_release(&monitor->before);
	monitor->held = false;
}

int monitor_wait(struct monitor *monitor, const struct ivs_qmp_wanted *wanted,
		 unsigned int wanted_n, int ms, json_t **event, struct ivs_error *err)
{
	return ivs_qmp_wait_event(&monitor->qmp, wanted, wanted_n, ivs_clock_deadline(ms), event,
				  err);
}

const char *monitor_device_path(const char *id, char out[MONITOR_DEVICE_LEN])
{
	snprintf(out, MONITOR_DEVICE_LEN, MONITOR_DEVICES "/%s", id);
	return out;
}

int monitor_has_chardev(struct monitor *monitor, const char *id, bool *out, struct ivs_error *err)
{
	json_t *list;
	json_t *entry;
	size_t i;
	int result = ivs_qmp_execute(&monitor->qmp, &list, err, "query-chardev", NULL);

	*out = false;
	if (result)
		return result;
	json_array_foreach(list, i, entry)
	{
		const char *label = json_string_value(json_object_get(entry, "label"));

		*out |= label && !strcmp(label, id);
	}
	json_decref(list);
	return 0;
}

/* QEMU reports that a device is deleted shortly before the device gives up its backend. */
int monitor_remove(struct monitor *monitor, bool chardev, const char *id, struct ivs_error *err)
{
	const struct timespec pause = {0, REMOVE_PAUSE_MS * IVS_NS_PER_MS};
	int64_t deadline_ns = ivs_clock_deadline(REMOVE_MS);
	int result;

	for (;;) {
		result = ivs_qmp_execute(&monitor->qmp, NULL, err,
					 chardev ? "chardev-remove" : "object-del", "{s:s}", "id",
					 id);
		if (result != IVS_QMP_E_REFUSED || !ivs_clock_left_ms(deadline_ns) ||
		    (!strstr(monitor->qmp.refusal.text, "is busy") &&
		     !strstr(monitor->qmp.refusal.text, "is in use")))
			return result;
		(void)nanosleep(&pause, NULL);
	}
}

static const json_t *find_on_bus(const json_t *devices, const char *id, unsigned int depth)
{
	const json_t *found = NULL;
	json_t *device;
	size_t i;

	json_array_foreach(devices, i, device)
	{
		const char *name = json_string_value(json_object_get(device, "qdev_id"));
		const json_t *bridge = json_object_get(device, "pci_bridge");

		if (name && !strcmp(name, id))
			return device;
		if (bridge && depth)
			found = find_on_bus(json_object_get(bridge, "devices"), id, depth - 1);
		if (found)
			return found;
	}
	return NULL;
}

const json_t *monitor_find_pci(const json_t *buses, const char *id)
{
	const json_t *found = NULL;
	json_t *bus;
	size_t i;

	json_array_foreach(buses, i, bus)
	{
		found = find_on_bus(json_object_get(bus, "devices"), id, BRIDGES_MAX);
		if (found)
			break;
	}
	return found;
}

static const json_t *find_bar(const json_t *device, unsigned int bar)
{
	json_t *region;
	size_t i;

	json_array_foreach(json_object_get(device, "regions"), i, region)
	{
		const json_t *number = json_object_get(region, "bar");

		if (json_is_integer(number) && json_integer_value(number) == (json_int_t)bar)
			return region;
	}
	return NULL;
}

json_int_t monitor_bar(const json_t *device, unsigned int bar)
{
	const json_t *address = json_object_get(find_bar(device, bar), "address");

	return json_is_integer(address) ? json_integer_value(address) : -1;
}

bool monitor_has_bar(const json_t *device, unsigned int bar)
{
	return find_bar(device, bar) != NULL;
}
