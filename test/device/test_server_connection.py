# SPDX-License-Identifier: BSD-3-Clause
"""Tests of ivshmem-device as a client of a server: doorbells in both directions, and a server that
exits, returns, or is replaced by a different one."""
import os
import signal
import struct
import time

import pytest

from support.py import vfio_user as vfu
from support.py.clients import join
from support.py.device import (MIB, Devices, Guest, check_doorbells, connect_when_free, device_of,
                               introduce, start_device, start_server, totals_of, upstream,
                               wait_state)
from support.py.lingering import stopped
from support.py.programs import fd_count, wait_until
from support.py.vfio_user import (BAR0, BAR2, CONFIG, INTR_MASK, INTR_STATUS, INTX, Client, eventfd,
                                  fired)
from support.py.wire import RawClient, readable, ring


# Doorbells

def test_doorbells_in_both_directions(place):
    """The guest rings a peer, its own id, and an id that no peer has; all rings are counted."""
    start_server(place)
    start_device(place)
    guest, peer = Guest(place, place.dir / "vmm", 2), join(place, 2)
    assert guest.id() == 0 and peer.id == 1
    introduce(guest, peer)
    before = totals_of(place)
    check_doorbells(guest, peer, 0)
    for vector in range(2):
        guest.ring(0, vector)
        guest.wait_interrupt(vector)
    for target, vector in ((1, 2), (1, 0xffff), (7, 0), (0xffff, 0), (0, 2)):
        guest.ring(target, vector)
    assert readable(peer.own) == [] and guest.interrupts() == [0, 0]
    totals = totals_of(place)
    assert [totals[name] - before[name] for name in (
        "doorbells_out", "doorbells_to_nobody", "doorbells_in", "interrupts")] == [10, 5, 4, 4]


def test_guest_and_peers_share_the_memory(place):
    """Guest and peer each read what the other has written, through the mapping or through messages.
    """
    start_server(place)
    start_device(place)
    guest, peer = Guest(place, place.dir / "vmm", 2), join(place, 2)
    with guest.client.map_memory() as memory:
        memory[10:14] = b"here"
        assert os.pread(peer.memory, 4, 10) == b"here"
        os.pwrite(peer.memory, b"back", 20)
        assert memory[20:24] == b"back" == guest.client.read(BAR2, 20, 4)


@pytest.mark.parametrize("has, wants", [(1, 4), (4, 1), (4, 4), (0, 2), (16, 2), (2, 16)])
def test_server_with_another_number_of_vectors(place, has, wants):
    """Doorbells work for the vectors that server and device have in common. Ringing other vectors
    has no effect."""
    start_server(place, vectors=has)
    running = start_device(place, vectors=wants, has=has)
    guest, peer = Guest(place, place.dir / "vmm", wants), join(place, has)
    common = min(has, wants)
    if has:
        introduce(guest, peer)
    for vector in range(has):
        guest.ring(peer.id, vector)
        assert readable(peer.own, 5) == [vector] and os.eventfd_read(peer.own[vector]) == 1
        ring(peer.peers[0][vector])
        if vector < common:
            guest.wait_interrupt(vector)
    assert guest.interrupts() == [0] * wants
    guest.ring(peer.id, has)
    assert readable(peer.own) == []
    assert upstream(place)["vectors"] == common
    running.stop()


@pytest.mark.parametrize("has, wants, said", [(2, 2, False), (1, 4, True), (4, 1, True)])
def test_other_number_of_vectors_is_logged(place, has, wants, said):
    """If the server and the device have different numbers of vectors, the device logs the
    difference once for each VMM."""
    start_server(place, vectors=has)
    running = start_device(place, vectors=wants, has=has)
    for times in (1, 2):
        guest = Guest(place, place.dir / "vmm", wants,
                      client=connect_when_free(place, place.dir / "vmm"))
        check_doorbells(guest, join(place, has), 0, 1)
        text = f"the server assigns {has} vectors to each peer and the device has {wants}; " \
               "the surplus"
        until = time.monotonic() + 0.2
        wait_until(lambda: guest.id() == 0 and time.monotonic() > until
                   and running.err.count(text) == said * times,
                   "the log is as expected")
        guest.client.close()


