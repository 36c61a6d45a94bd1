/* SPDX-License-Identifier: BSD-3-Clause */
#include "slot/slot.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "slot/state.h"
#include "util/error.h"
#include "util/fd.h"

IVS_SYSCALLS(ivs_slot_syscalls, {"accept4"}, {"accept"}, {"epoll_ctl"}, {"close"});

#define ACCEPT_MAX 16 /* at a time, so that others are served too */
#define ACCEPT_RETRY_MS 50

static void ring(void *context, unsigned int peer, unsigned int vector)
{
	ivs_upstream_ring(context, peer, vector);
}

bool ivs_slot_is_master(const struct ivs_slot *slot)
{
	const bool first = !slot->opts.server || slot->upstream.last_id == 0;

	return slot->opts.role == IVS_SLOT_MASTER || (slot->opts.role == IVS_SLOT_AUTO && first);
}

/* Everything behind the device is known by now. */
static int open_device(struct ivs_slot *slot, struct ivs_error *err)
{
	struct ivs_vfio_user_options opts = {
		.device = &slot->device,
		.name = slot->name,
		.memory = ivs_slot_memory_of(slot),
		.migration = ivs_slot_is_master(slot) ? IVS_VFIO_USER_MIGRATE_MEMORY
						      : IVS_VFIO_USER_MIGRATE_NOT,
		.ring = ring,
		.context = slot,
	};
	int result;

	if (slot->opts.role == IVS_SLOT_MASTER && slot->opts.server && slot->upstream.last_id > 0)
		return ivs_error_set(
			err, IVS_SLOT_E_SERVER,
			"a master must be the first client of its server, and this one "
			"is peer %d: start it before any other, or without --role "
			"master",
			slot->upstream.last_id);
	result = ivs_device_init(&slot->device, &slot->opts.device, err);
	if (result)
		return result;
	if (slot->upstream.last_id >= 0)
		ivs_device_set_id(&slot->device, slot->upstream.last_id);
	else
		ivs_device_set_id(&slot->device, slot->opts.server ? -1 : 0);
	return ivs_vfio_user_new(&opts, &slot->session, err);
}

/* Return: whether @fd listens: 1, or is connected: 0; or -errno: it is no such socket. */
static int is_listening(int fd)
{
	struct sockaddr_un peer;
	socklen_t peer_len = sizeof(peer);
	int type;
	int listening;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
		return -errno;
	if (type != SOCK_STREAM)
		return -EPROTOTYPE;
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len))
		return -errno;
	if (!listening && getpeername(fd, (struct sockaddr *)&peer, &peer_len))
		return -errno;
	return !!listening;
}

/* From whoever started us. */
static int take_socket(struct ivs_slot *slot, struct ivs_error *err)
{
	IVS_OWNED_FD fd = ivs_fd_take(&slot->opts.socket_fd);
	const int number = fd;
	int result = is_listening(fd);

	if (result > 0)
		result = ivs_listener_adopt(&slot->listener, &fd, NULL);
	else if (result == 0)
		result = ivs_vfio_user_connect(slot->session, &fd);
	if (result < 0)
		return ivs_error_errno(err, -result, "cannot use fd %d, which is to be a socket",
				       number);
	return result;
}

static int open_all(struct ivs_slot *slot, struct ivs_error *err)
{
	int result;

	result = ivs_upstream_open(slot, err);
	if (!result && slot->opts.region)
		result = ivs_slot_memory_open(slot, err);
	if (!result)
		result = open_device(slot, err);
	if (result)
		return result;
	if (slot->opts.socket.path)
		return ivs_listener_open(&slot->listener, &slot->opts.socket, err);
	return take_socket(slot, err);
}

int ivs_slot_open(const struct ivs_slot_options *opts, struct ivs_slot **out, struct ivs_error *err)
{
	struct ivs_slot *slot = calloc(1, sizeof(*slot));
	int result;

	if (!slot)
		return ivs_error_errno(err, ENOMEM, "cannot make a device");
	slot->opts = *opts;
	slot->epoll = -1;
	slot->accept_ns = IVS_CLOCK_NEVER;
	slot->memory.fd = -1;
	slot->listener = (struct ivs_listener)IVS_LISTENER_INIT;
	if (opts->socket.path)
		snprintf(slot->name, sizeof(slot->name), "%s", opts->socket.path);
	else
		snprintf(slot->name, sizeof(slot->name), "fd %d", opts->socket_fd);
	result = open_all(slot, err);
	if (result) {
		ivs_slot_discard(slot);
		return result;
	}
	*out = slot;
	return 0;
}

