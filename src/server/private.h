/* SPDX-License-Identifier: BSD-3-Clause */
/* The state of a server, for the files of this room. */
#ifndef IVS_SERVER_PRIVATE_H
#define IVS_SERVER_PRIVATE_H

#include <errno.h>
#include <fcntl.h>

#include "base/clock.h"
#include "daemon/control.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "region/watch.h"
#include "roster/roster.h"
#include "roster_page/writer.h"
#include "server/client.h"
#include "server/server.h"
#include "server/users.h"

/* Delay before a retry, if the kernel does not report when the cause of a failure is gone. */
#define RETRY_MS 50

/* Numbers that the server keeps in a client's record: see ivs_roster_set_note(). */
enum ivs_server_note {
	NOTE_SINCE,	 /* time at which the client joined, in ms since 1970 */
	NOTE_GENERATION, /* generation at which the roster page listed it; 0: not yet */
	NOTE_PROCESS,	 /* pid of the client, shifted by 32, and uid */
	NOTE_HELD,	 /* the client's seat is not given to others while its process exists */
};

/* Why a connection did not become a client. */
enum ivs_refusal {
	REFUSED_NOT_ALLOWED,
	REFUSED_MAX_PEERS,
	REFUSED_MAX_PEERS_PER_USER,
	REFUSED_MAX_JOINS_PER_USER,
	REFUSED_USER_SHARE, /* this user already has its share of the clients */
	REFUSED_NO_ID,
	REFUSED_NO_FD,
	REFUSED_FAILED, /* a system call failed for another reason */
	REFUSALS_N,
};

/* Why a client was dropped. */
enum ivs_drop {
	DROP_CLOSED,
	DROP_SPOKE,
	DROP_FAILED,
	DROP_COSTLY, /* sending it messages took too much processor time */
	DROPS_N,
};

/**
 * struct ivs_server_totals - counters since the server started
 * @joined:   clients that joined
 * @left:     clients that left, by reason
 * @refused:  connections that were refused, by reason
 * @messages: messages sent to clients
 * @waits:    number of times that the kernel refused more fds in flight
 */
struct ivs_server_totals {
	uint64_t joined;
	uint64_t left[DROPS_N];
	uint64_t refused[REFUSALS_N];
	uint64_t messages;
	uint64_t waits;
};

/**
 * struct ivs_server - the state of a server
 * @spare_fd:   closed when the process is out of fds, so that a connection can be accepted and
 *              closed: a client that is not accepted hangs (in the case of QEMU, with the whole VM)
 * @reserve_fd: closed to free an fd for status and metrics, because clients may have taken all
 *              others; -1: not used
 * @proc_self_fd: /proc/self, or -1
 * @since_ms:   when the server started to serve, in ms since 1970
 * @control:    the control socket, or NULL
 * @metrics:    the metrics file, or NULL
 * @clients:    the clients by id; NULL: no client has this id
 * @ids_end:    all ids in use are below this number
 * @seats:      the vacant seats by id; NULL: the id has no vacant seat (seats.h)
 * @seats_n:    number of vacant seats
 * @fds_max:    number of fds that clients and seats may have
 * @users:      the resources that the clients of each user use
 * @kept:       sockets of former clients that have not read everything
 * @unstored_n: number of clients whose fds the service manager does not have yet
 * @lost_n:     number of clients that are to be dropped in this round: those with a @send_result,
 *              and those whose @cost is excessive
 * @changed:    the roster has changed, so messages may be due to clients
 * @greeted:    in this round a client was sent the last message of its greeting
 * @page:       the roster page; NULL: none
 * @listener_source: events of the listening socket; not in the loop while accepting is paused
 * @pending:    connections may be waiting to be accepted
 * @signo:      the signal that has arrived; 0: none
 * @announce_timer: set while the kernel refuses messages
 * @announce_next:  the id with which announcing continues
 * @newcomers:  there may be clients that have not been sent their greeting
 * @newcomers_next: the id with which greeting continues
 * @rest_timer: set if this round had no time for all messages, so that another round follows
 *              immediately
 * @slow_due:   messages may be due to slow clients (cost.h)
 * @slow_next:  the id with which sending to slow clients continues
 * @slow_timer: set while slow clients are sent nothing
 * @mark:       a point in time before the sends of this round; 0: not taken yet
 * @phase_ns:   when the current phase of the round began (announce.c); 0: none has begun
 * @announce_since: when the kernel began to refuse messages, or when this was last logged
 * @accept_timer:   set while accepting is paused
 * @store_timer:    set while the service manager's socket is full
 * @store_since:    when the service manager's socket was first found full
 * @notify_timer:   set to the time of the next status report to the service manager
 * @unread_timer:   set to the time by which a new client should have read its greeting
 * @publish_timer:  set to the time of the next attempt after publishing has failed
 * @ready:      the service manager has been told that the server is ready
 * @departed:   clients that have left and whose fds are still open (departed.c), the oldest first
 * @departed_end: where the next such client is added
 * @departed_n: number of these clients
 * @departed_due: it may now be possible to close fds of @departed
 * @departed_messages: @totals.messages when @departed was last examined
 * @departed_timer: set while the helper processes that close fds take none
 * @barrier_source: an fd that hangs up when the service manager has dropped those copies of the fds
 *                  of @departed that it has been asked to drop
 * @watch:      the region's file, as it was when the server began to serve
 * @refusals:   one rate limit per reason for log lines that clients can cause by connecting
 * @drops:      rate limit of log lines that clients can cause by being dropped
 * @changes:    rate limit of log lines about changes to the region's file
 * @unread:     rate limit of log lines about clients that do not read
 * @others:     rate limit of log lines that clients can cause in other ways
 * @progress:   rate limit of log lines about joins and leaves
 */
