/* SPDX-License-Identifier: BSD-3-Clause */
/* End measurements early on SIGINT and SIGTERM. */
#ifndef BENCH_INTERRUPT_H
#define BENCH_INTERRUPT_H

#include <stdbool.h>

/** bench_watch_signals() - from now on, record SIGINT and SIGTERM, and ignore SIGPIPE */
void bench_watch_signals(void);

/** bench_interrupted() - return whether SIGINT or SIGTERM has arrived */
bool bench_interrupted(void);

#endif
