# SPDX-License-Identifier: BSD-3-Clause
"""What `ivshmem config qemu` prints starts QEMU, and its commands plug devices in. The guests stay
paused."""
import pytest

from support.py.bare_vm import Vm
from support.py.config import NAMES, Pieces, shell_words

MIB = 1 << 20


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
    vm.qmp.command("system_reset")  # releases the device, as otherwise only a running guest does
    vm.qmp.wait_event("DEVICE_DELETED")
    vm.lines(remove)
    assert "n0" not in vm.behind_ports()
    assert "n0-mem" not in [each["name"] for each in vm.qmp.command("qom-list", path="/objects")]
