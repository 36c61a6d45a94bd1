/* SPDX-License-Identifier: BSD-3-Clause */
#include "slot/slot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/error.h"
#include "base/fd.h"
#include "slot/state.h"

static void ring(void *context, unsigned int peer, unsigned int vector)
{
	ivs_upstream_ring(context, peer, vector);
}

/* A guest that goes on elsewhere finds id 0 there. */
bool ivs_slot_is_master(const struct ivs_slot *slot)
{
	if (slot->opts.role == IVS_SLOT_PEER || slot->upstream.last_id > 0 ||
	    slot->opts.access != IVS_SLOT_WRITES)
		return false;
	return slot->opts.role == IVS_SLOT_MASTER || !slot->opts.server ||
	       slot->upstream.last_id == 0;
}

/* Everything behind the device is known by now. */
static int open_device(struct ivs_slot *slot, struct ivs_error *err)
{
	struct ivs_vfio_user_options opts = {
		.function = &slot->function,
		.name = slot->name,
		.memory = ivs_slot_memory_of(slot),
		.migration = ivs_slot_is_master(slot) ? IVS_VFIO_USER_MIGRATE_MEMORY
						      : IVS_VFIO_USER_MIGRATE_NOT,
		.ring = ring,
		.context = slot,
	};
	struct ivs_pci_function_options device = slot->opts.function;
	int result;

	if (slot->opts.role == IVS_SLOT_MASTER && slot->opts.server && slot->upstream.last_id > 0)
		return ivs_error_set(
			err, IVS_SLOT_E_SERVER,
			"a master must be the first client of its server, and this one "
			"is peer %d: start it before any other, or without --role "
			"master",
			slot->upstream.last_id);
	if (slot->memory.len)
		device.memory_len = slot->memory.len;
	result = ivs_pci_init(&slot->function, &device, err);
	if (result)
		return result;
	if (slot->upstream.last_id >= 0)
		ivs_pci_set_id(&slot->function, slot->upstream.last_id);
	else
		ivs_pci_set_id(&slot->function, slot->opts.server ? -1 : 0);
	return ivs_vfio_user_new(&opts, &slot->session, err);
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
static int take_socket(struct ivs_slot *slot, struct ivs_error *err)
{
	const int number = slot->opts.socket_fd;
	int result = is_listening(number);

	if (result > 0)
		result = ivs_listener_adopt(&slot->listener, &slot->opts.socket_fd, NULL);
	if (result < 0)
		return ivs_error_errno(err, -result, "cannot use fd %d, which is to be a socket",
				       number);
	return result;
}

int ivs_slot_open(const struct ivs_slot_options *opts, struct ivs_slot **out, struct ivs_error *err)
{
	struct ivs_slot *slot = calloc(1, sizeof(*slot));
	int result;

	if (!slot)
		return ivs_error_errno(err, ENOMEM, "cannot make a device");
	slot->opts = *opts;
	slot->epoll = -1;
	slot->accept_ns = slot->greet_ns = IVS_CLOCK_NEVER;
	slot->memory.fd = -1;
	slot->listener = (struct ivs_listener)IVS_LISTENER_INIT;
	if (opts->socket.path)
		snprintf(slot->name, sizeof(slot->name), "%s", opts->socket.path);
	else
		snprintf(slot->name, sizeof(slot->name), "fd %d", opts->socket_fd);
	ivs_upstream_init(slot);
	if (opts->socket.path)
		result = ivs_listener_open(&slot->listener, &opts->socket, err);
	else
		result = take_socket(slot, err);
	if (result) {
		ivs_slot_discard(slot);
		return result;
	}
	*out = slot;
	return 0;
}

int ivs_slot_open_region(struct ivs_slot *slot, struct ivs_error *err)
{
	return slot->opts.region ? ivs_slot_memory_open(slot, err) : 0;
}

void ivs_slot_close(struct ivs_slot *slot)
{
	if (!slot)
		return;
	ivs_listener_close(&slot->listener);
	ivs_vfio_user_free(slot->session);
	ivs_upstream_close(slot);
	ivs_slot_memory_close(slot);
	ivs_fd_close(&slot->opts.socket_fd);
	free(slot);
}

void ivs_slot_discard(struct ivs_slot *slot)
{
	int result = slot ? ivs_region_remove(slot->memory.region) : 0;

	if (result)
		ivs_log(IVS_LOG_WARNING, "cannot remove %s: %s",
			ivs_region_path(slot->memory.region), strerrordesc_np(-result));
	ivs_slot_close(slot);
}

const char *ivs_slot_name(const struct ivs_slot *slot)
{
	return slot->name;
}

const struct ivs_slot_options *ivs_slot_options(const struct ivs_slot *slot)
{
	return &slot->opts;
}

int ivs_slot_watch(struct ivs_slot *slot, int fd, uint32_t tag)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = slot->tag + tag};

	return epoll_ctl(slot->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int watch_vmm(struct ivs_slot *slot, struct ivs_error *err)
{
	int result = ivs_slot_watch(slot, ivs_vfio_user_fd(slot->session), SLOT_SESSION);

	if (!result && slot->listener.fd >= 0)
		result = ivs_slot_watch(slot, slot->listener.fd, SLOT_LISTENER);
	else if (!result)
		result = ivs_vfio_user_connect(slot->session, &slot->opts.socket_fd);
	return result ? ivs_error_errno(err, -result, "cannot wait for a VMM") : 0;
}

int ivs_slot_begin(struct ivs_slot *slot, int epoll, uint32_t tag, struct ivs_error *err)
{
	int result;

	slot->epoll = epoll;
	slot->tag = tag;
	result = ivs_upstream_open(slot, err);
	if (!result)
		result = open_device(slot, err);
	return result ? result : watch_vmm(slot, err);
}

static void hear_server(struct ivs_slot *slot)
{
	ivs_upstream_hear(slot);
	ivs_vmm_may_come(slot);
}

void ivs_slot_handle(struct ivs_slot *slot, uint32_t tag)
{
	if (tag == SLOT_SESSION)
		ivs_vmm_serve(slot);
	else if (tag == SLOT_LISTENER)
		ivs_vmm_accept(slot);
	else if (tag == SLOT_LINK)
		hear_server(slot);
	else
		ivs_upstream_rung(slot, tag - SLOT_VECTOR);
}

int64_t ivs_slot_deadline(const struct ivs_slot *slot)
{
	const int64_t server_ns = ivs_upstream_deadline(slot);
	const int64_t vmm_ns = ivs_vmm_deadline(slot);

	return server_ns < vmm_ns ? server_ns : vmm_ns;
}

void ivs_slot_tick(struct ivs_slot *slot)
{
	if (!ivs_clock_left_ms(ivs_upstream_deadline(slot)))
		ivs_upstream_retry(slot);
	ivs_vmm_tick(slot);
}
