# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem forward: sockets over streams, with real processes on both sides of a region."""
import contextlib
import hashlib
import os
import queue
import signal
import socket
import subprocess
import threading
import time

import pytest

from support.py.forwarding import (Forwarding, Target, address_of, ask, connect, digest_at_end,
                                   echo, read_all)
from support.py.paths import BUILD
from support.py.programs import TIMEOUT, cpu_ticks, is_blocked, is_sanitized, wait_until

TOOL = BUILD / "tools" / "ivshmem"


def is_closed(sock):
    """Return: whether a UNIX socket has been closed: it has its end, or was reset if there were
    unread bytes."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture(name="forwarding", params=["server", "plain"])
def forwarding_fixture(place, request):
    """A region with or without a server."""
    return Forwarding(place, request.param)


@pytest.fixture(name="served")
def served_fixture(place):
    """A region with a server."""
    return Forwarding(place, "server")


def test_twenty_connections_at_once(place, forwarding):
    """Connections of one process, to a TCP and to a UNIX target, get their own bytes back. Both
    processes end with status 0, and remove their socket files."""
    tcp = place.add(Target(echo))
    unix = place.add(Target(echo, place.dir / "target"))
    server = forwarding.start(0, "--serve", f"tcp={tcp.address}", "--serve", f"unix={unix.address}")
    client, tcp_at = forwarding.listen("tcp", None, "--listen", f"unix:{place.dir}/at", "--to",
                                       "unix")
    socks = [place.add(connect(at)) for at in (tcp_at, address_of(client, "unix"))
             for _ in range(10)]
    datas = [os.urandom(50000 + i) for i in range(20)]
    for sock, data in zip(socks, datas):
        sock.sendall(data[:20000])
    answers = [None] * 20

    def finish(i):
        answers[i] = ask(socks[i], datas[i][20000:])

    threads = [threading.Thread(target=finish, args=(i,), daemon=True) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert answers == datas
    for process in (client, server):
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert not (place.dir / "at").exists()


def test_large_transfer_and_half_close(place, forwarding):
    """50 MB arrive as they were sent, and the answer that follows their end arrives, too."""
    data = os.urandom(1 << 20) * 50
    echoing = place.add(Target(echo))
    digesting = place.add(Target(digest_at_end, place.dir / "target"))
    forwarding.start(0, "--serve", f"echo={echoing.address}", "--serve",
                     f"digest={digesting.address}", "--buffer", "256K")
    client, at = forwarding.listen("echo", None, "--listen", f"unix:{place.dir}/at", "--to",
                                   "digest", "--buffer", "256K")
    assert ask(place.add(connect(at)), data) == data
    sock = place.add(connect(address_of(client, "digest")))
    assert ask(sock, data) == hashlib.sha256(data).digest()


def exchange(sock):
    """50 round trips of one message."""
    for i in range(50):
        sock.sendall(b"%03d" % i)
        assert sock.recv(3) == b"%03d" % i


def test_stalled_connections(place, served):
    """A client that does not read, and a target that does not read while its client has left, delay
    no other connection, and cost no processor time."""
    target = place.add(Target(echo))
    held = []
    deaf = place.add(Target(lambda sock: held.append(sock.dup()), place.dir / "target"))
    server = served.serve("echo", target.address, "--serve", f"deaf={deaf.address}")
    client, at = served.listen("echo", None, "--listen", f"unix:{place.dir}/at", "--to", "deaf")
    for address in (at, address_of(client, "deaf")):
        sock = place.add(connect(address))
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):  # all buffers are full
            while True:
                sock.sendall(bytes(1 << 20))
    sock.close()  # the client of the target that does not read
    before = [cpu_ticks(process.pid) for process in (server, client)]
    other = place.add(connect(at))
    exchange(other)
    other.settimeout(0.3)
    with pytest.raises(TimeoutError):
        other.recv(1)
    after = [cpu_ticks(process.pid) for process in (server, client)]
    assert is_sanitized(TOOL) or max(b - a for a, b in zip(before, after)) < 15
    for sock in held:
        place.add(sock)


def test_clients_that_read_no_more(place, served):
    """What is sent to such a client is discarded, and what it sends arrives at once."""
    sent, received = queue.Queue(), queue.Queue()

    def answer(sock):
        sock.sendall(b"x")
        sent.put(None)
        received.put(sock.recv(1))

    served.serve("one", place.add(Target(answer)).address)
    client, at = served.listen("one", place.dir / "at")
    deadline = time.monotonic() + 8  # all together take a fraction of a second
    for _ in range(20):
        sock = place.add(connect(at))
        sock.shutdown(socket.SHUT_RD)
        sent.get(timeout=TIMEOUT)
        wait_until(lambda: is_blocked(client.pid), "nothing is left to be done")
        sock.sendall(b"y")
        assert received.get(timeout=max(0.1, deadline - time.monotonic())) == b"y"


def test_program_that_answers_and_closes(place, served):
    """If a program closes its stream without having read the end of the request, clients that have
    ended their requests before get all of the answer, and its end."""
    request = 16 * 120  # as long as the stream's buffer, so that the end waits for room
    _, at = served.listen("program", None, "--buffer", "1K")
    socks = [place.add(connect(at)) for _ in range(5)]
    for sock in socks:
        sock.sendall(bytes(request))
        sock.shutdown(socket.SHUT_WR)
    place.start(BUILD / "test" / "channel-numbers", served.address, "id", "reply", "program",
                request, 60000)
    for sock in socks:
        assert len(read_all(sock)) == 60000


def test_flood(place, served):
    """A connection over which bytes are sent and returned all the time does not stop another."""
    target = place.add(Target(echo))
    served.serve("echo", target.address)
    _, at = served.listen("echo")
    flooding = place.add(connect(at))

    def flood():
        with contextlib.suppress(OSError):  # the test ends it
            while True:
                flooding.sendall(bytes(1 << 16))
                flooding.recv(1 << 16)

    threading.Thread(target=flood, daemon=True).start()
    flooding.recv(1, socket.MSG_PEEK)
    exchange(place.add(connect(at)))
    flooding.shutdown(socket.SHUT_RDWR)


def test_target_that_refuses(place, served):
    """If the target refuses, the client's connection is reset, and the log says why. The next
    connection works once the target listens."""
    target = Target(echo)
    target.close()
    server = served.serve("echo", target.address)
    _, at = served.listen("echo")
    with connect(at) as sock, pytest.raises(ConnectionResetError):
        sock.recv(1)
    line = server.err.wait("cannot connect")
    assert f"echo: cannot connect to {target.address}: Connection refused" in line


def test_fds_are_refused(place, served):
    """A connection over which fds are sent is closed, on either side, and the fds are closed."""
    def send_fd(sock):
        sock.recv(1)
        socket.send_fds(sock, [b"x"], [sock.fileno()])
        sock.recv(1)

    target = place.add(Target(send_fd, place.dir / "target"))
    server = served.serve("x", target.address)
    client, at = served.listen("x", place.dir / "at")
    sock = place.add(connect(at))
    reading, writing = os.pipe()
    socket.send_fds(sock, [b"x"], [writing])
    os.close(writing)
    client.err.wait("sent file descriptors")
    assert os.read(reading, 1) == b""  # all copies are closed
    os.close(reading)
    assert is_closed(sock)
    sock = place.add(connect(at))
    sock.sendall(b"x")
    server.err.wait("sent file descriptors")
    assert is_closed(sock)


@pytest.mark.parametrize("killed", ["server", "client"])
def test_killed_partner(place, served, killed):
    """If one process is killed, the other one resets its sockets, and continues with the next
    process."""
    seen = []

    def watch(sock):
        try:
            echo(sock)
            seen.append("end")
        except ConnectionResetError:
            seen.append("reset")

    target = place.add(Target(watch))
    server = served.serve("echo", target.address)
    client, at = served.listen("echo", place.dir / "at")
    sock = place.add(connect(at))
    sock.sendall(b"1")
    assert sock.recv(1) == b"1"
    (server if killed == "server" else client).end()
    if killed == "server":
        served.serve("echo", target.address)
    else:
        wait_until(lambda: seen, "the target's connection has ended")
        assert seen == ["reset"]
        _, at = served.listen("echo", place.dir / "at")
    assert is_closed(sock)
    sock = place.add(connect(at))
    sock.sendall(b"2")
    assert sock.recv(1) == b"2"


def test_reset_of_tcp_connections(place, served):
    """The reset of a connection arrives at the other side as a reset."""
    reached = threading.Event()

    def reset(sock):
        sock.recv(1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
        reached.set()

    target = place.add(Target(reset))
    served.serve("reset", target.address)
    _, at = served.listen("reset")
    sock = place.add(connect(at))
    sock.sendall(b"1")
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
    assert reached.wait(TIMEOUT)


@pytest.mark.parametrize("cause", ["reset", "killed"])
def test_answer_that_is_cut_short(place, served, cause):
    """A program that has ended its request is told if the answer was cut short."""
    def answer(sock):
        read_all(sock)
        sock.sendall(b"par")
        if cause == "reset":
            sock.recv(1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        else:
            stopped.wait(TIMEOUT)

    stopped = threading.Event()
    target = place.add(Target(answer))
    server = served.serve("cut", target.address)
    _, at = served.listen("cut")
    sock = place.add(connect(at))
    sock.sendall(b"1")
    sock.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):
        assert sock.recv(1) == b"p"
        if cause == "killed":
            server.end()
        read_all(sock)
    stopped.set()



def test_bytes_of_a_program_that_has_ended(place, served):
    """What a program has sent arrives, although it has closed its socket before a peer serves."""
    got = []
    target = place.add(Target(lambda sock: got.append(read_all(sock))))
    _, at = served.listen("late", place.dir / "at")
    with connect(at) as sock:
        sock.sendall(b"short message")
    served.serve("late", target.address)
    wait_until(lambda: got, "the target has the end")
    assert got == [b"short message"]


def test_absent_listener(place, served, fast_clock):
    """A stream that no peer serves delays no other connection, and is given up after 10 s."""
    del fast_clock
    target = place.add(Target(echo))
    served.serve("echo", target.address)
    client, at = served.listen("absent", place.dir / "at", "--listen", f"unix:{place.dir}/echo",
                               "--to", "echo")
    absent = place.add(connect(at))
    assert ask(place.add(connect(address_of(client, "echo"))), b"data") == b"data"
    client.err.wait("absent: no peer has accepted the stream within 10 s")
    assert not absent.recv(1)


@pytest.mark.parametrize("option, value, message", [
    ("--max-connections", "2", "refused a connection, because there are 2: see --max-connections"),
    ("--buffer", "400K", "no room for another stream beside 2 connections: a section holds at "
     "most 31 streams, fewer with a large --buffer"),
])
def test_limits(place, served, option, value, message):
    """A connection beyond a limit is closed, with a message; those before it continue."""
    target = place.add(Target(echo))
    served.serve("echo", target.address)
    client, at = served.listen("echo", place.dir / "at", option, value)
    socks = [place.add(connect(at)) for _ in range(2)]
    for sock in socks:
        sock.sendall(b"1")
        assert sock.recv(1) == b"1"
    with connect(at) as refused:
        assert not refused.recv(1)
    assert message in client.err.wait("refused a connection")
    for sock in socks:
        assert ask(sock, b"data") == b"data"


@pytest.mark.parametrize("serves_n, connections_n", [(1, 31), (4, 29)])
def test_default_limit(place, served, serves_n, connections_n):
    """By default, as many connections are accepted as the section has endpoints for; the next one
    is refused, and the message says how to get more."""
    target = place.add(Target(echo))
    served.serve("echo", target.address)
    others = [word for i in range(serves_n) for word in ("--serve", f"{i}={target.address}")]
    client, at = served.listen("echo", place.dir / "at", *others)
    socks = [place.add(connect(at)) for _ in range(connections_n)]
    for sock in socks:
        sock.sendall(b"1")
    assert [sock.recv(1) for sock in socks] == [b"1"] * connections_n
    with connect(at) as refused:
        assert not refused.recv(1)
    assert f"because there are {connections_n}, and a section has no endpoints for more: use " \
        "another" in client.err.wait("refused a connection")
    for sock in socks:
        assert ask(sock, b"data") == b"data"


def test_second_listener(place, served):
    """A second listener for a name is refused."""
    target = place.add(Target(echo))
    served.serve("echo", target.address)
    other = served.start(2, "--serve", f"echo={target.address}")
    assert other.wait() == 1
    assert "listens to the stream echo: use another name" in other.err.text()


@pytest.mark.parametrize("words, message", [
    (("shm:x",), "nothing to forward: use --listen and --to, or --serve"),
    (("shm:x", "--listen", "tcp:1.2.3.4:5"), 'no --to after --listen "tcp:1.2.3.4:5"'),
    (("shm:x", "--listen", "tcp:1.2.3.4:5", "--serve", "a=unix:/b"), "no --to after --listen"),
    (("shm:x", "--to", "a"), 'no --listen before --to "a"'),
    (("shm:x", "--serve", "a"), 'invalid --serve "a": use NAME=ADDRESS'),
    (("shm:x", "--serve", "=unix:/a"), "invalid name of a stream"),
    (("shm:x", "--serve", "a=/b"), 'invalid address "/b": use unix:PATH or tcp:HOST:PORT'),
    (("shm:x", "--serve", "a=unix:"), 'invalid address "unix:"'),
    (("shm:x", "--serve", "a=tcp:b"), 'invalid port in the address "tcp:b"'),
    (("shm:x", "--serve", "a=tcp:1.2.3.4:65536"), "invalid port"),
    (("shm:x", "--serve", "a=tcp:::1:22"), "invalid host"),
    (("shm:x", "--serve", "a=tcp:[::1:22"), "invalid host"),
    (("shm:x", "--serve", "a=tcp:example.org:22"), "invalid host"),
    (("shm:x", "--serve", "a=unix:/b", "--section", "-1"), 'invalid section "-1"'),
    (("shm:x", "--serve", "a=unix:/b", "--max-connections", "0"), "invalid number of connections"),
    (("shm:x", "--serve", "a=unix:/b", "--max-connections", "32"),
     'invalid number of connections "32": use 1 to 31'),
    (("shm:x", "--max-connections", "31", *("--serve", "a=unix:/b") * 2),
     'too many connections "31": use at most 30, or fewer --serve'),
    (("shm:x", "--serve", "a=unix:/b", "--buffer", "0"), 'invalid size "0"'),
    (("--serve", "a=unix:/b"), "no ADDRESS"),
    (("shm:x", "--serve", "a=unix:/b", "y"), "see --help"),
])
def test_usage_errors(words, message):
    """Invalid command lines: status 2, and a message with the value."""
    done = subprocess.run([TOOL, "forward", *words], capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_ipv6(place, served):
    """IPv6 addresses have brackets."""
    target = place.add(Target(echo))
    served.serve("echo", target.address)
    client = served.start(1, "--listen", "tcp:[::1]:0", "--to", "echo")
    port = int(address_of(client, "echo").rpartition("]:")[2])
    with socket.create_connection(("::1", port), TIMEOUT) as sock:
        assert ask(sock, b"data") == b"data"


def test_region_without_ids_needs_a_section(place):
    """The message names the option."""
    forwarding = Forwarding(place, "plain")
    done = place.run(TOOL, "forward", forwarding.address, "--serve", "a=unix:/b")
    assert done.returncode == 1
    assert "this peer has no id: give it a section that no other peer of the region uses, such " \
        "as --section 0" in done.stderr


def test_server_needs_no_section(served):
    """On a server, a section cannot be chosen."""
    process = served.start(1, "--serve", "a=unix:/b", "--section", 3)
    assert process.wait() == 1
    assert "leave out --section 3" in process.err.text()


def test_socket_in_use(place, served):
    """A socket of another process is not replaced, but a stale one is."""
    path = place.dir / "at"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        process = served.start(1, "--listen", f"unix:{path}", "--to", "echo")
        assert process.wait() == 1
        assert "another process is already listening" in process.err.text()
    process, _ = served.listen("echo", path)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_end_with_open_connections(place, served, number):
    """At the end, connections that have not ended are reset on both sides."""
    target = place.add(Target(echo))
    served.serve("echo", target.address)
    before = signal.signal(number, signal.SIG_DFL)  # nohup(1) ignores SIGHUP
    try:
        process, at = served.listen("echo")
    finally:
        signal.signal(number, before)
    sock = place.add(connect(at))
    sock.sendall(b"1")
    assert sock.recv(1) == b"1"
    process.signal(number)
    assert process.wait() == 0
    with pytest.raises(ConnectionResetError):
        read_all(sock)