def test_doorbells_of_peers_that_left_are_closed(place):
    """The device closes the doorbells of peers that have left."""
    start_server(place)
    running = start_device(place)
    guest = Guest(place, place.dir / "vmm", 2)
    before = fd_count(running.pid)
    for _ in range(10):
        with RawClient(str(place.socket), 2) as first, RawClient(str(place.socket), 2) as second:
            for peer in (first, second):
                peer.greeting()
            wait_until(lambda: upstream(place)["peers"] == 2, "the device knows both peers")
            for peer in (first, second):
                introduce(guest, peer)
            assert fd_count(running.pid) == before + 4
        wait_until(lambda: upstream(place)["peers"] == 0, "the device knows no peer")
        assert fd_count(running.pid) == before
    guest.ring(1, 0)
    assert guest.interrupts() == [0, 0]


def test_doorbells_without_a_vmm_are_discarded(place):
    """The device discards doorbells that arrive while it has no VMM. They do not interrupt a later
    VMM."""
    start_server(place)
    running = start_device(place)
    peer = join(place, 2)
    for _ in range(100):
        ring(peer.peers[0][0])
    wait_until(lambda: totals_of(place)["doorbells_in"], "the doorbell is counted")
    wait_until(lambda: not readable([peer.peers[0][0]]), "the doorbell is read")
    guest = Guest(place, place.dir / "vmm", 2)
    assert guest.interrupts() == [0, 0]
    check_doorbells(guest, peer, 0)
    running.stop()


def test_many_doorbells_are_not_lost(place):
    """Peer and guest ring each other as fast as they can. The guest gets an interrupt after the
    last ring of each burst, and the peer gets every ring."""
    start_server(place)
    start_device(place)
    guest, peer = Guest(place, place.dir / "vmm", 2), join(place, 2)
    for _ in range(20):
        for _ in range(50):
            ring(peer.peers[0][0])
        guest.wait_interrupt(0)
    introduce(guest, peer)
    for at in range(200):
        guest.client.send(vfu.REGION_WRITE, vfu.access_body(
            BAR0, vfu.DOORBELL, 4, struct.pack("<I", peer.id << 16 | at % 2)))
    for _ in range(200):
        assert guest.client.receive().errno == 0
    assert sum(os.eventfd_read(fd) for fd in peer.own) == 200


def test_pin_is_raised_and_cleared(place):
    """On a legacy device without MSI-X, a ring sets Status and, if Mask permits, raises the pin.
    Reading Status clears both."""
    start_server(place)
    Devices(place, "-S", place.dir / "vmm", "--legacy",
            f"chardev={place.socket},size=1M,msi=off,vectors=2")
    guest, peer = Guest(place, place.dir / "vmm", 0), join(place, 2)
    pin = eventfd()
    client = guest.client
    client.set_irqs(INTX, vfu.EVENTFD | vfu.TRIGGER, 0, 1, fds=[pin])
    ring(peer.peers[0][0])
    wait_until(lambda: client.read32(BAR0, INTR_STATUS) == 1, "Status is set")
    assert client.read32(BAR0, INTR_STATUS) == 0 and fired(pin) == 0
    client.write32(BAR0, INTR_MASK, 1)
    for vector in range(2):
        ring(peer.peers[0][vector])
        wait_until(lambda: fired(pin), "the pin is raised")
        assert client.read32(BAR0, INTR_STATUS) == 1
        client.set_irqs(INTX, vfu.NONE | vfu.UNMASK, 0, 1)
        assert fired(pin) == 0
    introduce(guest, peer)
    os.close(pin)


def test_pin_is_never_raised_with_msix(place):
    """A legacy device with MSI-X has a pin but never raises it, whether or not MSI-X is enabled."""
    start_server(place)
    Devices(place, "-S", place.dir / "vmm", "--legacy",
            f"chardev={place.socket},size=1M,msi=on,vectors=2")
    client = place.add(Client(place.dir / "vmm"))
    client.start()
    pin, vector, peer = eventfd(), eventfd(), join(place, 2)
    client.set_irqs(INTX, vfu.EVENTFD | vfu.TRIGGER, 0, 1, fds=[pin])
    client.write32(BAR0, INTR_MASK, 0xffffffff)
    ring(peer.peers[0][0])
    wait_until(lambda: not readable([peer.peers[0][0]]), "the doorbell is read")
    client.set_irqs(INTX, vfu.NONE | vfu.TRIGGER, 0, 0)
    client.enable_msix()
    client.set_vector(0, vector)
    ring(peer.peers[0][0])
    wait_until(lambda: fired(vector), "the vector is sent")
    assert client.read32(BAR0, INTR_STATUS) == 0 and fired(pin) == 0
    os.close(pin)
    os.close(vector)


