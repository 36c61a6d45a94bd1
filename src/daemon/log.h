/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines for whoever runs the program: to standard error, or to syslog once it is a daemon. */
#ifndef IVS_DAEMON_LOG_H
#define IVS_DAEMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/syscalls.h"
#include "ivshmem/api.h"

extern const struct ivs_syscall ivs_log_syscalls[];
extern const struct ivs_syscall ivs_log_syslog_syscalls[];

enum ivs_log_level {
	IVS_LOG_ERROR,	 /* something asked for was not done */
	IVS_LOG_WARNING, /* it was done, but one should know */
	IVS_LOG_INFO,	 /* what goes on; shown only when asked for */
};

/** ivs_log_init() - @program: stands before each line; must live as long as the process */
void ivs_log_init(const char *program, bool verbose);

/** ivs_log_open_syslog() - connect to it and learn the time zone, while files can be opened */
void ivs_log_open_syslog(void);

/** ivs_log_to_syslog() - from now on, after ivs_log_open_syslog() */
void ivs_log_to_syslog(void);

/** ivs_log() - one line, without the newline */
void ivs_log(enum ivs_log_level level, const char *format, ...) IVS_PRINTF(2, 3);

/**
 * struct ivs_log_limit - for lines that strangers can cause; all zero at first
 * @since_ns: when the present window began
 * @shown_n:  lines in it
 * @hidden_n: lines that were left out and not told of yet
 */
struct ivs_log_limit {
	int64_t since_ns;
	unsigned int shown_n;
	unsigned int hidden_n;
};

/**
 * ivs_log_allows() - whether one more line may be shown now: 20 in 10 s
 *
 * After lines were left out, says how many when the next one is allowed.
 */
IVS_MUST_USE bool ivs_log_allows(struct ivs_log_limit *limit);

#endif
