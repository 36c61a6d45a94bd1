/* SPDX-License-Identifier: BSD-3-Clause */
/* The command dump: the transport, its capabilities, the region and the peers. */
#ifndef TOOLS_SHARED_DUMP_H
#define TOOLS_SHARED_DUMP_H

#include "ivshmem/peer.h"
#include "tools/shared/outcome.h"

enum outcome dump_peer(struct ivs_peer *peer);

#endif
