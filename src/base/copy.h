/* SPDX-License-Identifier: BSD-3-Clause */
/* Copying long pieces of memory between processors. */
#ifndef IVS_BASE_COPY_H
#define IVS_BASE_COPY_H

#include <stddef.h>

/*
 * From this length on, ivs_copy() bypasses the caches. From about the same length on, glibc's
 * memcpy() uses a method of its own, which takes several times as long if another processor reads
 * the copy next (bench/README.md, 1 MiB). Shorter copies should stay in the caches.
 */
#define IVS_COPY_LONG (1u << 20)

/**
 * ivs_copy() - memcpy(3), but faster for what another processor reads next
 *
 * Later stores of this thread are not visible before the copy.
 */
void ivs_copy(void *to, const void *from, size_t len);

#endif
