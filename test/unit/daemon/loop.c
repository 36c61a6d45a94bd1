/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of daemon/loop.h: the order within a round, and removal during a round. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/loop.h"

#define TIMEOUT 60
#define ITEMS 4
#define LETTERS "abcd"

/* An object with a source, a timer and a step. */
struct item {
	struct ivs_loop_source source;
	struct ivs_loop_timer timer;
	struct ivs_loop_step step;
	char letter;
	uint32_t events;
};

static struct ivs_loop loop;
static struct item *items[ITEMS];
static char trace[64]; /* handlers that ran: "a" is a source, "A" its timer and "@a" its step */
static void (*hook)(struct item *item);

static void put(const char *text, char letter)
{
	size_t len = strlen(trace);

	cr_assert_lt(len + 3, sizeof(trace));
	snprintf(trace + len, sizeof(trace) - len, "%s%c", text, letter);
}

static void handle_source(struct ivs_loop_source *source, uint32_t events)
{
	struct item *item = IVS_CONTAINER_OF(source, struct item, source);

	item->events = events;
	put("", item->letter);
	if (hook)
		hook(item);
}

static void handle_timer(struct ivs_loop_timer *timer)
{
	struct item *item = IVS_CONTAINER_OF(timer, struct item, timer);

	cr_assert_not(ivs_loop_timer_is_set(timer));
	put("", (char)(item->letter - 'a' + 'A'));
	if (hook)
		hook(item);
}

static void run_step(struct ivs_loop_step *step)
{
	put("@", IVS_CONTAINER_OF(step, struct item, step)->letter);
}

static int make_fd(unsigned int value)
{
	int fd = eventfd(value, EFD_CLOEXEC | EFD_NONBLOCK);

	cr_assert_geq(fd, 0);
	return fd;
}

static struct item *make_item(char letter)
{
	struct item *item = calloc(1, sizeof(*item));

	cr_assert(item);
	item->source.handle = handle_source;
	item->timer.handle = handle_timer;
	item->step.run = run_step;
	item->letter = letter;
	return item;
}

static void setup(void)
{
	cr_assert_eq(ivs_loop_open(&loop), 0);
	for (unsigned int i = 0; i < ITEMS; i++)
		items[i] = make_item(LETTERS[i]);
}

static void teardown(void)
{
	for (unsigned int i = 0; i < ITEMS; i++)
		free(items[i]);
	ivs_loop_close(&loop);
}

static const char *run_round(void)
{
	*trace = '\0';
	cr_assert_eq(ivs_loop_wait(&loop), 0);
	ivs_loop_dispatch(&loop);
	return trace;
}

/* Add all items to the loop, with readable fds. */
static void add_ready(uint32_t events)
{
	for (unsigned int i = 0; i < ITEMS; i++)
		cr_assert_eq(ivs_loop_add(&loop, &items[i]->source, make_fd(1), events), 0);
}

TestSuite(loop, .init = setup, .fini = teardown, .timeout = TIMEOUT);

Test(loop, a_round_runs_events_then_timers_then_steps)
{
	ivs_loop_add_step(&loop, &items[2]->step);
	ivs_loop_add_step(&loop, &items[1]->step);
	ivs_loop_set_timer(&loop, &items[3]->timer, 1);
	cr_assert_eq(ivs_loop_add(&loop, &items[0]->source, make_fd(1), EPOLLIN), 0);
	cr_assert_str_eq(run_round(), "aD@c@b");
	cr_assert_eq(items[0]->events, EPOLLIN);
	ivs_loop_remove_step(&loop, &items[2]->step);
	ivs_loop_remove_step(&loop, &items[2]->step);
	cr_assert_str_eq(run_round(), "a@b");
}

Test(loop, a_source_is_watched_for_the_requested_events)
{
	add_ready(EPOLLOUT | EPOLLET);
	cr_assert_str_eq(run_round(), LETTERS);
	ivs_loop_set_timer(&loop, &items[0]->timer, 1);
	cr_assert_str_eq(run_round(), "A");
	cr_assert_eq(ivs_loop_modify(&items[1]->source, EPOLLIN), 0);
	cr_assert_str_eq(run_round(), "b");
	cr_assert_eq(items[1]->events, EPOLLIN);
}

Test(loop, an_error_disables_a_source)
{
	cr_assert_eq(ivs_loop_add(&loop, &items[0]->source, -1, EPOLLIN), -EBADF);
	cr_assert_null(items[0]->source.loop);
	ivs_loop_remove(&items[0]->source);
}

static void remove_others(struct item *item)
{
	for (unsigned int i = 0; i < ITEMS; i++) {
		if (items[i] != item)
			ivs_loop_remove(&items[i]->source);
	}
}

Test(loop, a_removed_source_loses_its_event_of_this_round)
{
	add_ready(EPOLLIN);
	hook = remove_others;
	cr_assert_str_eq(run_round(), "a");
	cr_assert_str_eq(run_round(), "a");
}

