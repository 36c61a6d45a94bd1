/* SPDX-License-Identifier: BSD-3-Clause */
/* Resuming the clients of a previous process. */
#ifndef IVS_SERVER_HANDOVER_RESUME_H
#define IVS_SERVER_HANDOVER_RESUME_H

#include "server/private.h"

/** ivs_server_resume() - resume the roster's clients; remove those whose fds are missing */
void ivs_server_resume(struct ivs_server *server);

#endif
