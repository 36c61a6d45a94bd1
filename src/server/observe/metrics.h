/* SPDX-License-Identifier: BSD-3-Clause */
/* Metrics for Prometheus: a file for node_exporter's textfile collector. */
#ifndef IVS_SERVER_OBSERVE_METRICS_H
#define IVS_SERVER_OBSERVE_METRICS_H

#include "base/syscalls.h"
#include "server/private.h"

extern const struct ivs_syscall ivs_metrics_syscalls[];

enum ivs_metrics_error {
	IVS_METRICS_E_PATH = 1, /* the path has no file name, or does not name a regular file */
};

/**
 * ivs_metrics_open() - prepare to write metrics to @path, which must outlive the server
 * @interval_ms: time between updates of the file
 *
 * Return: 0, IVS_METRICS_E_PATH, -errno.
 */
IVS_MUST_USE int ivs_metrics_open(struct ivs_server *server, const char *path,
				  unsigned int interval_ms, struct ivs_error *err);

/**
 * ivs_metrics_close() - remove the file if it is still ours; does nothing if there are no metrics
 */
void ivs_metrics_close(struct ivs_server *server);

/** ivs_metrics_update() - write the file if needed, and schedule the next update */
void ivs_metrics_update(struct ivs_server *server);

#endif
