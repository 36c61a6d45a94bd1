# SPDX-License-Identifier: BSD-3-Clause
"""The guest driver exports parts of the region as dma-bufs, which a test module imports as a GPU
driver would."""
from support.py import driver_guest
from support.py.driver_guest import PORT, Host

MIB = 1 << 20
GIB = 1 << 30
MODULES = ("ivshmem", "ivs_walk", "ivs_import")


def test_dmabuf(place, record_property):
    """Run the dma-buf tests on a doorbell device below 4 GiB and on a plain device above 4 GiB, in
    one guest."""
    host = Host()
    devices = PORT + host.doorbell(place, 2) + host.plain(place, 64 * MIB, bus="rp0")
    guest = driver_guest.start(place, """
kind=pages
grep -q 'zone   Device' /proc/zoneinfo || kind=none
driver-test dmabuf $kind
driver-test -d 1 dmabuf $kind
driver-test life modules 1
""", devices, modules=MODULES)
    driver_guest.finish(guest, record_property, host.answers())


def test_more_than_one_scatter_list_entry(place, record_property):
    """A region of 2 GiB needs several entries in a scatter list. A region of 1 MiB is too small for
    struct pages. The guest has too little memory for the struct pages of a region of 16 GiB."""
    host = Host()
    devices = host.plain(place, 2 * GIB, number=0) + host.plain(place, MIB, "small")
    devices += host.plain(place, 16 * GIB, "large", number=2)
    guest = driver_guest.start(place, """
kind=pages
grep -q 'zone   Device' /proc/zoneinfo || kind=none
driver-test dmabuf $kind
driver-test -d 1 dmabuf none
[ $kind = none ] || driver-test -d 2 worst poor
""", devices, modules=MODULES)
    driver_guest.finish(guest, record_property, host.answers())


def test_no_import_through_forced_bounce_buffers(place, record_property):
    """With swiotlb=force all DMA uses bounce buffers, which would never be synced with the region.
    """
    host = Host()
    guest = driver_guest.start(place, "driver-test dmabuf bounce",
                               host.plain(place, 4 * MIB, number=0), modules=MODULES,
                               append="swiotlb=force")
    driver_guest.finish(guest, record_property, host.answers())


def test_no_import_through_bounce_buffers_beside_an_iommu(place, record_property):
    """With iommu=pt a device with 32-bit DMA uses bounce buffers for memory above 4 GiB, because
    its IOMMU translates no addresses. The importing device is another ivshmem device."""
    host = Host()
    devices = PORT + host.plain(place, MIB, "small", number=0)
    devices += host.plain(place, 64 * MIB, bus="rp0")
    guest = driver_guest.start(place, """
bdf=$(basename $(readlink -f /sys/class/ivshmem/ivshmem0/device))
[ -d /sys/bus/pci/devices/$bdf/iommu_group ] || echo "not ok 0 - no IOMMU"
printf %s $bdf >/sys/module/ivs_import/parameters/pci_device
driver-test -d 1 dmabuf bounce
""", devices, modules=MODULES, iommu=True, append="iommu=pt")
    driver_guest.finish(guest, record_property, host.answers())


class Slot:
    """A slot with either two devices, at successive addresses, or one device at the addresses of
    both. Each device has its own memory backend, because QEMU 7.2 aborts when a backend is
    reused."""

    def __init__(self, host, place, sizes):
        self.guest = None
        self.objects = []
        for number, size in enumerate(sizes):
            for name, len_ in (("first", size), ("second", size), ("larger", 8)):
                self.objects += host.plain(place, len_ * MIB, f"{name}{number}")[:2]
        self._plugged = []
        self._round = -1

    def _replace(self, *names):
        qmp = self.guest.qmp()
        if self._plugged:
            qmp.unplug(self._plugged[0])
            for _ in self._plugged:
                qmp.wait_event("DEVICE_DELETED", 30)
        self._plugged = [f"{name}{self._round}" for name in names]
        # The guest notices the devices when function 0 is plugged in.
        for function, ident in reversed(list(enumerate(self._plugged))):
            qmp.command("device_add", driver="ivshmem-plain", bus="rp0", id=ident,
                        memdev=f"m-{ident}", addr=f"0.{function}", multifunction=True)

    def two(self):
        """Plug in the two devices of the next round."""
        self._round += 1
        self._replace("first", "second")

    def larger(self):
        """Replace the two devices with a larger one."""
        self._replace("larger")


def test_larger_device_over_a_dmabuf(place, record_property):
    """A device of 8 MiB is plugged in at the addresses of two unplugged ones, while a dma-buf of
    the second one is open. That dma-buf begins 2 or 4 MiB after the start of the new device."""
    sizes = (2, 4, 4)
    slot = Slot(Host(), place, sizes)
    slot.guest = driver_guest.start(place, f"driver-test dmabuf over {len(sizes)}",
                                    PORT + slot.objects, modules=MODULES,
                                    qmp=str(place.dir / "qmp"))
    driver_guest.finish(slot.guest, record_property, {"two": slot.two, "larger": slot.larger})
