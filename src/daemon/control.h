/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A control socket: any process that may connect to it can send requests, one per line, and
 * receives one line in reply to each. Requests do not change the state of the program. The program
 * provides the event loop and composes the replies.
 */
#ifndef IVS_DAEMON_CONTROL_H
#define IVS_DAEMON_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/listener.h"
#include "daemon/loop.h"

#define IVS_CONTROL_CONNECTIONS_MAX 8			   /* the idlest one is then replaced */
#define IVS_CONTROL_FDS (1u + IVS_CONTROL_CONNECTIONS_MAX) /* number of fds that are always open */
#define IVS_CONTROL_LINE_MAX 4096			   /* length of a line, without newline */

extern const struct ivs_syscall ivs_control_syscalls[];

struct ivs_control;

enum ivs_control_error {
	IVS_CONTROL_E_SOCKET = 1, /* the path is unusable, or another process listens there */
};

/**
 * struct ivs_control_options - where to listen, and how to answer
 * @listener:     the socket in the file system
 * @inherited_fd: the listening socket that was inherited across execve(2), or -1. If the socket is
 *                still usable, it is used instead of @listener, and set to -1. May be NULL
 * @name:         the socket file of @inherited_fd, as it was when it was created. The file at that
 *                path is removed at exit if it is still the same file
 * @loop:         must outlive the control socket. Requests are served at the end of each round,
 *                after the steps that were added earlier
 * @answer:       composes the reply to a line of @len arbitrary bytes, without the newline. If @len
 *                exceeds IVS_CONTROL_LINE_MAX, @line is only the beginning of the line. @text is
 *                set to one line with its newline, which the control socket frees.
 *                Return: 0; otherwise @text is not set, and the connection will be closed
 * @context:      passed to @answer
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
 * ivs_control_open() - listen, and start to answer requests
 *
 * Each round answers at most one request per connection, so that a client with many requests does
 * not delay other work.
 *
 * Return: 0, IVS_CONTROL_E_SOCKET, -errno.
 */
IVS_MUST_USE int ivs_control_open(const struct ivs_control_options *opts, struct ivs_control **out,
				  struct ivs_error *err);

/** ivs_control_close() - disconnect, and remove the socket file if it is ours. NULL is ignored. */
void ivs_control_close(struct ivs_control *control);

/** ivs_control_listener() - the listening socket of @control */
const struct ivs_listener *ivs_control_listener(const struct ivs_control *control);

#endif
