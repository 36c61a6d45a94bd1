/* SPDX-License-Identifier: BSD-3-Clause */
/* The VMM in a slot: one at a time, as long as it is there and says something. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "daemon/close.h"
#include "slot/state.h"

IVS_SYSCALLS(ivs_slot_syscalls, {"accept4"}, {"accept"}, {"epoll_ctl"}, {"close"});

#define ACCEPT_MAX 16 /* at a time, so that others are served too */
#define ACCEPT_RETRY_MS 50
#define GREET_MS 5000

void ivs_vmm_set_migration(struct ivs_slot *slot)
{
	ivs_vfio_user_set_migration(slot->session, ivs_slot_is_master(slot)
							   ? IVS_VFIO_USER_MIGRATE_MEMORY
							   : IVS_VFIO_USER_MIGRATE_NOT);
}

static void pause_accepting(struct ivs_slot *slot, int ms)
{
	if (!epoll_ctl(slot->epoll, EPOLL_CTL_DEL, slot->listener.fd, NULL))
		slot->accept_ns = ivs_clock_deadline(ms);
}

/* The kernel lacks something, and no event will tell when it no longer does. */
static void accept_later(struct ivs_slot *slot, int number)
{
	if (ivs_log_allows(&slot->limit))
		ivs_log(IVS_LOG_WARNING, "%s: cannot accept a VMM: %s", slot->name,
			strerrordesc_np(number));
	pause_accepting(slot, ACCEPT_RETRY_MS);
}

/* One VMM at a time; others are told at once that there is nothing for them. */
static void take_vmm(struct ivs_slot *slot, int *fd)
{
	int result = ivs_vfio_user_connect(slot->session, fd);

	if (!result) {
		ivs_vmm_set_migration(slot);
		slot->greet_ns = ivs_clock_deadline(GREET_MS);
		if (ivs_log_allows(&slot->news))
			ivs_log(IVS_LOG_INFO, "%s: a VMM has connected", slot->name);
		return;
	}
	slot->totals.turned++;
	ivs_socket_discard(fd);
	if (ivs_log_allows(&slot->limit))
		ivs_log(IVS_LOG_WARNING, "%s: turned somebody away: %s", slot->name,
			result < 0 ? strerrordesc_np(-result) : "a VMM is connected already");
}

/* The guest uses the device. */
static void count_vectors(struct ivs_slot *slot)
{
	const struct ivs_upstream *up = &slot->upstream;

	if (slot->counted || !ivs_upstream_has_vectors(slot))
		return;
	slot->counted = true;
	if (up->offered_n != slot->opts.doorbells_n && ivs_log_allows(&slot->limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: of vectors the server gives each peer %u and the device has %u: only "
			"those that both have are of use",
			slot->name, up->offered_n, slot->opts.doorbells_n);
}

/*
 * Once the guest uses the device, its VMM has asked what it wants to know. One that has not asked about
 * migration migrates without the state, and nobody would notice here.
 */
static void judge_vmm(struct ivs_slot *slot)
{
	const bool used = slot->function.config[PCI_COMMAND] & PCI_COMMAND_MEMORY;

	if (!used)
		return;
	count_vectors(slot);
	if (slot->judged)
		return;
	slot->judged = true;
	if (!ivs_vfio_user_counts(slot->session).asked_migration && ivs_log_allows(&slot->limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: the VMM has not asked whether the device can be migrated: do not "
			"migrate its VM, that would lose the device's state",
			slot->name);
}

static void lose_vmm(struct ivs_slot *slot)
{
	slot->judged = slot->counted = false;
	slot->greet_ns = IVS_CLOCK_NEVER;
	slot->ended = slot->listener.fd < 0;
	ivs_upstream_vmm_gone(slot);
}

void ivs_vmm_serve(struct ivs_slot *slot)
{
	struct ivs_error err = {0};
	int result = ivs_vfio_user_serve(slot->session, &err);

	if (!result) {
		if (ivs_vfio_user_is_greeted(slot->session))
			slot->greet_ns = IVS_CLOCK_NEVER;
		judge_vmm(slot);
		return;
	}
	if (result == IVS_VFIO_USER_E_GONE && ivs_log_allows(&slot->news))
		ivs_log(IVS_LOG_INFO, "%s: the VMM has left", slot->name);
	else if (result != IVS_VFIO_USER_E_GONE && ivs_log_allows(&slot->limit))
		ivs_log(IVS_LOG_WARNING, "%s: %s", slot->name, err.text);
	lose_vmm(slot);
}

/* Return: whether the VMM that was there is gone, but for what it has left to be done. */
static bool has_left(const struct ivs_slot *slot)
{
	return ivs_vfio_user_is_connected(slot->session) &&
	       ivs_vfio_user_has_hung_up(slot->session);
}

/* Return: whether the next VMM has to wait for the region of a server: it would be given the old one. */
static bool awaits_region(struct ivs_slot *slot)
{
	int ms = 0;

	if (!ivs_vfio_user_is_connected(slot->session))
		ms = ivs_upstream_region_due_ms(slot);
	if (ms)
		pause_accepting(slot, ms);
	return ms;
}

/*
 * Who comes after a VMM that has left waits until all that it has left is done, which may take several
 * rounds: other slots are served in between.
 */
void ivs_vmm_accept(struct ivs_slot *slot)
{
	if (has_left(slot))
		ivs_vmm_serve(slot);
	if (awaits_region(slot))
		return;
	for (unsigned int i = 0; i < ACCEPT_MAX && slot->accept_ns == IVS_CLOCK_NEVER; i++) {
		if (has_left(slot)) /* also who took the place just now */
			return;
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

/* Who connects and says nothing must not keep the place from a VMM. */
static void check_greeting(struct ivs_slot *slot)
{
	slot->greet_ns = IVS_CLOCK_NEVER;
	if (!ivs_vfio_user_is_connected(slot->session) || ivs_vfio_user_is_greeted(slot->session))
		return;
	if (ivs_log_allows(&slot->limit))
		ivs_log(IVS_LOG_WARNING, "%s: the VMM has said nothing for %d s, and is sent away",
			slot->name, GREET_MS / 1000);
	ivs_vfio_user_disconnect(slot->session);
	lose_vmm(slot);
}

int64_t ivs_vmm_deadline(const struct ivs_slot *slot)
{
	return slot->accept_ns < slot->greet_ns ? slot->accept_ns : slot->greet_ns;
}

void ivs_vmm_tick(struct ivs_slot *slot)
{
	if (!ivs_clock_left_ms(slot->greet_ns))
		check_greeting(slot);
	if (ivs_clock_left_ms(slot->accept_ns))
		return;
	slot->accept_ns = IVS_CLOCK_NEVER;
	if (ivs_slot_watch(slot, slot->listener.fd, SLOT_LISTENER))
		slot->accept_ns = ivs_clock_deadline(ACCEPT_RETRY_MS);
}

void ivs_vmm_may_come(struct ivs_slot *slot)
{
	if (slot->accept_ns != IVS_CLOCK_NEVER && !ivs_upstream_is_greeted(slot))
		slot->accept_ns = 0;
}
