/* SPDX-License-Identifier: BSD-3-Clause */
/* The monitor of a running VM, and what can be learned about its QEMU. */
#ifndef TOOLS_IVSHMEM_MONITOR_H
#define TOOLS_IVSHMEM_MONITOR_H

#include <signal.h>

#include "config/config.h"
#include "qmp/vm.h"

#define MONITOR_DEVICES "/machine/peripheral"
#define MONITOR_BACKEND_LEN (IVS_CONFIG_ID_MAX + 16)

/**
 * struct monitor - a connected monitor
 * @kvm:     the VM runs with KVM
 * @pid:     QEMU's pid; 0: unknown
 * @only_migratable: QEMU was started with -only-migratable
 * @held:    signals are held: see monitor_hold()
 */
struct monitor {
	struct ivs_qmp qmp;
	bool kvm;
	pid_t pid;
	bool only_migratable;
	bool held;
	sigset_t before;
};

/**
 * monitor_open() - connect, and refuse a VM that belongs to libvirt
 * @path: path of the monitor's socket
 *
 * Close it with monitor_close() even if this fails.
 *
 * Return: 0, or an exit status after printing the reason.
 */
int monitor_open(struct monitor *monitor, const char *path);

void monitor_close(struct monitor *monitor);

/**
 * monitor_hold() - from now on, SIGINT, SIGTERM, SIGHUP and SIGQUIT only end waits for events
 *
 * Messages are kept until monitor_close(). No-op if they are held already.
 *
 * Return: 0, or an exit status after printing the reason.
 */
int monitor_hold(struct monitor *monitor);

/** monitor_ignore_signals() - do not end waits any longer, because steps are being undone */
void monitor_ignore_signals(struct monitor *monitor);

/**
 * monitor_wait() - wait for an event for a short time, so that a caller can poll
 * @ms: time limit
 *
 * Return: as ivs_qmp_wait_event().
 */
IVS_MUST_USE int monitor_wait(struct monitor *monitor, const struct ivs_qmp_wanted *wanted,
			      unsigned int wanted_n, int ms, json_t **event, struct ivs_error *err);

#define MONITOR_DEVICE_LEN (sizeof(MONITOR_DEVICES) + IVS_CONFIG_ID_MAX + 1)

/** monitor_device_path() - the path of the device with this id */
const char *monitor_device_path(const char *id, char out[MONITOR_DEVICE_LEN]);

/** monitor_has_chardev() - whether the VM has a character device with this id */
IVS_MUST_USE int monitor_has_chardev(struct monitor *monitor, const char *id, bool *out,
				     struct ivs_error *err);

/**
 * monitor_remove() - remove a backend: a character device, or else an object
 *
 * While QEMU refuses because the backend is in use, retry for two seconds.
 */
IVS_MUST_USE int monitor_remove(struct monitor *monitor, bool chardev, const char *id,
				struct ivs_error *err);

/**
 * monitor_find_pci() - find a device in the output of query-pci
 * @buses: the output
 *
 * Return: the device, borrowed from @buses; NULL: the guest has not found its bus yet.
 */
const json_t *monitor_find_pci(const json_t *buses, const char *id);

/** monitor_bar() - the address of a device's BAR, as query-pci shows it; -1: none, or not assigned
 */
json_int_t monitor_bar(const json_t *device, unsigned int bar);

/** monitor_has_bar() - whether a device has a BAR, according to query-pci */
bool monitor_has_bar(const json_t *device, unsigned int bar);

#endif
