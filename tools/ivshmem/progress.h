/* SPDX-License-Identifier: BSD-3-Clause */
/* A line on the terminal about work that takes long in one system call. */
#ifndef TOOLS_IVSHMEM_PROGRESS_H
#define TOOLS_IVSHMEM_PROGRESS_H

/**
 * progress_start() - from 2 s on, keep printing @what and the seconds that have passed
 * @what: kept until progress_end()
 *
 * Does nothing unless standard error is a terminal. One at a time.
 */
void progress_start(const char *what);

/** progress_end() - stop that, and remove the line, before any message. May be called again. */
void progress_end(void);

#endif
