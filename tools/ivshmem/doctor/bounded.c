/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/bounded.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

#define MEMORY_MAX (512u << 20)

#ifdef __SANITIZE_ADDRESS__
#define LIMIT_MEMORY 0 /* the sanitizer reserves much more */
#else
#define LIMIT_MEMORY 1
#endif

/* A reply of 64 MB can take gigabytes when it is parsed, which would endanger VMs. */
static void limit_memory(void)
{
	const struct rlimit limit = {MEMORY_MAX, MEMORY_MAX};

	if (LIMIT_MEMORY)
		(void)setrlimit(RLIMIT_AS, &limit);
}

static bool write_all(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

/* Receive @len bytes until the deadline. Return: whether all of them came. */
static bool read_all(int fd, char *bytes, size_t len, int64_t deadline_ns)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	while (len) {
		ssize_t n;

		if (poll(&wait, 1, ivs_clock_left_ms(deadline_ns)) <= 0)
			return false;
		n = read(fd, bytes, len);
		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

bool bounded_run_for(int limit_ms, bool (*ask)(const void *question, void *answer),
		     const void *question, void *answer, size_t len)
{
	int64_t deadline_ns = ivs_clock_deadline(limit_ms);
	void *copy = malloc(len);
	int fds[2];
	bool done;
	pid_t pid;

	if (!copy || pipe2(fds, O_CLOEXEC)) {
		free(copy);
		return false;
	}
	pid = fork();
	if (!pid) {
		limit_memory();
		done = ask(question, answer) && write_all(fds[1], answer, len);
		_exit(!done);
	}
	ivs_fd_close(&fds[1]);
	done = pid > 0 && read_all(fds[0], copy, len, deadline_ns);
	ivs_fd_close(&fds[0]);
	if (done)
		memcpy(answer, copy, len);
	free(copy);
	if (pid > 0) {
		kill(pid, SIGKILL);
		/* Do not wait for a child that no signal can end. */
		(void)waitpid(pid, NULL, done ? 0 : WNOHANG);
	}
	return done;
}

bool bounded_run(bool (*ask)(const void *question, void *answer), const void *question,
		 void *answer, size_t len)
{
	return bounded_run_for(BOUNDED_MS, ask, question, answer, len);
}
