# SPDX-License-Identifier: BSD-3-Clause
"""Tests of ivshmem-device as VMMs use it: the registers of each model, the memory, several devices
in one process, and VMMs that disconnect or are hostile."""
import errno
import fcntl
import mmap
import os
import signal
import socket
import struct
import sys
import time
import uuid

import pytest

from support.py import vfio_user as vfu
from support.py.clients import join
from support.py.control import ask_once
from support.py.device import Devices, Guest, connect_when_free
from support.py.programs import fd_count, is_sanitized, rss_kib, wait_until
from support.py.vfio_user import (BAR0, BAR1, BAR2, CONFIG, DOORBELL, ERR, INTR_MASK, INTR_STATUS,
                                  INTX, IV_POSITION, MSIX, Client, Gone, Refused)
from support.py.wire import RawClient, readable, ring

MIB = 1 << 20
UUID = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.fixture
def vmm(place):
    """Return: the path of the socket for VMMs."""
    return place.dir / "vmm"


def serve_plain(place, *options):
    """Start a plain device with a region of 1M."""
    return Devices(place, "--socket", place.dir / "vmm", "--region", f"shm:{place.shm}", "--size",
                   "1M", *options)


# Models

MODELS = {
    "plain": (["--region", "shm:{shm}", "--size", "1M"], 1, 0, 0, 0),
    "doorbell": (["--server", "{server}", "--vectors", "3"], 1, 3, 0, 1),
    "legacy shm": (["--legacy", "shm={shm},size=1"], 0, 0, 0, 0),
    "legacy server": (["--legacy", "chardev={server},size=1,vectors=3"], 0, 3, 0, 1),
    "legacy pin": (["--legacy", "chardev={server},size=1,msi=off"], 0, 0, 1, 1),
}


@pytest.mark.parametrize("model", MODELS)
def test_registers_of_each_model(place, vmm, model):
    """Each model has the identity, BARs, interrupts and registers that are specified for it."""
    options, revision, vectors, intx, position = MODELS[model]
    server = place.server("-n", "3", "-l", "1M", region=["-r", "memfd:"])
    join(place, 3)
    server.err.wait("joined")
    Devices(place, "--socket", vmm, *[word.format(shm=place.shm, server=place.socket)
                                      for word in options])
    with Client(vmm) as client:
        assert client.info() == (3, 9, 5)
        config = client.read(CONFIG, 0, 256)
        assert struct.unpack_from("<HH", config) == (0x1af4, 0x1110)
        pin = int(revision == 0)  # revision 0 always has a pin, raised or not
        assert (config[8], config[0x3d]) == (revision, pin)
        assert [client.region_info(at)[1] for at in (0, 1, 3, 4, 5, 6, 7, 8)] == [
            256, 4096 if vectors else 0, 0, 0, 0, 0, 256, 0]
        assert [client.irq_info(at)[1] for at in (INTX, MSIX, ERR)] == [pin, vectors, 1]
        with client.map_memory() as memory:
            assert len(memory) == MIB
        client.start()
        assert client.read32(BAR0, IV_POSITION) == position
        client.write32(BAR0, IV_POSITION, 7)
        assert client.read32(BAR0, IV_POSITION) == position
        if intx:
            client.write32(BAR0, INTR_MASK, 0xffffffff)
            assert client.read32(BAR0, INTR_MASK) == 0xffffffff
        assert client.read32(BAR0, INTR_STATUS) == 0
        assert client.read(BAR0, 16, 240) in (bytes(240), b"\xff" * 240)
        if not vectors:
            client.write32(BAR0, DOORBELL, 0)  # ringing a peer that does not exist has no effect
        assert client.read32(BAR0, IV_POSITION) == position


def test_name_and_uuid(place, vmm):
    """The guest can read the name and the UUID of the region in a vendor-specific capability
    (R-9)."""
    serve_plain(place, "--name", "frames", "--uuid", UUID)
    with Client(vmm) as client:
        at = client.find_capability(9)
        config = client.read(CONFIG, 0, 256)
        found = config[at:at + config[at + 2]]
        assert b"frames" in found and uuid.UUID(UUID).bytes in found


