/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The peer and the thread have a reference each. The thread is detached and
 * exists only while there is something to close, so that a program whose server is well-behaved has
 * no thread between two calls. After fork(2) the child has no thread, and the lock may have been
 * held. So the child makes a new lock, and closes its copies of the fds handed over before fork(2).
 */
#include "peer/closing.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

#define STACK_LEN (256 * 1024) /* most of it is for a sanitizer */

/**
 * struct ivs_closing - fds to close
 * @disposal: must be the first member
 * @lock:     guards all that follows
 * @idle:     signalled when the thread ends
 * @pid:      the process that has initialised @lock
 * @runs:     there is a thread
 * @fds:      still to be closed, without the one that is being closed
 */
struct ivs_closing {
	struct ivs_disposal disposal;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned int refs;
	pid_t pid;
	bool runs;
	int *fds;
	unsigned int fds_n;
	unsigned int fds_max;
};

static void closing_init(struct ivs_closing *closing)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&closing->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&closing->idle, &attr);
	pthread_condattr_destroy(&attr);
	closing->refs = 1;
	closing->pid = getpid();
	closing->runs = false;
}

static void closing_lock(struct ivs_closing *closing)
{
	if (closing->pid != getpid())
		closing_init(closing);
	pthread_mutex_lock(&closing->lock);
}

/* Drops a reference and the lock. */
static void closing_put(struct ivs_closing *closing)
{
	bool last = !--closing->refs;

	pthread_mutex_unlock(&closing->lock);
	if (!last)
		return;
	pthread_cond_destroy(&closing->idle);
	pthread_mutex_destroy(&closing->lock);
	free(closing->fds);
	free(closing);
}

/* Called with the lock held; drops it while an fd is being closed. */
static void closing_close_all(struct ivs_closing *closing)
{
	while (closing->fds_n) {
		int fd = closing->fds[--closing->fds_n];

		pthread_mutex_unlock(&closing->lock);
		ivs_fd_close(&fd);
		pthread_mutex_lock(&closing->lock);
	}
}

static void *closing_run(void *argument)
{
	struct ivs_closing *closing = argument;

	pthread_mutex_lock(&closing->lock);
	closing_close_all(closing);
	closing->runs = false;
	pthread_cond_broadcast(&closing->idle);
	closing_put(closing);
	return NULL;
}

/* The application's signals are not for this thread. Called with the lock held. */
static bool closing_start(struct ivs_closing *closing)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all;
	sigset_t before;

	if (pthread_attr_init(&attr))
		return false;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, STACK_LEN);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	closing->runs = !pthread_create(&thread, &attr, closing_run, closing);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	closing->refs += closing->runs;
	return closing->runs;
}

/* Return: false: out of memory. Called with the lock held. */
static bool closing_queue(struct ivs_closing *closing, int *fd)
{
	unsigned int max = closing->fds_max ? closing->fds_max * 2 : 16;
	int *more;

	if (closing->fds_n == closing->fds_max) {
		more = reallocarray(closing->fds, max, sizeof(*more));
		if (!more)
			return false;
		closing->fds = more;
		closing->fds_max = max;
	}
	closing->fds[closing->fds_n++] = ivs_fd_take(fd);
	return true;
}

static void closing_take(struct ivs_disposal *disposal, int *fd)
{
	struct ivs_closing *closing = (struct ivs_closing *)disposal;

	closing_lock(closing);
	if (closing_queue(closing, fd) && !closing->runs && !closing_start(closing))
		closing_close_all(closing);
	pthread_mutex_unlock(&closing->lock);
	ivs_fd_close(fd);
}

struct ivs_closing *ivs_closing_new(void)
{
	struct ivs_closing *closing = calloc(1, sizeof(*closing));

	if (!closing)
		return NULL;
	closing->disposal.take = closing_take;
	closing_init(closing);
	return closing;
}

struct ivs_disposal *ivs_closing_disposal(struct ivs_closing *closing)
{
	return &closing->disposal;
}

unsigned int ivs_closing_backlog(struct ivs_closing *closing)
{
	unsigned int n;

	closing_lock(closing);
	n = closing->fds_n + closing->runs;
	pthread_mutex_unlock(&closing->lock);
	return n;
}

bool ivs_closing_wait(struct ivs_closing *closing, int64_t deadline_ns)
{
	const struct timespec deadline = {
		.tv_sec = (time_t)(deadline_ns / IVS_NS_PER_S),
		.tv_nsec = (long)(deadline_ns % IVS_NS_PER_S),
	};
	bool closed;

	closing_lock(closing);
	while (closing->runs && !pthread_cond_timedwait(&closing->idle, &closing->lock, &deadline))
		;
	closed = !closing->runs;
	pthread_mutex_unlock(&closing->lock);
	return closed;
}

void ivs_closing_free(struct ivs_closing *closing)
{
	if (!closing)
		return;
	closing_lock(closing);
	closing_put(closing);
}
