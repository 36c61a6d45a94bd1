/* SPDX-License-Identifier: BSD-3-Clause */
#include "sender.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "clients.h"

#define ARGS_MAX 64
#define ARG_LEN 256
#define STOP_MS 5000
#define SETTLE_MS 2000
#define SETTLE_STEP_MS 5

static bool pin_disabled;

void bench_pin_disable(void)
{
	pin_disabled = true;
}

void bench_pin(bool sender)
{
	cpu_set_t allowed;
	cpu_set_t one;
	int first = -1;
	int last = -1;

	if (pin_disabled || sched_getaffinity(0, sizeof(allowed), &allowed))
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed))
			continue;
		first = first < 0 ? cpu : first;
		last = cpu;
	}
	if (first == last)
		return;
	CPU_ZERO(&one);
	CPU_SET(sender ? first : last, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void pause_ms(int ms)
{
	const struct timespec pause = {ms / 1000, ms % 1000 * IVS_NS_PER_MS};

	nanosleep(&pause, NULL);
}

/* Copy @from, replacing {socket}, {dir} and {vectors}. */
static void expand_arg(const char *from, const struct bench_server *server, unsigned int vectors_n,
		       char out[ARG_LEN])
{
	size_t len = 0;

	while (*from && len < ARG_LEN - 1) {
		int n = 0;

		if (!strncmp(from, "{socket}", 8)) {
			n = snprintf(out + len, ARG_LEN - len, "%s/sock", server->dir);
			from += 8;
		} else if (!strncmp(from, "{dir}", 5)) {
			n = snprintf(out + len, ARG_LEN - len, "%s", server->dir);
			from += 5;
		} else if (!strncmp(from, "{vectors}", 9)) {
			n = snprintf(out + len, ARG_LEN - len, "%u", vectors_n);
			from += 9;
		} else {
			out[len] = *from++;
			n = 1;
		}
		len += (size_t)n;
	}
	out[len < ARG_LEN ? len : ARG_LEN - 1] = '\0';
}

void bench_sender_become(pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	bench_pin(true);
}

static void exec_server(const struct bench_server *server, unsigned int vectors_n)
{
	static char texts[ARGS_MAX][ARG_LEN];
	char *argv[ARGS_MAX + 2] = {(char *)server->path};
	char *words = strdup(server->args);
	char path[ARG_LEN];
	unsigned int n = 0;
	int log;

	if (!words)
		return;
	for (char *word = strtok(words, " "); word && n < ARGS_MAX; word = strtok(NULL, " ")) {
		expand_arg(word, server, vectors_n, texts[n]);
		argv[n + 1] = texts[n];
		n++;
	}
	snprintf(path, sizeof(path), "%s/log", server->dir);
	log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (log < 0 || dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0)
		return;
	execv(server->path, argv);
}

int bench_sender_start(const struct bench_server *server, unsigned int vectors_n,
		       struct bench_sender *out)
{
	pid_t parent = getpid();

	out->pid = fork();
	if (out->pid < 0)
		return -errno;
	if (!out->pid) {
		bench_sender_become(parent);
		exec_server(server, vectors_n);
		_exit(127);
	}
	return -clock_getcpuclockid(out->pid, &out->clock);
}

int64_t bench_sender_cpu(const struct bench_sender *sender)
{
	struct timespec now;

	if (clock_gettime(sender->clock, &now))
		return 0;
	return now.tv_sec * IVS_NS_PER_S + now.tv_nsec;
}

void bench_sender_settle(const struct bench_sender *sender)
{
	int64_t before = -1;
	int64_t now = bench_sender_cpu(sender);
	unsigned int same_n = 0;

	for (int ms = 0; ms < SETTLE_MS && same_n < 2; ms += SETTLE_STEP_MS) {
		pause_ms(SETTLE_STEP_MS);
		before = now;
		now = bench_sender_cpu(sender);
		same_n = now == before ? same_n + 1 : 0;
	}
}

long bench_sender_rss_kib(const struct bench_sender *sender)
{
	char path[64];
	char line[128];
	long kib = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)sender->pid);
	file = fopen(path, "re");
	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		if (!strncmp(line, "VmHWM:", 6))
			kib = strtol(line + 6, NULL, 10);
	}
	fclose(file);
	return kib;
}

static void describe_status(int status, char *how, size_t how_len)
{
	if (WIFSIGNALED(status))
		snprintf(how, how_len, "the server was killed by signal %d (%s)", WTERMSIG(status),
			 sigdescr_np(WTERMSIG(status)));
	else if (WEXITSTATUS(status) == 127)
		snprintf(how, how_len, "the server cannot be executed");
	else
		snprintf(how, how_len, "the server exited with status %d", WEXITSTATUS(status));
}

void bench_sender_stop(struct bench_sender *sender, char *how, size_t how_len)
{
	int status = 0;

	how[0] = '\0';
	if (sender->pid <= 0)
		return;
	if (waitpid(sender->pid, &status, WNOHANG) == sender->pid) {
		describe_status(status, how, how_len);
		sender->pid = -1;
		return;
	}
	kill(sender->pid, SIGTERM);
	for (int ms = 0; ms < STOP_MS; ms += SETTLE_STEP_MS) {
		if (waitpid(sender->pid, &status, WNOHANG) == sender->pid) {
			sender->pid = -1;
			return;
		}
		pause_ms(SETTLE_STEP_MS);
	}
	kill(sender->pid, SIGKILL);
	waitpid(sender->pid, &status, 0);
	sender->pid = -1;
}
