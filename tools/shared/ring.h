/* SPDX-License-Identifier: BSD-3-Clause */
/* Ringing peers by the words of a command. */
#ifndef TOOLS_SHARED_RING_H
#define TOOLS_SHARED_RING_H

#include <stdbool.h>

#include "ivshmem/peer.h"
#include "tools/shared/outcome.h"

/**
 * ring_by_text() - ring one vector or all vectors of a peer, or all vectors of all other peers
 * @who:     an id, or "all" if @which is NULL
 * @which:   a vector, or "all"; NULL only if @who is "all"
 * @verbose: print each doorbell that was sent
 */
enum outcome ring_by_text(struct ivs_peer *peer, const char *who, const char *which, bool verbose);

#endif