def test_no_name_and_no_uuid(place, vmm):
    """A device without a name and a UUID does not have the vendor-specific capability (R-9)."""
    serve_plain(place)
    with Client(vmm) as client:
        assert client.find_capability(9) is None


# Memory

WINDOWS = [(0, MIB), (0, 4096), (4096, 4096), (1 << 19, 1 << 19), (MIB - 4096, 4096),
           (12288, 65536)]


@pytest.mark.parametrize("offset, size", WINDOWS)
@pytest.mark.parametrize("kind", ["rw", "ro", "map", "trap"])
def test_window(place, vmm, offset, size, kind):
    """BAR 2 shows exactly the window, both when it is mapped and when it is accessed through
    messages. The rest of the region cannot be reached."""
    content = b"".join(struct.pack("<I", at) for at in range(0, MIB, 4))
    place.shm_path.write_bytes(content)
    window = f"{offset},{size}" + (",ro" if kind == "ro" else "")
    more = [] if kind in ("rw", "ro") else [f"--read-only={kind}"]
    serve_plain(place, "--window", window, *more)
    with Client(vmm) as client:
        client.start()
        flags, length, at, fd = client.region_info(BAR2)
        assert length == size
        assert flags == {"rw": 7, "ro": 5, "map": 5, "trap": 1}[kind]
        assert client.read(BAR2, 0, 4) == content[offset:offset + 4]
        assert client.read(BAR2, size - 4, 4) == content[offset + size - 4:offset + size]
        client.write(BAR2, 8, b"VMM!")
        client.write(BAR2, size - 2, b"over")  # extends beyond BAR 2, so nothing is written
        after = bytearray(content)
        if kind == "rw":
            after[offset + 8:offset + 12] = b"VMM!"
        assert place.shm_path.read_bytes() == after
        if kind == "trap":
            assert fd is None
            return
        assert at == offset and os.fstat(fd).st_ino == place.shm_path.stat().st_ino
        try:
            with mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ, offset=at) as memory:
                assert memory[:] == after[offset:offset + size]
            if kind != "rw":
                check_cannot_write(fd, size, at)
        finally:
            os.close(fd)


def check_cannot_write(fd, size, offset):
    """Check that the region cannot be changed by mapping, writing or truncating it."""
    with pytest.raises(PermissionError):
        mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)
    for call, arguments in ((os.pwrite, (b"x", offset)), (os.ftruncate, (0,)),
                            (os.posix_fallocate, (0, 1))):
        with pytest.raises(OSError) as caught:
            call(fd, *arguments)
        assert caught.value.errno in (errno.EBADF, errno.EINVAL)


def test_server_region_read_only(place, vmm):
    """The region of a server cannot be changed through a read-only window."""
    place.server("-l", "1M", region=["-r", "memfd:"])
    Devices(place, "--socket", vmm, "--server", place.socket, "--window", "4K,64K,ro")
    client = Guest(place, vmm).client
    flags, size, offset, fd = client.region_info(BAR2)
    assert (flags, size, offset) == (5, 65536, 4096)
    check_cannot_write(fd, size, offset)
    os.close(fd)


def test_region_truncated_by_a_peer(place, vmm):
    """If a peer truncates the region, missing pages read all ones and the device survives."""
    running = serve_plain(place)
    with Client(vmm) as client:
        client.start()
        os.truncate(place.shm_path, 4096)
        assert client.read(BAR2, 65536, 8) == b"\xff" * 8
        client.write(BAR2, 65536, bytes(8))
        assert place.shm_path.stat().st_size == 4096
        assert client.info() == (3, 9, 5)
    running.stop()


# One VMM at a time

