/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A session is in one of two states:
 *
 *   listening  EPOLLIN: requests are read, processed and answered. If the socket does not accept a
 *              whole reply, the session changes to answering
 *   answering  EPOLLOUT: the rest of the reply is sent, and no request is read. So a client that
 *              does not read its replies costs the memory of one reply. If the reply has an fd and
 *              the client has not read the last fd, EPOLLOUT | EPOLLET: the socket has room, so
 *              only a new event tells that the client has read it
 *
 * Doorbells and interrupts that a request causes are sent before its reply; log lines are written
 * after it. When a client leaves, the PCI function is reset.
 */
#include "vfio_user/session.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/fdpass.h"
#include "daemon/closer.h"
#include "vfio_user/private.h"

/* Limits of one round, so that other devices are served, too. */
#define MESSAGES_MAX 32
#define ROUND_MS 10
#define RETRY_MS 10 /* delay after the kernel has refused to send */

#define MAPS_MEMORY                                                                                \
	{                                                                                          \
		IVS_ARG_LACKS(3, PROT_EXEC), IVS_ARG_HAS(4, MAP_TYPE, MAP_SHARED)                  \
	}
#define GETS_SEALS                                                                                 \
	{                                                                                          \
		IVS_ARG_IS(2, F_GET_SEALS)                                                         \
	}

/* clang-format off */
IVS_SYSCALLS(ivs_vfio_user_syscalls,
	{"close"}, {"shutdown"},
	/* connection.c, and info.c for an fd to be sent with a reply */
	{"sendmsg"}, IVS_CALL_DUPFD_CLOEXEC,
	/* base/fdpass.c, for connection.c and flight.c */
	{"getsockopt", {IVS_ARG_IS(2, SOL_SOCKET), IVS_ARG_IS(3, SO_MEMINFO)}},
	/* base/eventfd.c, for irqs.c */
	{"poll"}, {"ppoll"}, {"ppoll_time64"}, {"write"}, {"read"}, {"preadv2"},
	{"readlink"}, {"readlinkat"},
	/* memory.c */
	{"pread64"}, {"process_vm_writev", {IVS_ARG_OWN_PID(1)}},
	{"process_vm_readv", {IVS_ARG_OWN_PID(1)}}, {"getpid"}, IVS_CALL_FSTAT,
	/* memory.c, when the memory is replaced */
	{"mmap", MAPS_MEMORY}, {"mmap2", MAPS_MEMORY}, {"munmap"}, {"fstatfs"}, {"fstatfs64"},
	{"fcntl", GETS_SEALS}, {"fcntl64", GETS_SEALS});
/* clang-format on */

static void handle_client(struct ivs_loop_source *source, uint32_t events)
{
	struct ivs_vfio_user *session = IVS_CONTAINER_OF(source, struct ivs_vfio_user, client);

	(void)events;
	session->due(session->context);
}

static void handle_retry(struct ivs_loop_timer *timer)
{
	struct ivs_vfio_user *session = IVS_CONTAINER_OF(timer, struct ivs_vfio_user, retry_timer);

	session->due(session->context);
}

static void handle_resample(struct ivs_loop_source *source, uint32_t events)
{
	(void)events;
	ivs_vfu_irqs_resample(IVS_CONTAINER_OF(source, struct ivs_vfio_user, resample));
}

int ivs_vfio_user_new(const struct ivs_vfio_user_options *opts, struct ivs_vfio_user **out,
		      struct ivs_error *err)
{
	struct ivs_vfio_user *session = calloc(1, sizeof(*session));

	if (!session)
		return ivs_error_errno(err, ENOMEM, "cannot allocate a session");
	json_object_seed(0); /* this opens a file, which the sandbox will not allow later */
	session->function = opts->function;
	session->name = opts->name;
	session->loop = opts->loop;
	session->slow = opts->slow;
	session->due = opts->due;
	session->ring = opts->ring;
	session->context = opts->context;
	session->migration.mode = opts->migration;
	session->client.handle = handle_client;
	session->resample.handle = handle_resample;
	session->retry_timer.handle = handle_retry;
	ivs_vfu_connection_init(&session->connection, opts->slow);
	ivs_vfu_irqs_init(&session->irqs);
	ivs_vfu_flight_init(session);
	ivs_vfu_migration_reset(&session->migration);
	ivs_vfu_memory_open(&session->memory, &opts->memory, opts->function->options.memory_len);
	*out = session;
	return 0;
}

