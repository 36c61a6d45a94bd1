/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/process_syscalls.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* clang-format off */

/*
 * Mapped memory is anonymous and never executable, so an attacker who controls the server can
 * neither map the region nor add code. abort(3) has no entry, because the filter kills the process
 * anyway.
 */
#define MAPS_MEMORY {IVS_ARG_LACKS(3, PROT_EXEC), IVS_ARG_HAS(4, MAP_ANONYMOUS, MAP_ANONYMOUS)}

IVS_SYSCALLS(ivs_libc_syscalls,
	/* malloc(3), which reads a random key at its first allocation */
	{"brk"}, {"munmap"}, {"mremap"}, {"madvise"}, {"getrandom"},
	{"mmap", MAPS_MEMORY}, {"mmap2", MAPS_MEMORY},
	{"mprotect", {IVS_ARG_LACKS(3, PROT_EXEC)}},
	/* reading clocks that the vDSO does not provide */
	{"clock_gettime"}, {"clock_gettime64"}, {"gettimeofday"},
	/* restarting calls that were interrupted by SIGSTOP and SIGCONT or by a tracer */
	{"restart_syscall"}, {"rt_sigreturn"}, {"sigreturn"},
	{"exit_group"}, {"exit"});

/* Only private mappings of files can be executable, and these are not writable. */
#define MAPS_CODE {IVS_ARG_HAS(3, PROT_EXEC | PROT_WRITE, PROT_EXEC), \
		   IVS_ARG_HAS(4, MAP_ANONYMOUS | MAP_TYPE, MAP_PRIVATE)}
#define MAPS_DATA {IVS_ARG_LACKS(3, PROT_EXEC), IVS_ARG_HAS(4, MAP_TYPE, MAP_PRIVATE)}
/* Mapping the handover's memfd (handover.c). This also permits mapping the region. */
#define MAPS_NOTES {IVS_ARG_LACKS(3, PROT_EXEC), IVS_ARG_HAS(4, MAP_TYPE, MAP_SHARED)}
/* fork(3), but not creating threads or namespaces */
#define FORKS {IVS_ARG_HAS(1, 0xffffffff & ~(CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID), SIGCHLD)}
#define FCNTLS(call) \
	{call, {IVS_ARG_IS(2, F_GETFD)}}, {call, {IVS_ARG_IS(2, F_SETFD)}}, \
	{call, {IVS_ARG_IS(2, F_GETFL)}}, {call, {IVS_ARG_IS(2, F_GET_SEALS)}}, \
	{call, {IVS_ARG_IS(2, F_DUPFD_CLOEXEC)}}, {call, {IVS_ARG_IS(2, F_ADD_SEALS)}}

/*
 * The list was found with strace -f, by starting the server with each kind of region, in the
 * foreground and as a daemon, with users and groups to look up, and with a filter to load;
 * test_sandbox.py repeats these starts. The following calls are deliberately not listed, and
 * therefore fatal:
 *
 *   open() to write or create  region and pidfile are passed as fds, not opened again
 *   bind(), listen()           the listening socket is passed as an fd, too
 *   chdir(), chroot()          the root directory does not change again
 *   fchown(), fchmod()         owner and mode are already set
 *   connect()                  used only to query nscd(8) for users; the filter makes socket()
 *                              fail before that, so the C library reads the files in /etc instead
 */
IVS_SYSCALLS(ivs_start_syscalls,
	/* the old program: write a memfd for the new one, fork, execve, collect the exit status */
	{"memfd_create"}, {"ftruncate"}, FCNTLS("fcntl"), FCNTLS("fcntl64"), {"dup"}, IVS_CALL_DUP2,
	{"pipe2"}, {"write"}, {"clone", FORKS}, {"fork"}, {"wait4"}, {"waitid"},
	{"alarm"}, {"setitimer"},
	{"prctl", {IVS_ARG_IS(1, PR_SET_PDEATHSIG)}},
	{"clone3", .error = ENOSYS}, /* arguments are in memory, which a filter cannot read */
	{"execve"}, {"execveat"},
	/* ld.so finds and maps the libraries */
	IVS_CALL_OPEN_TO_READ, {"read"}, {"pread64"}, {"close"}, {"lseek"}, {"_llseek"},
	IVS_CALL_FSTAT, IVS_CALL_LSTAT, {"stat"}, {"stat64"},
	{"access"}, {"faccessat"}, {"faccessat2"}, {"readlink"}, {"readlinkat"},
	{"mmap", MAPS_CODE}, {"mmap", MAPS_DATA}, {"mmap", MAPS_NOTES}, 
	{"mmap2", MAPS_CODE}, {"mmap2", MAPS_DATA}, {"mmap2", MAPS_NOTES},
	{"mprotect", {IVS_ARG_LACKS(3, PROT_EXEC)}},
	/* the C library starts */
	{"arch_prctl"}, {"set_tid_address"}, {"set_thread_area"}, {"set_robust_list"}, {"rseq"},
	{"uname"}, {"sysinfo"},
	{"prlimit64", {IVS_ARG_IS(1, 0)}}, {"getrlimit"}, {"ugetrlimit"}, {"setrlimit"},
	{"getpid"}, {"gettid"}, {"getppid"}, {"getuid"}, {"geteuid"}, {"getgid"}, {"getegid"},
	{"getuid32"}, {"geteuid32"}, {"getgid32"}, {"getegid32"},
	{"futex"}, {"sched_getaffinity"}, {"rt_sigaction"}, {"rt_sigprocmask"}, {"getcwd"},
	/* looking up users and groups by name */
	{"socket", {IVS_ARG_IS(1, AF_UNIX), IVS_ARG_HAS(2, 0xf, SOCK_STREAM)}, .error = EACCES},
	/* the server creates its event loop, and checks the fds that were passed to it */
	{"epoll_create1"}, {"epoll_create"}, {"eventfd2"}, {"signalfd4"}, {"epoll_ctl"},
	{"getsockopt"}, {"getsockname"}, {"fstatfs"}, {"fstatfs64"}, {"flock"},
	/* confining again (sandbox.c): each of these only drops privileges */
	{"prctl", {IVS_ARG_IS(1, PR_SET_NO_NEW_PRIVS)}}, {"prctl", {IVS_ARG_IS(1, PR_GET_SECCOMP)}},
	{"prctl", {IVS_ARG_IS(1, PR_CAPBSET_READ)}}, {"prctl", {IVS_ARG_IS(1, PR_CAPBSET_DROP)}},
	{"prctl", {IVS_ARG_IS(1, PR_CAP_AMBIENT), IVS_ARG_IS(2, PR_CAP_AMBIENT_CLEAR_ALL)}},
	{"capset"}, {"seccomp"});
