/* SPDX-License-Identifier: BSD-3-Clause */
/* Socket files that other users have left, or use. For the start, before the filter is loaded. */
#ifndef IVS_DAEMON_SOCKET_FILE_H
#define IVS_DAEMON_SOCKET_FILE_H

#include "base/access.h"

/**
 * ivs_socket_file_explain() - whose socket file @path is, whether a process listens at it, and who
 *                             can remove it
 */
const char *ivs_socket_file_explain(const char *path, char out[IVS_ACCESS_TEXT_LEN]);

#endif
