# SPDX-License-Identifier: BSD-3-Clause
"""Hostile and slow clients: one function for each case. Each function runs its case against a
server, asserts what must hold, and returns a short summary.

test_hostile_clients.py runs these functions as tests. scripts/compare-servers.py prints their
results, even for another project's server. So no case uses the server's log to find out what a
client can observe itself, and assertions that hold for our server alone check `place.ours`.
"""
import array
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
from typing import Callable, NamedTuple

from support.py.clients import connect_client, join, knows_all, others
from support.py.paths import TEST
from support.py.programs import TIMEOUT, cpu_ticks, is_sanitized, rss_kib, wait_until
from support.py.wire import ProtocolError, RawClient, connect as connect_socket, read_together

GROWTH_MAX_KIB = 1500  # 100,000 leaks of 32 bytes, malloc()'s smallest block, exceed it
#: The kernel counts fds in flight per user, so use a uid that no concurrent test has.
OWN_USER = 2**30 + os.getpid()


class CannotRun(Exception):
    """This machine lacks something that the case needs; the exception's text says what."""


# Parts of cases

def wait_for_fds(server, expected):
    """Wait until the server has this number of open fds."""
    try:
        wait_until(lambda: server.fds() == expected, "the server has as many fds open as before")
    except AssertionError:
        raise AssertionError(f"the server has {server.fds()} fds open, not {expected}") from None


def doorbell_name(fd):
    """Return: the id of an eventfd, which is the same in every process; None if the kernel does not
    show it (before 5.2)."""
    for line in pathlib.Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
        if line.startswith("eventfd-id:"):
            return line.split()[1]
    return None


class Witness(RawClient):
    """A client that records the ids of the doorbells that it receives for each peer."""

    def __init__(self, path, vectors, keep):
        self.names = {}
        super().__init__(path, vectors, keep)

    def _apply(self, value, fd):
        if value >= 0 and fd is not None:
            self.names.setdefault(value, []).append(doorbell_name(fd))
        super()._apply(value, fd)


# Cases

def connect_and_close(place, times):
    """While one client stays, others connect and immediately leave: the server's memory does not
    grow, and the server still serves clients."""
    options = ["--max-joins-per-user", "0"] if place.ours else []
    server = place.server(*options)
    watcher = join(place, keep=False)

    def open_and_close(count):
        for done in range(count):
            try:
                connect_socket(str(place.socket)).close()
            except OSError as error:
                raise AssertionError(f"after {done} connections: {error.strerror}") from None
        join(place, keep=False).close()  # served after all earlier clients have been accepted
        wait_for_fds(server, before)

    before = server.fds()
    open_and_close(min(times, 10000))  # first cause the allocations that happen only once
    memory = rss_kib(server.pid)
    open_and_close(times)
    growth = rss_kib(server.pid) - memory
    assert is_sanitized(place.server_program) or growth < GROWTH_MAX_KIB, \
        f"{times} connections: memory {growth:+} KiB"
    first, second = join(place, keep=False), join(place, keep=False)
    knows_all([watcher, first, second])
    return f"{times} connections: fds {before} -> {before}, memory {growth:+} KiB"


def silent_clients(place, clients, vectors):
    """Clients connect and do not read for a while. Then each receives all messages in order, and
    the fds of each peer are in the order of its vectors (W-6)."""
    place.server("-n", vectors)
    silent = [connect_client(place, vectors, keep=False, kind=Witness) for _ in range(clients)]
    silent[-1].read_until(lambda: silent[-1].memory is not None, "the last client has its greeting")
    wanted = 3 + clients * vectors
    try:
        read_together(silent, lambda: all(len(each.history) >= wanted for each in silent),
                      "all clients have received everything")
    except ProtocolError:
        raise
    except AssertionError:
        least = min(silent, key=lambda each: len(each.history))
        raise AssertionError(f"client {least.id} was told {len(least.history)} of {wanted} "
                             "messages") from None
    knows_all(silent)
    for client in silent:
        for other in silent:
            assert client.names[other.id] == other.names[other.id], \
                f"client {client.id} has wrong vectors of {other.id}, or in the wrong order"
    assert all(client.hears_nothing(0) for client in silent), "there are surplus messages"
    return f"each client received all {wanted} messages, in order"


