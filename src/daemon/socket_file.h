/* SPDX-License-Identifier: BSD-3-Clause */
/* Socket files of other users, in use or not. Only for use before the system call filter loads. */
#ifndef IVS_DAEMON_SOCKET_FILE_H
#define IVS_DAEMON_SOCKET_FILE_H

#include "base/access.h"

/**
 * ivs_socket_file_explain() - the owner of socket file @path, whether a process listens at it, and
 *                             who can remove it
 */
const char *ivs_socket_file_explain(const char *path, char out[IVS_ACCESS_TEXT_LEN]);

#endif
