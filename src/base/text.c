/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* What the first byte of a character says: how many there are, and its bits of the number. */
static size_t take_first(uint8_t byte, uint32_t *number)
{
	if (byte < 0x80) {
		*number = byte;
		return byte ? 1 : 0;
	}
	if (byte >= 0xc2 && byte < 0xe0) {
		*number = byte & 0x1f;
		return 2;
	}
	if (byte >= 0xe0 && byte < 0xf0) {
		*number = byte & 0x0f;
		return 3;
	}
	if (byte >= 0xf0 && byte < 0xf5) {
		*number = byte & 0x07;
		return 4;
	}
	return 0;
}

static size_t take_char(const char *text, uint32_t *number)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = take_first((uint8_t)*text, number);

	for (size_t i = 1; i < len; i++) {
		if (((uint8_t)text[i] & 0xc0) != 0x80)
			return 0;
		*number = *number << 6 | ((uint8_t)text[i] & 0x3f);
	}
	if (*number < least[len] || *number > 0x10ffff || (*number >= 0xd800 && *number < 0xe000))
		return 0;
	return len;
}

size_t ivs_text_char(const char *text)
{
	uint32_t number = 0;

	return take_char(text, &number);
}

/* Those of ASCII and of Latin-1, and the ones that turn the order of a line around. */
static bool is_control(uint32_t number)
{
	return number < 0x20 || (number >= 0x7f && number < 0xa0) ||
	       (number >= 0x2028 && number <= 0x202e) || (number >= 0x2066 && number <= 0x2069);
}

static const char *copy(const char *in, char *out, size_t out_len, bool shown)
{
	size_t at = 0;

	while (*in) {
		uint32_t number = 0;
		size_t len = take_char(in, &number);
		bool good = len && !(shown && is_control(number));
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
	return copy(in, out, out_len, false);
}

const char *ivs_text_shown(const char *in, char *out, size_t out_len)
{
	return copy(in, out, out_len, true);
}

size_t ivs_text_columns(const char *text)
{
	size_t n = 0;

	for (size_t len; (len = ivs_text_char(text)); text += len)
		n++;
	return n;
}
