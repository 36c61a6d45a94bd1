# SPDX-License-Identifier: BSD-3-Clause
"""Advice in messages about a guest's devices: each step makes a state in the same guest, reads the
message of ivshmem-client, runs the commands that it prints, and sees that they help."""
import pytest

from guestkit import initramfs, machine
from support.py import device_guest

MIB = 1 << 20
FILES = {"etc/passwd": b"root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n",
         "etc/group": b"root:x:0:\nuser:x:1000:\nivshmem:x:990:\n"}


class Guest:
    """A guest with a virtual IOMMU, a plain device, a doorbell device, in which our
    driver and uio_pci_generic can be loaded."""

    def __init__(self, place):
        server = place.server("-n", "2")
        (place.dir / "plain").write_bytes(bytes(MIB))
        devices = (machine.plain(place.dir / "plain", MIB, "plain")
                   + machine.doorbell(server.socket, 2))
        self.shell = device_guest.start(
            place, devices, own=True, iommu=True, append="",
            image={"modules": [*initramfs.VFIO, "uio_pci_generic"], "files": FILES})
        self.run = self.shell.run
        self.plain, self.doorbell = sorted(
            self.run("grep -l 0x1110 /sys/bus/pci/devices/*/device | cut -d / -f 6").split(),
            key=lambda bdf: self.shell.ask(f"test -e /sys/bus/pci/devices/{bdf}/resource1")[0],
            reverse=True)

    def refused(self, address, user=None):
        """The message of ivshmem-client, which cannot open the device."""
        command = f"ivshmem-client -a {address} -c dump"
        status, text = self.shell.ask(f'su {user} -c "{command}"' if user else command)
        assert status == 1, text
        return text


def choose(guest):
    """Addresses that select no device: all devices are listed."""
    both = [f"pci:{guest.plain} (1M, plain)", f"pci:{guest.doorbell} (4M, doorbell)"]
    listed = ", ".join(sorted(both, key=lambda text: text.split()[0]))
    assert (f"no device has the name x; QEMU's devices have no names, those of ivshmem-device "
            f"--name have; the devices are {listed}") in guest.refused("pci:name=x")
    assert ("only root can read the names of devices without our driver; the devices are "
            + listed) in guest.refused("pci:name=x", "user")
    for address in "0000:00:1f.0", "00:1f.0":
        assert (f"the PCI device at {address} is 8086:2918, not an ivshmem device (1af4:1110); "
                f"those are {listed}") in guest.refused(f"pci:{address}")
    assert f"there is no PCI device at 00:1e.7; the ivshmem devices are {listed}" \
        in guest.refused("pci:00:1e.7")
    for address in "x", "0000:00:1f", "00:1f.0x", "/etc":
        assert (f'"{address}" is not a PCI address such as 0000:00:03.0; the ivshmem devices are '
                f"{listed}") in guest.refused(f"pci:{address}")


STEPS = [choose]


@pytest.mark.qemu_device("the advice concerns drivers and nodes, whichever device has them")
def test_advice(place, record_property):
    """All steps, in one guest."""
    guest = Guest(place)
    for step in STEPS:
        step(guest)
        record_property("case", f"ok {step.__doc__}")
