# SPDX-License-Identifier: BSD-3-Clause
"""Advice in messages about a guest's devices: each step causes a problem in the same guest, reads
the message of ivshmem-client, runs the commands that it prints, and checks that these commands
help."""
import re

import pytest

from guestkit import initramfs, machine
from support.py import device_guest
from support.py.advice import command_in

MIB = 1 << 20
#: Used where the driver is not installed, so modprobe(8) does not find it.
BUILD_IT = "make driver; insmod build/driver/ivshmem.ko"
FILES = {"etc/passwd": b"root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n",
         "etc/group": b"root:x:0:\nuser:x:1000:\nivshmem:x:990:\n"}


class Guest:
    """A guest with a virtual IOMMU, a plain device, a doorbell device and two ports, in which our
    driver and uio_pci_generic can be loaded."""

    def __init__(self, place):
        server = place.server("-n", "2")
        (place.dir / "plain").write_bytes(bytes(MIB))
        devices = (machine.plain(place.dir / "plain", MIB, "plain")
                   + machine.doorbell(server.socket, 2))
        for number, reserve in enumerate(["", ",pref64-reserve=64M"]):
            devices += ["-device", f"pcie-root-port,id=port{number},chassis={number + 1},"
                                   f"slot={number + 1}{reserve}"]
        self.shell = device_guest.start(
            place, devices, own=True, iommu=True, append="", qmp=str(place.dir / "qmp"),
            image={"modules": [*initramfs.VFIO, "uio_pci_generic"], "files": FILES})
        self.run = self.shell.run
        self.plain, self.doorbell = sorted(
            self.run("grep -l 0x1110 /sys/bus/pci/devices/*/device | cut -d / -f 6").split(),
            key=lambda bdf: self.shell.ask(f"test -e /sys/bus/pci/devices/{bdf}/resource1")[0],
            reverse=True)

    def plug_and_dump(self, port):
        """Plug a device of 8 MiB into a port, have ivshmem-client dump it, and unplug it. Return:
        the status of ivshmem-client, and what it prints."""
        qmp = self.shell.guest.qmp()
        memory = f"m-{port}"  # QEMU aborts if a region is plugged in again
        qmp.command("object-add", **{"qom-type": "memory-backend-ram", "id": memory,
                                     "size": 8 * MIB, "share": True})
        qmp.command("device_add", driver="ivshmem-plain", id="plugged", memdev=memory, bus=port)
        # The files of the BARs appear after the kernel has assigned addresses.
        bdf = self.run("until d=$(ls /sys/bus/pci/devices/*/resource0 | cut -d / -f 6 | "
                       "while read -r d; do grep -q 0x1110 /sys/bus/pci/devices/$d/device && "
                       f"echo $d; done | grep -v -e {self.plain} -e {self.doorbell}); "
                       "do sleep 0.05; done; echo $d")
        seen = self.shell.ask(f"ivshmem-client -a pci:{bdf} -c dump")
        qmp.unplug("plugged")
        qmp.wait_event("DEVICE_DELETED", 30)
        return seen

    def dump(self, address):
        """Return: ivshmem-client's output about a device that it can open."""
        return self.run(f"ivshmem-client -a {address} -c dump")

    def refused(self, address, user=None):
        """Check that ivshmem-client cannot open the device. Return: its message."""
        command = f"ivshmem-client -a {address} -c dump"
        status, text = self.shell.ask(f'su {user} -c "{command}"' if user else command)
        assert status == 1, text
        return text

    def driver(self):
        """Return: the driver that holds the doorbell device, or "" if none does."""
        return self.run(f"basename $(readlink /sys/bus/pci/devices/{self.doorbell}/driver) "
                        "2>/dev/null || :")

    def bind(self, driver):
        """Bind the doorbell device to a loaded driver or, if @driver is "", to none."""
        path = f"/sys/bus/pci/devices/{self.doorbell}"
        self.run(f"! [ -e {path}/driver ] || echo {self.doorbell} >{path}/driver/unbind; "
                 f"echo '{driver}' >{path}/driver_override")
        if driver:
            self.run(f"echo {self.doorbell} >/sys/bus/pci/drivers_probe")
        assert self.driver() == driver

    def do(self, text, pattern):
        """Run the commands that a message contains."""
        self.run(command_in(text, pattern))


