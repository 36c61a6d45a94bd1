/* SPDX-License-Identifier: BSD-3-Clause */
/* What the devices of a process say of themselves, as JSON: see ivshmem-device(1), STATUS. */
#ifndef IVS_DEVICE_STATUS_H
#define IVS_DEVICE_STATUS_H

#include "device/device.h"

/** What is asked for, as one line. */
#define IVS_DEVICE_STATUS_REQUEST "{\"request\":\"status\"}"

/**
 * ivs_device_answer() - the answer to one line at the control socket
 * @line: any bytes, without the newline
 * @text: the caller's to free(); one line with its newline
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_device_answer(struct ivs_device *const *devices, unsigned int devices_n,
				   const char *line, size_t line_len, char **text, size_t *len);

#endif
