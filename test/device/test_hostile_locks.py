# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem-device does not wait for kernel locks that other processes hold."""
import contextlib
import os
import pathlib
import signal
import struct

import pytest

from support.py import vfio_user as vfu
from support.py.clients import join
from support.py.control import ask_once
from support.py.device import Devices, Guest, connect_when_free, introduce, start_server
from support.py.lingering import QUICK, slowest, stopped
from support.py.programs import fd_count, wait_until
from support.py.stuck_epoll import StuckEpoll, StuckSocket
from support.py.vfio_user import (EVENTFD, FDS_MAX, INTX, MSIX, NO_REPLY, TRIGGER, UNMASK, Client,
                                  Gone, eventfd)

HELPERS = 2  # helper processes of a device that close its VMM's fds
FDS_KEPT_MAX = 64 + 4 * FDS_MAX  # KEPT_MAX, plus the fds of two requests, and replaced fds


def test_mutex_for_nested_epolls_is_not_needed(place):
    """While another process holds the kernel's mutex for nested epolls, as any process can, VMMs
    connect, set up the pin's interrupt, and leave."""
    start_server(place)
    path = place.dir / "vmm"
    running = Devices(place, "--socket", path, "--legacy",
                      f"chardev={place.socket},size=1M,msi=off")
    with StuckEpoll(nested=True):
        with Client(path) as client:
            client.set_irqs(INTX, EVENTFD | TRIGGER, 0, 1, fds=[eventfd()])
            client.set_irqs(INTX, EVENTFD | UNMASK, 0, 1, fds=[eventfd()])
        connect_when_free(place, path)
    running.stop()


def test_lock_of_the_vmms_end_is_not_needed(place):
    """A VMM takes the lock of its end of the connection before the device accepts the connection,
    and keeps it. The device, which sets an option on its own end, does not wait for that lock."""
    path = place.dir / "vmm"
    running = Devices(place, "--socket", path, "--region", f"shm:{place.shm}", "--size", "1M")
    with stopped(running):
        client = place.add(Client(path, greet=False))
        stuck = place.add(StuckSocket(client.sock))
    assert client.greet()
    stuck.release()
    running.stop()


# Eventfds whose last close() blocks

def helpers(place):
    """Return: the state letters of the helper processes that close fds. Their command line is that
    of the device."""
    states = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, fields = (process / "stat").read_text().rsplit(")", 1)
            if name.endswith("(ivshmem-closer") and (
                    str(place.dir).encode() in (process / "cmdline").read_bytes()):
                states.append(fields.split()[0])
    return states


def as_vector(client, _path, fds):
    """Pass eventfds for interrupts, and replace them."""
    for fd in fds:
        client.set_vector(0, fd)
    client.set_vector(0, None)


def as_vector_at_the_end(client, _path, fds):
    """Pass eventfds for interrupts, and leave."""
    client.set_irqs(MSIX, EVENTFD | TRIGGER, 0, len(fds), fds=fds)
    client.close()


def with_a_request(client, _path, fds):
    """Pass fds with a request that uses none."""
    client.transact(vfu.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 0, 4096), fds)


def unread(client, _path, fds):
    """Pass fds that the device never receives, after a message that ends the connection."""
    client.send_raw(vfu.pack(vfu.RESET, size=1))
    client.send_raw(b"x", fds)


def turned_away(_client, path, fds):
    """Pass fds from a second client, which the device does not admit."""
    with contextlib.suppress(Gone), Client(path, greet=False) as second:
        second.send_raw(b"x", fds)


def serve_two(place):
    """Start a process with two devices. Return: the process, and the two sockets."""
    paths = [place.dir / "one", place.dir / "other"]
    words = ["--legacy", f"chardev={place.socket},size=1M,vectors={FDS_MAX}"]
    running = Devices(place, "--control", place.dir / "control", "--socket", paths[0], *words,
                      "--socket", paths[1], *words, n=2)
    return running, *paths


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("way", [as_vector, as_vector_at_the_end, with_a_request, unread,
                                 turned_away], ids=lambda way: way.__name__)
