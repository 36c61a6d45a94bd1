# SPDX-License-Identifier: BSD-3-Clause
"""Tests of ivshmem-device with servers that are hostile or faulty, that drop the device, or that
return with a different region. The guest keeps its memory, and its doorbells as long as they work.
Other devices are not affected."""
import contextlib
import fcntl
import math
import os
import pathlib
import signal
import time

import pytest

from support.py import vfio_user as vfu
from support.py.control import ask_once
from support.py.device import Devices, Guest, connect_when_free
from support.py.fake_server import MIB, FakeServer, say
from support.py.fuse import Fuse
from support.py.lingering import QUICK, Lingering, slowest, stopped
from support.py.programs import cpu_ticks, fd_count, wait_until
from support.py.stuck_epoll import helpers
from support.py.vfio_user import BAR2, CONFIG, Client, Refused, eventfd, fired, memory_file
from support.py.wire import ring

PEER = 7  # the id of an existing peer


def told(place, at=0):
    """Return: the part of a device's status that describes its server."""
    return ask_once(place.dir / "control")["devices"][at]["server"]


def wait_state(place, state, at=0):
    """Wait until a device's status shows this state of its server."""
    wait_until(lambda: told(place, at)["state"] == state, f"the state is {state}")


def serve(place, server, *options, vectors=1, **keywords):
    """Start a process with a device that uses @server and a second device with its own region.
    Return: the process, and the two sockets."""
    paths = [place.dir / "one", place.dir / "other"]
    running = Devices(place, "--control", place.dir / "control", "--socket", paths[0], "--server",
                      server.path,
                      "--vectors", vectors, *options, "--socket", paths[1], "--region",
                      f"shm:{place.shm}", "--size", "1M", n=2, **keywords)
    return running, *paths


def come_back(place, server, at=0):
    """Have the server drop the device, and wait until the device is a peer again."""
    joins = told(place, at)["joins"]
    server.drop()
    wait_until(lambda: told(place, at)["joins"] == joins + 1, "the device is a peer again")


# Old doorbells

@pytest.mark.usefixtures("fast_clock")
def test_old_doorbells_cause_no_interrupts(place):
    """Peers that still have a device's old doorbells can ring them. The rings neither interrupt the
    guest nor make the device use processor time."""
    server = FakeServer(place, place.socket, vectors=2)
    running, one, _ = serve(place, server, vectors=2)
    guest = Guest(place, one, 2)
    old = server.renew(2)
    come_back(place, server)
    for fd in old:
        ring(fd)
    before = cpu_ticks(running.pid)
    time.sleep(0.4)
    assert cpu_ticks(running.pid) - before < 20 and guest.interrupts() == [0, 0]
    ring(server.own[1])
    guest.wait_interrupt(1)
    for fd in old:
        assert fired(fd) == 1, "the device must not have read it"
        os.close(fd)
    running.stop()


def test_doorbell_during_the_change_is_delivered(place):
    """If a peer rings an old doorbell just before the device gets new doorbells, the guest still
    gets the interrupt."""
    server = FakeServer(place, place.socket, vectors=2)
    running, one, _ = serve(place, server, vectors=2)
    guest = Guest(place, one, 2)
    old = server.renew(2)
    server.greet = server.silent
    came = server.came
    server.drop()
    server.wait_for_another(came)
    wait_state(place, "greeted")
    running.signal(signal.SIGSTOP)
    try:
        # Send the new doorbells first, so that the process finds them before it reads the old one.
        server.welcome(server.sock)
        ring(old[1])
    finally:
        running.signal(signal.SIGCONT)
    guest.wait_interrupt(1)
    assert told(place)["joins"] == 2 and guest.interrupts() == [0, 0]
    for fd in old:
        assert fired(fd) == 0
        os.close(fd)
    running.stop()


# A different region

