/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMM of a device. At most one is connected; it is disconnected if it sends no messages. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "daemon/close.h"
#include "device/private.h"

IVS_SYSCALLS(ivs_device_syscalls, {"accept4"}, {"accept"}, {"close"});

#define ACCEPT_MAX 16 /* limit per round, so that other devices are served, too */
#define ACCEPT_RETRY_MS 50
#define GREET_MS 5000
/* While more fds of VMMs than this are waiting to be closed, no VMM is served. */
#define KEPT_MAX IVS_CLOSER_COLLECTED_MAX
#define KEPT_RETRY_MS 1000
#define KEPT_PAUSE_MS 10 /* time for helper processes that are merely busy to catch up */
#define KEPT_MS 1000	 /* after this time they count as blocked rather than busy */

void ivs_device_vmm_update_migration(struct ivs_device *device)
{
	ivs_vfio_user_set_migration(device->session, ivs_device_is_master(device)
							     ? IVS_VFIO_USER_MIGRATE_MEMORY
							     : IVS_VFIO_USER_MIGRATE_NOT);
}

static void pause_accepting(struct ivs_device *device, int ms)
{
	ivs_loop_remove(&device->listener_source);
	if (!device->listener_source.loop)
		ivs_loop_set_timer(device->loop, &device->accept_timer, ivs_clock_deadline(ms));
}

static bool is_accepting(const struct ivs_device *device)
{
	return !ivs_loop_timer_is_set(&device->accept_timer);
}

/* Retry later: the kernel lacks a resource, and no event reports when it is available again. */
static void retry_accepting(struct ivs_device *device, int errnum)
{
	if (ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING, "%s: cannot accept a VMM: %s", device->name,
			strerrordesc_np(errnum));
	pause_accepting(device, ACCEPT_RETRY_MS);
}

/*
 * A VMM that slows calls down would do so again if it could reconnect immediately: even closing its
 * connection is such a call.
 */
static void pause_after_slow(struct ivs_device *device)
{
	int ms = ivs_slow_pause_ms(&device->slow);

	if (!ms || device->listener.fd < 0)
		return;
	pause_accepting(device, ms);
	if (ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: not accepting VMMs for %d ms, because system calls on the fds of VMMs "
			"took too long",
			device->name, ms);
}

static void turn_away(struct ivs_device *device, int *fd, const char *reason)
{
	device->totals.turned_away++;
	ivs_slow_begin(&device->slow);
	ivs_socket_discard(fd);
	if (ivs_slow_check(&device->slow))
		pause_after_slow(device);
	if (ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING, "%s: refused a connection: %s", device->name, reason);
}

static bool keeps_many(const struct ivs_device *device)
{
	return device->closer.kept_n > KEPT_MAX;
}

static void retry_closing(struct ivs_device *device)
{
	if (device->closer.kept_n && !ivs_loop_timer_is_set(&device->closer_timer))
		ivs_loop_set_timer(device->loop, &device->closer_timer,
				   ivs_clock_deadline(KEPT_RETRY_MS));
}

/* Return: why a VMM cannot be connected, given the result of ivs_vfio_user_connect(). */
static const char *refusal(int result)
{
	if (result == IVS_VFIO_USER_E_BUSY)
		return "a VMM is already connected";
	if (result == IVS_VFIO_USER_E_UNREAD)
		return "earlier VMMs have neither read the memory's fd nor closed their "
		       "connections: end these processes";
	return strerrordesc_np(-result);
}

/* A second VMM is disconnected immediately, so that it can report the failure. */
static void connect_vmm(struct ivs_device *device, int *fd)
{
	int result;

	if (keeps_many(device) && ivs_closer_take_kept()) {
		turn_away(device, fd, "fds of an earlier VMM cannot be closed yet");
		return;
	}
	result = ivs_vfio_user_connect(device->session, fd);
	if (result) {
		turn_away(device, fd, refusal(result));
		return;
	}
	ivs_device_vmm_update_migration(device);
	ivs_loop_set_timer(device->loop, &device->greet_timer, ivs_clock_deadline(GREET_MS));
	if (ivs_log_allows(&device->info_limit))
		ivs_log(IVS_LOG_INFO, "%s: a VMM has connected", device->name);
}