def test_second_vmm_is_dropped(place, vmm):
    """A second VMM is dropped immediately, which is logged, and the first is not affected. When the
    first has left, another VMM can connect."""
    running = serve_plain(place, "--control", place.dir / "control")
    with Client(vmm) as first:
        first.start()
        for _ in range(3):
            with Client(vmm, greet=False) as second:
                assert second.is_gone(2)
        assert first.read(CONFIG, 4, 2) == b"\6\0"
    running.err.wait("the VMM has left")
    client = connect_when_free(place, vmm)
    assert client.read(CONFIG, 4, 2) == b"\0\0", "the registers must be in their power-on state"
    assert running.err.count("refused a connection: a VMM is already connected") == 3
    totals = ask_once(place.dir / "control")["devices"][0]["totals"]
    assert (totals["vmms"], totals["turned_away"]) == (2, 3)


def test_next_vmm_finds_the_device_as_after_power_on(place, vmm):
    """The next VMM finds the device in its power-on state. Only the memory keeps the previous VMM's
    changes."""
    server = place.server("-n", "2", "-l", "1M", region=["-r", "memfd:"])
    running = Devices(place, "--socket", vmm, "--server", place.socket, "--vectors", "2")
    server.err.wait("joined")
    with RawClient(str(place.socket), 2) as peer:
        peer.greeting()
        guest = Guest(place, vmm, 2)
        fresh = None
        guest.client.write(BAR1, 0, b"\x11" * 16)
        guest.client.write(BAR2, 0, b"stays")
        ring(peer.peers[0][1])
        guest.wait_interrupt(1)
        guest.client.close()
        running.err.wait("the VMM has left")
        ring(peer.peers[0][1])
        fresh = connect_when_free(place, vmm)
        assert fresh.read(CONFIG, 4, 2) == b"\0\0" and fresh.read(BAR2, 0, 5) == b"stays"
        assert fresh.read(BAR1, 0, 12) == bytes(12)
        again = Guest(place, vmm, 2, client=fresh)
        assert again.interrupts() == [0, 0] and guest.interrupts() == [0, 0]
        ring(peer.peers[0][0])
        again.wait_interrupt(0)
        assert guest.interrupts() == [0, 0]


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from support.py.device import Guest
from support.py.vfio_user import Client
client = Client(sys.argv[1])
client.start()
client.send_raw(b"\\1\\0\\t\\0\\x20\\0")
print("half", flush=True)
sys.stdin.read()
"""


def test_killed_vmm(place, vmm):
    """When a VMM is killed in the middle of a message, the next one can connect."""
    running = serve_plain(place)
    before = fd_count(running.pid)
    for times in range(1, 4):
        victim = place.start(sys.executable, "-c", KILLED, vmm, place.source / "test", stdin=-1)
        victim.out.wait("half")
        victim.signal(signal.SIGKILL)
        victim.wait()
        running.err.wait("in the middle of a message", times)
    wait_until(lambda: fd_count(running.pid) == before, "its fds are closed")
    with Client(vmm) as client:
        assert client.info() == (3, 9, 5)


def come_and_go(vmm, running, n):
    """Connect @n clients, which use the device's features briefly and disconnect in different
    ways."""
    eventfd = vfu.eventfd()
    for at in range(n):
        try:
            with Client(vmm) as client:
                client.start()
                if at % 2:
                    client.set_irqs(ERR, vfu.EVENTFD | vfu.TRIGGER, 0, 1, fds=[eventfd])
                    client.map_memory().close()
                if at % 5 == 0:
                    client.send_raw(b"\xff" * 16)
                if at % 7 == 0:
                    client.send_raw(b"\1")
                if at % 11 == 0:
                    for _ in range(20):
                        client.send(vfu.REGION_READ, vfu.access_body(BAR2, 0, 65536))
        except (Gone, BrokenPipeError, ConnectionResetError):
            pass  # the device still serves the previous client, or has dropped this one
    os.close(eventfd)
    wait_until(lambda: running.popen.poll() is None, "the device is running")


def test_a_thousand_vmms_leak_nothing(place, vmm):
    """Hundreds of VMMs leave behind neither fds nor memory, and cause few lines in the log."""
    running = serve_plain(place, "--control", place.dir / "control")
    fds = fd_count(running.pid)
    n = 200 if is_sanitized(place.device_program) else 500
    began = time.monotonic()
    come_and_go(vmm, running, n)
    wait_until(lambda: fd_count(running.pid) == fds, "its fds are closed")
    memory = rss_kib(running.pid)
    come_and_go(vmm, running, n)
    wait_until(lambda: fd_count(running.pid) == fds, "its fds are closed")
    if not is_sanitized(place.device_program):
        assert rss_kib(running.pid) <= memory + 64
    totals = ask_once(place.dir / "control")["devices"][0]["totals"]
    assert totals["vmms"] + totals["turned_away"] == 2 * n
    assert totals["turned_away"] < n
    windows = 2 + int((time.monotonic() - began) / 10)  # periods of 10 s, at most 20 lines each
    assert running.err.count("not a request") + running.err.count("in the middle") <= 20 * windows
    client = connect_when_free(place, vmm)
    assert client.info() == (3, 9, 5)
    running.stop()


# Several devices in one process

def stall(client):
    """Send half a message."""
    client.send_raw(vfu.pack(vfu.REGION_WRITE, vfu.access_body(BAR2, 0, 4096), size=16 + 16 + 4096))


def speak_garbage(client):
    """Send bytes that are not a message."""
    client.send_raw(b"\xff" * 4096)


def read_nothing(client):
    """Send requests and do not read the replies."""
    client.sock.setblocking(False)
    message = vfu.pack(vfu.REGION_READ, vfu.access_body(BAR2, 0, 65536))
    try:
        while True:
            client.sock.send(message)
    except BlockingIOError:
        pass


class Flood:
    """A client that sends doorbells continuously and requires no replies."""

    def __init__(self, client):
        self.client = client
        self.client.sock.setblocking(False)
        body = vfu.access_body(BAR0, DOORBELL, 4, struct.pack("<I", 0x00010000))
        self.data = vfu.pack(vfu.REGION_WRITE, body, flags=vfu.NO_REPLY) * 500

    def more(self):
        """Send as many doorbells as the socket buffer holds."""
        try:
            self.client.sock.send(self.data)
        except BlockingIOError:
            pass


@pytest.mark.parametrize("harm", ["stall", "garbage", "read nothing", "flood", "hang up",
                                  "too many"])
def test_devices_are_independent(place, harm):
    """Whatever the VMM of one device does, the VMMs of other devices get their replies and
    doorbells promptly."""
    server = place.server("-n", "1", "-l", "1M", region=["-r", "memfd:"])
    running = Devices(place, "-S", place.dir / "a", "--server", place.socket, "-S", place.dir / "b",
                      "--server", place.socket, n=2)
    server.err.wait("joined", 2)
    peer = join(place, 1)
    peer.read_until_knows([0, 1])
    bad, good = Client(place.dir / "a"), Guest(place, place.dir / "b")
    place.add(bad)
    bad.start()
    good.ring_until_heard(peer)
    flood = Flood(bad) if harm == "flood" else None
    {"stall": stall, "garbage": speak_garbage, "read nothing": read_nothing,
     "hang up": Client.close}.get(harm, lambda _: None)(bad)
    for at in range(30):
        if flood:
            flood.more()
        if harm == "too many":
            Client(place.dir / "a", greet=False).close()
        began = time.monotonic()
        good.ring(peer.id)
        assert readable([peer.own[0]], 5) == [0] and os.eventfd_read(peer.own[0]) == 1
        ring(peer.peers[1][0])
        good.wait_interrupt()
        good.client.write(BAR2, at, b"x")
        assert good.id() == 1 and time.monotonic() - began < 5
    good.client.close()
    running.stop()


def test_two_guests_of_one_process(place):
    """Two devices of one process are peers of the same server: each can ring the other and
    itself."""
    place.server("-n", "2", "-l", "1M", region=["-r", "memfd:"])
    Devices(place, "-S", place.dir / "a", "--server", place.socket, "-n", "2", "-S",
            place.dir / "b",
            "--server", place.socket, "-n", "2", "--control", place.dir / "control", n=2)
    guests = [Guest(place, place.dir / name, 2) for name in "ab"]
    assert [guest.id() for guest in guests] == [0, 1]

    def devices():
        return ask_once(place.dir / "control")["devices"]

    wait_until(lambda: all(one["server"]["vectors"] == 2 for one in devices()),
               "both devices have their vectors")
    def has_rung(at):
        totals = devices()[at]["totals"]
        return totals["doorbells_out"] > totals["doorbells_to_nobody"]

    # The server announces joins in order, so a device that can ring the newest peer can ring all of
    # them.
    for at, sender in enumerate(guests):
        wait_until(lambda at=at, sender=sender: sender.ring(1 - at, 1) or has_rung(at),
                   "the device knows the other device")
        guests[1 - at].wait_interrupt(1)
    for sender in guests:
        for receiver, guest in enumerate(guests):
            for vector in range(2):
                sender.ring(receiver, vector)
                guest.wait_interrupt(vector)
                assert [one.interrupts() for one in guests] == [[0, 0], [0, 0]]


def test_refused_commands_are_counted(place, vmm):
    """Refused commands are answered with an error and counted. The VMM stays connected."""
    serve_plain(place, "--control", place.dir / "control")
    with Client(vmm) as client:
        for command in (vfu.DMA_READ, vfu.DIRTY_PAGES, vfu.WRITE_MULTI, 99):
            with pytest.raises(Refused):
                client.transact(command, bytes(32))
        one, = ask_once(place.dir / "control")["devices"]
        assert one["totals"]["refused"] == 4 and one["totals"]["messages"] == 5


@pytest.mark.parametrize("role, number", [("master", None), ("peer", errno.ENOTTY),
                                          (None, errno.ENOTTY)])
def test_role(place, vmm, role, number):
    """A device with role peer refuses to be migrated. The migrated state of a master includes the
    memory."""
    serve_plain(place, *(["--role", role] if role else []))
    with Client(vmm) as client:
        client.start()
        client.write(BAR2, 100, b"moved")
        try:
            client.transact(vfu.FEATURE, vfu.feature_body(vfu.GET | vfu.MIGRATION, bytes(8), 16))
            assert number is None
        except Refused as refused:
            assert refused.errno == number
            return
        assert b"moved" in client.save()


def test_silent_connection_is_a_vmm(place, vmm):
    """A client that has sent nothing yet counts as the VMM until it disconnects. Then the next
    client is admitted."""
    serve_plain(place)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(vmm))
        with Client(vmm, greet=False) as other:
            assert other.is_gone()
    assert connect_when_free(place, vmm).info() == (3, 9, 5)


def wakeups(pid):
    """Return: the number of times that a process has waited."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(next(line.split()[1] for line in status
                        if line.startswith("voluntary_ctxt_switches")))