def choose(guest):
    """If an address selects no device, the message lists all devices."""
    both = [f"pci:{guest.plain} (1M, plain)", f"pci:{guest.doorbell} (4M, doorbell)"]
    listed = ", ".join(sorted(both, key=lambda text: text.split()[0]))
    for name in "x", "":  # no device has an empty name, either
        assert (f"no device has the name \"{name}\"; only devices of ivshmem-device --name "
                f"have names; QEMU's have none; the devices are {listed}") \
            in guest.refused(f"pci:name={name}")
    assert ("only root can read the names of devices without our driver; the devices are "
            + listed) in guest.refused("pci:name=x", "user")
    for address in "0000:00:1f.0", "00:1f.0":
        assert (f"the PCI device at {address} is 8086:2918, not an ivshmem device (1af4:1110); "
                f"the ivshmem devices are {listed}") in guest.refused(f"pci:{address}")
    assert f"there is no PCI device at 00:1e.7; the ivshmem devices are {listed}" \
        in guest.refused("pci:00:1e.7")
    for address in "x", "0000:00:1f", "00:1f.0x", "/etc":
        assert (f'"{address}" is not a PCI address such as 0000:00:03.0; the ivshmem devices are '
                f"{listed}") in guest.refused(f"pci:{address}")


def no_driver(guest):
    """If no driver holds the devices, our driver has to be built or, if it is installed, loaded."""
    told = guest.refused("/dev/ivshmem0")
    because = "there is no device /dev/ivshmem0, because our driver holds no device: "
    assert because + BUILD_IT in told
    assert f"need our driver ({BUILD_IT}), or vfio (echo vfio-pci > " in \
        guest.dump(f"pci:{guest.doorbell}")
    guest.run("d=/lib/modules/$(uname -r); mkdir -p $d; cp /modules/ivshmem.ko $d; "
              "echo ivshmem.ko: >$d/modules.dep")
    told = guest.refused("/dev/ivshmem0")
    assert told.endswith(": modprobe ivshmem")
    guest.do(told, ": (modprobe ivshmem)")
    assert "driver: cached memory" in guest.dump("/dev/ivshmem0")
    guest.run("rmmod ivshmem")


def held_by_uio(guest):
    """uio_pci_generic holds the device, as in ACRN's tutorial. Loading our driver does not help,
    but the printed commands do."""
    guest.run("echo 1af4 1110 >/sys/bus/pci/drivers/uio_pci_generic/new_id")
    for state in "not loaded", "loaded":
        told = guest.dump(f"pci:{guest.doorbell}")
        assert told.count("the driver uio_pci_generic holds the device: ") == 2
        assert ("(modprobe ivshmem; echo" in told) == (state == "not loaded")
        guest.do(told, r"no wait: .* need our driver \((.*?)\)")
        assert guest.driver() == "ivshmem"
        assert "driver: cached memory, 2 vectors" in guest.dump(f"pci:{guest.doorbell}")
        guest.bind("uio_pci_generic")
    guest.do(guest.dump(f"pci:{guest.doorbell}"), r"no cached memory: .*use our driver \((.*?)\)")
    assert guest.driver() == "ivshmem"
    guest.bind("uio_pci_generic")
    guest.do(guest.dump(f"pci:{guest.doorbell}"), r"or vfio \((.*)\)")
    told = guest.dump(f"pci:{guest.doorbell}")
    assert "vfio: uncached memory, 2 vectors" in told
    guest.do(told, r"use our driver \((.*?)\)")
    assert guest.driver() == "ivshmem"
    guest.run("rmmod ivshmem")
    told = guest.refused("/dev/ivshmem0")
    assert "our driver holds no device: the driver uio_pci_generic holds the device: " in told
    guest.do(told, "holds the device: (.*)")
    guest.dump("/dev/ivshmem0")


