/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/virsh.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "tools/shared/usage.h"

#define WORDS_MAX 16
#define TIMEOUT_MS 60000
#define OUTPUT_MAX (4u << 20)

extern char **environ;

/**
 * struct child - a running virsh
 * @fds:   its standard output and standard error
 * @text:  its output
 * @error: its errors
 */
struct child {
	pid_t pid;
	int fds[2];
	char *text;
	size_t len;
	char error[VIRSH_ERROR_LEN];
	size_t error_len;
};

/* Put @input into a file that virsh can read as its standard input. */
static int input_open(const char *input)
{
	IVS_OWNED_FD fd = input ? memfd_create("virsh", MFD_CLOEXEC)
				: open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && input &&
	    (write(fd, input, strlen(input)) != (ssize_t)strlen(input) || lseek(fd, 0, SEEK_SET)))
		return -1;
	return ivs_fd_take(&fd);
}

static int spawn(struct child *child, const char *const *words, int in, int out, int err)
{
	const char *argv[WORDS_MAX + 1] = {"virsh"};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int errnum;

	for (size_t i = 0; words[i] && i + 1 < WORDS_MAX; i++)
		argv[i + 1] = words[i];
	sigemptyset(&none);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
	errnum = posix_spawnp(&child->pid, "virsh", &actions, &attributes, (char **)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return errnum;
}

static int child_start(struct child *child, const char *const *words, const char *input)
{
	IVS_OWNED_FD in = input_open(input);
	int out[2] = {-1, -1};
	int err[2] = {-1, -1};
	int errnum;

	if (in < 0 || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		errnum = errno;
	else
		errnum = spawn(child, words, in, out[1], err[1]);
	ivs_fd_close(&out[1]);
	ivs_fd_close(&err[1]);
	child->fds[0] = out[0];
	child->fds[1] = err[0];
	if (errnum == ENOENT)
		return usage_failed("virsh is not installed: install the package libvirt-clients "
				    "(Debian) or libvirt-client (Fedora, openSUSE)");
	return errnum ? usage_failed("cannot run virsh: %s", strerror(errnum)) : 0;
}

/* Read from one of the pipes. Return: whether there may be more. */
static bool child_read(struct child *child, unsigned int which)
{
	char bytes[16384];
	ssize_t n = read(child->fds[which], bytes, sizeof(bytes));
	char *grown;

	if (n < 0)
		return errno == EINTR;
	if (!n)
		return false;
	if (which) {
		size_t room = sizeof(child->error) - 1 - child->error_len;
		size_t take = (size_t)n < room ? (size_t)n : room;

		memcpy(child->error + child->error_len, bytes, take);
		child->error_len += take;
		return true;
	}
	grown = child->len + (size_t)n < OUTPUT_MAX ? realloc(child->text, child->len + n + 1)
						    : NULL;
	if (!grown)
		return false;
	child->text = grown;
	memcpy(grown + child->len, bytes, (size_t)n);
	child->len += (size_t)n;
	grown[child->len] = '\0';
	return true;
}

/* Read until virsh has closed both pipes. Return: whether it did so in time. */
static bool child_read_all(struct child *child)
{
	int64_t deadline_ns = ivs_clock_deadline(TIMEOUT_MS);

	while (child->fds[0] >= 0 || child->fds[1] >= 0) {
		struct pollfd fds[2] = {{.fd = child->fds[0], .events = POLLIN},
					{.fd = child->fds[1], .events = POLLIN}};

		if (poll(fds, 2, ivs_clock_left_ms(deadline_ns)) == 0)
			return false;
		for (unsigned int i = 0; i < 2; i++) {
			if (fds[i].revents && !child_read(child, i))
				ivs_fd_close(&child->fds[i]);
		}
	}
	return true;
}

/* virsh prints several lines, such as what has failed, and why. Put them on one line. */
static void take_message(const char *text, char error[VIRSH_ERROR_LEN])
{
	size_t len = 0;

	while (*(text += strspn(text, "\n")) && len < VIRSH_ERROR_LEN) {
		size_t line_len = strcspn(text, "\n");

		len += (size_t)snprintf(error + len, VIRSH_ERROR_LEN - len, "%s%.*s",
					len ? "; " : "", (int)line_len, text);
		text += line_len;
	}
	if (!len)
		snprintf(error, VIRSH_ERROR_LEN, "it failed without a message");
}

/* @error: set to what virsh says, if virsh has failed. */
static int child_end(struct child *child, bool in_time, char error[VIRSH_ERROR_LEN])
{
	int status = -1;

	if (!in_time)
		kill(child->pid, SIGKILL);
	while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (!in_time)
		return usage_failed("virsh did not end within %d s: libvirt is hung",
				    TIMEOUT_MS / 1000);
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	take_message(child->error, error);
	return STATUS_FAILED;
}

int virsh_try(const char *const *words, const char *input, char **out, char error[VIRSH_ERROR_LEN])
{
	struct child child = {.fds = {-1, -1}};
	int status = child_start(&child, words, input);

	*error = '\0';
	if (!status)
		status = child_end(&child, child_read_all(&child), error);
	ivs_fd_close(&child.fds[0]);
	ivs_fd_close(&child.fds[1]);
	if (!status && !child.text)
		child.text = strdup("");
	if (!status && !child.text)
		status = usage_failed("%s", strerror(ENOMEM));
	if (status)
		free(child.text);
	*out = status ? NULL : child.text;
	return status;
}

int virsh_run(const char *const *words, const char *input, char **out)
{
	char error[VIRSH_ERROR_LEN];
	int status = virsh_try(words, input, out, error);

	if (*error)
		usage_failed("virsh: %s", error);
	return status;
}

bool xml_next(const char *from, const char *name, struct xml_part *out)
{
	char begin[32];
	char end[32];
	size_t len = strlen(name);

	snprintf(begin, sizeof(begin), "<%s", name);
	snprintf(end, sizeof(end), "</%s>", name);
	for (const char *at = from; (at = strstr(at, begin)); at++) {
		const char *tag_end = strchr(at, '>');
		const char *close;

		if (!tag_end || !strchr(" />", at[len + 1]))
			continue;
		close = tag_end[-1] == '/' ? NULL : strstr(tag_end, end);
		out->text = at;
		out->len = (size_t)((close ? close + strlen(end) : tag_end + 1) - at);
		return true;
	}
	return false;
}

void xml_value(const struct xml_part *part, const char *before, char *out, size_t out_len)
{
	size_t len = strlen(before);
	const char *at;
	const char *end;

	*out = '\0';
	at = memmem(part->text, part->len, before, len);
	if (!at || at + len >= part->text + part->len || (at[len] != '\'' && at[len] != '"'))
		return;
	end = memchr(at + len + 1, at[len], (size_t)(part->text + part->len - at) - len - 1);
	if (end && (size_t)(end - at) - len - 1 < out_len)
		snprintf(out, out_len, "%.*s", (int)(end - at - (ptrdiff_t)len - 1), at + len + 1);
}

bool xml_find_shmem(const char *xml, const char *alias, struct xml_part *out)
{
	char found[VIRSH_ALIAS_LEN];

	for (; xml_next(xml, "shmem", out); xml = out->text + out->len) {
		xml_value(out, "<alias name=", found, sizeof(found));
		if (!strcmp(found, alias))
			return true;
	}
	return false;
}
