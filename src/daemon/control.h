/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A control socket: any process that may open it can send requests, and gets one line for each
 * line. Requests change nothing in the program, which has an event loop and makes the answers.
 */
#ifndef IVS_DAEMON_CONTROL_H
#define IVS_DAEMON_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/listener.h"
#include "daemon/loop.h"

#define IVS_CONTROL_CONNECTIONS_MAX 8			   /* at a time; more displace idle ones */
#define IVS_CONTROL_FDS (1u + IVS_CONTROL_CONNECTIONS_MAX) /* open all the time */
#define IVS_CONTROL_LINE_MAX 4096			   /* bytes, without the newline */

extern const struct ivs_syscall ivs_control_syscalls[];

struct ivs_control;

enum ivs_control_error {
	IVS_CONTROL_E_SOCKET = 1, /* cannot be at that path, or another process listens there */
};

/**
 * struct ivs_control_options - where to listen, and how to answer
 * @listener:     the socket in the file system
 * @inherited_fd: a socket at which a former program of this process listened, or -1. If it still
 *                works it is used instead of @listener, and set to -1. May be NULL
 * @name:         of @inherited_fd, when its file was made: removed at the end if it is still that
 *                file
 * @loop:         must outlive the control socket. Requests are served at the end of each round,
 *                after the steps that were added before
 * @answer:       makes the reply to a line of @len bytes of any kind, without the newline. With
 *                more than IVS_CONTROL_LINE_MAX bytes it is the beginning of a longer line. @text
 *                is one line with its newline, and will be freed.
 *                Return: 0; else no text was made, and the connection is closed
 * @context:      of @answer
 */
struct ivs_control_options {
	const struct ivs_listener_options *listener;
	int *inherited_fd;
	const struct stat *name;
	struct ivs_loop *loop;
	int (*answer)(void *context, const char *line, size_t len, char **text, size_t *text_len);
	void *context;
};

/**
 * ivs_control_open() - listen, and answer from now on
 *
 * One request per connection is answered in a round, so that many at once do not delay others.
 *
 * Return: 0, IVS_CONTROL_E_SOCKET, -errno.
 */
IVS_MUST_USE int ivs_control_open(const struct ivs_control_options *opts, struct ivs_control **out,
				  struct ivs_error *err);

/** ivs_control_close() - hang up, and remove the file if it is ours; @control may be NULL */
void ivs_control_close(struct ivs_control *control);

/** ivs_control_listener() - its listening socket */
const struct ivs_listener *ivs_control_listener(const struct ivs_control *control);

#endif