def held_by_none(guest):
    """Our driver is loaded, but the device has been unbound, or is reserved for another driver."""
    guest.bind("")
    told = guest.dump(f"pci:{guest.doorbell}")
    assert "our driver is loaded, but does not hold the device (dmesg may say why): " in told
    guest.do(told, r"no wait: .* need our driver \((.*?)\)")
    assert guest.driver() == "ivshmem"
    guest.bind("")
    guest.run(f"echo foo >/sys/bus/pci/devices/{guest.doorbell}/driver_override")
    told = guest.dump(f"pci:{guest.doorbell}")
    assert "driver_override reserves the device for foo: " in told
    guest.do(told, r"no wait: .* need our driver \((.*?)\)")
    assert guest.driver() == "ivshmem"


def nodes(guest):
    """The device node is given as a region, does not exist, or cannot be opened by the user."""
    told = guest.refused("file:/dev/ivshmem0")
    assert "/dev/ivshmem0 is not a file, but a device of a guest's driver: the address of a peer " \
        'there is /dev/ivshmem0, without "file:"' in told
    guest.dump("/dev/ivshmem0")
    told = guest.refused("/dev/ivshmem7")
    assert re.search(r"there is no device /dev/ivshmem7; the devices are pci:.*: /dev/ivshmem0",
                     told)
    node = "/dev/" + guest.run(f"ls /sys/bus/pci/devices/{guest.doorbell}/ivshmem")
    guest.run(f"rm {node}")
    guest.do(guest.refused(node), r"although the driver has the device: (mknod .*)")
    guest.dump(node)
    guest.run(f"chown 0:0 {node}; chmod 0600 {node}")
    told = guest.refused(node, "user")
    assert f"no permission to open {node}: it belongs to root:root, mode 0600: as root, " in told
    assert "the udev rule packaging/udev/60-ivshmem.rules, which gives it to a group, is not " \
        "installed" in told
    guest.do(told, r"as root, (.*);")
    guest.run(f"su user -c 'ivshmem-client -a {node} -c dump'")
    guest.run("mkdir -p /etc/udev/rules.d; touch /etc/udev/rules.d/60-ivshmem.rules; "
              f"chgrp root {node}")
    assert "the udev rule 60-ivshmem.rules, which gives it to a group, has not been applied" \
        in guest.refused(node, "user")
    guest.run(f"chgrp ivshmem {node}")
    told = guest.refused(node, "user")
    assert ("it belongs to root:ivshmem, mode 0660, and user user is not in this group: usermod "
            "-aG ivshmem user (as root), then log in again") in told
    guest.run("sed -i 's/^ivshmem:.*/&user/' /etc/group")  # busybox has no usermod(8)
    guest.run(f"su user -c 'ivshmem-client -a {node} -c dump'")


def files_of_the_node(guest):
    """The process has no free fd; the driver permits no more open files; a different file has the
    name of the node."""
    told = guest.shell.ask("(ulimit -n 3; ivshmem-client -a /dev/ivshmem0 -c dump)")[1]
    assert "cannot open /dev/ivshmem0: out of file descriptors; raise the limit (ulimit -n)" in told
    guest.run("(ulimit -n 4096; i=0; while [ $i -lt 256 ]; do i=$((i + 1)); "
              "eval \"exec $((i + 9))<>/dev/ivshmem0\"; done; exec sleep 999) & echo $! >/tmp/pid; "
              "until [ $(cat /proc/$(cat /tmp/pid)/comm) = sleep ]; do sleep 0.05; done")
    told = guest.refused("/dev/ivshmem0")
    assert "cannot open /dev/ivshmem0: it is open 256 times, and the driver permits no more: end " \
        "a program that uses it (fuser /dev/ivshmem0)" in told
    # busybox has no fuser(1); find the program as fuser does.
    assert guest.run("ls -l /proc/[0-9]*/fd/10 2>/dev/null | grep -c ivshmem0") == "1"
    guest.run("kill $(cat /tmp/pid); while [ -e /proc/$(cat /tmp/pid)/fd/10 ]; do sleep 0.05; done")
    guest.dump("/dev/ivshmem0")
    guest.run("rmmod ivshmem; rm -f /dev/ivshmem0; echo text >/dev/ivshmem0")
    told = guest.refused("/dev/ivshmem0")
    assert "/dev/ivshmem0 is a regular file, not a device of the driver: rm /dev/ivshmem0" \
        in told
    guest.do(told, r"(rm \S+)")
    guest.run("modprobe ivshmem")
    guest.dump("/dev/ivshmem0")


