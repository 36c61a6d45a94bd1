/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/error.h"
#include "base/fd.h"
#include "device/private.h"

#define WORKERS 2 /* the VMM can block all workers, but this pool closes only that VMM's fds */
#define VMM 0	  /* the owner of all fds in this pool */

static void serve_vmm(void *context)
{
	ivs_device_vmm_serve(context);
}

static void ring_peer(void *context, unsigned int peer, unsigned int vector)
{
	struct ivs_closer *former = ivs_closer_use(NULL);

	ivs_device_server_ring(context, peer, vector);
	(void)ivs_closer_use(former);
}

/* With a server, only the device that is assigned id 0 can be a master. */
static int check_role(const struct ivs_device *device, struct ivs_error *err)
{
	if (device->opts.role != IVS_DEVICE_MASTER || !device->opts.server ||
	    device->server.last_id <= 0)
		return 0;
	return ivs_error_set(err, IVS_DEVICE_E_SERVER,
			     "a master must be the first client of its server, and this device is "
			     "peer %d: start it before any other client, or without --role master",
			     device->server.last_id);
}

static int init_function(struct ivs_device *device, struct ivs_error *err)
{
	struct ivs_pci_function_options opts = device->opts.function;

	if (device->bar2.len)
		opts.memory_len = device->bar2.len;
	if (ivs_pci_init(&device->function, &opts, err))
		return IVS_DEVICE_E_OPTIONS;
	if (device->server.last_id >= 0)
		ivs_pci_set_id(&device->function, device->server.last_id);
	else
		ivs_pci_set_id(&device->function, device->opts.server ? -1 : 0);
	return 0;
}

static int open_session(struct ivs_device *device, struct ivs_error *err)
{
	struct ivs_vfio_user_options opts = {
		.function = &device->function,
		.name = device->name,
		.loop = device->loop,
		.slow = &device->slow,
		.memory = ivs_device_bar2_memory(device),
		.migration = ivs_device_is_master(device) ? IVS_VFIO_USER_MIGRATE_MEMORY
							  : IVS_VFIO_USER_MIGRATE_NOT,
		.due = serve_vmm,
		.ring = ring_peer,
		.context = device,
	};

	return ivs_vfio_user_new(&opts, &device->session, err);
}

/* Return: 1: @fd listens; 0: @fd is connected; -errno: @fd is not a suitable socket. */
static int is_listening(int fd)
{
	struct sockaddr_un peer;
	socklen_t peer_len = sizeof(peer);
	int domain;
	int type;
	int listening;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len))
		return -errno;
	if (domain != AF_UNIX) /* only UNIX sockets can pass fds and have permissions */
		return -EAFNOSUPPORT;
	if (type != SOCK_STREAM)
		return -EPROTOTYPE;
	if (!listening && getpeername(fd, (struct sockaddr *)&peer, &peer_len))
		return -errno;
	return !!listening;
}

/* An inherited connection stays in opts.socket_fd until the session exists. */
static int adopt_socket(struct ivs_device *device, struct ivs_error *err)
{
	int fd = device->opts.socket_fd;
	int result = is_listening(fd);

	if (result > 0)
		result = ivs_listener_adopt(&device->listener, &device->opts.socket_fd, NULL);
	if (result < 0)
		return ivs_error_errno(err, -result, "cannot use fd %d as a socket", fd);
	return result ? IVS_DEVICE_E_SOCKET : 0;
}

static int open_socket(struct ivs_device *device, struct ivs_error *err)
{
	int result;

	if (!device->opts.socket.path)
		return adopt_socket(device, err);
	result = ivs_listener_open(&device->listener, &device->opts.socket, err);
	return result > 0 ? IVS_DEVICE_E_SOCKET : result;
}

/* Once the device has joined, its id decides whether it can be migrated, and VMMs need not wait. */
static void handle_server(struct ivs_loop_source *source, uint32_t events)
{
	struct ivs_device *device = IVS_CONTAINER_OF(source, struct ivs_device, server.source);

	(void)events;
	if (ivs_device_server_receive(device))
		ivs_device_vmm_update_migration(device);
	ivs_device_vmm_resume_accepting(device);
}

int ivs_device_open(const struct ivs_device_options *opts, struct ivs_device **out,
		    struct ivs_error *err)
{
	struct ivs_device *device = calloc(1, sizeof(*device));
	int result;

	if (!device)
		return ivs_error_errno(err, ENOMEM, "cannot allocate a device");
	device->opts = *opts;
	device->bar2.fd = -1;
	device->bar2.watch = (struct ivs_region_watch)IVS_REGION_WATCH_INIT;
	device->closer = (struct ivs_closer)IVS_CLOSER_INIT(WORKERS, VMM);
	device->listener = (struct ivs_listener)IVS_LISTENER_INIT;
	if (opts->socket.path)
		snprintf(device->name, sizeof(device->name), "%s", opts->socket.path);
	else
		snprintf(device->name, sizeof(device->name), "fd %d", opts->socket_fd);
	ivs_device_vmm_init(device);
	ivs_device_server_init(device, handle_server);
	result = open_socket(device, err);
	if (result) {
		ivs_device_discard(device);
		return result;
	}
	*out = device;
	return 0;
}

int ivs_device_open_closer(struct ivs_device *device, int (*confine)(const void *context),
			   const void *context, struct ivs_error *err)
{
	struct ivs_closer *former = ivs_closer_use(&device->closer);
	int result = ivs_closer_open(confine, context, err);

	(void)ivs_closer_use(former);
	return result;
}

int ivs_device_open_region(struct ivs_device *device, struct ivs_error *err)
{
	return device->opts.region ? ivs_device_bar2_open(device, err) : 0;
}

void ivs_device_close(struct ivs_device *device)
{
	if (!device)
		return;
	ivs_device_vmm_close(device);
	ivs_device_server_close(device);
	ivs_device_bar2_close(device);
	ivs_fd_close(&device->opts.socket_fd);
	free(device);
}

void ivs_device_discard(struct ivs_device *device)
{
	int result = device ? ivs_region_remove(device->bar2.region) : 0;

	if (result)
		ivs_log(IVS_LOG_WARNING, "cannot remove %s: %s",
			ivs_region_path(device->bar2.region), strerrordesc_np(-result));
	ivs_device_close(device);
}

const struct ivs_region *ivs_device_region(const struct ivs_device *device)
{
	return device->bar2.region;
}

const char *ivs_device_name(const struct ivs_device *device)
{
	return device->name;
}

int ivs_device_start(struct ivs_device *device, struct ivs_loop *loop, struct ivs_error *err)
{
	int result;

	device->loop = loop;
	result = ivs_device_server_open(device, err);
	if (!result)
		result = check_role(device, err);
	if (!result)
		result = init_function(device, err);
	if (!result)
		result = open_session(device, err);
	if (result)
		return result;
	result = ivs_device_vmm_start(device);
	return result ? ivs_error_errno(err, -result, "cannot wait for a VMM") : 0;
}
