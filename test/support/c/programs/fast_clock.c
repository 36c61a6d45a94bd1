/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A library that tests preload into a program, so that monotonic time passes IVS_CLOCK_RATE times
 * as fast for it. Deadlines and intervals of seconds then pass in a fraction of that time, and the
 * program is tested as it is shipped.
 */
#include <dlfcn.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define NS_PER_S INT64_C(1000000000)

static int64_t rate = 1;

static int (*next_clock_gettime)(clockid_t, struct timespec *);
static int (*next_epoll_wait)(int, struct epoll_event *, int, int);
static int (*next_nanosleep)(const struct timespec *, struct timespec *);
static int (*next_poll)(struct pollfd *, nfds_t, int);
static int (*next_timerfd_settime)(int, int, const struct itimerspec *, struct itimerspec *);

/* Return: the next definition of the symbol, which is in glibc or in a sanitizer's runtime. */
static void *next(const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (!found)
		abort();
	return found;
}

static void find_all(void)
{
	const char *text = getenv("IVS_CLOCK_RATE");

	if (next_timerfd_settime)
		return;
	next_clock_gettime = next("clock_gettime");
	next_epoll_wait = next("epoll_wait");
	next_nanosleep = next("nanosleep");
	next_poll = next("poll");
	next_timerfd_settime = next("timerfd_settime");
	if (text && atoi(text) > 0)
		rate = atoi(text);
}

/*
 * Call find_all() before a system call filter is installed. Constructors that run earlier may read
 * the time, so some of the functions below call find_all(), too.
 */
__attribute__((constructor)) static void begin(void)
{
	find_all();
}

static struct timespec timespec_of(int64_t ns)
{
	return (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
}

static struct timespec shortened(const struct timespec *time)
{
	int64_t ns = time->tv_sec * NS_PER_S + time->tv_nsec;

	return timespec_of((ns + rate - 1) / rate);
}

/* Round up: a timeout of 0 would make a loop spin until its deadline. */
static int shortened_ms(int ms)
{
	return ms <= 0 ? ms : (int)((ms + rate - 1) / rate);
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *now)
{
	int rc;

	find_all();
	rc = next_clock_gettime(clock, now);
	if (!rc && clock == CLOCK_MONOTONIC)
		*now = timespec_of((now->tv_sec * NS_PER_S + now->tv_nsec) * rate);
	return rc;
}

EXPORT int epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
	return next_epoll_wait(fd, events, max, shortened_ms(timeout_ms));
}

EXPORT int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	find_all();
	return next_poll(fds, n, shortened_ms(timeout_ms));
}

EXPORT int nanosleep(const struct timespec *time, struct timespec *left)
{
	struct timespec shorter = shortened(time);

	return next_nanosleep(&shorter, left);
}

EXPORT int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
	struct itimerspec shorter = {shortened(&new->it_interval), shortened(&new->it_value)};

	return next_timerfd_settime(fd, flags, &shorter, old);
}

EXPORT unsigned int alarm(unsigned int seconds)
{
	struct timespec length = {.tv_sec = seconds}, shorter = shortened(&length);
	struct itimerval timer = {.it_value = {shorter.tv_sec, shorter.tv_nsec / 1000}};

	(void)setitimer(ITIMER_REAL, &timer, NULL); /* this fails only for invalid values */
	return 0;
}