static void check_vectors(struct ivs_device *device)
{
	const struct ivs_device_server *server = &device->server;

	if (device->vectors_checked || !ivs_device_server_has_vectors(device))
		return;
	device->vectors_checked = true;
	if (server->greeting.vectors_n != device->opts.doorbells_n &&
	    ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: the server assigns %u vectors to each peer and the device has %u; "
			"the surplus is not used",
			device->name, server->greeting.vectors_n, device->opts.doorbells_n);
}

/*
 * When the guest enables memory accesses, the VMM has finished querying the device. If it has not
 * asked about migration, it would migrate the VM without the device's state. The device could not
 * detect that, so warn now.
 */
static void check_vmm(struct ivs_device *device)
{
	bool is_used = device->function.config[PCI_COMMAND] & PCI_COMMAND_MEMORY;

	if (!is_used)
		return;
	check_vectors(device);
	if (device->vmm_checked)
		return;
	device->vmm_checked = true;
	if (!ivs_vfio_user_counts(device->session).asked_migration &&
	    ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: the VMM has not asked whether the device can be migrated: do not "
			"migrate its VM, because that would lose the device's state",
			device->name);
}

static void forget_vmm(struct ivs_device *device)
{
	struct ivs_closer *former;

	device->vmm_checked = device->vectors_checked = false;
	ivs_loop_cancel_timer(&device->greet_timer);
	device->ended = device->listener.fd < 0;
	pause_after_slow(device);
	former = ivs_closer_use(NULL);
	ivs_device_server_vmm_gone(device);
	(void)ivs_closer_use(former);
}

/*
 * The helper processes may be merely busy, so let the VMM wait. But disconnect it before it uses up
 * the fds of this process.
 */
static void check_kept(struct ivs_device *device)
{
	if (!keeps_many(device) || !ivs_vfio_user_is_connected(device->session)) {
		device->kept_until_ns = 0;
		return;
	}
	if (!device->kept_until_ns)
		device->kept_until_ns = ivs_clock_deadline(KEPT_MS);
	if (ivs_clock_ns() < device->kept_until_ns) {
		ivs_vfio_user_pause(device->session, KEPT_PAUSE_MS);
		return;
	}
	if (ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: the VMM delays the closing of its fds, so %u are still open; "
			"disconnecting it",
			device->name, device->closer.kept_n);
	ivs_vfio_user_disconnect(device->session);
	forget_vmm(device);
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
	forget_vmm(device);
}

void ivs_device_vmm_serve(struct ivs_device *device)
{
	struct ivs_closer *former = ivs_closer_use(&device->closer);

	if (keeps_many(device))
		(void)ivs_closer_take_kept();
	if (!keeps_many(device)) {
		ivs_closer_collect(true);
		serve_vmm(device);
		ivs_closer_collect(false);
	}
	check_kept(device);
	retry_closing(device);
	(void)ivs_closer_use(former);
}

/* Return: whether the connected VMM has hung up; unread messages may still be in the socket. */
static bool has_hung_up(const struct ivs_device *device)
{
	return ivs_vfio_user_is_connected(device->session) &&
	       ivs_vfio_user_has_hung_up(device->session);
}

/* Return: whether the next VMM has to wait, because a server is about to send its region. */
static bool awaits_region(struct ivs_device *device)
{
	struct ivs_closer *former = ivs_closer_use(NULL);
	int ms = 0;

	if (!ivs_vfio_user_is_connected(device->session))
		ms = ivs_device_server_region_due_ms(device);
	(void)ivs_closer_use(former);
	if (ms)
		pause_accepting(device, ms);
	return ms;
}

/*
 * After a VMM has hung up, all its messages are processed before the next VMM is accepted. That may
 * take several rounds, because other devices are served in between.
 */
