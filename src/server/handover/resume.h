/* SPDX-License-Identifier: BSD-3-Clause */
/* Going on with the clients of another process. */
#ifndef IVS_SERVER_HANDOVER_RESUME_H
#define IVS_SERVER_HANDOVER_RESUME_H

#include "server/private.h"

/** ivs_server_resume() - have all clients that the roster knows and that are kept; the others leave */
void ivs_server_resume(struct ivs_server *server);

#endif
