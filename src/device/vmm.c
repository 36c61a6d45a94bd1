/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMM of a device: one at a time, accepted and served. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "daemon/close.h"
#include "device/private.h"

IVS_SYSCALLS(ivs_device_syscalls, {"accept4"}, {"accept"}, {"close"});

#define ACCEPT_MAX 16 /* in a round, so that other devices are served too */
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
	ivs_loop_remove(&device->listener_source);
	ivs_loop_set_timer(device->loop, &device->accept_timer, ivs_clock_deadline(ms));
}

/* The kernel lacks something, and no event tells when it has it again. */
static void accept_later(struct ivs_device *device, int errnum)
{
	if (ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING, "%s: cannot accept a VMM: %s", device->name,
			strerrordesc_np(errnum));
	pause_accepting(device, ACCEPT_RETRY_MS);
}

/* One VMM at a time; others are disconnected at once. */
static void take_vmm(struct ivs_device *device, int *fd)
{
	int result = ivs_vfio_user_connect(device->session, fd);

	if (!result) {
		ivs_device_vmm_set_migration(device);
		ivs_loop_set_timer(device->loop, &device->greet_timer,
				   ivs_clock_deadline(GREET_MS));
		if (ivs_log_allows(&device->info_limit))
			ivs_log(IVS_LOG_INFO, "%s: a VMM has connected", device->name);
		return;
	}
	device->totals.turned++;
	ivs_socket_discard(fd);
	if (ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING, "%s: turned a connection away: %s", device->name,
			result < 0 ? strerrordesc_np(-result) : "a VMM is connected already");
}

static void check_vectors(struct ivs_device *device)
{
	unsigned int assigned_n = device->server.greeting.vectors_n;

	if (device->vectors_checked || !ivs_device_server_has_vectors(device))
		return;
	device->vectors_checked = true;
	if (assigned_n != device->opts.doorbells_n && ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: the server assigns %u vectors per peer but the device has %u; the "
			"surplus is unused",
			device->name, assigned_n, device->opts.doorbells_n);
}

/*
 * When the guest uses the device, its VMM has asked what it wants to know. A VMM that has not asked
 * about migration migrates without the state, and nothing else would show that here.
 */
static void check_vmm(struct ivs_device *device)
{
	if (!(device->function.config[PCI_COMMAND] & PCI_COMMAND_MEMORY))
		return;
	check_vectors(device);
	if (device->vmm_checked)
		return;
	device->vmm_checked = true;
	if (!ivs_vfio_user_counts(device->session).asked_migration &&
	    ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: the VMM has not asked whether the device can be migrated: do not "
			"migrate its VM, that would lose the device's state",
			device->name);
}

static void lose_vmm(struct ivs_device *device)
{
	device->vmm_checked = device->vectors_checked = false;
	ivs_loop_cancel_timer(&device->greet_timer);
	device->ended = device->listener.fd < 0;
	ivs_device_server_vmm_left(device);
}

static void serve_vmm(struct ivs_device *device)
{
	struct ivs_error err = {0};
	int result = ivs_vfio_user_serve(device->session, &err);

	if (!result) {
		if (ivs_vfio_user_is_greeted(device->session))
			ivs_loop_cancel_timer(&device->greet_timer);
		check_vmm(device);
		return;
	}
	if (result == IVS_VFIO_USER_E_GONE && ivs_log_allows(&device->info_limit))
		ivs_log(IVS_LOG_INFO, "%s: the VMM has left", device->name);
	else if (result != IVS_VFIO_USER_E_GONE && ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING, "%s: %s", device->name, err.text);
	lose_vmm(device);
}

static void handle_session(struct ivs_loop_source *source, uint32_t events)
{
	(void)events;
	serve_vmm(IVS_CONTAINER_OF(source, struct ivs_device, session_source));
}

/* Return: whether the connected VMM has hung up, and its last requests are still to be served. */
static bool has_left(const struct ivs_device *device)
{
	return ivs_vfio_user_is_connected(device->session) &&
	       ivs_vfio_user_has_hung_up(device->session);
}

/* Return: whether the next VMM has to wait for a server's region: it would be given the old one. */
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
 * The next VMM waits until the last requests of one that has left are served. This may take several
 * rounds, between which other devices are served.
 */
static void accept_vmms(struct ivs_device *device)
{
	if (has_left(device))
		serve_vmm(device);
	if (awaits_region(device))
		return;
	for (unsigned int i = 0; i < ACCEPT_MAX && device->listener_source.loop; i++) {
		if (has_left(device)) /* one that was accepted just now */
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

static void handle_listener(struct ivs_loop_source *source, uint32_t events)
{
	(void)events;
	accept_vmms(IVS_CONTAINER_OF(source, struct ivs_device, listener_source));
}

static void accept_again(struct ivs_loop_timer *timer)
{
	struct ivs_device *device = IVS_CONTAINER_OF(timer, struct ivs_device, accept_timer);

	if (ivs_loop_add(device->loop, &device->listener_source, device->listener.fd, EPOLLIN))
		ivs_loop_set_timer(device->loop, timer, ivs_clock_deadline(ACCEPT_RETRY_MS));
}

/* A client that connects and sends nothing must not keep VMMs away. */
static void end_silent_vmm(struct ivs_loop_timer *timer)
{
	struct ivs_device *device = IVS_CONTAINER_OF(timer, struct ivs_device, greet_timer);

	if (!ivs_vfio_user_is_connected(device->session) ||
	    ivs_vfio_user_is_greeted(device->session))
		return;
	if (ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING, "%s: the VMM has sent nothing for %d s; disconnecting it",
			device->name, GREET_MS / 1000);
	ivs_vfio_user_disconnect(device->session);
	lose_vmm(device);
}

void ivs_device_vmm_may_come(struct ivs_device *device)
{
	if (ivs_loop_timer_is_set(&device->accept_timer) && !ivs_device_server_is_greeted(device))
		ivs_loop_set_timer(device->loop, &device->accept_timer, 0);
}

void ivs_device_vmm_init(struct ivs_device *device)
{
	device->listener_source.handle = handle_listener;
	device->session_source.handle = handle_session;
	device->accept_timer.handle = accept_again;
	device->greet_timer.handle = end_silent_vmm;
}

int ivs_device_vmm_start(struct ivs_device *device)
{
	int result = ivs_loop_add(device->loop, &device->session_source,
				  ivs_vfio_user_fd(device->session), EPOLLIN);

	if (result)
		return result;
	if (device->listener.fd >= 0)
		return ivs_loop_add(device->loop, &device->listener_source, device->listener.fd,
				    EPOLLIN);
	result = ivs_vfio_user_connect(device->session, &device->opts.socket_fd);
	return result > 0 ? -EBUSY : result; /* no other can be connected yet */
}

void ivs_device_vmm_stop(struct ivs_device *device)
{
	ivs_loop_remove(&device->listener_source);
	ivs_loop_remove(&device->session_source);
	ivs_loop_cancel_timer(&device->accept_timer);
	ivs_loop_cancel_timer(&device->greet_timer);
}
