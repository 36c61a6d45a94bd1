# SPDX-License-Identifier: BSD-3-Clause
"""Test ivshmem-client with bad servers: programs that stay silent, close the connection, or send
something other than the protocol's messages."""
import mmap
import os
import socket
import tempfile
import time

import pytest

from support.py.programs import wait_until
from support.py.wire import BadServer


def check(done, message):
    """Check that the client has failed with this message."""
    assert done.returncode == 1, done.stderr
    assert message in done.stderr


def memory_fd(where, size=1 << 20):
    """Return: the fd of a memory object. Each call creates a new object, because an earlier one may
    still be mapped."""
    file = where.add(tempfile.TemporaryFile(dir=where.dir))
    file.truncate(size)
    return file.fileno()


def pipe_fd(where):
    """Return: the read end of a pipe without a writer, which is always readable."""
    out, into = os.pipe()
    os.close(into)
    return where.add(os.fdopen(out, "rb")).fileno()


GREETING = [(0, []), (0, []), (-1, ["memory"]), (0, ["eventfd"])]
BAD_SERVERS = {
    "version 1": ([(1, [])], "the protocol version is not 0"),
    "version -1": ([(-1, [])], "the protocol version is not 0"),
    "version with fd": ([(0, ["memory"])], "the message with the protocol version has an fd"),
    "text": ([(b"HTTP/1.1 400 Bad Request\r\n", [])], "is not an ivshmem-server of protocol 0"),
    "id -1": ([(0, []), (-1, [])], "the second message is not an id from 0 to 65535"),
    "id 65536": ([(0, []), (65536, [])], "the second message is not an id"),
    "id with fd": ([(0, []), (0, ["memory"])], "the message with the client's id has an fd"),
    "memory without fd": (GREETING[:2] + [(-1, [])], "not the region with its fd"),
    "vector before memory": (GREETING[:2] + [(0, ["eventfd"])], "not the region with its fd"),
    "two fds": (GREETING[:2] + [(-1, ["memory", "memory"])], "several fds came with one message"),
    "100 fds": (GREETING[:2] + [(-1, ["memory"] * 100)], "several fds came with one message"),
    "fd in the middle": ([(b"\0\0\0", []), (b"\0\0\0\0\0", ["memory"])], "version has an fd"),
    "empty memory": (GREETING[:2] + [(-1, ["empty"])], "has 0 bytes, which is not a multiple"),
    "13 bytes of memory": (GREETING[:2] + [(-1, ["13 bytes"])], "has 13 bytes, which is not a"),
    "a page and a byte": (GREETING[:2] + [(-1, ["a page and 1"])], "which is not a multiple"),
    "memory for writing only": (GREETING[:2] + [(-1, ["write only"])],
                                "cannot be mapped for reading and writing: Permission denied"),
    "memory is a path": (GREETING[:2] + [(-1, ["path"])], "neither memory nor a file"),
    "memory is an eventfd": (GREETING[:2] + [(-1, ["eventfd"])], "neither memory nor a file"),
    "memory is a pipe": (GREETING[:2] + [(-1, ["pipe"])], "neither memory nor a file"),
    "second memory": (GREETING[:3] + [(-1, ["memory"])], "has an id outside the range 0 to 65535"),
    "own leave": (GREETING[:3] + [(0, [])], "a message announces the leave of this client itself"),
    "vector is a file": (GREETING[:3] + [(0, ["memory"])], "vector"),
}
CUT_SERVERS = {f"after {n}": GREETING[:n] for n in range(4)}
CUT_SERVERS.update({f"in {n}": GREETING[:n] + [(b"\0\0\0", [])] for n in range(4)})


def real_fds(where, messages):
    """Return: @messages, in which names of fds ("memory", "pipe" ...) are replaced by real fds."""
    kinds = {"memory": memory_fd(where), "pipe": pipe_fd(where)}
    with open(where.dir / "empty", "w+b") as empty:
        kinds["empty"] = where.add(os.fdopen(os.dup(empty.fileno()), "rb")).fileno()
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as named:
        named.truncate(1 << 20)
        kinds["write only"] = where.add(os.fdopen(os.open(named.name, os.O_WRONLY), "wb")).fileno()
        kinds["path"] = where.add(os.fdopen(os.open(named.name, os.O_PATH), "rb")).fileno()
    kinds["13 bytes"] = memory_fd(where, 13)
    kinds["a page and 1"] = memory_fd(where, mmap.PAGESIZE + 1)
    kinds["eventfd"] = where.add(os.fdopen(os.eventfd(0, os.EFD_NONBLOCK), "rb")).fileno()
    return [(value, [kinds[fd] for fd in fds]) for value, fds in messages]


