/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of daemon/sandbox.h: the lists of system calls as text. The filter itself is tested in
 * test/server/test_sandbox.py. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef HAVE_SECCOMP
#include <seccomp.h>
#endif

#include "daemon/log.h"
#include "daemon/process_syscalls.h"
#include "daemon/sandbox.h"
#include "server/syscalls.h"

static char *list(const struct ivs_syscall *const *lists)
{
	char *text = NULL;

	cr_assert_eq(ivs_sandbox_list(ivs_server_syscall_lists, lists, &text), 0);
	cr_assert_not_null(text);
	return text;
}

static bool has_line(const char *text, const char *line)
{
	size_t len = strlen(line);

	for (const char *at = strstr(text, line); at; at = strstr(at + 1, line)) {
		if ((at == text || at[-1] == '\n') && at[len] == '\n')
			return true;
	}
	return false;
}

static const struct ivs_syscall *const nothing[] = {NULL};

Test(isolate, allows_what_a_server_does)
{
	char *text = list(nothing);

	cr_expect(has_line(text, "sendmmsg"));
	cr_expect(has_line(text, "accept4"));
	cr_expect(has_line(text, "exit_group"));
	cr_expect(has_line(text, "unlinkat 3&0xffffffff=0"));
	cr_expect(!strstr(text, "openat"));
	cr_expect(!strstr(text, "socket "));
	cr_expect(!strstr(text, "execve"));
	cr_expect(!strstr(text, "clone"));
	free(text);
}

Test(isolate, lists_are_added)
{
	const struct ivs_syscall *const lists[] = {ivs_start_syscalls, NULL};
	char *text = list(lists);

	cr_expect(has_line(text, "execve"));
	cr_expect(has_line(text, "clone3 error 38"));
	cr_expect(has_line(text, "accept4"));
	free(text);
}

Test(isolate, no_line_occurs_twice)
{
	const struct ivs_syscall *const lists[] = {ivs_log_syslog_syscalls, ivs_start_syscalls,
						   ivs_start_syscalls, NULL};
	char *text = list(lists);
	char *line = strtok(text, "\n");

	for (char *next; (next = strtok(NULL, "\n")); line = next)
		cr_expect_str_neq(line, next);
	free(text);
}

Test(isolate, an_unconditional_line_overrides_conditions)
{
	static IVS_SYSCALLS(some, {"dup", {IVS_ARG_IS(1, 3)}});
	static IVS_SYSCALLS(all, {"dup"});
	const struct ivs_syscall *const lists[] = {some, all, NULL};
	char *text = list(lists);

	cr_expect(has_line(text, "dup"));
	cr_expect(!strstr(text, "dup 1&"));
	free(text);
}

Test(isolate, too_many_lines_are_an_error)
{
	static char names[600][8];
	static struct ivs_syscall many[601];
	const struct ivs_syscall *const lists[] = {many, NULL};
	char *text;

	for (int i = 0; i < 600; i++) {
		snprintf(names[i], sizeof(names[i]), "call%d", i);
		many[i].name = names[i];
	}
	cr_expect_eq(ivs_sandbox_list(ivs_server_syscall_lists, lists, &text), -E2BIG);
}

Test(isolate, a_superset_suffices)
{
	struct ivs_error err = {0};

	cr_expect_eq(ivs_sandbox_suffices("read\nwrite\n", "", &err), 0);
	cr_expect_eq(ivs_sandbox_suffices("read\nwrite\n", "read\n", &err), 0);
	cr_expect_eq(ivs_sandbox_suffices("read\nwrite\n", "write\nread\n", &err), 0);
	cr_expect_eq(ivs_sandbox_suffices("read\n", "read 1&0x3=0x1\n", &err), 0);
	cr_expect_eq(ivs_sandbox_suffices("read 1&0x3=0x1\n", "read 1&0x3=0x1\n", &err), 0);

	cr_expect_eq(ivs_sandbox_suffices("reads\n", "read\n", &err), IVS_SANDBOX_E_MORE);
	cr_expect_eq(ivs_sandbox_suffices("rea\n", "read\n", &err), IVS_SANDBOX_E_MORE);
	cr_expect_eq(ivs_sandbox_suffices("", "read\n", &err), IVS_SANDBOX_E_MORE);
	cr_expect_eq(ivs_sandbox_suffices("read 1&0x3=0x1\n", "read 1&0x3=0\n", &err),
		     IVS_SANDBOX_E_MORE);
	cr_expect_eq(ivs_sandbox_suffices("read 1&0x3=0x1\n", "write\nread\n", &err),
		     IVS_SANDBOX_E_MORE);
	cr_expect_not_null(strstr(err.text, "\"write\""));
	/* A filter that lets a system call fail with an error does not allow that call. */
	cr_expect_eq(ivs_sandbox_suffices("clone3 error 38\n", "clone3\n", &err),
		     IVS_SANDBOX_E_MORE);
}

#ifdef HAVE_SECCOMP
/* Have a sandboxed child write a byte to itself or to this process. Return: the child's status from
 * wait(2); 0 if the write was allowed. */
static int write_confined(bool to_itself)
{
	static IVS_SYSCALLS(writes, {"process_vm_writev", {IVS_ARG_OWN_PID(1)}});
	const struct ivs_sandbox_options opts = {
		.filter = true, .always = ivs_server_syscall_lists, .lists = {writes}};
	static char target;
	char byte = 1;
	struct iovec from = {&byte, 1}, to = {&target, 1};
	struct ivs_error err = {0};
	int status;
	pid_t pid = fork();

	if (!pid) {
		pid_t whom = to_itself ? getpid() : getppid();

		if (ivs_sandbox(&opts, &err))
			_exit(2);
		_exit(process_vm_writev(whom, &from, 1, &to, 1, 0) == 1 ? 0 : 1);
	}
	cr_assert_gt(pid, 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(target, 0, "the child has written to this process");
	return status;
}

Test(isolate, own_pid_is_no_other_pid, .timeout = 60)
{
	int status;

	if (ivs_sandbox_lacks())
		return;
	cr_expect_eq(write_confined(true), 0);
	status = write_confined(false);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "status %#x",
		  (unsigned int)status);
}

/* A misspelt name would be silently missing from the filter. libseccomp knows the system calls of
 * all architectures. */
Test(isolate, names_are_known_to_libseccomp)
{
	const struct ivs_syscall *const lists[] = {ivs_log_syslog_syscalls, ivs_start_syscalls,
						   NULL};
	char *text = list(lists);

	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		line[strcspn(line, " ")] = '\0';
		cr_expect_neq(seccomp_syscall_resolve_name(line), __NR_SCMP_ERROR,
			      "\"%s\" is not a system call", line);
	}
	free(text);
}
#endif
