/* SPDX-License-Identifier: BSD-3-Clause */
/* What is asked at the control socket: one line, one JSON object. See ivshmem-control(7). Pure. */
#ifndef IVS_SERVER_OBSERVE_REQUEST_H
#define IVS_SERVER_OBSERVE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "ivshmem/api.h"

#define IVS_REQUEST_LINE_MAX 4096 /* bytes, without the newline */

enum ivs_request_error {
	IVS_REQUEST_E_BAD = 1, /* not one of the requests that there are */
};

enum ivs_request_type {
	IVS_REQUEST_STATUS,
	IVS_REQUEST_VERSION,
};

/**
 * struct ivs_request - what was asked for
 * @doorbells: with how often each doorbell was rung and not looked at yet
 */
struct ivs_request {
	enum ivs_request_type type;
	bool doorbells;
};

/**
 * ivs_request_parse() - one line
 * @len: bytes in it, without the newline; any bytes
 * @out: unchanged unless 0 is returned
 *
 * Return: 0 or IVS_REQUEST_E_BAD, with the reason and what there is.
 */
IVS_MUST_USE int ivs_request_parse(const char *line, size_t len, struct ivs_request *out,
				   struct ivs_error *err);

#endif
