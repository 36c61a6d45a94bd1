/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/owners.h"

#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/parse.h"
#include "tools/shared/usage.h"

int take_mode(const char *value, mode_t *out)
{
	char *end;
	unsigned long mode = strtoul(value, &end, 8);

	if (*value < '0' || *value > '7' || *end || !mode || mode > 0777)
		return usage_error("invalid mode", value,
				   "use permission bits in octal, such as 0660");
	*out = (mode_t)mode;
	return 0;
}

/* Parse a user given by name or number. */
int take_user(const char *value, uid_t *out)
{
	const struct passwd *user = getpwnam(value);
	uint64_t number;

	if (user)
		*out = user->pw_uid;
	else if (ivs_parse_uint(value, 0, UINT32_MAX - 1, &number))
		*out = (uid_t)number;
	else
		return usage_error("no such user", value, "use an existing name or a number");
	return 0;
}

int take_group(const char *value, gid_t *out)
{
	const struct group *group = getgrnam(value);
	uint64_t number;

	if (group)
		*out = group->gr_gid;
	else if (ivs_parse_uint(value, 0, UINT32_MAX - 1, &number))
		*out = (gid_t)number;
	else
		return usage_error("no such group", value, "use an existing name or a number");
	return 0;
}

bool owner_is_trusted(uid_t uid, uid_t wanted)
{
	return !uid || uid == geteuid() || uid == wanted;
}
