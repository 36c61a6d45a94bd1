# SPDX-License-Identifier: BSD-3-Clause
"""The guest's driver (kernel/) in QEMU, without the library: devices, mmap, ioctl, doorbells, users."""
import mmap
import os
import re

import pytest

from guestkit import machine
from support import driver_guest
from support.programs import place  # noqa: F401 (a fixture)
from support.wire import RawClient, readable, ring

MIB = 1 << 20
GIB = 1 << 30
#: A place above 4 GiB.
PORT = ["-device", "pcie-root-port,id=rp0,chassis=1,slot=1,pref64-reserve=4G"]


class Host:
    """What the host does for a guest: memory to look at, a peer to ring and to be rung by."""

    def __init__(self):
        self.memories = {}
        self.client = None
        self.guest = None

    def doorbell(self, place, vectors, size="4M", ident="ivshmem0", bus=None,  # noqa: F811
                 number=0):
        """A server, a peer, and QEMU's arguments for its device, /dev/ivshmemNUMBER."""
        socket = place.dir / ident
        place.server("-n", vectors, "-l", size, socket=socket, region=["-r", "memfd:"])
        self.client = place.add(RawClient(str(socket), vectors).greeting())
        self.memories[number] = self.client.memory
        return machine.doorbell(socket, vectors, ident, bus)

    def plain(self, place, size, ident="plain", bus=None, number=1):  # noqa: F811
        """A sparse file as the region of QEMU's arguments."""
        path = place.dir / f"{ident}.region"
        with open(path, "wb") as region:
            region.truncate(size)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        place.add(Fd(fd))
        self.memories[number] = fd
        return machine.plain(path, size, ident, bus)

    def answers(self):
        """For driver_guest.finish()."""
        return {"look": self.look, "write": self.write, "ring": self.ring, "rung": self.rung,
                "ring-soon": self.ring}

    def look(self, number, offset, *words):
        """What the guest wrote is there."""
        expected = " ".join(words).encode()
        assert os.pread(self.memories[int(number)], len(expected), int(offset)) == expected

    def write(self, number, offset, *words):
        """Something for the guest."""
        os.pwrite(self.memories[int(number)], " ".join(words).encode() + b"\0", int(offset))

    def peer(self):
        """The guest's vectors."""
        if not self.guest:
            self.client.read_until(
                lambda: any(len(known) == self.client.vectors
                            for known in self.client.peers.values()), "the guest had joined")
            self.guest, = self.client.peers
        return self.client.peers[self.guest]

    def ring(self, vector):
        """The guest."""
        ring(self.peer()[int(vector)])

    def rung(self, vector):
        """This vector of ours has been rung by the guest, and no other."""
        assert readable(self.client.own, timeout=20) == [int(vector)]
        os.read(self.client.own[int(vector)], 8)


class Fd:
    """To be closed."""

    def __init__(self, fd):
        self._fd = fd

    def close(self):
        """Close it."""
        os.close(self._fd)


def test_devices(place, record_property):  # noqa: F811
    """Doorbell, plain, and two of one kind in one guest, below 4 GiB; all that can be done with them."""
    host = Host()
    second = Host()
    devices = host.doorbell(place, 2) + host.plain(place, MIB)
    devices += second.doorbell(place, 1, "1M", "other", number=2)
    host.memories.update(second.memories)
    guest = driver_guest.start(place, """
driver-test device low 2 4194304 1
driver-test -d 1 device low 0 1048576 0
driver-test -d 2 device low 1 1048576 1
driver-test mapping
driver-test -d 1 mapping
driver-test events 0
driver-test grid
driver-test -d 1 grid
driver-test mapgrid
driver-test -d 1 mapgrid
driver-test user 2001
""", devices)
    assert driver_guest.finish(guest, record_property, host.answers()) > 2000


def test_shell(place, record_property):  # noqa: F811
    """A shell reads doorbells from the node, byte by byte as it does."""
    host = Host()
    guest = driver_guest.start(place, """
exec 3</dev/ivshmem0
n=0
echo "ask ring 1"; read -r answer
while read -r vector count <&3; do
	n=$((n + 1))
	echo "ok $n - vector $vector count $count"
	[ $n -lt 3 ] || break
	echo "ask ring $((n % 2))"; read -r answer <&0
done
echo 1..3
""", host.doorbell(place, 2))
    said = []
    driver_guest.finish(guest, lambda _, value: said.append(value), host.answers())
    assert said == ["ok vector 1 count 1", "ok vector 1 count 2", "ok vector 0 count 1"]


def test_above_4_gib(place, record_property):  # noqa: F811
    """BAR 2 behind a bridge with room above 4 GiB, and 64 vectors."""
    host = Host()
    guest = driver_guest.start(place, """
driver-test device high 64 67108864 1
driver-test events 0
driver-test mapping
""", PORT + host.doorbell(place, 64, "64M", bus="rp0"))
    driver_guest.finish(guest, record_property, host.answers())


def test_two_gib(place, record_property):  # noqa: F811
    """A region of 2 GiB, of which a few pages are there, and one that does not fit."""
    host = Host()
    guest = driver_guest.start(place, """
driver-test device high 0 2147483648 0
driver-test mapping
driver-test mapgrid
""", host.plain(place, 2 * GIB, number=0))
    driver_guest.finish(guest, record_property, host.answers())


def test_many_vectors(place, record_property):  # noqa: F811
    """As many vectors as the guest has interrupts, and one that says how many that are."""
    host = Host()
    guest = driver_guest.start(place, """
n=$(cat /sys/class/ivshmem/ivshmem0/vectors)
driver-test device low $n 4194304 1
driver-test events 0
dmesg | grep 'vectors' | sed 's/^/# /'
""", host.doorbell(place, 256), cpus=2)
    driver_guest.finish(guest, record_property, host.answers())
    found = re.search(r"4096 KiB, (\d+) vectors", guest.text())
    assert int(found[1]) >= 200, found[0]
    assert found[1] == "256" or f"{found[1]} of 256 vectors" in guest.text()
