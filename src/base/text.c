/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/text.h"

#include <stdint.h>
#include <string.h>

/*
 * Decode the first byte of a character. Return: the length of the character in bytes; 0 if it is
 * invalid.
 */
static size_t utf8_first(uint8_t byte, uint32_t *code)
{
	if (byte < 0x80) {
		*code = byte;
		return byte ? 1 : 0;
	}
	if (byte >= 0xc2 && byte < 0xe0) {
		*code = byte & 0x1f;
		return 2;
	}
	if (byte >= 0xe0 && byte < 0xf0) {
		*code = byte & 0x0f;
		return 3;
	}
	if (byte >= 0xf0 && byte < 0xf5) {
		*code = byte & 0x07;
		return 4;
	}
	return 0;
}

static size_t utf8_char(const char *text, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = utf8_first((uint8_t)*text, code);

	for (size_t i = 1; i < len; i++) {
		if (((uint8_t)text[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | ((uint8_t)text[i] & 0x3f);
	}
	if (*code < least[len] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000))
		return 0;
	return len;
}

size_t ivs_text_char(const char *text)
{
	uint32_t code = 0;

	return utf8_char(text, &code);
}

/* Control characters of ASCII and Latin-1, line separators and bidirectional overrides. */
static bool utf8_is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x2028 && code <= 0x202e) ||
	       (code >= 0x2066 && code <= 0x2069);
}

static const char *text_copy(const char *in, char *out, size_t out_len, bool shown)
{
	size_t at = 0;

	while (*in) {
		uint32_t code = 0;
		size_t len = utf8_char(in, &code);
		bool good = len && !(shown && utf8_is_control(code));
		size_t put = good ? len : 1;

		if (at + put >= out_len)
			break;
		memcpy(out + at, good ? in : "?", put);
		at += put;
		in += len ? len : 1;
	}
	out[at] = '\0';
	return out;
}

const char *ivs_text_valid(const char *in, char *out, size_t out_len)
{
	return text_copy(in, out, out_len, false);
}

const char *ivs_text_shown(const char *in, char *out, size_t out_len)
{
	return text_copy(in, out, out_len, true);
}

bool ivs_text_is_printable(const char *text)
{
	while (*text) {
		uint32_t code = 0;
		size_t len = utf8_char(text, &code);

		if (!len || utf8_is_control(code))
			return false;
		text += len;
	}
	return true;
}

size_t ivs_text_columns(const char *text)
{
	size_t n = 0;

	for (size_t len; (len = ivs_text_char(text)); text += len)
		n++;
	return n;
}
