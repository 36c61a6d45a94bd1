# SPDX-License-Identifier: BSD-3-Clause
"""What `ivshmem config qemu` and `ivshmem config libvirt` print for vfio-user devices, with
ivshmem-device, a QEMU that has vfio-user, and libvirt."""
import os
import tempfile

import pytest

from support.py.bare_vm import PciDevices, Vm
from support.py.config import Pieces, shell_words
from support.py.libvirt import Libvirt
from support.py.newer_qemu import COMMAND as QEMU
from support.py.programs import wait_until

MIB = 1 << 20
FIRMWARE = 60  # seconds
#: The devices, and the sizes of their regions.
SIZES = {"plain": 8 * MIB, "bell": 4 * MIB}


def served(place, target, *options, group=None):
    """Print the pieces for a plain device and one that is a client of a server, and start the
    ivshmem-devices with the printed commands. The paths of the sockets contain characters that are
    special in QEMU's options. Return: the Pieces."""
    server = place.dir / "a, server"
    place.server("-l", "4M", "-n", "3", socket=server)
    kind = ["--kind", "vfio-user", "--group", os.getgid() if group is None else group, "--socket"]
    pieces = Pieces(
        "config", target, *options, place.shm + "-plain", "--id", "plain", "--size", "8M", *kind,
        place.dir / "plain, 'one'.sock", place.shm, "--id", "bell", "--size", "4M", "--server",
        server, "--vectors", "3", *kind, place.dir / 'bell, "two" & <3>.sock')
    for text in pieces.texts("shell", "before the VM"):
        words = shell_words(text.removesuffix("&\n"))
        assert words[0] == "ivshmem-device"
        place.start(place.device_program, "-v", *words[1:]).err.wait("waiting for a VMM")
    return pieces


def check_on_root_bus(devices):
    """Check the devices that were present from the start."""
    found = devices.ivshmem()
    assert {ident: bars[2] for ident, bars in found.items()} == SIZES
    assert 1 in found["bell"] and 1 not in found["plain"], "MSI-X only with a server"


def wait_for_windows(query, ports):
    """Wait until the firmware has assigned windows to the ports: {device id: port}. Each
    window must have room for the device's region."""
    for ident, port in ports.items():
        wait_until(lambda port=port: query().window_len(port), f"{port} has a window", FIRMWARE)
        assert query().window_len(port) >= SIZES[ident]
        assert not query().ivshmem(port)


def test_arguments_start_qemu(place):
    """QEMU has the devices, and each BAR 2 is as large as the device's region."""
    pieces = served(place, "qemu")
    check_on_root_bus(Vm(place, *shell_words(pieces.text("shell", "In the command")),
                         qemu=QEMU).pci())


def test_commands_plug_in_and_unplug(place):
    """The monitor's commands plug the devices into their ports, and unplug the plain one."""
    pieces = served(place, "qemu", "--hotplug")
    vm = Vm(place, *shell_words(pieces.text("shell", "-M q35")), qemu=QEMU, paused=False)
    wait_for_windows(vm.pci, {ident: f"{ident}-port" for ident in SIZES})
    for ident, size in SIZES.items():
        vm.lines(pieces.text("qmp", f"to plug in {ident}"))
        assert vm.pci().ivshmem(f"{ident}-port")[ident][2] == size
    vm.lines(pieces.text("qmp", "To unplug plain"))
    vm.qmp.command("system_reset")  # releases the device, as otherwise only an OS does
    vm.qmp.wait_event("DEVICE_DELETED")
    assert not vm.pci().ivshmem("plain-port")


@pytest.fixture(scope="module", name="libvirt")
def _libvirt():
    """A Libvirt with that QEMU."""
    with tempfile.TemporaryDirectory(prefix="ivs-lv-") as path:
        made = Libvirt(path, QEMU)
        try:
            yield made
        finally:
            made.close()


def test_domain_starts(place, libvirt):
    """libvirt starts QEMU with the devices."""
    place.dir.chmod(0o755)
    pieces = served(place, "libvirt", group=libvirt.uid)
    libvirt.define("cold", "", pieces.text("xml", "In <domain>"))
    libvirt.shell("virsh start cold")
    check_on_root_bus(PciDevices(libvirt.qmp("cold", "query-pci")))


def test_devices_are_plugged_into_a_domain(place, libvirt):
    """The virsh commands plug the devices into libvirt's ports."""
    place.dir.chmod(0o755)
    pieces = served(place, "libvirt", "--hotplug", "--domain", "hot", group=libvirt.uid)
    libvirt.define("hot", pieces.text("xml", "In <devices>"), pieces.text("xml", "In <domain>"))
    libvirt.shell("virsh start hot")

    def query():
        return PciDevices(libvirt.qmp("hot", "query-pci"))

    ports = dict(zip(SIZES, ("pci.16", "pci.17")))
    wait_for_windows(query, ports)
    for ident, size in SIZES.items():
        for command in pieces.texts("shell", "to plug it"):
            if f'"{ident}"' in command:
                libvirt.shell(command)
        assert query().ivshmem(ports[ident])[ident][2] == size
