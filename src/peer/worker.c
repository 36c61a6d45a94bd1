/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The peer and the thread have a reference each. The thread is detached and
 * exists only while there is something to close, so that a program whose server is well-behaved has
 * no thread between two calls. After fork(2) the child has no thread, and the lock may have been
 * held. So the child makes a new lock, and closes its copies of the fds handed over before fork(2).
 */
#include "peer/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

#define STACK_LEN (256 * 1024) /* most of it is for a sanitizer */

/**
 * struct ivs_worker - fds to close
 * @disposal: must be the first member
 * @lock:     guards all that follows
 * @idle:     signalled when the thread ends
 * @pid:      the process that has initialised @lock
 * @runs:     there is a thread
 * @fds:      still to be closed, without the one that is being closed
 */
struct ivs_worker {
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

static void worker_init(struct ivs_worker *worker)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&worker->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&worker->idle, &attr);
	pthread_condattr_destroy(&attr);
	worker->refs = 1;
	worker->pid = getpid();
	worker->runs = false;
}

static void worker_lock(struct ivs_worker *worker)
{
	if (worker->pid != getpid())
		worker_init(worker);
	pthread_mutex_lock(&worker->lock);
}

/* Drops a reference and the lock. */
static void worker_put(struct ivs_worker *worker)
{
	bool last = !--worker->refs;

	pthread_mutex_unlock(&worker->lock);
	if (!last)
		return;
	pthread_cond_destroy(&worker->idle);
	pthread_mutex_destroy(&worker->lock);
	free(worker->fds);
	free(worker);
}

/* Called with the lock held; drops it while an fd is being closed. */
static void worker_close_all(struct ivs_worker *worker)
{
	while (worker->fds_n) {
		int fd = worker->fds[--worker->fds_n];

		pthread_mutex_unlock(&worker->lock);
		ivs_fd_close(&fd);
		pthread_mutex_lock(&worker->lock);
	}
}

static void *worker_run(void *argument)
{
	struct ivs_worker *worker = argument;

	pthread_mutex_lock(&worker->lock);
	worker_close_all(worker);
	worker->runs = false;
	pthread_cond_broadcast(&worker->idle);
	worker_put(worker);
	return NULL;
}

/* The application's signals are not for this thread. Called with the lock held. */
static bool worker_start(struct ivs_worker *worker)
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
	worker->runs = !pthread_create(&thread, &attr, worker_run, worker);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	worker->refs += worker->runs;
	return worker->runs;
}

/* Return: false: out of memory. Called with the lock held. */
static bool worker_queue(struct ivs_worker *worker, int *fd)
{
	unsigned int max = worker->fds_max ? worker->fds_max * 2 : 16;
	int *more;

	if (worker->fds_n == worker->fds_max) {
		more = reallocarray(worker->fds, max, sizeof(*more));
		if (!more)
			return false;
		worker->fds = more;
		worker->fds_max = max;
	}
	worker->fds[worker->fds_n++] = ivs_fd_take(fd);
	return true;
}

static void worker_take(struct ivs_disposal *disposal, int *fd)
{
	struct ivs_worker *worker = (struct ivs_worker *)disposal;

	worker_lock(worker);
	if (worker_queue(worker, fd) && !worker->runs && !worker_start(worker))
		worker_close_all(worker);
	pthread_mutex_unlock(&worker->lock);
	ivs_fd_close(fd);
}

struct ivs_worker *ivs_worker_new(void)
{
	struct ivs_worker *worker = calloc(1, sizeof(*worker));

	if (!worker)
		return NULL;
	worker->disposal.take = worker_take;
	worker_init(worker);
	return worker;
}

struct ivs_disposal *ivs_worker_disposal(struct ivs_worker *worker)
{
	return &worker->disposal;
}

unsigned int ivs_worker_backlog(struct ivs_worker *worker)
{
	unsigned int n;

	worker_lock(worker);
	n = worker->fds_n + worker->runs;
	pthread_mutex_unlock(&worker->lock);
	return n;
}

bool ivs_worker_wait(struct ivs_worker *worker, int64_t deadline_ns)
{
	const struct timespec deadline = {
		.tv_sec = (time_t)(deadline_ns / IVS_NS_PER_S),
		.tv_nsec = (long)(deadline_ns % IVS_NS_PER_S),
	};
	bool closed;

	worker_lock(worker);
	while (worker->runs && !pthread_cond_timedwait(&worker->idle, &worker->lock, &deadline))
		;
	closed = !worker->runs;
	pthread_mutex_unlock(&worker->lock);
	return closed;
}

void ivs_worker_free(struct ivs_worker *worker)
{
	if (!worker)
		return;
	worker_lock(worker);
	worker_put(worker);
}
