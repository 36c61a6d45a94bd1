/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admission.h"

#include <limits.h>

IVS_SYSCALLS(ivs_admission_syscalls, {"getsockopt", {IVS_ARG_IS(2, SOL_SOCKET)}});

static bool is_named_group(const struct ivs_admission *admission, gid_t group)
{
	for (unsigned int i = 0; i < admission->groups_n; i++) {
		if (admission->groups[i] == group)
			return true;
	}
	return false;
}

/* Check the supplementary groups that the process had when it connected. */
static bool has_named_group(const struct ivs_admission *admission, int sock)
{
	gid_t groups[NGROUPS_MAX];
	socklen_t len = sizeof(groups);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++) {
		if (is_named_group(admission, groups[i]))
			return true;
	}
	return false;
}

bool ivs_admission_allows(const struct ivs_admission *admission, int sock, const struct ucred *cred)
{
	if (!admission->users_n && !admission->groups_n)
		return true;
	for (unsigned int i = 0; i < admission->users_n; i++) {
		if (admission->users[i] == cred->uid)
			return true;
	}
	if (!admission->groups_n)
		return false;
	return is_named_group(admission, cred->gid) || has_named_group(admission, sock);
}
