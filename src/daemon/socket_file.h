/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Explains the socket files of other users, whether or not they are in use. Do not use this
 * function under a system call filter.
 */
#ifndef IVS_DAEMON_SOCKET_FILE_H
#define IVS_DAEMON_SOCKET_FILE_H

#include "base/access.h"

/**
 * ivs_socket_file_explain() - describe the owner of the socket file @path, whether a process is
 *                             listening at it, and who can remove it
 */
const char *ivs_socket_file_explain(const char *path, char out[IVS_ACCESS_TEXT_LEN]);

#endif