static void accept_vmms(struct ivs_device *device)
{
	if (has_hung_up(device) && keeps_many(device))
		return pause_accepting(device, KEPT_PAUSE_MS);
	if (has_hung_up(device))
		serve_vmm(device);
	if (awaits_region(device))
		return;
	for (unsigned int i = 0; i < ACCEPT_MAX && is_accepting(device); i++) {
		if (has_hung_up(device)) /* a VMM that was just accepted may have hung up, too */
			return;
		IVS_OWNED_FD fd = accept4(device->listener.fd, NULL, NULL,
					  SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0)
			connect_vmm(device, &fd);
		else if (errno == EAGAIN)
			return;
		else if (errno != EINTR && errno != ECONNABORTED)
			return retry_accepting(device, errno);
	}
}

static void handle_listener(struct ivs_loop_source *source, uint32_t events)
{
	struct ivs_device *device = IVS_CONTAINER_OF(source, struct ivs_device, listener_source);
	struct ivs_closer *former = ivs_closer_use(&device->closer);

	(void)events;
	accept_vmms(device);
	retry_closing(device);
	(void)ivs_closer_use(former);
}

/* A VMM that sends nothing must not occupy the device. */
static void handle_greet_timeout(struct ivs_loop_timer *timer)
{
	struct ivs_device *device = IVS_CONTAINER_OF(timer, struct ivs_device, greet_timer);
	struct ivs_closer *former;

	if (!ivs_vfio_user_is_connected(device->session) ||
	    ivs_vfio_user_is_greeted(device->session))
		return;
	if (ivs_log_allows(&device->limit))
		ivs_log(IVS_LOG_WARNING, "%s: the VMM has sent nothing for %d s; disconnecting it",
			device->name, GREET_MS / 1000);
	former = ivs_closer_use(&device->closer);
	ivs_vfio_user_disconnect(device->session);
	forget_vmm(device);
	retry_closing(device);
	(void)ivs_closer_use(former);
}

static void handle_closer_retry(struct ivs_loop_timer *timer)
{
	struct ivs_device *device = IVS_CONTAINER_OF(timer, struct ivs_device, closer_timer);
	struct ivs_closer *former = ivs_closer_use(&device->closer);

	(void)ivs_closer_take_kept();
	retry_closing(device);
	(void)ivs_closer_use(former);
}

static void handle_accept_retry(struct ivs_loop_timer *timer)
{
	struct ivs_device *device = IVS_CONTAINER_OF(timer, struct ivs_device, accept_timer);
	int ms = ivs_slow_pause_ms(&device->slow);

	/* The timer may have been set for another reason. */
	if (ms)
		ivs_loop_set_timer(device->loop, timer, ivs_clock_deadline(ms));
	else if (ivs_loop_add(device->loop, &device->listener_source, device->listener.fd, EPOLLIN))
		ivs_loop_set_timer(device->loop, timer, ivs_clock_deadline(ACCEPT_RETRY_MS));
}

void ivs_device_vmm_resume_accepting(struct ivs_device *device)
{
	if (!is_accepting(device) && !ivs_device_server_is_connected(device))
		ivs_loop_set_timer(device->loop, &device->accept_timer, 0);
}

void ivs_device_vmm_init(struct ivs_device *device)
{
	device->listener_source.handle = handle_listener;
	device->accept_timer.handle = handle_accept_retry;
	device->greet_timer.handle = handle_greet_timeout;
	device->closer_timer.handle = handle_closer_retry;
}

int ivs_device_vmm_start(struct ivs_device *device)
{
	if (device->listener.fd >= 0)
		return ivs_loop_add(device->loop, &device->listener_source, device->listener.fd,
				    EPOLLIN);
	return ivs_vfio_user_connect(device->session, &device->opts.socket_fd);
}

void ivs_device_vmm_close(struct ivs_device *device)
{
	struct ivs_closer *former = ivs_closer_use(&device->closer);

	ivs_loop_cancel_timer(&device->accept_timer);
	ivs_loop_cancel_timer(&device->greet_timer);
	ivs_loop_cancel_timer(&device->closer_timer);
	ivs_loop_remove(&device->listener_source);
	ivs_listener_close(&device->listener);
	ivs_vfio_user_free(device->session);
	device->session = NULL;
	ivs_closer_close();
	(void)ivs_closer_use(former);
}
