# SPDX-License-Identifier: BSD-3-Clause
"""Tests with guests in two QEMUs: the one that has a vfio-user client, and this machine's own."""
import os

import pytest

from guestkit import initramfs, kernel, machine
from support.py.newer_qemu import COMMAND as QEMU

BOOT = 120
MIB = 1 << 20


@pytest.fixture
def boot(build, tmp_path):
    """Return: boot(name, script, devices, ...), which starts a guest that runs a script. The script
    can use peek."""
    guests = []

    def start(name, script, devices, **options):
        guest_kernel = kernel.find()
        image = initramfs.build(tmp_path / f"{name}.img", guest_kernel, script,
                                programs=[(build / "test/peek-static", "peek")])
        guests.append(machine.Guest(name, guest_kernel, image, f"{image}.log", devices, **options))
        return guests[-1]

    yield start
    for guest in guests:
        guest.stop()


def test_guests_of_both_qemus_share_a_region(boot, tmp_path):
    """Guests of both QEMUs share a region through a device that both QEMUs support. The process
    that the kit starts and stops is QEMU itself."""
    region = tmp_path / "region"
    region.write_bytes(bytes(MIB))
    devices = machine.plain(region, MIB)
    own = boot("own", "until peek pci: read 0 | grep there; do sleep 0.1; done", devices)
    client = boot("client", "peek pci: write 0 I-am-there", devices, qemu=QEMU, stay=True)
    client.wait_for(r"^guest: exit 0", BOOT)
    own.wait_for(r"^peek: I-am-there\n(.*\n)*guest: exit 0", BOOT)
    assert b"qemu-system-x86_64" in read(f"/proc/{client.pid}/cmdline")
    client.stop()
    assert not os.path.exists(f"/proc/{client.pid}")


def test_device_without_a_server(boot, tmp_path):
    """If no program serves a vfio-user device, QEMU logs that it cannot connect to the program's
    socket, and the kit shows this message."""
    guest = boot("alone", "true", machine.vfio_user(tmp_path / "nobody.sock"), qemu=QEMU)
    assert guest.wait(BOOT) == 1
    assert any("nobody.sock" in line for line in guest.tail()), guest.tail()


def read(path):
    with open(path, "rb") as f:
        return f.read()
