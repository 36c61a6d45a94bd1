/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/address.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "config/escape.h"
#include "tools/shared/usage.h"

#define NODE "/dev/ivshmem" /* followed by a number; the library has no prefix for it */

static int invalid(const char *text, const char *fix)
{
	char shown[ADDRESS_LEN];

	return usage_error("invalid address", ivs_text_shown(text, shown, sizeof(shown)), fix);
}

static bool starts(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}

bool address_is_name(const char *text)
{
	return !strpbrk(text, "/:");
}

/* Return: the length of the prefix of the text, if addresses have such a prefix; otherwise 0. */
static size_t known_prefix_len(const char *text)
{
	static const char *const prefixes[] = {"unix:", "shm:", "file:", "dir:", "memfd:", "pci:"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		if (starts(text, prefixes[i]))
			return strlen(prefixes[i]);
	}
	return 0;
}

/* Return: the prefix to put before a text that has no prefix. */
static const char *missing_prefix(const char *text)
{
	struct stat st;

	if (address_is_name(text))
		return "shm:";
	if (starts(text, NODE))
		return "";
	return !stat(text, &st) && S_ISSOCK(st.st_mode) ? "unix:" : "file:";
}

int address_complete(const char *text, char out[ADDRESS_LEN])
{
	size_t known_len = known_prefix_len(text);
	const char *rest = text + known_len;

	if (!*text)
		return invalid(text, "use a name, such as looking-glass");
	if (!ivs_escape_valid(text))
		return invalid(text, "use UTF-8 without control characters");
	if (!known_len && text[strcspn(text, "/:")] == ':')
		return invalid(text, strchr(text, '/') ? "put file: before it if it is a path"
						       : "put shm: before it if it is a name");
	if (strlen(rest) >= PATH_MAX)
		return invalid(text, "it is too long");
	/* shm_open(3) ignores slashes before a name. */
	if (starts(text, "shm:") && !strchr(rest + strspn(rest, "/"), '/'))
		rest += strspn(rest, "/");
	if (known_len)
		snprintf(out, ADDRESS_LEN, "%.*s%s", (int)known_len, text, rest);
	else
		snprintf(out, ADDRESS_LEN, "%s%s", missing_prefix(text), text);
	return 0;
}

int address_check_region(const char *address)
{
	if (starts(address, "shm:") || starts(address, "file:"))
		return 0;
	if (starts(address, "unix:"))
		return invalid(address, "this is the socket of a server: specify a region instead");
	if (starts(address, "memfd:") || starts(address, "dir:"))
		return invalid(address,
			       "such a region has no name: the program that uses it creates it");
	return invalid(address, "this is a device in a guest: specify a region of this host");
}
