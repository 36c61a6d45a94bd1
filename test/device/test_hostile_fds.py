# SPDX-License-Identifier: BSD-3-Clause
"""VMMs that pass fds on which ivshmem-device could block, or that disconnect at an unusual moment,
affect neither the other devices of the process nor the next VMM."""
import contextlib
import errno
import fcntl
import os
import resource
import select
import socket
import struct
import subprocess
import sys
import time

import pytest

from support.py import vfio_user as vfu
from support.py.clients import join
from support.py.device import (Devices, Guest, connect_when_free, introduce, serve_two,
                               start_server)
from support.py.fuse import NAME, Fuse
from support.py.lingering import QUICK, Lingering, slowest, state_of, stopped
from support.py.programs import cpu_ticks, fd_count, is_sanitized, wait_until
from support.py.vfio_user import (BAR0, BAR2, COMMAND, CONFIG, DOORBELL, EVENTFD, FDS_MAX,
                                  MEMORY_SPACE, MSIX, NO_REPLY, NONE, TRIGGER, Client, Gone,
                                  Refused, eventfd)
from support.py.wire import readable

FULL = 2 ** 64 - 2  # the largest value that an eventfd can hold
TRIES = 200  # attempts to win a race; about half of them succeed
WRITE = {"x86_64": "1", "aarch64": "64"}.get(os.uname().machine)  # the syscall number of write(2)


# Sockets with SO_LINGER, on which close() blocks

def with_a_request(client, _path, fds):
    """Pass each fd with a DMA_MAP request, which does not use the fd."""
    for fd in fds:
        client.send(vfu.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 0, 4096), [fd])


def as_interrupts(client, _path, fds):
    """Pass the fds in place of eventfds."""
    client.send(vfu.SET_IRQS, vfu.set_irqs_body(MSIX, EVENTFD | TRIGGER, 0, 1), fds)


def too_many(client, _path, fds):
    """Pass more fds with one message than are allowed."""
    client.send(vfu.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 0, 4096), fds)


def unread(client, _path, fds):
    """Pass the fds after a message that makes the device end the connection, so that the device
    never receives them."""
    client.send_raw(vfu.pack(vfu.RESET, size=1))
    for fd in fds:
        client.send_raw(b"x", [fd])


def in_the_middle(client, _path, fds):
    """Pass the fds with an incomplete message."""
    client.send_raw(vfu.pack(vfu.DMA_MAP, bytes(8))[:20], fds)
    client.sock.shutdown(socket.SHUT_WR)


def turned_away(_client, path, fds):
    """Pass the fds from a second client, which the device does not admit."""
    second = Client(path, greet=False)
    for fd in fds:
        second.send_raw(vfu.pack(vfu.RESET), [fd])
    second.close()


def send_urgent(client, data, fd):
    """Pass an fd with an out-of-band byte, the last of @data."""
    client.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))],
                        socket.MSG_OOB)


def urgent(client, _path, fds):
    """Pass an fd with an out-of-band byte in the middle of a message."""
    message = vfu.pack(vfu.RESET)
    client.send_raw(message[:3])
    send_urgent(client, message[3:4], fds[0])
    client.send_raw(message[4:])


def urgent_and_unread(client, _path, fds):
    """Pass an fd with an out-of-band byte after a message that ends the connection."""
    client.send_raw(vfu.pack(vfu.RESET, size=1))
    send_urgent(client, b"x", fds[0])


@pytest.mark.parametrize("way, times", [
    (with_a_request, 20), (as_interrupts, FDS_MAX), (too_many, FDS_MAX + 4), (unread, 20),
    (in_the_middle, FDS_MAX), (turned_away, 20), (urgent, 1), (urgent_and_unread, 1)],
    ids=lambda value: getattr(value, "__name__", value))