void ivs_slot_close(struct ivs_slot *slot)
{
	if (!slot)
		return;
	ivs_listener_close(&slot->listener);
	ivs_vfio_user_free(slot->session);
	ivs_upstream_close(slot);
	ivs_slot_memory_close(slot);
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

int ivs_slot_begin(struct ivs_slot *slot, int epoll, uint32_t tag)
{
	int result;

	slot->epoll = epoll;
	slot->tag = tag;
	result = ivs_slot_watch(slot, ivs_vfio_user_fd(slot->session), SLOT_SESSION);
	if (!result && slot->listener.fd >= 0)
		result = ivs_slot_watch(slot, slot->listener.fd, SLOT_LISTENER);
	return result ? result : ivs_upstream_begin(slot);
}

/* The kernel lacks something, and no event will tell when it no longer does. */
static void accept_later(struct ivs_slot *slot, int number)
{
	if (ivs_log_allows(&slot->limit))
		ivs_log(IVS_LOG_WARNING, "%s: cannot accept a VMM: %s", slot->name,
			strerrordesc_np(number));
	if (!epoll_ctl(slot->epoll, EPOLL_CTL_DEL, slot->listener.fd, NULL))
		slot->accept_ns = ivs_clock_deadline(ACCEPT_RETRY_MS);
}

/* One VMM at a time; others are told at once that there is nothing for them. */
static void take_vmm(struct ivs_slot *slot, int *fd)
{
	int result = ivs_vfio_user_connect(slot->session, fd);

	if (!result) {
		ivs_log(IVS_LOG_INFO, "%s: a VMM has connected", slot->name);
		return;
	}
	slot->totals.turned++;
	if (ivs_log_allows(&slot->limit))
		ivs_log(IVS_LOG_WARNING, "%s: turned somebody away: %s", slot->name,
			result < 0 ? strerrordesc_np(-result) : "a VMM is connected already");
}

static void accept_vmm(struct ivs_slot *slot)
{
	for (unsigned int i = 0; i < ACCEPT_MAX; i++) {
		IVS_OWNED_FD fd = accept4(slot->listener.fd, NULL, NULL,
					  SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0)
			take_vmm(slot, &fd);
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR && errno != ECONNABORTED)
			return accept_later(slot, errno);
	}
}

/*
 * Once the guest uses the device, its VMM has asked what it wants to know. One that has not asked about
 * migration migrates without the state, and nobody would notice here.
 */
static void judge_vmm(struct ivs_slot *slot)
{
	const bool used = slot->device.config[PCI_COMMAND] & PCI_COMMAND_MEMORY;

	if (slot->judged || !used)
		return;
	slot->judged = true;
	if (!ivs_vfio_user_counts(slot->session).asked_migration)
		ivs_log(ivs_slot_is_master(slot) ? IVS_LOG_WARNING : IVS_LOG_INFO,
			"%s: the VMM has not asked whether the device can be migrated: do not "
			"migrate its VM, that would lose the device's state",
			slot->name);
}

static void serve_vmm(struct ivs_slot *slot)
{
	struct ivs_error err = {0};
	int result = ivs_vfio_user_serve(slot->session, &err);

	if (!result) {
		judge_vmm(slot);
		return;
	}
	slot->judged = false;
	if (result == IVS_VFIO_USER_E_GONE)
		ivs_log(IVS_LOG_INFO, "%s: the VMM has left", slot->name);
	else if (ivs_log_allows(&slot->limit))
		ivs_log(IVS_LOG_WARNING, "%s: %s", slot->name, err.text);
	slot->ended = slot->listener.fd < 0;
	ivs_upstream_vmm_gone(slot);
}

void ivs_slot_handle(struct ivs_slot *slot, uint32_t tag)
{
	if (tag == SLOT_SESSION)
		serve_vmm(slot);
	else if (tag == SLOT_LISTENER)
		accept_vmm(slot);
	else if (tag == SLOT_LINK)
		ivs_upstream_hear(slot);
	else
		ivs_upstream_rung(slot, tag - SLOT_VECTOR);
}

int64_t ivs_slot_deadline(const struct ivs_slot *slot)
{
	const int64_t retry_ns = ivs_upstream_deadline(slot);

	return retry_ns < slot->accept_ns ? retry_ns : slot->accept_ns;
}

void ivs_slot_tick(struct ivs_slot *slot)
{
	if (!ivs_clock_left_ms(ivs_upstream_deadline(slot)))
		ivs_upstream_retry(slot);
	if (ivs_clock_left_ms(slot->accept_ns))
		return;
	slot->accept_ns = IVS_CLOCK_NEVER;
	if (ivs_slot_watch(slot, slot->listener.fd, SLOT_LISTENER))
		slot->accept_ns = ivs_clock_deadline(ACCEPT_RETRY_MS);
}