/* Reset everything that the client has changed. */
static void disconnect_client(struct ivs_vfio_user *session)
{
	ivs_slow_begin(session->slow);
	ivs_loop_cancel_timer(&session->retry_timer);
	ivs_loop_remove(&session->client);
	ivs_vfu_irqs_drop(session);
	ivs_vfu_migration_reset(&session->migration);
	if (ivs_vfu_connection_has_unread_fd(&session->connection))
		ivs_vfu_flight_keep(session, &session->connection.sock_fd);
	ivs_vfu_connection_close(&session->connection);
	(void)ivs_slow_check(session->slow); /* the owner calls ivs_slow_pause_ms() */
	ivs_pci_reset(session->function);
	session->watched = 0;
	session->greeted = session->takes_fds = session->dropped = false;
	session->counts.mapped = session->counts.asked_migration = false;
}

void ivs_vfio_user_free(struct ivs_vfio_user *session)
{
	if (!session)
		return;
	disconnect_client(session);
	ivs_vfu_flight_close(session);
	ivs_vfu_memory_close(&session->memory);
	free(session);
}

/* Watch the socket for the event that the session's state needs. Return: 0 or -errno. */
static int watch_client(struct ivs_vfio_user *session)
{
	bool pending = ivs_vfu_connection_is_pending(&session->connection);
	uint32_t events = pending ? EPOLLOUT : EPOLLIN;
	int result;

	if (ivs_loop_timer_is_set(&session->retry_timer))
		events = EPOLLHUP; /* the socket has room, but the kernel refuses to send */
	else if (ivs_vfu_connection_awaits_reader(&session->connection))
		events = EPOLLOUT | EPOLLET;
	if (events == session->watched)
		return 0;
	result = session->watched ? ivs_loop_modify(&session->client, events)
				  : ivs_loop_add(session->loop, &session->client,
						 session->connection.sock_fd, events);
	if (!result)
		session->watched = events;
	return result;
}

int ivs_vfio_user_connect(struct ivs_vfio_user *session, int *sock)
{
	int result;

	if (ivs_vfio_user_is_connected(session))
		return IVS_VFIO_USER_E_BUSY;
	if (!ivs_vfu_flight_update(session))
		return IVS_VFIO_USER_E_UNREAD;
	/* Reset again, because a doorbell may have been received since the last client left. */
	disconnect_client(session);
	result = ivs_fdpass_take_urgent(*sock);
	if (result)
		return result;
	session->connection.sock_fd = *sock;
	result = watch_client(session);
	if (result) {
		session->connection.sock_fd = -1;
		return result;
	}
	*sock = -1;
	session->counts.clients++;
	return 0;
}

/*
 * Do not even watch for the end of the connection, because it would cause an event in each round.
 */
void ivs_vfio_user_pause(struct ivs_vfio_user *session, int ms)
{
	ivs_loop_remove(&session->client);
	session->watched = 0;
	ivs_loop_set_timer(session->loop, &session->retry_timer, ivs_clock_deadline(ms));
}

bool ivs_vfio_user_is_connected(const struct ivs_vfio_user *session)
{
	return session->connection.sock_fd >= 0;
}

bool ivs_vfio_user_is_greeted(const struct ivs_vfio_user *session)
{
	return session->greeted;
}

bool ivs_vfio_user_has_hung_up(const struct ivs_vfio_user *session)
{
	struct pollfd pfd = {.fd = session->connection.sock_fd};

	return poll(&pfd, 1, 0) == 1 && pfd.revents & (POLLHUP | POLLERR);
}

void ivs_vfio_user_disconnect(struct ivs_vfio_user *session)
{
	disconnect_client(session);
}

void ivs_vfio_user_set_migration(struct ivs_vfio_user *session,
				 enum ivs_vfio_user_migration migration)
{
	session->migration.mode = migration;
}

/* Log lines are rate-limited. Unknown commands are not logged, because probing is normal. */
static void log_refused(struct ivs_vfio_user *session, uint16_t command, int error)
{
	char reason[128];

	if (error == ENOTTY || !ivs_log_allows(&session->log))
		return;
	ivs_log(IVS_LOG_WARNING, "%s: refused command %u from the client: %s", session->name,
		command,
		*session->why.text ? session->why.text : strerror_r(error, reason, sizeof(reason)));
}

/* A handler has failed: replace its reply, which may be incomplete, with an error. */
static void refuse_request(struct ivs_vfio_user *session, int error)
{
	session->counts.refused++;
	ivs_vfu_connection_drop_reply(&session->connection);
	(void)ivs_vfu_connection_reply(&session->connection, 0,
				       (uint32_t)error); /* cannot fail: no allocation needed */
}

