/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. One thread runs one loop (daemon/loop.h). Each round takes these steps:
 *
 *   1. handle events of clients: drop those that closed the connection or sent data; send due
 *      messages to those whose socket has room again
 *   2. accept new clients
 *   3. store the fds of new clients with the service manager, if there is one
 *      (service_manager.c and handover/clients.c)
 *   4. announce: as long as the roster changes, send every stored client the messages that are
 *      due, until its socket is full: newcomers first, slow clients last. Messages that do not fit,
 *      or for which this round has no time, remain due in the roster
 *   5. reap: drop the clients to which sending failed, and return to step 3
 *   6. close the fds of clients that have left, once all clients that know them have been told
 *      (departed.c)
 *   7. publish the changes in the roster page (--roster)
 *   8. write metrics and serve the control socket. These come last, so that they show the result
 *      of the round
 *
 * Clients are stored before they are announced, so no client is told of another that would be lost
 * in a crash. Client sockets are edge-triggered: a full socket costs nothing until it has room.
 */
#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "daemon/close.h"
#include "daemon/privileges.h"
#include "server/accept.h"
#include "server/announce.h"
#include "server/clients.h"
#include "server/departed.h"
#include "server/flight.h"
#include "server/handover/resume.h"
#include "server/observe/control.h"
#include "server/observe/metrics.h"
#include "server/publish.h"
#include "server/service_manager.h"
#include "server/unread.h"

/* read(2) is for the signalfd. */
IVS_SYSCALLS(ivs_server_syscalls, {"read"}, {"close"});

#define PROGRESS_LINES_MAX 2000 /* maximum in 10 s with -v */
#define OWN_FDS 16u		/* fds that do not belong to clients, with a few to spare */
#define SELF_FDS 3u		/* /proc/self, the directory of the metrics file, a file in use */

static void finish_round(struct ivs_loop_step *step)
{
	struct ivs_server *server = IVS_CONTAINER_OF(step, struct ivs_server, step);

	(void)ivs_server_reap(server); /* make room by dropping clients lost in step 1 */
	ivs_server_accept(server);
	do {
		ivs_server_store_clients(server);
		ivs_server_announce(server);
	} while (ivs_server_reap(server)); /* repeat, because the leaves have to be announced */
	ivs_server_announce_end(server);
	(void)ivs_server_release_departed(server, false);
	ivs_server_publish(server);
}

static void take_signal(struct ivs_loop_source *source, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	if (read(source->fd, &info, sizeof(info)) == sizeof(info))
		IVS_CONTAINER_OF(source, struct ivs_server, signal_source)->signo =
			(int)info.ssi_signo;
}

static unsigned int count_own_fds(const struct ivs_server_options *opts)
{
	unsigned int n = OWN_FDS;

	if (opts->control.path)
		n += IVS_CONTROL_FDS;
	if (opts->control.path || opts->metrics)
		n += SELF_FDS;
	return n;
}

/* Check that there are enough fds for the maximum number of clients. */
static int check_fd_limit(const struct ivs_server_options *opts, struct ivs_error *err)
{
	unsigned long long peers = opts->admission.peers_max;
	unsigned long long each = 1ULL + opts->vectors_n;
	unsigned int own = count_own_fds(opts);
	struct rlimit limit;

	if (!peers || getrlimit(RLIMIT_NOFILE, &limit) || peers * each + own <= limit.rlim_cur)
		return 0;
	return ivs_error_set(err, IVS_SERVER_E_LIMIT,
			     "%llu clients with %u vectors need %llu x (1 + %u) + %u = %llu file "
			     "descriptors, but only %llu are allowed: raise the limit (ulimit -n, "
			     "LimitNOFILE=) or use --max-peers %llu",
			     peers, opts->vectors_n, peers, opts->vectors_n, own,
			     peers * each + own, (unsigned long long)limit.rlim_cur,
			     limit.rlim_cur > own + each
				     ? ((unsigned long long)limit.rlim_cur - own) / each
				     : 1);
}

/*
 * The service manager stores fds under names that contain serial numbers. It may still have fds of
 * a previous server, so choose numbers that the previous server has not used.
 */
static uint64_t first_serial(void)
{
	uint64_t serial;

	if (getrandom(&serial, sizeof(serial), GRND_NONBLOCK) != sizeof(serial))
		serial = (uint64_t)ivs_clock_wall_ms() << 20;
	return serial >> 1;
}

static int open_roster(struct ivs_server *server)
{
	struct ivs_handover *handover = server->handover;
	int result;

	if (handover->resumed)
		return ivs_roster_resume((IVS_ID_MAX + 1), &handover->memory, &server->roster);
	result = ivs_roster_new((IVS_ID_MAX + 1), &handover->memory, &server->roster);
	if (!result)
		ivs_roster_number_from(server->roster, first_serial());
	return result;
}

