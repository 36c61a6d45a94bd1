# SPDX-License-Identifier: BSD-3-Clause
"""Test the guest driver with devices that QEMU no longer has, or does not have yet: a device of
revision 0 with an interrupt pin, and a device whose region has a name. Either a test module
emulates the device, with all possible faults, or ivshmem-device serves it."""
import pytest

from support.py import driver_guest, guest_device
from support.py.driver_guest import Host
from support.py.lingering import stopped

UUID = "10111213-1415-1617-1819-1a1b1c1d1e1f"

served = pytest.mark.served_device("there is no such device in QEMU")


@pytest.mark.qemu_device("the test needs neither device")
def test_module(place, record_property):
    """The driver receives a vector through a shared interrupt pin (R-1, R-3), and accepts only
    valid names (R-9)."""
    guest = driver_guest.start(place, "driver-test pin; rmmod ivs_legacy && rmmod ivshmem && "
                               "insmod /modules/ivshmem.ko", [],
                               modules=("ivshmem", "ivs_walk", "ivs_legacy"),
                               append="memmap=16M$0x8000000")
    driver_guest.finish(guest, record_property)


def shell_case(number, condition, name):
    """Return: shell commands that print a TAP line."""
    return f'{condition} && echo "ok {number} - {name}" || echo "not ok {number} - {name}"'


@served
def test_names(place, record_property):
    """The driver reports the name and UUID of a doorbell device, and the name of a plain device,
    which has the maximum length."""
    host = Host()
    socket = host.serve(place, 2)
    path = place.dir / "region"
    path.write_bytes(bytes(1 << 20))
    host.open_memory(place, path, 1)
    first = guest_device.Device(place, "first").serve("--server", socket, "--vectors", 2, "--name",
                                                      "gpu0.frames_1-Z", "--uuid", UUID)
    second = guest_device.Device(place, "second").serve("--region", f"file:{path}", "--name",
                                                        "x" * 63)
    guest = driver_guest.start(place, f"""
driver-test device low 2 4194304 1 name=gpu0.frames_1-Z uuid={UUID}
driver-test -d 1 device low 0 1048576 0 name={"x" * 63}
""", first.arguments + second.arguments)
    driver_guest.finish(guest, record_property, host.answers())


@served
@pytest.mark.parametrize("msi", ["on", "off"])
def test_revision_0(place, record_property, msi):
    """The driver works with a device of revision 0 that has MSI-X or a pin, even after the driver
    has been unbound and rebound. The suite "device" runs twice, because QEMU no longer maps
    BAR 2 once INTx has been raised."""
    host = Host()
    vectors = 2 if msi == "on" else 1
    socket = host.serve(place, vectors)
    device = guest_device.Device(place, "legacy").serve(
        "--legacy", f"chardev={socket},msi={msi},vectors={vectors}")
    look = f"driver-test device low {vectors} 4194304 1 revision=0" + (" pin" if msi == "off"
                                                                       else "")
    guest = driver_guest.start(place, f"""
{look}
driver-test events 0
{look}
driver-test life unbind 4
driver-test events 0
""", device.arguments, cpus=2)
    driver_guest.finish(guest, record_property, host.answers())


@served
def test_revision_0_before_its_server(place, record_property):
    """Until its server starts, a device of revision 0 has the id -1. Afterwards the driver reports
    the id that the server has assigned, and doorbells work."""
    def serve():
        with stopped(device.program):  # the device must be the second client
            host.serve(place, 1, ident="late")

    host = Host()
    device = guest_device.Device(place, "legacy").serve(
        "--legacy", f"chardev={place.dir / 'late'},msi=off")
    position = "$(cat /sys/class/ivshmem/ivshmem0/position)"
    guest = driver_guest.start(place, f"""
{shell_case(1, f'[ "{position}" = -1 ]', "no position")}
echo "ask serve"; read -r answer
until [ "{position}" = 1 ]; do sleep 0.1; done
{shell_case(2, f'[ "{position}" = 1 ]', "a position")}
echo 1..2
driver-test events 0
driver-test life unbind 2
""", device.arguments)
    driver_guest.finish(guest, record_property, {**host.answers(), "serve": serve})
