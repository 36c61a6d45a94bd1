/* SPDX-License-Identifier: BSD-3-Clause */
/* Taking samples of this host's servers and regions, in a thread of its own. */
#ifndef TOOLS_IVSHMEM_TOP_SAMPLE_H
#define TOOLS_IVSHMEM_TOP_SAMPLE_H

#include <pthread.h>

#include "tools/ivshmem/top_model.h"

/**
 * struct top_sampler - the thread, and the model that it changes while it holds the lock
 * @lock:       of all members
 * @event_fd:   an eventfd that becomes readable after each sample
 * @error:      errno of the last pass over /proc; 0: it succeeded
 * @busy:       what the thread waits for at present, not safe to print; "": nothing
 * @busy_ns:    since when
 * @ask_cost:   a server that needs a second for its reply is not asked for this number of seconds
 * @hurry:      take the next sample now, and look for new servers
 * @scan_ns:    when to look for new servers again
 * @first:      index of the server that the next sample asks first
 */
struct top_sampler {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct top_model model;
	int event_fd;
	int error;
	char busy[TOP_PATH_LEN];
	int64_t busy_ns;
	unsigned int ask_cost;
	bool hurry;
	int64_t scan_ns;
	size_t first;
};

/**
 * top_sampler_start() - start taking samples, the first one immediately; they end with the process
 * @controls: paths of @n control sockets of servers that may not be found otherwise
 *
 * A thread, because a server that does not answer must not keep this program from reading keys.
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int top_sampler_start(struct top_sampler *sampler, unsigned int interval_ms,
				   unsigned int ask_cost, const char *const *controls, size_t n);

/** top_sampler_hurry() - take the next sample now */
void top_sampler_hurry(struct top_sampler *sampler);

/**
 * top_sampler_wait() - wait until @samples_n samples have been taken
 *
 * Return: 0, or -ETIMEDOUT if the thread waits for the same server or process for too long.
 */
IVS_MUST_USE int top_sampler_wait(struct top_sampler *sampler, unsigned int samples_n);

#endif
