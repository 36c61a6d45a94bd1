/* SPDX-License-Identifier: BSD-3-Clause */
/* The log of a program: standard error, or syslog once it is a daemon. */
#ifndef IVS_DAEMON_LOG_H
#define IVS_DAEMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/syscalls.h"
#include "ivshmem/api.h"

extern const struct ivs_syscall ivs_log_syscalls[];
extern const struct ivs_syscall ivs_log_syslog_syscalls[];

enum ivs_log_level {
	IVS_LOG_ERROR,	 /* a request or option could not be carried out */
	IVS_LOG_WARNING, /* something that the operator should know */
	IVS_LOG_INFO,	 /* progress messages; shown only with -v */
};

/** ivs_log_init() - set the prefix of each line to @program, which is not copied */
void ivs_log_init(const char *program, bool verbose);

/**
 * ivs_log_open_syslog() - connect to syslogd and read the time zone; call it while files can still
 * be opened
 */
void ivs_log_open_syslog(void);

/** ivs_log_to_syslog() - log to syslog from now on; call ivs_log_open_syslog() first */
void ivs_log_to_syslog(void);

/** ivs_log() - log one line; @format has no newline */
void ivs_log(enum ivs_log_level level, const char *format, ...) IVS_PRINTF(2, 3);

/**
 * struct ivs_log_limit - rate limit for lines that untrusted processes can cause; initially zero
 * @max:      lines in a period; 0: 20
 * @since_ns: start of the current period of 10 s
 * @shown_n:  number of lines logged in this period
 * @hidden_n: suppressed lines that have not been reported yet
 */
struct ivs_log_limit {
	unsigned int max;
	int64_t since_ns;
	unsigned int shown_n;
	unsigned int hidden_n;
};

/**
 * ivs_log_allows() - whether another line may be logged: at most @max in 10 s (20 if @max is 0)
 *
 * If lines were suppressed, their number is logged before the next line that is allowed.
 */
IVS_MUST_USE bool ivs_log_allows(struct ivs_log_limit *limit);

#endif
