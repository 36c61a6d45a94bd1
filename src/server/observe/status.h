/* SPDX-License-Identifier: BSD-3-Clause */
/* The status of a server as JSON: see ivshmem-control(7). The only I/O here is reading fdinfo. */
#ifndef IVS_SERVER_OBSERVE_STATUS_H
#define IVS_SERVER_OBSERVE_STATUS_H

#include "base/syscalls.h"
#include "server/observe/request.h"
#include "server/private.h"

extern const struct ivs_syscall ivs_status_syscalls[];

/** ivs_refusal_name() - the word for a reason to refuse a connection, in replies and metrics */
const char *ivs_refusal_name(enum ivs_refusal why);

/** ivs_drop_name() - the word for a reason to drop a client, in replies and metrics */
const char *ivs_drop_name(enum ivs_drop why);

/**
 * ivs_status_reply() - compose the reply to a request
 * @text: set to one line with its newline, which the caller has to free
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_status_reply(struct ivs_server *server, const struct ivs_request *request,
				  char **text, size_t *len);

/** ivs_status_error() - like ivs_status_reply(), but compose the reply to an invalid request */
IVS_MUST_USE int ivs_status_error(const char *reason, char **text, size_t *len);

#endif
