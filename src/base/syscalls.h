/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lists of system calls, each in the source file that makes these calls. daemon/sandbox.c builds
 * the seccomp filter from them.
 *
 * A list contains the system calls that its own file makes once the filter is loaded. It omits
 * those made during startup, and those made by our functions in other files, which have their own
 * lists. Different C libraries implement a function with different system calls, so a list contains
 * all variants (IVS_CALL_*). A system call that is not in any list kills the process.
 */
#ifndef IVS_BASE_SYSCALLS_H
#define IVS_BASE_SYSCALLS_H

#include <fcntl.h>
#include <stdint.h>

#define IVS_SYSCALL_ARGS_MAX 3

/**
 * struct ivs_syscall - one system call
 * @name:  as in the kernel's table; names that this architecture does not have are ignored
 * @args:  conditions on the arguments, all of which must hold: (argument & mask) == value. @number
 *         counts from 1; 0 ends the list. If several entries have the same name, the system call is
 *         allowed if any of them matches.
 * @error: nonzero: the system call fails with this errno instead of being executed
 */
struct ivs_syscall {
	const char *name;
	struct ivs_syscall_arg {
		unsigned int number;
		uint64_t mask;
		uint64_t value;
	} args[IVS_SYSCALL_ARGS_MAX];
	int error;
};

/** IVS_SYSCALLS() - define a list: IVS_SYSCALLS(ivs_door_syscalls, {"read"}, {"close"}); */
#define IVS_SYSCALLS(list, ...) const struct ivs_syscall list[] = {__VA_ARGS__, {0}}

/* clang-format off */

/* Conditions. The kernel ignores the upper half of the register of an int argument. */
#define IVS_ARG_HAS(number, mask, value) {number, mask, value}
#define IVS_ARG_LACKS(number, bits) {number, bits, 0}
#define IVS_ARG_IS(number, value) {number, 0xffffffff, value}
#define IVS_ARG_NULL(number) {number, UINT64_MAX, 0}
/* The pid of the process that loads the filter; represented by a mask of 0. */
#define IVS_ARG_OWN_PID(number) {number, 0, 0}

/* Flags of open(2) that write or create. O_TMPFILE includes O_DIRECTORY, which does neither. */
#define IVS_OPEN_WRITES (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

/* The system calls with which C libraries implement a function, on any architecture. */
#define IVS_CALL_FSTAT {"fstat"}, {"fstat64"}, {"newfstatat"}, {"fstatat64"}, {"statx"}
#define IVS_CALL_LSTAT {"lstat"}, {"lstat64"}, {"newfstatat"}, {"fstatat64"}, {"statx"}
#define IVS_CALL_UNLINK {"unlink"}, {"unlinkat", {IVS_ARG_IS(3, 0)}}
#define IVS_CALL_DUP2 {"dup2"}, {"dup3"}
#define IVS_CALL_DUPFD_CLOEXEC \
	{"fcntl", {IVS_ARG_IS(2, F_DUPFD_CLOEXEC)}}, {"fcntl64", {IVS_ARG_IS(2, F_DUPFD_CLOEXEC)}}
#define IVS_CALL_GETFD {"fcntl", {IVS_ARG_IS(2, F_GETFD)}}, {"fcntl64", {IVS_ARG_IS(2, F_GETFD)}}
#define IVS_CALL_GETFL {"fcntl", {IVS_ARG_IS(2, F_GETFL)}}, {"fcntl64", {IVS_ARG_IS(2, F_GETFL)}}
#define IVS_CALL_EPOLL_WAIT {"epoll_wait"}, {"epoll_pwait"}
#define IVS_CALL_GETRLIMIT \
	{"prlimit64", {IVS_ARG_IS(1, 0), IVS_ARG_NULL(3)}}, {"getrlimit"}, {"ugetrlimit"}
#define IVS_CALL_OPEN_TO_READ \
	{"openat", {IVS_ARG_LACKS(3, IVS_OPEN_WRITES)}}, \
	{"open", {IVS_ARG_LACKS(2, IVS_OPEN_WRITES)}}

/* clang-format on */

#endif
