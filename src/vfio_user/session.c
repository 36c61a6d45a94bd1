/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A client is either listened to or answered:
 *
 *   listening  EPOLLIN: a request is read to its end and done; its reply leaves at once, if it can
 *   answering  EPOLLOUT: nothing is read, so that who does not read costs one reply
 *
 * Of each request: what it does to others (a doorbell, an interrupt) comes before its reply, and the
 * log after it. A client that is gone leaves nothing behind: the device is reset.
 */
#include "vfio_user/session.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "vfio_user/private.h"

/* In one go, so that other devices are served, too: some messages, or one that takes long. */
#define MESSAGES_MAX 32
#define ROUND_MS 10

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
	{"epoll_ctl"}, {"close"}, {"shutdown"},
	/* connection.c, and info.c for the fd that goes with a reply */
	{"sendmsg"}, IVS_CALL_DUPFD_CLOEXEC,
	/* base/eventfd.c, for irqs.c */
	{"poll"}, {"ppoll"}, {"ppoll_time64"}, {"write"}, {"read"}, {"preadv2"},
	{"readlink"}, {"readlinkat"},
	/* memory.c */
	{"pread64"}, {"process_vm_writev", {IVS_ARG_OWN_PID(1)}}, {"getpid"}, IVS_CALL_FSTAT,
	/* the same, when it is given another memory */
	{"mmap", MAPS_MEMORY}, {"mmap2", MAPS_MEMORY}, {"munmap"}, {"fstatfs"}, {"fstatfs64"},
	{"fcntl", GETS_SEALS}, {"fcntl64", GETS_SEALS});
/* clang-format on */

int ivs_vfio_user_new(const struct ivs_vfio_user_options *opts, struct ivs_vfio_user **out,
		      struct ivs_error *err)
{
	struct ivs_vfio_user *session = calloc(1, sizeof(*session));

	if (!session)
		return ivs_error_errno(err, ENOMEM, "cannot make a device");
	json_object_seed(0); /* now, because it reads a file */
	session->function = opts->function;
	session->name = opts->name;
	session->ring = opts->ring;
	session->context = opts->context;
	session->migration.mode = opts->migration;
	session->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (session->epoll < 0) {
		free(session);
		return ivs_error_errno(err, errno, "cannot make an epoll for a device");
	}
	ivs_vfu_connection_init(&session->connection);
	ivs_vfu_irqs_init(&session->irqs);
	ivs_vfu_migration_reset(&session->migration);
	ivs_vfu_memory_open(&session->memory, &opts->memory, opts->function->options.memory_len);
	*out = session;
	return 0;
}

/*
 * What a client was, and what it did to the device, is gone. Out of the epoll first: whoever handed the
 * socket down to us may have it, too.
 */
static void disconnect(struct ivs_vfio_user *session)
{
	if (session->watched)
		(void)epoll_ctl(session->epoll, EPOLL_CTL_DEL, session->connection.sock, NULL);
	ivs_vfu_irqs_drop(session);
	ivs_vfu_migration_reset(&session->migration);
	ivs_vfu_connection_close(&session->connection);
	ivs_pci_reset(session->function);
	session->watched = 0;
	session->greeted = session->takes_fds = session->leaving = false;
	session->counts.mapped = session->counts.asked_migration = false;
}

void ivs_vfio_user_free(struct ivs_vfio_user *session)
{
	if (!session)
		return;
	disconnect(session);
	ivs_vfu_memory_close(&session->memory);
	ivs_fd_close(&session->epoll);
	free(session);
}

/* Wait for what is needed now. Return: 0 or -errno. */
static int watch(struct ivs_vfio_user *session)
{
	bool pending = ivs_vfu_connection_is_pending(&session->connection);
	struct epoll_event event = {.events = pending ? EPOLLOUT : EPOLLIN};

	if (event.events == session->watched)
		return 0;
	if (epoll_ctl(session->epoll, session->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
		      session->connection.sock, &event))
		return -errno;
	session->watched = event.events;
	return 0;
}

int ivs_vfio_user_connect(struct ivs_vfio_user *session, int *sock)
{
	int result;

	if (ivs_vfio_user_is_connected(session))
		return IVS_VFIO_USER_E_BUSY;
	/* A doorbell may have come in since the last one left. */
	disconnect(session);
	session->connection.sock = *sock;
	result = watch(session);
	if (result) {
		session->connection.sock = -1;
		return result;
	}
	*sock = -1;
	session->counts.clients++;
	return 0;
}