/* Listen on the socket that a previous server or the service manager passed on, or on a new one. */
static int open_listener(struct ivs_server *server, const struct ivs_listener_options *opts,
			 struct ivs_error *err)
{
	struct stat name;
	IVS_OWNED_FD fd = ivs_handover_take_listener(server->handover, opts->path, &name);
	bool adopted = false;
	int result;

	if (fd >= 0) {
		result = ivs_listener_adopt(&server->listener, &fd, name.st_ino ? &name : NULL);
		if (result < 0)
			return ivs_error_errno(err, -result,
					       "cannot listen on the previous server's socket");
		adopted = !result;
	}
	if (!adopted) {
		result = ivs_listener_open(&server->listener, opts, err);
		if (result)
			return result < 0 ? result : IVS_SERVER_E_SOCKET;
		ivs_handover_store_listener(server->handover, server->listener.fd,
					    &server->listener.ours);
	}
	ivs_listener_refuse_fds(&server->listener);
	return 0;
}

/*
 * Pass on a failure, except after an upgrade: an upgrade must not cost the clients their
 * connections, so the failure is only logged.
 *
 * Return: 0; @code if @result is positive; -errno.
 */
static int require_first_start(const struct ivs_server *server, int result, int code,
			       const struct ivs_error *err)
{
	if (!result)
		return 0;
	if (!server->handover->in_place)
		return result < 0 ? result : code;
	ivs_log(IVS_LOG_WARNING, "continuing despite an error: %s", err->text);
	return 0;
}

static int open_metrics(struct ivs_server *server, const struct ivs_server_options *opts,
			struct ivs_error *err)
{
	int result = 0;

	if (opts->metrics)
		result = ivs_metrics_open(server, opts->metrics, opts->metrics_interval_ms, err);
	if (result && server->handover->in_place)
		ivs_metrics_close(server);
	return require_first_start(server, result, IVS_SERVER_E_METRICS, err);
}

static int open_control(struct ivs_server *server, const struct ivs_server_options *opts,
			struct ivs_error *err)
{
	int result = 0;

	if (opts->control.path)
		result = ivs_server_open_control(server, &opts->control, err);
	return require_first_start(server, result, IVS_SERVER_E_CONTROL, err);
}

/* Call this after open_listener() has made sure that no other server listens on this socket. */
static int open_roster_page(struct ivs_server *server, const struct ivs_server_options *opts,
			    struct ivs_error *err)
{
	int result = ivs_server_open_roster_page(server, opts->roster_peers, err);

	return require_first_start(server, result, IVS_SERVER_E_ROSTER, err);
}

/* Take the steps of ivs_server_new() that can fail. */
static int open_all(struct ivs_server *server, const struct ivs_server_options *opts,
		    struct ivs_error *err)
{
	int result;

	result = check_fd_limit(opts, err);
	if (result)
		return result;
	result = ivs_loop_open(&server->loop);
	if (result)
		return ivs_error_errno(err, -result, "cannot create an epoll instance");
	ivs_loop_add_step(&server->loop, &server->step);
	result = open_roster(server);
	if (result)
		return ivs_error_errno(err, result < 0 ? -result : EINVAL, "cannot start");
	result = ivs_server_open_spare(server);
	if (result)
		return ivs_error_errno(err, -result, "cannot reserve a file descriptor");
	result = open_metrics(server, opts, err);
	if (!result)
		result = open_listener(server, &opts->socket, err);
	if (!result)
		result = open_control(server, opts, err);
	if (result)
		return result;
	result = ivs_server_watch_listener(server);
	if (result)
		return ivs_error_errno(err, -result, "cannot watch sockets");
	ivs_server_resume(server);
	return open_roster_page(server, opts, err);
}

int ivs_server_new(const struct ivs_server_options *opts, struct ivs_server **out,
		   struct ivs_error *err)
{
	struct ivs_server *server = calloc(1, sizeof(*server));
	int result;

