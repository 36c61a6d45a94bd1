/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket (daemon/control.h) on which the server reports its status. See
 * ivshmem-control(7).
 */
#ifndef IVS_SERVER_OBSERVE_CONTROL_H
#define IVS_SERVER_OBSERVE_CONTROL_H

#include "daemon/control.h"
#include "server/private.h"

/**
 * ivs_server_open_control() - listen on the control socket; after an upgrade, take over the
 * previous one
 *
 * Return: 0, IVS_CONTROL_E_SOCKET, -errno.
 */
IVS_MUST_USE int ivs_server_open_control(struct ivs_server *server,
					 const struct ivs_listener_options *opts,
					 struct ivs_error *err);

#endif
