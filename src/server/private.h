/* SPDX-License-Identifier: BSD-3-Clause */
/* The inside of a server, for the files that make it: accept.c, tell.c and server.c, which runs them. */
#ifndef IVS_SERVER_PRIVATE_H
#define IVS_SERVER_PRIVATE_H

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "daemon/log.h"
#include "roster/roster.h"
#include "roster_page/writer.h"
#include "server/client.h"
#include "server/server.h"

/* When the kernel lacks something, and no event will tell when it no longer does. */
#define RETRY_MS 50

/* What an epoll event is about: a client's id, or one of these. */
enum ivs_server_tag {
	TAG_LISTENER = (IVS_ID_MAX + 1),
	TAG_SIGNAL,
	TAG_CONTROL, /* the last, because there are IVS_CONTROL_TAGS of it */
};

/* What is to be done at some time: @timers of the server has when, IVS_CLOCK_NEVER: not. */
enum ivs_server_timer {
	TIMER_ANNOUNCE, /* tell again what the kernel had no room for */
	TIMER_ACCEPT,	/* accept again; not set: accepting */
	TIMER_STORE,	/* have the service manager keep or forget what it had no room for */
	TIMER_NOTIFY,	/* let the service manager know that we are alive, and how we are */
	TIMER_CONTROL,	/* likewise at the control socket */
	TIMER_METRICS,	/* look whether they have changed */
	TIMER_PUBLISH,	/* publish again; not set: that succeeded */
	TIMERS_N,
};

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
 * @timers:     by enum ivs_server_timer
 * @announce_next:  with whom to go on telling
 * @announce_since: since when the kernel has had no room
 * @store_since: since when the service manager has not read
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
	int epoll_fd;
	int signal_fd;
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
	int64_t timers[TIMERS_N];
	unsigned int announce_next;
	int64_t announce_since;
	int64_t store_since;
	bool ready;
	struct ivs_log_limit refusals;
	struct ivs_log_limit drops;
	struct ivs_server_totals totals;
};

/** ivs_server_reserve() - have @reserve again; without room for it one goes on without */
static inline void ivs_server_reserve(struct ivs_server *server)
{
	if (server->reserve_fd < 0)
		server->reserve_fd = fcntl(server->epoll_fd, F_DUPFD_CLOEXEC, 0);
}

/** ivs_server_watch() - have the epoll watch @fd. Return: 0 or -errno. */
IVS_MUST_USE static inline int ivs_server_watch(struct ivs_server *server, int fd, uint32_t tag,
						uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u32 = tag};

	return epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

#endif
