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

static void ring(void *context, unsigned int peer, unsigned int vector)
{
	ivs_device_server_ring(context, peer, vector);
}

/* A guest that goes on elsewhere finds id 0 there. */
bool ivs_device_is_master(const struct ivs_device *device)
{
	if (device->opts.role == IVS_DEVICE_PEER || device->server.last_id > 0 ||
	    device->opts.access != IVS_DEVICE_WRITES)
		return false;
	return device->opts.role == IVS_DEVICE_MASTER || !device->opts.server ||
	       device->server.last_id == 0;
}

/* Everything behind the device is known by now. */
static int open_device(struct ivs_device *device, struct ivs_error *err)
{
	struct ivs_vfio_user_options opts = {
		.function = &device->function,
		.name = device->name,
		.memory = ivs_device_bar2_of(device),
		.migration = ivs_device_is_master(device) ? IVS_VFIO_USER_MIGRATE_MEMORY
							  : IVS_VFIO_USER_MIGRATE_NOT,
		.ring = ring,
		.context = device,
	};
	struct ivs_pci_function_options function = device->opts.function;
	int result;

	if (device->opts.role == IVS_DEVICE_MASTER && device->opts.server &&
	    device->server.last_id > 0)
		return ivs_error_set(
			err, IVS_DEVICE_E_SERVER,
			"a master must be the first client of its server, and this one "
			"is peer %d: start it before any other, or without --role "
			"master",
			device->server.last_id);
	if (device->memory.len)
		function.memory_len = device->memory.len;
	result = ivs_pci_init(&device->function, &function, err);
	if (result)
		return result;
	if (device->server.last_id >= 0)
		ivs_pci_set_id(&device->function, device->server.last_id);
	else
		ivs_pci_set_id(&device->function, device->opts.server ? -1 : 0);
	return ivs_vfio_user_new(&opts, &device->session, err);
}

/* Return: whether @fd listens: 1, or is connected: 0; or -errno: it is no such socket. */
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
	if (domain != AF_UNIX) /* no fd could be passed, and no permissions guard it */
		return -EAFNOSUPPORT;
	if (type != SOCK_STREAM)
		return -EPROTOTYPE;
	if (!listening && getpeername(fd, (struct sockaddr *)&peer, &peer_len))
		return -errno;
	return !!listening;
}

/* From whoever started us. One that is connected stays where it is until there is a device. */
static int take_socket(struct ivs_device *device, struct ivs_error *err)
{
	const int number = device->opts.socket_fd;
	int result = is_listening(number);

	if (result > 0)
		result = ivs_listener_adopt(&device->listener, &device->opts.socket_fd, NULL);
	if (result < 0)
		return ivs_error_errno(err, -result, "cannot use fd %d, which is to be a socket",
				       number);
	return result;
}

int ivs_device_open(const struct ivs_device_options *opts, struct ivs_device **out,
		    struct ivs_error *err)
{
	struct ivs_device *device = calloc(1, sizeof(*device));
	int result;

	if (!device)
		return ivs_error_errno(err, ENOMEM, "cannot make a device");
	device->opts = *opts;
	device->epoll_fd = -1;
	device->accept_ns = device->greet_ns = IVS_CLOCK_NEVER;
	device->memory.fd = -1;
	device->listener = (struct ivs_listener)IVS_LISTENER_INIT;
	if (opts->socket.path)
		snprintf(device->name, sizeof(device->name), "%s", opts->socket.path);
	else
		snprintf(device->name, sizeof(device->name), "fd %d", opts->socket_fd);
	ivs_device_server_init(device);
	if (opts->socket.path)
		result = ivs_listener_open(&device->listener, &opts->socket, err);
	else
		result = take_socket(device, err);
	if (result) {
		ivs_device_discard(device);
		return result;
	}
	*out = device;
	return 0;
}

int ivs_device_open_region(struct ivs_device *device, struct ivs_error *err)
{
	return device->opts.region ? ivs_device_bar2_open(device, err) : 0;
}

void ivs_device_close(struct ivs_device *device)
{
	if (!device)
		return;
	ivs_listener_close(&device->listener);
	ivs_vfio_user_free(device->session);
	ivs_device_server_close(device);
	ivs_device_bar2_close(device);
	ivs_fd_close(&device->opts.socket_fd);
	free(device);
}

void ivs_device_discard(struct ivs_device *device)
{
	int result = device ? ivs_region_remove(device->memory.region) : 0;

	if (result)
		ivs_log(IVS_LOG_WARNING, "cannot remove %s: %s",
			ivs_region_path(device->memory.region), strerrordesc_np(-result));
	ivs_device_close(device);
}

const char *ivs_device_name(const struct ivs_device *device)
{
	return device->name;
}

const struct ivs_device_options *ivs_device_options(const struct ivs_device *device)
{
	return &device->opts;
}

int ivs_device_watch(struct ivs_device *device, int fd, uint32_t tag)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = device->tag + tag};

	return epoll_ctl(device->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int watch_vmm(struct ivs_device *device, struct ivs_error *err)
{
	int result = ivs_device_watch(device, ivs_vfio_user_fd(device->session), DEVICE_SESSION);

	if (!result && device->listener.fd >= 0)
		result = ivs_device_watch(device, device->listener.fd, DEVICE_LISTENER);
	else if (!result)
		result = ivs_vfio_user_connect(device->session, &device->opts.socket_fd);
	return result ? ivs_error_errno(err, -result, "cannot wait for a VMM") : 0;
}

int ivs_device_start(struct ivs_device *device, int epoll, uint32_t tag, struct ivs_error *err)
{
	int result;

	device->epoll_fd = epoll;
	device->tag = tag;
	result = ivs_device_server_open(device, err);
	if (!result)
		result = open_device(device, err);
	return result ? result : watch_vmm(device, err);
}

static void hear_server(struct ivs_device *device)
{
	ivs_device_server_receive(device);
	ivs_device_vmm_may_come(device);
}

void ivs_device_handle(struct ivs_device *device, uint32_t tag)
{
	if (tag == DEVICE_SESSION)
		ivs_device_vmm_serve(device);
	else if (tag == DEVICE_LISTENER)
		ivs_device_vmm_accept(device);
	else if (tag == DEVICE_LINK)
		hear_server(device);
	else
		ivs_device_server_doorbell(device, tag - DEVICE_VECTOR);
}

int64_t ivs_device_deadline(const struct ivs_device *device)
{
	const int64_t server_ns = ivs_device_server_deadline(device);
	const int64_t vmm_ns = ivs_device_vmm_deadline(device);

	return server_ns < vmm_ns ? server_ns : vmm_ns;
}

void ivs_device_tick(struct ivs_device *device)
{
	if (!ivs_clock_left_ms(ivs_device_server_deadline(device)))
		ivs_device_server_retry(device);
	ivs_device_vmm_tick(device);
}
