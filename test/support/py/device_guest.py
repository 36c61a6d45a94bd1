# SPDX-License-Identifier: BSD-3-Clause
"""Guests with a shell and a device that ivshmem-device serves. One boot is enough for many cases.

    device = device_guest.Device(place, ["--region", f"shm:{place.shm}", "--size", "1M"])
    shell = device_guest.start(place, device.vmm(0))
    assert shell.run("peek pci: read 0") == "peek: hello"
"""
import json
import os
import re
import struct
import time

from guestkit import driver, initramfs, kernel, machine
from support.py import newer_qemu
from support.py.driver_guest import COMPLAINTS, Console
from support.py.wire import readable, ring

BOOT = 120
COMMAND = 60
#: A root port with address space above 4 GiB, for a device that is plugged in later.
PORT = ["-device", "pcie-root-port,id=rp0,chassis=1,slot=1,pref64-reserve=1G"]
FIRST = "/sys/class/ivshmem/ivshmem0"

#: A script that reads commands from the console. A command's input is /dev/null, so that it does
#: not read the next command.
_SHELL = r"""
stty -echo
echo "shell: ready"
while read -r line; do
	eval "$line" </dev/null 2>&1
	echo "shell: status $?"
done
"""


class Device:
    """ivshmem-device with one or more devices.

    devices: the options of each device, except --socket
    """

    def __init__(self, place, *devices, options=(), name="device"):
        self._place = place
        self.control = place.dir / f"{name}.control"
        self.sockets = [place.dir / f"{name}{at}.sock" for at in range(len(devices))]
        words = ["-v", *options]
        for socket, device in zip(self.sockets, devices):
            words += ["--socket", socket, *device]
        self.process = place.start(self.program, *words)
        for socket in self.sockets:
            self.process.err.wait(f"{socket}: waiting for a VMM")

    @property
    def program(self):
        """Return: the path of ivshmem-device."""
        return self._place.build / "tools/ivshmem-device"

    @property
    def log(self):
        """Return: the lines of the program's log."""
        return self.process.err

    def vmm(self, at=0, ident=None, bus=None):
        """Return: QEMU's arguments for one of the devices."""
        return machine.vfio_user(self.sockets[at], ident or f"ivshmem{at}", bus)

    def all(self):
        """Return: QEMU's arguments for all devices, in order."""
        return [word for at in range(len(self.sockets)) for word in self.vmm(at)]

    def status(self, at=0):
        """Return: the status of a device, if the program was started with --control."""
        done = self._place.run(self.program, "--status", self.control, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["devices"][at]

    def end(self):
        """Stop the program with SIGTERM, and check for status 0."""
        self.process.popen.terminate()
        assert self.process.wait() == 0, self.log.text()


class Shell:
    """A guest that executes commands."""

    def __init__(self, guest):
        self.guest = guest
        self.console = None
        self._said = []

    def open(self):
        """Start reading the guest's console."""
        self.console = Console(self.guest)
        return self

    def await_ready(self):
        """Wait until the guest has booted and its shell is ready."""
        self._until("shell: ready", BOOT)
        return self

    def _until(self, word, timeout):
        lines = []
        deadline = time.monotonic() + timeout
        while not (line := self.console.next(deadline)).startswith(word):
            lines.append(line)
        return lines, line

    def ask(self, command, timeout=COMMAND):
        """Run a command. Return: its status and its output."""
        self.console.send(command)
        lines, end = self._until("shell: status ", timeout)
        return int(end.split()[-1]), "\n".join(lines)

    def run(self, command, timeout=COMMAND):
        """Run a command that must succeed. Return: its output."""
        status, text = self.ask(command, timeout)
        assert status == 0, f"{command}: status {status}: {text}"
        return text

    def send(self, command):
        """Run a command without waiting for output."""
        self.console.send(command)

    def insert(self):
        """Load the driver in kernel/, which binds to the devices."""
        self.run("insmod /modules/ivshmem.ko")
        return self

    def number(self, command):
        """Run a command that prints a number."""
        return int(self.run(command), 0)

    def position(self, at=0):
        """Return: the device's id according to the driver."""
        return self.number(f"cat /sys/class/ivshmem/ivshmem{at}/position")

    def counts(self, at=0):
        """Return: the number of interrupts of each vector."""
        lines = self.run(f"cat /sys/class/ivshmem/ivshmem{at}/interrupts").split("\n")
        return [int(line.split()[1]) for line in lines if line]

    def wait_counts(self, wanted, at=0):
        """Wait until the interrupt counts of the vectors are exactly @wanted."""
        deadline = time.monotonic() + 20
        while (found := self.counts(at)) != wanted:
            assert time.monotonic() < deadline, f"the counts are {found}, not {wanted}"

    def ring(self, peer, vector, at=0):
        """Ring another peer."""
        self.run(f"ivshmem-client -a /dev/ivshmem{at} -c 'int {peer} {vector}'")

    def check_log(self):
        """Check that the guest's kernel has logged no errors since init was started."""
        complaints = "|".join(COMPLAINTS)
        status, text = self.ask("dmesg | sed '1,/Run .init as init process/d' | "
                                f"grep -A 30 -E '{complaints}'")
        assert status == 1, text

    def close(self):
        """Stop the guest."""
        if self.console:
            self.console.close()
        self.guest.stop()


def image_of(place, **more):
    """Build the initramfs once, for all guests of a test. @more: arguments for
    initramfs.build()."""
    path = place.dir / "shell.img"
    found = kernel.find()
    if not path.exists():
        initramfs.build(path, found, _SHELL, extra_modules=[driver.module(found)], programs=[
            (place.build / "test/probe-static", "probe"),
            (place.build / "test/peek-static", "peek"),
            (place.build / "tools/ivshmem-client-static", "ivshmem-client")], **more)
    return path


def launch(place, devices, own=False, may_crash=False, image=None, **options):
    """Start a guest without waiting until it has booted. own: use this machine's QEMU even if it
    does not support vfio-user; may_crash: prevent QEMU from dumping core; image: more arguments for
    initramfs.build()."""
    number = len(list(place.dir.glob("shell*.log")))
    options.setdefault("append", "iomem=relaxed")
    if not own:
        options["qemu"] = ["prlimit", "--core=0"] * may_crash + newer_qemu.COMMAND
    guest = machine.Guest(f"guest{number}", kernel.find(), image_of(place, **(image or {})),
                          str(place.dir / f"shell{number}.log"), devices=devices,
                          serial=str(place.dir / f"shell{number}.console"), await_serial=True,
                          **options)
    return place.add(Shell(guest)).open()


def start(place, devices, **options):
    """Start a guest, and wait until it has booted."""
    return launch(place, devices, **options).await_ready()


def start_all(place, *all_devices, **options):
    """Start several guests, which boot at the same time."""
    shells = [launch(place, devices, **options) for devices in all_devices]
    return [shell.await_ready() for shell in shells]


class Ringer:
    """A peer in a guest that has the driver."""

    def __init__(self, shell, at=0):
        self.shell = shell
        self._at = at
        self.ident = shell.position(at)
        self._counts = shell.counts(at)

    def ring(self, ident, vector):
        """Ring a peer."""
        self.shell.ring(ident, vector, self._at)

    def expect(self, vector):
        """Require that this vector was rung once, and that no other vector was rung."""
        self._counts[vector] += 1
        self.shell.wait_counts(self._counts, self._at)

    def expect_all(self):
        """Require that each vector was rung once."""
        self._counts = [count + 1 for count in self._counts]
        self.shell.wait_counts(self._counts, self._at)

    def hears_nothing(self):
        """Return whether no unexpected doorbell has arrived."""
        return self.shell.counts(self._at) == self._counts


class HostRinger:
    """A peer on the host: a RawClient."""

    def __init__(self, client):
        self.client = client
        self.ident = client.id

    def ring(self, ident, vector):
        """Ring a peer."""
        self.client.read_until(lambda: len(self.client.peers.get(ident, [])) > vector,
                               f"peer {ident} had joined")
        ring(self.client.peers[ident][vector])

    def expect(self, vector):
        """Require that this vector was rung, and that no other vector was rung."""
        deadline = time.monotonic() + 20
        while not (found := self._take()):
            assert time.monotonic() < deadline, f"vector {vector} was not rung"
        assert found == [vector]

    def _take(self):
        found = readable(self.client.own)
        for at in found:
            os.read(self.client.own[at], 8)
        return found

    def hears_nothing(self):
        """Return whether no unexpected doorbell has arrived."""
        return not self._take()


def all_ring_all(peers, vectors, record_property=None):
    """Let every peer ring every other peer on each vector. Each doorbell is recorded as a case."""
    for rings in peers:
        for rung in peers:
            for vector in range(vectors if rings is not rung else 0):
                rings.ring(rung.ident, vector)
                rung.expect(vector)
                if record_property:
                    record_property("case", f"ok peer {rings.ident} rings peer {rung.ident}, "
                                            f"vector {vector}")
    assert all(peer.hears_nothing() for peer in peers)


class ClientRinger:
    """A peer on the host: the program ivshmem-client."""

    def __init__(self, place):
        self._client = place.start_client()
        self.ident = int(re.search(r"(\d+)", self._client.out.wait("(this one)")).group(1))
        self._heard = {}

    def ring(self, ident, vector):
        """Ring a peer."""
        self._client.write(f"int {ident} {vector}\n")
        self._client.out.wait(f"rang peer {ident} vector {vector}")

    def expect(self, vector):
        """Require that this vector was rung once, and that no other vector was rung."""
        self._heard[vector] = self._heard.get(vector, 0) + 1
        self._client.out.wait(f"doorbell on vector {vector}", times=self._heard[vector])
        assert self.hears_nothing()

    def hears_nothing(self):
        """Return whether no unexpected doorbell has arrived."""
        return self._client.out.count("doorbell on vector") == sum(self._heard.values())


def pattern(seed, offset, length):
    """Return: the bytes that `probe fill` writes."""
    return b"".join(struct.pack("<Q", seed << 40 | at) for at in range(offset, offset + length, 8))


def fields(report):
    """Parse the output of `probe report` into {name: value}."""
    found = dict(re.match(r"(\S+) ?(.*)", line).groups() for line in report.split("\n"))
    assert found.pop("end", None) == "", "the report is not complete:\n" + report
    return found