# The server exits and returns

@pytest.mark.usefixtures("fast_clock")
def test_guest_keeps_its_memory_without_the_server(place):
    """When the server is killed, the guest keeps its memory, and doorbells that had already been
    announced keep working in both directions for seconds."""
    server = start_server(place)
    running = start_device(place)
    guest, peer = Guest(place, place.dir / "vmm", 2), join(place, 2)
    introduce(guest, peer)
    server.end()
    running.err.wait("closed the connection: its log says why; trying again")
    until = time.monotonic() + 0.22
    while time.monotonic() < until:
        check_doorbells(guest, peer, 0)
        assert guest.id() == 0
        time.sleep(0.01)
    wait_until(lambda: "no server is listening" in upstream(place)["problem"],
               "the device has retried")
    told = upstream(place)
    assert told["state"] == "lost" and told["id"] == 0 and told["peers"] is None
    assert running.err.count("trying again") == 2, "each reason must be logged once"
    assert [os.pread(peer.memory, 4, 0), guest.client.read(BAR2, 0, 4)] == [bytes(4)] * 2


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("others", [0, 1])
def test_device_reconnects_to_a_restarted_server(place, others):
    """After the server has restarted with the same region, the device soon becomes a peer again,
    with the id that the new server assigns."""
    server = start_server(place)
    running = start_device(place)
    guest = Guest(place, place.dir / "vmm", 2)
    with guest.client.map_memory() as memory:
        memory[:4] = b"kept"
        assert guest.id() == 0
        server.end()
        wait_state(place, "lost")
        with stopped(running):  # so that the device connects last
            server = start_server(place)
            for _ in range(others):
                join(place, 2)
        began = time.monotonic()
        running.err.wait(f"is peer {others} of the server at {place.socket}")
        assert time.monotonic() - began < 5
        told = wait_state(place, "joined")
        assert (told["id"], told["joins"], told["problem"]) == (others, 2, None)
        assert guest.id() == others
        assert running.err.count(f"the id of the device changed from 0 to {others}") == others
        peer = join(place, 2)
        check_doorbells(guest, peer, others)
        os.pwrite(peer.memory, b"same", 4)
        assert memory[:8] == b"keptsame"
    running.stop()


@pytest.mark.usefixtures("fast_clock")
def test_many_restarts_leak_nothing(place):
    """A guest uses the device while the server restarts several times. Afterwards the device has as
    many fds as before."""
    server = start_server(place)
    running = start_device(place)
    guest = Guest(place, place.dir / "vmm", 2)
    before = fd_count(running.pid)
    for times in range(2, 4):
        server.end()
        server = start_server(place)
        running.err.wait("is peer 0 of the server", times - 1)
        assert wait_state(place, "joined")["joins"] == times
    wait_until(lambda: fd_count(running.pid) == before, "the device has as many fds as before")
    check_doorbells(guest, join(place, 2), 0)


def test_upgrade_of_the_server_is_not_noticed(place):
    """When the server is upgraded (SIGUSR2), the device stays connected and logs nothing."""
    server = start_server(place)
    running = start_device(place)
    guest, peer = Guest(place, place.dir / "vmm", 2), join(place, 2)
    server.signal(signal.SIGUSR2)
    server.err.wait("resumed")
    check_doorbells(guest, peer, 0)
    newcomer = join(place, 2)
    peer.read_until_knows([0, newcomer.id])
    wait_until(lambda: upstream(place)["peers"] == 2, "the device knows the new peer")
    check_doorbells(guest, newcomer, 0)
    assert not [line for line in running.err.seen if "VMM" not in line
                and "no system call filter" not in line]
    assert upstream(place)["joins"] == 1


