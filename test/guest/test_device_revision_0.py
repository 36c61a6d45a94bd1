# SPDX-License-Identifier: BSD-3-Clause
"""Devices of revision 0, which QEMU has not had since 4.0, in a guest, first without and then with
the driver. Some have an interrupt pin, and some start before their server."""
import time

from support.py import device_guest
from support.py.device_guest import Device, HostRinger, Ringer, all_ring_all, pattern
from support.py.wire import RawClient, ring

MIB = 1 << 20
VECTORS = 2
MASK, STATUS, POSITION = 0, 4, 8
ONES = 0xffffffff
#: Indexes of the guest's devices.
ALONE, PIN, MSIX, NARROW, BARE = range(5)
PCI_STATUS = 6
PCI_STATUS_INTX = 8


class Registers:
    """Access to the BARs and the configuration space of one device, bypassing the driver."""

    def __init__(self, shell, at):
        self._shell = shell
        self._at = at

    def read(self, offset):
        """Read a register."""
        return self._shell.number(f"probe -d {self._at} read 0 {offset} 4")

    def write(self, offset, value):
        """Write a register."""
        self._shell.run(f"probe -d {self._at} write 0 {offset} 4 {value}")

    def memory(self, offset):
        """Read eight bytes of BAR 2."""
        return self._shell.number(f"probe -d {self._at} read 2 {offset} 8")

    def config(self, offset, length):
        """Read configuration space."""
        return self._shell.number(f"probe -d {self._at} config {offset} {length}")

    def await_status(self):
        """Read Status until it is not 0. Each read clears Status. Return: the value."""
        deadline = time.monotonic() + 20
        while not (found := self.read(STATUS)):
            assert time.monotonic() < deadline, "Status stays 0"
        return found

    def await_interrupt(self):
        """Wait until configuration space shows that the pin is raised."""
        deadline = time.monotonic() + 20
        while not self.config(PCI_STATUS, 2) & PCI_STATUS_INTX:
            assert time.monotonic() < deadline, "no interrupt"


def check_kinds(devices, case):
    """Check the identity of each device in configuration space."""
    for device in devices:
        assert device.config(0, 4) == 0x11101af4
        assert device.config(8, 1) == 0
    assert [device.config(0x3d, 1) for device in devices] == [1] * 5
    assert [device.config(0x34, 1) for device in devices] == [0, 0, 0x40, 0, 0]
    assert [device.config(0x18, 1) & 0xf for device in devices] == [0xc, 0xc, 0xc, 0x8, 0xc]
    case("revision 0: pin, capabilities, width of BAR 2")


def check_unattached(devices, case):
    """Until the server starts, IVPosition of two devices reads -1 and their memory reads all ones.
    Devices that use no server have id 0."""
    for at in (PIN, MSIX):
        assert devices[at].read(POSITION) == ONES
        assert devices[at].memory(0) == devices[at].memory(MIB - 8) == (1 << 64) - 1
        case(f"device {at}: without a server IVPosition is -1 and memory is all ones")
    for at in (ALONE, NARROW, BARE):
        assert devices[at].read(POSITION) == 0
        case(f"device {at}: IVPosition is 0")


def check_registers(pin, doorbells, case):
    """Check Mask and Status without a driver: a read of Status clears it, and Mask decides whether
    the pin is raised."""
    pin.write(MASK, 0)
    for vector, fd in enumerate(doorbells):
        ring(fd)
        assert pin.await_status() == 1
        assert pin.read(STATUS) == 0
        assert not pin.config(PCI_STATUS, 2) & PCI_STATUS_INTX
        case(f"vector {vector} is bit 0 of Status, which a read clears; "
             "there is no interrupt while it is masked")
    pin.write(MASK, 1)
    assert pin.read(MASK) == 1
    ring(doorbells[0])
    pin.await_interrupt()
    case("not masked: the pin is raised")
    pin.write(MASK, 0)
    assert not pin.config(PCI_STATUS, 2) & PCI_STATUS_INTX
    pin.write(MASK, ONES)
    assert pin.config(PCI_STATUS, 2) & PCI_STATUS_INTX
    case("Mask lowers the pin and raises it again")
    assert pin.read(STATUS) == 1
    assert not pin.config(PCI_STATUS, 2) & PCI_STATUS_INTX
    case("a read of Status lowers the pin")
    pin.write(STATUS, 0xf0)
    assert pin.config(PCI_STATUS, 2) & PCI_STATUS_INTX
    pin.write(STATUS, 0)
    assert not pin.config(PCI_STATUS, 2) & PCI_STATUS_INTX
    case("a guest raises and lowers the pin by writing Status")
    pin.write(MASK, 0)


def check_memory(place, shell, case):
    """Check the memory: two devices have the server's region, although it appeared after the VM had
    started; the others have the regions of their shm= options."""
    with open(place.shm_path, "r+b", buffering=0) as region:
        region.write(pattern(3, 0, 4096))
        for at in (PIN, MSIX):
            path = f"/sys/bus/pci/devices/{shell.run(f'probe -d {at} bdf')}/resource2"
            shell.run(f"probe check {path} 0 4096 3")
            shell.run(f"probe fill {path} {at * 4096} 4096 {at}")
            # Reading flushes the posted stores.
            shell.run(f"probe check {path} {at * 4096} 4096 {at}")
            region.seek(at * 4096)
            assert region.read(4096) == pattern(at, at * 4096, 4096)
            case(f"device {at}: memory that came later, both ways")
    for at, name in ((ALONE, "alone"), (NARROW, "narrow"), (BARE, "bare")):
        path = f"/sys/bus/pci/devices/{shell.run(f'probe -d {at} bdf')}/resource2"
        shell.run(f"probe fill {path} 0 {MIB} {at + 1}")
        with open(f"{place.shm_path}-{name}", "rb") as region:
            assert region.read() == pattern(at + 1, 0, MIB)
        case(f"device {at}: shm=NAME")


