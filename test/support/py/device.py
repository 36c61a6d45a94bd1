# SPDX-License-Identifier: BSD-3-Clause
"""Run ivshmem-device, connect VMMs and peers to it, and check their doorbells."""
import contextlib
import os
import pathlib
import signal

from support.py.control import ask_once
from support.py.programs import Process, wait_until
from support.py.vfio_user import BAR0, DOORBELL, IV_POSITION, Client, Gone, eventfd, fired
from support.py.wire import readable, ring

MIB = 1 << 20


class Devices(Process):
    """An ivshmem-device that waits for VMMs. Its Place ends it.

    n: number of configured devices
    """

    def __init__(self, place, *options, n=1, **keywords):
        super().__init__([place.device_program, "-v", *options], **keywords)
        place.adopt(self)
        self.err.wait("waiting for a VMM", n)

    def stop(self, number=signal.SIGTERM):
        """Stop the program with SIGTERM, and check for status 0."""
        self.signal(number)
        status = self.wait()
        assert status == 0, f"ivshmem-device ended with {status}: {self.err.text()}"


def kernel_says(pid):
    """Return: the fields of /proc/PID/status: {name: [words]}."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, value in (line.split(":", 1) for line in lines)}


def connect_when_free(place, path, **keywords):
    """Connect a client as soon as the device has noticed that the previous client has left."""
    found = []

    def tries():
        with contextlib.suppress(Gone, OSError):
            found.append(Client(path, **keywords))
        return found

    wait_until(tries, "the device accepts a VMM")
    return place.add(found[0])


def serve_two(place, *options, **keywords):
    """Start a process with two devices, the first of which has these options. Return: the process,
    and the two sockets."""
    paths = [place.dir / "one", place.dir / "other"]
    words = options or ["--region", f"shm:{place.shm}", "--size", "1M"]
    running = Devices(place, "--socket", paths[0], *words, "--socket", paths[1], "--region",
                      f"shm:{place.shm}-other", "--size", "1M", n=2, **keywords)
    return running, *paths


class Guest:
    """A client that has initialised the device the way a guest driver does: MSI-X is enabled, and
    each vector has an eventfd."""

    def __init__(self, place, path, vectors=1, client=None):
        self.client = client or place.add(Client(path))
        self.client.start()
        self.fds = [eventfd() for _ in range(vectors)]
        if vectors:
            self.client.enable_msix()
        for vector, fd in enumerate(self.fds):
            self.client.set_vector(vector, fd)
        place.add(self)

    def close(self):
        """Close the eventfds; the client is closed separately."""
        while self.fds:
            os.close(self.fds.pop())

    def id(self):
        """Read IVPosition."""
        return self.client.read32(BAR0, IV_POSITION)

    def ring(self, peer, vector=0):
        """Write to the Doorbell register."""
        self.client.write32(BAR0, DOORBELL, peer << 16 | vector)

    def ring_until_heard(self, peer):
        """Ring until it succeeds: the join may not have been announced to the device yet."""
        def heard():
            self.ring(peer.id)
            return readable([peer.own[0]], 0.1)

        wait_until(heard, "the device knows the peer")
        os.eventfd_read(peer.own[0])

    def wait_interrupt(self, vector=0):
        """Wait until this vector has interrupted the guest."""
        wait_until(lambda: fired(self.fds[vector]), f"vector {vector} has interrupted")

    def interrupts(self):
        """Return: the number of interrupts of each vector since the last call."""
        return [fired(fd) for fd in self.fds]


def start_server(place, vectors=2, size="1M", region=None):
    """Start a server. Without @region it uses the test's named region, which an earlier server may
    have left behind."""
    if region is None and not place.shm_path.exists():
        place.shm_path.write_bytes(bytes(MIB))
    return place.server("-n", str(vectors), "-l", size, region=region)


def start_device(place, *options, vectors=2, has=None):
    """Start a doorbell device; wait until it has joined and has received its vectors.

    has: number of vectors that the server assigns, if not @vectors; -1: do not wait for vectors
    """
    device = Devices(place, "--socket", place.dir / "vmm", "--server", place.socket, "--vectors",
                     vectors, "--control", place.dir / "control", *options)
    expected = vectors if has is None else min(vectors, has)
    if expected > 0:
        wait_until(lambda: upstream(place)["vectors"] == expected, "the device has its vectors")
    return device


def device_of(place):
    """Return: the device's status."""
    return ask_once(place.dir / "control")["devices"][0]


def upstream(place):
    """Return: what the device's status says about its server."""
    return device_of(place)["server"]


def totals_of(place):
    """Return: the device's counters."""
    return device_of(place)["totals"]


def wait_state(place, state):
    """Wait until the device reports this state of its server. Return: the status of the server."""
    wait_until(lambda: upstream(place)["state"] == state, f"the state is {state}")
    return upstream(place)


def introduce(guest, peer):
    """Wait until the device knows the peer's last doorbell. Doorbells are announced in order, so it
    then knows all of them."""
    last = len(peer.own) - 1
    wait_until(lambda: guest.ring(peer.id, last) or readable([peer.own[last]]),
               "the device knows the peer")
    os.eventfd_read(peer.own[last])


def check_doorbells(guest, peer, device_id, vectors=2):
    """Ring every vector in both directions, one at a time."""
    introduce(guest, peer)
    for vector in range(vectors):
        guest.ring(peer.id, vector)
        assert readable(peer.own, 5) == [vector]
        assert os.eventfd_read(peer.own[vector]) == 1
        ring(peer.peers[device_id][vector])
        guest.wait_interrupt(vector)
        assert guest.interrupts() == [0] * len(guest.fds)
