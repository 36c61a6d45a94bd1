/* SPDX-License-Identifier: BSD-3-Clause */
/* Asking a program at its control socket: one request, one line of JSON, and errors in words. */
#ifndef TOOLS_SHARED_ASK_H
#define TOOLS_SHARED_ASK_H

#include <jansson.h>
#include <stddef.h>

#include "ivshmem/api.h"

enum ask_error {
	ASK_E_FAILED = 1, /* the reason is in the struct ivs_error */
};

/**
 * struct ask - who is asked, in words for errors
 * @path:    the control socket
 * @program: with its article: "an ivshmem-server"
 * @what:    what it is: "server"
 * @others:  whom its other socket is for: "clients"
 */
struct ask {
	const char *path;
	const char *program;
	const char *what;
	const char *others;
};

/**
 * struct reply - what was answered
 * @text: as it came, without the newline
 * @json: an object: the same
 */
struct reply {
	char *text;
	size_t len;
	json_t *json;
};

/**
 * ask_request() - connect, send, and wait for the reply
 * @request: one line with its newline
 * @reply:   not to be trusted; to be freed with reply_deinit(), also on failure
 *
 * What is no JSON object is an error, and so is a reply that says "error".
 *
 * Return: 0, ASK_E_FAILED, -errno.
 */
IVS_MUST_USE int ask_request(const struct ask *ask, const char *request, struct reply *reply,
			     struct ivs_error *err);

void reply_deinit(struct reply *reply);

/** ask_doubt() - it is another program: "PATH answers something else: is it ...". Return: ASK_E_FAILED. */
int ask_doubt(const struct ask *ask, const char *does, struct ivs_error *err);

#endif
