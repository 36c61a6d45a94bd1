/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/detach_examine.h"

#include <stdarg.h>
#include <stdio.h>

#include "tools/ivshmem/detach_check.h"
#include "tools/shared/usage.h"

/* Store the reason why the device is not unplugged. Return: STATUS_FAILED. */
IVS_PRINTF(2, 3) static int refuse(struct work *work, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(work->detach->why, sizeof(work->detach->why), format, args);
	va_end(args);
	return STATUS_FAILED;
}

int work_find_note(struct work *work, struct ivs_error *err)
{
	int result = detach_note_find(&work->monitor->qmp, work->detach->id, &work->note, err);

	if (!result && work->note.highest > 0)
		work->highest = work->note.highest;
	work->earlier = *work->note.name;
	return result;
}

/* Find what the device uses, before it is gone. */
static int find_backend(struct work *work, struct ivs_error *err)
{
	struct detach *detach = work->detach;
	char device[MONITOR_DEVICE_LEN];
	char value[DETACH_BACKEND_LEN];
	const char *slash;
	int result;

	monitor_device_path(detach->id, device);
	detach->chardev = work_is_doorbell(work);
	if (!strcmp(detach->type, "vfio-user-pci"))
		return 0;
	result = ivs_qmp_get_text(&work->monitor->qmp, device,
				  detach->chardev ? "chardev" : "memdev", value, sizeof(value),
				  err);
	if (result)
		return result;
	slash = detach->chardev ? NULL : strrchr(value, '/');
	snprintf(detach->backend, sizeof(detach->backend), "%s", slash ? slash + 1 : value);
	return 0;
}

/* Count the doorbell devices in a container of devices. */
static int count_doorbells(struct work *work, const char *path, unsigned int *n,
			   struct ivs_error *err)
{
	char type[IVS_QMP_TYPE_LEN];
	json_t *list;
	json_t *entry;
	size_t i;
	int result = ivs_qmp_list(&work->monitor->qmp, path, &list, err);

	if (result)
		return result;
	json_array_foreach(list, i, entry)
	{
		if (ivs_qmp_child_type(entry, type))
			*n += !strcmp(type, "ivshmem-doorbell");
	}
	json_decref(list);
	return 0;
}

void work_read_fds(struct work *work)
{
	fds_deinit(&work->before);
	if (work->monitor->pid)
		(void)!fds_read(work->monitor->pid, &work->before);
}

int work_examine_doorbell(struct work *work)
{
	struct detach *detach = work->detach;
	struct monitor *monitor = work->monitor;
	struct server_view view;
	struct unplug_facts facts = {
		.version = monitor->qmp.version,
		.kvm = monitor->kvm,
		.no_rings = detach->no_rings,
		.server = &view,
	};
	char why[UNPLUG_WHY_LEN];
	unsigned int devices_n = 0;
	struct ivs_error err;

	if (count_doorbells(work, MONITOR_DEVICES, &devices_n, &err) ||
	    count_doorbells(work, "/machine/peripheral-anon", &devices_n, &err))
		return refuse(work, "%s", err.text);
	if (server_view_get(detach->control, monitor->pid, devices_n, &view, &err))
		return refuse(work, "%s", err.text);
	memcpy(detach->server, view.socket, sizeof(view.socket));
	memcpy(detach->region, view.region, sizeof(view.region));
	work->fill = unplug_needs_placeholders(&monitor->qmp.version, monitor->kvm);
	facts.fds_known = work->before.n;
	if (work->highest < fds_highest(&work->before))
		work->highest = fds_highest(&work->before);
	if (*unplug_why_not(&facts, detach->id, why))
		return refuse(work, "%s", why);
	if (work->fill && work->highest >= FDS_FILL_MAX)
		return refuse(work,
			      "QEMU (pid %d) has a file descriptor with the number %d, so "
			      "more than %d might have to be replaced after the unplug: "
			      "leave %s plugged in until the VM is shut down, which is safe",
			      (int)monitor->pid, work->highest, FDS_FILL_MAX, detach->id);
	return 0;
}

/* A vfio-user device with interrupts makes QEMU abort. */
static int check_vfio_user(struct work *work)
{
	const json_t *device;
	struct ivs_error err;
	json_t *buses;
	int status = 0;

	if (ivs_qmp_execute(&work->monitor->qmp, &buses, &err, "query-pci", NULL))
		return refuse(work, "%s", err.text);
	device = monitor_find_pci(buses, work->detach->id);
	if (!device)
		status = refuse(work,
				"the guest has not found %s, so it is not known whether it has "
				"doorbells, in which case QEMU would abort: start the guest's "
				"operating system; or leave it until the VM is shut down",
				work->detach->id);
	else if (monitor_has_bar(device, 1))
		status = refuse(work,
				"QEMU aborts when a vfio-user device with doorbells, such as "
				"%s, is unplugged: leave it until the VM is shut down, which "
				"is safe",
				work->detach->id);
	json_decref(buses);
	return status;
}

int work_examine(struct work *work)
{
	struct detach *detach = work->detach;
	char state[IVS_QMP_STATE_LEN];
	struct ivs_error err;

	if (ivs_qmp_state(&work->monitor->qmp, state, &err) || find_backend(work, &err) ||
	    work_find_note(work, &err))
		return refuse(work, "%s", err.text);
	if (strcmp(state, "running"))
		return refuse(work,
			      "the VM is not running (%s), so its guest cannot release %s: "
			      "resume the VM first",
			      state, detach->id);
	if (work_is_doorbell(work))
		return work_examine_doorbell(work);
	return strcmp(detach->type, "vfio-user-pci") ? 0 : check_vfio_user(work);
}
