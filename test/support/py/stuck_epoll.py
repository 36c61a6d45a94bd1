# SPDX-License-Identifier: BSD-3-Clause
"""Kernel locks that a process holds until it is told to release them.

epoll_wait(2) copies events to memory while it holds the epoll's mutex. If the copying causes a page
fault that is not resolved, here because of userfaultfd(2), epoll_wait(2) keeps the mutex. A process
that then closes the last fd of a file that the epoll watches waits for the mutex, and no signal
ends that wait. A process that adds this epoll to another epoll waits for its mutex while holding a
second mutex, which every process that nests epolls needs. (With memory of a FUSE file system
instead of userfaultfd(2), none of this needs privileges.)

In the same way, setsockopt(2) keeps a socket's lock while it copies a value, and write(2) keeps the
lock of a file's inode.
"""
import ctypes
import mmap
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

SYSCALL = {"x86_64": 323, "aarch64": 282}.get(os.uname().machine)  # userfaultfd(2)
API, REGISTER = 0xc018aa3f, 0xc020aa00  # UFFDIO_API, UFFDIO_REGISTER
API_VERSION, MISSING = 0xaa, 1
PR_SET_PDEATHSIG = 1


class Stuck:
    """A process that holds a lock from now until release()."""

    def __init__(self, way, fds):
        self._holder = subprocess.Popen([sys.executable, __file__, way, *map(str, fds)],
                                        pass_fds=fds, stdout=subprocess.PIPE)
        reply = self._holder.stdout.readline()
        if reply != b"held\n":
            self.release()
            pytest.skip(f"needs userfaultfd(2) for page faults in the kernel: {reply.decode()}")

    def release(self):
        """Release the lock, which ends all waits for it."""
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()

    close = release

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()


class StuckEpoll(Stuck):
    """Hold the mutex of an epoll that watches @fds. The process that holds it has closed its own
    copies of @fds.

    nested: also hold the mutex for nested epolls, of which the whole machine has only one
    """

    def __init__(self, *fds, nested=False):
        super().__init__("nested" if nested else "epoll", fds)


class StuckSocket(Stuck):
    """Hold a socket's lock."""

    def __init__(self, sock):
        super().__init__("socket", [sock.fileno()])


class StuckInode(Stuck):
    """Hold the lock of a file's inode. @file must be open for writing, but nothing is written."""

    def __init__(self, file):
        super().__init__("inode", [file])


def helpers(pid):
    """Return: {process id: state} for the helper processes that close fds for the program with
    process id @pid. The helper processes have the program's command line."""
    command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    states = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            name, rest = (process / "stat").read_text().rsplit(")", 1)
            if name.endswith("(ivshmem-closer") and (process / "cmdline").read_bytes() == command:
                states[int(process.name)] = rest.split()[0]
        except OSError:  # the process has exited
            continue
    return states


def blocked_n(pid):
    """Return: how many of these helper processes are blocked."""
    return list(helpers(pid).values()).count("D")


def missing_page(libc):
    """Map two pages; the first access to the second one blocks. Return: both pages, the address of
    the second one, and the userfaultfd."""
    pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    pages[0] = 1
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages)) + mmap.PAGESIZE
    uffd = libc.syscall(SYSCALL, os.O_CLOEXEC)
    if uffd < 0 or libc.ioctl(uffd, ctypes.c_ulong(API),
                              (ctypes.c_uint64 * 3)(API_VERSION)) or \
            libc.ioctl(uffd, ctypes.c_ulong(REGISTER),
                       (ctypes.c_uint64 * 4)(address, mmap.PAGESIZE, MISSING)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return pages, address, uffd


def nest(epoll):
    """Add @epoll to another epoll, in a thread that waits for the mutex of @epoll."""
    outer = select.epoll()
    thread = threading.Thread(target=outer.register, daemon=True, args=(epoll.fileno(),))
    thread.start()
    stat = pathlib.Path(f"/proc/self/task/{thread.native_id}/stat")
    while stat.read_text().rsplit(")", 1)[1].split()[0] != "D":
        time.sleep(0.005)


def watch(fds):
    """Watch the fds with an epoll that has an event, and close the fds. Return: the epoll."""
    epoll = select.epoll()
    epoll.register(os.eventfd(1), select.EPOLLIN)
    for fd in fds:
        epoll.register(fd, 0)
        os.close(fd)
    return epoll


def hold(way, fds):
    """Print "held" when the lock is held, and keep it until the process is killed."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # kill this process if the tests are killed
    _pages, address, uffd = missing_page(libc)
    if way == "socket":  # the first half of a struct linger is copied before the lock is taken
        call, words = libc.setsockopt, (fds[0], socket.SOL_SOCKET, socket.SO_LINGER,
                                        ctypes.c_void_p(address - 4), 8)
    elif way == "inode":
        call, words = libc.pwrite, (fds[0], ctypes.c_void_p(address), 8, 0)
    else:
        epoll = watch(fds)
        call, words = libc.epoll_wait, (epoll.fileno(), ctypes.c_void_p(address), 1, -1)
    threading.Thread(target=call, daemon=True, args=words).start()
    os.read(uffd, 32)  # the description of the page fault
    if way == "nested":
        nest(epoll)
    print("held", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    try:
        hold(sys.argv[1], [int(word) for word in sys.argv[2:]])
    except OSError as error:
        print(error, flush=True)
