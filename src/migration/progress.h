/* SPDX-License-Identifier: BSD-3-Clause */
/* What query-migrate says about a migration that is under way. Pure. */
#ifndef IVS_MIGRATION_PROGRESS_H
#define IVS_MIGRATION_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "migration/side.h"

/**
 * struct ivs_migration_progress - a reply to query-migrate; numbers that it lacks are 0
 * @status:      such as "active"; "" if there is none; safe to print
 * @error:       error-desc; "" if there is none; safe to print
 * @blocked:     the first of blocked-reasons that is not that of an ivshmem peer, or else the
 *               first; "" if there is none; safe to print
 * @total:       size of all memory in bytes
 * @remaining:   bytes that still have to be sent
 * @transferred: bytes sent
 * @passes:      number of passes over the memory
 * @mbps:        rate in Mbit/s
 * @downtime_ms: how long the VM was stopped, or is expected to be stopped if it still runs
 * @total_ms:    duration
 */
struct ivs_migration_progress {
	char status[32];
	char error[IVS_MIGRATION_REASON_LEN];
	char blocked[IVS_MIGRATION_REASON_LEN];
	uint64_t total;
	uint64_t remaining;
	uint64_t transferred;
	uint64_t passes;
	double mbps;
	uint64_t downtime_ms;
	uint64_t total_ms;
};

/** ivs_migration_is_peer_reason() - whether this is why QEMU does not migrate an ivshmem peer */
bool ivs_migration_is_peer_reason(const char *reason);

void ivs_migration_progress_parse(const json_t *reply, struct ivs_migration_progress *out);

/** ivs_migration_is_over() - whether the migration has ended, in one way or the other */
bool ivs_migration_is_over(const struct ivs_migration_progress *progress);

#define IVS_MIGRATION_PROGRESS_LEN 160

/** ivs_migration_progress_text() - "340 of 1024 MiB left, 88 MiB/s, pass 3, downtime 30 ms" */
const char *ivs_migration_progress_text(const struct ivs_migration_progress *progress,
					char out[IVS_MIGRATION_PROGRESS_LEN]);

#endif
