# SPDX-License-Identifier: BSD-3-Clause
"""The conformance suite (test/conform/) in guests, over every way in that a guest has; at its end the
device is unplugged."""
import pytest

from conftest import BUILD
from guestkit import driver, initramfs, kernel, machine
from guestkit.proc import KitError
from support import conform
from support.driver_guest import COMPLAINTS
from support.programs import Place

CASES = conform.cases(BUILD)
BOOT = 120
#: Devices can be unplugged from a port of their own, not from the root bus.
PORT = ["-device", "pcie-root-port,id=slot1,chassis=1,slot=1"]
ID = "device"
#: The status is the program's, unless the kernel has complained since it runs us.
AFTER = f"""
status=$?
dmesg | sed '1,/Run .init as init process/d' | grep -E '{"|".join(COMPLAINTS)}' && exit 99
exit $status"""


class InGuest:
    """A run in a guest, with the region and the partner on the host."""

    def __init__(self, place, plain=False, roster=False):
        self.place = place
        self.arguments = ["--plain"] * plain + ["--roster"] * roster
        if plain and not roster:
            conform.make_file(place.shm_path)
            partner = f"shm:{place.shm}"
        else:
            server = place.server("-n", str(conform.VECTORS), "-l", str(conform.SIZE),
                                  *["--roster"] * roster)
            partner = f"unix:{server.socket}"
        self.partner = conform.start_partner(place, partner)
        self.devices = PORT + (
            machine.plain(place.shm_path, conform.SIZE, ID, bus="slot1") if plain
            else machine.doorbell(server.socket, conform.VECTORS, ID, bus="slot1"))

    def run(self, way, address="pci:", module=False, **options):
        """QEMU 7.2 does not survive that an ivshmem-doorbell is unplugged after a peer has left: it
        frees that peer's table once more. So this is in a guest of its own, where nobody has."""
        parts = [[]] if "--plain" in self.arguments else [["--but", "gone"], ["--only", "gone"]]
        text, statuses = "", []
        for part in parts:
            words = ["conform", "--way", way, "--vectors", conform.VECTORS,
                     "--size", conform.SIZE, *self.arguments, *part, address]
            said, status = self._boot(way, " ".join(map(str, words)), module, options)
            text += said
            statuses.append(status)
            if status is None:
                return conform.Report(text, None)
        return conform.Report(text, max(statuses))

    def _boot(self, name, command, module, options):
        """Run a command in a guest, unplug the device if it asks for that."""
        guest_kernel = kernel.find()
        image = self.place.dir / "guest.img"
        before = "insmod /modules/ivshmem.ko && " if module else ""
        initramfs.build(image, guest_kernel, f"{before}{command}{AFTER}",
                        programs=[(BUILD / "test/conform-static", "conform")],
                        modules=initramfs.VFIO if options.get("iommu") else (),
                        extra_modules=[driver.module(guest_kernel)] if module else [])
        # With one processor TCG does not make atomic operations atomic for anybody else.
        with machine.Guest(name, guest_kernel, image, f"{image}.log", devices=self.devices, cpus=2,
                           qmp=str(self.place.dir / "qmp"), **options) as guest:
            try:
                status = self._follow(guest)
            except KitError as error:  # what it has said until then counts
                return f"{guest.text()}\n{error}\n", None
            return guest.text(), status

    def _follow(self, guest):
        ended = r"^guest: exit (\d+)"
        if guest.wait_for(rf"^{conform.TAKE_AWAY}|{ended}", BOOT).group(1) is None:
            guest.qmp().command("device_del", id=ID)
            conform.tell(self.partner)
        return int(guest.wait_for(ended, BOOT).group(1))


def sysfs(place, **region):
    """No driver at all."""
    return InGuest(place, **region).run("sysfs")


def vfio(place, **region):
    """vfio-pci, with a virtual IOMMU."""
    return InGuest(place, **region).run("vfio", iommu=True, bind="vfio-pci")


def ours(place, address="pci:", **region):
    """The driver in kernel/."""
    return InGuest(place, **region).run("driver", address, module=True)


WAYS = {
    "sysfs-doorbell": sysfs,
    "sysfs-doorbell-roster": lambda place: sysfs(place, roster=True),
    "sysfs-plain": lambda place: sysfs(place, plain=True),
    "vfio-doorbell": vfio,
    "vfio-doorbell-roster": lambda place: vfio(place, roster=True),
    "vfio-plain": lambda place: vfio(place, plain=True),
    "vfio-plain-roster": lambda place: vfio(place, plain=True, roster=True),
    "driver-doorbell": ours,
    "driver-doorbell-roster": lambda place: ours(place, roster=True),
    "driver-doorbell-node": lambda place: ours(place, "/dev/ivshmem0"),
    "driver-plain": lambda place: ours(place, plain=True),
}


@pytest.fixture(scope="module", params=WAYS)
def report(request):
    """One run over one way in."""
    place = Place(BUILD)
    try:
        made = WAYS[request.param](place)
    finally:
        place.close()
    yield made


def test_there_are_enough_cases():
    """A program that lists nothing tests nothing."""
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES)
def test_case(report, case):
    """What the program said of this case."""
    report.check(case, CASES)


def test_the_end(report):
    """It ran to its end."""
    report.check_end(CASES)
