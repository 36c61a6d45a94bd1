/* SPDX-License-Identifier: BSD-3-Clause */
/* The migration itself. Whatever happens, one of the two VMs runs, and messages say which. */
#ifndef TOOLS_IVSHMEM_MIGRATE_RUN_H
#define TOOLS_IVSHMEM_MIGRATE_RUN_H

#include "tools/ivshmem/migrate_side.h"

/**
 * enum migrate_runs - which VM runs at the end
 * @RUNS_AS_BEFORE: nothing has been changed
 * @RUNS_SOURCE, @RUNS_DESTINATION: this VM runs, or is paused because the source was paused before
 * @RUNS_UNKNOWN: it is not known which, and the user has been told so
 */
enum migrate_runs {
	RUNS_AS_BEFORE,
	RUNS_SOURCE,
	RUNS_DESTINATION,
	RUNS_UNKNOWN,
};

/**
 * struct migration - a migration
 * @uri:        where the destination listens
 * @timeout_ms: after this time it is cancelled; 0: never
 * @stop_fd:    while it is readable, the user wants it to be cancelled
 * @progress:   the last report of the source
 * @runs:       set by migrate_run()
 */
struct migration {
	struct side *source;
	struct side *destination;
	const char *uri;
	int timeout_ms;
	int stop_fd;
	struct ivs_migration_progress progress;
	enum migrate_runs runs;
};

/**
 * migrate_run() - migrate, and wait until the destination is running; if that fails, cancel the
 * migration, and have the source run
 *
 * Return: 0, or an exit status after printing the reason, and which VM runs.
 */
int migrate_run(struct migration *migration);

#endif
