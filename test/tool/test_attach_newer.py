# SPDX-License-Identifier: BSD-3-Clause
"""`ivshmem attach` and `ivshmem detach` with a newer QEMU, which has the devices of ivshmem-device
(--device), and which, without KVM, keeps polling the doorbells of an unplugged device."""
import pytest

from support.py.attach import PORTS, VECTORS, Vm, make_region, start_server
from support.py.device_guest import Device, HostRinger, Ringer, all_ring_all
from support.py.wire import RawClient


@pytest.fixture(name="vm")
def vm_fixture(place):
    """A guest with the driver, and ports."""
    return Vm(place, *PORTS).boot()


def test_own_devices(place, vm, record_property):
    """QEMU's own devices are plugged in and unplugged. A doorbell device that another peer can ring
    stays, because a doorbell would kill this QEMU even after the unplug."""
    make_region(place)
    for cycle in range(2):
        told = vm.json("attach", "--region", place.shm)
        assert told["enabled"] and told["qemu"]["pid"] == vm.pid
        vm.await_node()
        vm.run("detach", told["id"])
        vm.check_nothing_left()
        record_property("case", f"ok plain, cycle {cycle}")
    server, control = start_server(place)
    for cycle in range(2):
        vm.json("attach", "--server", server.socket)
        vm.await_node()
        done = vm.json("detach", "ivshmem0", "--control", control)
        assert done["placeholders"] == 0
        vm.check_nothing_left()
        record_property("case", f"ok doorbell, cycle {cycle}")
    vm.json("attach", "--server", server.socket)
    vm.await_node()
    host = place.add(RawClient(server.socket, VECTORS).greeting())
    all_ring_all([Ringer(vm.shell), HostRinger(host)], VECTORS)
    reason = vm.refused("detach", "ivshmem0", "--control", control, "--no-rings")
    assert "dies if a peer rings ivshmem0 at any time after it was unplugged" in reason
    all_ring_all([Ringer(vm.shell), HostRinger(host)], VECTORS)
    vm.shell.check_log()
    record_property("case", "ok a doorbell device with other peers stays")


def test_devices_of_another_program(place, vm, record_property):
    """A plain device of ivshmem-device is plugged in and unplugged. One with doorbells stays."""
    plain = Device(place, ["--region", f"shm:{place.shm}-plain", "--size", "1M"], name="plain")
    for cycle in range(2):
        assert vm.json("attach", "--device", plain.sockets[0])["enabled"]
        vm.await_node()
        vm.run("detach", "ivshmem0")
        plain.log.wait("the VMM has left", times=cycle + 1)
        vm.check_nothing_left()
        record_property("case", f"ok plain, cycle {cycle}")
    server, _ = start_server(place)
    bell = Device(place, ["--server", server.socket, "--vectors", VECTORS], name="bell")
    assert vm.json("attach", "--device", bell.sockets[0])["enabled"]
    vm.await_node()
    assert "QEMU aborts when a vfio-user device with doorbells" in vm.refused("detach", "ivshmem0")
    assert vm.shell.position() >= 0
    vm.shell.check_log()
    record_property("case", "ok a device with doorbells stays")
