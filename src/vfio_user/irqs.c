/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts as VFIO defines them. The eventfd of a vector is its route; without an eventfd the
 * vector remains pending in the function. INTx is level-triggered, but an eventfd reports only
 * edges. Therefore INTx is masked when it is sent, and sent again if the pin is still raised when
 * the client unmasks it.
 *
 * In one respect this is more lenient than VFIO: TRIGGER skips interrupts without an eventfd, even
 * if no interrupt of the index has an eventfd.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/eventfd.h"
#include "base/fd.h"
#include "daemon/close.h"
#include "vfio_user/private.h"

#define TAKES_MAX 64 /* limit of reads that empty an eventfd; only a semaphore needs many */

void ivs_vfu_irqs_init(struct ivs_vfu_irqs *irqs)
{
	*irqs = (struct ivs_vfu_irqs){.intx = {.trigger_fd = -1, .resample_fd = -1},
				      .error_fd = -1};
	for (unsigned int i = 0; i < IVS_MSIX_VECTORS_MAX; i++)
		irqs->msix_fds[i] = -1;
}

unsigned int ivs_vfu_irqs_count(const struct ivs_vfio_user *session, uint32_t index)
{
	switch (index) {
	case IVS_VFU_IRQ_INTX:
		return ivs_pci_has_pin(session->function) ? 1 : 0;
	case IVS_VFU_IRQ_MSIX:
		return session->function->options.vectors_n;
	case IVS_VFU_IRQ_ERR:
		return 1;
	default:
		return 0;
	}
}

static void drop_resample(struct ivs_vfio_user *session)
{
	ivs_loop_remove(&session->resample);
	ivs_fds_discard(&session->irqs.intx.resample_fd, 1);
}

static void drop_intx(struct ivs_vfio_user *session)
{
	drop_resample(session);
	ivs_fds_discard(&session->irqs.intx.trigger_fd, 1);
	session->irqs.intx.masked = false;
}

static void set_vector(struct ivs_vfio_user *session, unsigned int vector, int *fd)
{
	ivs_fds_discard(&session->irqs.msix_fds[vector], 1);
	session->irqs.msix_fds[vector] = ivs_fd_take(fd);
	ivs_pci_route(session->function, vector, session->irqs.msix_fds[vector] >= 0);
}

static void drop_vectors(struct ivs_vfio_user *session)
{
	unsigned int vectors_n = session->function->options.vectors_n;

	for (unsigned int i = 0; i < vectors_n; i++)
		ivs_pci_route(session->function, i, false);
	ivs_fds_discard(session->irqs.msix_fds, vectors_n);
}

void ivs_vfu_irqs_drop(struct ivs_vfio_user *session)
{
	drop_intx(session);
	drop_vectors(session);
	ivs_fds_discard(&session->irqs.error_fd, 1);
}

static void disable_index(struct ivs_vfio_user *session, uint32_t index)
{
	if (index == IVS_VFU_IRQ_INTX)
		drop_intx(session);
	else if (index == IVS_VFU_IRQ_MSIX)
		drop_vectors(session);
	else if (index == IVS_VFU_IRQ_ERR)
		ivs_fds_discard(&session->irqs.error_fd, 1);
}

/* The next ivs_vfio_user_serve() disconnects the client, and ignores its remaining messages. */
static void drop_client(struct ivs_vfio_user *session, const char *reason)
{
	session->dropped = true;
	(void)shutdown(session->connection.sock_fd, SHUT_RDWR);
	if (ivs_log_allows(&session->log))
		ivs_log(IVS_LOG_WARNING, "%s: the client %s; disconnecting it", session->name,
			reason);
}

/*
 * Drop the client if the calls on its eventfds since ivs_slow_begin() were too slow.
 *
 * Return: whether it is dropped.
 */
static bool drop_slow(struct ivs_vfio_user *session, const char *call)
{
	char reason[64];

	if (!ivs_slow_check(session->slow))
		return false;
	snprintf(reason, sizeof(reason), "has eventfds that take too long to %s", call);
	drop_client(session, reason);
	return true;
}

/*
 * If writing to the eventfd fails, the client loses the interrupt. If writing blocked, drop the
 * client before it makes this process block again.
 *
 * Return: false if the client is dropped.
 */
static bool send_interrupt(struct ivs_vfio_user *session, int fd)
{
	int result = fd >= 0 ? ivs_eventfd_signal(fd) : -EBADF;

	if (!result)
		session->counts.interrupts++;
	if (result == -EINTR)
		drop_client(session, "filled one of its eventfds and made it blocking");
	return result != -EINTR && !drop_slow(session, "write to");
}

static void deliver_intx(struct ivs_vfio_user *session)
{
	struct ivs_vfu_intx *intx = &session->irqs.intx;

	if (intx->trigger_fd < 0 || intx->masked || !ivs_pci_intx(session->function))
		return;
	intx->masked = true;
	(void)send_interrupt(session, intx->trigger_fd);
}

void ivs_vfu_irqs_deliver(struct ivs_vfio_user *session)
{
	unsigned int vector;

	if (session->migration.state != IVS_VFU_RUNNING || session->dropped)
		return;
	ivs_slow_begin(session->slow);
	while (ivs_pci_next_vector(session->function, &vector)) {
		if (!send_interrupt(session, session->irqs.msix_fds[vector]))
			return;
	}
	deliver_intx(session);
}