def test_stopped_server_loses_no_device(place):
    """While the server's process is stopped (SIGSTOP), the device stays connected and doorbells
    work."""
    server = start_server(place)
    start_device(place)
    guest, peer = Guest(place, place.dir / "vmm", 2), join(place, 2)
    introduce(guest, peer)
    server.signal(signal.SIGSTOP)
    try:
        check_doorbells(guest, peer, 0)
        assert upstream(place)["state"] == "joined"
    finally:
        server.signal(signal.SIGCONT)
    check_doorbells(guest, peer, 0)


def memory_bar(client):
    """Return: the length of BAR 2, which must be the same in configuration space and in the region
    information for the VMM."""
    before = client.read(CONFIG, 0x18, 8)
    client.write(CONFIG, 0x18, b"\xff" * 8)
    bits = struct.unpack("<Q", client.read(CONFIG, 0x18, 8))[0] & ~0xf
    client.write(CONFIG, 0x18, before)
    _, size, _, fd = client.region_info(BAR2)
    os.close(fd)
    assert bits == (1 << 64) - size
    return size


@pytest.mark.usefixtures("fast_clock")
def test_other_region_is_not_taken_during_a_vmm(place):
    """If a server with a different region takes over while a VMM is connected, the guest keeps its
    memory and has no doorbells. When the VMM has left, the device joins that server."""
    server = start_server(place)
    running = start_device(place)
    guest = Guest(place, place.dir / "vmm", 2)
    with guest.client.map_memory() as memory:
        memory[:3] = b"old"
        server.end()
        server = start_server(place, region=["-r", "memfd:"])
        told = wait_state(place, "foreign")
        assert "has a different region from the VM's" in told["problem"]
        running.err.wait("until then the device is not a peer")
        assert guest.client.read(BAR2, 0, 3) == b"old" and guest.id() == 0
        guest.ring(1, 0)
        time.sleep(0.13)
        assert upstream(place) == told and server.err.count("joined") == 1, "the device has retried"
        guest.client.close()
        told = wait_state(place, "joined")
        assert told["problem"] is None and told["joins"] == 2
    again = Guest(place, place.dir / "vmm", 2, client=connect_when_free(place, place.dir / "vmm"))
    with again.client.map_memory() as memory:
        peer = join(place, 2)
        assert memory[:3] == bytes(3)
        os.pwrite(peer.memory, b"new", 0)
        assert memory[:3] == b"new"
        check_doorbells(again, peer, again.id())


@pytest.mark.usefixtures("fast_clock")
def test_other_region_is_taken_without_a_vmm(place):
    """If a server with a different region takes over while no VMM is connected, the device joins it
    immediately."""
    server = start_server(place)
    running = start_device(place)
    server.end()
    server = start_server(place, region=["-r", "memfd:"])
    running.err.wait("is peer 0 of the server")
    with Client(place.dir / "vmm") as client:
        client.start()
        client.write(BAR2, 0, b"x")
    assert not place.shm_path.read_bytes().strip(b"\0")


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("size", ["64K", "4M"])
def test_region_of_another_size(place, size):
    """If the region of a new server has a different size, the next VMM gets a BAR 2 of that size
    and can access the region up to its last byte."""
    length = {"64K": 1 << 16, "4M": 4 * MIB}[size]
    server = start_server(place)
    running = start_device(place)
    first = Guest(place, place.dir / "vmm", 2)
    assert memory_bar(first.client) == MIB
    server.end()
    start_server(place, size=size, region=["-r", "memfd:"])
    wait_state(place, "foreign")
    assert memory_bar(first.client) == MIB and device_of(place)["memory"]["size"] == MIB
    first.client.close()
    wait_state(place, "joined")
    assert device_of(place)["memory"]["size"] == length
    again = Guest(place, place.dir / "vmm", 2, client=connect_when_free(place, place.dir / "vmm"))
    assert memory_bar(again.client) == length
    peer = join(place, 2)
    with again.client.map_memory() as memory:
        assert len(memory) == length
        memory[length - 4:] = b"last"
        assert os.pread(peer.memory, 4, length - 4) == b"last"
    check_doorbells(again, peer, again.id())
    running.stop()