def idle_client(place, visitors, vectors):
    """One client has read its greeting and another has not. Visitors join and leave one by one;
    then a crowd joins, and most of it leaves. Afterwards both clients know exactly the connected
    peers."""
    place.server("-n", vectors)
    idle, deaf = join(place, vectors, keep=False), connect_client(place, vectors, keep=False)
    watcher = join(place, vectors, keep=False)
    crowd_n = min(visitors // 2, 40)
    for _ in range(visitors - crowd_n):
        join(place, vectors, keep=False).close()
    together = [join(place, vectors, keep=False) for _ in range(crowd_n + 5)]
    stay = together[:3] + together[-2:]
    for client in together[3:-2]:
        client.close()
    deaf.read_until(lambda: deaf.id is not None, "its id")
    there = [idle, deaf, watcher] + stay
    told = len(idle.history)
    try:
        knows_all(there)
    except ProtocolError:
        raise
    except AssertionError:
        views = [(set(client.peers), others(client, there)) for client in there]
        ghosts = max(len(knows - true) for knows, true in views)
        missing = max(len(true - knows) for knows, true in views)
        raise AssertionError(f"{visitors} came and went: {ghosts} ghosts, {missing} connected "
                             "peers missing") from None
    deaf.greeting()
    assert all(client.hears_nothing() for client in there[:3]), "there are surplus messages"
    heard = {value for value, has_fd in idle.history[told:] if has_fd} - others(idle, there)
    return f"0 ghosts; {len(heard)} of {visitors} visitors were announced to it"


def out_of_fds(place, vectors, limit):
    """At its fd limit, the server refuses each new client and logs a message. Connected clients
    stay, and when some of them leave, new clients are admitted."""
    server = place.server("-n", vectors, nofile=limit)
    before = server.fds()
    served = []
    while (client := connect_client(place, vectors, keep=False)).next() is not None:
        served.append(client.greeting())
        knows_all(served)
        assert len(served) < limit, "more clients are served than the fd limit allows"
    assert server.popen.poll() is None, f"the server ended at client {len(served)}"
    refused = 5
    for _ in range(refused - 1):
        late = connect_client(place, vectors, keep=False)
        assert late.read_to_end() == [], "a client is served beyond the limit"
    if place.ours:
        server.err.wait("refused a client", refused)
        lines = [line for line in server.err.seen if "refused a client" in line]
        assert len(lines) == refused, lines
        assert all(str(limit) in line and "file descriptors" in line for line in lines)
    assert len(served) >= (limit - before) // (1 + vectors) - 1, f"only {len(served)} served"
    knows_all(served)
    assert all(client.hears_nothing(0) for client in served), "refused clients are announced"
    full = len(served)
    for client in served[2:5]:
        client.close()
    served[2:5] = []
    for _ in range(3):
        knows_all(served)
        served.append(join(place, vectors, keep=False))
    knows_all(served)
    late = connect_client(place, vectors, keep=False)
    assert late.read_to_end() == [], "a client is served beyond the limit"
    return f"{full} served, {refused} refused; after 3 have left, 3 more served"


def crowd(place, clients, vectors):
    """A great many clients connect before any of them reads. Each then learns of all peers, as
    crowd.c checks."""
    needed = clients * (1 + vectors) + 64
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < needed:
        raise CannotRun(f"{clients} clients with {vectors} vectors need a limit of {needed} "
                        f"open files, but only {hard} are allowed: raise the limit (ulimit -Hn)")
    program = place.build / "test" / "crowd"
    if not program.exists():
        raise CannotRun(f"{program} is not built: meson setup -Dtests=enabled")
    limit = max(needed, min(hard, clients * 32))
    server = place.server("-n", vectors, nofile=limit)
    before = server.fds()
    done = place.run(program, place.socket, clients, vectors, timeout=10 * TIMEOUT)
    assert done.returncode == 0, done.stderr.strip()
    wait_for_fds(server, before)
    return done.stdout.strip().replace("crowd: ", "every client knew all others: ")


def odd_size(place, size):
    """If the requested size is not a power of two, the server uses exactly that size or names it in
    an error."""
    region = ["-r", "memfd:"] if place.ours else ["-M", place.shm]
    assert size[-1] == "G"
    wanted = int(size[:-1]) << 30
    try:
        place.server("-l", size, region=region)
    except AssertionError:  # the server has exited: run it again to see its status
        done = place.run(place.server_program, "-F", "-S", place.socket, *region, "-l", size)
        lines = done.stderr.strip().splitlines()
        assert done.returncode > 0 and lines, f"status {done.returncode} and no message"
        assert any(size in line for line in lines), lines[0]
        assert not place.socket.exists() or not place.ours, "a socket is left behind"
        return lines[0].removeprefix("ivshmem-server: ")
    client = join(place, keep=False)
    given = os.fstat(client.memory).st_size
    place.end_all()
    assert given == wanted, f"a region of {given / (1 << 30):g} GiB, without a warning"
    return f"a region of {size}"


def truncated_region(place, sealed):
    """A client tries to truncate the region. A sealed region cannot be truncated. For any
    other region the server logs a warning when it starts, and it keeps serving, because it never
    accesses the region."""
    if sealed and not place.ours:
        raise CannotRun("the server has no sealed regions")
    size = 1 << 20
    region = ["-r", "memfd:"] if sealed else ["-M", place.shm]
    server = place.server("-l", size, region=region)
    warning = "any client can truncate the region, which kills all processes that use it"
    hostile, victim = join(place, keep=False), join(place, keep=False)
    try:
        os.ftruncate(hostile.memory, 0)
    except PermissionError:
        pass
    now = os.fstat(victim.memory).st_size
    assert now == (size if sealed else 0), f"the region has {now} bytes"
    if sealed:
        assert not server.err.count(warning), "the server warns even though the region is sealed"
    elif place.ours:
        server.err.wait(warning)
    knows_all([hostile, victim, join(place, keep=False)])
    if sealed:
        return "sealed memfd: refused by the kernel"
    assert place.ours, "the region is truncated to 0 bytes: SIGBUS in every VM that touches it"
    return "POSIX name: possible; the server warns at start"


# Clients that break the protocol

def half_close(sock):
    """Shut down the sending side, and continue to read."""
    sock.shutdown(socket.SHUT_WR)


def stop_reading(sock):
    """Shut down the receiving side. The server notices when it has something to send."""
    sock.shutdown(socket.SHUT_RD)


def send_byte(sock):
    """Send data, which is not allowed."""
    sock.send(b"x")


def send_messages(sock):
    """Send bytes that look like messages from a server."""
    sock.send(bytes(8 * 1000))


def send_fds(sock):
    """Send 500 fds."""
    null = os.open("/dev/null", os.O_RDONLY)
    fds = array.array("i", [null] * 250)
    try:
        for _ in range(2):
            sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server dropped the client in the meantime
    except PermissionError:  # Linux 6.16: the kernel rejects fds for the server
        sock.send(b"x")
    finally:
        os.close(null)


CRIMES = {crime.__name__: crime for crime in
          (half_close, stop_reading, send_byte, send_messages, send_fds)}


def crime_is_punished(place, name, greeted):
    """Whatever a hostile client does, the server drops only that client and announces its leave,
    and no fd leaks (W-8)."""
    server = place.server()
    clients = [join(place, keep=False), join(place, keep=False)]
    knows_all(clients)
    before = server.fds()
    hostile = join(place, keep=False) if greeted else connect_client(place, keep=False)
    if greeted:
        knows_all(clients + [hostile])
    hostile.sock.setblocking(True)
    CRIMES[name](hostile.sock)
    hostile.sock.setblocking(False)
    if place.ours:
        server.err.wait("client 2 joined")  # otherwise the server has nothing to close yet
    # Our server keeps the socket of a client that has not read everything.
    kept = 0 if greeted or not place.ours else 1
    if CRIMES[name] is not stop_reading:
        wait_for_fds(server, before + kept)
        knows_all(clients)
    clients.append(join(place, keep=False))
    if CRIMES[name] is not stop_reading:
        wait_for_fds(server, before + 2 + kept)
    hostile.read_to_end()
    wait_for_fds(server, before + 2)
    knows_all(clients)


def many_fds(place, times):
    """Many clients send 500 fds each to the server: no fd leaks."""
    server = place.server()
    before = server.fds()
    for _ in range(times):
        with RawClient(str(place.socket)) as hostile:
            hostile.sock.setblocking(True)
            send_fds(hostile.sock)
    server.err.wait(" left ", times)
    wait_for_fds(server, before)


def all_crimes(place):
    """Test each violation with a client that has been greeted and with one that has just
    connected."""
    for name in CRIMES:
        for greeted in (True, False):
            place.socket = place.dir / f"{name}-{greeted}"
            try:
                crime_is_punished(place, name, greeted)
            except AssertionError as error:
                raise AssertionError(f"{name.replace('_', ' ')}: {error}") from None
            place.end_all()
    return (f"{2 * len(CRIMES)} tries: only that client is dropped, the others are notified, "
            "no fd leaks")


STOPPED_CLIENT = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from support.py.wire import RawClient
with RawClient(sys.argv[2], int(sys.argv[3]), keep=False) as client:
    client.read_until(lambda: len(client.history) == 5)
    print("stops", client.id, flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    client.greeting()
    client.read_until_knows({int(word) for word in sys.stdin.readline().split()})
    print("knows all", flush=True)
"""


def stopped_in_greeting(place, visitors, vectors):
    """A client process is stopped after its first few messages. The other clients lose nothing in
    the meantime, and the stopped client loses nothing once it continues."""
    place.server("-n", vectors)
    clients = [join(place, vectors, keep=False) for _ in range(4)]
    knows_all(clients)
    stopped = place.start(sys.executable, "-c", STOPPED_CLIENT,
                          TEST, place.socket, vectors,
                          stdin=subprocess.PIPE)
    its_id = int(stopped.out.wait("stops").split()[1])
    state = pathlib.Path(f"/proc/{stopped.pid}/stat")
    wait_until(lambda: state.read_text().rsplit(")", 1)[1].split()[0] == "T",
               "the client is stopped")
    clients.pop(1).close()
    for _ in range(visitors):
        visitor = join(place, vectors, keep=False)
        there = {its_id, visitor.id} | {client.id for client in clients}
        all_but_it = clients + [visitor]
        read_together(all_but_it, lambda: all(client.knows(there - {client.id})
                                              for client in all_but_it),
                      "the other clients know all")
        visitor.close()
    clients.append(join(place, vectors, keep=False))
    ids = {client.id for client in clients} | {its_id}
    read_together(clients, lambda: all(client.knows(ids - {client.id}) for client in clients),
                  "the others know each other while one client is stopped")
    stopped.write(" ".join(str(each) for each in ids - {its_id}) + "\n")
    stopped.signal(signal.SIGCONT)
    try:
        assert stopped.wait() == 0, stopped.err.text().splitlines()[-1:]
    except subprocess.TimeoutExpired:
        raise AssertionError("the client still waits for messages") from None
    assert stopped.out.count("knows all")
    knows_all(clients)
    return (f"{visitors} came and went in the meantime: neither this client nor any other lost a "
            "message")


def fds_in_flight(place, clients, limit):
    """The kernel allows the server only a few fds in flight. One client never reads; the others
    read late. The server waits without spinning and drops no client, and clients that read receive
    everything."""
    user = OWN_USER if os.geteuid() == 0 else None
    place.dir.chmod(0o777)
    server = place.server(nofile=limit, user=user)
    silent = [connect_client(place, keep=False) for _ in range(clients)]
    wait_until(lambda: server.fds() > 2 * clients, "all clients are accepted")
    before = cpu_ticks(server.pid)
    try:
        server.popen.wait(1)
    except subprocess.TimeoutExpired:
        pass
    assert server.popen.poll() is None, "the server has ended"
    used = cpu_ticks(server.pid) - before
    assert used <= 20, f"the server spins: {used} of 100 ticks"
    never, late = silent[0], silent[1:]
    ids = set(range(clients))
    read_together(late, lambda: all(client.knows(ids - {client.id}) and len(client.own) == 1
                                    for client in late), "all clients that read know all")
    never.read_until_knows(ids - {0})
    return (f"{limit} fds in flight at most: no client dropped, no busy loop, clients that read "
            "receive everything")


class Case(NamedTuple):
    """One case of the comparison.

    title:       what the clients do, with names in braces for the numbers
    full, short: the numbers for a normal run and for a quick one, which is also used with
                 sanitizers because they make everything several times slower
    """
    name: str
    title: str
    run: Callable
    full: dict
    short: dict

    def numbers(self, quick):
        """Return: the numbers with which to run the case."""
        return self.short if quick else self.full


CASES = [
    Case("connect-and-close", "clients connect and close in a loop", connect_and_close,
         {"times": 100000}, {"times": 3000}),
    Case("silent", "{clients} clients with {vectors} vectors do not read at first",
         silent_clients, {"clients": 41, "vectors": 8}, {"clients": 41, "vectors": 8}),
    Case("idle-34", "one client idles while {visitors} come and go", idle_client,
         {"visitors": 34, "vectors": 8}, {"visitors": 34, "vectors": 8}),
    Case("idle-1000", "one client idles while {visitors} come and go", idle_client,
         {"visitors": 1000, "vectors": 8}, {"visitors": 100, "vectors": 8}),
    Case("out-of-fds", "the server runs out of file descriptors ({limit})", out_of_fds,
         {"vectors": 1, "limit": 64}, {"vectors": 1, "limit": 64}),
    Case("crowd", "{clients} clients with {vectors} vectors connect at once", crowd,
         {"clients": 1000, "vectors": 4}, {"clients": 150, "vectors": 4}),
    Case("size", "the size is not a power of two: -l {size}", odd_size,
         {"size": "5G"}, {"size": "5G"}),
    Case("truncate-sealed", "a client truncates a memfd region", truncated_region,
         {"sealed": True}, {"sealed": True}),
    Case("truncate-named", "a client truncates a region with a name", truncated_region,
         {"sealed": False}, {"sealed": False}),
    Case("crimes", "a client sends bytes or fds, or closes one direction", all_crimes, {}, {}),
    Case("stopped", "a client is stopped during its greeting", stopped_in_greeting,
         {"visitors": 30, "vectors": 8}, {"visitors": 30, "vectors": 8}),
    Case("in-flight", "{clients} clients do not read, one of them never; the server is not root",
         fds_in_flight, {"clients": 20, "limit": 64}, {"clients": 20, "limit": 64}),
]