bool ivs_vfio_user_is_connected(const struct ivs_vfio_user *session)
{
	return session->connection.sock >= 0;
}

bool ivs_vfio_user_is_greeted(const struct ivs_vfio_user *session)
{
	return session->greeted;
}

bool ivs_vfio_user_has_hung_up(const struct ivs_vfio_user *session)
{
	struct pollfd pfd = {.fd = session->connection.sock};

	return poll(&pfd, 1, 0) == 1 && pfd.revents & (POLLHUP | POLLERR);
}

void ivs_vfio_user_disconnect(struct ivs_vfio_user *session)
{
	disconnect(session);
}

void ivs_vfio_user_set_migration(struct ivs_vfio_user *session,
				 enum ivs_vfio_user_migration migration)
{
	session->migration.mode = migration;
}

int ivs_vfio_user_fd(const struct ivs_vfio_user *session)
{
	return session->epoll;
}

/* Strangers can cause any number of these. Who asks for what does not exist has asked, no more. */
static void log_refused(struct ivs_vfio_user *session, uint16_t command, int error)
{
	char reason[128];

	if (error == ENOTTY || !ivs_log_allows(&session->log))
		return;
	ivs_log(IVS_LOG_WARNING, "%s: command %u of the client is refused: %s", session->name,
		command,
		*session->why.text ? session->why.text : strerror_r(error, reason, sizeof(reason)));
}

/* A handler has refused: whatever reply it has begun, this is the reply. */
static void refuse(struct ivs_vfio_user *session, int error)
{
	session->counts.refused++;
	ivs_vfu_connection_drop_reply(&session->connection);
	(void)ivs_vfu_connection_reply(&session->connection, 0,
				       (uint32_t)error); /* small: no memory */
}

/* The request has come. Return: 0, IVS_VFU_CONNECTION_E_*, -errno. */
static int handle(struct ivs_vfio_user *session, struct ivs_error *err)
{
	struct ivs_vfu_connection *connection = &session->connection;
	int error, result = 0;

	*session->why.text = '\0';
	session->counts.messages++;
	error = ivs_vfu_handle(session);
	if (error == IVS_VFU_HANGUP)
		return ivs_error_set(err, IVS_VFU_CONNECTION_E_FRAMING, "%s", session->why.text);
	if (error)
		refuse(session, error);
	if (connection->header.flags & IVS_VFU_NO_REPLY)
		ivs_vfu_connection_drop_reply(connection);
	ivs_vfu_connection_finish(connection);
	if (connection->bad_fds)
		return ivs_error_set(err, IVS_VFU_CONNECTION_E_FRAMING,
				     "a socket came, of which there is no use");
	ivs_vfu_irqs_deliver(session);
	if (ivs_vfu_connection_is_pending(connection))
		result = ivs_vfu_connection_send(connection, err);
	if (error)
		log_refused(session, connection->header.command, error);
	return result;
}

/* The next thing to do. Return: 0, there may be more; IVS_VFU_CONNECTION_E_*, -errno. */
static int serve_one(struct ivs_vfio_user *session, struct ivs_error *err)
{
	struct ivs_vfu_connection *connection = &session->connection;
	int result;

	if (session->leaving)
		return IVS_VFU_CONNECTION_E_GONE;
	if (ivs_vfu_connection_is_pending(connection))
		return ivs_vfu_connection_send(connection, err);
	result = ivs_vfu_connection_receive(connection, err);
	return result ? result : handle(session, err);
}

/* The client is gone, or has to go. Return: what ivs_vfio_user_serve() does. */
static int end(struct ivs_vfio_user *session, int result, struct ivs_error *err)
{
	disconnect(session);
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

int ivs_vfio_user_serve(struct ivs_vfio_user *session, struct ivs_error *err)
{
	const int64_t until = ivs_clock_deadline(ROUND_MS);
	int result = 0;

	if (!ivs_vfio_user_is_connected(session))
		return 0;
	ivs_vfu_irqs_resample(session);
	for (unsigned int i = 0; i < MESSAGES_MAX && !result; i++) {
		result = serve_one(session, err);
		if (ivs_clock_ns() > until)
			break;
	}
	if (result == IVS_VFU_CONNECTION_E_AGAIN)
		result = 0;
	if (!result) {
		result = watch(session);
		if (result)
			ivs_error_errno(err, -result, "cannot watch the client's socket");
	}
	return result ? end(session, result, err) : 0;
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
