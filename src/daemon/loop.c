/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/loop.h"

#include <errno.h>

#include "base/fd.h"

IVS_SYSCALLS(ivs_loop_syscalls, IVS_CALL_EPOLL_WAIT, {"epoll_ctl"});

int ivs_loop_open(struct ivs_loop *loop)
{
	*loop = (struct ivs_loop)IVS_LOOP_INIT;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return loop->epoll_fd < 0 ? -errno : 0;
}

void ivs_loop_close(struct ivs_loop *loop)
{
	ivs_fd_close(&loop->epoll_fd);
}

int ivs_loop_add(struct ivs_loop *loop, struct ivs_loop_source *source, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event))
		return -errno;
	source->loop = loop;
	source->fd = fd;
	return 0;
}

int ivs_loop_modify(struct ivs_loop_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	return epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) ? -errno : 0;
}

void ivs_loop_remove(struct ivs_loop_source *source)
{
	struct ivs_loop *loop = source->loop;

	if (!loop)
		return;
	if (!epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL))
		source->loop = NULL;
	for (unsigned int i = loop->handled_n; i < loop->events_n; i++) {
		if (loop->events[i].data.ptr == source)
			loop->events[i].data.ptr = NULL;
	}
}

void ivs_loop_cancel_timer(struct ivs_loop_timer *timer)
{
	if (!timer->link)
		return;
	*timer->link = timer->next;
	if (timer->next)
		timer->next->link = timer->link;
	timer->next = NULL;
	timer->link = NULL;
}

void ivs_loop_set_timer(struct ivs_loop *loop, struct ivs_loop_timer *timer, int64_t at_ns)
{
	struct ivs_loop_timer **link = &loop->timers;

	ivs_loop_cancel_timer(timer);
	if (at_ns == IVS_CLOCK_NEVER)
		return;
	while (*link && (*link)->at_ns <= at_ns)
		link = &(*link)->next;
	timer->at_ns = at_ns;
	timer->next = *link;
	timer->link = link;
	if (timer->next)
		timer->next->link = &timer->next;
	*link = timer;
}

void ivs_loop_add_step(struct ivs_loop *loop, struct ivs_loop_step *step)
{
	struct ivs_loop_step **link = &loop->steps;

	while (*link)
		link = &(*link)->next;
	step->next = NULL;
	*link = step;
}

void ivs_loop_remove_step(struct ivs_loop *loop, struct ivs_loop_step *step)
{
	struct ivs_loop_step **link = &loop->steps;

	while (*link && *link != step)
		link = &(*link)->next;
	if (*link)
		*link = step->next;
}

int64_t ivs_loop_deadline(const struct ivs_loop *loop)
{
	return loop->timers ? loop->timers->at_ns : IVS_CLOCK_NEVER;
}

int ivs_loop_wait(struct ivs_loop *loop)
{
	int n = epoll_wait(loop->epoll_fd, loop->events, IVS_LOOP_EVENTS_MAX,
			   ivs_clock_left_ms(ivs_loop_deadline(loop)));

	loop->handled_n = 0;
	loop->events_n = n < 0 ? 0 : (unsigned int)n;
	return n < 0 && errno != EINTR ? -errno : 0;
}

static void dispatch_events(struct ivs_loop *loop)
{
	while (loop->handled_n < loop->events_n) {
		const struct epoll_event *event = &loop->events[loop->handled_n++];
		struct ivs_loop_source *source = event->data.ptr;

		if (source)
			source->handle(source, event->events);
	}
}

/* A handler that sets its timer again, even to a past time, runs again only in the next round. */
static void dispatch_timers(struct ivs_loop *loop)
{
	int64_t now_ns = ivs_clock_ns();
	struct ivs_loop_timer **end = &loop->timers;

	while (*end && (*end)->at_ns <= now_ns)
		end = &(*end)->next;
	if (end == &loop->timers)
		return;
	loop->expired = loop->timers;
	loop->expired->link = &loop->expired;
	loop->timers = *end;
	*end = NULL;
	if (loop->timers)
		loop->timers->link = &loop->timers;
	while (loop->expired) {
		struct ivs_loop_timer *timer = loop->expired;

		ivs_loop_cancel_timer(timer);
		timer->handle(timer);
	}
}

void ivs_loop_dispatch(struct ivs_loop *loop)
{
	dispatch_events(loop);
	dispatch_timers(loop);
	for (struct ivs_loop_step *step = loop->steps; step; step = step->next)
		step->run(step);
}
