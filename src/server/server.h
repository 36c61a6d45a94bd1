/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server: accepts clients, announces them to each other, and passes fds. It is not on the data
 * path and never rings a doorbell. It maps only the roster page of the region.
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
 * struct ivs_server_options - options of a server
 * @socket:    the socket on which to listen
 * @control:   the control socket; if its path is NULL, there is none
 * @metrics:   path of the metrics file, or NULL; must outlive the server
 * @metrics_interval_ms: time between updates of the metrics file
 * @admission: which processes may become clients
 * @region:    the region that is passed to clients; must outlive the server
 * @handover:  the handover, possibly with state to resume; must outlive the server
 * @region_address: the region's address on the command line, for display; must outlive the server
 * @vectors_n: number of vectors of each client, 0 to IVS_MSIX_VECTORS_MAX
 * @roster_peers: number of entries in the roster page, up to 65536; 0: no roster page
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
	IVS_SERVER_E_LIMIT = 1, /* too few file descriptors for the allowed clients */
	IVS_SERVER_E_SOCKET,	/* the socket's path is in use or not usable */
	IVS_SERVER_E_CONTROL,	/* the control socket's path is in use, or not usable */
	IVS_SERVER_E_METRICS,	/* the metrics file's path is not usable */
	IVS_SERVER_E_ROSTER,	/* the region cannot have a roster page */
};

/**
 * ivs_server_new() - open everything, resume clients if there are any, and listen
 *
 * The call raises the soft limit on file descriptors to the hard limit, because each client needs
 * one fd, and one for each vector.
 *
 * Return: 0, IVS_SERVER_E_*, -errno.
 */
IVS_MUST_USE int ivs_server_new(const struct ivs_server_options *opts, struct ivs_server **out,
				struct ivs_error *err);

/**
 * ivs_server_watch_signals() - have signals end ivs_server_run(); call this once, before
 * ivs_server_run()
 * @signal_fd: a non-blocking signalfd, opened by the process that will run the server
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_server_watch_signals(struct ivs_server *server, int signal_fd,
					  struct ivs_error *err);

/**
 * ivs_server_start() - prepare the process that will serve; call this once, before ivs_server_run()
 *
 * The call opens everything that needs a path, so that the process may then call chroot(2).
 */
void ivs_server_start(struct ivs_server *server);

/**
 * ivs_server_run() - serve until a signal arrives; may be called again afterwards
 * @signo: set to the signal
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_server_run(struct ivs_server *server, int *signo);

/**
 * ivs_server_list_fds() - list the fds that another program needs to resume all clients
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_server_list_fds(const struct ivs_server *server, struct ivs_inherited *out);

/** ivs_server_peers() - the number of connected clients */
unsigned int ivs_server_peers(const struct ivs_server *server);

/** ivs_server_path() - the path of the server's socket */
const char *ivs_server_path(const struct ivs_server *server);

/** ivs_server_keep_socket_file() - have ivs_server_free() leave the socket file in place */
void ivs_server_keep_socket_file(struct ivs_server *server);

/**
 * ivs_server_free() - stop listening and close all connections; NULL is ignored
 *
 * No leaves are announced: the peers are still there, and their doorbells continue to work. Fds
 * that the service manager has stored stay open there.
 */
void ivs_server_free(struct ivs_server *server);

#endif
