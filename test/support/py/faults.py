# SPDX-License-Identifier: BSD-3-Clause
"""Inject failures of system calls: the possible errors of each call, and a server run under
faults.c, which makes the calls fail."""
import errno
import functools
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from support.py.programs import TIMEOUT, Process, fd_count, is_sanitized

ONLY = os.environ.get("IVS_FAULT", "").split()
ALL = "IVS_FAULTS_ALL" in os.environ
FAILURES_MAX = 5  # do not test further calls after this many failures
PLACES_MAX = 1000
SANITIZED_STEP = 3
SKIPPED = 77
MALLOC = 100000  # FAULTS_MALLOC_NR

# What happens to clients if a call fails with one of these errors while the server is serving
# clients. HARMLESS: nothing but a delay. NEWCOMER: a client that is connecting at that time may be
# refused. AFFECTED: the client whose socket the call used may be dropped; calls on other fds do not
# return these errors.
HARMLESS, NEWCOMER, AFFECTED = "harmless", "newcomer", "affected"

#: Errors of calls that create an fd.
_FDS = "EMFILE ENFILE ENOMEM"

# call -> {effect on clients: the errors that the call can really return}. If no errors are listed
# for a call, it cannot fail in the way it is used here. Failures during startup and shutdown do not
# affect clients.
#
# sendmmsg()'s EAGAIN is missing, because the kernel returns it only for a full socket, and reports
# an event when there is room again. The scenario with a client that does not read covers it.
ERRORS = {
    "accept4": {HARMLESS: "EINTR EAGAIN ECONNABORTED ENOBUFS ENOMEM EPERM",
                NEWCOMER: "EMFILE ENFILE"},
    "bind": {HARMLESS: "EADDRINUSE EACCES ENOMEM ENOSPC EROFS"},
    "brk": {},  # the call has no errors: if it fails, it returns the previous value
    "capset": {HARMLESS: "EPERM"},
    "chmod": {HARMLESS: "EPERM EIO EROFS"},
    "clock_gettime": {},
    "clock_nanosleep": {HARMLESS: "EINTR"},
    "clone": {HARMLESS: "EAGAIN ENOMEM"},
    "clone3": {HARMLESS: "EAGAIN ENOMEM"},
    "close": {HARMLESS: "EINTR EIO"},
    "connect": {HARMLESS: "EAGAIN EINTR EACCES ENOMEM ENOENT"},
    "dup2": {HARMLESS: "EINTR EBUSY EMFILE"},
    "epoll_create1": {HARMLESS: _FDS},
    "epoll_ctl": {NEWCOMER: "ENOMEM ENOSPC"},
    "epoll_wait": {HARMLESS: "EINTR"},
    "eventfd2": {NEWCOMER: _FDS + " ENODEV"},
    "exit_group": {},
    "fallocate": {HARMLESS: "ENOSPC ENOMEM EINTR EIO EOPNOTSUPP"},
    "faccessat2": {HARMLESS: "EACCES EIO ENOMEM"},
    "fchmod": {HARMLESS: "EPERM EIO EROFS"},
    "fchownat": {HARMLESS: "EPERM EIO EROFS"},
    "fchown": {HARMLESS: "EPERM EIO EDQUOT"},
    "fcntl": {HARMLESS: "EBUSY EPERM ENOMEM"},
    "flock": {HARMLESS: "EINTR ENOLCK ENOMEM"},
    "fork": {HARMLESS: "EAGAIN ENOMEM"},
    "fstat": {HARMLESS: "EIO ENOMEM"},
    "fstatfs": {HARMLESS: "EIO ENOMEM ENOSYS"},
    "ftruncate": {HARMLESS: "EINTR EIO ENOSPC EFBIG"},
    "futex": {},
    "geteuid": {},
    "getpeername": {HARMLESS: "ENOTCONN ENOBUFS"},
    "getpid": {},
    "getrandom": {HARMLESS: "EAGAIN EINTR ENOSYS"},
    "getsockopt": {NEWCOMER: "EACCES ENOMEM ENOPROTOOPT"},
    "gettid": {},
    "getsockname": {HARMLESS: "ENOBUFS"},
    "getuid": {},
    "kill": {HARMLESS: "EPERM EACCES"},
    "lchown": {HARMLESS: "EPERM EIO EROFS"},
    "listen": {HARMLESS: "EADDRINUSE EACCES ENOMEM"},
    "lseek": {HARMLESS: "ESPIPE"},
    "madvise": {HARMLESS: "EINVAL ENOMEM EAGAIN"},
    "malloc": {NEWCOMER: "ENOMEM"},  # this also stands for calloc, realloc and reallocarray
    "memfd_create": {HARMLESS: _FDS + " EINVAL"},
    "mmap": {NEWCOMER: "ENOMEM"},
    "mremap": {NEWCOMER: "ENOMEM"},
    "mprotect": {HARMLESS: "ENOMEM"},
    "munmap": {HARMLESS: "ENOMEM"},
    "newfstatat": {HARMLESS: "EIO ENOMEM EACCES"},
    "openat": {NEWCOMER: _FDS + " EACCES EIO ENOSPC EINTR"},
    "pipe2": {HARMLESS: "EMFILE ENFILE"},
    "poll": {HARMLESS: "EINTR ENOMEM"},
    "pread64": {HARMLESS: "EIO EINTR"},
    "preadv2": {HARMLESS: "EINTR EAGAIN ENOMEM"},
    "prctl": {HARMLESS: "EPERM EINVAL"},
    "prlimit64": {HARMLESS: "EPERM"},
    "process_vm_readv": {AFFECTED: "EFAULT ENOMEM EPERM"},
    "process_vm_writev": {AFFECTED: "EFAULT ENOMEM EPERM"},
    "pwrite64": {AFFECTED: "EIO EINTR ENOSPC"},
    "readlink": {HARMLESS: "EACCES ENOENT EIO"},
    "readlinkat": {HARMLESS: "EACCES ENOENT ENOMEM"},
    "recvmsg": {HARMLESS: "EINTR EAGAIN", AFFECTED: "ECONNRESET ENOMEM EACCES"},
    "recvfrom": {HARMLESS: "EINTR", AFFECTED: "ECONNRESET ENOMEM EACCES"},
    "read": {HARMLESS: "EINTR", AFFECTED: "ECONNRESET ENOMEM EACCES"},
    "rt_sigaction": {},
    "rt_sigprocmask": {},
    "rseq": {},
    "seccomp": {HARMLESS: "ENOMEM EACCES EINVAL"},
    "sendmmsg": {HARMLESS: "EINTR ETOOMANYREFS ENOBUFS ENOMEM",
                 AFFECTED: "EPIPE ECONNRESET EACCES"},
    "sendmsg": {HARMLESS: "EINTR EAGAIN ETOOMANYREFS ENOBUFS ENOMEM",
                AFFECTED: "EPIPE ECONNRESET EACCES"},
    "sendto": {HARMLESS: "EPIPE ENOBUFS ECONNREFUSED EAGAIN"},
    "set_robust_list": {},
    "setitimer": {},
    "setsid": {},
    "shutdown": {HARMLESS: "ENOTCONN"},
    "setsockopt": {NEWCOMER: "EACCES ENOMEM"},
    "signalfd4": {HARMLESS: _FDS + " ENODEV"},
    "socket": {HARMLESS: _FDS + " ENOBUFS"},
    "socketpair": {HARMLESS: _FDS + " ENOBUFS"},
    "statx": {HARMLESS: "ENOMEM ENOSYS"},
    "sysinfo": {HARMLESS: "EFAULT"},
    "umask": {},
    "unlink": {HARMLESS: "EIO EBUSY EROFS"},
    "wait4": {HARMLESS: "EINTR"},
    "write": {HARMLESS: "EPIPE ENOSPC EIO EAGAIN EINTR"},
}


