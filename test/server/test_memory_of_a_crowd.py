# SPDX-License-Identifier: BSD-3-Clause
"""The memory of the roster: how much a crowd of clients needs, and that the server returns the
memory when they have left."""
import contextlib
import resource
import socket

import pytest

from support.py.programs import fd_count, is_sanitized, rss_kib, wait_until
from support.py.wire import RawClient

CROWD = 4500  # clients of one user, which gets at most 15/16 of the places
IDS = 8192  # the capacity of the roster with that many clients
RECORD = 64 + 2 * IDS // 8  # bytes
MIB = 1024  # KiB


@pytest.fixture(name="many_files", autouse=True)
def fixture_many_files():
    """Raise the fd limit of the test's process, and thereby the server's."""
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
    """Connect a client and wait until it is greeted, so that the server has handled all earlier
    events."""
    with RawClient(str(place.socket), 0) as client:
        return client.greeting().id


@pytest.mark.parametrize("stays", [0, 1, 30], ids=["none stays", "one stays", "some stay"])
def test_memory_is_returned_when_a_crowd_has_left(place, stays):
    """While a crowd of clients is connected, the roster uses no more memory than their records
    need. When they have left, it is as small as before, except for the records of clients that
    stay."""
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
        # The address sanitizer's allocator keeps part of what was freed.
        spare = crowded // 2 if is_sanitized(place.server_program) else 3 * MIB
        assert after < spare + stays * 8
    server.stop()
