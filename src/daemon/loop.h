/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An event loop for one thread: file descriptors, timers, and steps that end each round.
 *
 * Theory of operation. A round waits for events, then runs, in this order:
 *
 *   1. the handlers of the sources that have events
 *   2. the handlers of the timers that have expired, in the order of their deadlines
 *   3. all steps, in the order in which they were added
 *
 * Sources, timers and steps are embedded in the objects of their owners, so that nothing is
 * allocated; a handler finds its object with IVS_CONTAINER_OF(). Before they are added they must be
 * zero except for the function pointer. Handlers and steps may add and remove any source or timer,
 * including their own, and free the object that embeds it. Steps may only be added and removed
 * between rounds.
 *
 * ivs_loop_remove() also discards the source's events that the current round has not handled yet.
 * Therefore no event reaches a removed source or the next owner of its memory or fd.
 */
#ifndef IVS_DAEMON_LOOP_H
#define IVS_DAEMON_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/syscalls.h"
#include "ivshmem/api.h"

extern const struct ivs_syscall ivs_loop_syscalls[];

/** IVS_CONTAINER_OF() - the object of @type whose @member is at @pointer */
#define IVS_CONTAINER_OF(pointer, type, member)                                                    \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define IVS_LOOP_EVENTS_MAX 64 /* maximum number of events handled in one round */

/**
 * struct ivs_loop_source - a file descriptor with a handler
 * @handle: called with EPOLL* bits; set by the owner
 * @loop:   the loop that watches @fd; NULL: none. Both are set by the loop
 */
struct ivs_loop_source {
	void (*handle)(struct ivs_loop_source *source, uint32_t events);
	struct ivs_loop *loop;
	int fd;
};

/**
 * struct ivs_loop_timer - a deadline with a handler
 * @handle: called once after the deadline, when the timer is no longer set; set by the owner
 * @at_ns:  the deadline (ivs_clock_ns()), if the timer is set
 * @next, @link: links of the list of timers; @link is NULL if the timer is not set
 */
struct ivs_loop_timer {
	void (*handle)(struct ivs_loop_timer *timer);
	int64_t at_ns;
	struct ivs_loop_timer *next;
	struct ivs_loop_timer **link;
};

/** struct ivs_loop_step - called at the end of each round; @run is set by the owner */
struct ivs_loop_step {
	void (*run)(struct ivs_loop_step *step);
	struct ivs_loop_step *next;
};

/**
 * struct ivs_loop - an event loop; must not move, and its members are private
 * @timers:  the timers that are set, by deadline
 * @expired: expired timers whose handlers have not run yet in this round
 * @events:  events of this round; @handled_n of @events_n have been handled
 */
struct ivs_loop {
	int epoll_fd;
	struct ivs_loop_timer *timers;
	struct ivs_loop_timer *expired;
	struct ivs_loop_step *steps;
	unsigned int events_n;
	unsigned int handled_n;
	struct epoll_event events[IVS_LOOP_EVENTS_MAX];
};

#define IVS_LOOP_INIT                                                                              \
	{                                                                                          \
		.epoll_fd = -1                                                                     \
	}

/** ivs_loop_open() - initialise a loop. Return: 0 or -errno. */
IVS_MUST_USE int ivs_loop_open(struct ivs_loop *loop);

/** ivs_loop_close() - close the loop; the fds of sources that are still in it stay open */
void ivs_loop_close(struct ivs_loop *loop);

/**
 * ivs_loop_add() - watch an fd
 * @source: must not be in a loop, and must not move until it is removed
 * @fd:     still owned by the caller
 * @events: EPOLL* bits, including EPOLLET
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_loop_add(struct ivs_loop *loop, struct ivs_loop_source *source, int fd,
			      uint32_t events);

/** ivs_loop_modify() - change the events for which @source is watched. Return: 0 or -errno. */
IVS_MUST_USE int ivs_loop_modify(struct ivs_loop_source *source, uint32_t events);

/**
 * ivs_loop_remove() - stop watching, before the fd is closed
 *
 * Closing the fd is not enough: while another process has a copy of it, the kernel continues to
 * report events. No-op if @source is not in a loop. If epoll_ctl(2) fails, which is not expected on
 * Linux, the source stays in the loop, and the caller may retry.
 */
void ivs_loop_remove(struct ivs_loop_source *source);

/**
 * ivs_loop_set_timer() - set a timer, or change its deadline if it is set
 * @at_ns: the deadline, which may be in the past; IVS_CLOCK_NEVER: cancel the timer
 */
void ivs_loop_set_timer(struct ivs_loop *loop, struct ivs_loop_timer *timer, int64_t at_ns);

/** ivs_loop_cancel_timer() - cancel a timer; no-op if it is not set */
void ivs_loop_cancel_timer(struct ivs_loop_timer *timer);

/** ivs_loop_timer_is_set() - whether @timer will expire */
static inline bool ivs_loop_timer_is_set(const struct ivs_loop_timer *timer)
{
	return timer->link;
}

/** ivs_loop_add_step() - run @step at the end of each round, after the steps added earlier */
void ivs_loop_add_step(struct ivs_loop *loop, struct ivs_loop_step *step);

/** ivs_loop_remove_step() - remove a step; no-op if it is not in the loop */
void ivs_loop_remove_step(struct ivs_loop *loop, struct ivs_loop_step *step);

/** ivs_loop_deadline() - the deadline of the first timer; IVS_CLOCK_NEVER if none is set */
int64_t ivs_loop_deadline(const struct ivs_loop *loop);

/**
 * ivs_loop_wait() - the first half of a round: wait for events or a timer
 *
 * If a signal handler runs, the wait ends and the round has no events.
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_loop_wait(struct ivs_loop *loop);

/** ivs_loop_is_due() - after ivs_loop_wait(): whether the round has an event or an expired timer */
static inline bool ivs_loop_is_due(const struct ivs_loop *loop)
{
	return loop->events_n > loop->handled_n || !ivs_clock_left_ms(ivs_loop_deadline(loop));
}

/** ivs_loop_dispatch() - the second half: run handlers and steps */
void ivs_loop_dispatch(struct ivs_loop *loop);

#endif
