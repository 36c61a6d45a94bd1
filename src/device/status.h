/* SPDX-License-Identifier: BSD-3-Clause */
/* The status of all devices of a process, as JSON: see STATUS in ivshmem-device(1). */
#ifndef IVS_DEVICE_STATUS_H
#define IVS_DEVICE_STATUS_H

#include "device/device.h"

/** The request, without its newline. */
#define IVS_DEVICE_STATUS_REQUEST "{\"request\":\"status\"}"

/**
 * ivs_device_answer() - make the reply to one line from the control socket
 * @line: any bytes, without the newline
 * @text: one line with its newline; to be freed by the caller
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_device_answer(struct ivs_device *const *devices, unsigned int devices_n,
				   const char *line, size_t line_len, char **text, size_t *len);

#endif
