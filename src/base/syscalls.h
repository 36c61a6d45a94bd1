/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lists of system calls, each beside the code that makes them. daemon/sandbox.c builds the seccomp
 * filter from them.
 *
 * A list has the calls that its own file makes after the program has started. Not in it are those
 * of our functions that the file calls, which have their own lists, and those made during start,
 * before the filter is loaded. C libraries implement a function with different calls, so a list has
 * all variants (IVS_CALL_*): a call that is missing ends the process.
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
 *         counts from 1; 0 ends the list. If several entries have the same name, one must match.
 * @error: not 0: the call fails with this errno, and does not end the process
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

/* Conditions. For an int only the lower half of the register counts. */
#define IVS_ARG_HAS(number, mask, value) {number, mask, value}
#define IVS_ARG_LACKS(number, bits) {number, bits, 0}
#define IVS_ARG_IS(number, value) {number, 0xffffffff, value}
#define IVS_ARG_NULL(number) {number, UINT64_MAX, 0}
/* The pid of the process that loads the filter; marked by an empty mask. */
#define IVS_ARG_OWN_PID(number) {number, 0, 0}

/* Flags of open(2) that write or create. O_TMPFILE includes O_DIRECTORY, which does neither. */
#define IVS_OPEN_WRITES (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

/* The calls that C libraries make for a function, on any architecture. */
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
