# SPDX-License-Identifier: BSD-3-Clause
"""A client punches a hole into the region: which kinds of regions are safe between clients that do
not trust each other (SECURITY.md)."""
import ctypes
import faulthandler
import fcntl
import mmap
import os
import signal

import pytest

from support.py.wire import RawClient

LIBC = ctypes.CDLL(None, use_errno=True)
PUNCH = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
HUGE = 2 << 20
MFD_HUGETLB = 4
F_ADD_SEALS = 1033
F_SEAL_WRITE, F_SEAL_FUTURE_WRITE = 8, 16


def fallocate(fd, mode, length):
    """Call fallocate(2) at offset 0. Return: 0 or an errno."""
    if not LIBC.fallocate(fd, mode, ctypes.c_long(0), ctypes.c_long(length)):
        return 0
    return ctypes.get_errno()


class Victim:
    """A process that has mapped the region and locked it in memory; it reads a byte on request."""

    def __init__(self, fd):
        self._to_child, self._in_parent = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            faulthandler.disable()
            memory = mmap.mmap(fd, HUGE)
            memory[0] = 7
            address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            LIBC.mlock(ctypes.c_void_p(address), ctypes.c_size_t(HUGE))
            os.write(self._in_parent[1], b"r")
            os.read(self._to_child[0], 1)
            os._exit(memory[0])
        os.read(self._in_parent[0], 1)

    def end(self):
        """Make the victim read the byte. Return: the byte's value, or the negated number of the
        signal that killed the victim."""
        os.write(self._to_child[1], b"g")
        status = os.waitpid(self.pid, 0)[1]
        for fd in (*self._to_child, *self._in_parent):
            os.close(fd)
        return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def test_hole_in_a_sealed_region(place):
    """An access to a hole in a "memfd:" region finds a page of zeroes."""
    server = place.server("-l", HUGE, region=["-r", "memfd:"])
    assert not server.err.count("any client can")
    with RawClient(str(place.socket), 1) as hostile:
        hostile.greeting()
        victim = Victim(hostile.memory)
        assert fallocate(hostile.memory, PUNCH, HUGE) == 0
        assert victim.end() == 0
    server.stop()


@pytest.mark.usefixtures("huge_pages")
@pytest.mark.parametrize("takes", [False, True], ids=["page stays free", "page is taken"])
def test_hole_in_a_region_of_huge_pages(place, takes):
    """An access to a hole in a "memfd:2M" region also finds a page of zeroes, unless no huge page
    is free: then SIGBUS kills the victim. The server warns of this at startup, and SECURITY.md
    describes it."""
    server = place.server("-l", HUGE, region=["-r", "memfd:2M"])
    server.err.wait("any client can take huge pages out of the region")
    taken = []
    with RawClient(str(place.socket), 1) as hostile:
        hostile.greeting()
        victim = Victim(hostile.memory)
        assert fallocate(hostile.memory, PUNCH, HUGE) == 0
        while takes:
            taken.append(os.memfd_create("taken", MFD_HUGETLB))
            os.ftruncate(taken[-1], HUGE)
            if fallocate(taken[-1], 0, HUGE):
                break
        assert victim.end() == (-signal.SIGBUS if takes else 0)
    for fd in taken:
        os.close(fd)
    server.stop()


@pytest.mark.parametrize("seal", [F_SEAL_WRITE, F_SEAL_FUTURE_WRITE])
@pytest.mark.parametrize("huge", [0, MFD_HUGETLB], ids=["pages", "huge pages"])
def test_seals_against_holes_forbid_writing(seal, huge):
    """No seal helps: the seals that forbid holes also forbid mapping the memory for writing."""
    try:
        fd = os.memfd_create("region", os.MFD_ALLOW_SEALING | huge)
    except OSError as error:
        pytest.skip(f"this kernel has no huge pages: {error}")
    try:
        os.ftruncate(fd, HUGE)
        fcntl.fcntl(fd, F_ADD_SEALS, seal)
        with pytest.raises(PermissionError):
            mmap.mmap(fd, HUGE)
        assert fallocate(fd, PUNCH, HUGE) == 1  # EPERM
    finally:
        os.close(fd)
