/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processor time that sending messages to a client takes.
 *
 * A message takes some microseconds, but the kernel also calls each watcher of the client's socket:
 * epoll instances, entries of poll(2) calls, io_uring requests. A client can watch its own socket,
 * and copies of it, with millions of such watchers, and no system call tells how many there are. So
 * the server measures each send.
 *
 * A client is slow if one of its last messages took more than IVS_COST_SLOW_NS. It is then sent one
 * message at a time, after all other clients, in a small part of the server's time (announce.c).
 * This costs an innocent client little. A client is excessive, and dropped, if IVS_COST_DROP_N of
 * its last IVS_COST_HISTORY_N sends took more than IVS_COST_MAX_NS for each message, which is a
 * thousand times what a message usually takes. Other causes of delay (a debugger, emulation, an
 * overloaded host whose guests count the delay as processor time) affect about one send in several
 * hundred.
 *
 * Pure: no system call, no clock.
 */
#ifndef IVS_SERVER_COST_H
#define IVS_SERVER_COST_H

#include <stdbool.h>
#include <stdint.h>

#define IVS_COST_SLOW_NS 200000 /* duration per message */
#define IVS_COST_MAX_NS 2000000
#define IVS_COST_HISTORY_N 32
#define IVS_COST_DROP_N 8
#define IVS_COST_QUICK_MIN 32u /* messages that must be quick before a client is no longer slow */
#define IVS_COST_QUICK_MAX 100000u
#define IVS_COST_BATCH 16	     /* messages that are sent without reading the clock */
#define IVS_COST_TRUSTED_NS 10000000 /* a client needs at least this long to add many watchers */

/**
 * struct ivs_cost - the processor time that sending to one client takes; initially zero
 * @sent_ns:   when the last message was sent, in ivs_clock_ns()
 * @history:   a bit for each of the last sends: whether it took more than IVS_COST_MAX_NS for each
 *             message
 * @quick_n:   number of messages that must be quick before the client is no longer slow; 0: it is
 *             not slow
 * @quick_max: what @quick_n was last set to
 * @excessive: the client has to be dropped
 */
struct ivs_cost {
	int64_t sent_ns;
	uint32_t history;
	unsigned int quick_n;
	unsigned int quick_max;
	bool excessive;
};

/** struct ivs_cost_mark - a point in time, and the processor time used by then */
struct ivs_cost_mark {
	int64_t now_ns;
	int64_t cpu_ns;
};

/** ivs_cost_is_slow() - whether the client is sent one message at a time, after all others */
static inline bool ivs_cost_is_slow(const struct ivs_cost *cost)
{
	return cost->quick_n;
}

/** ivs_cost_batch() - how many messages may be sent before the clock is read again */
unsigned int ivs_cost_batch(const struct ivs_cost *cost, int64_t now_ns);

/**
 * ivs_cost_cpu() - a lower bound for the processor time used from @began_ns to @end
 * @mark: a point in time before @began_ns
 *
 * The function assumes that the process ran all the time from @mark to @began_ns. So the caller
 * need not read the processor-time clock at @began_ns.
 */
static inline int64_t ivs_cost_cpu(const struct ivs_cost_mark *mark, int64_t began_ns,
				   const struct ivs_cost_mark *end)
{
	return end->cpu_ns - mark->cpu_ns - (began_ns - mark->now_ns);
}

/**
 * ivs_cost_record() - record that @msgs_n messages (at least 1), sent at @now_ns, took @cpu_ns in
 * total
 */
void ivs_cost_record(struct ivs_cost *cost, int64_t now_ns, int64_t cpu_ns, unsigned int msgs_n);

#endif
