# SPDX-License-Identifier: BSD-3-Clause
"""Clients that watch their own sockets with a great many epoll instances. The kernel calls each
watcher during the server's sendmmsg(2), so that each message to such a client takes tens of
milliseconds of the server's processor time."""
import os
import pathlib
import select
import socket

import pytest

from support.py.clients import join, knows_all
from support.py.control import ask_once
from support.py.programs import wait_until
from support.py.wire import RawClient

VECTORS = 8
DROP_N = 8  # IVS_COST_DROP_N
SOCKETFUL = 22
EPOLLS, COPIES = 500, 400  # each epoll instance watches each copy of the socket
LIMIT = pathlib.Path("/proc/sys/fs/epoll/max_user_watches")


class WatchedSocket(socket.socket):
    """A socket with so many watchers that the kernel needs about 10 ms to call all of them."""

    def __init__(self):
        super().__init__(socket.AF_UNIX)
        copies = [os.dup(self.fileno()) for _ in range(COPIES)]
        self._epolls = [select.epoll() for _ in range(EPOLLS)]
        for epoll in self._epolls:
            for copy in copies:
                epoll.register(copy, select.EPOLLIN | select.EPOLLET)
        self._copies = copies

    def close(self):
        """Close the epoll instances, the copies and the socket."""
        for epoll in self._epolls:
            epoll.close()
        for copy in self._copies:
            os.close(copy)
        self._copies = []
        super().close()


class WatchingClient(RawClient):
    """A client that watches its socket before it connects."""

    def __init__(self, path, vectors):
        super().__init__(path, vectors, sock=WatchedSocket())


@pytest.fixture(autouse=True)
def enough_watches():
    """Skip the test if the kernel does not allow so many watchers."""
    if int(LIMIT.read_text()) < EPOLLS * COPIES:
        pytest.skip(f"needs {EPOLLS * COPIES} watches, see {LIMIT}")


def test_client_that_watches_its_socket_is_dropped(place):
    """A client is dropped after a few messages if sending to it takes too much processor time, and
    the log gives the reason. Other clients are served, including those that join in the meantime.
    """
    control = place.dir / "control"
    server = place.server("-n", VECTORS, "-l", "1M", "--control", control, region=["-r", "memfd:"])
    others = [join(place, VECTORS)]
    watching = place.add(WatchingClient(str(place.socket), VECTORS))

    def is_dropped():
        others.append(join(place, VECTORS))
        if len(others) > 4:
            others.pop(1).close()
        return server.err.count("client 1 left")

    wait_until(is_dropped, "the client is dropped")
    server.err.wait("messages to it took too much processor time")
    while watching.next():
        pass
    assert watching.ended and DROP_N <= len(watching.history) < SOCKETFUL
    knows_all(others)
    totals = ask_once(control)["totals"]
    assert totals["left"]["costly"] == 1 and totals["left"]["failed"] == 0
    server.stop()