def test_lingering_sockets_do_not_block_the_device(place, way, times):
    """A client passes sockets whose close() blocks. The device drops the client and keeps none of
    the sockets, and the VMM of another device gets its replies immediately."""
    running, one, other = serve_two(place)
    before = fd_count(running.pid)
    lingering = place.add(Lingering(times))
    client = place.add(Client(one))
    with Client(other) as neighbour:
        with stopped(running):
            way(client, one, lingering.fds())
            lingering.hand_over()
        assert slowest(neighbour) < QUICK
        assert client.hears_nothing() if way is turned_away else client.is_gone()
        client.close()
        assert slowest(neighbour, 0.2) < QUICK
    connect_when_free(place, one).close()
    wait_until(lambda: fd_count(running.pid) == before, "all sent fds are closed")
    running.stop()


# Eventfds that are filled and made blocking at the worst moment

def fill(fd):
    """Fill an eventfd, so that the next write(2) to it blocks. No other process may be writing to
    it."""
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        os.eventfd_read(fd)
    os.eventfd_write(fd, FULL)
    os.set_blocking(fd, True)


def unfill(fd):
    """Drain an eventfd."""
    os.set_blocking(fd, False)
    os.eventfd_read(fd)


def catch_in_between(running, send, fd, text):
    """Fill the eventfd after the process has checked that a write would not block, but before it
    writes. This takes many attempts, each of which stops the process at a different moment and
    fills the eventfd. Return: whether an attempt succeeded, according to is_caught().

    send: makes the process write to @fd repeatedly
    """
    for at in range(TRIES):
        send()
        time.sleep(0.0002 * (at % 7))
        with stopped(running):
            fill(fd)
        waited = time.monotonic() + 0.05
        while time.monotonic() < waited and "S" not in state_of(running.pid):
            time.sleep(0.001)
        time.sleep(0.02)
        if is_caught(running, text):
            return True
        unfill(fd)
    return False


