/* SPDX-License-Identifier: BSD-3-Clause */
/* A line on the terminal that shows that something takes a long time. */
#ifndef TOOLS_IVSHMEM_PROGRESS_H
#define TOOLS_IVSHMEM_PROGRESS_H

#include <stdint.h>

/**
 * progress_start() - after 2 s, start printing @what and the number of seconds that have passed
 * @what: kept until progress_end()
 *
 * No-op unless standard error is a terminal. Only one such line can exist at a time.
 */
void progress_start(const char *what);

/**
 * progress_set() - from now on, also print how many of @total bytes are done, as MiB and percent
 *
 * May be called from the thread that does the work, as often as that thread likes.
 */
void progress_set(uint64_t done, uint64_t total);

/** progress_note() - from now on, also print @text, which is copied, and cut off at 160 bytes */
void progress_note(const char *text);

/** progress_end() - remove the line, before any message is printed; no-op if there is no line */
void progress_end(void);

#endif
