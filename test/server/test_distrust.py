# SPDX-License-Identifier: BSD-3-Clause
"""Programs whose other side means harm, or goes away: hostile servers and clients, logs that
nobody reads, limits that are lowered."""
import itertools
import os
import resource
import signal
import socket
import subprocess
import time

import pytest

from support.py.clients import join
from support.py.programs import fd_count, wait_until
from support.py.wire import BadServer, RawClient, accepts, pack, readable

SIZE = 1 << 20
SO_SNDBUFFORCE = 32  # socket(7); Python has no name for it


def memory_fd(where):
    """A memory object."""
    file = where.add(open(where.dir / "memory", "w+b"))
    file.truncate(SIZE)
    return file.fileno()


def eventfd(where):
    """A doorbell as it should be."""
    return where.add(os.fdopen(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), "rb")).fileno()


def broken_pipe_fd(where):
    """The end of a pipe that nobody reads: to write to it is to die of SIGPIPE."""
    out, into = os.pipe()
    os.close(out)
    return where.add(os.fdopen(into, "wb")).fileno()


def victim_fd(where):
    """A file that its owner would not like eight bytes to be written into."""
    file = where.add(open(where.dir / "victim", "w+b"))
    file.write(b"precious")
    file.seek(0)
    return file.fileno()


def unread_socket_fd(where):
    """A socket whose other end is closed."""
    ours, theirs = socket.socketpair()
    theirs.close()
    return where.add(ours).fileno()


BAD_VECTORS = [broken_pipe_fd, victim_fd, unread_socket_fd]


def greeting(where):
    """Version, id 0, memory: what a server says before the vectors."""
    return [(0, []), (0, []), (-1, [memory_fd(where)])]


def bad_server(where, messages):
    """A server that is not ours, at the place's socket."""
    return where.add(BadServer(str(where.socket), messages))


def victim_is_untouched(where):
    """Whether nothing was written into the file that was given as a doorbell."""
    path = where.dir / "victim"
    return not path.exists() or path.read_bytes() == b"precious"


# Servers

@pytest.mark.parametrize("kind", BAD_VECTORS)
def test_vector_of_a_peer_that_is_no_eventfd(place, kind):
    """Ringing writes to what the server has sent: so it is looked at first. No SIGPIPE, and not a
    byte into somebody's file."""
    bad = kind(place)
    bad_server(place, greeting(place) + [(7, [bad]), (0, [eventfd(place)])])
    done = place.run_client("-c", "int 7 0")
    assert done.returncode == 1, done
    assert "is no eventfd" in done.stderr and done.stderr.startswith("ivshmem-client: ")
    assert done.stdout == ""
    assert victim_is_untouched(place)


@pytest.mark.parametrize("kind", BAD_VECTORS)
def test_peer_that_joins_later_without_eventfd(place, kind):
    """The same of a peer that comes when the client is long there."""
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
    """A server that after the greeting tells of leaves of ever other peers without pause or end.

    In small portions and with a large buffer: the kernel then wakes it while much is still unread,
    so that the client does not find nothing to read just because nobody let the server run.
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


def test_server_that_never_stops_talking(place):
    """A greeting without end is over when the time of the client is: 5 seconds."""
    server = place.add(Chatterer(str(place.socket), greeting(place)))
    begin = time.monotonic()
    try:
        done = place.run_client("-c", "dump", timeout=15)
    except subprocess.TimeoutExpired:
        pytest.fail("the client listens for ever")
    assert time.monotonic() - begin < 13
    assert done.returncode in (0, 1)
    assert done.returncode == 0 or done.stderr.startswith("ivshmem-client: ")
    wait_until(server.closed_by_client.is_set, "the client has closed")


def test_own_vector_that_comes_late(place):
    """A server may be slow: who had no vector when it was asked has one when it has come, and then
    nothing says that one cannot wait."""
    server = bad_server(place, greeting(place))
    client = place.start_client()
    assert client.out.count("0 vectors (this one)") == 1
    server.send(0, [eventfd(place)])

    def has_vector():
        before = client.out.count("ring all vectors of all others")
        client.write("dump\nhelp\n")
        client.out.wait("ring all vectors of all others", before + 1)
        return client.out.count("1 vectors (this one)")

    wait_until(has_vector, "dump shows the vector")
    begin = max(at for at, line in enumerate(client.out.seen) if line.startswith("way in"))
    assert not [line for line in client.out.seen[begin:] if "no wait" in line]
    client.write("int 0 0\n")
    client.out.wait("doorbell on vector 0")


# Clients

def oob_is_supported():
    """Whether the kernel has out-of-band data on such sockets (since Linux 5.15, an option)."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            ours.send(b"x", socket.MSG_OOB)
        except OSError:
            return False
    return True


@pytest.mark.skipif(not oob_is_supported(), reason="the kernel has no MSG_OOB on UNIX sockets")
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("greeted", [True, False], ids=["greeted", "at-once"])
def test_out_of_band_byte(place, greeted, times):
    """A byte that read() does not see is a byte all the same: the client is dropped (W-8)."""
    server = place.server()
    watcher = join(place)
    before = server.fds()
    hostile = place.add(RawClient(str(place.socket), 1))
    if greeted:
        hostile.greeting()
        watcher.read_until_knows({1})
    for _ in range(times):
        try:
            hostile.sock.send(b"x", socket.MSG_OOB)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was dropped at the first
    server.err.wait("client 1 left", timeout=5)
    hostile.read_to_end()
    watcher.read_until_knows(set())
    wait_until(lambda: server.fds() == before, "the server has as many fds as before")
    assert join(place).id in (1, 2)


# What surrounds the server

def test_log_that_nobody_reads(place):
    """The reader of the log has ended: the server goes on, and ends as it should."""
    log = place.dir / "log"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    try:
        server = place.start("sh", "-c", 'exec "$@" 2>"$0"', log, place.server_program, "-F", "-v",
                             "-S", place.socket, "-M", place.shm)
        wait_until(lambda: accepts(place.socket), "the server accepts")
        assert readable([reader], 20) and os.read(reader, 4096)
    finally:
        os.close(reader)
    first, second = join(place), join(place)
    first.read_until_knows({second.id})
    second.close()
    first.read_until_knows(set())
    assert server.popen.poll() is None
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert first.read_to_end() == []
    assert not place.socket.exists() and not place.shm_path.exists()


def set_nofile(pid, limit):
    """Change the soft limit of the fds of a process. Return: what it was."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))
    return soft


def test_leave_is_told_without_any_fd(place):
    """Not one fd can be opened, not even to refuse a client: those who are there are told what
    happens, and when there are fds again, who had to wait is served."""
    server = place.server()
    remaining, leaving = join(place), join(place)
    remaining.read_until_knows({leaving.id})
    before = fd_count(server.pid)
    limit = set_nofile(server.pid, 3)
    waiting = place.add(RawClient(str(place.socket), 1))
    assert waiting.is_quiet(0.3)
    leaving.close()
    assert remaining.next(3) == (leaving.id, False)
    assert remaining.is_quiet()
    assert fd_count(server.pid) < before
    set_nofile(server.pid, limit)
    waiting.greeting()
    remaining.read_until_knows({waiting.id})
