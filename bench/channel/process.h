/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes of the benchmark, and names in the file system. When the parent ends, for whatever
 * reason, it ends its children and removes the names; if it is killed, the kernel ends them.
 */
#ifndef BENCH_CHANNEL_PROCESS_H
#define BENCH_CHANNEL_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** processes_init() - call this once, before any other function */
void processes_init(void);

/** die() - print what failed, with errno, and end the process, with its children */
void die(const char *what) __attribute__((noreturn));
/** die_because() - the same, with another reason than errno */
void die_because(const char *what, const char *reason) __attribute__((noreturn));

/** process_fork() - Return: 0 in the child, which ends when the parent does */
pid_t process_fork(void);

/**
 * process_exec() - run a program, without output
 * @argv:   argv[0] is looked up in PATH
 * @output: unless NULL, set to an fd from which its standard output can be read
 */
pid_t process_exec(const char *const *argv, int *output);

/**
 * processes_await() - wait until children have ended
 * @pids: set to 0
 *
 * Return: false if one of them failed; then the others have been ended.
 */
bool processes_await(pid_t *pids, size_t n);

/** process_end() - terminate a child, and wait until it has ended; 0 is ignored */
void process_end(pid_t *pid);

/**
 * names_add() - remove a file when the benchmark ends
 * @path: copied
 */
void names_add(const char *path);
/** names_remove_all() - remove all of them now */
void names_remove_all(void);
/** directory() - Return: a directory for sockets (in TMPDIR), removed when the benchmark ends */
const char *directory(void);

/** pin() - let this process run only on CPU 0 or 1 of those that the benchmark may use */
void pin(unsigned int cpu);

/** now_ns() - Return: the time */
int64_t now_ns(void);

/** shared_memory() - Return: zeroed memory that children share with their parent */
void *shared_memory(size_t len);

/** has_program() - Return: whether PATH has a program, or the path of a program exists */
bool has_program(const char *name);

/** tool_path() - Return: the path of a program of this project, in the same build; static */
const char *tool_path(const char *name);

#endif
