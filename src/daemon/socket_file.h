/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Socket files of other users, in use or not. Do not use this function under a system call filter.
 */
#ifndef IVS_DAEMON_SOCKET_FILE_H
#define IVS_DAEMON_SOCKET_FILE_H

#include "base/access.h"

/**
 * ivs_socket_file_explain() - describe the owner of the socket file @path, whether a process
 *                             listens at it, and who can remove it
 */
const char *ivs_socket_file_explain(const char *path, char out[IVS_ACCESS_TEXT_LEN]);

#endif