@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("says", ["at once", "late"])
def test_next_vmm_gets_the_new_region(place, says):
    """The server returns with a different region while a VMM is connected. A VMM that connects
    right after the first VMM has left gets the new region, or the old one if the server does not
    send its region within 2 s."""
    server = FakeServer(place, place.socket)
    running, one, _ = serve(place, server)
    guest = Guest(place, one)
    with guest.client.map_memory() as memory:
        memory[:3] = b"old"
    old, server.memory = server.memory, memory_file(MIB)
    os.pwrite(server.memory, b"new", 0)
    server.drop()
    wait_state(place, "foreign")
    if says == "late":
        server.greet = server.silent
    began = time.monotonic()
    guest.client.close()
    with Client(one) as following:
        assert following.read(BAR2, 0, 3) == (b"old" if says == "late" else b"new")
        with following.map_memory() as memory:
            assert memory[:3] == (b"old" if says == "late" else b"new")
    waited = time.monotonic() - began
    assert 0.15 < waited < 4 if says == "late" else waited < QUICK
    if says != "late":
        wait_state(place, "joined")
    os.close(old)
    running.stop()


def has_open(pid, st):
    """Return: whether a process has this file open."""
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # the fd has just been closed
            if os.path.samestat(fd.stat(), st):
                return True
    return False


@pytest.mark.usefixtures("fast_clock")
def test_helper_processes_free_the_memory_of_a_former_region(place):
    """The server returns with a different region and has closed the old one. Freeing a lot of
    memory takes seconds, so the device passes the old region to a helper process before it closes
    its own fd."""
    server = FakeServer(place, place.socket)
    running, _, other = serve(place, server)
    old, server.memory = server.memory, memory_file(MIB)
    st = os.fstat(old)
    os.close(old)
    come_back(place, server)
    wait_until(lambda: any(has_open(pid, st) for pid in helpers(running.pid)),
               "a helper process has the old region")
    assert not has_open(running.pid, st)
    with Client(other) as neighbour:
        assert neighbour.info()
    running.stop()


