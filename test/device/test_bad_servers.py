# SPDX-License-Identifier: BSD-3-Clause
"""Tests of ivshmem-device with its server replaced by a program that sends nothing, closes the
connection, or sends invalid data."""
import os
import socket
import struct
import threading

import pytest

from support.py import vfio_user as vfu
from support.py.control import ask_once
from support.py.device import MIB, Devices, Guest, check_doorbells, start_device
from support.py.programs import fd_count, wait_until
from support.py.vfio_user import BAR2
from support.py.wire import RawClient


class Crowd:
    """A bad server: a socket that listens in place of a server.

    behave: called with each accepted connection; if it returns true, the connection is closed
    """

    def __init__(self, path, behave):
        self.came = 0
        self._behave = behave
        self._kept = []
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(str(path))
        self._sock.listen(64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                there, _ = self._sock.accept()
            except OSError:
                return
            self.came += 1
            self._kept.append(there)
            try:
                if self._behave(there):
                    there.close()
            except OSError:
                pass  # the device has already closed the connection

    def close(self):
        """Close all connections."""
        self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._sock.close()
        for there in self._kept:
            there.close()


def send(sock, value, *fds):
    """Send a message in the format that servers use."""
    socket.send_fds(sock, [struct.pack("<q", value)], fds)


def greet(sock, memory, *rest):
    """Send version, id and memory as a server does, followed by the messages in @rest."""
    send(sock, 0)
    send(sock, 0)
    send(sock, -1, memory)
    for value, *fds in rest:
        send(sock, value, *fds)


def pipe_end():
    """Return: an fd that is neither memory nor an eventfd."""
    reader, writer = os.pipe()
    os.close(writer)
    return reader


NULL = os.open("/dev/null", os.O_RDWR)
PIPE = pipe_end()
FOLDER = os.open("/dev", os.O_RDONLY)

BAD_SERVERS = {
    "silent": (lambda sock, _: False, "greeted", None),
    "closes": (lambda sock, _: True, "lost", "closed the connection"),
    "garbage": (lambda sock, _: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "lost",
                "is not an ivshmem-server"),
    "other version": (lambda sock, _: send(sock, 1), "lost",
                      "is not an ivshmem-server of protocol 0"),
    "bad id": (lambda sock, _: (send(sock, 0), send(sock, 70000)) and False, "lost",
               "not an ivshmem-server"),
    "no memory": (lambda sock, _: (send(sock, 0), send(sock, 0), send(sock, -1)) and False, "lost",
                  "is not an ivshmem-server"),
    "half a message": (lambda sock, _: not sock.sendall(b"\0\0\0"), "lost", None),
    "two fds": (lambda sock, memory: greet(sock, memory, (0, NULL, NULL)), "lost",
                "several fds came"),
    "no eventfd": (lambda sock, memory: greet(sock, memory, (0, NULL)), "lost",
                   "is not an eventfd"),
    "a pipe": (lambda sock, memory: greet(sock, memory, (3, PIPE)), "lost", "is not an eventfd"),
    "a pipe as memory": (lambda sock, _: greet(sock, PIPE), "lost", "neither memory nor"),
    "a folder as memory": (lambda sock, _: greet(sock, FOLDER), "lost", "neither memory nor"),
    "greets and closes": (lambda sock, memory: greet(sock, memory) or True, "lost",
                          "closed the connection"),
}


class Neighbour:
    """One of several devices in a process, each with its own server. A bad server replaces the good
    one, and later a good server replaces the bad one.

    guest: the device's VMM, or None. If the bad server offers a different region, no VMM is
    connected until check_good(), because the device examines a different region only while it has
    no VMM
    """

    def __init__(self, place, name):
        self.place = place
        self.name = name
        self.behave, self.state, self.problem = BAD_SERVERS[name]
        slug = name.replace(" ", "-")
        self.path = place.dir / f"{slug}.server"
        self.vmm = place.dir / slug
        self.region = place.shm_path.with_name(f"{place.shm}-{slug}")
        self.region.write_bytes(bytes(MIB))
        self.memory = os.open(self.region, os.O_RDWR)
        self.crowd = self.guest = self.server = None
        self.came = 0  # connections that the bad server has accepted
        self.start_server()
        place.add(self)

    def start_server(self):
        """Start the good server."""
        self.server = self.place.server("-n", "2", "-l", "1M", socket=self.path,
                                        region=["-M", self.region.name])

    def turn_bad(self):
        """Kill the good server, and start the bad one at the same path."""
        self.server.end()
        os.unlink(self.path)
        self.crowd = Crowd(self.path, lambda sock: self.behave(sock, self.memory))

    def turn_good(self):
        """Replace the bad server with the good one."""
        self.crowd.close()
        self.came = self.crowd.came
        self.crowd = None
        os.unlink(self.path)
        self.start_server()

    def close(self):
        if self.crowd:
            self.crowd.close()
        os.close(self.memory)

    def told(self, devices):
        """Return: the part of this device's status that describes its server."""
        return next(one["server"] for one in devices if one["socket"] == str(self.vmm))

    def check_bad(self, control):
        """Check that the status reports the bad server's state and problem, and that the guest, if
        there is one, still has its memory and its id."""
        told = {}

        def is_bad():
            told.update(self.told(ask_once(control)["devices"]))
            return told["state"] == self.state or self.name == "greets and closes"

        wait_until(is_bad, f"{self.name}: {self.state}")
        if self.problem and self.name != "greets and closes":
            assert self.problem in told["problem"], told
        if self.guest:
            assert self.guest.client.read(BAR2, 0, 4) == bytes(4) and self.guest.id() == 0

    def check_good(self):
        """Check that the guest and a new peer can ring each other."""
        if not self.guest:
            self.guest = Guest(self.place, self.vmm, 2)
        peer = self.place.add(RawClient(str(self.path), 2)).greeting()
        peer.read_until_knows([self.guest.id()])
        check_doorbells(self.guest, peer, self.guest.id())


@pytest.mark.usefixtures("fast_clock")
def test_bad_servers_in_place_of_good_ones(place, record_property):
    """Devices whose servers become bad continue to serve their VMMs, and log only a few lines about
    the servers. When the good servers are back, all devices become peers again. One process serves
    all devices."""
    control = place.dir / "control"
    those = [Neighbour(place, name) for name in BAD_SERVERS]
    running = Devices(place, "--control", control, *[
        word for one in those for word in ("--socket", one.vmm, "--server", one.path, "-n", "2")],
        n=len(those))
    wait_until(lambda: all(one.told(ask_once(control)["devices"])["vectors"] == 2 for one in those),
               "all devices have their vectors")
    fds = fd_count(running.pid)
    for one in those:
        if "as memory" not in one.name:
            one.guest = Guest(place, one.vmm, 2)
    for one in those:
        one.turn_bad()
    wait_until(lambda: all(one.crowd.came >= 1 for one in those),
               "each has tried to connect")
    for one in those:
        one.check_bad(control)
    for one in those:
        one.turn_good()
    wait_until(lambda: all(one.told(ask_once(control)["devices"])["state"] == "joined"
                           for one in those), "all devices are peers again")
    for one in those:
        one.check_good()
        about = [line for line in running.err.seen if f"{one.vmm}: " in line and "VMM" not in line]
        greets = one.name in ("two fds", "no eventfd", "a pipe", "greets and closes")
        assert len(about) <= 5 + (2 * one.came if greets else 0), about
        record_property("case", f"ok {one.name}")
    # Since startup, each device may have opened five fds: the VMM's connection, two eventfds, and
    # two doorbells of a peer.
    assert fd_count(running.pid) <= fds + len(those) * (1 + 2 + 2)
    running.stop()


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("name, message", [
    ("closes", "closed the connection"), ("garbage", "is not an ivshmem-server"), ("two fds", None),
    ("no memory", "is not an ivshmem-server"), ("a pipe as memory", "neither memory nor"),
    ("a folder as memory", "neither memory nor"),
    ("silent", "accepted the connection but sends nothing")])
def test_bad_server_at_the_start_is_an_error(place, name, message):
    """If the server is bad from the start, ivshmem-device reports the reason, exits and leaves no
    socket. If only a message after the greeting is invalid, the device starts and logs the
    error."""
    behave = BAD_SERVERS[name][0]
    memory = vfu.memory_file(MIB)
    crowd = Crowd(place.socket, lambda sock: behave(sock, memory))
    try:
        if message is None:
            # The device reads messages that follow the greeting only once it has started.
            running = start_device(place, has=-1)
            running.err.wait("several fds came")
            running.stop()
        else:
            done = place.run_device("-S", place.dir / "vmm", "--server", place.socket)
            assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1
            assert not (place.dir / "vmm").exists()
    finally:
        crowd.close()
        os.close(memory)
