# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem migrate with a newer QEMU (11.1), which aborts while migrating certain VMs."""
import pytest

from support.py import newer_qemu
from support.py.attach import start_server
from support.py.programs import SHM
from support.py.vm_pair import (MIB, PORT, Pair, acknowledge, behind_port, devices_of, doorbell,
                                plain, refusals, servers)

#: The region's backend comes before the VM's RAM, as in most hand-written command lines.
REGION_FIRST = ["-M", "q35", "-m", "32M"]


@pytest.fixture
def pair(place):
    """Two VMs, not started yet."""
    yield Pair(place, qemu=["prlimit", "--core=0", *newer_qemu.COMMAND])
    for path in SHM.glob(place.shm + "-*"):
        path.unlink()


def test_both_devices(place, pair):
    """A plain and a doorbell device arrive, with the content of their regions."""
    sockets, paths = servers(place)
    with open(paths[0], "r+b") as file:
        file.write(b"hello")
    pair.start([*plain(pair.regions[0]), *doorbell(sockets[0])],
               [*plain(pair.regions[1]), *doorbell(sockets[1])])
    done = pair.migrate()
    assert done.returncode == 0 and "2 doorbells of the VM were rung once" in done.stdout, done
    assert paths[1].read_bytes()[:5] == b"hello"
    assert pair.regions[1].read_bytes() == b"f" * MIB
    assert pair.states() == ("postmigrate", "running")


def test_peer(place, pair):
    """A doorbell device that is a peer is unplugged and plugged in at another server. Its memory
    is not sent."""
    server, control = start_server(place)
    sockets, _ = servers(place)
    peer = behind_port(doorbell(server.socket, master="off"))
    pair.start([*PORT, *peer], PORT)
    process = place.start(*pair.words("--control", control, "--to-server", sockets[1]))
    acknowledge(pair.source, "db0")
    assert process.wait() == 0, process.err.text()
    assert devices_of(pair.destination) == ["db0"] and pair.states() == ("postmigrate", "running")


def test_region_before_memory(pair):
    """A VM that may abort, because its RAM is not the first memory, is refused."""
    pair.start(plain(pair.regions[0]), plain(pair.regions[1]), memory=REGION_FIRST)
    done = pair.migrate("--json")
    assert refusals(done) == ["order"]
    assert 'its first memory, "0000:00:04.0/m0", is smaller than "pc.ram"' in done.stderr
    assert pair.states() == ("running", "inmigrate")


def test_doorbell_only(place, pair):
    """The region of a doorbell device comes after the VM's RAM in any case."""
    sockets, _ = servers(place)
    pair.start(doorbell(sockets[0]), doorbell(sockets[1]), memory=REGION_FIRST)
    done = pair.migrate()
    assert done.returncode == 0, done.stderr