@pytest.mark.usefixtures("fast_clock")
def test_region_with_a_lease_does_not_block_the_device(place):
    """A server passes a file with a lease. The device reopens the file read-only and must not wait
    for the lease: other devices are served, and BAR 2 keeps the size of the old region."""
    server = FakeServer(place, place.socket)
    running, one, other = serve(place, server, "--read-only")
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        path = place.dir / "leased"
        path.write_bytes(bytes(2 * MIB))
        os.close(server.memory)
        server.memory = os.open(path, os.O_RDWR)
        fcntl.fcntl(server.memory, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        with Client(other) as neighbour:
            came = server.came
            server.drop()
            server.wait_for_another(came)
            assert slowest(neighbour) < QUICK
            wait_state(place, "lost")
            assert "cannot open the region read-only" in told(place)["problem"]
            with Client(one) as client:
                assert len(client.map_memory(writable=False)) == MIB
                client.write(CONFIG, 0x18, b"\xff" * 8)
                assert client.read(CONFIG, 0x18, 8) == ((1 << 64) - MIB | 0xc).to_bytes(8, "little")
            fcntl.fcntl(server.memory, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        signal.signal(signal.SIGIO, before)
    running.stop()


@pytest.mark.usefixtures("fast_clock")
def test_lingering_sockets_from_a_server(place):
    """The server passes sockets whose close() blocks: one in place of the region, which makes the
    device disconnect, and more after it. Other devices are served."""
    server = FakeServer(place, place.socket)
    running, _, other = serve(place, server)
    lingering = place.add(Lingering(20))

    def greet(sock):
        fds = lingering.fds()
        with stopped(running):
            say(sock, 0)
            say(sock, 1)
            for fd in fds:
                say(sock, -1, fd)
            server.greet = server.welcome
        lingering.hand_over()

    server.greet = greet
    with Client(other) as neighbour:
        came = server.came
        server.drop()
        server.wait_for_another(came)
        assert slowest(neighbour) < QUICK
    running.stop()


# Bad servers


class Useless:
    """A device whose server becomes bad.

    change: function that makes the server bad
    keeps:  whether the device keeps its old doorbells after the change
    used:   whether a guest uses the device, so that the region cannot be replaced
    """

    def __init__(self, place, name, change, keeps, used=True):
        self.name = name
        self.keeps = keeps
        self.used = used
        self.change = change
        self.server = FakeServer(place, place.dir / f"{name}.server", others={PEER: [eventfd()]})
        self.path = place.dir / name
        self.memory = self.server.memory
        self.guest = self.old = None
        self.came = 0

    def begin(self, place):
        """Make the server bad, and have it drop the device."""
        if self.used:
            self.guest = Guest(place, self.path)
        self.old = self.server.renew()
        self.change(self.server)
        self.came = self.server.came
        self.server.drop()

    def attempts(self):
        """Return: how many times the device has connected since begin()."""
        return self.server.came - self.came

    def check_doorbells(self):
        """Check that the guest can ring the peer and, if the device keeps its doorbells, that the
        peer can ring the guest."""
        if not self.used:
            return
        self.guest.ring(PEER)
        # After the device has reconnected, it can ring the peer only once the server has announced
        # the peer again.
        wait_until(lambda: fired(self.server.others[PEER][0]) or not self.keeps
                   and self.guest.ring(PEER),
                   f"{self.name}: the guest can ring the peer")
        if self.keeps:
            ring(self.old[0])
            self.guest.wait_interrupt()

    def become_good(self):
        """Make the server behave again, with its first region."""
        if self.server.memory != self.memory:
            os.close(self.server.memory)
            self.server.memory = self.memory
        self.server.greet = self.server.welcome


def attempts_max(seconds):
    """Return: the maximum number of attempts to connect within @seconds of real time. The clock of
    the device runs ten times as fast, and the device pauses at least 1, 2, 4 ... s before
    successive attempts."""
    return int(math.log2(10 * seconds + 1))


def be_small(server):
    """Offer a region of half the size."""
    server.memory = memory_file(MIB // 2)


def be_silent(server):
    """Accept connections and send nothing."""
    server.greet = server.silent


def be_curt(server):
    """Send a greeting, and close the connection."""
    server.greet = server.curt


def be_garbled(server):
    """Send data that violates the protocol."""
    server.greet = lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.usefixtures("fast_clock")
def test_bad_servers_are_tried_less_and_less_often(place):
    """Each attempt to connect uses up one of the server's ids, so the device retries less and less
    often. While the server is bad, the doorbells that the device keeps still work and the log stays
    short. When the server is good again, the device becomes a peer again."""
    those = [Useless(place, "small", be_small, True, False),
             Useless(place, "silent", be_silent, True),
             Useless(place, "curt", be_curt, False), Useless(place, "garbled", be_garbled, True)]
    running = Devices(place, "--control", place.dir / "control", *[
        word for one in those for word in ("--socket", one.path, "--server", one.server.path)],
        n=len(those))
    for one in those:
        one.begin(place)
    began = time.monotonic()
    while time.monotonic() < began + 0.55 or not all(one.attempts() for one in those):
        for one in those:
            one.check_doorbells()
        time.sleep(0.02)
    attempts = [one.attempts() for one in those]
    most = attempts_max(time.monotonic() - began) + 1
    assert max(attempts) <= most, (attempts, most)
    for one in those:
        lines = [line for line in running.err.seen if f"{one.path}: " in line and "VMM" not in line]
        assert len(lines) <= 3 * most, lines
        one.become_good()
    wait_until(lambda: all(told(place, at)["state"] == "joined" for at in range(len(those))),
               "all devices are peers")
    for one in those:
        guest = one.guest or Guest(place, one.path)
        ring(one.server.own[0])
        guest.wait_interrupt()
        for fd in one.old:
            os.close(fd)
    running.stop()


@pytest.mark.usefixtures("fast_clock")
def test_vmms_do_not_cause_attempts_at_a_bad_server(place):
    """When a VMM connects, the device tries to connect to its server immediately. If the server is
    bad, many VMMs do not cause many attempts."""
    server = FakeServer(place, place.socket)
    running, one, _ = serve(place, server)
    server.greet = server.curt
    came = server.came
    began = time.monotonic()  # taken before the connection is lost
    server.drop()
    wait_state(place, "lost")
    while time.monotonic() < began + 0.3 or server.came == came:
        connect_when_free(place, one).close()
    # VMMs cause at most one additional attempt in each pause.
    assert server.came - came <= 2 * attempts_max(time.monotonic() - began)
    running.stop()


def test_server_with_thousands_of_doorbells(place):
    """Doorbells that a server announces cannot use up the fds that the process needs for the VMMs
    of other devices."""
    limit = 512
    server = FakeServer(place, place.socket)
    running, _, other = serve(place, server, nofile=limit)
    fd = eventfd()
    for at in range(5000):
        say(server.sock, 1 + at % 1000, fd)
    say(server.sock, 2000)
    assert told(place)["state"] == "joined"
    neighbour = Client(other)
    assert neighbour.map_memory()
    neighbour.close()
    again = connect_when_free(place, other)
    assert fd_count(running.pid) < limit / 2 + 64 and again.info()
    os.close(fd)
    running.stop()


# Migration

def is_migratable(client):
    """Return: whether the device tells its VMM that it can be migrated."""
    with contextlib.suppress(Refused):
        client.transact(vfu.FEATURE, vfu.feature_body(vfu.GET | vfu.MIGRATION, bytes(8), 24))
        return True
    return False


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("late", [False, True], ids=["master", "first-of-its-server"])
def test_migration_depends_on_the_id(place, late):
    """A migrated guest resumes with id 0, so a device can be migrated only while its id is 0 (and
    only if it is configured as master or is a legacy device). A new id changes what the device
    tells the connected VMM and the next one."""
    path = place.dir / "vmm"
    server = FakeServer(place, place.socket)
    server.next_id = 5 if late else 0
    words = ["--legacy", f"chardev={place.socket},size=1M"] if late else \
        ["--server", place.socket, "--role", "master"]
    running = Devices(place, "--control", place.dir / "control", "--socket", path, *words)
    client = connect_when_free(place, path)
    for number, answer in ((5, False), (0, True)) if late else ((0, True), (5, False)):
        if told(place)["id"] != number:
            server.next_id = number
            server.drop()
            wait_until(lambda number=number: told(place)["id"] == number,
                       "the device has the new id")
        for _ in range(2):
            assert client.read32(vfu.BAR0, vfu.IV_POSITION) == number
            assert is_migratable(client) == answer, number
            client.close()
            client = connect_when_free(place, path)
    running.stop()


# Files whose file system does not respond

@pytest.mark.skipif(Fuse.lacks() is not None, reason=str(Fuse.lacks()))
@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("request_name", ["GETATTR", "FLUSH"])
def test_region_of_a_fuse_file_system(place, request_name):
    """The server returns with a region on a FUSE file system that does not respond. The device
    refuses the region without a request to the file system, and keeps its fd open. Other devices
    are served."""
    server = FakeServer(place, place.socket)
    running, _, other = serve(place, server)
    with Fuse(place) as fuse, fuse.as_region_of(server, request_name), Client(other) as neighbour:
        came = server.came
        server.drop()
        server.wait_for_another(came)
        assert slowest(neighbour) < QUICK
        wait_state(place, "lost")
        assert "neither memory nor a file on a local disk (file system: fuse)" in \
            told(place)["problem"]
        assert fuse.count(request_name) == 0
        running.err.wait("it stays open")
    running.stop()


@pytest.mark.usefixtures("fast_clock")
def test_many_fds_that_stay_open(place):
    """The device gives up on a server that sends many fds whose close() could block."""
    server = FakeServer(place, place.socket)
    running, _, other = serve(place, server)
    unknown = os.pidfd_open(os.getpid())

    def greet(sock):
        say(sock, 0)
        say(sock, 0)
        say(sock, -1, *[unknown] * 20)

    server.greet = greet
    server.drop()
    wait_until(lambda: "too many fds" in told(place)["problem"], "the device gives up")
    with Client(other) as neighbour:
        assert neighbour.info()
    came = server.came
    time.sleep(0.4)  # 4 s on the device's clock, during which nothing may happen
    assert server.came == came
    os.close(unknown)
    running.stop()
