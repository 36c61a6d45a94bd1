/* SPDX-License-Identifier: BSD-3-Clause */
/* Text that is composed in the caller's buffer. */
#ifndef IVS_CONFIG_OUT_H
#define IVS_CONFIG_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include "ivshmem/api.h"

/**
 * struct ivs_out - the text and its buffer; start from IVS_OUT_INIT(buffer, size)
 * @text: always ends with a NUL
 * @room: size of the buffer in bytes, at least 1
 * @full: @text is incomplete, because the buffer was too small or a string cannot be escaped;
 *        nothing more is added
 */
struct ivs_out {
	char *text;
	size_t room;
	size_t len;
	bool full;
};

#define IVS_OUT_INIT(buffer, size)                                                                 \
	{                                                                                          \
		.text = (buffer), .room = (size),                                                  \
	}

/** ivs_out_put() - add @len bytes, or none if they do not fit */
void ivs_out_put(struct ivs_out *out, const char *text, size_t len);

/** ivs_out_text() - add @text */
void ivs_out_text(struct ivs_out *out, const char *text);

/** ivs_out_format() - add formatted text */
IVS_PRINTF(2, 3) void ivs_out_format(struct ivs_out *out, const char *format, ...);

#endif
