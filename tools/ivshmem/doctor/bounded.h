/* SPDX-License-Identifier: BSD-3-Clause */
/* Questions that may remain without an answer, such as those about a file whose server is dead. */
#ifndef TOOLS_IVSHMEM_DOCTOR_BOUNDED_H
#define TOOLS_IVSHMEM_DOCTOR_BOUNDED_H

#include <stdbool.h>
#include <stddef.h>

#define BOUNDED_MS 2000

/**
 * bounded_run() - call a function in a child process, for at most BOUNDED_MS
 * @ask:    changes only the @len bytes at @answer
 * @answer: set to what @ask has stored there; unchanged if it did not return in time
 *
 * No signal ends a system call that waits for a dead file server. Such a child is left behind; it
 * ends when the call returns. The child can use 512 MiB of memory.
 *
 * Return: whether @ask has returned true in time.
 */
bool bounded_run(bool (*ask)(const void *question, void *answer), const void *question,
		 void *answer, size_t len);

/** bounded_run_for() - the same, for at most @limit_ms */
bool bounded_run_for(int limit_ms, bool (*ask)(const void *question, void *answer),
		     const void *question, void *answer, size_t len);

#endif