void ivs_vfu_irqs_resample(struct ivs_vfio_user *session)
{
	struct ivs_vfu_intx *intx = &session->irqs.intx;
	unsigned int taken = 0;

	ivs_slow_begin(session->slow);
	while (taken < TAKES_MAX && intx->resample_fd >= 0 &&
	       ivs_eventfd_take(intx->resample_fd) == 1) {
		taken++;
		if (drop_slow(session, "read"))
			return;
	}
	if (!taken)
		return;
	if (taken == TAKES_MAX)
		drop_client(session, "has a resample eventfd that cannot be emptied");
	intx->masked = false;
	ivs_vfu_irqs_deliver(session);
}

/*
 * Check the first @count fds of the request, if it has any. Only eventfds are accepted, because a
 * write to another kind of file could block or kill this process.
 */
static bool are_eventfds(const struct ivs_vfio_user *session, unsigned int count)
{
	unsigned int fds_n = session->connection.fds_n;

	for (unsigned int i = 0; i < count && i < fds_n; i++) {
		if (!ivs_eventfd_is(session->connection.fds[i]))
			return false;
	}
	return true;
}

/* Return: the fd for the i-th interrupt of the request; NULL: the request removes its eventfd. */
static int *request_fd(struct ivs_vfio_user *session, unsigned int i)
{
	return i < session->connection.fds_n ? &session->connection.fds[i] : NULL;
}

static int set_resample(struct ivs_vfio_user *session)
{
	int *fd = request_fd(session, 0);
	int result;

	drop_resample(session);
	if (!fd)
		return 0;
	result = ivs_loop_add(session->loop, &session->resample, *fd, EPOLLIN);
	if (result)
		return -result;
	session->irqs.intx.resample_fd = ivs_fd_take(fd);
	return 0;
}

/* As in VFIO, the resample eventfd and the mask are kept until the index is disabled. */
static void set_eventfd(struct ivs_vfio_user *session, uint32_t index, unsigned int number, int *fd)
{
	int *ours = index == IVS_VFU_IRQ_INTX ? &session->irqs.intx.trigger_fd
					      : &session->irqs.error_fd;

	if (index == IVS_VFU_IRQ_MSIX) {
		set_vector(session, number, fd);
		return;
	}
	ivs_fds_discard(ours, 1);
	*ours = ivs_fd_take(fd);
}

static int set_eventfds(struct ivs_vfio_user *session, const struct ivs_vfu_set_irqs *set)
{
	int none = -1;

	if (!are_eventfds(session, set->count))
		return EINVAL;
	for (unsigned int i = 0; i < set->count; i++) {
		int *fd = request_fd(session, i);

		set_eventfd(session, set->index, set->start + i, fd ? fd : &none);
	}
	return 0;
}

static int eventfd_of(const struct ivs_vfio_user *session, uint32_t index, unsigned int number)
{
	if (index == IVS_VFU_IRQ_MSIX)
		return session->irqs.msix_fds[number];
	return index == IVS_VFU_IRQ_INTX ? session->irqs.intx.trigger_fd : session->irqs.error_fd;
}

/*
 * VFIO's loopback: send the interrupts of the range or, with booleans, those whose boolean is true.
 */
static int trigger_irqs(struct ivs_vfio_user *session, const struct ivs_vfu_set_irqs *set)
{
	const uint8_t *wanted = session->connection.in.bytes + IVS_VFU_SET_IRQS_LEN;

	ivs_slow_begin(session->slow);
	for (unsigned int i = 0; i < set->count; i++) {
		if (set->flags & IVS_VFU_SET_BOOL && !wanted[i])
			continue;
		if (!send_interrupt(session, eventfd_of(session, set->index, set->start + i)))
			break;
	}
	return 0;
}

/* Only INTx supports MASK and UNMASK, and an eventfd can be set only for UNMASK. */
static int mask_irq(struct ivs_vfio_user *session, const struct ivs_vfu_set_irqs *set)
{
	bool masks = set->flags & IVS_VFU_SET_MASK;

	if (set->index != IVS_VFU_IRQ_INTX)
		return ENOTTY;
	if (set->flags & IVS_VFU_SET_EVENTFD) {
		if (masks)
			return ENOTTY;
		return are_eventfds(session, 1) ? set_resample(session) : EINVAL;
	}
	if (set->flags & IVS_VFU_SET_BOOL && !session->connection.in.bytes[IVS_VFU_SET_IRQS_LEN])
		return 0;
	session->irqs.intx.masked = masks;
	return 0;
}

static int apply_set_irqs(struct ivs_vfio_user *session, const struct ivs_vfu_set_irqs *set)
{
	unsigned int irqs_n = ivs_vfu_irqs_count(session, set->index);

	if (set->argsz < IVS_VFU_SET_IRQS_LEN || set->index >= IVS_VFU_IRQS_N)
		return EINVAL;
	if (ivs_vfu_disables_all(set)) {
		disable_index(session, set->index);
		return 0;
	}
	if (!ivs_vfu_check_set_irqs(set, session->connection.in.len, session->connection.fds_n,
				    irqs_n))
		return EINVAL;
	if (!(set->flags & IVS_VFU_SET_TRIGGER))
		return mask_irq(session, set);
	return set->flags & IVS_VFU_SET_EVENTFD ? set_eventfds(session, set)
						: trigger_irqs(session, set);
}

int ivs_vfu_set_irqs(struct ivs_vfio_user *session)
{
	const struct ivs_vfu_set_irqs set = ivs_vfu_get_set_irqs(session->connection.in.bytes);
	int error = apply_set_irqs(session, &set);

	return error ? error : ivs_vfu_reply_empty(session);
}
