/* SPDX-License-Identifier: BSD-3-Clause */
/* The inside of a server, for the files that make it: accept.c, tell.c and server.c, which runs them. */
#ifndef IVS_SERVER_PRIVATE_H
#define IVS_SERVER_PRIVATE_H

#include <errno.h>
#include <fcntl.h>

#include "base/clock.h"
#include "daemon/control.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "roster/roster.h"
#include "roster_page/writer.h"
#include "server/client.h"
#include "server/server.h"

/* When the kernel lacks something, and no event will tell when it no longer does. */
#define RETRY_MS 50

/* What the roster keeps with a client for us. */
enum ivs_server_note {
	NOTE_SINCE,	 /* when it came, in ms since 1970 */
	NOTE_GENERATION, /* at which it came into the roster in the region; 0: it has not */
};

/* Why somebody who connected did not become a client. */
enum ivs_refusal {
	REFUSED_NOT_ALLOWED,
	REFUSED_MAX_PEERS,
	REFUSED_MAX_PEERS_PER_USER,
	REFUSED_NO_ID,
	REFUSED_NO_FD,
	REFUSED_FAILED, /* the kernel lacked something else */
	REFUSALS_N,
};

/* Why a client is none any more. */
enum ivs_drop {
	DROP_CLOSED,
	DROP_SPOKE,
	DROP_FAILED,
	DROPS_N,
};

/**
 * struct ivs_server_totals - since the server began
 * @messages: that have left
 * @waits:    how often the kernel refused to take more fds in flight
 */
struct ivs_server_totals {
	uint64_t joined;
	uint64_t left[DROPS_N];
	uint64_t refused[REFUSALS_N];
	uint64_t messages;
	uint64_t waits;
};

/**
 * struct ivs_server - everything that a server has
 * @spare_fd:      an fd to give up when there are none left, so that a connection can be accepted and
 *              closed: a client that is kept waiting hangs (QEMU does, with its whole VM)
 * @reserve_fd:    another, for looking at oneself when clients have taken all; -1: nobody looks
 * @proc_self_fd:       /proc/self, or -1
 * @since_ms:   when it began to serve, in ms since 1970
 * @control:    the control socket, or NULL
 * @metrics:    the file of metrics, or NULL
 * @clients:    by id
 * @ids_end:    all ids in use are below it
 * @changed:    the roster has changed: everybody may have something to be told
 * @page:       the roster that is published in the region; NULL: none is
 * @listener_source: not in the loop while accepting is paused; connections wait if @pending
 * @signo:      a signal that arrived; 0: none
 * @announce_timer: set while the kernel takes no messages
 * @announce_next:  with whom to go on telling
 * @announce_since: since when the kernel has had no room
 * @accept_timer: set while accepting is paused
 * @store_timer: set while the service manager has no room for fds or names
 * @store_since: since when the service manager has not read
 * @notify_timer: next message to the service manager
 * @publish_timer: set while publishing fails
 * @ready:      the service manager knows that we serve
 * @refusals:   whoever connects in a loop must not fill the log
 * @drops:      nor whoever speaks in one
 */
struct ivs_server {
	struct ivs_listener listener;
	const struct ivs_region *region;
	struct ivs_handover *handover;
	const char *region_address;
	struct ivs_admission admission;
	unsigned int vectors_n;
	struct ivs_roster *roster;
	struct ivs_loop loop;
	struct ivs_loop_step step;
	struct ivs_loop_source listener_source;
	bool pending;
	struct ivs_loop_source signal_source;
	int signo;
	int spare_fd;
	int reserve_fd;
	int proc_self_fd;
	int64_t since_ms;
	struct ivs_control *control;
	struct ivs_metrics *metrics;
	struct ivs_client *clients[(IVS_ID_MAX + 1)];
	unsigned int ids_end;
	bool changed;
	struct ivs_roster_page_writer *page;
	struct ivs_loop_timer announce_timer;
	unsigned int announce_next;
	int64_t announce_since;
	struct ivs_loop_timer accept_timer;
	struct ivs_loop_timer store_timer;
	int64_t store_since;
	struct ivs_loop_timer notify_timer;
	struct ivs_loop_timer publish_timer;
	bool publish_failed;
	bool ready;
	struct ivs_log_limit refusals;
	struct ivs_log_limit drops;
	struct ivs_server_totals totals;
};

/** ivs_server_reserve() - have @reserve again; without room for it one goes on without */
static inline void ivs_server_reserve(struct ivs_server *server)
{
	if (server->reserve_fd < 0)
		server->reserve_fd = fcntl(server->loop.epoll_fd, F_DUPFD_CLOEXEC, 0);
}

#endif
