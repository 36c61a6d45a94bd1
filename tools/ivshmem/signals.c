/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/signals.h"

#include <stddef.h>

#include "tools/shared/usage.h"

static const int stop_numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

#define STOP_N (sizeof(stop_numbers) / sizeof(*stop_numbers))

static struct ivs_peer *volatile stopped_peer;
static volatile sig_atomic_t stopped_by;

void signals_add_stop(sigset_t *set)
{
	for (size_t i = 0; i < STOP_N; i++)
		sigaddset(set, stop_numbers[i]);
}

void signals_find_stop(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < STOP_N; i++) {
		struct sigaction action;

		if (!sigaction(stop_numbers[i], NULL, &action) && action.sa_handler != SIG_IGN)
			sigaddset(set, stop_numbers[i]);
	}
}

void signals_hold(sigset_t *before)
{
	sigset_t held;

	usage_hold();
	sigemptyset(&held);
	signals_add_stop(&held);
	/* Writing to a closed pipe; exceeding the limit of a file's size (ulimit -f) */
	sigaddset(&held, SIGPIPE);
	sigaddset(&held, SIGXFSZ);
	sigprocmask(SIG_BLOCK, &held, before);
}

void signals_release(const sigset_t *before)
{
	usage_release();
	sigprocmask(SIG_SETMASK, before, NULL);
}

bool signals_pending(void)
{
	sigset_t pending;

	if (sigpending(&pending))
		return false;
	for (size_t i = 0; i < STOP_N; i++) {
		if (sigismember(&pending, stop_numbers[i]) == 1)
			return true;
	}
	return false;
}

static void stop_peer(int signum)
{
	stopped_by = signum;
	if (stopped_peer)
		ivs_peer_stop(stopped_peer);
}

void signals_stop_peer(struct ivs_peer *peer)
{
	struct sigaction action = {.sa_handler = stop_peer, .sa_flags = SA_RESETHAND};
	sigset_t stop;

	stopped_peer = peer;
	signals_find_stop(&stop);
	for (size_t i = 0; i < STOP_N; i++) {
		if (sigismember(&stop, stop_numbers[i]) == 1)
			(void)sigaction(stop_numbers[i], &action, NULL);
	}
}

void signals_forget_peer(void)
{
	stopped_peer = NULL;
}

bool signals_have_stopped(void)
{
	return stopped_by;
}

void signals_end(void)
{
	if (!stopped_by)
		return;
	(void)signal(stopped_by, SIG_DFL);
	(void)raise(stopped_by);
}
