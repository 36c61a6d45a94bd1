/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queries a VM during a migration although its monitor may be slow or drop connections, and finds
 * out whether the destination runs, has run, or certainly never will.
 */
#ifndef TOOLS_IVSHMEM_MIGRATE_WATCH_H
#define TOOLS_IVSHMEM_MIGRATE_WATCH_H

#include "tools/ivshmem/migrate_side.h"

/**
 * enum fate - what has become of the destination
 * @FATE_UNKNOWN: it is still loading, or does not answer
 * @FATE_WAITS:   it waits for a source, and no source has connected
 * @FATE_GONE:    it has ended or failed, and has never run
 * @FATE_LOADED:  it has loaded the VM and is paused, and has never run
 * @FATE_RUNS:    it runs
 * @FATE_ENDED:   it has run or may have run, and is not running any more
 */
enum fate {
	FATE_UNKNOWN,
	FATE_WAITS,
	FATE_GONE,
	FATE_LOADED,
	FATE_RUNS,
	FATE_ENDED,
};

/**
 * watch_state() - the run state, over a new connection if the last one was closed
 *
 * It is an error if a different process now listens at the monitor's socket.
 *
 * Return: as ivs_qmp_execute() and ivs_qmp_connect().
 */
IVS_MUST_USE int watch_state(struct side *side, char state[IVS_QMP_STATE_LEN],
			     struct ivs_error *err);

/** watch_progress() - query-migrate, over a new connection if necessary, like watch_state() */
IVS_MUST_USE int watch_progress(struct side *side, struct ivs_migration_progress *out,
				struct ivs_error *err);

/**
 * watch_execute() - run a command without arguments, over a new connection if necessary, like
 * watch_state()
 */
IVS_MUST_USE int watch_execute(struct side *side, const char *command, struct ivs_error *err);

/**
 * watch_never_stopped() - whether the source runs, and has run all the time since it began to
 * migrate; then the destination cannot have got its last state, and cannot run
 */
bool watch_never_stopped(struct side *source);

/**
 * watch_fate() - look at the destination once
 * @state: set to its run state, or ""
 * @err:   set to the reason if it does not answer; otherwise unchanged
 */
enum fate watch_fate(struct side *destination, char state[IVS_QMP_STATE_LEN],
		     struct ivs_error *err);

#endif
