/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of reading query-migrate. */
#include <criterion/criterion.h>
#include <string.h>

#include "migration/progress.h"

static struct ivs_migration_progress parse(const char *text)
{
	struct ivs_migration_progress progress;
	json_t *json = json_loads(text, 0, NULL);

	cr_assert(json, "%s", text);
	memset(&progress, 0xff, sizeof(progress));
	ivs_migration_progress_parse(json, &progress);
	json_decref(json);
	return progress;
}

Test(migration_progress, under_way)
{
	char text[IVS_MIGRATION_PROGRESS_LEN];
	const struct ivs_migration_progress progress = parse(
		"{\"status\": \"active\", \"expected-downtime\": 300, \"total-time\": 1500, "
		"\"ram\": {\"total\": 1073741824, \"remaining\": 356515840, \"transferred\": "
		"716177408, \"dirty-sync-count\": 3, \"mbps\": 738.2}}");

	cr_assert_str_eq(progress.status, "active");
	cr_assert_eq(progress.downtime_ms, 300);
	cr_assert_eq(progress.total_ms, 1500);
	cr_assert_not(ivs_migration_is_over(&progress));
	cr_assert_str_eq(ivs_migration_progress_text(&progress, text),
			 "340 of 1024 MiB left, 683 MiB sent, 88 MiB/s, pass 3, downtime 300 ms");
}

Test(migration_progress, ends)
{
	struct ivs_migration_progress progress = parse(
		"{\"status\": \"completed\", \"downtime\": 19, \"expected-downtime\": 300}");

	cr_assert_eq(progress.downtime_ms, 19);
	cr_assert(ivs_migration_is_over(&progress));
	progress = parse("{\"status\": \"failed\", \"error-desc\": \"a\\u001bb\"}");
	cr_assert(ivs_migration_is_over(&progress));
	cr_assert_str_eq(progress.error, "a?b");
	progress = parse("{\"status\": \"cancelled\"}");
	cr_assert(ivs_migration_is_over(&progress));
	progress = parse("{\"status\": \"cancelling\"}");
	cr_assert_not(ivs_migration_is_over(&progress));
}

Test(migration_progress, odd_values)
{
	const struct ivs_migration_progress none = {0};
	struct ivs_migration_progress progress = parse("{}");

	cr_assert_eq(memcmp(&progress, &none, sizeof(none)), 0);
	progress = parse(
		"{\"status\": 5, \"ram\": [1], \"blocked-reasons\": {}, \"downtime\": -1}");
	cr_assert_eq(memcmp(&progress, &none, sizeof(none)), 0);
	progress = parse("{\"blocked-reasons\": [\"first\", \"second\"]}");
	cr_assert_str_eq(progress.blocked, "first");
	progress = parse(
		"{\"blocked-reasons\": [\"'peer mode' in device 'ivshmem'\", \"second\"]}");
	cr_assert_str_eq(progress.blocked, "second");
	progress = parse("{\"blocked-reasons\": [\"'peer mode' in device 'ivshmem'\"]}");
	cr_assert(ivs_migration_is_peer_reason(progress.blocked));
}