	if (!server)
		return ivs_error_errno(err, ENOMEM, "cannot start");
	server->listener.fd = -1;
	server->loop.epoll_fd = -1;
	server->spare_fd = server->reserve_fd = server->proc_self_fd = -1;
	server->step.run = finish_round;
	server->signal_source.handle = take_signal;
	server->announce_timer.handle = ivs_server_announce_again;
	server->rest_timer.handle = ivs_server_announce_rest;
	server->slow_timer.handle = ivs_server_announce_rest;
	server->accept_timer.handle = ivs_server_accept_again;
	server->store_timer.handle = ivs_server_store_again;
	server->notify_timer.handle = ivs_server_notify_manager;
	server->unread_timer.handle = ivs_server_check_reading;
	server->publish_timer.handle = ivs_server_publish_again;
	server->departed_timer.handle = ivs_server_release_again;
	server->barrier_source.fd = -1;
	server->watch = (struct ivs_region_watch)IVS_REGION_WATCH_INIT;
	server->announce_since = IVS_CLOCK_NEVER;
	server->store_since = IVS_CLOCK_NEVER;
	server->departed_end = &server->departed;
	server->region = opts->region;
	server->handover = opts->handover;
	server->region_address = opts->region_address;
	server->vectors_n = opts->vectors_n;
	server->admission = opts->admission;
	ivs_privileges_raise_files(); /* because each client needs 1 + vectors fds */
	ivs_flight_init(server, count_own_fds(opts));
	server->progress.max = PROGRESS_LINES_MAX;
	result = open_all(server, opts, err);
	if (result && server->handover->resumed)
		ivs_server_keep_socket_file(server);
	if (result)
		ivs_server_free(server);
	else
		*out = server;
	return result;
}

void ivs_server_start(struct ivs_server *server)
{
	server->since_ms = ivs_clock_wall_ms();
	server->proc_self_fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (!server->control && !server->metrics)
		return;
	tzset(); /* this reads a file, so do it before chroot(2) */
	ivs_server_reserve(server);
	ivs_metrics_update(server);
}

/* If there is no service manager, no server will resume the connections. */
static void free_clients(struct ivs_server *server)
{
	bool resumable = ivs_service_exists(&server->handover->service);

	for (unsigned int id = 0; id < server->ids_end; id++) {
		struct ivs_client *client = server->clients[id];

		if (client && !resumable)
			ivs_client_hang_up(client);
		else if (client) /* fds can arrive until the service manager closes its copy */
			(void)ivs_fds_release(&client->sock_fd, 1);
		ivs_client_free(client);
	}
	for (unsigned int id = 0; server->seats_n && id <= IVS_ID_MAX; id++) {
		server->seats_n -= server->seats[id] != NULL;
		ivs_client_free(server->seats[id]);
	}
	while (server->departed) {
		struct ivs_client *next = server->departed->next;

		ivs_client_free(server->departed);
		server->departed = next;
	}
	ivs_fd_close(&server->barrier_source.fd);
}

void ivs_server_free(struct ivs_server *server)
{
	if (!server)
		return;
	ivs_server_close_roster_page(server);
	ivs_listener_close(&server->listener);
	ivs_control_close(server->control);
	ivs_metrics_close(server);
	free_clients(server);
	ivs_flight_deinit(server);
	ivs_roster_free(server->roster);
	ivs_loop_close(&server->loop);
	ivs_fd_close(&server->spare_fd);
	ivs_fd_close(&server->reserve_fd);
	ivs_fd_close(&server->proc_self_fd);
	ivs_region_watch_deinit(&server->watch);
	free(server);
}

int ivs_server_list_fds(const struct ivs_server *server, struct ivs_inherited *out)
{
	const struct ivs_control *control = server->control;
	const struct ivs_handover_fds fds = {
		.region = ivs_region_fd(server->region),
		.listener = server->listener.fd,
		.control = control ? ivs_control_listener(control)->fd : -1,
	};

	return ivs_handover_list_fds(server->handover, &fds, server->clients, server->seats,
				     server->departed, out);
}

void ivs_server_keep_socket_file(struct ivs_server *server)
{
	if (server)
		server->listener.ours.st_ino = 0;
}

unsigned int ivs_server_peers(const struct ivs_server *server)
{
	return ivs_roster_peers(server->roster);
}

const char *ivs_server_path(const struct ivs_server *server)
{
	return server->listener.path;
}

int ivs_server_watch_signals(struct ivs_server *server, int signal_fd, struct ivs_error *err)
{
	int result = ivs_loop_add(&server->loop, &server->signal_source, signal_fd, EPOLLIN);

	return result ? ivs_error_errno(err, -result, "cannot watch for signals") : 0;
}

/* Called after chroot(2), which can change the names that the kernel shows for open files. */
static void watch_region(struct ivs_server *server)
{
	const struct ivs_region *region = server->region;

	if (server->watch.fd < 0)
		ivs_region_watch_init(&server->watch, ivs_region_fd(region),
				      ivs_region_size(region), ivs_region_path(region),
				      server->proc_self_fd);
}

int ivs_server_run(struct ivs_server *server, int *signo)
{
	int result = 0;

	server->signo = 0;
	watch_region(server);
	ivs_server_notify_manager(&server->notify_timer);
	finish_round(&server->step); /* no event reports the changes made by resuming */
	while (!result && !server->signo) {
		result = ivs_loop_wait(&server->loop);
		if (!result)
			ivs_loop_dispatch(&server->loop);
	}
	*signo = server->signo;
	return result;
}
