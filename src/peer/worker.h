/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Closes fds that a server has sent, in a thread. close(2) of such an fd can wait for as long as
 * the process that sent it wants: for a socket that lingers, a file of a FUSE file system, or
 * an eventfd that is watched by an epoll whose mutex is held. No signal ends the last two waits.
 */
#ifndef IVS_PEER_WORKER_H
#define IVS_PEER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/disposal.h"
#include "ivshmem/api.h"

struct ivs_worker;

/** ivs_worker_new() - make the object, without a thread; NULL: out of memory */
struct ivs_worker *ivs_worker_new(void);

/**
 * ivs_worker_disposal() - the disposal that hands fds over to the thread
 *
 * The first fd starts the thread, which ends when it has closed all fds. If the thread cannot be
 * started, the calling thread closes the fds.
 */
struct ivs_disposal *ivs_worker_disposal(struct ivs_worker *worker);

/** ivs_worker_backlog() - number of fds that are not closed yet */
unsigned int ivs_worker_backlog(struct ivs_worker *worker);

/** ivs_worker_wait() - wait until all are closed. Return: false: @deadline_ns has passed. */
bool ivs_worker_wait(struct ivs_worker *worker, int64_t deadline_ns);

/** ivs_worker_free() - if fds are not closed yet, the thread goes on; NULL is ignored */
void ivs_worker_free(struct ivs_worker *worker);

#endif
