# SPDX-License-Identifier: BSD-3-Clause
"""The memory of the roster: how much a crowd of clients costs, and that it is returned when they
have left."""
import contextlib
import resource
import socket

import pytest

from support.py.programs import fd_count, rss_kib, wait_until
from support.py.wire import RawClient

CROWD = 4500  # of one user, which has at most 15/16 of the places
IDS = 8192  # the roster has room for as many ids
RECORD = 64 + 2 * IDS // 8  # bytes
MIB = 1024  # KiB


@pytest.fixture(name="many_files", autouse=True)
def fixture_many_files():
    """Permit the test's process and the server to have enough fds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * CROWD:
        pytest.skip(f"needs a limit of {2 * CROWD} fds (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(place, count):
    """Connect clients that read nothing."""
    socks = []
    for _ in range(count):
        socks.append(socket.socket(socket.AF_UNIX))
        socks[-1].connect(str(place.socket))
    return socks


def is_served(place):
    """A newcomer is greeted: the server has handled all that happened before."""
    with RawClient(str(place.socket), 0) as client:
        return client.greeting().id


@pytest.mark.parametrize("stays", [0, 1, 30], ids=["none stays", "one stays", "some stay"])
def test_memory_is_returned_when_a_crowd_has_left(place, stays):
    """While a crowd is connected the roster has no more memory than their records need. When they
    have left it is as small as before, but for the records of those that stay."""
    server = place.server("-n", "0", nofile=2 * CROWD)
    with contextlib.ExitStack() as stack:
        is_served(place)
        before, fds = rss_kib(server.pid), fd_count(server.pid)
        socks = connect(place, CROWD)
        for sock in socks:
            stack.enter_context(sock)
        is_served(place)
        crowded = rss_kib(server.pid) - before
        assert crowded * 1024 < 1.3 * CROWD * RECORD + 6 * MIB * 1024
        step = CROWD // stays if stays else CROWD + 1
        for at, sock in enumerate(socks):
            if not stays or at % step:
                sock.close()
        wait_until(lambda: fd_count(server.pid) <= fds + stays + 1, "the crowd has left")
        is_served(place)
        after = rss_kib(server.pid) - before
        print(f"KiB more than before: crowd {crowded}, afterwards {after}")
        assert after < 3 * MIB + stays * 8
    server.stop()
