/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. The peer and the thread each hold a reference to the worker. The thread is
 * detached and exists only while there is something to do, so that a program whose server is
 * well-behaved has no thread between two calls. The thread does the jobs in order. So an fd is
 * watched before it is closed, while its number still belongs to the same file. After fork(2) the
 * child has no thread, and the lock may have been held. So the child creates a new lock, and does
 * the jobs that were not begun before fork(2). Those jobs close the child's copies of the fds.
 */
#include "peer/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"

#define STACK_LEN (256 * 1024) /* a sanitizer needs most of it */

/**
 * struct worker_job - a system call
 * @run:      makes the call. Return: 0 or -errno
 * @fd:       the fd to close or to watch
 * @epoll_fd: the epoll instance that is to watch @fd
 * @op:       EPOLL_CTL_ADD or EPOLL_CTL_MOD
 * @tag:      reported by the epoll instance
 * @memory:   the memory to unmap, @len bytes
 */
struct worker_job {
	int (*run)(const struct worker_job *job);
	int fd;
	int epoll_fd;
	int op;
	uint32_t tag;
	void *memory;
	size_t len;
};

/**
 * struct ivs_worker - the jobs
 * @disposal: must be the first member
 * @lock:     guards all members that follow
 * @idle:     signalled when the thread ends
 * @pid:      the process that has initialised @lock
 * @runs:     the thread exists
 * @error:    result of the first job that failed
 * @added:    number of jobs that have been added so far
 * @done:     number of jobs that have been done so far
 * @jobs:     the jobs that have not been begun: @jobs_n from @first
 */
struct ivs_worker {
	struct ivs_disposal disposal;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned int refs;
	pid_t pid;
	bool runs;
	int error;
	uint64_t added;
	uint64_t done;
	struct worker_job *jobs;
	unsigned int first;
	unsigned int jobs_n;
	unsigned int jobs_max;
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
	worker->done = worker->added - worker->jobs_n;
}

static void worker_lock(struct ivs_worker *worker)
{
	if (worker->pid != getpid())
		worker_init(worker);
	pthread_mutex_lock(&worker->lock);
}

/* Drop a reference and release the lock. */
static void worker_put(struct ivs_worker *worker)
{
	bool last = !--worker->refs;

	pthread_mutex_unlock(&worker->lock);
	if (!last)
		return;
	pthread_cond_destroy(&worker->idle);
	pthread_mutex_destroy(&worker->lock);
	free(worker->jobs);
	free(worker);
}

/* Called with the lock held; releases the lock while the job is being done. */
static void worker_do(struct ivs_worker *worker, const struct worker_job *job)
{
	int result;

	pthread_mutex_unlock(&worker->lock);
	result = job->run(job);
	pthread_mutex_lock(&worker->lock);
	worker->done++;
	if (!worker->error)
		worker->error = result;
}

/* Called with the lock held. */
static void worker_do_all(struct ivs_worker *worker)
{
	while (worker->jobs_n) {
		const struct worker_job job = worker->jobs[worker->first++];

		if (!--worker->jobs_n)
			worker->first = 0;
		worker_do(worker, &job);
	}
}

static void *worker_run(void *argument)
{
	struct ivs_worker *worker = argument;

	pthread_mutex_lock(&worker->lock);
	worker_do_all(worker);
	worker->runs = false;
	pthread_cond_broadcast(&worker->idle);
	worker_put(worker);
	return NULL;
}

/*
 * The thread must not handle the application's signals, so start it with all signals blocked.
 * Called with the lock held.
 */
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

/* Return: false if out of memory. Called with the lock held. */
static bool worker_make_room(struct ivs_worker *worker)
{
	unsigned int max = worker->jobs_max ? worker->jobs_max * 2 : 16;
	struct worker_job *more;

	if (worker->first + worker->jobs_n < worker->jobs_max)
		return true;
	if (worker->first > worker->jobs_max / 2) {
		memmove(worker->jobs, &worker->jobs[worker->first],
			worker->jobs_n * sizeof(*worker->jobs));
		worker->first = 0;
		return true;
	}
	more = reallocarray(worker->jobs, max, sizeof(*more));
	if (!more)
		return false;
	worker->jobs = more;
	worker->jobs_max = max;
	return true;
}

