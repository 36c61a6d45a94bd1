/* SPDX-License-Identifier: BSD-3-Clause */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILDREN_MAX 32
#define NAMES_MAX 32
#define PATH_LEN 108   /* as that of a UNIX socket */
#define PATIENCE_S 120 /* children that take longer are stuck */
#define END_TRIES 5000 /* how often to look, once per millisecond, whether a child has ended */

static pid_t parent;
static volatile pid_t children[CHILDREN_MAX];
static volatile pid_t *awaited;
static volatile size_t awaited_n;
static char names[NAMES_MAX][PATH_LEN];
static char own_directory[PATH_LEN];
static int cpus[2] = {-1, -1};

static void sleep_ms(void)
{
	nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void reap(pid_t pid)
{
	for (unsigned int i = 0; i < END_TRIES; i++) {
		if (waitpid(pid, NULL, WNOHANG))
			return;
		sleep_ms();
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

void names_add(const char *path)
{
	for (unsigned int i = 0; i < NAMES_MAX; i++) {
		if (!names[i][0]) {
			snprintf(names[i], PATH_LEN, "%s", path);
			return;
		}
	}
	die_because(path, "too many names");
}

void names_remove_all(void)
{
	for (unsigned int i = 0; i < NAMES_MAX; i++) {
		if (names[i][0])
			unlink(names[i]);
		names[i][0] = 0;
	}
}

/* Calls only functions that signal handlers may call. */
static void clean(void)
{
	if (getpid() != parent)
		return;
	for (unsigned int i = 0; i < CHILDREN_MAX; i++) {
		if (children[i])
			kill(children[i], SIGTERM);
	}
	for (unsigned int i = 0; i < CHILDREN_MAX; i++) {
		if (children[i])
			reap(children[i]);
		children[i] = 0;
	}
	names_remove_all();
	if (own_directory[0])
		rmdir(own_directory);
}

static const int end_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static void end(int sig)
{
	clean();
	_exit(128 + sig);
}

/* The awaited children are stuck. */
static void give_up(int sig)
{
	(void)sig;
	for (size_t i = 0; i < awaited_n; i++) {
		if (awaited[i])
			kill(awaited[i], SIGKILL);
	}
}

static void find_cpus(void)
{
	cpu_set_t set;
	unsigned int n = 0;

	if (sched_getaffinity(0, sizeof(set), &set))
		die("sched_getaffinity");
	for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++) {
		if (CPU_ISSET(cpu, &set))
			cpus[n++] = cpu;
	}
	if (n < 2)
		die_because("needs two CPUs", "its processes spin");
}

void processes_init(void)
{
	struct sigaction action = {.sa_handler = end};

	parent = getpid();
	find_cpus();
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(end_signals) / sizeof(*end_signals); i++)
		sigaction(end_signals[i], &action, NULL);
	action.sa_handler = give_up;
	sigaction(SIGALRM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	atexit(clean);
}

void die_because(const char *what, const char *reason)
{
	fprintf(stderr, "bench/channel: %s: %s\n", what, reason);
	if (getpid() == parent)
		exit(1);
	_exit(1);
}

void die(const char *what)
{
	die_because(what, strerror(errno));
}

/* Return: whether the child had not been reaped. */
static bool forget(pid_t pid)
{
	bool found = false;

	for (unsigned int i = 0; i < CHILDREN_MAX; i++) {
		if (children[i] != pid)
			continue;
		children[i] = 0;
		found = true;
	}
	return found;
}

/* The handlers are blocked while a child exists that is not in the list. */
pid_t process_fork(void)
{
	unsigned int place = 0;
	sigset_t all, old;
	pid_t pid;

	while (place < CHILDREN_MAX && children[place])
		place++;
	if (place == CHILDREN_MAX)
		die_because("fork", "too many children");
	fflush(stdout);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	pid = fork();
	if (pid > 0)
		children[place] = pid;
	if (!pid) {
		for (size_t i = 0; i < sizeof(end_signals) / sizeof(*end_signals); i++)
			signal(end_signals[i], SIG_DFL);
		if (prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != parent)
			_exit(1);
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		die("fork");
	return pid;
}

pid_t process_exec(const char *const *argv, int *output)
{
	int ends[2];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid;

	if (null < 0 || (output && pipe2(ends, O_CLOEXEC)))
		die("pipe");
	pid = process_fork();
	if (!pid) {
		dup2(null, STDIN_FILENO);
		dup2(output ? ends[1] : null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		signal(SIGPIPE, SIG_DFL);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	close(null);
	if (output) {
		close(ends[1]);
		*output = ends[0];
	}
	return pid;
}

/* Return: whether a child that has ended is one of them and has failed. */
static bool note_end(pid_t pid, int status, size_t *left)
{
	(void)forget(pid);
	for (size_t i = 0; i < awaited_n; i++) {
		if (awaited[i] != pid)
			continue;
		awaited[i] = 0;
		(*left)--;
		return status != 0;
	}
	return false;
}

bool processes_await(pid_t *pids, size_t n)
{
	size_t left = n;
	bool good = true;

	awaited = pids;
	awaited_n = n;
	alarm(PATIENCE_S);
	while (left) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			die("waitpid");
		if (!note_end(pid, status, &left))
			continue;
		good = false;
		give_up(0);
	}
	alarm(0);
	awaited_n = 0;
	return good;
}

void process_end(pid_t *pid)
{
	if (*pid && forget(*pid)) {
		kill(*pid, SIGTERM);
		reap(*pid);
	}
	*pid = 0;
}

const char *directory(void)
{
	if (!own_directory[0]) {
		const char *parent_directory = getenv("TMPDIR");
		char path[PATH_LEN];

		snprintf(path, sizeof(path), "%s/ivs-bench-XXXXXX",
			 parent_directory ? parent_directory : "/tmp");
		if (!mkdtemp(path))
			die(path);
		memcpy(own_directory, path, sizeof(path));
	}
	return own_directory;
}

void pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpus[cpu], &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void *shared_memory(size_t len)
{
	void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

bool has_program(const char *name)
{
	const char *path = getenv("PATH");
	char *folders, *at = NULL;
	bool found = false;

	if (strchr(name, '/'))
		return !access(name, X_OK);
	folders = strdup(path ? path : "/usr/bin:/bin");
	for (char *folder = strtok_r(folders, ":", &at); folder && !found;
	     folder = strtok_r(NULL, ":", &at)) {
		char file[4096];

		snprintf(file, sizeof(file), "%s/%s", folder, name);
		found = !access(file, X_OK);
	}
	free(folders);
	return found;
}

const char *tool_path(const char *name)
{
	static char path[8192];
	char own[4096];
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);

	if (n < 0)
		die("/proc/self/exe");
	own[n] = 0;
	snprintf(path, sizeof(path), "%s/../%s", dirname(own), name);
	return path;
}
