# SPDX-License-Identifier: BSD-3-Clause
"""Test ivshmem-client with hostile servers, which send fds that are not doorbells, or a greeting
that never ends."""
import itertools
import os
import socket
import subprocess
import time

import pytest

from support.py.programs import wait_until
from support.py.wire import BadServer, pack

SIZE = 1 << 20
SO_SNDBUFFORCE = 32  # from socket(7), because Python does not define it


def memory_fd(where):
    """Return: the fd of a memory object."""
    file = where.add(open(where.dir / "memory", "w+b"))
    file.truncate(SIZE)
    return file.fileno()


def eventfd(where):
    """Return: an eventfd, which is a valid doorbell."""
    return where.add(os.fdopen(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), "rb")).fileno()


def broken_pipe_fd(where):
    """Return: the write end of a pipe without a reader; writing to it raises SIGPIPE."""
    out, into = os.pipe()
    os.close(out)
    return where.add(os.fdopen(into, "wb")).fileno()


def victim_fd(where):
    """Return: the fd of a file that must not be written to."""
    file = where.add(open(where.dir / "victim", "w+b"))
    file.write(b"precious")
    file.seek(0)
    return file.fileno()


def unread_socket_fd(where):
    """Return: a socket whose other end is closed."""
    ours, theirs = socket.socketpair()
    theirs.close()
    return where.add(ours).fileno()


BAD_VECTORS = [broken_pipe_fd, victim_fd, unread_socket_fd]


def greeting(where):
    """Return: the messages before the vectors: version, id 0, memory."""
    return [(0, []), (0, []), (-1, [memory_fd(where)])]


def bad_server(where, messages):
    """Return: a server at the socket of the Place @where that sends these messages."""
    return where.add(BadServer(str(where.socket), messages))


def victim_is_untouched(where):
    """Return: whether the file of victim_fd(), which was sent as a doorbell, is unchanged."""
    path = where.dir / "victim"
    return not path.exists() or path.read_bytes() == b"precious"


@pytest.mark.parametrize("kind", BAD_VECTORS)
def test_vector_of_a_peer_that_is_not_an_eventfd(place, kind):
    """The client checks that a peer's vector is an eventfd before it rings, so it gets no SIGPIPE
    and writes nothing to a file."""
    bad = kind(place)
    bad_server(place, greeting(place) + [(7, [bad]), (0, [eventfd(place)])])
    done = place.run_client("-c", "int 7 0")
    assert done.returncode == 1, done
    assert "is not an eventfd" in done.stderr and done.stderr.startswith("ivshmem-client: ")
    assert done.stdout == ""
    assert victim_is_untouched(place)


@pytest.mark.parametrize("kind", BAD_VECTORS)
def test_peer_that_joins_later_without_an_eventfd(place, kind):
    """The client also checks the vectors of a peer that joins after the greeting."""
    bad = kind(place)
    server = bad_server(place, greeting(place) + [(0, [eventfd(place)])])
    client = place.start_client()
    server.send(7, [bad])
    client.err.wait("ivshmem-client: the server is gone")
    client.write("int 7 0\nint 0 0\n")
    client.out.wait("doorbell on vector 0")
    client.popen.stdin.close()
    assert client.wait() == 1, client.err.text()
    assert client.err.count("cannot ring peer 7 vector 0") == 1
    assert victim_is_untouched(place)


class Chatterer(BadServer):
    """A server that sends other peers' leaves after the greeting, without pause or end.

    The server sends small chunks through a large buffer. The kernel then wakes the server while
    much of the data is still unread, so that the client always has input even if the server is
    scheduled late.
    """

    stops_client = False

    def __init__(self, path, messages):
        self._has_buffer = False
        portions = [b"".join(pack(peer) for peer in range(start, start + 448))
                    for start in range(1, 65535 - 448, 448)]
        super().__init__(path, itertools.chain(messages, itertools.cycle(
            (portion, []) for portion in portions)))

    def send(self, value, fds=()):
        if not self._has_buffer:
            self._has_buffer = True
            option = SO_SNDBUFFORCE if os.geteuid() == 0 else socket.SO_SNDBUF
            self._accepted.setsockopt(socket.SOL_SOCKET, option, 8 << 20)
        super().send(value, fds)


def test_greeting_without_end_times_out(place):
    """If the greeting never ends, the client gives up after 5 seconds, or uses what it has
    received."""
    server = place.add(Chatterer(str(place.socket), greeting(place)))
    begin = time.monotonic()
    try:
        done = place.run_client("-c", "dump", timeout=15)
    except subprocess.TimeoutExpired:
        pytest.fail("the client never gives up")
    assert time.monotonic() - begin < 13
    assert done.returncode in (0, 1)
    assert done.returncode == 0 or done.stderr.startswith("ivshmem-client: ")
    wait_until(server.closed_by_client.is_set, "the client has closed its connection")


def test_own_vector_that_comes_late_is_usable(place):
    """If the server sends one of the client's own vectors only after the greeting, the client can
    wait for that vector, and dump shows it."""
    server = bad_server(place, greeting(place))
    client = place.start_client()
    assert client.out.count("0 vectors (this one)") == 1
    server.send(0, [eventfd(place)])

    def has_vector():
        before = client.out.count("ring all vectors of all other peers")
        client.write("dump\nhelp\n")
        client.out.wait("ring all vectors of all other peers", before + 1)
        return client.out.count("1 vectors (this one)")

    wait_until(has_vector, "dump shows the vector")
    begin = max(at for at, line in enumerate(client.out.seen) if line.startswith("transport"))
    assert not [line for line in client.out.seen[begin:] if "no wait" in line]
    client.write("int 0 0\n")
    client.out.wait("doorbell on vector 0")
