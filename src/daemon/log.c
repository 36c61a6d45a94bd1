/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <syslog.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"

IVS_SYSCALLS(ivs_log_syscalls, {"write"}, {"writev"});

/*
 * After a restart of syslogd, syslog(3) connects again, first with a datagram socket. It then tries
 * a stream socket, which the filter refuses, because a stream socket could reach services other
 * than syslogd. If syslogd accepts streams only, log lines are lost.
 */
IVS_SYSCALLS(ivs_log_syslog_syscalls,
	     {"socket", {IVS_ARG_IS(1, AF_UNIX), IVS_ARG_HAS(2, 0xf, SOCK_DGRAM)}},
	     {"socket",
	      {IVS_ARG_IS(1, AF_UNIX), IVS_ARG_HAS(2, 0xf, SOCK_STREAM)},
	      .error = EACCES},
	     {"connect"}, {"sendto"}, {"send"}, {"close"}, {"getpid"});

#define LIMIT_LINES 20
#define LIMIT_WINDOW_NS (10 * IVS_NS_PER_S)

/* Global, because a process has only one standard error. */
static struct {
	const char *program;
	bool verbose;
	bool syslog;
} log_state = {.program = "ivshmem"};

void ivs_log_init(const char *program, bool verbose)
{
	log_state.program = program;
	log_state.verbose = verbose;
}

void ivs_log_open_syslog(void)
{
	tzset();
	openlog(log_state.program, LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void ivs_log_to_syslog(void)
{
	log_state.syslog = true;
}

void ivs_log(enum ivs_log_level level, const char *format, ...)
{
	static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO};
	int saved = errno;
	char text[1024];
	char line[1024];
	va_list args;

	if (level == IVS_LOG_INFO && !log_state.verbose)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ivs_text_shown(text, line, sizeof(line));
	if (log_state.syslog)
		syslog(priorities[level], "%s", line);
	else
		fprintf(stderr, "%s: %s\n", log_state.program, line);
	errno = saved;
}

bool ivs_log_allows(struct ivs_log_limit *limit)
{
	int64_t now = ivs_clock_ns();

	if (!limit->since_ns || now - limit->since_ns > LIMIT_WINDOW_NS) {
		limit->since_ns = now;
		limit->shown_n = 0;
	}
	if (limit->shown_n == (limit->max ? limit->max : LIMIT_LINES)) {
		limit->hidden_n++;
		return false;
	}
	if (limit->hidden_n)
		ivs_log(IVS_LOG_WARNING, "%u lines like the next one were suppressed",
			limit->hidden_n);
	limit->hidden_n = 0;
	limit->shown_n++;
	return true;
}