def vfio(guest):
    """The user is not permitted to open vfio's group; the IOMMU's module is not loaded."""
    guest.bind("vfio-pci")
    group = "/dev/vfio/" + guest.run(
        f"basename $(readlink /sys/bus/pci/devices/{guest.doorbell}/iommu_group)")
    told = guest.refused(f"pci:{guest.doorbell}", "user")
    assert f"cannot open {group}: Permission denied: it belongs to root:root, mode 0600" in told
    guest.do(told, "as root, (.*)")
    guest.run(f"su user -c 'ivshmem-client -a pci:{guest.doorbell} -c dump'")
    guest.run("rmmod vfio_iommu_type1; cd /lib/modules/$(uname -r); "
              "cp /modules/kernel/vfio_iommu_type1.ko .; echo vfio_iommu_type1.ko: >>modules.dep")
    told = guest.refused(f"pci:{guest.doorbell}")
    assert "cannot use the IOMMU: " in told
    guest.do(told, "(modprobe vfio_iommu_type1)")
    guest.dump(f"pci:{guest.doorbell}")


def resources(guest):
    """Without a driver, the files of the BARs belong to root."""
    guest.bind("")
    for bar in 0, 2:
        told = guest.refused(f"pci:{guest.doorbell}", "user")
        path = f"/sys/bus/pci/devices/{guest.doorbell}/resource{bar}"
        assert f"cannot open {path}: Permission denied: it belongs to root:root, mode 0600" in told
        guest.do(told, "as root, (.*)")
    guest.run(f"su user -c 'ivshmem-client -a pci:{guest.doorbell} -c dump'")


def hot_plugged(guest):
    """BAR 2 has no address if the port of the device has no window that is large enough."""
    seen = [guest.plug_and_dump(f"port{number}") for number in range(2)]
    assert seen[0][0] == 1
    assert re.search(r"BAR 2 of the device at \S+ has no address: the port at 0000:00:\S+, behind "
                     r"which it was plugged in, has no window that is large enough: start QEMU "
                     r"with pcie-root-port,pref64-reserve=SIZE, SIZE at least that of the region",
                     seen[0][1])
    assert seen[1][0] == 0 and "region      8M" in seen[1][1]


def locked_down(guest):
    """The kernel is locked down, and does not map the BARs through sysfs."""
    guest.run("mount -t securityfs none /sys/kernel/security && "
              "echo integrity >/sys/kernel/security/lockdown")
    told = guest.refused(f"pci:{guest.doorbell}")
    assert "the kernel is locked down (Secure Boot) and does not map the device at" in told
    guest.do(told, "bind it to vfio-pci: (.*)")
    assert "vfio: uncached memory, 2 vectors" in guest.dump(f"pci:{guest.doorbell}")


STEPS = [choose, no_driver, held_by_uio, held_by_none, nodes, files_of_the_node, vfio, resources,
         hot_plugged, locked_down]


@pytest.mark.qemu_device("the advice concerns drivers and nodes, whichever device has them")
def test_advice(place, record_property):
    """Run all steps in one guest."""
    guest = Guest(place)
    for step in STEPS:
        step(guest)
        record_property("case", f"ok {' '.join(step.__doc__.split())}")


@pytest.mark.qemu_device("the advice concerns the kernel's command line")
def test_kernel_without_msi(place):
    """With pci=nomsi the device has no interrupts, and more processors would not help."""
    server = place.server("-n", "2")
    shell = device_guest.start(place, machine.doorbell(server.socket, 2), own=True,
                               append="pci=nomsi").insert()
    assert "no wait: the guest's kernel was started with the parameter pci=nomsi: remove it" \
        in shell.run("ivshmem-client -a pci: -c dump")
