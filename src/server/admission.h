/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may be a client, and how many of them. */
#ifndef IVS_SERVER_ADMISSION_H
#define IVS_SERVER_ADMISSION_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/syscalls.h"

extern const struct ivs_syscall ivs_admission_syscalls[];

#define IVS_ADMISSION_NAMES_MAX 32

/**
 * struct ivs_admission - the rules; all zero: everybody, as many as there are ids
 * @peers_max:      clients at a time; 0: no limit
 * @user_peers_max: of them with the same uid; 0: no limit
 * @users:          who may connect; if neither users nor groups are named, everybody
 * @groups:         who has one of these as a primary or supplementary group may, too
 */
struct ivs_admission {
	unsigned int peers_max;
	unsigned int user_peers_max;
	uid_t users[IVS_ADMISSION_NAMES_MAX];
	unsigned int users_n;
	gid_t groups[IVS_ADMISSION_NAMES_MAX];
	unsigned int groups_n;
};

/** ivs_admission_allows() - whether who is at the other end of @sock may be a client at all */
bool ivs_admission_allows(const struct ivs_admission *admission, int sock,
			  const struct ucred *cred);

#endif
