/* SPDX-License-Identifier: BSD-3-Clause */
/* Sending a client the next messages that are due, and measuring what that takes (cost.h). */
#ifndef IVS_SERVER_SEND_H
#define IVS_SERVER_SEND_H

#include "base/syscalls.h"
#include "server/private.h"

extern const struct ivs_syscall ivs_send_syscalls[];

/**
 * ivs_server_send_due() - send the next messages that are due to @client, IVS_COST_BATCH at most
 *
 * If the socket is full, the function sets @blocked of the client; if nothing can be sent to the
 * client any more, it sets @send_result. If the send was slow, it sets the timer that pauses
 * sending to slow clients. If the kernel refuses messages, all clients wait
 * (ivs_server_is_waiting()).
 *
 * Return: whether more may be due, and the socket may have room.
 */
bool ivs_server_send_due(struct ivs_server *server, struct ivs_client *client);

#endif
