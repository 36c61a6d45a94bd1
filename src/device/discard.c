/* SPDX-License-Identifier: BSD-3-Clause */
/* Closing fds that a server has sent, without blocking. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/eventfd.h"
#include "base/fd.h"
#include "daemon/close.h"
#include "device/private.h"

IVS_SYSCALLS(ivs_device_discard_syscalls, {"fcntl", {IVS_ARG_IS(2, F_GETPIPE_SZ)}},
	     {"fcntl64", {IVS_ARG_IS(2, F_GETPIPE_SZ)}});

/* Return: true if closing @fd cannot block, or if the signal of daemon/stall.h interrupts it. */
static bool can_close(const struct ivs_device_server *server, int fd)
{
	struct ivs_received received;
	socklen_t len = sizeof(int);
	int type;

	if (!getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) || fcntl(fd, F_GETPIPE_SZ) >= 0)
		return true;
	/* Check twice, so that a temporary error of readlink(2) does not leave an eventfd open. */
	if (ivs_eventfd_is(fd) || ivs_eventfd_is(fd))
		return true;
	ivs_received_look(&server->mounts, fd, &received);
	return received.kind != IVS_RECEIVED_OTHER || !strcmp(received.file_system, "tmpfs") ||
	       !strcmp(received.file_system, "devtmpfs");
}

/* The high bits of an owner have a meaning (closer_helper.h); user-space addresses lack them. */
static uint64_t owner_of(const struct ivs_device *device)
{
	return (uintptr_t)device;
}

/*
 * Each close(2) of a file in a FUSE file system sends a request to the process that serves it, and
 * no signal interrupts the wait for the reply. So such an fd is left open, and a device does not
 * reconnect to a server that has sent many of them.
 */
static void discard(struct ivs_disposal *disposal, int *fd)
{
	struct ivs_device *device = IVS_CONTAINER_OF(disposal, struct ivs_device, server.disposal);
	struct ivs_device_server *server = &device->server;

	if (device->opts.any_file_system || can_close(server, *fd)) {
		ivs_closer_set_owner(owner_of(device));
		(void)ivs_fd_discard(fd);
		ivs_closer_set_owner(IVS_CLOSER_ANYBODY);
		return;
	}
	(void)ivs_fd_take(fd);
	server->kept_n++;
	if (device->session && ivs_log_allows(&server->limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: the server at %s sent an fd that is neither memory nor a doorbell; it "
			"stays open, because closing it could block this process",
			device->name, device->opts.server);
}

unsigned int ivs_device_discard_waiting_n(const struct ivs_device *device)
{
	return ivs_closer_kept_of(owner_of(device));
}

bool ivs_device_discard_retry(const struct ivs_device *device)
{
	if (ivs_device_discard_waiting_n(device) <= IVS_DEVICE_WAITING_MAX)
		return false;
	(void)ivs_closer_take_kept();
	return ivs_device_discard_waiting_n(device) > IVS_DEVICE_WAITING_MAX;
}

void ivs_device_discard_init(struct ivs_device *device)
{
	device->server.disposal.take = discard;
}

bool ivs_device_discard_keeps_many(const struct ivs_device *device)
{
	return device->server.kept_n >= IVS_DEVICE_KEPT_MAX;
}
