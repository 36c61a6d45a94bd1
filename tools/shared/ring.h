/* SPDX-License-Identifier: BSD-3-Clause */
/* Rings the peers that the arguments of a command name. */
#ifndef TOOLS_SHARED_RING_H
#define TOOLS_SHARED_RING_H

#include <stdbool.h>

#include "ivshmem/peer.h"
#include "tools/shared/outcome.h"

/**
 * ring_by_text() - ring one vector or all vectors of a peer, or all vectors of all other peers
 * @id:      a number, or "all" if @vector is NULL
 * @vector:  a number, or "all"; NULL only if @id is "all"
 * @verbose: print each doorbell that was sent
 */
enum outcome ring_by_text(struct ivs_peer *peer, const char *id, const char *vector, bool verbose);

#endif
