# SPDX-License-Identifier: BSD-3-Clause
"""The output of `ivshmem config qemu` starts QEMU, and the commands in it plug devices in. The
guests stay paused."""
import json

import pytest

from guestkit import machine
from guestkit.qmp import Qmp
from support.py.config import NAMES, Pieces, shell_words

MIB = 1 << 20
PAUSED = ["-M", "q35", "-accel", "tcg", "-m", "64M", "-S", "-display", "none", "-nodefaults"]


class Vm:
    """A QEMU whose guest stays paused."""

    def __init__(self, place, *arguments):
        path = place.dir / "qmp"
        self.process = place.start(machine.qemu_program(), *PAUSED, "-qmp",
                                   f"unix:{path},server=on,wait=off", *arguments)
        self.qmp = place.add(Qmp(path))

    def get(self, path, name):
        """Return: a property of an object."""
        return self.qmp.command("qom-get", path=path, property=name)

    def lines(self, text):
        """Run monitor commands, one per line."""
        for line in text.splitlines():
            request = json.loads(line)
            self.qmp.command(request["execute"], **request["arguments"])

    def on_root_bus(self):
        """Return: the ids of the ivshmem devices that the guest finds on the root bus."""
        return {device["qdev_id"] for bus in self.qmp.command("query-pci")
                for device in bus["devices"]
                if (device["id"]["vendor"], device["id"]["device"]) == (0x1af4, 0x1110)}

    def behind_ports(self):
        """Return: the ids of the ivshmem devices that have been plugged in. The paused guest has
        not given its ports bus numbers, so query-pci does not list them."""
        return {each["name"] for each in
                self.qmp.command("qom-list", path="/machine/peripheral")
                if each["type"].startswith("child<ivshmem-")}


@pytest.fixture
def regions(place):
    """Names for a test's regions, with every character that has a special meaning. The regions are
    removed after the test."""
    return [place.shm + name for name in NAMES]


def test_arguments_start_qemu(place, regions):
    """QEMU has the devices, with this server and with regions that have these names and sizes."""
    place.server("-l", "1M", "-n", "3")
    words = ["config", "qemu", "--size", "1M"]
    for index, name in enumerate(regions):
        words += [name, "--id", f"n{index}"]
    words += ["--role", "master", f"unix:{place.socket}", "--id", "bell", "--vectors", "3"]
    vm = Vm(place, *shell_words(Pieces(*words).text("shell")))
    assert vm.on_root_bus() == {*(f"n{index}" for index in range(len(regions))), "bell"}
    for index, name in enumerate(regions):
        assert vm.get(f"/objects/n{index}-mem", "mem-path") == f"/dev/shm/{name}"
        assert vm.get(f"/objects/n{index}-mem", "size") == MIB
        assert vm.get(f"/objects/n{index}-mem", "share") is True
        assert vm.get(f"/machine/peripheral/n{index}", "master") == \
            ("on" if index == len(regions) - 1 else "off")
    assert vm.get("/machine/peripheral/bell", "vectors") == 3


def test_commands_plug_in_and_unplug(place, regions):
    """The monitor's commands plug devices into the ports, with regions that have these names; other
    commands unplug a plain device and remove its memory."""
    place.server("-l", "1M", "-n", "3")
    pieces = Pieces("config", "qemu", "--hotplug", "--size", "1M", *sum(
        ([name, "--id", f"n{index}"] for index, name in enumerate(regions)), []),
        f"unix:{place.socket}", "--id", "bell", "-n", "3")
    vm = Vm(place, *shell_words(pieces.text("shell")))
    assert not vm.behind_ports()
    for text in pieces.texts("qmp", "to plug in"):
        vm.lines(text)
    assert vm.behind_ports() == {*(f"n{index}" for index in range(len(regions))), "bell"}
    for index, name in enumerate(regions):
        assert vm.get(f"/objects/n{index}-mem", "mem-path") == f"/dev/shm/{name}"
    delete, remove = pieces.text("qmp", "To unplug n0").splitlines()
    vm.lines(delete)
    vm.qmp.command("system_reset")  # releases the device, which otherwise only a running guest does
    vm.qmp.wait_event("DEVICE_DELETED")
    vm.lines(remove)
    assert "n0" not in vm.behind_ports()
    assert "n0-mem" not in [each["name"] for each in vm.qmp.command("qom-list", path="/objects")]
