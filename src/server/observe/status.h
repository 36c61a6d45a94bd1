/* SPDX-License-Identifier: BSD-3-Clause */
/* What a server says of itself, as JSON: see ivshmem-control(7). No I/O but reading fdinfo. */
#ifndef IVS_SERVER_OBSERVE_STATUS_H
#define IVS_SERVER_OBSERVE_STATUS_H

#include "base/syscalls.h"
#include "server/observe/request.h"
#include "server/private.h"

extern const struct ivs_syscall ivs_status_syscalls[];

/** ivs_refusal_name() - one word, in replies and metrics */
const char *ivs_refusal_name(enum ivs_refusal why);

/** ivs_drop_name() - likewise */
const char *ivs_drop_name(enum ivs_drop why);

/**
 * ivs_status_reply() - the answer to a request
 * @text: the caller's to free(); one line with its newline
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_status_reply(struct ivs_server *server, const struct ivs_request *request,
				  char **text, size_t *len);

/** ivs_status_error() - the answer to what is no request. The same. */
IVS_MUST_USE int ivs_status_error(const char *reason, char **text, size_t *len);

#endif