def bad_server(where, messages, closes=False, path=None):
    """Return: a bad server that sends @messages, at the socket of the Place @where or at @path."""
    return where.add(BadServer(str(path or where.socket), real_fds(where, messages), closes))


@pytest.mark.parametrize("name", BAD_SERVERS)
def test_bad_server(place, name):
    """The client exits immediately, with status 1 and one line that says what is wrong with the
    server."""
    messages, message = BAD_SERVERS[name]
    bad_server(place, messages)
    begin = time.monotonic()
    done = place.run_client("-c", "dump")
    check(done, message)
    assert done.stderr.startswith("ivshmem-client: ") and len(done.stderr.splitlines()) == 1
    assert time.monotonic() - begin < 4


@pytest.mark.parametrize("name", CUT_SERVERS)
def test_server_that_closes(place, name):
    """The client fails with a message if a server closes the connection during the greeting,
    between messages or in the middle of a message."""
    bad_server(place, CUT_SERVERS[name], closes=True)
    message = f"the server at {place.socket} closed the connection"
    check(place.run_client("-c", "dump"), message)


@pytest.mark.usefixtures("fast_clock")
def test_server_that_stalls_during_the_greeting(place):
    """If a server stops sending before the message with the memory is complete, the client exits
    with status 1 after a few seconds."""
    stalls = [name for name in CUT_SERVERS if name not in ("after 3", "in 3")]
    clients = []
    for name in stalls:
        path = place.dir / name
        bad_server(place, CUT_SERVERS[name], path=path)
        clients.append((path, place.start(place.client_program, "-S", path, "-c", "dump")))
    for path, client in clients:
        assert client.wait() == 1
        message = f"the server at {path} accepted the connection but sends nothing"
        assert client.err.text() == f"ivshmem-client: {message}"


@pytest.mark.usefixtures("fast_clock")
def test_server_that_does_not_accept(place):
    """If the backlog of the server's socket is full, the client exits with status 1 after a few
    seconds."""
    with socket.socket(socket.AF_UNIX) as deaf, socket.socket(socket.AF_UNIX) as first:
        deaf.bind(str(place.socket))
        deaf.listen(0)
        first.connect(str(place.socket))
        check(place.run_client(), f"{place.socket} is not accepting connections")


@pytest.mark.parametrize("garbage", [
    (-1, []), (65536, []), (0, []), (b"\xff" * 8, []), (1, ["eventfd", "eventfd"]),
    (1, ["memory"] * 50)], ids=str)
def test_garbage_after_the_greeting(place, garbage):
    """A server that sends garbage after the greeting counts as lost, but doorbells still work."""
    server = bad_server(place, GREETING)
    client = place.start_client()
    (value, fds), = real_fds(place, [garbage])
    server.send(value, fds)
    client.err.wait("the server is gone; known doorbells continue to work")
    client.write("int 0 0\n")
    client.out.wait("doorbell on vector 0")
    client.popen.stdin.close()
    assert client.wait() == 0


def test_leave_of_an_unknown_peer_is_ignored(place):
    """A leave message for a peer that the client does not know is ignored. QEMU's server sends such
    messages.
    """
    server = bad_server(place, GREETING + [(7, [])])
    client = place.start_client()
    server.send(9)
    client.write("dump\n")
    client.out.wait("(this one)", 2)
    client.popen.stdin.close()
    assert (client.wait(), client.err.text()) == (0, "")


@pytest.mark.parametrize("own", ["pipe", "memory"])
def test_vector_that_is_not_an_eventfd(place, own):
    """If one of the client's own vectors is always readable, the client can still exit."""
    bad_server(place, GREETING[:3] + [(0, [own])])
    client = place.start(place.client_program, "-S", place.socket)
    assert client.wait(8) in (0, 1)


def test_client_that_fails_closes_its_connection(place):
    """A client that fails closes its connection, so that the server reads end of file."""
    server = bad_server(place, GREETING[:3] + [(-1, [])])
    check(place.run_client(), "has an id outside the range 0 to 65535")
    wait_until(server.closed_by_client.is_set, "the client has closed its connection")
