/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A control socket: who may open it may ask, with one line for one line. It changes nothing in its
 * owner, who has an epoll loop and says what the answer is.
 */
#ifndef IVS_DAEMON_CONTROL_H
#define IVS_DAEMON_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/listener.h"

#define IVS_CONTROL_PEERS_MAX 8			      /* connections at a time */
#define IVS_CONTROL_TAGS (1u + IVS_CONTROL_PEERS_MAX) /* one for the listener */
#define IVS_CONTROL_FDS (1u + IVS_CONTROL_PEERS_MAX)  /* open all the time */
#define IVS_CONTROL_LINE_MAX 4096		      /* bytes, without the newline */

extern const struct ivs_syscall ivs_control_syscalls[];

struct ivs_control;

/**
 * struct ivs_control_options - where it listens, and who answers
 * @listener:  the socket in the file system
 * @inherited: an fd at which a former program in this process has listened; set to -1 if it still
 *             can be listened at, and then @listener is not looked at. NULL, or -1: there is none
 * @name:      with @inherited: its name as it was made, which is removed at the end if it is that still
 * @epoll_fd:     the owner's; must stay open
 * @tag:       data.u32 of its events: this one and the IVS_CONTROL_TAGS - 1 above it
 * @answer:    to a line: @len bytes of any kind, without the newline; if there are more than
 *             IVS_CONTROL_LINE_MAX the line is longer than it may be, and this is how it begins.
 *             @text is one line with its newline, and will be freed.
 *             Return: 0; else there is no text, and the connection ends.
 * @context:   of @answer
 */
struct ivs_control_options {
	const struct ivs_listener_options *listener;
	int *inherited;
	const struct stat *name;
	int epoll_fd;
	uint32_t tag;
	int (*answer)(void *context, const char *line, size_t len, char **text, size_t *text_len);
	void *context;
};

/**
 * ivs_control_open() - listen
 *
 * Return: 0, IVS_LISTENER_E_*, -errno.
 */
IVS_MUST_USE int ivs_control_open(const struct ivs_control_options *opts, struct ivs_control **out,
				  struct ivs_error *err);

/** ivs_control_close() - hang up, and remove the name if it is ours; @control may be NULL */
void ivs_control_close(struct ivs_control *control);

/** ivs_control_listener() - where it listens: for who lists open fds, or notes its name */
const struct ivs_listener *ivs_control_listener(const struct ivs_control *control);

/** ivs_control_note() - an epoll event with one of its tags; for ivs_control_serve() */
void ivs_control_note(struct ivs_control *control, uint32_t tag, uint32_t events);

/**
 * ivs_control_serve() - what was noted; the last thing in a round, so that what the owner is for
 * comes first
 *
 * At most one request of each connection: who sends many at once waits for others in between.
 */
void ivs_control_serve(struct ivs_control *control);

/**
 * ivs_control_deadline() - when to call ivs_control_accept_again(); IVS_CLOCK_NEVER: not
 *
 * It changes in that function and in ivs_control_serve().
 */
int64_t ivs_control_deadline(const struct ivs_control *control);

/** ivs_control_accept_again() - after the deadline: what the kernel lacked may be there now */
void ivs_control_accept_again(struct ivs_control *control);

#endif
