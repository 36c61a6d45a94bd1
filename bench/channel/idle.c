/* SPDX-License-Identifier: BSD-3-Clause */
/* What a process costs that waits for a message: how often it wakes up, and its CPU time. */
#include <dirent.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"
#include "process.h"
#include "results.h"

#define IDLE_LEN 64
#define SETTLE_MS 50 /* after this time a process that waits is asleep */
#define TRIPS_N 4
#define TRIP_MS 3
#define START_MS 10000

/** struct cost - of a process, with all its threads, since it was started */
struct cost {
	double wakeups;
	double cpu_ns;
};

/* Each time that a thread goes to sleep counts as one switch. */
static double count_switches(const char *path)
{
	char line[128];
	double n = 0;
	FILE *file = fopen(path, "re");

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "voluntary_ctxt_switches: %lf", &n) == 1)
			break;
	}
	if (file)
		fclose(file);
	return n;
}

static struct cost cost_of(pid_t pid)
{
	struct cost cost = {0};
	struct timespec used;
	struct dirent *entry;
	char path[300];
	clockid_t clock;
	DIR *threads;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	threads = opendir(path);
	while (threads && (entry = readdir(threads))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%.32s/status", (int)pid, entry->d_name);
		cost.wakeups += count_switches(path);
	}
	if (threads)
		closedir(threads);
	if (!clock_getcpuclockid(pid, &clock) && !clock_gettime(clock, &used))
		cost.cpu_ns = (double)used.tv_sec * 1e9 + (double)used.tv_nsec;
	return cost;
}

static void sleep_ms(unsigned int ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000L};

	while (nanosleep(&left, &left))
		;
}

/* A sender or publisher finds its receivers when it sends, a publisher at most once in 1 ms. */
static void get_acquainted(const struct way *way, enum side side)
{
	char buffer[IDLE_LEN] = {0};

	for (unsigned int i = 0; i < TRIPS_N; i++) {
		if (side == SIDE_ASKS) {
			sleep_ms(TRIP_MS);
			way->send(buffer, sizeof(buffer));
		}
		way->receive(buffer, sizeof(buffer));
		if (side == SIDE_ANSWERS)
			way->send(buffer, sizeof(buffer));
	}
}

/*
 * After some round trips, each side knows the other. Both report to the pipe @started; the asking
 * side sends again when @go is closed.
 */
static pid_t start_side(const struct way *way, enum side side, const int started[2],
			const int go[2])
{
	char buffer[IDLE_LEN] = {0};
	pid_t pid = process_fork();

	if (pid)
		return pid;
	close(go[1]);
	pin(side);
	way->start(side);
	get_acquainted(way, side);
	if (write(started[1], "", 1) != 1)
		die("write");
	if (side == SIDE_ANSWERS)
		way->receive(buffer, sizeof(buffer));
	else if (read(go[0], buffer, 1) >= 0)
		way->send(buffer, sizeof(buffer));
	if (way->finish)
		way->finish();
	_exit(0);
}

static bool await_start(int started)
{
	struct pollfd poller = {.fd = started, .events = POLLIN};
	char byte;

	return poll(&poller, 1, START_MS) == 1 && read(started, &byte, 1) == 1;
}

static struct idle observe(pid_t pid, unsigned int idle_ms)
{
	struct cost before, after;
	int64_t began_ns;
	double ns;

	sleep_ms(SETTLE_MS);
	before = cost_of(pid);
	began_ns = now_ns();
	sleep_ms(idle_ms);
	after = cost_of(pid);
	ns = (double)(now_ns() - began_ns);
	return (struct idle){(after.wakeups - before.wakeups) / ns * 1e9,
			     (after.cpu_ns - before.cpu_ns) / ns * 100};
}

void measure_idle(unsigned int way, unsigned int round, const struct amount *amount)
{
	int started[2], go[2];
	pid_t sides[2];
	bool good;

	if (results.absent[way] || ways[way]->spins || ways[way]->kind == WAY_FLOOR ||
	    ways[way]->len_min > IDLE_LEN)
		return;
	results.absent[way] = ways[way]->prepare(IDLE_LEN);
	if (results.absent[way])
		return;
	if (pipe(started) || pipe(go))
		die("pipe");
	for (unsigned int i = 0; i < 2; i++)
		sides[i] = start_side(ways[way], i, started, go);
	close(started[1]);
	good = await_start(started[0]) && await_start(started[0]);
	if (good)
		results.idle[way][round] = observe(sides[SIDE_ANSWERS], amount->idle_ms);
	close(go[1]);
	good = processes_await(sides, 2) && good;
	if (!good && ways[way]->kind != WAY_OTHER)
		die_because(ways[way]->name, "its processes failed");
	if (!good)
		results.absent[way] = "its processes failed";
	close(started[0]);
	close(go[0]);
	if (ways[way]->clean)
		ways[way]->clean();
}