/* Return: 0, IVS_VFU_CONNECTION_E_*, -errno. */
static int handle_request(struct ivs_vfio_user *session, struct ivs_error *err)
{
	struct ivs_vfu_connection *connection = &session->connection;
	int error, result = 0;

	*session->why.text = '\0';
	session->counts.messages++;
	error = ivs_vfu_handle(session);
	if (error == IVS_VFU_HANGUP)
		return ivs_error_set(err, IVS_VFU_CONNECTION_E_FRAMING, "%s", session->why.text);
	if (error)
		refuse_request(session, error);
	if (connection->header.flags & IVS_VFU_NO_REPLY)
		ivs_vfu_connection_drop_reply(connection);
	ivs_vfu_connection_finish(connection);
	if (connection->has_socket)
		return ivs_error_set(err, IVS_VFU_CONNECTION_E_FRAMING,
				     "the client passed a socket, which no command takes");
	ivs_vfu_irqs_deliver(session);
	if (ivs_vfu_connection_is_pending(connection))
		result = ivs_vfu_connection_send(connection, err);
	if (error)
		log_refused(session, connection->header.command, error);
	return result;
}

/* Send the reply or process the next request. Return: 0, IVS_VFU_CONNECTION_E_*, -errno. */
static int serve_one(struct ivs_vfio_user *session, struct ivs_error *err)
{
	struct ivs_vfu_connection *connection = &session->connection;
	int result;

	if (session->dropped)
		return IVS_VFU_CONNECTION_E_GONE;
	if (ivs_vfu_connection_is_pending(connection))
		return ivs_vfu_connection_send(connection, err);
	result = ivs_vfu_connection_receive(connection, err);
	return result ? result : handle_request(session, err);
}

/*
 * Clean up after a client that has left or has to be disconnected. Return: like
 * ivs_vfio_user_serve().
 */
static int end_client(struct ivs_vfio_user *session, int result, struct ivs_error *err)
{
	disconnect_client(session);
	switch (result) {
	case IVS_VFU_CONNECTION_E_GONE:
		return ivs_error_set(err, IVS_VFIO_USER_E_GONE, "the client closed the connection");
	case IVS_VFU_CONNECTION_E_CUT:
		return ivs_error_set(err, IVS_VFIO_USER_E_CUT,
				     "the client closed the connection in the middle of a message");
	case IVS_VFU_CONNECTION_E_FRAMING:
		return IVS_VFIO_USER_E_PROTOCOL;
	default:
		return result;
	}
}

/*
 * Return: whether time is up, or more fds of the client are waiting to be closed than
 * daemon/closer.h collects. In the latter case the owner of the session decides when to serve the
 * client again.
 */
static bool is_round_over(int64_t until_ns)
{
	return ivs_clock_ns() > until_ns || ivs_closer_kept_n() > IVS_CLOSER_COLLECTED_MAX;
}

int ivs_vfio_user_serve(struct ivs_vfio_user *session, struct ivs_error *err)
{
	int64_t until_ns = ivs_clock_deadline(ROUND_MS);
	int result = 0;

	(void)ivs_vfu_flight_update(session);
	if (!ivs_vfio_user_is_connected(session))
		return 0;
	ivs_vfu_irqs_resample(session);
	for (unsigned int i = 0; i < MESSAGES_MAX && !result; i++) {
		result = serve_one(session, err);
		if (is_round_over(until_ns))
			break;
	}
	if (result == IVS_VFU_CONNECTION_E_LATER)
		ivs_loop_set_timer(session->loop, &session->retry_timer,
				   ivs_clock_deadline(RETRY_MS));
	if (result == IVS_VFU_CONNECTION_E_AGAIN || result == IVS_VFU_CONNECTION_E_LATER ||
	    result == IVS_VFU_CONNECTION_E_UNREAD)
		result = 0;
	if (!result) {
		result = watch_client(session);
		if (result)
			ivs_error_errno(err, -result, "cannot watch the client's socket");
	}
	return result ? end_client(session, result, err) : 0;
}

void ivs_vfio_user_deliver(struct ivs_vfio_user *session)
{
	ivs_vfu_irqs_deliver(session);
}

void ivs_vfio_user_set_memory(struct ivs_vfio_user *session,
			      const struct ivs_vfio_user_memory *memory)
{
	ivs_vfu_memory_close(&session->memory);
	ivs_vfu_memory_open(&session->memory, memory, session->function->options.memory_len);
}

struct ivs_vfio_user_counts ivs_vfio_user_counts(const struct ivs_vfio_user *session)
{
	return session->counts;
}
