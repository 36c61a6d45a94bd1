/* SPDX-License-Identifier: BSD-3-Clause */
/* Client of a program's control socket: one request, one line of JSON as the reply. */
#ifndef TOOLS_SHARED_ASK_H
#define TOOLS_SHARED_ASK_H

#include <jansson.h>
#include <stddef.h>

#include "ivshmem/api.h"

enum ask_error {
	ASK_E_FAILED = 1, /* the reason is in the struct ivs_error */
};

/**
 * struct ask - the program to ask, and words for error messages
 * @path:    path of the control socket
 * @program: name of the program, with its article: "an ivshmem-server"
 * @what:    kind of program: "server"
 * @others:  programs that connect to its other socket: "clients"
 * @limit_s: how long the program may take to accept the connection, and then to reply; 0: 5 s
 */
struct ask {
	const char *path;
	const char *program;
	const char *what;
	const char *others;
	unsigned int limit_s;
};

/**
 * struct reply - the reply of a program
 * @text: the reply as received, without the newline: @len bytes and a NUL
 * @json: the parsed reply, an object
 */
struct reply {
	char *text;
	size_t len;
	json_t *json;
};

/**
 * ask_request() - connect to the program, send a request, and wait for the reply
 * @request: one line with its newline
 * @reply:   untrusted; free it with reply_deinit(), even on failure
 *
 * It fails if the reply is not a JSON object, or has a member "error".
 *
 * Return: 0, ASK_E_FAILED, -errno.
 */
IVS_MUST_USE int ask_request(const struct ask *ask, const char *request, struct reply *reply,
			     struct ivs_error *err);

void reply_deinit(struct reply *reply);

/**
 * ask_doubt() - set @err to "PATH DOES: is it the control socket ...?"
 * @does: the symptom which suggests that another program listens at the path, such as "sent an
 *        unexpected reply"
 *
 * Return: ASK_E_FAILED.
 */
int ask_doubt(const struct ask *ask, const char *does, struct ivs_error *err);

#endif
