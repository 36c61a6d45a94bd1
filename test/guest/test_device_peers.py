# SPDX-License-Identifier: BSD-3-Clause
"""Guests with ivshmem-device's devices share memory and exchange doorbells with each other, with a
guest that has QEMU's own device, and with the host."""
import pytest

from guestkit import machine
from support.py import device_guest
from support.py.device_guest import ClientRinger, Device, HostRinger, Ringer, all_ring_all, pattern
from support.py.wire import RawClient

VECTORS = 2
SIZE = 4 << 20
#: Length of the part of the region that each peer writes. The parts are adjacent.
PART = 64 << 10
NODE = "/dev/ivshmem0"


def start_server(place):
    """Start a server with a named region, so that this test can open the region."""
    return place.server("-n", VECTORS, "-l", SIZE)


def options(server):
    """Return: the options of a device that uses this server."""
    return ["--server", server.socket, "--vectors", VECTORS]


def all_see_all(place, guests, record_property):
    """Check that each guest and the host read what all guests and the host have written."""
    with open(place.shm_path, "r+b", buffering=0) as region:
        region.write(pattern(0, 0, PART))
    for at, shell in enumerate(guests, 1):
        shell.run(f"probe fill {NODE} {at * PART} {PART} {at}")
    for at, shell in enumerate(guests, 1):
        for writer in range(len(guests) + 1):
            shell.run(f"probe check {NODE} {writer * PART} {PART} {writer}")
            record_property("case", f"ok guest {at} reads what {writer} has written")
    with open(place.shm_path, "rb") as region:
        for writer in range(len(guests) + 1):
            assert region.read(PART) == pattern(writer, writer * PART, PART)
            record_property("case", f"ok the host reads what {writer} has written")


@pytest.mark.parametrize("processes", [1, 2])
def test_two_guests_and_the_host(place, record_property, processes):
    """Two guests, whose devices are in one process or in two, and the host ring each other and
    share the memory (R-1 to R-4, R-7)."""
    server = start_server(place)
    if processes == 1:
        device = Device(place, options(server), options(server))
        devices = [device.vmm(0), device.vmm(1)]
    else:
        devices = [Device(place, options(server), name=name).vmm(0) for name in ("one", "two")]
    guests = device_guest.start_all(place, *devices)
    peers = [Ringer(shell.insert()) for shell in guests]
    assert [peer.ident for peer in peers] == [0, 1]
    peers.append(HostRinger(place.add(RawClient(server.socket, VECTORS).greeting())))
    all_ring_all(peers, VECTORS, record_property)
    all_see_all(place, guests, record_property)
    for shell in guests:
        shell.check_log()


def test_beside_qemus_own_device(place, record_property):
    """One guest has QEMU's ivshmem-doorbell, the other has our device, and the host runs
    ivshmem-client. All three ring each other. When ivshmem-device exits, the other two continue
    without it."""
    server = start_server(place)
    device = Device(place, options(server))
    ours = device_guest.launch(place, device.vmm(0))
    built_in = device_guest.launch(place, machine.doorbell(server.socket, VECTORS), own=True)
    guests = [ours.await_ready(), built_in.await_ready()]
    peers = [Ringer(shell.insert()) for shell in guests]
    assert sorted(peer.ident for peer in peers) == [0, 1]
    peers.append(ClientRinger(place))
    all_ring_all(peers, VECTORS, record_property)
    all_see_all(place, guests, record_property)
    for shell in guests:
        shell.check_log()
    device.end()
    server.err.wait(f"client {peers[0].ident} left")
    peers[1].ring(peers[2].ident, 1)
    peers[2].expect(1)
    record_property("case", "ok the others continue without it")
