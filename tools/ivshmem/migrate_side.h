/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMs that take part in a migration, through their monitors. */
#ifndef TOOLS_IVSHMEM_MIGRATE_SIDE_H
#define TOOLS_IVSHMEM_MIGRATE_SIDE_H

#include <sys/types.h>

#include "migration/progress.h"
#include "migration/side.h"
#include "tools/ivshmem/monitor.h"

#define SIDE_TEXT_LEN 320
#define SIDE_SLOT_LEN IVS_MIGRATION_ID_LEN

/**
 * struct side - a VM; start from SIDE_INIT
 * @role:    what it is, for messages: "source", "destination", "peer"
 * @text:    how it is named in messages: "VM win10 (monitor /run/a.qmp)"; safe to print
 * @pidfd:   the process that listens at the monitor's socket; -1: not known
 * @local:   that process is a QEMU on this host
 * @running: the VM was running when it was examined
 * @cut:     this program had to connect to the monitor again, so it may have missed events
 * @watched: destination only: it was seen waiting over this connection, so the event that reports
 *           its start cannot have been missed
 * @started: destination only: an event has reported its start
 */
struct side {
	const char *role;
	char text[SIDE_TEXT_LEN];
	struct ivs_qmp qmp;
	int pidfd;
	bool local;
	bool running;
	bool cut;
	bool watched;
	bool started;
	struct ivs_migration_side facts;
};

#define SIDE_INIT(which)                                                                           \
	{                                                                                          \
		.role = (which), .qmp = IVS_QMP_INIT, .pidfd = -1                                  \
	}

/** side_open() - connect to the monitor. Return: 0, or an exit status after printing the reason. */
int side_open(struct side *side, const char *path);

/**
 * side_learn() - find out everything that is compared before a migration; changes nothing
 *
 * Return: 0, or an exit status after printing the reason.
 */
int side_learn(struct side *side);

/**
 * side_find_port() - the slot of the port at a path, such as "/machine/peripheral/rp0"
 * @slot: set to "" if the port is not a device with an id, such as a host bridge
 *
 * Return: as ivs_qmp_execute(); IVS_QMP_E_REFUSED if there is no such port.
 */
IVS_MUST_USE int side_find_port(struct side *side, const char *port, char slot[SIDE_SLOT_LEN],
				struct ivs_error *err);

/**
 * side_has_block() - whether the VM has memory of a device
 * @name: slot and name: "01.0:00.0/ivshmem.bar2"
 *
 * Return: as ivs_qmp_execute().
 */
IVS_MUST_USE int side_has_block(struct side *side, const char *name, bool *out,
				struct ivs_error *err);

/**
 * side_lend() - use the connection as attach and detach do, until side_reclaim()
 * @stop_fd: while it is readable, the user has interrupted; it is copied; -1: none
 *
 * The caller handles signals, so the monitor counts as held. Do not close it.
 */
void side_lend(struct side *side, int stop_fd, struct monitor *out);

/** side_reclaim() - take the connection back */
void side_reclaim(struct side *side, struct monitor *monitor);

/** side_progress() - query-migrate. Return: as ivs_qmp_execute(). */
IVS_MUST_USE int side_progress(struct side *side, struct ivs_migration_progress *out,
			       struct ivs_error *err);

/**
 * side_is_dead() - whether QEMU has ended; false if that is not known, because its monitor is
 * forwarded by another process
 */
bool side_is_dead(const struct side *side);

void side_close(struct side *side);

#endif
