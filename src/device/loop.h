/* SPDX-License-Identifier: BSD-3-Clause */
/* The devices of one process: one event loop, no threads. */
#ifndef IVS_DEVICE_LOOP_H
#define IVS_DEVICE_LOOP_H

#include "daemon/listener.h"
#include "device/device.h"

extern const struct ivs_syscall ivs_device_loop_syscalls[];

#define IVS_DEVICES_MAX 64

/**
 * struct ivs_device_loop_options - fds that the loop serves besides the devices
 * @signal_fd: a signalfd(2); any signal that it reports ends the loop
 * @control:   the control socket (device/status.h); path NULL: none
 */
struct ivs_device_loop_options {
	int signal_fd;
	struct ivs_listener_options control;
};

struct ivs_device_loop;

/**
 * ivs_device_loop_new() - create a loop without devices, and open the control socket
 *
 * Return: 0; IVS_DEVICE_E_SOCKET: the control socket cannot be opened; -errno.
 */
IVS_MUST_USE int ivs_device_loop_new(const struct ivs_device_loop_options *opts,
				     struct ivs_device_loop **out, struct ivs_error *err);

/** ivs_device_loop_free() - free the loop; close its devices first. NULL is ignored. */
void ivs_device_loop_free(struct ivs_device_loop *loop);

/**
 * ivs_device_loop_add() - join the device's server, which can take up to 5 s, and serve the device
 *
 * The caller closes the device, even after an error.
 *
 * Return: 0, IVS_DEVICE_E_SERVER, IVS_DEVICE_E_OPTIONS, -errno.
 */
IVS_MUST_USE int ivs_device_loop_add(struct ivs_device_loop *loop, struct ivs_device *device,
				     struct ivs_error *err);

/**
 * ivs_device_loop_run() - serve until a signal arrives or until no more VMMs can connect
 * @signo: set to the signal, or to 0
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_device_loop_run(struct ivs_device_loop *loop, int *signo);

#endif
