# SPDX-License-Identifier: BSD-3-Clause
"""The conformance suite (test/library/conform/) in guests, over every way in that a guest has; at its end the
device is taken away. With QEMU's device, or that of ivshmem-device (support/py/guest_device.py)."""
import pytest

from guestkit import driver, initramfs, kernel, machine
from guestkit.proc import KitError
from support.py import conform, guest_device
from support.py.driver_guest import COMPLAINTS
from support.py.paths import BUILD
from support.py.programs import Place

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
#: Runs the suite, and has the kernel take the device away. Not waited for: with vfio-pci that lasts until
#: the suite has let go of it.
REMOVE = f"""
take_away() {{
	while IFS= read -r line; do
		echo "$line"
		[ "$line" = "{conform.TAKE_AWAY}" ] || continue
		for device in /sys/bus/pci/devices/*; do
			[ "$(cat "$device/device")" != 0x1110 ] || echo 1 >"$device/remove" &
		done
	done
}}
{{ %s; echo $? >/tmp/status; }} | take_away
(exit "$(cat /tmp/status)")"""


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
        device = guest_device.Device(place, ID, bus="slot1")
        self.devices = PORT + (device.plain(place.shm_path, conform.SIZE) if plain else
                               device.doorbell(server.socket, conform.VECTORS)).arguments
        #: No QEMU survives for sure that a device with doorbells is unplugged: 7.2 frees the table of a
        #: peer that has left once more, and leaves handlers of fds behind; 11.1 aborts when it was a
        #: vfio-user device with MSI-X. So the guest's kernel takes it away, which is the same to all in
        #: the guest.
        self.removed_inside = not plain

    def run(self, way, address="pci:", module=False, **options):
        """All cases, in a guest of its own."""
        words = ["conform", "--way", way, "--vectors", conform.VECTORS, "--size", conform.SIZE,
                 *self.arguments, address]
        return conform.Report(*self._boot(way, " ".join(map(str, words)), module, options))

    def _boot(self, name, command, module, options):
        """Run a command in a guest; the device goes when it asks for that."""
        guest_kernel = kernel.find()
        image = self.place.dir / "guest.img"
        before = "insmod /modules/ivshmem.ko && " if module else ""
        command = before + command
        initramfs.build(image, guest_kernel,
                        (REMOVE % command if self.removed_inside else command) + AFTER,
                        programs=[(BUILD / "test/conform-static", "conform")],
                        modules=initramfs.VFIO if options.get("iommu") else (),
                        extra_modules=[driver.module(guest_kernel)] if module else [])
        # With one processor TCG does not make atomic operations atomic for anybody else.
        with machine.Guest(name, guest_kernel, image, f"{image}.log", devices=self.devices, cpus=2,
                           qmp=str(self.place.dir / "qmp"), qemu=guest_device.QEMU, **options) as guest:
            try:
                status = self._follow(guest)
            except KitError as error:  # what it has said until then counts
                return f"{guest.text()}\n{error}\n", None
            return guest.text(), status

    def _follow(self, guest):
        ended = r"^guest: exit (\d+)"
        if guest.wait_for(rf"^{conform.TAKE_AWAY}|{ended}", BOOT).group(1) is None:
            if not self.removed_inside:
                guest.qmp().unplug(ID)
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
#: With the device of ivshmem-device: each way in, with doorbells and without, and twice with the roster,
#: which is bytes in the region to any device.
SERVED_WAYS = ("sysfs-doorbell", "sysfs-plain", "vfio-doorbell", "vfio-plain-roster",
               "driver-doorbell-roster", "driver-plain")


@pytest.fixture(scope="module", params=SERVED_WAYS if guest_device.SERVED else WAYS)
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
