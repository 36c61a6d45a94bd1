/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Closes fds that a server has sent, in a thread. close(2) of such an fd can wait for as long as
 * the process that sent it wants: for a socket that lingers, a file of a FUSE file system, an
 * eventfd that an epoll watches whose mutex is held. The last two waits end at no signal.
 */
#ifndef IVS_PEER_CLOSING_H
#define IVS_PEER_CLOSING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/disposal.h"
#include "ivshmem/api.h"

struct ivs_closing;

/** ivs_closing_new() - Return: without a thread; NULL: out of memory */
struct ivs_closing *ivs_closing_new(void);

/**
 * ivs_closing_disposal() - with which fds are handed over
 *
 * The first fd starts a thread, which ends when it has closed all. If it cannot be started, the
 * caller closes the fds itself.
 */
struct ivs_disposal *ivs_closing_disposal(struct ivs_closing *closing);

/** ivs_closing_backlog() - number of fds that are not closed yet */
unsigned int ivs_closing_backlog(struct ivs_closing *closing);

/** ivs_closing_wait() - wait until all are closed. Return: false: not by @deadline_ns (clock.h). */
bool ivs_closing_wait(struct ivs_closing *closing, int64_t deadline_ns);

/** ivs_closing_free() - if fds are not closed yet, the thread goes on; NULL is ignored */
void ivs_closing_free(struct ivs_closing *closing);

#endif