def is_caught(running, text):
    """Return: whether the process is blocked in write(2), or has logged @text because it was
    blocked."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{running.pid}/syscall", encoding="ascii") as file:
            if file.read().split()[0] == WRITE:
                return True
    return bool(running.err.count(text))


def test_vmm_that_fills_its_interrupt_is_dropped(place):
    """A write(2) that blocks on a full eventfd delays other VMMs only briefly. The device drops the
    VMM with the full eventfd, and SIGTERM still ends the process."""
    running, one, other = serve_two(place, "--legacy",
                                    f"chardev={place.socket},size=1M,msi=on,vectors=256")
    neighbour, client = place.add(Client(other)), place.add(Client(one))
    fd = eventfd()
    for at in range(0, 256, FDS_MAX):
        client.set_irqs(MSIX, EVENTFD | TRIGGER, at, FDS_MAX, fds=[fd] * FDS_MAX)
    text = "filled one of its eventfds and made it blocking; disconnecting it"

    def trigger_often():  # enough requests to keep the process busy until it is stopped
        with contextlib.suppress(Gone):
            for _ in range(60):
                client.send(vfu.SET_IRQS, vfu.set_irqs_body(MSIX, NONE | TRIGGER, 0, 256),
                            flags=NO_REPLY)

    assert catch_in_between(running, trigger_often, fd, text), "every attempt failed"
    assert slowest(neighbour) < QUICK
    running.err.wait(text, timeout=QUICK)
    assert client.is_gone(QUICK)
    place.add(Client(one))
    os.close(fd)
    running.stop()


def test_peer_that_fills_its_doorbell_is_skipped(place):
    """If a peer fills the doorbell that the guest rings, and makes it blocking, the device no
    longer rings that doorbell. Other doorbells still work."""
    start_server(place, vectors=1)
    running, one, other = serve_two(place, "--server", place.socket, "--vectors", "1")
    neighbour, guest = place.add(Client(other)), Guest(place, one, 1)
    bad, good = join(place, 1), join(place, 1)
    introduce(guest, bad)
    introduce(guest, good)
    burst = vfu.pack(vfu.REGION_WRITE, vfu.access_body(BAR0, DOORBELL, 4, struct.pack(
        "<I", bad.id << 16)), flags=NO_REPLY) * 6000  # enough requests to keep the process busy
    text = "a peer filled a doorbell and made it blocking; that doorbell is no longer rung"
    assert catch_in_between(running, lambda: guest.client.send_raw(burst), bad.own[0], text), \
        "every attempt failed"
    assert slowest(neighbour) < QUICK
    running.err.wait(text, timeout=QUICK)
    os.set_blocking(bad.own[0], False)
    guest.ring(good.id)
    assert readable(good.own, 5) == [0]
    guest.ring(bad.id)
    running.stop()


# VMMs that disconnect, or send nothing

def test_copy_of_a_closed_connection_keeps_nothing_busy(place):
    """The process that started the device keeps a copy of the connection that the device inherited.
    The device is nevertheless idle once the VMM has closed its end."""
    ours, its = socket.socketpair()
    path = place.dir / "vmm"
    running = Devices(place, "--fd", its.fileno(), "--region", f"shm:{place.shm}", "--size", "1M",
                      "--socket", path, "--region", f"shm:{place.shm}", "--size", "1M",
                      fds=[its.fileno()])
    with its, ours:
        ours.sendall(vfu.pack(vfu.VERSION, vfu.version_body()))
        assert ours.recv(4096)
        ours.close()
        running.err.wait("the VMM has left")
        before = cpu_ticks(running.pid)
        time.sleep(0.4)
        assert cpu_ticks(running.pid) - before < 20
        with Client(path) as client:
            assert client.info()
    running.stop()


def test_posted_writes_of_a_closed_connection_are_done(place):
    """All posted writes take effect even if the client disconnects after sending them, and a VMM
    that connects right afterwards is admitted."""
    running, one, _ = serve_two(place)
    messages = b"".join(vfu.pack(vfu.REGION_WRITE, vfu.access_body(
        BAR2, 8 * at, 8, struct.pack("<Q", at + 1)), flags=NO_REPLY) for at in range(500))
    for times in range(60 if is_sanitized(place.device_program) else 150):
        client = Client(one)
        client.send_raw(messages)
        client.close()
        with Client(one) as following:
            assert struct.unpack("<Q", following.read(BAR2, 8 * 499, 8)) == (500,), times
            following.write(BAR2, 8 * 499, bytes(8))
        connect_when_free(place, one).close()
    running.stop()


@pytest.mark.usefixtures("fast_clock")
def test_silent_vmm_is_dropped(place, monkeypatch):
    """A client that does not send a whole message within 5 s is dropped, and the next client is
    served."""
    monkeypatch.setenv("IVS_CLOCK_RATE", "4")  # a stall of less than 1 s has no effect
    running, one, _ = serve_two(place)
    began = time.monotonic()
    with Client(one, greet=False) as mute:
        with pytest.raises(Gone):
            Client(one)
        mute.send_raw(b"\0")  # half a header does not count as a message
        assert mute.is_gone(15) and 1.1 < time.monotonic() - began < 15
    with Client(one) as client:
        assert client.info()
        running.err.wait("the VMM has sent nothing for 5 s; disconnecting it")
    running.stop()


def flood(path, reads):
    """Connect, send as many requests as fit into the socket, and disconnect."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    sock.connect(str(path))
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
        sock.sendall(vfu.pack(vfu.VERSION, vfu.version_body(), flags=NO_REPLY) + reads)
    sock.close()


@pytest.mark.parametrize("region", [BAR2, CONFIG, BAR0])
def test_requests_of_closed_connections_do_not_block_others(place, region):
    """Clients send many requests that require no reply, and disconnect. The device executes the
    requests in small batches, and serves other clients in between."""
    running, one, other = serve_two(place)
    count = 1 << 20 if region == BAR2 else 256
    reads = vfu.pack(vfu.REGION_READ, vfu.access_body(region, 0, count), flags=NO_REPLY) * 12000
    with Client(other) as neighbour:
        with stopped(running):
            for _ in range(8):
                flood(one, reads)
        # The limit is below QUICK, because executing all requests without a pause can take less
        # time than QUICK.
        assert slowest(neighbour, pid=running.pid) < 1
    connect_when_free(place, one).close()
    running.stop()


