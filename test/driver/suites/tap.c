// SPDX-License-Identifier: BSD-3-Clause
#include "tap.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define REPEATED_MAX 64

static const char *suite_name;

/* The tally is in shared memory, so that cases of child processes are counted as well. */
static struct {
	int cases_n;
	int failed_n;
} * tally;

static pthread_mutex_t repeated_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int repeated_n;
static struct {
	const char *what;
	unsigned int times_n;
	unsigned int wrong_n;
} repeated[REPEATED_MAX];

void tap_begin(const char *suite)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	suite_name = suite;
	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (tally == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
}

int tap_end(void)
{
	printf("1..%d\n", tally->cases_n);
	return tally->failed_n ? 1 : 0;
}

static void print_case(bool ok, const char *suffix, const char *format, va_list args)
{
	char name[256];

	vsnprintf(name, sizeof(name), format, args);
	tally->cases_n++;
	tally->failed_n += !ok;
	printf("%sok %d - %s: %s%s\n", ok ? "" : "not ", tally->cases_n, suite_name, name, suffix);
}

bool check(bool ok, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_case(ok, "", format, args);
	va_end(args);
	return ok;
}

bool check_errno(int expected, long result, const char *format, ...)
{
	int errnum = result < 0 ? errno : 0;
	char suffix[80] = "";
	va_list args;

	if (errnum != expected)
		snprintf(suffix, sizeof(suffix), " (expected %s, got %s)", strerror(expected),
			 strerror(errnum));
	va_start(args, format);
	print_case(errnum == expected, suffix, format, args);
	va_end(args);
	return errnum == expected;
}

void need(bool ok, const char *format, ...)
{
	int errnum = errno;
	va_list args;

	if (ok)
		return;
	va_start(args, format);
	print_case(false, " (required by all further cases)", format, args);
	va_end(args);
	note("errno %d: %s", errnum, strerror(errnum));
	tap_end();
	exit(1);
}

void note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("# ");
	vprintf(format, args);
	printf("\n");
	va_end(args);
}

void check_repeated(bool ok, const char *what)
{
	unsigned int i;
	int errnum = errno;

	pthread_mutex_lock(&repeated_lock);
	for (i = 0; i < repeated_n && strcmp(repeated[i].what, what); i++)
		;
	if (i < REPEATED_MAX) {
		repeated_n += i == repeated_n;
		repeated[i].what = what;
		if (!ok && !repeated[i].wrong_n)
			note("%s: failed first at repetition %u, errno %d", what,
			     repeated[i].times_n, errnum);
		repeated[i].times_n++;
		repeated[i].wrong_n += !ok;
	}
	pthread_mutex_unlock(&repeated_lock);
}

void check_repeated_report(void)
{
	for (unsigned int i = 0; i < repeated_n; i++)
		check(!repeated[i].wrong_n, "%s: %u times, failed %u times", repeated[i].what,
		      repeated[i].times_n, repeated[i].wrong_n);
	check(repeated_n < REPEATED_MAX, "%u repeated checks", repeated_n);
	repeated_n = 0;
}
