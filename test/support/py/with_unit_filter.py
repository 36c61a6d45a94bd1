# SPDX-License-Identifier: BSD-3-Clause
"""Run a program under a systemd unit's system call filter, as systemd does. The unit's
SystemCallFilter= lists the calls that are allowed; any other call kills the program with SIGSYS.

usage: with_unit_filter.py UNIT PROGRAM [ARGUMENT]...
"""
import ctypes
import os
import pathlib
import subprocess
import sys

PR_SET_NO_NEW_PRIVS = 38
KILL_PROCESS, ALLOW = 0x80000000, 0x7fff0000
UNKNOWN = -1  # unknown on this architecture, or to libseccomp


def members(name):
    """Expand a set such as @chown to its system calls; any other name stands for itself."""
    if not name.startswith("@"):
        return {name}
    done = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter", name],
                          capture_output=True, text=True, timeout=60, check=True)
    words = [line.strip() for line in done.stdout.splitlines()[1:]]
    return set().union(*[members(word) for word in words if word and not word.startswith("#")])


def allowed(unit):
    """Return: the names of the system calls that a unit allows (systemd.exec(5),
    SystemCallFilter=)."""
    names = members("@default") | {"execve"}  # execve is needed to start the program
    for line in pathlib.Path(unit).read_text().splitlines():
        key, _, value = line.partition("=")
        if key != "SystemCallFilter":
            continue
        for word in value.removeprefix("~").split():
            names = names - members(word) if value.startswith("~") else names | members(word)
    return names


def install(names):
    """Load the filter, which is preserved across execve(2)."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(KILL_PROCESS)))
    for name in sorted(names):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number != UNKNOWN:
            seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, 0, None)
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if seccomp.seccomp_load(context):
        raise OSError("cannot install the filter")


if __name__ == "__main__":
    install(allowed(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
