/* SPDX-License-Identifier: BSD-3-Clause */
/* Helpers shared by several cases. */
#include "conform.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 100000
#define CHILD_S 30

int64_t conform_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void conform_fail(struct conform *c, const char *format, ...)
{
	va_list args;

	if (c->failed)
		return;
	c->failed = true;
	va_start(args, format);
	vsnprintf(c->why, sizeof(c->why), format, args);
	va_end(args);
}

const char *conform_result(int result)
{
	static const char *const names[] = {
		[0] = "0",
		[IVS_PEER_E_ADDRESS] = "ADDRESS",
		[IVS_PEER_E_ABSENT] = "ABSENT",
		[IVS_PEER_E_AMBIGUOUS] = "AMBIGUOUS",
		[IVS_PEER_E_VECTOR] = "VECTOR",
		[IVS_PEER_E_TIMEOUT] = "TIMEOUT",
		[IVS_PEER_E_UNSUPPORTED] = "UNABLE",
		[IVS_PEER_E_PROTOCOL] = "PROTOCOL",
		[IVS_PEER_E_SERVER_LOST] = "LOST",
		[IVS_PEER_E_BUSY] = "BUSY",
		[IVS_PEER_E_DEVICE_GONE] = "GONE",
		[IVS_PEER_E_STOPPED] = "STOPPED",
	};
	static _Thread_local char texts[8][64];
	static _Thread_local unsigned int turn;
	char *text = texts[turn++ % 8];

	if (result >= 0 && (size_t)result < sizeof(names) / sizeof(*names) && names[result])
		return names[result];
	if (result < 0)
		snprintf(text, sizeof(texts[0]), "-%s", strerrorname_np(-result));
	else
		snprintf(text, sizeof(texts[0]), "%d", result);
	return text;
}

int conform_open(struct conform *c, const char *address, const struct ivs_peer_options *opts,
		 struct ivs_peer **out, struct ivs_error *err)
{
	struct ivs_peer *peer = NULL;
	int result;

	if (c->extra_n == EXTRAS_MAX) {
		conform_fail(c, "a case opens too many peers");
		return -EMFILE;
	}
	result = ivs_peer_open(address, opts, &peer, err);
	if (result)
		return result;
	c->extra[c->extra_n++] = peer;
	if (out)
		*out = peer;
	return 0;
}

void conform_close_extras(struct conform *c)
{
	while (c->extra_n)
		ivs_peer_close(c->extra[--c->extra_n]);
}

void conform_close(struct conform *c)
{
	ivs_peer_close(c->peer);
	c->peer = NULL;
	c->memory = NULL;
	c->mailbox = NULL;
}

bool conform_reopen(struct conform *c, const struct ivs_peer_options *opts)
{
	struct ivs_error err;
	int result;

	conform_close(c);
	result = ivs_peer_open(c->address, opts, &c->peer, &err);
	if (result) {
		c->peer = NULL;
		conform_fail(c, "opening %s: %s: %s", c->address, conform_result(result), err.text);
		return false;
	}
	c->memory = ivs_peer_memory(c->peer, NULL);
	c->mailbox = (struct mailbox *)(void *)(c->memory + MAILBOX_AT);
	return true;
}

bool conform_unable(struct conform *c, int result, enum ivs_peer_cap cap)
{
	const char *why = ivs_peer_cap_reason(c->peer, cap);

	if (result != IVS_PEER_E_UNSUPPORTED)
		conform_fail(c, "expected UNSUPPORTED, got %s", conform_result(result));
	else if (!why)
		conform_fail(c, "UNSUPPORTED, but ivs_peer_cap_reason(0x%x) is NULL", cap);
	return !c->failed;
}

bool conform_drain(struct conform *c, struct ivs_peer *peer, int ms)
{
	struct ivs_event event;
	int result = 0;

	for (int i = 0; i < EVENTS_MAX && !result; i++)
		result = ivs_peer_next(peer, ms, &event);
	if (result == IVS_PEER_E_TIMEOUT || result == IVS_PEER_E_UNSUPPORTED)
		return true;
	conform_fail(c, "taking all events: expected TIMEOUT, got %s", conform_result(result));
	return false;
}

static bool is_about(const struct ivs_event *event, enum ivs_event_type type, unsigned int number)
{
	if (event->type != type)
		return false;
	if (type == IVS_EVENT_DOORBELL)
		return event->vector == number;
	return type == IVS_EVENT_SERVER_LOST || event->id == number;
}

bool conform_await(struct conform *c, struct ivs_peer *peer, enum ivs_event_type type,
		   unsigned int number, struct ivs_event *out)
{
	int64_t end = conform_now_ms() + LONG_MS;
	struct ivs_event event;
	int result = 0;

	while (!result && conform_now_ms() < end) {
		result = ivs_peer_next(peer, LONG_MS, &event);
		if (!result && is_about(&event, type, number)) {
			if (out)
				*out = event;
			return true;
		}
	}
	conform_fail(c, "an event of type %d about %u did not arrive: %s", type, number,
		     conform_result(result));
	return false;
}

unsigned int conform_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	unsigned int n = 0;

	while (dir && (entry = readdir(dir)))
		n += *entry->d_name != '.';
	if (dir)
		closedir(dir);
	return n;
}

void conform_expect_fds(struct conform *c, const char *address, unsigned int before)
{
	int64_t end = conform_now_ms() + LONG_MS;

	while (conform_fds() != before && conform_now_ms() < end)
		take_a_breath();
	EXPECT(c, conform_fds() == before, "%s: %u fds before, %u after", address, before,
	       conform_fds());
}

static void in_child(struct conform *c, void (*run)(struct conform *c), int out)
{
	alarm(CHILD_S);
	run(c);
	if (c->failed && write(out, c->why, strlen(c->why)) < 0)
		_exit(2);
	_exit(c->failed);
}

int conform_in_child(struct conform *c, void (*run)(struct conform *c))
{
	char why[WHY_LEN] = "";
	int ends[2];
	int status;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC)) {
		conform_fail(c, "cannot create a pipe: %m");
		return 0;
	}
	fflush(NULL);
	pid = fork();
	if (!pid)
		in_child(c, run, ends[1]);
	close(ends[1]);
	if (read(ends[0], why, sizeof(why) - 1) > 0)
		conform_fail(c, "in the child: %s", why);
	close(ends[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		conform_fail(c, "cannot fork: %m");
		return 0;
	}
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

bool conform_await_sleep(struct conform *c, int tid)
{
	int64_t end = conform_now_ms() + LONG_MS;
	char path[64];
	char text[256];

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	while (conform_now_ms() < end) {
		FILE *stat = fopen(path, "re");
		size_t n = stat ? fread(text, 1, sizeof(text) - 1, stat) : 0;
		const char *state;

		if (stat)
			fclose(stat);
		text[n] = 0;
		state = strrchr(text, ')');
		if (state && state[1] == ' ' && state[2] == 'S')
			return true;
		take_a_breath();
	}
	conform_fail(c, "the thread is not waiting");
	return false;
}
