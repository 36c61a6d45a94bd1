/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What code asks of the kernel, as data beside that code. Whoever confines the process joins these
 * lists (isolate.c); the files that have them know nothing of filters.
 *
 * A list names the calls that its own file makes while a server serves: not those of the functions
 * of ours that it calls, which have lists of their own, nor those of opening and starting, which is
 * done before. C libraries differ in which call they make for a function, so where there are
 * siblings all of them are named (IVS_CALL_*): a call that is missing ends the server.
 */
#ifndef IVS_BASE_SYSCALLS_H
#define IVS_BASE_SYSCALLS_H

#include <fcntl.h>
#include <stdint.h>

#define IVS_SYSCALL_ARGS_MAX 3

/**
 * struct ivs_syscall - one system call
 * @name:  as in the kernel's table; one that this machine does not have is fine
 * @args:  what must be true of its arguments, all of it: (argument & mask) == value. @number counts
 *         from 1, and 0 ends them. Several entries with the same name: one of them must fit.
 * @error: not 0: the call is refused with this error number, instead of ending the process
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

/* Conditions. Of an int only the lower half of the register means something. */
#define IVS_ARG_HAS(number, mask, value) {number, mask, value}
#define IVS_ARG_LACKS(number, bits) {number, bits, 0}
#define IVS_ARG_IS(number, value) {number, 0xffffffff, value}
#define IVS_ARG_NULL(number) {number, UINT64_MAX, 0}
/* That of the process that loads the filter: no bits to compare is what no other condition has. */
#define IVS_ARG_OWN_PID(number) {number, 0, 0}

/* Flags of open(2) that write or make something. O_TMPFILE has O_DIRECTORY in it, which does not. */
#define IVS_OPEN_WRITES (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

/* What C libraries make of a function, on one machine or another. */
#define IVS_CALL_FSTAT {"fstat"}, {"fstat64"}, {"newfstatat"}, {"fstatat64"}, {"statx"}
#define IVS_CALL_LSTAT {"lstat"}, {"lstat64"}, {"newfstatat"}, {"fstatat64"}, {"statx"}
#define IVS_CALL_UNLINK {"unlink"}, {"unlinkat", {IVS_ARG_IS(3, 0)}}
#define IVS_CALL_DUP2 {"dup2"}, {"dup3"}
#define IVS_CALL_DUPFD_CLOEXEC \
	{"fcntl", {IVS_ARG_IS(2, F_DUPFD_CLOEXEC)}}, {"fcntl64", {IVS_ARG_IS(2, F_DUPFD_CLOEXEC)}}
#define IVS_CALL_GETFD {"fcntl", {IVS_ARG_IS(2, F_GETFD)}}, {"fcntl64", {IVS_ARG_IS(2, F_GETFD)}}
#define IVS_CALL_GETFL {"fcntl", {IVS_ARG_IS(2, F_GETFL)}}, {"fcntl64", {IVS_ARG_IS(2, F_GETFL)}}
#define IVS_CALL_EPOLL_WAIT {"epoll_wait"}, {"epoll_pwait"}
#define IVS_CALL_GETRLIMIT {"prlimit64", {IVS_ARG_IS(1, 0), IVS_ARG_NULL(3)}}, {"getrlimit"}, {"ugetrlimit"}
#define IVS_CALL_OPEN_TO_READ \
	{"openat", {IVS_ARG_LACKS(3, IVS_OPEN_WRITES)}}, {"open", {IVS_ARG_LACKS(2, IVS_OPEN_WRITES)}}

/* clang-format on */

#endif
