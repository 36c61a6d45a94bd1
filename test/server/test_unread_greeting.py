# SPDX-License-Identifier: BSD-3-Clause
"""Test the server's warning about clients that do not read their greeting. The server's clock runs
ten times as fast as real time here."""
import os

import pytest

from support.py.clients import connect_client, join

UNREAD = "has not read its greeting for 5 s; if it is QEMU, remove reconnect= from its chardev"


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("vectors", [0, 1, 64])
def test_client_that_does_not_read(place, vectors):
    """A client that does not read its greeting is named in the log once; clients that read their
    greeting are not named."""
    server = place.server("-n", vectors)
    reading = [join(place, vectors), join(place, vectors)]
    connect_client(place, vectors)
    reading.append(join(place, vectors))
    line = server.err.wait(UNREAD)
    assert f"client 2 (pid {os.getpid()}, uid {os.getuid()}) {UNREAD}" in line
    connect_client(place, vectors)
    server.err.wait(f"client 4 (pid {os.getpid()}, uid {os.getuid()}) {UNREAD}")
    assert server.err.count(UNREAD) == 2
    del reading


@pytest.mark.usefixtures("fast_clock")
def test_clients_that_read_later_or_leave(place):
    """The log does not name clients that have read their greeting or have left, and does not name
    any client twice."""
    server = place.server("-n", "8")
    reading = join(place, 8)
    gone = connect_client(place, 8)
    reading.read_until_knows({1})
    gone.close()
    server.err.wait("client 1 left")
    assert join(place, 8).id == 1  # so that the next client gets id 2
    silent = connect_client(place, 8)
    assert "client 2 " in server.err.wait(UNREAD)
    silent.greeting()
    connect_client(place, 8)
    server.err.wait(UNREAD, 2)
    assert server.err.count("client 0 (") == server.err.count("client 1 (") == 0
    del reading


@pytest.mark.usefixtures("fast_clock")
def test_silent_clients_do_not_flood_the_log(place):
    """Many clients that do not read cause at most 20 log lines in 10 s."""
    server = place.server()
    clients = [connect_client(place) for _ in range(30)]
    server.err.wait(UNREAD, 20)
    clients.append(connect_client(place))
    server.err.wait("client 30 joined")
    assert server.err.count(UNREAD) == 20
