/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server: accepts clients, tells each who is there, and passes on fds. It is never on the data
 * path, never maps the region and never rings anybody.
 */
#ifndef IVS_SERVER_SERVER_H
#define IVS_SERVER_SERVER_H

#include "base/syscalls.h"
#include "daemon/listener.h"
#include "ivshmem/region.h"
#include "server/admission.h"
#include "server/handover/handover.h"

extern const struct ivs_syscall ivs_server_syscalls[];

/**
 * struct ivs_server_options - what a server is to be
 * @socket:    where to listen
 * @admission: who may be a client
 * @control:   the control socket; without a path there is none
 * @metrics:   a file to be kept up to date, or NULL; must outlive the server
 * @metrics_interval_ms: how often
 * @region:    what to hand out; must outlive the server
 * @handover:      what outlives the process; if it has something of another process, the server goes on
 *             with that; must outlive the server
 * @region_address: as it was asked for, to be shown; must outlive the server
 * @vectors_n: doorbells per client, 0 to IVS_MSIX_VECTORS_MAX
 * @roster_peers: publish who is connected at the end of the region, with room for so many, up to
 *             65536; 0: do not
 */
struct ivs_server_options {
	struct ivs_listener_options socket;
	struct ivs_listener_options control;
	const char *metrics;
	unsigned int metrics_interval_ms;
	struct ivs_admission admission;
	const struct ivs_region *region;
	struct ivs_handover *handover;
	const char *region_address;
	unsigned int vectors_n;
	unsigned int roster_peers;
};

struct ivs_server;

enum ivs_server_error {
	IVS_SERVER_E_LIMIT = 1, /* more clients are allowed than there are file descriptors for */
	IVS_SERVER_E_SOCKET,	/* the server's socket cannot be at that path */
	IVS_SERVER_E_CONTROL,	/* the control socket cannot */
	IVS_SERVER_E_METRICS,	/* the metrics file cannot */
	IVS_SERVER_E_ROSTER,	/* the roster page cannot be in that region */
};

/**
 * ivs_server_new() - listen
 *
 * Raises the soft limit of file descriptors to the hard one: each client needs 1 + vectors.
 *
 * Return: 0, IVS_SERVER_E_*, -errno.
 */
IVS_MUST_USE int ivs_server_new(const struct ivs_server_options *opts, struct ivs_server **out,
				struct ivs_error *err);

/**
 * ivs_server_watch_signals() - what ends ivs_server_run(): once, before that
 * @signal_fd: a non-blocking signalfd, by the process that will run the server
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_server_watch_signals(struct ivs_server *server, int signal_fd,
					  struct ivs_error *err);

/**
 * ivs_server_start() - what must be done once in the process that serves, before ivs_server_run()
 *
 * Opens all that is later needed by path, so that the process may then be shut in (chroot(2)).
 */
void ivs_server_start(struct ivs_server *server);

/**
 * ivs_server_run() - serve until a signal arrives; may be called again afterwards
 * @signo: which one it was
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_server_run(struct ivs_server *server, int *signo);

/** ivs_server_list_fds() - every fd that another program needs to go on with all clients */
IVS_MUST_USE int ivs_server_list_fds(const struct ivs_server *server, struct ivs_inherited *out);

/** ivs_server_peers() - how many clients are connected */
unsigned int ivs_server_peers(const struct ivs_server *server);

/** ivs_server_path() - where it listens */
const char *ivs_server_path(const struct ivs_server *server);

/** ivs_server_keep_socket_file() - ivs_server_free() is not to remove the socket from the file system */
void ivs_server_keep_socket_file(struct ivs_server *server);

/**
 * ivs_server_free() - stop listening and close every connection; NULL is fine
 *
 * Nobody is told that the others left: they have not, and their doorbells go on working. What the
 * service manager has copies of stays open.
 */
void ivs_server_free(struct ivs_server *server);

#endif
