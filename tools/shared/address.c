/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/address.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "tools/shared/usage.h"

static const char *prefix_of(const char *text)
{
	struct stat st;

	if (!strncmp(text, "/dev/ivshmem", strlen("/dev/ivshmem")))
		return "";
	if (strchr(text, '/') == text || text[0] == '.')
		return !stat(text, &st) && S_ISSOCK(st.st_mode) ? "unix:" : "file:";
	return strchr(text, ':') ? "" : "shm:";
}

int address_complete(const char *text, char out[ADDRESS_LEN])
{
	char shown[ADDRESS_LEN];

	ivs_text_shown(text, shown, sizeof(shown));
	for (const char *at = text; *at; at++) {
		if (iscntrl((unsigned char)*at))
			return usage_error("invalid address", shown,
					   "it has a control character; use printable ones");
	}
	if (!*text)
		return usage_error("invalid address", "", "use a name, such as looking-glass");
	if (snprintf(out, ADDRESS_LEN, "%s%s", prefix_of(text), text) >= ADDRESS_LEN)
		return usage_error("invalid address", shown, "it is too long");
	return 0;
}