/*
 * Have the thread do a job. If the thread cannot be started, or memory is short, do the job here.
 */
static void worker_add(struct ivs_worker *worker, const struct worker_job *job)
{
	worker_lock(worker);
	worker->added++;
	if (worker_make_room(worker)) {
		worker->jobs[worker->first + worker->jobs_n++] = *job;
		if (!worker->runs && !worker_start(worker))
			worker_do_all(worker);
	} else {
		while (worker->runs)
			pthread_cond_wait(&worker->idle, &worker->lock);
		worker_do(worker, job);
	}
	pthread_mutex_unlock(&worker->lock);
}

static int job_close(const struct worker_job *job)
{
	int fd = job->fd;

	ivs_fd_close(&fd);
	return 0;
}

static int job_unmap(const struct worker_job *job)
{
	return munmap(job->memory, job->len) ? -errno : 0;
}

/* After fork(2) both processes may do this job, in the same epoll instance. */
static int job_watch(const struct worker_job *job)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = job->tag};
	int result = epoll_ctl(job->epoll_fd, job->op, job->fd, &event);

	return result && errno != EEXIST ? -errno : 0;
}

static void worker_take(struct ivs_disposal *disposal, int *fd)
{
	const struct worker_job job = {.run = job_close, .fd = ivs_fd_take(fd)};

	worker_add((struct ivs_worker *)disposal, &job);
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

void ivs_worker_unmap(struct ivs_worker *worker, void *memory, size_t len)
{
	const struct worker_job job = {.run = job_unmap, .memory = memory, .len = len};

	worker_add(worker, &job);
}

void ivs_worker_watch(struct ivs_worker *worker, int epoll_fd, int fd, uint32_t tag)
{
	const struct worker_job job = {
		.run = job_watch,
		.fd = fd,
		.epoll_fd = epoll_fd,
		.op = EPOLL_CTL_ADD,
		.tag = tag,
	};

	worker_add(worker, &job);
}

uint64_t ivs_worker_rewatch(struct ivs_worker *worker, int epoll_fd, int fd, uint32_t tag)
{
	const struct worker_job job = {
		.run = job_watch,
		.fd = fd,
		.epoll_fd = epoll_fd,
		.op = EPOLL_CTL_MOD,
		.tag = tag,
	};
	uint64_t added;

	worker_add(worker, &job);
	worker_lock(worker);
	added = worker->added;
	pthread_mutex_unlock(&worker->lock);
	return added;
}

bool ivs_worker_has_done(struct ivs_worker *worker, uint64_t job)
{
	bool has_done;

	worker_lock(worker);
	has_done = worker->done >= job;
	pthread_mutex_unlock(&worker->lock);
	return has_done;
}

int ivs_worker_error(struct ivs_worker *worker)
{
	int error;

	worker_lock(worker);
	error = worker->error;
	pthread_mutex_unlock(&worker->lock);
	return error;
}

uint64_t ivs_worker_backlog(struct ivs_worker *worker)
{
	uint64_t n;

	worker_lock(worker);
	n = worker->added - worker->done;
	pthread_mutex_unlock(&worker->lock);
	return n;
}

bool ivs_worker_wait(struct ivs_worker *worker, int64_t deadline_ns)
{
	const struct timespec deadline = {
		.tv_sec = (time_t)(deadline_ns / IVS_NS_PER_S),
		.tv_nsec = (long)(deadline_ns % IVS_NS_PER_S),
	};
	bool done;

	worker_lock(worker);
	while (worker->runs && !pthread_cond_timedwait(&worker->idle, &worker->lock, &deadline))
		;
	done = !worker->runs;
	pthread_mutex_unlock(&worker->lock);
	return done;
}

void ivs_worker_free(struct ivs_worker *worker)
{
	if (!worker)
		return;
	worker_lock(worker);
	worker_put(worker);
}
