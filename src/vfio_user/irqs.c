/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts as VFIO has them. An eventfd for a vector is its route; without one it stays pending in
 * the device. INTx is level-triggered on an edge-triggered eventfd: it is masked when it is sent, and
 * sent again when the client unmasks and the pin is still raised.
 *
 * More lenient than VFIO in one thing: what is asked to fire and has no eventfd is passed over, whether
 * or not another of its kind has one.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/eventfd.h"
#include "base/fd.h"
#include "vfio_user/private.h"

#define TAKES_MAX 64 /* of an eventfd that is a semaphore; any other is empty after one */
#define BUDGET_MS 100

void ivs_vfu_irqs_init(struct ivs_vfu_irqs *irqs)
{
	*irqs = (struct ivs_vfu_irqs){.intx = {.eventfd = -1, .resample = -1}, .error = -1};
	for (unsigned int i = 0; i < IVS_MSIX_VECTORS_MAX; i++)
		irqs->msix[i] = -1;
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

/* Out of the epoll first: the client has the open file, too, so that closing is not enough. */
static void drop_resample(struct ivs_vfio_user *session)
{
	int *fd = &session->irqs.intx.resample;

	if (*fd >= 0)
		(void)epoll_ctl(session->epoll, EPOLL_CTL_DEL, *fd, NULL);
	ivs_fd_close(fd);
}

static void drop_intx(struct ivs_vfio_user *session)
{
	drop_resample(session);
	ivs_fd_close(&session->irqs.intx.eventfd);
	session->irqs.intx.masked = false;
}

static void set_vector(struct ivs_vfio_user *session, unsigned int vector, int *fd)
{
	ivs_fd_close(&session->irqs.msix[vector]);
	session->irqs.msix[vector] = ivs_fd_take(fd);
	ivs_pci_route(session->function, vector, session->irqs.msix[vector] >= 0);
}

static void drop_vectors(struct ivs_vfio_user *session)
{
	int none = -1;

	for (unsigned int i = 0; i < session->function->options.vectors_n; i++)
		set_vector(session, i, &none);
}

void ivs_vfu_irqs_drop(struct ivs_vfio_user *session)
{
	drop_intx(session);
	drop_vectors(session);
	ivs_fd_close(&session->irqs.error);
}

static void disable(struct ivs_vfio_user *session, uint32_t index)
{
	if (index == IVS_VFU_IRQ_INTX)
		drop_intx(session);
	else if (index == IVS_VFU_IRQ_MSIX)
		drop_vectors(session);
	else if (index == IVS_VFU_IRQ_ERR)
		ivs_fd_close(&session->irqs.error);
}

/* The end of its connection is found by ivs_vfio_user_serve(), which does nothing more for it. */
static void send_away(struct ivs_vfio_user *session, const char *reason)
{
	session->leaving = true;
	(void)shutdown(session->connection.sock, SHUT_RDWR);
	if (ivs_log_allows(&session->log))
		ivs_log(IVS_LOG_WARNING, "%s: the client %s, and is sent away", session->name,
			reason);
}

/*
 * A client whose eventfd cannot be written to loses its interrupts, and nothing else. One that made us
 * wait has to go, before it does so again.
 *
 * Return: whether it is to stay.
 */
static bool fire(struct ivs_vfio_user *session, int fd)
{
	const int result = fd >= 0 ? ivs_eventfd_signal(fd) : -EBADF;

	if (!result)
		session->counts.interrupts++;
	if (result == -EINTR)
		send_away(session, "has filled an eventfd of its and made it blocking");
	return result != -EINTR;
}

/*
 * Writing to an eventfd takes as long as it is watched by many: with some 100,000 epolls tens of ms, and no
 * signal ends it. So all interrupts of one go have this much of the processor, which is a hundred times what
 * they need; a machine that is busy with something else does not count.
 */
struct budget {
	int64_t began_ns;
	int64_t began_cpu_ns;
};

static struct budget begin(void)
{
	return (struct budget){ivs_clock_ns(), ivs_clock_cpu_ns()};
}

/* The clock that needs no system call first. */
static bool is_spent(struct ivs_vfio_user *session, const struct budget *budget)
{
	const int64_t limit_ns = (int64_t)BUDGET_MS * IVS_NS_PER_MS;

	if (ivs_clock_ns() - budget->began_ns < limit_ns ||
	    ivs_clock_cpu_ns() - budget->began_cpu_ns < limit_ns)
		return false;
	send_away(session, "has eventfds that take too long to write to");
	return true;
}

static void deliver_intx(struct ivs_vfio_user *session)
{
	struct ivs_vfu_intx *intx = &session->irqs.intx;

	if (intx->eventfd < 0 || intx->masked || !ivs_pci_intx(session->function))
		return;
	intx->masked = true;
	(void)fire(session, intx->eventfd);
}

void ivs_vfu_irqs_deliver(struct ivs_vfio_user *session)
{
	struct budget budget;
	unsigned int vector;

	if (session->migration.state != IVS_VFU_RUNNING || session->leaving)
		return;
	for (unsigned int n = 0; ivs_pci_next_vector(session->function, &vector); n++) {
		if (n == 1) /* one alone is what it mostly is */
			budget = begin();
		if (!fire(session, session->irqs.msix[vector]) || (n && is_spent(session, &budget)))
			return;
	}
	deliver_intx(session);
}

void ivs_vfu_irqs_resample(struct ivs_vfio_user *session)
{
	struct ivs_vfu_intx *intx = &session->irqs.intx;
	unsigned int taken = 0;

	while (taken < TAKES_MAX && intx->resample >= 0 && ivs_eventfd_take(intx->resample) == 1)
		taken++;
	if (!taken)
		return;
	if (taken == TAKES_MAX)
		send_away(session, "has a resample eventfd that cannot be emptied");
	intx->masked = false;
	ivs_vfu_irqs_deliver(session);
}

/*
 * The fds of the request, of which there are none or enough, for @set->count interrupts. An eventfd,
 * because anything else could make us wait or be killed.
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

/* The fd for the how-many-th interrupt of the request; NULL: its eventfd is taken away. */
static int *given_fd(struct ivs_vfio_user *session, unsigned int i)
{
	return i < session->connection.fds_n ? &session->connection.fds[i] : NULL;
}

static int set_resample(struct ivs_vfio_user *session)
{
	struct epoll_event event = {.events = EPOLLIN};
	int *fd = given_fd(session, 0);

	drop_resample(session);
	if (!fd)
		return 0;
	if (epoll_ctl(session->epoll, EPOLL_CTL_ADD, *fd, &event))
		return errno;
	session->irqs.intx.resample = ivs_fd_take(fd);
	return 0;
}

/* What the resample eventfd and the mask are stays, as with VFIO, until all is disabled. */
static void set_eventfd(struct ivs_vfio_user *session, uint32_t index, unsigned int number, int *fd)
{
	int *ours = index == IVS_VFU_IRQ_INTX ? &session->irqs.intx.eventfd : &session->irqs.error;

	if (index == IVS_VFU_IRQ_MSIX) {
		set_vector(session, number, fd);
		return;
	}
	ivs_fd_close(ours);
	*ours = ivs_fd_take(fd);
}

static int set_eventfds(struct ivs_vfio_user *session, const struct ivs_vfu_set_irqs *set)
{
	int none = -1;

	if (!are_eventfds(session, set->count))
		return EINVAL;
	for (unsigned int i = 0; i < set->count; i++) {
		int *fd = given_fd(session, i);

		set_eventfd(session, set->index, set->start + i, fd ? fd : &none);
	}
	return 0;
}

static int eventfd_of(const struct ivs_vfio_user *session, uint32_t index, unsigned int number)
{
	if (index == IVS_VFU_IRQ_MSIX)
		return session->irqs.msix[number];
	return index == IVS_VFU_IRQ_INTX ? session->irqs.intx.eventfd : session->irqs.error;
}

/* VFIO's loopback: as if the device had. Only where the request's boolean is true, if it has any. */
static int trigger(struct ivs_vfio_user *session, const struct ivs_vfu_set_irqs *set)
{
	const uint8_t *wanted = session->connection.in.bytes + IVS_VFU_SET_IRQS_LEN;
	const struct budget budget = begin();

	for (unsigned int i = 0; i < set->count; i++) {
		if (set->flags & IVS_VFU_SET_BOOL && !wanted[i])
			continue;
		if (!fire(session, eventfd_of(session, set->index, set->start + i)) ||
		    is_spent(session, &budget))
			break;
	}
	return 0;
}

/* MASK and UNMASK: only INTx has them, and only unmasking can be done by an eventfd. */
static int mask(struct ivs_vfio_user *session, const struct ivs_vfu_set_irqs *set)
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

static int change(struct ivs_vfio_user *session, const struct ivs_vfu_set_irqs *set)
{
	unsigned int irqs_n = ivs_vfu_irqs_count(session, set->index);

	if (set->argsz < IVS_VFU_SET_IRQS_LEN || set->index >= IVS_VFU_IRQS_N)
		return EINVAL;
	if (ivs_vfu_disables_all(set)) {
		disable(session, set->index);
		return 0;
	}
	if (!ivs_vfu_check_set_irqs(set, session->connection.in.len, session->connection.fds_n,
				    irqs_n))
		return EINVAL;
	if (!(set->flags & IVS_VFU_SET_TRIGGER))
		return mask(session, set);
	return set->flags & IVS_VFU_SET_EVENTFD ? set_eventfds(session, set)
						: trigger(session, set);
}

int ivs_vfu_set_irqs(struct ivs_vfio_user *session)
{
	const struct ivs_vfu_set_irqs set = ivs_vfu_get_set_irqs(session->connection.in.bytes);
	int error = change(session, &set);

	return error ? error : ivs_vfu_reply_empty(session);
}
