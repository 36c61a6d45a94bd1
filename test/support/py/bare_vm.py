# SPDX-License-Identifier: BSD-3-Clause
"""Start a QEMU without a disk, and query its devices."""
import json

from guestkit import machine
from guestkit.proc import KitError
from guestkit.qmp import Qmp

MACHINE = ["-M", "q35", "-accel", "tcg", "-m", "64M", "-display", "none", "-nodefaults"]


class Vm:
    """A QEMU without a disk.

    qemu:   first words of the command; None: this machine's QEMU
    paused: whether the guest stays paused. Otherwise it runs the firmware, which assigns bus
            numbers and windows to the ports.
    """

    def __init__(self, place, *arguments, qemu=None, paused=True):
        path = place.dir / "qmp"
        self.process = place.start(*(qemu or [machine.qemu_program()]), *MACHINE, *["-S"] * paused,
                                   "-qmp", f"unix:{path},server=on,wait=off", *arguments)
        try:
            self.qmp = place.add(Qmp(path))
        except KitError as e:
            raise AssertionError(f"{e}; QEMU: {self.process.err.seen}") from None

    def get(self, path, name):
        """Return: a property of an object."""
        return self.qmp.command("qom-get", path=path, property=name)

    def lines(self, text):
        """Run monitor commands, one per line."""
        for line in text.splitlines():
            request = json.loads(line)
            self.qmp.command(request["execute"], **request["arguments"])

    def pci(self):
        """Return: the PciDevices."""
        return PciDevices(self.qmp.command("query-pci"))

    def on_root_bus(self):
        """Return: the ids of the ivshmem devices that the guest finds on the root bus."""
        return set(self.pci().ivshmem())

    def behind_ports(self):
        """Return: the ids of the ivshmem devices that have been plugged in. The paused guest has
        not given its ports bus numbers, so query-pci does not list them."""
        return {each["name"] for each in
                self.qmp.command("qom-list", path="/machine/peripheral")
                if each["type"].startswith("child<ivshmem-")}


class PciDevices:
    """The output of query-pci.

    all: a dictionary for each device on the root bus
    """

    def __init__(self, buses):
        self.all = [device for bus in buses for device in bus["devices"]]

    def _port(self, ident):
        return next(each["pci_bridge"] for each in self.all if each["qdev_id"] == ident)

    def ivshmem(self, port=None):
        """Return: the ivshmem devices on the root bus, or behind this port: {id: {BAR: size}}."""
        devices = self._port(port).get("devices", []) if port else self.all
        return {device["qdev_id"]: {region["bar"]: region["size"] for region in device["regions"]}
                for device in devices
                if (device["id"]["vendor"], device["id"]["device"]) == (0x1af4, 0x1110)}

    def window_len(self, port):
        """Return: the length of the port's window for a region; 0 until the firmware has assigned
        it."""
        window = self._port(port)["bus"]["prefetchable_range"]
        return max(0, window["limit"] + 1 - window["base"]) if window["base"] else 0