def test_revision_0(place, record_property):
    """All devices start before the server that two of them use. When it has started, registers,
    memory, interrupts and ids are checked (R-1, R-3)."""
    def case(what):
        record_property("case", f"ok {what}")

    server = place.dir / "late.socket"
    device = Device(place,
                    ["--legacy", f"size=1M,shm={place.shm}-alone"],
                    ["--legacy", f"size=1M,chardev={server},msi=off,vectors={VECTORS}"],
                    ["--legacy", f"size=1M,chardev={server},vectors={VECTORS}"],
                    ["--legacy", f"size=1M,shm={place.shm}-narrow,use64=0"],
                    ["--legacy", f"size=1M,shm={place.shm}-bare,msi=off"],
                    options=["--control", place.dir / "device.control"])
    shell = device_guest.start(place, device.all(), cpus=2)
    devices = [Registers(shell, at) for at in range(5)]
    check_kinds(devices, case)
    check_unattached(devices, case)

    place.server("-n", VECTORS, "-l", "1M", socket=server)
    for at in (PIN, MSIX):
        device.log.wait(f"{device.sockets[at]}: is peer")
    host = place.add(RawClient(str(server), VECTORS).greeting())
    host.read_until(lambda: len(host.peers) == 2 and all(
        len(fds) == VECTORS for fds in host.peers.values()), "both devices are known")
    ids = [devices[at].read(POSITION) for at in (PIN, MSIX)]
    assert sorted(ids) == [0, 1]
    case("the server has started: IVPosition is the id")
    check_registers(devices[PIN], host.peers[ids[0]], case)
    check_memory(place, shell, case)

    shell.insert()
    assert [shell.position(at) for at in range(5)] == [0, *ids, 0, 0]
    # The driver assigns one vector even to a device whose pin is never raised, because
    # configuration space does not show the difference.
    assert shell.run("cat /sys/class/ivshmem/*/vectors") == "1\n1\n2\n1\n1"
    assert shell.run("cat /sys/class/ivshmem/*/revision") == "0\n0\n0\n0\n0"
    case("the driver binds all devices, and has one vector for the pin")
    check_interrupts(shell, host, ids, case)
    assert devices[PIN].read(MASK) == 1
    shell.run("rmmod ivshmem")
    assert devices[PIN].read(MASK) == 0
    shell.check_log()
    shell.close()
    for at in range(5):
        device.log.wait(f"{device.sockets[at]}: the VMM has left")
    next_vm(place, device, host, ids, case)


def next_vm(place, device, host, ids, case):
    """Check a VM that starts after the server, and reset the VM. QEMU 11.1 maps the memory of the
    device with a pin until the pin's first interrupt. Until then no access causes a vfio-user
    message."""
    shell = device_guest.start(place, ["-action", "reboot=reset"] + device.all(),
                               qmp=str(place.dir / "qmp")).insert()
    before = device.status(PIN)["totals"]["memory_writes"]
    for at in (PIN, MSIX):
        assert device.status(at)["vmm"]["memory_mapped"]
        shell.run(f"probe fill /dev/ivshmem{at} 0 {MIB} {at}")
        assert place.shm_path.read_bytes() == pattern(at, 0, MIB)
    assert device.status(PIN)["totals"]["memory_writes"] == before
    case("the next VM has the memory mapped")
    for boot in ("the next VM", "after a reset"):
        for n in range(1, 4):
            ring(host.peers[ids[0]][n % VECTORS])
            shell.wait_counts([n], PIN)
        all_ring_all([Ringer(shell, MSIX), HostRinger(host)], VECTORS)
        shell.run(f"probe fill /dev/ivshmem{PIN} 4096 4096 9")
        shell.run(f"probe check /dev/ivshmem{MSIX} 4096 4096 9")
        assert [shell.position(at) for at in (PIN, MSIX)] == ids
        case(f"{boot}: interrupts, memory and ids")
        shell.check_log()
        if boot == "the next VM":
            shell.guest.qmp().command("system_reset")
            shell.await_ready().insert()


def check_interrupts(shell, host, ids, case):
    """Check interrupts with the driver. With a pin, a ring of any vector is counted for vector 0.
    MSI-X works as on revision 1."""
    for n in range(1, 11):
        ring(host.peers[ids[0]][n % VECTORS])
        shell.wait_counts([n], PIN)
    case("ten doorbells are ten interrupts of the pin")
    all_ring_all([Ringer(shell, MSIX), HostRinger(host)], VECTORS)
    case("with MSI-X, each vector works both ways")
    before = shell.counts(MSIX)
    shell.ring(ids[1], 1, PIN)
    shell.wait_counts([before[0], before[1] + 1], MSIX)
    shell.ring(ids[0], 1, MSIX)
    shell.wait_counts([11], PIN)
    case("the devices ring each other")
    shell.ring(ids[0], 0, PIN)
    shell.wait_counts([12], PIN)
    case("the device with the pin rings itself")
    shell.ring(host.id, 1, PIN)
    HostRinger(host).expect(1)
    case("the device with the pin rings the host")
