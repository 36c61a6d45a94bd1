/* SPDX-License-Identifier: BSD-3-Clause */
/* The status of all devices of a process, as JSON: see STATUS in ivshmem-device(1). */
#ifndef IVS_DEVICE_STATUS_H
#define IVS_DEVICE_STATUS_H

#include "device/device.h"

/** IVS_DEVICE_STATUS_REQUEST - the request for the status, without its newline */
#define IVS_DEVICE_STATUS_REQUEST "{\"request\":\"status\"}"

/**
 * ivs_device_answer() - compose the reply to a line received on the control socket
 * @line: the line without its newline; not trusted
 * @text: set to the reply, one line with its newline; the caller frees it
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_device_answer(struct ivs_device *const *devices, unsigned int devices_n,
				   const char *line, size_t line_len, char **text, size_t *len);

#endif
