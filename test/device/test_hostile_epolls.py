# SPDX-License-Identifier: BSD-3-Clause
"""A system call on a file that is watched by a great many epoll instances takes a long time, and no
signal interrupts it. If a VMM, a peer or a server causes such calls, the device stops making them,
and the process continues to serve its other devices. These tests need the real clock, because the
device compares processor time with it."""
import contextlib
import os
import select
import struct
import time

import pytest

from support.py import vfio_user as vfu
from support.py.clients import join
from support.py.device import Guest, connect_when_free, introduce, serve_two, start_server
from support.py.fake_server import FakeServer, say
from support.py.lingering import QUICK, slowest
from support.py.programs import cpu_ticks, wait_until
from support.py.vfio_user import (BAR0, CONFIG, DOORBELL, EVENTFD, INTX, MSIX, NO_REPLY, NONE,
                                  TRIGGER, UNMASK, Client, Gone, eventfd)
from support.py.wire import readable, ring

COPIES = 400  # with COPIES * COPIES watchers, a call takes tens of milliseconds


class Watched:
    """A great many epoll instances that watch a file (an eventfd or a socket, or a new eventfd if
    none is given)."""

    def __init__(self, place, fd=None):
        self.fd = eventfd() if fd is None else fd
        self._fds = [os.dup(self.fd) for _ in range(COPIES)] + ([self.fd] if fd is None else [])
        self._epolls = [select.epoll() for _ in range(COPIES)]
        for epoll in self._epolls:
            for copy in self._fds[:COPIES]:
                epoll.register(copy, select.EPOLLIN | select.EPOLLET)
        place.add(self)

    def close(self):
        """Close the epoll instances, and the eventfd if this object created it."""
        for epoll in self._epolls:
            epoll.close()
        while self._fds:
            os.close(self._fds.pop())


# VMMs

def trigger_all(client, watched):
    """Trigger all vectors many times, with SET_IRQS requests that have no data."""
    del watched
    for _ in range(20):
        client.send(vfu.SET_IRQS, vfu.set_irqs_body(MSIX, NONE | TRIGGER, 0, 64), flags=NO_REPLY)


def unmask_all(client, watched):
    """Mask all vectors and ring them, and then unmask all of them with one request. Repeat that,
    because the first interrupts are not measured."""
    del watched
    control = client.find_capability(0x11) + 2
    own = client.read32(BAR0, vfu.IV_POSITION)
    for _ in range(4):
        client.enable_msix(0xc000)
        for vector in range(64):
            client.write32(BAR0, DOORBELL, own << 16 | vector)
        client.write(CONFIG, control, struct.pack("<H", 0x8000 | 63))


def ring_itself(client, watched):
    """Cause one interrupt with each request."""
    del watched
    own = client.read32(BAR0, vfu.IV_POSITION)
    for _ in range(200):
        client.write32(BAR0, DOORBELL, own << 16)


def use_the_error_interrupt(client, watched):
    """Trigger the error interrupt, which is not one of the vectors."""
    client.set_irqs(vfu.ERR, EVENTFD | TRIGGER, 0, 1, fds=[watched.fd])
    for _ in range(200):
        client.set_irqs(vfu.ERR, NONE | TRIGGER, 0, 1)


@pytest.mark.parametrize("way", [trigger_all, unmask_all, ring_itself, use_the_error_interrupt])
def test_vmm_with_slow_interrupts_is_dropped(place, way):
    """If writes to a VMM's eventfds are slow, the device drops the VMM and discards its remaining
    requests, whether the interrupts come many at a time or one by one. The device accepts no VMM
    for a while, and then serves the next one."""
    start_server(place, vectors=64)
    running, one, other = serve_two(place, "--server", place.socket, "--vectors", "64")
    client = place.add(Client(one))
    client.start()
    client.enable_msix()
    watched = Watched(place)
    for vector in range(64):
        client.set_vector(vector, watched.fd)
    with Client(other) as neighbour:
        with contextlib.suppress(Gone):
            way(client, watched)
        assert slowest(neighbour) < QUICK
        assert client.is_gone()
    running.err.wait("the client has eventfds that take too long to write to; disconnecting it")
    running.err.wait("not accepting VMMs for")
    connect_when_free(place, one).close()
    running.stop()
    assert running.err.count("take too long to write to") == 1


