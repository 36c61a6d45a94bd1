/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/progress.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define NOTE_LEN 160
#define FIRST_S 2 /* work that takes less time needs no line */

static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	const char *what;
	bool runs;
	bool end;
	_Atomic uint64_t done;
	_Atomic uint64_t total; /* 0: not known */
	char note[NOTE_LEN];	/* under @lock */
} progress = {.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};

/* Wait until @s seconds after the start of the work. Return: whether the work has ended. */
static bool progress_wait(const struct timespec *start, long s)
{
	const struct timespec until = {.tv_sec = start->tv_sec + s, .tv_nsec = start->tv_nsec};

	while (!progress.end &&
	       !pthread_cond_clockwait(&progress.ended, &progress.lock, CLOCK_MONOTONIC, &until))
		continue;
	return progress.end;
}

static void progress_print(long s)
{
	uint64_t total = atomic_load(&progress.total);
	uint64_t done = atomic_load(&progress.done);

	fprintf(stderr, "\r%s: %ld s ", progress.what, s);
	if (total)
		fprintf(stderr, "%" PRIu64 " of %" PRIu64 " MiB (%.0f %%) \033[K", done >> 20,
			total >> 20, 100.0 * (double)done / (double)total);
	if (*progress.note)
		fprintf(stderr, "%s \033[K", progress.note);
	fflush(stderr);
}

static void *progress_run(void *unused)
{
	struct timespec start;
	bool shown = false;

	(void)unused;
	clock_gettime(CLOCK_MONOTONIC, &start);
	pthread_mutex_lock(&progress.lock);
	for (long s = FIRST_S; !progress_wait(&start, s); s++) {
		progress_print(s);
		shown = true;
	}
	pthread_mutex_unlock(&progress.lock);
	if (shown)
		fputs("\r\033[K", stderr);
	return NULL;
}

void progress_start(const char *what)
{
	sigset_t all;
	sigset_t before;

	if (!isatty(STDERR_FILENO))
		return;
	progress.what = what;
	progress.end = false;
	atomic_store(&progress.total, 0);
	progress.note[0] = '\0';
	/* Only the thread that does the work may receive signals. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	progress.runs = !pthread_create(&progress.thread, NULL, progress_run, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void progress_set(uint64_t done, uint64_t total)
{
	atomic_store(&progress.done, done);
	atomic_store(&progress.total, total);
}

void progress_note(const char *text)
{
	pthread_mutex_lock(&progress.lock);
	snprintf(progress.note, sizeof(progress.note), "%s", text);
	pthread_mutex_unlock(&progress.lock);
}

void progress_end(void)
{
	if (!progress.runs)
		return;
	pthread_mutex_lock(&progress.lock);
	progress.end = true;
	pthread_cond_signal(&progress.ended);
	pthread_mutex_unlock(&progress.lock);
	pthread_join(progress.thread, NULL);
	progress.runs = false;
}
