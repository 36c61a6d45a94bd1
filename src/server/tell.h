/* SPDX-License-Identifier: BSD-3-Clause */
/* Telling clients what the roster says that they do not know. */
#ifndef IVS_SERVER_TELL_H
#define IVS_SERVER_TELL_H

#include "server/state.h"

/** ivs_server_drop() - client @id leaves */
void ivs_server_drop(struct ivs_server *server, unsigned int id, enum ivs_drop why);

/** ivs_server_is_waiting() - whether the kernel refuses to take messages; then all wait for TIMER_TELL */
bool ivs_server_is_waiting(const struct ivs_server *server);

/** ivs_server_tell() - client @id, until it knows everything, or its socket is full, or it is gone */
void ivs_server_tell(struct ivs_server *server, unsigned int id);

/** ivs_server_tell_all() - everybody, as long as the roster changes */
void ivs_server_tell_all(struct ivs_server *server);

/** ivs_server_tell_again() - after TIMER_TELL: what the kernel refused before */
void ivs_server_tell_again(struct ivs_server *server);

#endif
