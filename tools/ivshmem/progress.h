/* SPDX-License-Identifier: BSD-3-Clause */
/* A line on the terminal that shows that something takes a long time. */
#ifndef TOOLS_IVSHMEM_PROGRESS_H
#define TOOLS_IVSHMEM_PROGRESS_H

/**
 * progress_start() - after 2 s, start printing @what and the number of seconds that have passed
 * @what: kept until progress_end()
 *
 * No-op unless standard error is a terminal. Only one such line can exist at a time.
 */
void progress_start(const char *what);

/** progress_end() - remove the line, before any message is printed; no-op if there is no line */
void progress_end(void);

#endif
