/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * System calls that untrusted processes make slow. A read or write of an eventfd, and each message
 * on a socket, makes the kernel call every epoll instance that watches the file or the other end of
 * the connection. That takes about 0.3 us for each instance; a user can have millions of them
 * (fs.epoll.max_user_watches), and no signal ends the call. So all that a program can do is to stop
 * making such calls.
 *
 * Theory of operation. ivs_slow_check() checks how long the calls since ivs_slow_begin() have
 * taken. Less than 2 ms is normal: that costs no system call. Otherwise the processor time of calls
 * is measured for the next 10 s, so that neither the time in which other processes ran nor a jump
 * of the clock counts. The measured time adds to a debt, from which a quarter of the elapsed time
 * is subtracted. A debt of 100 ms is too much.
 */
#ifndef IVS_DAEMON_SLOW_H
#define IVS_DAEMON_SLOW_H

#include <stdbool.h>
#include <stdint.h>

#define IVS_SLOW_CALL_MS 2
#define IVS_SLOW_DEBT_MS 100
#define IVS_SLOW_FORGIVEN 4 /* 1 ms of debt is forgiven in 4 ms */

/**
 * struct ivs_slow - the calls that one untrusted party can make slow; initially zero
 * @measured_until_ns: when to stop measuring processor time
 * @began_ns:     when the calls that have not been checked yet began
 * @began_cpu_ns: the processor time used by then; -1: not measured
 * @debt_ns:      the debt at the time @debt_at_ns
 */
struct ivs_slow {
	int64_t measured_until_ns;
	int64_t began_ns;
	int64_t began_cpu_ns;
	int64_t debt_ns;
	int64_t debt_at_ns;
};

/** ivs_slow_begin() - call this before calls that may be slow */
void ivs_slow_begin(struct ivs_slow *slow);

/**
 * ivs_slow_check() - check the calls since ivs_slow_begin(); further calls may follow
 *
 * Return: true: they were slow, and the debt is too high. Do not make such calls again.
 */
bool ivs_slow_check(struct ivs_slow *slow);

/** ivs_slow_pause_ms() - time until the debt is forgiven, once ivs_slow_check() is true */
int ivs_slow_pause_ms(const struct ivs_slow *slow);

#endif
