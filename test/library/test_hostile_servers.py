# SPDX-License-Identifier: BSD-3-Clause
"""Test libivshmem with hostile servers, which send fds whose close(2) blocks, regions on a FUSE
file system that may not respond, more doorbells than the process can have fds, and vectors at a bad
moment."""
import array
import contextlib
import fcntl
import os
import queue
import re
import socket
import struct
import termios
import time

import pytest

from support.py.fake_server import FakeServer, say
from support.py.fuse import Fuse
from support.py.lingering import LINGER, Lingering, stopped
from support.py.programs import cpu_ticks, fd_count, wait_until
from support.py.stuck_epoll import StuckEpoll
from support.py.vfio_user import eventfd

TIMEOUT_MS = 1000
#: ms; a call that waits for a close(2) takes LINGER seconds, or never ends
SOON = 4000
#: ms; a correct call is late by at most 100 ms, a faulty one by at least 450 ms
PROMPT = 350
assert TIMEOUT_MS < SOON < LINGER * 1000

needs_fuse = pytest.mark.skipif(Fuse.lacks() is not None, reason=str(Fuse.lacks()))


def start(place, *options, timeout_ms=TIMEOUT_MS, doorbells_max=0, **keywords):
    """Start a peer; see support/c/programs/witness.c."""
    return place.start(place.build / "test" / "witness", f"unix:{place.socket}", timeout_ms,
                       doorbells_max, *options, **keywords)


def number(line):
    """Return: the number before "ms" in a line."""
    return int(re.search(r"(-?\d+) ms", line)[1])


def is_prompt(attempt, limit):
    """Return: whether at least one of three attempts takes less time than the limit, in ms. A busy
    machine delays some attempts; a fault delays all of them."""
    return any(attempt() < limit for _ in range(3))


def opened(peer):
    """Wait until the peer has opened, and check that this took less than SOON. Return: the line
    that the peer printed."""
    line = peer.out.wait("opened")
    assert number(line) < SOON, line
    return line


def say_out_of_band(sock, fds):
    """Send one out-of-band byte with fds."""
    sock.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))],
                 socket.MSG_OOB)


@pytest.mark.parametrize("how", ["several with a message", "in place of a doorbell", "unread",
                                 "out of band"])
def test_lingering_sockets(place, how):
    """In the greeting the server sends sockets whose close(2) blocks. Opening and closing the peer
    do not wait for them."""
    server = FakeServer(place, place.socket)
    lingering = place.add(Lingering(3))

    def greet(sock):
        say(sock, 0)
        say(sock, 0)
        if how == "several with a message":
            say(sock, -1, *lingering.fds())
        elif how == "out of band":
            say_out_of_band(sock, lingering.fds())
        else:
            say(sock, -1, server.memory)
            for fd in lingering.fds():
                say(sock, 1, fd)
        lingering.hand_over()

    server.greet = greet
    peer = start(place)
    assert not opened(peer).startswith("opened 0")
    peer.wait()


def test_lingering_sockets_while_the_peer_is_open(place):
    """The server sends a waiting peer an out-of-band byte with sockets whose close(2) blocks. The
    peer reports the loss of the server, and closes within its time limit."""
    server = FakeServer(place, place.socket)
    lingering = place.add(Lingering(3))
    peer = start(place)
    assert opened(peer).startswith("opened 0")
    say_out_of_band(server.sock, lingering.fds())
    lingering.hand_over()
    with contextlib.suppress(BrokenPipeError):  # the peer may have closed already
        server.sock.send(bytes(7) + b"\xff" + bytes(8))
    peer.out.wait("lost", timeout=SOON / 1000)
    assert number(peer.out.wait("closed after")) < SOON
    assert peer.wait() == 0


@pytest.mark.parametrize("fails", ["the greeting fails", "the server exits"])
def test_region_that_takes_long_to_free(place, fails):
    """The peer has the last reference to a region that takes seconds to free. Opening and closing
    stay within their time limit."""
    server = FakeServer(place, place.socket)

    def greet(sock):
        server.welcome(sock)
        if fails == "the greeting fails":
            say(sock, -7)

    server.greet = greet
    peer = start(place, "unmap", timeout_ms=300)
    line = opened(peer)
    if fails == "the greeting fails":
        assert "is not an ivshmem-server" in line
    else:
        server.drop()
        assert number(peer.out.wait("closed after")) < SOON
    peer.wait()


