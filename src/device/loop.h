/* SPDX-License-Identifier: BSD-3-Clause */
/* The devices of one process on one event loop; no threads. */
#ifndef IVS_DEVICE_LOOP_H
#define IVS_DEVICE_LOOP_H

#include "daemon/listener.h"
#include "device/device.h"

extern const struct ivs_syscall ivs_device_loop_syscalls[];

#define IVS_DEVICES_MAX 64

/**
 * struct ivs_device_loop_options - what there is besides the devices
 * @signal_fd: a signalfd(2): any signal ends the loop
 * @control:   the control socket (device/status.h); path NULL: none
 */
struct ivs_device_loop_options {
	int signal_fd;
	struct ivs_listener_options control;
};

struct ivs_device_loop;

/** ivs_device_loop_new() - Return: 0, IVS_DEVICE_E_SOCKET, -errno. */
IVS_MUST_USE int ivs_device_loop_new(const struct ivs_device_loop_options *opts,
				     struct ivs_device_loop **out, struct ivs_error *err);

/** ivs_device_loop_free() - after its devices have been closed */
void ivs_device_loop_free(struct ivs_device_loop *loop);

/**
 * ivs_device_loop_add() - join the device's server, which may take 5 s, and serve it from now on
 *
 * Return: 0, IVS_DEVICE_E_SERVER, _OPTIONS, -errno; @err names the subject.
 */
IVS_MUST_USE int ivs_device_loop_add(struct ivs_device_loop *loop, struct ivs_device *device,
				     struct ivs_error *err);

/**
 * ivs_device_loop_run() - until a signal comes, or no VMM can connect any more
 * @signo: the signal, or 0
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_device_loop_run(struct ivs_device_loop *loop, int *signo);

#endif
