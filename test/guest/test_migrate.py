# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem migrate with guests that use the devices: a program in the guest finds the content of the
region and its doorbells at the destination."""
import mmap
import struct

import pytest

from support.py import device_guest
from support.py.attach import start_server
from support.py.config import TOOL
from support.py.device_guest import PORT, HostRinger, Ringer, all_ring_all, pattern
from support.py.programs import SHM
from support.py.vm_pair import doorbell, servers
from support.py.wire import RawClient

MIB = 1 << 20
VECTORS = 2
NODE = "/dev/ivshmem0"


@pytest.mark.parametrize("own", [True, False], ids=["7.2", "newer"])
def test_doorbell_master(place, own, record_property):
    """The master of a region with two host peers is migrated to another server, where another peer
    waits. Content, doorbells and waiting programs survive, and each vector is rung once."""
    sockets, paths = servers(place)
    try:
        monitors = [place.dir / f"{name}.qmp" for name in "ab"]
        source = device_guest.start(place, doorbell(sockets[0]), qmp=str(monitors[0]),
                                    own=own).insert()
        old = [place.add(RawClient(str(sockets[0]), VECTORS).greeting()) for _ in range(2)]
        all_ring_all([Ringer(source), *map(HostRinger, old)], VECTORS)
        source.run(f"probe fill {NODE} 0 {MIB} 7")
        record_property("case", "ok a master with two peers")

        destination = device_guest.launch(place, doorbell(sockets[1]) + ["-incoming", "defer"],
                                          qmp=str(monitors[1]), own=own)
        destination.guest.qmp().close()  # QEMU has started; a monitor serves one program at a time
        new = place.add(RawClient(str(sockets[1]), VECTORS).greeting())
        assert new.id == 1
        before = source.counts()
        source.guest.qmp().close()
        done = place.run(TOOL, "migrate", "--qmp", monitors[0], "--to",
                         f"unix:{place.dir}/migration", "--to-qmp", monitors[1])
        assert done.returncode == 0, done.stderr
        assert f"{VECTORS} doorbells of the VM were rung once" in done.stdout
        source.close()
        record_property("case", "ok migrated")

        destination.wait_counts([count + 1 for count in before])
        destination.run(f"probe check {NODE} 0 {MIB} 7")
        assert paths[0].read_bytes() == paths[1].read_bytes()
        record_property("case", "ok the content of the region")
        assert destination.position() == 0
        all_ring_all([Ringer(destination), HostRinger(new)], VECTORS)
        destination.check_log()
        record_property("case", "ok doorbells, both ways")
        old[1].read_until_knows([old[0].id])
        record_property("case", "ok the peers of the old server know that the VM has left")
    finally:
        for path in SHM.glob(place.shm + "-*"):
            path.unlink()


#: A second port
PORT2 = ["-device", "pcie-root-port,id=rp1,chassis=2,slot=2"]


def test_regions_that_stay(place, record_property):
    """A plain device, and a doorbell device that is a peer, are unplugged from the source and
    plugged into the destination. A host process writes to the plain region all the time, and
    nothing that it writes is lost. The VM is a peer of the same server again."""
    path = place.dir / "region"
    path.write_bytes(bytes(MIB))
    monitors = [place.dir / f"{name}.qmp" for name in "ab"]
    memory = f"memory-backend-file,id=m0,mem-path={path},size=1M,share=on"
    server, control = start_server(place)
    host = place.add(RawClient(server.socket, VECTORS).greeting())
    peer = [word.replace("addr=5", "bus=rp1") for word in doorbell(server.socket, master="off")]
    source = device_guest.start(
        place, [*PORT, *PORT2, "-object", memory, "-device",
                "ivshmem-plain,id=pl0,memdev=m0,bus=rp0", *peer],
        qmp=str(monitors[0]), own=True).insert()
    source.run(f"probe fill {NODE} 0 {MIB} 7")
    all_ring_all([Ringer(source, 1), HostRinger(host)], VECTORS)
    destination = device_guest.launch(place, [*PORT, *PORT2, "-incoming", "defer"],
                                      qmp=str(monitors[1]), own=True)
    for guest in (source.guest, destination.guest):
        guest.qmp().close()
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as shared:
        process = place.start(TOOL, "migrate", "--qmp", monitors[0], "--to",
                              f"unix:{place.dir}/migration", "--to-qmp", monitors[1], "--control",
                              control, "--no-rings")
        count = 0
        while process.popen.poll() is None:
            count += 1
            struct.pack_into("<Q", shared, 0, count)
        assert process.wait() == 0, process.err.text()
        record_property("case", "ok migrated while a process writes")
        destination.run(f"until [ -e {NODE} ]; do sleep 0.05; done")
        destination.run(f"probe check {NODE} 4096 {MIB - 4096} 7")
        assert struct.unpack_from("<Q", shared)[0] == count
        destination.run(f"probe fill {NODE} 0 4096 8")
        assert shared[:4096] == pattern(8, 0, 4096)
        destination.run("until [ -e /dev/ivshmem1 ]; do sleep 0.05; done")
        host.close()
        host = place.add(RawClient(server.socket, VECTORS).greeting())
        all_ring_all([Ringer(destination, 1), HostRinger(host)], VECTORS)
        record_property("case", "ok the VM is a peer again")
        destination.check_log()
    source.close()
    record_property("case", "ok the region is the same, for all")
