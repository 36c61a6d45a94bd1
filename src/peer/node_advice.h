/* SPDX-License-Identifier: BSD-3-Clause */
/* Errors about a device node of our driver, with advice that fits the state of the guest. */
#ifndef IVS_PEER_NODE_ADVICE_H
#define IVS_PEER_NODE_ADVICE_H

#include "ivshmem/api.h"

/** ivs_node_absent() - report that there is no device node @path. Return: IVS_PEER_E_ABSENT. */
int ivs_node_absent(const char *path, struct ivs_error *err);

/** ivs_node_denied() - report that this user may not open the node @path. Return: -EACCES. */
int ivs_node_denied(const char *path, struct ivs_error *err);

#endif
