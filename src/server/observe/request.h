/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parsing requests to the control socket. A request is a JSON object on one line: see
 * ivshmem-control(7). Pure.
 */
#ifndef IVS_SERVER_OBSERVE_REQUEST_H
#define IVS_SERVER_OBSERVE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "ivshmem/api.h"

#define IVS_REQUEST_LINE_MAX 4096 /* maximum length in bytes, without the newline */

enum ivs_request_error {
	IVS_REQUEST_E_BAD = 1, /* the line is not a valid request */
};

enum ivs_request_type {
	IVS_REQUEST_STATUS,
	IVS_REQUEST_VERSION,
};

/**
 * struct ivs_request - a request
 * @doorbells: also report the count of each doorbell
 */
struct ivs_request {
	enum ivs_request_type type;
	bool doorbells;
};

/**
 * ivs_request_parse() - parse one line
 * @line: any bytes
 * @len:  length of @line, without the newline
 * @out:  unchanged unless 0 is returned
 *
 * Return: 0; IVS_REQUEST_E_BAD: @err has the reason and the valid requests.
 */
IVS_MUST_USE int ivs_request_parse(const char *line, size_t len, struct ivs_request *out,
				   struct ivs_error *err);

#endif
