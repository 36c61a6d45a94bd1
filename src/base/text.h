/* SPDX-License-Identifier: BSD-3-Clause */
/* Sanitising untrusted UTF-8 text, such as paths and program names, for display. */
#ifndef IVS_BASE_TEXT_H
#define IVS_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/** ivs_text_char() - length in bytes of the character at @text; 0 if it is invalid or is the NUL */
size_t ivs_text_char(const char *text);

/**
 * ivs_text_valid() - copy @in, with a "?" for each byte that is not valid UTF-8
 * @out_len: at least 1; the text is truncated to fit, but never within a character
 *
 * Return: @out.
 */
const char *ivs_text_valid(const char *in, char *out, size_t out_len);

/** ivs_text_shown() - like ivs_text_valid(), but also replace control characters, for terminals */
const char *ivs_text_shown(const char *in, char *out, size_t out_len);

/** ivs_text_is_printable() - whether ivs_text_shown() would change nothing */
bool ivs_text_is_printable(const char *text);

/** ivs_text_columns() - the number of characters in @text, which must be valid */
size_t ivs_text_columns(const char *text);

#endif