def test_vmm_that_holds_the_mutex_of_an_epoll(place, way):
    """A VMM passes eventfds that its epoll instance watches, and holds the mutex of that instance.
    The last close() of the eventfds waits for that mutex. Helper processes wait instead of the
    device: VMMs are served, and SIGTERM ends the process."""
    start_server(place)
    running, one, other = serve_two(place)
    client = place.add(Client(one))
    fds = [eventfd() for _ in range(8)]
    with Client(other) as neighbour, StuckEpoll(*fds):
        with stopped(running) if way in (unread, turned_away) else contextlib.nullcontext():
            way(client, one, fds)
            while fds:
                os.close(fds.pop())
        client.close()
        connect_when_free(place, one).close()
        assert slowest(neighbour) < QUICK
        running.stop()


def replace_often(client, times):
    """Replace the eventfds of all vectors many times."""
    fd = eventfd()
    for _ in range(times):
        client.send(vfu.SET_IRQS, vfu.set_irqs_body(MSIX, EVENTFD | TRIGGER, 0, FDS_MAX),
                    [fd] * FDS_MAX, flags=NO_REPLY)
    os.close(fd)


def pass_often(client, times):
    """Pass eventfds with requests that use none."""
    fd = eventfd()
    for _ in range(times):
        client.send(vfu.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 0, 4096), [fd] * FDS_MAX,
                    flags=NO_REPLY)
    os.close(fd)


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("way, released", [(replace_often, True), (pass_often, False)],
                         ids=["replaced-released", "passed-until-the-end"])
def test_vmm_that_blocks_all_helper_processes(place, way, released):
    """A VMM blocks all helper processes that close its fds, and sends more fds. The device
    disconnects that VMM before it uses up the fds of the process, and serves no VMM until the
    helper processes are free. Other devices, which have other helper processes, are not affected,
    and SIGTERM ends the process."""
    start_server(place)
    running, one, other = serve_two(place)
    client = place.add(Client(one))
    fds = [eventfd() for _ in range(HELPERS)]
    with Client(other) as neighbour:
        before = fd_count(running.pid)
        stuck = place.add(StuckEpoll(*fds))
        for at, fd in enumerate(fds, 1):
            client.set_vector(0, fd)
            os.close(fd)
            client.set_vector(0, None)
            wait_until(lambda at=at: helpers(place).count("D") == at,
                       "another helper process is blocked")
        with pytest.raises(Gone):
            while True:
                way(client, 1000)
        running.err.wait("the VMM delays the closing of its fds")
        with pytest.raises(Gone):
            Client(one)
        running.err.wait("refused a connection: fds of an earlier VMM cannot be closed yet")
        assert not running.err.count("the client passed a socket")
        assert fd_count(running.pid) < before + FDS_KEPT_MAX
        replace_often(neighbour, 100)
        assert slowest(neighbour) < QUICK
    if released:
        stuck.release()
        connect_when_free(place, one)
        wait_until(lambda: fd_count(running.pid) <= before, "all sent fds are closed")
    running.stop()


@pytest.mark.usefixtures("fast_clock")
def test_peer_that_holds_the_mutex_of_an_epoll(place):
    """A peer holds the mutex of an epoll instance that watches its doorbells, and then leaves. The
    device has the last copies of these doorbells. It serves its VMMs, and SIGTERM ends the process.
    """
    server = start_server(place, vectors=8)
    running, one, other = serve_two(place)
    guest, neighbour = Guest(place, one), place.add(Client(other))
    peer = join(place, 8)
    introduce(guest, peer)
    with StuckEpoll(*peer.own):
        server.signal(signal.SIGKILL)  # so that the server is not the last to close the doorbells
        server.wait()
        peer.close()
        start_server(place, vectors=8)
        wait_until(lambda: all(device["server"]["joins"] == 2 for device in ask_once(
            place.dir / "control")["devices"]), "both have joined the other server")
        assert slowest(neighbour) < QUICK
        running.stop()