/* Free every item in a round that has an event for it. */
static void free_all(struct item *item)
{
	for (unsigned int i = 0; i < ITEMS; i++) {
		ivs_loop_remove(&items[i]->source);
		close(items[i]->source.fd);
		ivs_loop_cancel_timer(&items[i]->timer);
		memset(items[i], 0xff, sizeof(*item));
		free(items[i]);
		items[i] = NULL;
	}
	hook = NULL;
}

Test(loop, objects_can_be_freed_by_a_handler)
{
	add_ready(EPOLLIN);
	for (unsigned int i = 0; i < ITEMS; i++)
		ivs_loop_set_timer(&loop, &items[i]->timer, 1);
	hook = free_all;
	cr_assert_str_eq(run_round(), "a");
}

/*
 * Replace the second item with another that has the same fd number and memory, in a round that has
 * an event for the old item.
 */
static void replace_second(struct item *item)
{
	int fd = items[1]->source.fd;

	hook = NULL;
	ivs_loop_remove(&items[1]->source);
	cr_assert_eq(close(fd), 0);
	*items[1] = (struct item){.source.handle = handle_source, .letter = 'x'};
	cr_assert_eq(make_fd(1), fd);
	cr_assert_eq(ivs_loop_add(&loop, &items[1]->source, fd, EPOLLIN), 0);
	(void)item;
}

Test(loop, an_event_does_not_reach_the_next_owner_of_an_fd)
{
	add_ready(EPOLLIN);
	hook = replace_second;
	cr_assert_str_eq(run_round(), "acd");
	cr_assert_str_eq(run_round(), "acdx");
}

/* epoll still reports events of a closed fd while a copy of it is open. */
Test(loop, a_copy_of_an_fd_has_no_events)
{
	int fd = make_fd(1);
	int copy_fd = dup(fd);

	cr_assert_eq(ivs_loop_add(&loop, &items[0]->source, fd, EPOLLIN), 0);
	ivs_loop_remove(&items[0]->source);
	close(fd);
	ivs_loop_set_timer(&loop, &items[0]->timer, 1);
	cr_assert_str_eq(run_round(), "A");
	close(copy_fd);
}

Test(loop, timers_run_by_deadline)
{
	ivs_loop_set_timer(&loop, &items[0]->timer, 3);
	ivs_loop_set_timer(&loop, &items[1]->timer, 1);
	ivs_loop_set_timer(&loop, &items[2]->timer, 2);
	ivs_loop_set_timer(&loop, &items[3]->timer, 1);
	cr_assert_str_eq(run_round(), "BDCA");
}

Test(loop, the_deadline_is_that_of_the_next_timer)
{
	cr_assert_eq(ivs_loop_deadline(&loop), IVS_CLOCK_NEVER);
	ivs_loop_set_timer(&loop, &items[0]->timer, 7);
	ivs_loop_set_timer(&loop, &items[1]->timer, 5);
	cr_assert_eq(ivs_loop_deadline(&loop), 5);
	ivs_loop_set_timer(&loop, &items[1]->timer, 9);
	cr_assert_eq(ivs_loop_deadline(&loop), 7);
	ivs_loop_cancel_timer(&items[0]->timer);
	cr_assert_eq(ivs_loop_deadline(&loop), 9);
	ivs_loop_set_timer(&loop, &items[1]->timer, IVS_CLOCK_NEVER);
	cr_assert_eq(ivs_loop_deadline(&loop), IVS_CLOCK_NEVER);
	cr_assert_not(ivs_loop_timer_is_set(&items[1]->timer));
}

Test(loop, a_round_lasts_until_the_deadline)
{
	int64_t at_ns = ivs_clock_deadline(20);

	ivs_loop_set_timer(&loop, &items[0]->timer, at_ns);
	cr_assert_str_eq(run_round(), "A");
	cr_assert_geq(ivs_clock_ns(), at_ns);
}

/* The first timer that expires cancels the second and postpones the third. */
static void change_timers(struct item *item)
{
	hook = NULL;
	ivs_loop_cancel_timer(&items[1]->timer);
	ivs_loop_set_timer(&loop, &items[2]->timer, IVS_CLOCK_NEVER - 1);
	(void)item;
}

Test(loop, a_timer_can_be_changed_in_the_round_in_which_it_expires)
{
	for (unsigned int i = 0; i < ITEMS; i++)
		ivs_loop_set_timer(&loop, &items[i]->timer, 1 + i);
	hook = change_timers;
	cr_assert_str_eq(run_round(), "AD");
	cr_assert_eq(ivs_loop_deadline(&loop), IVS_CLOCK_NEVER - 1);
}

static void set_to_past(struct item *item)
{
	ivs_loop_set_timer(&loop, &item->timer, 1);
}

Test(loop, a_timer_runs_once_in_a_round)
{
	ivs_loop_set_timer(&loop, &items[0]->timer, 1);
	hook = set_to_past;
	cr_assert_str_eq(run_round(), "A");
	cr_assert_str_eq(run_round(), "A");
}
