/* SPDX-License-Identifier: BSD-3-Clause */
/* Monotonic time in nanoseconds, deadlines for poll(2), and the time of day. */
#ifndef IVS_BASE_CLOCK_H
#define IVS_BASE_CLOCK_H

#include <limits.h>
#include <stdint.h>
#include <time.h>

#define IVS_NS_PER_US 1000
#define IVS_NS_PER_MS 1000000
#define IVS_NS_PER_S 1000000000LL
#define IVS_CLOCK_NEVER INT64_MAX

static inline int64_t ivs_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * IVS_NS_PER_S + now.tv_nsec;
}

/** ivs_clock_cpu_ns() - CPU time that this thread has used; always makes a system call */
static inline int64_t ivs_clock_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * IVS_NS_PER_S + now.tv_nsec;
}

/** ivs_clock_wall_ms() - ms since 1970 (UTC), for display only */
static inline int64_t ivs_clock_wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / IVS_NS_PER_MS;
}

#define IVS_CLOCK_TEXT_LEN 80

/**
 * ivs_clock_wall_text() - format a time as "2024-05-31T12:34:56.789Z"
 *
 * The first call opens /etc/localtime; see tzset(3).
 */
const char *ivs_clock_wall_text(int64_t wall_ms, char out[IVS_CLOCK_TEXT_LEN]);

/** ivs_clock_deadline() - the time @timeout_ms from now; IVS_CLOCK_NEVER if negative */
static inline int64_t ivs_clock_deadline(int timeout_ms)
{
	if (timeout_ms < 0)
		return IVS_CLOCK_NEVER;
	return ivs_clock_ns() + (int64_t)timeout_ms * IVS_NS_PER_MS;
}

/**
 * ivs_clock_left_ms() - ms until @deadline_ns, rounded up; 0: it has passed; -1: there is no
 * deadline
 */
static inline int ivs_clock_left_ms(int64_t deadline_ns)
{
	int64_t left_ms;

	if (deadline_ns == IVS_CLOCK_NEVER)
		return -1;
	left_ms = (deadline_ns - ivs_clock_ns() + IVS_NS_PER_MS - 1) / IVS_NS_PER_MS;
	if (left_ms <= 0)
		return 0;
	return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

#endif