@pytest.mark.parametrize("earlier", ["nobody", "a VMM", "a VMM that stays until then"])
def test_vmm_before_the_next_attempt_gets_the_new_region(place, earlier):
    """If the server and the VM are restarted together, the VM gets the new server's region even
    before the device's next regular attempt to connect."""
    server = start_server(place)
    running = start_device(place)
    first = Guest(place, place.dir / "vmm", 2) if earlier != "nobody" else None
    if earlier == "a VMM":
        first.client.close()
    server.signal(signal.SIGKILL)
    server.wait()
    wait_state(place, "lost")
    start_server(place, size="4M", region=["-r", "memfd:"])
    if earlier == "a VMM that stays until then":
        first.client.close()
    guest = Guest(place, place.dir / "vmm", 2, client=connect_when_free(place, place.dir / "vmm"))
    assert memory_bar(guest.client) == 4 * MIB
    assert upstream(place)["state"] == "joined"
    check_doorbells(guest, join(place, 2), guest.id())
    running.stop()


@pytest.mark.usefixtures("fast_clock")
def test_vmm_does_not_wait_for_the_next_attempt(place):
    """After the server has exited several times shortly after starting, the device waits longer
    between attempts to connect. A VMM that connects during such a wait still gets the new server's
    region."""
    server = start_server(place)
    running = start_device(place)
    for joins in (2, 3):
        server.end()
        server = start_server(place)
        wait_until(lambda joins=joins: upstream(place)["joins"] == joins,
                   "the device is a peer again")
    server.end()
    wait_state(place, "lost")
    start_server(place, size="4M", region=["-r", "memfd:"])
    guest = Guest(place, place.dir / "vmm", 2)
    assert memory_bar(guest.client) == 4 * MIB
    running.stop()


@pytest.mark.usefixtures("fast_clock")
def test_grown_file_is_another_region(place):
    """If the server returns with the same file, but the file has grown, the device treats it as a
    different region."""
    server = start_server(place)
    start_device(place)
    server.end()
    os.truncate(place.shm_path, 2 * MIB)
    start_server(place, size="2M")
    wait_until(lambda: upstream(place)["joins"] == 2, "the device is a peer again")
    guest = Guest(place, place.dir / "vmm", 2)
    assert memory_bar(guest.client) == 2 * MIB


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("size, options, problem", [
    ("64K", ["--window", "64K,64K"],
     "cannot map 64K from offset 65536 of a region of 64K: that is beyond the end of the region"),
    ("64K", ["--window", "0,64K"], None), ("4M", ["--window", "0,64K"], None)])
def test_window_of_a_region_of_another_size(place, size, options, problem):
    """A window keeps its offset when the region is replaced. If the new region ends before the
    window does, the device does not become a peer."""
    server = start_server(place)
    start_device(place, *options)
    server.end()
    start_server(place, size=size, region=["-r", "memfd:"])
    if problem:
        wait_until(lambda: upstream(place)["problem"] == problem,
                   "the status says why the device is not a peer")
        assert wait_state(place, "lost")
    else:
        wait_until(lambda: upstream(place)["joins"] == 2, "the device is a peer again")
    guest = Guest(place, place.dir / "vmm", 2)
    assert memory_bar(guest.client) == 1 << 16


# The legacy device, which may start before its server

@pytest.mark.usefixtures("fast_clock")
def test_legacy_device_before_its_server(place):
    """Until the server starts, IVPosition of a legacy device reads -1 and its memory reads all
    ones. After that the device has an id, doorbells and the server's region."""
    running = Devices(place, "-S", place.dir / "vmm", "--control", place.dir / "control",
                      "--legacy",
                      f"chardev={place.socket},size=1M,vectors=2")
    guest = Guest(place, place.dir / "vmm", 2)
    assert guest.id() == 0xffffffff and guest.client.read(BAR2, 0, 4) == b"\xff" * 4
    assert guest.client.map_memory() is None
    guest.client.write(BAR2, 0, b"lost")
    guest.ring(0, 0)
    told = upstream(place)
    assert (told["state"], told["id"], told["joins"]) == ("lost", None, 0)
    with stopped(running):  # so that the device connects second
        start_server(place)
        other = join(place, 2)
    running.err.wait("is peer 1 of the server")
    assert guest.id() == 1
    assert guest.client.read(BAR2, 0, 4) == bytes(4)
    guest.client.write(BAR2, 0, b"now!")
    assert os.pread(other.memory, 4, 0) == b"now!"
    other.read_until_knows([1])
    check_doorbells(guest, other, 1)
    guest.client.close()
    again = Guest(place, place.dir / "vmm", 2, client=connect_when_free(place, place.dir / "vmm"))
    with again.client.map_memory() as memory:
        assert memory[:4] == b"now!"