def test_vmm_is_refused_without_an_fd_for_the_memory(place):
    """If the process has no fd left with which to pass the memory, it refuses the request.
    Otherwise the VMM would never map the memory, and would access it through messages for as long
    as it runs. A retry succeeds."""
    running, one, other = serve_two(place)
    with Client(one) as client, Client(other) as neighbour:
        now = fd_count(running.pid)
        soft, hard = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (now, hard))
        with pytest.raises(Refused) as refused:
            client.region_info(BAR2)
        assert refused.value.errno == errno.EMFILE and neighbour.info()
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert len(client.map_memory()) == 1 << 20
    running.stop()


# The kernel counts fds in flight per user and checks the count against the fd limit of the sending
# process. Other tests that run as root may have more fds in flight than this device may have open.
# No other test runs as this user.
OWN_USER = ["--user", "games"] if os.geteuid() == 0 else []


@pytest.mark.parametrize("limit", [300, 320, 324, 325, 326, 327, 328, 400])
def test_peers_do_not_use_up_the_fds_of_vmms(place, limit):
    """Regardless of the limit on open files, the doorbells of peers leave enough fds for all
    VMMs."""
    place.server("-n", "8", "-l", "1M", region=["-r", "memfd:"])
    paths = [place.dir / f"vmm{at}" for at in range(4)]
    running = Devices(place, *[word for path in paths for word in (
        "--socket", path, "--server", place.socket, "--vectors", "1")], *OWN_USER, n=4,
        nofile=limit)
    for _ in range(12):
        join(place, 8)
    for path in paths:
        with Client(path) as client:
            client.start()
            assert client.map_memory()
    wait_until(lambda: fd_count(running.pid) < limit - 64, "the surplus doorbells are closed")
    running.stop()


ASK_MEMORY = vfu.pack(vfu.GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, BAR2, 0, 0, 0))


def leave_unread(client):
    """Request the memory's fd, and shut down the sending side without reading the reply. Return:
    the client, which stays connected."""
    client.send_raw(ASK_MEMORY)
    assert select.select([client.sock], [], [], vfu.TIMEOUT)[0], "there is no reply"
    client.sock.shutdown(socket.SHUT_WR)
    return client


def test_vmm_that_reads_no_replies_takes_no_fds_from_others(place):
    """The kernel limits the total number of fds in flight of all devices. The device sends only one
    fd to a VMM that keeps requesting the memory's fd and reads no reply. Once the VMM reads, the
    device sends it the others."""
    running, one, other = serve_two(place, "--region", f"shm:{place.shm}", "--size", "1M",
                                    *OWN_USER, nofile=128)
    client = place.add(Client(one))
    client.send_raw(ASK_MEMORY * 200)
    with Client(other) as neighbour:
        assert slowest(neighbour, 0.2) < QUICK and neighbour.map_memory()
    before = cpu_ticks(running.pid)
    time.sleep(0.4)
    assert cpu_ticks(running.pid) - before < 20, "the device must sleep until the VMM reads"
    for _ in range(200):
        reply = client.receive()
        assert len(reply.fds) == 1
        reply.close()
    client.send_raw(ASK_MEMORY * 2)  # the VMM leaves while the device waits
    client.close()
    connect_when_free(place, one).close()
    running.stop()


def test_former_vmms_that_read_no_replies_take_no_fds_from_others(place):
    """VMMs connect and leave, without reading the memory's fd, but keep their end of the connection
    open. Once there are four of them, their device admits no VMM until one of them reads, or closes
    its end. Other devices are not affected."""
    running, one, other = serve_two(place, "--region", f"shm:{place.shm}", "--size", "1M",
                                    *OWN_USER, nofile=64)
    before = fd_count(running.pid)
    former = [leave_unread(connect_when_free(place, one)) for _ in range(4)]
    left = 4
    for end in (lambda client: client.receive().close(), Client.close):
        running.err.wait("the VMM has left", left)
        assert fd_count(running.pid) == before + 4
        with contextlib.suppress(Gone):
            Client(one).close()
            pytest.fail("the VMM must be refused")
        running.err.wait("earlier VMMs have neither read the memory's fd nor closed their")
        with Client(other) as neighbour:
            assert neighbour.map_memory()
        end(former.pop())
        former.append(leave_unread(connect_when_free(place, one)))
        left += 1
    for client in former:
        client.close()
    connect_when_free(place, one).close()
    wait_until(lambda: fd_count(running.pid) == before, "all sockets are closed")
    running.stop()


