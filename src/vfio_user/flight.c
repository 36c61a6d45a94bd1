/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/flight.h"

#include <sys/socket.h>

#include "base/fd.h"
#include "base/fdpass.h"
#include "daemon/close.h"
#include "vfio_user/private.h"

/* Do not close it here: the session's owner chooses the helper processes that close a VMM's fds. */
static void handle_former(struct ivs_loop_source *source, uint32_t events)
{
	struct ivs_vfu_former *former = IVS_CONTAINER_OF(source, struct ivs_vfu_former, source);

	(void)events;
	former->session->due(former->session->context);
}

void ivs_vfu_flight_init(struct ivs_vfio_user *session)
{
	for (unsigned int i = 0; i < IVS_VFU_FLIGHT_MAX; i++)
		session->formers[i] = (struct ivs_vfu_former){
			.source.handle = handle_former, .session = session, .sock_fd = -1};
}

static void release_former(struct ivs_vfu_former *former)
{
	ivs_loop_remove(&former->source);
	ivs_socket_discard(&former->sock_fd);
}

/* Return: a free slot; NULL if there is none. */
static struct ivs_vfu_former *find_place(struct ivs_vfio_user *session)
{
	for (unsigned int i = 0; i < IVS_VFU_FLIGHT_MAX; i++) {
		if (session->formers[i].sock_fd < 0)
			return &session->formers[i];
	}
	return NULL;
}

bool ivs_vfu_flight_update(struct ivs_vfio_user *session)
{
	for (unsigned int i = 0; i < IVS_VFU_FLIGHT_MAX; i++) {
		struct ivs_vfu_former *former = &session->formers[i];

		if (former->sock_fd >= 0 && !ivs_fdpass_unread(former->sock_fd))
			release_former(former);
	}
	return find_place(session);
}

void ivs_vfu_flight_keep(struct ivs_vfio_user *session, int *sock)
{
	struct ivs_vfu_former *former = find_place(session);

	if (!former) /* this cannot happen: without a slot, no client is connected */
		return;
	(void)shutdown(*sock, SHUT_RDWR);
	former->sock_fd = ivs_fd_take(sock);
	if (ivs_loop_add(session->loop, &former->source, former->sock_fd, EPOLLOUT | EPOLLET) &&
	    ivs_log_allows(&session->log))
		ivs_log(IVS_LOG_WARNING,
			"%s: cannot watch the socket of a client that has left; it stays open "
			"until the next client connects",
			session->name);
}

void ivs_vfu_flight_close(struct ivs_vfio_user *session)
{
	for (unsigned int i = 0; i < IVS_VFU_FLIGHT_MAX; i++)
		release_former(&session->formers[i]);
}
