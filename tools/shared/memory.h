/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands get, put and dump: reading and writing bytes of the region. guard_start() must have
 * been called.
 */
#ifndef TOOLS_SHARED_MEMORY_H
#define TOOLS_SHARED_MEMORY_H

#include <stdbool.h>

#include "ivshmem/peer.h"
#include "tools/shared/outcome.h"

/**
 * struct memory_place - a place in the region, as given in the command
 * @hex:    whether the data (standard output, the text, or standard input) is in hexadecimal digits
 * @offset: a number of bytes, such as 4096, 4K or 0x1000
 */
struct memory_place {
	bool hex;
	char *offset;
};

/** memory_get() - print @len bytes, as they are or as hexadecimal digits */
enum outcome memory_get(struct ivs_peer *peer, const struct memory_place *place, const char *len);

/** memory_dump() - print @len bytes as hexadecimal digits and characters, with their offsets */
enum outcome memory_dump(struct ivs_peer *peer, const struct memory_place *place, const char *len);

/** memory_put() - write @text, which is modified, or standard input if @text is "-" */
enum outcome memory_put(struct ivs_peer *peer, const struct memory_place *place, char *text);

#endif
