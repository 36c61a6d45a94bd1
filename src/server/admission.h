/* SPDX-License-Identifier: BSD-3-Clause */
/* Decides which processes may become clients, and how many clients there may be. */
#ifndef IVS_SERVER_ADMISSION_H
#define IVS_SERVER_ADMISSION_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/syscalls.h"

extern const struct ivs_syscall ivs_admission_syscalls[];

#define IVS_ADMISSION_NAMES_MAX 32

/**
 * struct ivs_admission - the rules; if all are zero, every process is admitted as long as an id is
 * free
 * @peers_max:      maximum number of clients at a time; 0: no limit
 * @user_peers_max: maximum number of clients with the same uid at a time; 0: no limit
 * @user_joins_max: maximum number of joins per minute with the same uid; 0: no limit
 * @keeps_first:    only a quiet client of @first_user may be assigned id 0 (--keep-id-0)
 * @first_user:     see @keeps_first
 * @users:          processes of these users are admitted
 * @groups:         processes with one of these as their primary or a supplementary group are
 *                  admitted, too; if neither users nor groups are given, every process is admitted
 */
struct ivs_admission {
	unsigned int peers_max;
	unsigned int user_peers_max;
	unsigned int user_joins_max;
	bool keeps_first;
	uid_t first_user;
	uid_t users[IVS_ADMISSION_NAMES_MAX];
	unsigned int users_n;
	gid_t groups[IVS_ADMISSION_NAMES_MAX];
	unsigned int groups_n;
};

/**
 * ivs_admission_allows() - whether the rules for users and groups admit the process at the other
 * end of @sock
 */
bool ivs_admission_allows(const struct ivs_admission *admission, int sock,
			  const struct ucred *cred);

#endif
