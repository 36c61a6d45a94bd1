/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMM in a device: one at a time, as long as it is there and says something. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "daemon/close.h"
#include "device/private.h"

IVS_SYSCALLS(ivs_device_syscalls, {"accept4"}, {"accept"}, {"epoll_ctl"}, {"close"});

#define ACCEPT_MAX 16 /* at a time, so that others are served too */
#define ACCEPT_RETRY_MS 50
#define GREET_MS 5000

void ivs_device_vmm_set_migration(struct ivs_device *device)
{
	ivs_vfio_user_set_migration(device->session, ivs_device_is_master(device)
							     ? IVS_VFIO_USER_MIGRATE_MEMORY
							     : IVS_VFIO_USER_MIGRATE_NOT);
}

static void pause_accepting(struct ivs_device *device, int ms)
{
	if (!epoll_ctl(device->epoll_fd, EPOLL_CTL_DEL, device->listener.fd, NULL))
		device->accept_ns = ivs_clock_deadline(ms);
}

/* The kernel lacks something, and no event will tell when it no longer does. */
static void accept_later(struct ivs_device *device, int number)
{
	if (ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING, "%s: cannot accept a VMM: %s", device->name,
			strerrordesc_np(number));
	pause_accepting(device, ACCEPT_RETRY_MS);
}

/* One VMM at a time; others are told at once that there is nothing for them. */
static void take_vmm(struct ivs_device *device, int *fd)
{
	int result = ivs_vfio_user_connect(device->session, fd);

	if (!result) {
		ivs_device_vmm_set_migration(device);
		device->greet_ns = ivs_clock_deadline(GREET_MS);
		if (ivs_log_allows(&device->news))
			ivs_log(IVS_LOG_INFO, "%s: a VMM has connected", device->name);
		return;
	}
	device->totals.turned++;
	ivs_socket_discard(fd);
	if (ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING, "%s: turned somebody away: %s", device->name,
			result < 0 ? strerrordesc_np(-result) : "a VMM is connected already");
}

/* The guest uses the device. */
static void count_vectors(struct ivs_device *device)
{
	const struct ivs_device_server *up = &device->server;

	if (device->counted || !ivs_device_server_has_vectors(device))
		return;
	device->counted = true;
	if (up->greeting.vectors_n != device->opts.doorbells_n && ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: of vectors the server gives each peer %u and the device has %u: only "
			"those that both have are of use",
			device->name, up->greeting.vectors_n, device->opts.doorbells_n);
}

/*
 * Once the guest uses the device, its VMM has asked what it wants to know. One that has not asked about
 * migration migrates without the state, and nobody would notice here.
 */
static void judge_vmm(struct ivs_device *device)
{
	const bool used = device->function.config[PCI_COMMAND] & PCI_COMMAND_MEMORY;

	if (!used)
		return;
	count_vectors(device);
	if (device->judged)
		return;
	device->judged = true;
	if (!ivs_vfio_user_counts(device->session).asked_migration &&
	    ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: the VMM has not asked whether the device can be migrated: do not "
			"migrate its VM, that would lose the device's state",
			device->name);
}

static void lose_vmm(struct ivs_device *device)
{
	device->judged = device->counted = false;
	device->greet_ns = IVS_CLOCK_NEVER;
	device->ended = device->listener.fd < 0;
	ivs_device_server_vmm_gone(device);
}

void ivs_device_vmm_serve(struct ivs_device *device)
{
	struct ivs_error err = {0};
	int result = ivs_vfio_user_serve(device->session, &err);

	if (!result) {
		if (ivs_vfio_user_is_greeted(device->session))
			device->greet_ns = IVS_CLOCK_NEVER;
		judge_vmm(device);
		return;
	}
	if (result == IVS_VFIO_USER_E_GONE && ivs_log_allows(&device->news))
		ivs_log(IVS_LOG_INFO, "%s: the VMM has left", device->name);
	else if (result != IVS_VFIO_USER_E_GONE && ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING, "%s: %s", device->name, err.text);
	lose_vmm(device);
}

/* Return: whether the VMM that was there is gone, but for what it has left to be done. */
static bool has_left(const struct ivs_device *device)
{
	return ivs_vfio_user_is_connected(device->session) &&
	       ivs_vfio_user_has_hung_up(device->session);
}

/* Return: whether the next VMM has to wait for the region of a server: it would be given the old one. */
static bool awaits_region(struct ivs_device *device)
{
	int ms = 0;

	if (!ivs_vfio_user_is_connected(device->session))
		ms = ivs_device_server_region_due_ms(device);
	if (ms)
		pause_accepting(device, ms);
	return ms;
}

/*
 * Who comes after a VMM that has left waits until all that it has left is done, which may take several
 * rounds: other devices are served in between.
 */
void ivs_device_vmm_accept(struct ivs_device *device)
{
	if (has_left(device))
		ivs_device_vmm_serve(device);
	if (awaits_region(device))
		return;
	for (unsigned int i = 0; i < ACCEPT_MAX && device->accept_ns == IVS_CLOCK_NEVER; i++) {
		if (has_left(device)) /* also who took the place just now */
			return;
		IVS_OWNED_FD fd = accept4(device->listener.fd, NULL, NULL,
					  SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0)
			take_vmm(device, &fd);
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR && errno != ECONNABORTED)
			return accept_later(device, errno);
	}
}

/* Who connects and says nothing must not keep the place from a VMM. */
static void check_greeting(struct ivs_device *device)
{
	device->greet_ns = IVS_CLOCK_NEVER;
	if (!ivs_vfio_user_is_connected(device->session) ||
	    ivs_vfio_user_is_greeted(device->session))
		return;
	if (ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING, "%s: the VMM has said nothing for %d s, and is sent away",
			device->name, GREET_MS / 1000);
	ivs_vfio_user_disconnect(device->session);
	lose_vmm(device);
}

int64_t ivs_device_vmm_deadline(const struct ivs_device *device)
{
	return device->accept_ns < device->greet_ns ? device->accept_ns : device->greet_ns;
}

void ivs_device_vmm_tick(struct ivs_device *device)
{
	if (!ivs_clock_left_ms(device->greet_ns))
		check_greeting(device);
	if (ivs_clock_left_ms(device->accept_ns))
		return;
	device->accept_ns = IVS_CLOCK_NEVER;
	if (ivs_device_watch(device, device->listener.fd, DEVICE_LISTENER))
		device->accept_ns = ivs_clock_deadline(ACCEPT_RETRY_MS);
}

void ivs_device_vmm_may_come(struct ivs_device *device)
{
	if (device->accept_ns != IVS_CLOCK_NEVER && !ivs_device_server_is_greeted(device))
		device->accept_ns = 0;
}
