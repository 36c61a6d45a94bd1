/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/parse.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * Parse the digits at the start of @text. Return: the end of the digits; NULL if there are none, or
 * on overflow.
 */
static const char *parse_digits(const char *text, uint64_t *out)
{
	const char *end = text;
	uint64_t n = 0;

	for (; *end >= '0' && *end <= '9'; end++) {
		uint64_t digit = (uint64_t)(*end - '0');

		if (n > (UINT64_MAX - digit) / 10)
			return NULL;
		n = n * 10 + digit;
	}
	*out = n;
	return end == text ? NULL : end;
}

bool ivs_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	const char *end;
	uint64_t n;

	end = parse_digits(text, &n);
	if (!end || *end || n < min || n > max)
		return false;
	*out = n;
	return true;
}

bool ivs_parse_size(const char *text, uint64_t *out)
{
	static const char suffixes[] = "kKmMgGtT";
	unsigned int shift = 0;
	const char *suffix;
	const char *end;
	uint64_t n;

	end = parse_digits(text, &n);
	if (!end)
		return false;
	if (*end) {
		suffix = strchr(suffixes, *end);
		if (!suffix || end[1])
			return false;
		shift = 10 * ((unsigned int)(suffix - suffixes) / 2 + 1);
	}
	if (n > UINT64_MAX >> shift)
		return false;
	*out = n << shift;
	return true;
}

const char *ivs_size_text(uint64_t size, char out[IVS_SIZE_TEXT_LEN])
{
	static const char suffixes[] = "TGMK";

	for (unsigned int i = 0; suffixes[i]; i++) {
		unsigned int shift = 40 - 10 * i;

		if (size && !(size & ((UINT64_C(1) << shift) - 1))) {
			snprintf(out, IVS_SIZE_TEXT_LEN, "%" PRIu64 "%c", size >> shift,
				 suffixes[i]);
			return out;
		}
	}
	snprintf(out, IVS_SIZE_TEXT_LEN, "%" PRIu64, size);
	return out;
}

const char *ivs_owner_text(uid_t uid, gid_t gid, char out[IVS_OWNER_TEXT_LEN])
{
	bool has_uid = uid != (uid_t)-1;
	bool has_gid = gid != (gid_t)-1;
	int len = 0;

	out[0] = '\0';
	if (has_uid)
		len = snprintf(out, IVS_OWNER_TEXT_LEN, "uid %u%s", uid, has_gid ? ", " : "");
	if (has_gid)
		snprintf(out + len, IVS_OWNER_TEXT_LEN - (size_t)len, "gid %u", gid);
	return out;
}
