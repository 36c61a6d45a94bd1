# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem-device and servers that mean harm, or have gone wrong: a connection that is lost and comes back
with something else. The guest keeps what it had as long as it is of use, and other devices notice nothing."""
import contextlib
import fcntl
import os
import signal
import time

import pytest

from support.py import vfio_user as vfu
from support.py.control import ask_once
from support.py.device import Devices, Guest, connect_when_free
from support.py.fake_server import MIB, FakeServer, say
from support.py.lingering import QUICK, Lingering, slowest, stopped
from support.py.programs import cpu_ticks, fd_count, wait_until
from support.py.vfio_user import BAR2, CONFIG, Client, Refused, eventfd, fired, memory_file
from support.py.wire import ring

PEER = 7  # somebody who is there


def told(place, at=0):
    """What the device says of its server."""
    return ask_once(place.dir / "control")["devices"][at]["server"]


def wait_state(place, state, at=0):
    """Until it says that."""
    wait_until(lambda: told(place, at)["state"] == state, f"the state is {state}")


def serve(place, server, *options, vectors=1, **keywords):
    """A device of that server, and another one beside it. Return: it, and the sockets."""
    paths = [place.dir / "one", place.dir / "other"]
    running = Devices(place, "--control", place.dir / "control", "--socket", paths[0], "--server", server.path,
                      "--vectors", vectors, *options, "--socket", paths[1], "--region",
                      f"shm:{place.shm}", "--size", "1M", n=2, **keywords)
    return running, *paths


def come_back(place, server, at=0):
    """The server loses its client, which is a peer again."""
    joins = told(place, at)["joins"]
    server.drop()
    wait_until(lambda: told(place, at)["joins"] == joins + 1, "it is a peer again")


# Old doorbells

def test_old_doorbells_are_rung(place):
    """Whoever has them still can ring them: that keeps nothing busy, and interrupts nobody."""
    server = FakeServer(place, place.socket, vectors=2)
    running, one, _ = serve(place, server, vectors=2)
    guest = Guest(place, one, 2)
    old = server.renew(2)
    come_back(place, server)
    for fd in old:
        ring(fd)
    before = cpu_ticks(running.pid)
    time.sleep(1)
    assert cpu_ticks(running.pid) - before < 20 and guest.interrupts() == [0, 0]
    ring(server.own[1])
    guest.wait_interrupt(1)
    for fd in old:
        assert fired(fd) == 1, "nobody has taken it"
        os.close(fd)
    running.stop()


def test_doorbell_at_the_moment_of_the_change(place):
    """What was rung on an old doorbell before the new ones came is delivered."""
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
        # In this order: so the process finds the new ones before it finds that an old one was rung.
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


# Another region

@pytest.mark.parametrize("says", ["at once", "late"])
def test_the_next_vmm_has_the_new_region(place, says):
    """While a VMM is there the server comes back with another region. When it leaves, and the next one
    connects at once, that one has the new region; if the server does not say in 2 s which it has, the
    old one."""
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
    assert 1.5 < waited < 4 if says == "late" else waited < QUICK
    if says != "late":
        wait_state(place, "joined")
    os.close(old)
    running.stop()


def test_region_with_a_lease(place):
    """Opening it anew, to be only read, would wait. Other devices are answered. Its length is not taken, either."""
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


def test_sockets_that_linger(place):
    """In the place of the region, and behind what ends the connection: refused without waiting for long."""
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


# Servers of no use


class Useless:
    """A device whose server has become one of no use.

    change: makes it that
    keeps:  the device keeps the doorbells that it had
    used:   by a guest; a region of one that is used cannot be another one
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
        """From here on it is useless."""
        if self.used:
            self.guest = Guest(place, self.path)
        self.old = self.server.renew()
        self.change(self.server)
        self.came = self.server.came
        self.server.drop()

    def check_doorbells(self):
        """The guest rings the peer, and the peer the guest."""
        if not self.used:
            return
        self.guest.ring(PEER)
        # A server that is joined again has to tell of the peer again.
        wait_until(lambda: fired(self.server.others[PEER][0]) or not self.keeps and self.guest.ring(PEER),
                   f"{self.name}: the peer is rung")
        if self.keeps:
            ring(self.old[0])
            self.guest.wait_interrupt()

    def become_good(self):
        """With the region that it had."""
        if self.server.memory != self.memory:
            os.close(self.server.memory)
            self.server.memory = self.memory
        self.server.greet = self.server.welcome


def be_small(server):
    """The region has half its size."""
    server.memory = memory_file(MIB // 2)


def be_silent(server):
    """It accepts."""
    server.greet = server.silent


def be_curt(server):
    """It greets and closes."""
    server.greet = server.curt


def be_garbled(server):
    """It says what no server says."""
    server.greet = lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_servers_of_no_use(place):
    """Each try costs a server an id: they are tried less and less often. Doorbells that are known go on
    working meanwhile, the log does not fill, and when the server is good again the device is a peer."""
    those = [Useless(place, "small", be_small, True, False), Useless(place, "silent", be_silent, True),
             Useless(place, "curt", be_curt, False), Useless(place, "garbled", be_garbled, True)]
    running = Devices(place, "--control", place.dir / "control", *[
        word for one in those for word in ("--socket", one.path, "--server", one.server.path)], n=len(those))
    for one in those:
        one.begin(place)
    until = time.monotonic() + 5.5
    while time.monotonic() < until:
        for one in those:
            one.check_doorbells()
        time.sleep(0.2)
    for one in those:
        assert 1 <= one.server.came - one.came <= 3, (one.name, one.server.came - one.came)
        lines = [line for line in running.err.seen if f"{one.path}: " in line and "VMM" not in line]
        assert len(lines) <= 3 * 3, lines
        one.become_good()
    wait_until(lambda: all(told(place, at)["state"] == "joined" for at in range(len(those))), "all are peers")
    for one in those:
        guest = one.guest or Guest(place, one.path)
        ring(one.server.own[0])
        guest.wait_interrupt()
        for fd in one.old:
            os.close(fd)
    running.stop()


def test_vmms_that_come_and_go_beside_one(place):
    """Each VMM has the device ask the server at once, but a server that is of no use not again and again."""
    server = FakeServer(place, place.socket)
    running, one, _ = serve(place, server)
    server.greet = server.curt
    came = server.came
    until = time.monotonic() + 3  # from before the loss: of four tries 1 and 2 s apart the last is later
    server.drop()
    wait_state(place, "lost")
    while time.monotonic() < until:
        connect_when_free(place, one).close()
    assert 1 <= server.came - came <= 4, "a try or two, and as many for the VMMs"
    running.stop()


def test_server_with_thousands_of_doorbells(place):
    """It cannot use up what the process has to have for the VMMs of other devices."""
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
    """Whether it says so."""
    with contextlib.suppress(Refused):
        client.transact(vfu.FEATURE, vfu.feature_body(vfu.GET | vfu.MIGRATION, bytes(8), 24))
        return True
    return False


@pytest.mark.parametrize("late", [False, True], ids=["master", "first-of-its-server"])
def test_migration_follows_the_id(place, late):
    """A guest that goes on elsewhere has id 0 there: only who has it here can be migrated (the old device
    without being told that it is a master). So it is for
    the VMM that was there before, and for the next one."""
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
            wait_until(lambda number=number: told(place)["id"] == number, "it has the new id")
        for _ in range(2):
            assert client.read32(vfu.BAR0, vfu.IV_POSITION) == number
            assert is_migratable(client) == answer, number
            client.close()
            client = connect_when_free(place, path)
    running.stop()
