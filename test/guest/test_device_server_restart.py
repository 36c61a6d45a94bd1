# SPDX-License-Identifier: BSD-3-Clause
"""A guest uses ivshmem-device while its server is killed, restarted, and restarted with a different
region."""
import signal

from support.py import device_guest
from support.py.device_guest import Device, HostRinger, Ringer, all_ring_all, pattern
from support.py.wire import RawClient

MIB = 1 << 20
VECTORS = 2
NODE = "/dev/ivshmem0"


def host_peer(place, server):
    """Connect a host process to the server."""
    return HostRinger(place.add(RawClient(server.socket, VECTORS).greeting()))


def die(server):
    """Kill the server, so that it announces no leaves."""
    server.signal(signal.SIGKILL)
    server.wait()


def state(device):
    """Return: the state of the server, according to the device's status."""
    return device.status()["server"]["state"]


def test_server_ends_and_returns(place, record_property):
    """After the server is killed, memory and known doorbells still work. After the server has
    restarted with the same region, the device is a peer again and the guest reads its new id. If
    the server restarts with a different region, the guest keeps the old memory until the VM
    restarts."""
    server = place.server("-n", VECTORS, "-l", "1M")
    device = Device(place, ["--server", server.socket, "--vectors", VECTORS],
                    options=["--control", place.dir / "device.control"])
    shell = device_guest.start(place, device.vmm()).insert()
    first = host_peer(place, server)
    all_ring_all([Ringer(shell), first], VECTORS)
    shell.run(f"probe fill {NODE} 0 {MIB} 1")

    die(server)
    device.log.wait("trying again")
    assert state(device) == "lost"
    shell.run(f"probe check {NODE} 0 {MIB} 1")
    all_ring_all([Ringer(shell), first], VECTORS)
    record_property("case", "ok without a server: memory, and doorbells both ways")
    shell = without_a_server(place, shell, device, record_property)
    all_ring_all([Ringer(shell), first], VECTORS)

    server = place.server("-n", VECTORS, "-l", "1M")
    early = host_peer(place, server)  # so that the new ids are likely to differ from the old ones
    device.log.wait("is peer")
    assert state(device) == "joined" and device.status()["server"]["joins"] == 2
    late = host_peer(place, server)
    guest = Ringer(shell)
    assert len({guest.ident, early.ident, late.ident}) == 3
    early.client.read_until_knows({guest.ident, late.ident})
    all_ring_all([guest, early, late], VECTORS, record_property)
    shell.run(f"probe check {NODE} 0 {MIB} 1")
    shell.run(f"probe fill {NODE} 0 {MIB} 2")
    assert place.shm_path.read_bytes() == pattern(2, 0, MIB)
    totals = device.status()["totals"]
    assert (totals["memory_reads"], totals["memory_writes"]) == (0, 0)
    record_property(
        "case", "ok the server is back: the device is a peer again, with the same memory")

    die(server)
    server = place.server("-n", VECTORS, "-l", "1M", region=["-r", "memfd:"])
    device.log.wait("has a different region from the VM's")
    assert state(device) == "foreign"
    shell.run(f"probe check {NODE} 0 {MIB} 2")
    shell.run(f"probe fill {NODE} 0 {MIB} 3")
    assert place.shm_path.read_bytes() == pattern(3, 0, MIB)
    record_property("case", "ok a server with another region: the guest keeps its memory")
    other = host_peer(place, server)
    assert shell.position() == guest.ident
    all_ring_all([guest, early, late], VECTORS)
    assert other.hears_nothing()
    record_property(
        "case", "ok a server with another region: doorbells only among peers with the old region")
    shell.check_log()
    another_vm(place, shell, device, server, record_property)


def without_a_server(place, shell, device, record_property):
    """A VM that starts without a server has the memory and doorbells of the previous VM."""
    ident = shell.position()
    shell.close()
    device.log.wait("the VMM has left")
    shell = device_guest.start(place, device.vmm()).insert()
    assert shell.position() == ident
    shell.run(f"probe check {NODE} 0 {MIB} 1")
    assert device.status()["vmm"]["memory_mapped"]
    record_property("case", "ok without a server: another VM has the same memory and id")
    return shell


def another_vm(place, shell, device, server, record_property):
    """After the previous VM has ended, the next one has the new server's region."""
    peers = device.log.count("is peer")
    shell.close()
    device.log.wait("is peer", times=peers + 1)
    assert state(device) == "joined"
    shell = device_guest.start(place, device.vmm()).insert()
    host = host_peer(place, server)
    all_ring_all([Ringer(shell), host], VECTORS, record_property)
    shell.run(f"probe fill {NODE} 0 {MIB} 4")
    with open(f"/proc/self/fd/{host.client.memory}", "rb") as region:
        assert region.read() == pattern(4, 0, MIB)
    assert place.shm_path.read_bytes() == pattern(3, 0, MIB)
    record_property("case", "ok another VM: the new server's memory")
    assert device.status()["totals"]["memory_writes"] == 0
    shell.check_log()
