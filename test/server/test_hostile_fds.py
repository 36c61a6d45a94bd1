# SPDX-License-Identifier: BSD-3-Clause
"""Clients that send fds whose close() blocks. A kernel with SO_PASSRIGHTS (Linux 6.16) can reject
them; each test also runs the server as if the kernel lacked it."""
import socket
import struct
import time

import pytest

from support.py import without_passrights as old_kernel
from support.py.clients import join
from support.py.control import VERSION, Control
from support.py.lingering import QUICK, Lingering, stopped, without_passrights
from support.py.programs import fd_count, wait_until
from support.py.wire import RawClient, connect

LINGERING_N = 20


@pytest.fixture(params=["this-kernel", "old-kernel"])
def keeps_fds_out(request, place):
    """Return true if the server can let the kernel reject fds, and false if it has to receive
    them."""
    if request.param == "this-kernel":
        return True
    if not old_kernel.is_possible():
        pytest.skip("the syscall number of setsockopt(2) is not known for this architecture")
    place.server_program = without_passrights(place, place.server_program)
    return False


def send(sock, data, fds, keeps_fds_out):
    """Send each fd with the data. If the kernel rejects fds, which is an error unless keeps_fds_out
    is true, send the data alone. Return: the number of fds sent."""
    for at, fd in enumerate(fds):
        try:
            socket.send_fds(sock, [data], [fd])
        except PermissionError:
            assert keeps_fds_out
            sock.sendall(data)
            return 0
        except (BrokenPipeError, ConnectionResetError):
            return at  # the server has dropped the client
    return len(fds)


def check_newcomer(place):
    """A new client must be greeted immediately."""
    began = time.monotonic()
    with RawClient(str(place.socket), 1) as client:
        client.greeting()
    assert time.monotonic() - began < QUICK


@pytest.mark.parametrize("when", ["greeted", "unread", "not yet accepted"])
def test_client_that_sends_fds_does_not_block_the_server(place, keeps_fds_out, when):
    """A client that sends fds is dropped, and the server closes all of them without blocking."""
    server = place.server("-n", "1", "-l", "1M", region=["-r", "memfd:"])
    before = fd_count(server.pid)
    lingering = place.add(Lingering(LINGERING_N))
    sock = None
    if when == "greeted":
        client = join(place, 1)
        sock = client.sock
    with stopped(server):
        sock = sock or connect(str(place.socket))
        sent = send(sock, b"x", lingering.fds(), keeps_fds_out)
        lingering.hand_over(sent)
        if when == "unread":
            sock.close()
    check_newcomer(place)
    sock.close()
    wait_until(lambda: fd_count(server.pid) == before, "all sent fds are closed")
    server.stop()


def test_urgent_bytes_at_the_control_socket_are_received(place, keeps_fds_out):
    """The server detects fds that arrive with an out-of-band byte: a client that sends a socket is
    dropped, whether the accompanying byte is ordinary or out-of-band."""
    if keeps_fds_out:
        pytest.skip("the kernel rejects fds")
    path = place.dir / "control"
    server = place.server("-n", "1", "-l", "1M", "--control", path, region=["-r", "memfd:"])
    lingering = place.add(Lingering())
    control = Control(path)
    control.ask(VERSION)
    with stopped(server):
        control.sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                       struct.pack("i", lingering.fds()[0]))], socket.MSG_OOB)
        lingering.hand_over()
    assert control.line() is None
    check_newcomer(place)
    control.close()
    server.stop()


@pytest.mark.parametrize("when", ["with requests", "with half a line", "unread"])
def test_fds_at_the_control_socket_do_not_block_the_server(place, keeps_fds_out, when):
    """The server does not block on fds sent to the control socket. It answers the requests if the
    kernel rejects the fds, and otherwise drops the client."""
    path = place.dir / "control"
    server = place.server("-n", "1", "-l", "1M", "--control", path, region=["-r", "memfd:"])
    before = fd_count(server.pid)
    lingering = place.add(Lingering(LINGERING_N))
    control = Control(path)
    control.ask(VERSION)
    data = VERSION if when == "with requests" else b" "
    with stopped(server):
        sent = send(control.sock, data, lingering.fds(), keeps_fds_out)
        lingering.hand_over(sent)
        if when == "unread":
            control.close()
    check_newcomer(place)
    if keeps_fds_out and when == "with requests":
        assert control.reply()
    elif not keeps_fds_out and when != "unread":
        assert control.line() is None, "a client that sends such fds is dropped"
    control.close()
    wait_until(lambda: fd_count(server.pid) == before, "all sent fds are closed")
    server.stop()
