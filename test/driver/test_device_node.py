# SPDX-License-Identifier: BSD-3-Clause
"""Test the guest driver (kernel/) in QEMU, without the library: devices, mmap, ioctl, doorbells,
users. The device is QEMU's or ivshmem-device's (support/py/guest_device.py)."""
import re

import pytest

from support.py import driver_guest
from support.py.driver_guest import PORT, Host

MIB = 1 << 20
GIB = 1 << 30


def test_devices(place, record_property):
    """All operations work in a guest with two doorbell devices and a plain device, all below 4
    GiB."""
    host = Host()
    second = Host()
    devices = host.doorbell(place, 2) + host.plain(place, MIB)
    devices += second.doorbell(place, 1, "1M", "other", number=2)
    host.memories.update(second.memories)
    guest = driver_guest.start(place, """
driver-test device low 2 4194304 1
driver-test -d 1 device low 0 1048576 0
driver-test -d 2 device low 1 1048576 1
driver-test mapping
driver-test -d 1 mapping
driver-test events 0
driver-test path
driver-test -d 1 path
driver-test mapgrid
driver-test -d 1 mapgrid
driver-test user 2001
driver-test grid
driver-test -d 1 grid
""", devices)
    assert driver_guest.finish(guest, record_property, host.answers()) > 2000


@pytest.mark.qemu_device("what a shell reads comes from the driver")
def test_shell_reads_doorbells(place, record_property):
    """A shell reads doorbells from the device node, one byte per read(2)."""
    host = Host()
    guest = driver_guest.start(place, """
exec 3</dev/ivshmem0
n=0
echo "ask ring 1"; read -r answer
while read -r vector count <&3; do
	n=$((n + 1))
	echo "ok $n - vector $vector count $count"
	[ $n -lt 3 ] || break
	echo "ask ring $((n % 2))"; read -r answer <&0
done
echo 1..3
""", host.doorbell(place, 2))
    said = []
    driver_guest.finish(guest, lambda _, value: said.append(value), host.answers())
    assert said == ["ok vector 1 count 1", "ok vector 1 count 2", "ok vector 0 count 1"]


@pytest.mark.driver_alone("the driver maps BAR 2 by its address, whichever device has it")
def test_above_4_gib(place, record_property):
    """The driver works with BAR 2 above 4 GiB, behind a bridge with enough room, and with 64
    vectors."""
    host = Host()
    guest = driver_guest.start(place, """
driver-test device high 64 67108864 1
driver-test events 0
driver-test mapping
""", PORT + host.doorbell(place, 64, "64M", bus="rp0"))
    driver_guest.finish(guest, record_property, host.answers())


@pytest.mark.driver_alone("the driver maps BAR 2 by its size, whichever device has it")
def test_two_gib(place, record_property):
    """The driver works with a region of 2 GiB that is a sparse file. If another driver has claimed
    a part of BAR 2 or BAR 0, the log names that part and that driver."""
    host = Host()
    guest = driver_guest.start(place, """
driver-test device high 0 2147483648 0
driver-test mapping
driver-test mapgrid
bdf=$(basename $(readlink -f /sys/class/ivshmem/ivshmem0/device))
echo $bdf >/sys/bus/pci/drivers/ivshmem/unbind
for bar in 2 0; do
	at=$(sed -n "$((bar + 1))s/ .*//p" /sys/bus/pci/devices/$bdf/resource)
	insmod /modules/ivs_claim.ko at=$at
	echo "bar $bar: $at"
	echo $bdf >/sys/bus/pci/drivers/ivshmem/bind
	dmesg | grep ivshmem | tail -n 3
	rmmod ivs_claim
done
echo $bdf >/sys/bus/pci/drivers/ivshmem/bind && [ -c /dev/ivshmem0 ] || echo "not ok 0 - bind"
""", host.plain(place, 2 * GIB, number=0))
    driver_guest.finish(guest, record_property, host.answers())
    bars = re.findall(r"^bar (\d): 0x0*(\w+)", guest.text(), re.MULTILINE)
    assert [number for number, _ in bars] == ["2", "0"]
    for number, at in bars:
        assert re.search(rf"conflicts with ivs-claim \[mem 0x0*{at}-", guest.text())
        assert f"BAR {number} is in use: unbind or remove the driver" in guest.text()


def test_many_vectors(place, record_property):
    """The driver uses as many vectors as the guest has interrupts for. If the device has more
    vectors, the driver logs how many it uses. Files with eventfds for all of them take little
    memory."""
    host = Host()
    guest = driver_guest.start(place, """
n=$(cat /sys/class/ivshmem/ivshmem0/vectors)
driver-test device low $n 4194304 1
driver-test events 0
driver-test worst limits
dmesg | grep vectors
""", host.doorbell(place, 256), cpus=2)
    driver_guest.finish(guest, record_property, host.answers())
    found = re.search(r"4096 KiB, (\d+) vectors", guest.text())
    assert int(found[1]) >= 200, found[0]
    assert found[1] == "256" or f"{found[1]} of 256 vectors" in guest.text()
