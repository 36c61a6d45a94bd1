/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers for Prometheus: a file as node_exporter's textfile collector reads it. */
#ifndef IVS_SERVER_OBSERVE_METRICS_H
#define IVS_SERVER_OBSERVE_METRICS_H

#include "base/syscalls.h"
#include "server/private.h"

extern const struct ivs_syscall ivs_metrics_syscalls[];

enum ivs_metrics_error {
	IVS_METRICS_E_PATH = 1, /* no name of a file, or something that is no file is there */
};

/**
 * ivs_metrics_open() - @path, which must outlive the server; nothing is written yet
 * @interval_ms: how often to look whether something has changed
 *
 * Return: 0, IVS_METRICS_E_PATH, -errno.
 */
IVS_MUST_USE int ivs_metrics_open(struct ivs_server *server, const char *path,
				  unsigned int interval_ms, struct ivs_error *err);

/** ivs_metrics_close() - remove the file if it still is ours; also of a server without one */
void ivs_metrics_close(struct ivs_server *server);

/** ivs_metrics_update() - write what has changed; then again at each interval */
void ivs_metrics_update(struct ivs_server *server);

#endif
