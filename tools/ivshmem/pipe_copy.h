/* SPDX-License-Identifier: BSD-3-Clause */
/* Copy standard input to a stream, and the stream to standard output, until both have ended. */
#ifndef TOOLS_IVSHMEM_PIPE_COPY_H
#define TOOLS_IVSHMEM_PIPE_COPY_H

#include <signal.h>

#include "ivshmem/channel.h"

/**
 * pipe_copy() - copy in both directions
 * @stop: signals that end the copy; they are blocked
 *
 * The end of standard input ends one direction, and the end of the stream the other, which closes
 * standard output.
 *
 * Return: 0 when both directions have ended, and the other side has read everything; STATUS_FAILED
 * after printing the reason; -EINTR: one of the signals is pending.
 */
int pipe_copy(struct ivs_channels *channels, struct ivs_stream *stream, const sigset_t *stop);

#endif