def test_vmm_with_a_slow_resample_eventfd_is_dropped(place):
    """A VMM is dropped if reading its resample eventfd, which unmasks the pin, is slow."""
    start_server(place)
    running, one, other = serve_two(place, "--legacy", f"chardev={place.socket},size=1M,msi=off")
    client = place.add(Client(one))
    watched = Watched(place)
    client.set_irqs(INTX, EVENTFD | UNMASK, 0, 1, fds=[watched.fd])

    def is_dropped():
        ring(watched.fd)
        return running.err.count("has eventfds that take too long to read; disconnecting it")

    wait_until(is_dropped, "the VMM is dropped")
    assert client.is_gone()
    with Client(other) as neighbour:
        assert slowest(neighbour, 0.1) < QUICK
    running.stop()


def test_vmm_with_a_slow_socket_is_dropped(place):
    """A VMM is dropped if a great many epoll instances watch its socket, because each message to or
    from the VMM notifies all of them."""
    running, one, other = serve_two(place)
    client = place.add(Client(one))
    Watched(place, client.sock.fileno())
    with Client(other) as neighbour:
        with pytest.raises(Gone):
            for _ in range(200):
                client.info()
        assert slowest(neighbour, 0.1) < QUICK
    running.err.wait("each message takes too long, because too many epoll instances watch "
                     "the client's")
    running.err.wait("not accepting VMMs for")
    connect_when_free(place, one).close()
    running.stop()


# Peers

def test_doorbell_that_is_slow_to_read_is_ignored(place):
    """A peer watches one of the device's vectors, which makes each read slow. From then on the
    device ignores that vector, but still receives the others."""
    start_server(place)
    running, one, other = serve_two(place, "--server", place.socket, "--vectors", "2")
    guest, peer = Guest(place, one, 2), join(place, 2)
    introduce(guest, peer)
    vectors = peer.peers[guest.id()]
    Watched(place, vectors[0])

    def is_ignored():
        ring(vectors[0])
        return running.err.count("reading the doorbell of vector 0 takes too long")

    with Client(other) as neighbour:
        wait_until(is_ignored, "the vector is ignored")
        before = cpu_ticks(running.pid)
        for _ in range(20):
            ring(vectors[0])
        assert slowest(neighbour, 0.1) < QUICK
        assert cpu_ticks(running.pid) - before < 20
    ring(vectors[1])
    guest.wait_interrupt(1)
    running.stop()


def test_doorbell_that_is_slow_to_ring_is_skipped(place):
    """A peer watches one of its own vectors, which makes ringing it slow. The device no longer
    rings that vector, but still rings the others."""
    start_server(place)
    running, one, other = serve_two(place, "--server", place.socket, "--vectors", "2")
    guest, peer = Guest(place, one, 2), join(place, 2)
    introduce(guest, peer)
    Watched(place, peer.own[0])

    def is_skipped():
        guest.ring(peer.id, 0)
        return running.err.count("with too many epoll instances; that doorbell is no longer rung")

    wait_until(is_skipped, "the vector is skipped")
    os.eventfd_read(peer.own[0])
    with Client(other) as neighbour:
        assert slowest(neighbour, 0.1) < QUICK
    guest.ring(peer.id, 0)
    guest.ring(peer.id, 1)
    assert readable(peer.own, 5) == [1]
    running.stop()


# Servers

def test_server_with_a_slow_socket_is_lost(place):
    """A server watches its end of the connection with a great many epoll instances, which makes
    receiving a message slow. The device disconnects, and reconnects later."""
    server = FakeServer(place, place.socket)
    running, _, other = serve_two(place, "--server", server.path, "--vectors", "1")
    watched = Watched(place, server.sock.fileno())
    came = server.came
    with Client(other) as neighbour:
        with contextlib.suppress(OSError):
            for peer in range(100, 300):
                say(server.sock, peer, server.own[0])
                time.sleep(0.001)
        running.err.wait("takes too long, because too many epoll instances watch its socket")
        assert slowest(neighbour, 0.1) < QUICK
    watched.close()
    server.wait_for_another(came)
    running.stop()
