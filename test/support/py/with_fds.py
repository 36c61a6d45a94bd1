# SPDX-License-Identifier: BSD-3-Clause
"""Run a program the way a service manager does: move fds to 3, 4, ... and name them in the
environment.

usage: with_fds.py LISTEN_FDS|- FDNAMES FD,FD,... PROGRAM [ARGUMENT]...

LISTEN_FDS: the value of that variable; "-" stands for the number of fds
"""
import fcntl
import os
import sys

FIRST = 3  # SD_LISTEN_FDS_START


def main(count, names, listed, program, *arguments):
    fds = [int(fd) for fd in listed.split(",") if fd]
    # First move all fds out of the way, because one may have the number to which another must move.
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, FIRST + len(fds)) for fd in fds]
    for fd in fds:
        os.close(fd)
    for at, fd in enumerate(moved):
        os.dup2(fd, FIRST + at, inheritable=True)
        os.close(fd)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(fds)) if count == "-" else count
    os.environ["LISTEN_FDNAMES"] = names
    os.execv(program, [program, *arguments])


main(*sys.argv[1:])
