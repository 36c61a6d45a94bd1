/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread for system calls that other processes can delay:
 *
 * - close(2) of an fd that a server has sent blocks for as long as the process that sent it wants,
 *   if the fd is a socket that lingers, a file in a FUSE file system, or an eventfd that is watched
 *   by an epoll instance whose mutex is held;
 * - the last close(2) or munmap(2) of a region frees its memory, which takes 1 s or more for
 *   8 GiB;
 * - epoll_ctl(2) waits for a mutex when it adds an fd to an epoll instance that another instance
 *   watches. The application's instance may watch a peer's. The kernel has only one such
 *   mutex, and any process can hold it. (Changing or removing an fd does not take the mutex.)
 *
 * A signal ends only one of these waits: the wait for a socket that lingers.
 */
#ifndef IVS_PEER_WORKER_H
#define IVS_PEER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/disposal.h"
#include "ivshmem/api.h"

struct ivs_worker;

/** ivs_worker_new() - create the object, without a thread; NULL: out of memory */
struct ivs_worker *ivs_worker_new(void);

/**
 * ivs_worker_disposal() - the disposal that hands fds over to the thread
 *
 * The first job starts the thread, which ends when it has finished all queued jobs. If the thread
 * cannot be started, the calling thread does the job.
 */
struct ivs_disposal *ivs_worker_disposal(struct ivs_worker *worker);

/** ivs_worker_unmap() - have the thread unmap memory */
void ivs_worker_unmap(struct ivs_worker *worker, void *memory, size_t len);

/** ivs_worker_watch() - have the thread add @fd to @epoll_fd; both must stay open until then */
void ivs_worker_watch(struct ivs_worker *worker, int epoll_fd, int fd, uint32_t tag);

/**
 * ivs_worker_rewatch() - when all earlier jobs are done, have @epoll_fd watch @fd for input again
 *
 * Return: the number of the job, for ivs_worker_has_done().
 */
IVS_MUST_USE uint64_t ivs_worker_rewatch(struct ivs_worker *worker, int epoll_fd, int fd,
					 uint32_t tag);

/** ivs_worker_has_done() - whether this job and all earlier ones are done */
bool ivs_worker_has_done(struct ivs_worker *worker, uint64_t job);

/** ivs_worker_error() - whether a job has failed. Return: 0, -errno of the first failed job. */
IVS_MUST_USE int ivs_worker_error(struct ivs_worker *worker);

/** ivs_worker_backlog() - number of jobs that are not done yet */
uint64_t ivs_worker_backlog(struct ivs_worker *worker);

/** ivs_worker_wait() - wait until all jobs are done. Return: false: @deadline_ns has passed. */
bool ivs_worker_wait(struct ivs_worker *worker, int64_t deadline_ns);

/**
 * ivs_worker_free() - drop the peer's reference; the thread still finishes all queued jobs. NULL is
 * ignored.
 */
void ivs_worker_free(struct ivs_worker *worker);

#endif