def test_legacy_device_shows_a_part_of_the_region(place):
    """As in QEMU, if size= is smaller than the server's region, BAR 2 shows the beginning of the
    region."""
    start_server(place)
    Devices(place, "-S", place.dir / "vmm", "--legacy", f"chardev={place.socket},size=64K")
    with Client(place.dir / "vmm") as client:
        flags, size, offset, fd = client.region_info(BAR2)
        assert (flags, size, offset, os.fstat(fd).st_size) == (7, 65536, 0, MIB)
        os.close(fd)


def test_vmm_before_the_next_attempt_has_memory_at_once(place):
    """If a VMM connects after the server has started, but before the device has retried, the VMM
    has the memory from the start."""
    running = Devices(place, "-S", place.dir / "vmm", "--control", place.dir / "control",
                      "--legacy",
                      f"chardev={place.socket},size=1M,vectors=2")
    with stopped(running):
        start_server(place)
        client = place.add(Client(place.dir / "vmm", greet=False))
    client.greet()
    with client.map_memory() as memory:
        assert len(memory) == MIB
    running.stop()


@pytest.mark.usefixtures("fast_clock")
def test_late_memory_appears_at_the_address_of_bar_2(place):
    """The guest assigns BAR 2 an address before the server starts. The address does not change when
    the memory appears."""
    running = Devices(place, "-S", place.dir / "vmm", "--legacy", f"chardev={place.socket},size=1M")
    client = place.add(Client(place.dir / "vmm"))
    client.write(CONFIG, 0x18, struct.pack("<Q", 0x123400000))
    before = client.read(CONFIG, 0, 64)
    start_server(place)
    running.err.wait("is peer 0 of the server")
    assert client.read(CONFIG, 0, 64) == before and before[0x18:0x20] == struct.pack("<Q",
                                                                                     0x12340000c)


# Masters

@pytest.mark.usefixtures("fast_clock")
def test_legacy_master_with_another_id_is_logged(place):
    """If the server assigns a legacy device that is configured as master an id other than 0, the
    device logs that it cannot be migrated."""
    running = Devices(place, "-S", place.dir / "vmm", "--control", place.dir / "control",
                      "--legacy",
                      f"chardev={place.socket},size=1M,role=master")
    with stopped(running):
        start_server(place, vectors=1)
        join(place, 1)
    running.err.wait("cannot be migrated: a master must be the first client of its server, "
                     "and this device is peer 1")
    assert device_of(place)["role"] == "peer"


FAILS = [["--name", "a b"], ["--window", "1K,4K"], ["--socket", "/nonexistent/vmm"],
         ["--control", "/nonexistent/c"],
         ["-S", "/nonexistent/other", "--region", "memory"]]


@pytest.mark.parametrize("options", FAILS, ids=range(len(FAILS)))
def test_failed_start_joins_no_server(place, options):
    """A failed start causes neither a join nor a leave, and uses up no id."""
    server = start_server(place)
    peer = join(place, 2)
    sockets = [] if "--socket" in options else ["-S", place.dir / "vmm"]
    done = place.run_device(*sockets, "--server", place.socket, *options)
    assert done.returncode in (1, 2) and server.err.count("joined") == 1
    assert readable([peer.sock], 0.1) == [] and join(place, 2).id == peer.id + 1


def test_master_must_have_id_0(place):
    """A device configured as master does not start with an id other than 0, because a migrated
    guest resumes with id 0."""
    start_server(place)
    join(place, 2)
    done = place.run_device("-S", place.dir / "vmm", "--server", place.socket, "--role", "master")
    assert done.returncode == 1
    assert ("a master must be the first client of its server, and this device is peer 1" in
            done.stderr)
    assert not (place.dir / "vmm").exists()
