# SPDX-License-Identifier: BSD-3-Clause
"""Run a program as on a kernel before 6.16, where setsockopt(2) rejects SO_PASSRIGHTS.

usage: without_passrights.py PROGRAM [ARGUMENT]...
"""
import ctypes
import errno
import os
import platform
import struct
import sys

SETSOCKOPT = {"x86_64": 54, "aarch64": 208}
SO_PASSRIGHTS = 83
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ, BPF_RET
ALLOW, ERRNO = 0x7fff0000, 0x00050000
NUMBER_AT, OPTION_AT = 0, 16 + 2 * 8  # in struct seccomp_data


def is_possible():
    """Return: whether the system call number of setsockopt(2) on this machine is known."""
    return platform.machine() in SETSOCKOPT


def install():
    """Load the filter, which is preserved across execve(2)."""
    code = [(LOAD, 0, 0, NUMBER_AT), (EQUAL, 0, 3, SETSOCKOPT[platform.machine()]),
            (LOAD, 0, 0, OPTION_AT), (EQUAL, 0, 1, SO_PASSRIGHTS),
            (RETURN, 0, 0, ERRNO | errno.ENOPROTOOPT), (RETURN, 0, 0, ALLOW)]
    held = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(held)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
            PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot install the filter")


if __name__ == "__main__":
    install()
    os.execv(sys.argv[1], sys.argv[1:])
