# SPDX-License-Identifier: BSD-3-Clause
"""Guests with unmodified QEMU do not notice that their server is upgraded or killed."""
import os
import select
import signal
import time

import pytest

from guestkit import initramfs, kernel, machine
from support.py.clients import join
from support.py.crowd import Storm, all_know_all, take_doorbells
from support.py.manager import Manager
from support.py.wire import ring

BOOT = 120
ARRIVES = 20
VECTORS = 2
SCRIPT = ("ivshmem-client -v -a pci:; peek pci: read 4096; peek pci: write $OFFSET $NAME")


@pytest.fixture
def guests(build, place):
    """Return: guests(socket), which starts two guests that are connected to the server on this
    socket. They are stopped after the test."""
    started = []

    def start(socket):
        found = kernel.find()
        for at in range(2):
            image = os.path.join(place.dir, f"guest{at}.img")
            initramfs.build(image, found, SCRIPT, modules=initramfs.VFIO, programs=[
                (build / "test/peek-static", "peek"),
                (build / "tools/ivshmem-client-static", "ivshmem-client")])
            started.append(machine.Guest(
                f"guest{at}", found, image, image + ".log", iommu=True, bind="vfio-pci",
                env={"NAME": f"from-guest{at}", "OFFSET": str(8192 + 64 * at)},
                devices=machine.doorbell(socket, VECTORS),
                serial=os.path.join(place.dir, f"c{at}")))
        return started

    yield start
    for guest in started:
        guest.stop()


class Peer:
    """A guest or a host process that rings other peers by id and reports the doorbells that it
    receives."""

    def __init__(self, ident, guest=None, client=None):
        self.ident = ident
        self.guest = guest
        self.client = client

    def ring(self, other, vector):
        """Ring a vector of another peer."""
        if self.guest:
            self.guest.send(f"int {other.ident} {vector}")
        else:
            ring(self.client.peers[other.ident][vector])

    def prepare(self):
        """Discard the doorbells received so far. Return: the argument @start for wait()."""
        if self.guest:
            return len(self.guest.text())
        take_doorbells(self.client)
        return 0

    def wait(self, vector, start):
        """Wait until this vector has been rung since prepare()."""
        if self.guest:
            self.guest.wait_for(rf"doorbell on vector {vector}\b", ARRIVES, start)
        else:
            assert select.select([self.client.own[vector]], [], [], ARRIVES)[0]


def all_ring_all(peers):
    """Check that each peer can ring every other one on each vector."""
    for rings in peers:
        for rung in peers:
            for vector in range(VECTORS if rings is not rung else 0):
                start = rung.prepare()
                rings.ring(rung, vector)
                rung.wait(vector, start)


def quiet(guest):
    """Wait until a guest prints no more doorbells from the storm."""
    deadline = time.monotonic() + ARRIVES
    before = None
    while before != (before := len(guest.text())):
        assert time.monotonic() < deadline
        time.sleep(0.3)


def host_peer(place):
    """Connect a host process to the server."""
    client = join(place, VECTORS)
    return Peer(client.id, client=client)


def test_restarts_beside_qemu(place, guests):
    """The server of two guests and the host is upgraded and then killed, while other clients join,
    ring and leave. A fourth peer joins afterwards, and all four peers can ring each other."""
    manager = place.add(Manager(place))
    server = manager.start("-F", "-v", "-n", VECTORS, "-S", place.socket)
    machines = guests(place.socket)
    peers = [Peer(int(guest.wait_for(r"^peer (\d+) through vfio", BOOT).group(1)), guest=guest)
             for guest in machines]
    peers.append(host_peer(place))
    with Storm(place.socket, VECTORS, lossy=True) as storm:
        storm.wait(5)
        server.signal(signal.SIGUSR2)
        server.err.wait("resumed")
        storm.wait(10)
        # Kill the server while it sends nothing. Otherwise the client to which it was sending may
        # be dropped, and that client must not be QEMU.
        storm.stop()
        manager.crash()
    with Storm(place.socket, VECTORS) as storm:
        storm.wait(5)
    for guest in machines:
        quiet(guest)
    peers.append(host_peer(place))
    hosts = [peer.client for peer in peers if peer.client]
    for client in hosts:
        client.read_until_knows({peer.ident for peer in peers} - {client.id})
    all_ring_all(peers)
    os.pwrite(hosts[0].memory, b"from-the-host\0", 4096)
    for at, guest in enumerate(machines):
        start = len(guest.text())
        guest.send("quit")
        guest.wait_for(r"peek: from-the-host", ARRIVES, start)
        guest.wait_for(r"^guest: exit 0", ARRIVES, start)
        assert os.pread(hosts[1].memory, 11, 8192 + 64 * at) == b"from-guest%d" % at
    # The guests power off, so they leave like any other peer.
    all_know_all(hosts)
    assert [guest.wait(ARRIVES) for guest in machines] == [0, 0]