@functools.cache
def numbers():
    """Return: {name: number} for all system calls of this machine, according to the compiler."""
    for compiler in ("cc", "gcc", "clang"):
        try:
            text = subprocess.run([compiler, "-E", "-dM", "-include", "sys/syscall.h", "-xc",
                                   os.devnull], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        found = re.findall(r"^#define __NR_(\w+) (\d+)$", text, re.MULTILINE)
        return {"malloc": MALLOC, **{name: int(number) for name, number in found}}
    pytest.skip("needs a C compiler to look up system call numbers")


def names():
    """Return: {number: name} for all system calls of this machine."""
    return {number: name for name, number in numbers().items()}


def kinds(call):
    """Return: the errors that a system call can return, by their effect on clients."""
    assert call in ERRORS, (
        f"the server makes the system call {call}, which is missing in test/support/py/faults.py: "
        f"add its possible errors, and the clients that they may harm, to ERRORS")
    return {kind: text.split() for kind, text in ERRORS[call].items()}


class Seen:
    """What has happened since a fault was armed.

    fired:  whether the program has made the call that was to fail
    failed: whether that call was made to fail, which is not possible for some close() calls; see
            faults.c
    link:   the file behind that call's fd, as in /proc/PID/fd
    counts: number of calls, by name
    """

    def __init__(self, text):
        fired, self.link, *counted = text.split()
        self.fired = fired != "0"
        self.failed = fired == "1"
        self.counts = {names()[int(number)]: int(times)
                       for number, times in (word.split(":") for word in counted)}


class Faulty:
    """A program whose system calls can be made to fail.

    arm:     the first fault: ("start" or "now", call, n-th, error)
    preload: path of a library to preload, or None
    """

    def __init__(self, build, arguments, arm=("now", None, 0, None), preload=None):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(TIMEOUT)
        self._socket = ours
        self._waiting = []
        self._pidfd = None
        self._send_arm(*arm)
        libraries = ":".join(map(str, filter(None, [preload, os.environ.get("LD_PRELOAD")])))
        with theirs:
            self.process = Process([build / "test" / "faults", libraries or "-", *arguments],
                                   stdin=theirs)
        self.err = self.process.err
        try:
            self.pid = int(self._take("pid"))
        except ConnectionError:
            status = self.process.wait()
            self.close()
            if status == SKIPPED:
                pytest.skip("the kernel has no seccomp notification (Linux 5.9)")
            raise
        self._pidfd = os.pidfd_open(self.pid)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        """Kill the program without checking its status."""
        if self._pidfd is not None:
            self.signal(signal.SIGKILL)
            os.close(self._pidfd)
            self._pidfd = None
        self._socket.close()
        self.process.end()

    def _take(self, word):
        """Wait for a message that begins with this word. Return: the rest of the message."""
        while True:
            for at, text in enumerate(self._waiting):
                if text.split()[0] == word:
                    return self._waiting.pop(at)[len(word):].strip()
            text = self._socket.recv(8192).decode()
            if not text:
                raise ConnectionError(f"faults ended before it sent {word!r}")
            self._waiting.append(text)

    def _send_arm(self, when, call, nth, error):
        number = numbers()[call] if call else -1
        code = getattr(errno, error) if error else 0
        self._socket.send(f"arm {when} {number} {nth} {code}".encode())

    def arm(self, call=None, nth=0, error=None):
        """From now on, count calls of @call, and make the n-th fail. If @call is None, no call will
        fail."""
        self._send_arm("now", call, nth, error)
        self._take("armed")

    def ask(self):
        """Return what has happened since the fault was armed."""
        self._socket.send(b"ask")
        return Seen(self._take("asked"))

    def wait_serving(self):
        """Wait until the program has reached its event loop. Return: false if it exited first."""
        while True:
            if any(text == "waits" for text in self._waiting):
                return True
            if any(text.startswith("ended") for text in self._waiting):
                return False
            self._waiting.append(self._socket.recv(8192).decode())

    def wait_end(self):
        """Wait until the program ends. Return: its exit status, or the negated number of the signal
        that ended it."""
        return int(self._take("ended"))

    def signal(self, number):
        """Send a signal to the program, unless it has ended."""
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            pass


# Calls that must not fail in sanitizer builds: sanitizers map memory and allocate differently, and
# exit when that fails. They also make calls that the program itself does not make, so only in other
# builds must every call be in ERRORS.
NOT_UNDER_SANITIZERS = {"brk", "malloc", "mmap", "mprotect", "munmap"}


def stays(pid, fds):
    """Return true if the process still has @fds open fds a moment later, so that temporary fds are
    not counted."""
    time.sleep(0.1)
    try:
        return fd_count(pid) == fds
    except OSError:  # the process has ended
        return False


class Tally:
    """The number of faults injected, and the test failures."""

    def __init__(self, place, record_property):
        self.sanitized = is_sanitized(place.server_program)
        self.failures = []
        self.counts = {}
        self._record = record_property

    def play(self, counts, once, client_errors=False):
        """Repeat a scenario, and make each of its calls fail in turn. once(kind, call, nth, error)
        runs the scenario and returns a Seen.

        client_errors: also inject errors that only calls on a client's socket can return
        """
        for call in sorted(counts):
            if self.sanitized and (call in NOT_UNDER_SANITIZERS or call not in ERRORS):
                continue
            for kind, errors in kinds(call).items():
                if kind != AFFECTED or client_errors:
                    for variant in [[error] for error in errors] if ALL else [errors]:
                        self._play(kind, call, variant, once)

    def _play(self, kind, call, errors, once):
        """Make the first call fail, then the second, and so on, until the scenario makes fewer
        calls than that. Sanitizer builds try only some of them, because neighbouring calls mostly
        share the memory checks that the sanitizers add."""
        step = SANITIZED_STEP if self.sanitized else 1
        nth = 1
        fired = True
        while fired and len(self.failures) < FAILURES_MAX:
            error = errors[nth // step % len(errors)]
            if not ONLY or ONLY == [call, str(nth), error]:
                try:
                    fired = once(kind, call, nth, error).fired
                except (AssertionError, OSError) as failure:
                    what = str(failure).split("\nassert ", maxsplit=1)[0]
                    self.failures.append(f'IVS_FAULT="{call} {nth} {error}": {what}')
                self.counts[call] = self.counts.get(call, 0) + fired
            nth += step
            fired = fired and nth < PLACES_MAX

    def end(self):
        """Print the number of faults, and fail if the program mishandled any of them."""
        each = ", ".join(f"{call} {count}" for call, count in sorted(self.counts.items()))
        self._record("faults injected", f"{sum(self.counts.values())}: {each}")
        if self.failures:
            pytest.fail("\n".join(self.failures), pytrace=False)
        assert ONLY or self.counts, "no call was made to fail"


def preload(where):
    """Return: the path of the library that makes allocations fail; None for sanitizer builds, which
    have their own allocator."""
    if is_sanitized(where.server_program):
        return None
    return where.build / "test" / "libfaults-malloc.so"