struct ivs_server {
	struct ivs_loop loop;
	struct ivs_loop_step step;
	struct ivs_loop_source signal_source;
	int signo;
	struct ivs_listener listener;
	struct ivs_loop_source listener_source;
	struct ivs_loop_timer accept_timer;
	bool pending;
	int spare_fd;
	int reserve_fd;
	int proc_self_fd;
	const struct ivs_region *region;
	struct ivs_handover *handover;
	const char *region_address;
	struct ivs_admission admission;
	unsigned int vectors_n;
	int64_t since_ms;
	struct ivs_control *control;
	struct ivs_metrics *metrics;
	struct ivs_roster *roster;
	struct ivs_client *clients[IVS_ID_MAX + 1];
	unsigned int ids_end;
	struct ivs_client *seats[IVS_ID_MAX + 1];
	unsigned int seats_n;
	unsigned int fds_max;
	struct ivs_users users;
	struct ivs_kept *kept;
	unsigned int unstored_n;
	unsigned int lost_n;
	bool changed;
	bool greeted;
	struct ivs_loop_timer announce_timer;
	unsigned int announce_next;
	bool newcomers;
	unsigned int newcomers_next;
	struct ivs_loop_timer rest_timer;
	bool slow_due;
	unsigned int slow_next;
	struct ivs_loop_timer slow_timer;
	struct ivs_cost_mark mark;
	int64_t phase_ns;
	int64_t announce_since;
	struct ivs_loop_timer store_timer;
	int64_t store_since;
	struct ivs_loop_timer notify_timer;
	struct ivs_loop_timer unread_timer;
	bool ready;
	struct ivs_roster_page_writer *page;
	struct ivs_loop_timer publish_timer;
	bool publish_failed;
	struct ivs_client *departed;
	struct ivs_client **departed_end;
	unsigned int departed_n;
	bool departed_due;
	uint64_t departed_messages;
	struct ivs_loop_timer departed_timer;
	struct ivs_loop_source barrier_source;
	struct ivs_region_watch watch;
	struct ivs_log_limit refusals[REFUSALS_N];
	struct ivs_log_limit drops;
	struct ivs_log_limit changes;
	struct ivs_log_limit unread;
	struct ivs_log_limit others;
	struct ivs_log_limit progress;
	struct ivs_server_totals totals;
};

/** ivs_server_seat() - the client or the vacant seat that has the eventfds of @id */
static inline const struct ivs_client *ivs_server_seat(const struct ivs_server *server,
						       unsigned int id)
{
	return server->clients[id] ? server->clients[id] : server->seats[id];
}

/** ivs_server_reserve() - open @reserve_fd again, if an fd is free */
static inline void ivs_server_reserve(struct ivs_server *server)
{
	if (server->reserve_fd < 0)
		server->reserve_fd = fcntl(server->loop.epoll_fd, F_DUPFD_CLOEXEC, 0);
}

#endif