@needs_fuse
@pytest.mark.parametrize("request_name", ["GETATTR", "STATFS", "READ", "FLUSH"])
def test_region_of_a_fuse_file_system(place, request_name):
    """The server's region is a file on a FUSE file system that does not respond. The peer refuses
    it within its time limit. (The process does not exit before the file is closed.)"""
    server = FakeServer(place, place.socket)
    with Fuse(place) as fuse, fuse.as_region_of(server, request_name):
        peer = start(place)
        line = opened(peer)
        assert "neither memory nor a file on a local disk (file system: fuse)" in line
        assert fuse.count(request_name) == (request_name == "FLUSH")
    assert peer.wait() == 1


@needs_fuse
def test_any_file_system(place):
    """With the option that allows any file system, which the message names, both programs accept a
    region on a FUSE file system that responds."""
    server = FakeServer(place, place.socket)
    with Fuse(place) as fuse, fuse.as_region_of(server):
        tool = [place.build / "tools/ivshmem", "dump", f"unix:{place.socket}"]
        client = [place.client_program, "-S", place.socket, "-c", "dump"]
        for words in (client, tool):
            done = place.run(*words)
            assert done.returncode == 1 and "neither memory nor a file" in done.stderr
            assert "(option --any-file-system)" in done.stderr, "other programs also have it"
            done = place.run(*words, "--any-file-system")
            assert done.returncode == 0, done.stderr


def test_fork_does_not_make_the_parent_spin(place):
    """When the server exits, a child process still has copies of the peer's fds. After that, the
    parent's waits use no processor time."""
    server = FakeServer(place, place.socket)
    peer = start(place, "fork")
    assert opened(peer).startswith("opened 0")
    server.drop()
    line = peer.out.wait("waiting returned")
    assert number(line) < 30, line
    peer.out.wait("closed after")
    assert peer.wait() == 0


def test_late_vectors_while_the_mutex_for_nested_epolls_is_held(place):
    """The program's epoll instance watches the peer's fd. While another process holds the mutex for
    nested epolls, the server sends one more vector. The peer continues, notices that the server has
    exited, and closes within its time limit. The vector is watched once the mutex has been
    released."""
    server = FakeServer(place, place.socket)
    peer = start(place, "nest")
    assert opened(peer).startswith("opened 0")
    late = [eventfd(), eventfd()]
    with StuckEpoll(nested=True):
        say(server.sock, 0, late[0])
        say(server.sock, 1, server.own[0])
        peer.out.wait("joined 1 1", timeout=SOON / 1000)
        os.eventfd_write(server.own[0], 1)
        peer.out.wait("rung 0", timeout=SOON / 1000)
        os.eventfd_write(late[0], 1)
    peer.out.wait("rung 1")
    with StuckEpoll(nested=True):
        say(server.sock, 0, late[1])
        server.drop()
        peer.out.wait("lost", timeout=SOON / 1000)
        assert number(peer.out.wait("closed after")) < SOON
    assert peer.wait() == 0
    for fd in late:
        os.close(fd)


