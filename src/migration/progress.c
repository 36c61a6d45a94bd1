/* SPDX-License-Identifier: BSD-3-Clause */
#include "migration/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define BITS_PER_MIB (8.0 * 1048576 / 1e6) /* in Mbit */

static uint64_t number_of(const json_t *object, const char *name)
{
	json_int_t value = json_integer_value(json_object_get(object, name));

	return value > 0 ? (uint64_t)value : 0;
}

static void text_of(const json_t *value, char *out, size_t out_len)
{
	const char *text = json_string_value(value);

	ivs_text_shown(text ? text : "", out, out_len);
}

bool ivs_migration_is_peer_reason(const char *reason)
{
	return strstr(reason, "'peer mode'") && strstr(reason, "'ivshmem'");
}

static const json_t *pick_reason(const json_t *reasons)
{
	for (size_t i = 0; i < json_array_size(reasons); i++) {
		const char *reason = json_string_value(json_array_get(reasons, i));

		if (reason && !ivs_migration_is_peer_reason(reason))
			return json_array_get(reasons, i);
	}
	return json_array_get(reasons, 0);
}

void ivs_migration_progress_parse(const json_t *reply, struct ivs_migration_progress *out)
{
	const json_t *ram = json_object_get(reply, "ram");
	const json_t *blocked = json_object_get(reply, "blocked-reasons");
	uint64_t downtime_ms = number_of(reply, "downtime");

	*out = (struct ivs_migration_progress){
		.total = number_of(ram, "total"),
		.remaining = number_of(ram, "remaining"),
		.transferred = number_of(ram, "transferred"),
		.passes = number_of(ram, "dirty-sync-count"),
		.mbps = json_number_value(json_object_get(ram, "mbps")),
		.downtime_ms = downtime_ms ? downtime_ms : number_of(reply, "expected-downtime"),
		.total_ms = number_of(reply, "total-time"),
	};
	text_of(json_object_get(reply, "status"), out->status, sizeof(out->status));
	text_of(json_object_get(reply, "error-desc"), out->error, sizeof(out->error));
	text_of(pick_reason(blocked), out->blocked, sizeof(out->blocked));
}

bool ivs_migration_is_over(const struct ivs_migration_progress *progress)
{
	return !strcmp(progress->status, "completed") || !strcmp(progress->status, "failed") ||
	       !strcmp(progress->status, "cancelled");
}

const char *ivs_migration_progress_text(const struct ivs_migration_progress *progress,
					char out[IVS_MIGRATION_PROGRESS_LEN])
{
	snprintf(out, IVS_MIGRATION_PROGRESS_LEN,
		 "%" PRIu64 " of %" PRIu64 " MiB left, %" PRIu64 " MiB sent, %.0f MiB/s, pass "
		 "%" PRIu64 ", downtime %" PRIu64 " ms",
		 progress->remaining >> 20, progress->total >> 20, progress->transferred >> 20,
		 progress->mbps / BITS_PER_MIB, progress->passes, progress->downtime_ms);
	return out;
}
