/* SPDX-License-Identifier: BSD-3-Clause */
/* Text that others made, such as paths and names of programs: made fit to be shown. */
#ifndef IVS_BASE_TEXT_H
#define IVS_BASE_TEXT_H

#include <stddef.h>

/** ivs_text_char() - bytes of the UTF-8 character at the start of @text; 0 if there is none. Of "": 0. */
size_t ivs_text_char(const char *text);

/**
 * ivs_text_valid() - @in as UTF-8: a "?" for each byte that is none
 * @out_len: room, at least 1; what does not fit is left out, in whole characters
 *
 * Return: @out.
 */
const char *ivs_text_valid(const char *in, char *out, size_t out_len);

/** ivs_text_shown() - the same, for a terminal: also a "?" for each control character */
const char *ivs_text_shown(const char *in, char *out, size_t out_len);

/** ivs_text_columns() - how many characters @text, which is valid, has */
size_t ivs_text_columns(const char *text);

#endif
