/* SPDX-License-Identifier: BSD-3-Clause */
/* Plug a device in through QEMU's monitor, and undo the steps if one of them fails. */
#ifndef TOOLS_IVSHMEM_ATTACH_STEPS_H
#define TOOLS_IVSHMEM_ATTACH_STEPS_H

#include "tools/ivshmem/attach_port.h"
#include "tools/ivshmem/attach_target.h"
#include "tools/ivshmem/detach_steps.h"

/**
 * struct attach - a device that is being plugged in
 * @wanted_id:   id, as given; NULL: a free one is chosen
 * @wanted_bus:  bus, as given; NULL: a free one is chosen
 * @wanted_addr: its slot on that bus; NULL: any
 * @timeout_ms:  time limit for the guest
 * @id, @bus:    set to those of the device
 * @backend:     set to the id of the object or character device; "" if there is none
 * @has_backend, @has_device: which steps have been taken
 * @was_unplugged: the guest has unplugged the device, and it can be plugged in again
 * @highest_fd:  highest fd of QEMU while it had the device; -1: unknown
 * @running:     the VM was running
 * @bar2:        address of BAR 2 in the guest; -1: the guest has not enabled the device
 */
struct attach {
	struct attach_target target;
	const char *wanted_id;
	const char *wanted_bus;
	const char *wanted_addr;
	int timeout_ms;
	char id[IVS_CONFIG_ID_MAX + 1];
	char bus[BUS_LEN];
	char backend[MONITOR_BACKEND_LEN];
	bool has_backend;
	bool has_device;
	bool was_unplugged;
	int highest_fd;
	bool running;
	json_int_t bar2;
};

/**
 * attach_check() - check what can be checked before there is anything to undo, except the port;
 * nothing is changed
 *
 * Return: 0, or an exit status after printing the reason.
 */
int attach_check(struct monitor *monitor, struct attach *attach);

/**
 * attach_device() - plug the device in, and wait until the guest has enabled it
 * @attach: attach_target_check() has checked the target
 *
 * Return: 0, or an exit status after printing the reason: STATUS_PENDING if the device is plugged
 * in, but the guest has not enabled it in time.
 */
int attach_device(struct monitor *monitor, struct attach *attach);

#endif