def test_request_with_too_many_fds_is_refused(place):
    """If a request carries more fds than the process can open, the request is refused and the
    client stays connected."""
    running, one, other = serve_two(place, "--legacy", f"chardev={place.socket},size=1M,vectors=16")
    with Client(one) as client, Client(other) as neighbour:
        now = fd_count(running.pid)
        soft, hard = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (now + 3, hard))
        fds = [eventfd() for _ in range(8)]
        with pytest.raises(Refused) as refused:
            client.set_irqs(MSIX, EVENTFD | TRIGGER, 0, 8, fds=fds)
        assert refused.value.errno == errno.EMFILE
        assert slowest(neighbour, 0.1) < QUICK
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (soft, hard))
        # Because the limit is low, fds that other processes have in flight can delay these.
        wait_until(lambda: fd_count(running.pid) == now, "the fds are closed")
        client.set_irqs(MSIX, EVENTFD | TRIGGER, 0, 8, fds=fds)
        assert fd_count(running.pid) == now + 8
        for fd in fds:
            os.close(fd)
    running.stop()


@pytest.mark.parametrize("role", ["master", "peer"])
def test_connects_and_disconnects_do_not_fill_the_log(place, role):
    """The log stays short, however many VMMs connect."""
    running, one, _ = serve_two(place, "--region", f"shm:{place.shm}", "--size", "1M", "--role",
                                role)
    began = time.monotonic()
    for _ in range(150):
        client = connect_when_free(place, one)
        client.write(CONFIG, COMMAND, struct.pack("<H", MEMORY_SPACE))
        client.close()
    windows = 2 + int((time.monotonic() - began) / 10)
    running.stop()
    # At most 20 informational lines and 20 warnings per 10 s, plus, for each kind, a count of the
    # suppressed lines.
    assert len(running.err.seen) <= 2 * 21 * windows + 5, len(running.err.seen)


# The lock of a file's inode

#: A program that holds a file's inode lock, by writing to the file from a page whose fault is never
#: resolved.
HOLDER = """
import mmap, os, sys
page = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 4096)
file = os.open(sys.argv[2], os.O_RDWR)
print("ready", flush=True)
sys.stdin.readline()
os.write(file, memoryview(page))
"""


@pytest.mark.skipif(Fuse.lacks() is not None, reason=str(Fuse.lacks()))
def test_lock_of_the_inode_of_a_region_on_a_disk(place):
    """A process holds the lock of the region's inode, and the VMM has set O_DIRECT on the open file
    that it shares with the device: on ext4, reads of the file then wait for that lock. Reading BAR
    2 through a message does not wait."""
    region = place.dir / "region"
    region.write_bytes(bytes(4096) + b"content" + bytes((1 << 20) - 4103))
    with Fuse(place) as fuse:
        holder = place.start(sys.executable, "-c", HOLDER, fuse.directory / NAME, region,
                             stdin=subprocess.PIPE)
        holder.out.wait("ready")
        running, one, other = serve_two(place, "--region", f"file:{region}")
        with Client(one) as client, Client(other) as neighbour:
            fd = client.region_info(BAR2)[3]
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_DIRECT)
            fuse.stall("READ")
            holder.write("\n")
            wait_until(lambda: fuse.count("READ"), "the lock is held")
            client.sock.settimeout(3 * QUICK)
            assert client.read(BAR2, 4096, 7) == b"content"
            assert slowest(neighbour) < QUICK
            os.close(fd)
    running.stop()