def unread(sock):
    """Return: the amount of data that the receiver has not read yet."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]


def send_stuck(sock, receiver, peer, fds):
    """Send a peer's doorbells, and close our copies, so that only the receiver has them. The
    receiver is stopped in the meantime: otherwise it might be the first to close one, and this
    process would block in the last close()."""
    with stopped(receiver):
        for fd in fds:
            say(sock, peer, fd)
            os.close(fd)


def test_too_many_fds_that_cannot_be_closed_in_the_greeting(place):
    """The greeting contains many fds that cannot be closed immediately. Opening stays within its
    time limit."""
    server = FakeServer(place, place.socket)
    started = queue.Queue()

    def greet(sock):
        peer, fds = started.get()
        say(sock, 0)
        say(sock, 0)
        say(sock, -1, server.memory)
        send_stuck(sock, peer, 7, fds)

    def attempt():
        fds = [eventfd() for _ in range(40)]
        with StuckEpoll(*fds):
            peer = start(place, timeout_ms=200, doorbells_max=10)
            started.put((peer, fds))
            line = opened(peer)
        assert "too many fds that cannot be closed immediately" in line
        assert peer.wait() == 1
        return number(line)

    server.greet = greet
    assert is_prompt(attempt, 200 + PROMPT)


@pytest.mark.parametrize("then", ["they can be closed", "the server exits"])
def test_too_many_fds_that_cannot_be_closed(place, then):
    """The server sends a peer that is already open many fds that cannot be closed immediately.
    Until they can be closed, no call blocks for long, and the peer can be rung. Then the peer
    closes the fds and receives what the server has sent in the meantime."""
    server = FakeServer(place, place.socket)
    peer = start(place, doorbells_max=10)
    assert opened(peer).startswith("opened 0")
    fds = [eventfd() for _ in range(40)]
    with StuckEpoll(*fds):
        send_stuck(server.sock, peer, 7, fds[:9])
        peer.out.wait("joined 7 9", timeout=SOON / 1000)
        send_stuck(server.sock, peer, 7, fds[9:])
        say(server.sock, 7)
        if then == "the server exits":
            server.drop()
        for times in range(1, 5):
            os.eventfd_write(server.own[0], 1)
            peer.out.wait("rung 0", times, timeout=SOON / 1000)
        before = cpu_ticks(peer.pid)
        time.sleep(0.3)  # during this time nothing is received and the peer does not spin
        assert cpu_ticks(peer.pid) - before < 10
        assert not peer.out.count("left 7") and not peer.out.count("lost")
    peer.out.wait("left 7")
    if then == "they can be closed":
        server.drop()
    assert number(peer.out.wait("lost")) < SOON
    assert peer.wait() == 0


def test_fds_that_are_slow_to_close(place):
    """Each close(2) takes almost as long as a call may be late, and the server sends the next
    doorbell while the peer closes the previous one. The total time that one call waits is limited.
    """
    server = FakeServer(place, place.socket)

    def attempt():
        peer = start(place, "close")
        assert opened(peer).startswith("opened")
        for _ in range(10):
            wait_until(lambda: not unread(server.sock), "the peer has received all")
            say(server.sock, 100, server.own[0])
            say(server.sock, 100)
        server.drop()
        assert peer.wait() == 0
        return number(peer.out.wait("lost"))

    assert is_prompt(attempt, PROMPT)


@pytest.mark.parametrize("whose", ["of others", "its own"])
def test_more_doorbells_than_fds(place, whose):
    """A server that sends thousands of doorbells uses up at most half of the process's fds. The
    doorbells that fit can be rung. The server is not lost."""
    limit = 256
    server = FakeServer(place, place.socket)
    peer = start(place, nofile=limit)
    assert opened(peer).startswith("opened 0")
    fd = eventfd()
    for at in range(1000):
        say(server.sock, 1 + at if whose == "of others" else 0, fd)
    if whose == "of others":
        peer.out.wait(f"joined {limit // 2 - 1} 1")
    wait_until(lambda: fd_count(peer.pid) > limit / 2 - 2,
               "the peer has kept as many fds as it may")
    wait_until(lambda: fd_count(peer.pid) < limit / 2 + 32, "the peer has closed the other fds")
    server.drop()
    assert number(peer.out.wait("closed after")) < SOON
    assert not peer.out.count(f"joined {limit // 2 + 1} 1")
    os.close(fd)
    assert peer.wait() == 0


def test_limit_of_doorbells(place):
    """The option doorbells_max limits the peer's own doorbells and those of other peers
    together."""
    server = FakeServer(place, place.socket, vectors=2, others={5: [eventfd() for _ in range(3)]})
    peer = start(place, doorbells_max=4)
    assert opened(peer).startswith("opened 0")
    server.drop()
    peer.out.wait("closed after")
    assert peer.wait() == 0
    assert peer.out.count("joined 5 3") + peer.out.count("joined 5 2") == 1