def is_idle(pid):
    """Return: whether the process does not wake up for 0.3 s, which is 3 s by its fast clock."""
    before = wakeups(pid)
    time.sleep(0.3)
    return wakeups(pid) == before


@pytest.mark.usefixtures("fast_clock")
def test_idle_process_does_not_wake_up(place, vmm):
    """The process does not wake up while a VMM is idle, or while no VMM is connected."""
    running = serve_plain(place)
    with Client(vmm) as client:
        client.start()
        wait_until(lambda: is_idle(running.pid), "the process is idle")
        before = wakeups(running.pid)
    wait_until(lambda: wakeups(running.pid) != before, "the process notices that the VMM has left")
    wait_until(lambda: is_idle(running.pid), "the process is idle again")


def test_append_does_not_grow_the_file(place, vmm):
    """A VMM shares the open file of the region with the device and can set O_APPEND on it. Even
    then, writes through messages do not grow the file."""
    serve_plain(place)
    with Client(vmm) as client:
        client.start()
        memory = client.region_info(BAR2)[3]
        fcntl.fcntl(memory, fcntl.F_SETFL, os.O_APPEND)
        for at in (0, 4096):
            client.write(BAR2, at, b"here" * 16384)
        assert os.fstat(memory).st_size == MIB
        assert os.pread(memory, 4, 0) == os.pread(memory, 4, 4096) == b"here"
        os.close(memory)
