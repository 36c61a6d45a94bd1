# SPDX-License-Identifier: BSD-3-Clause
"""Run a program in another root directory, as another user, with this machine's /dev and /proc.

usage: in_root.py ROOT TMP USER [NAME=VALUE]... PROGRAM [ARGUMENT]...

TMP:  the directory to use as its /tmp
USER: its uid, which is also its gid
NAME: a variable in its environment, which contains few others
"""
import ctypes
import os
import signal
import sys

CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def check(result):
    """Raise an OSError if a system call failed."""
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def bind(source, target):
    """Also mount a directory in a second place, for this process and its children."""
    check(LIBC.mount(os.fsencode(source), os.fsencode(target), None, MS_BIND | MS_REC, None))


def main(root, tmp, user, *words):
    environment = {"HOME": "/tmp", "XDG_RUNTIME_DIR": "/tmp", "LC_ALL": "C", "PATH": "/usr/bin"}
    while "=" in words[0]:
        name, _, value = words[0].partition("=")
        environment[name] = value
        words = words[1:]
    check(LIBC.unshare(CLONE_NEWNS))
    check(LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    bind("/dev", f"{root}/dev")
    bind("/proc", f"{root}/proc")
    bind(tmp, f"{root}/tmp")
    os.chroot(root)
    os.chdir("/tmp")
    os.setgroups([])
    os.setresgid(int(user), int(user), int(user))
    os.setresuid(int(user), int(user), int(user))
    # This is done last, because the kernel clears the setting when the user changes.
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.execve(words[0], words, environment)


main(*sys.argv[1:])
