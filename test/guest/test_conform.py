# SPDX-License-Identifier: BSD-3-Clause
"""Run the conformance suite (test/library/conform/) in guests over every transport. At the end of
the suite the device is removed. The device is QEMU's or ivshmem-device's
(support/py/guest_device.py)."""
import re

import pytest

from guestkit import driver, initramfs, kernel, machine
from guestkit.proc import KitError
from support.py import conform, guest_device
from support.py.driver_guest import COMPLAINTS
from support.py.paths import BUILD
from support.py.programs import Place

CASES = conform.cases(BUILD)
#: seconds; a guest takes 10 s on an idle machine. A case that blocks ends after 60 s (CASE_S).
SUITE = 240
#: Only devices in a port can be unplugged, not those on the root bus.
PORT = ["-device", "pcie-root-port,id=slot1,chassis=1,slot=1"]
ID = "device"
#: Exit with the status of the program, or with 99 if the kernel has logged a problem.
AFTER = f"""
status=$?
dmesg | sed '1,/Run .init as init process/d' | grep -E '{"|".join(COMPLAINTS)}' && exit 99
exit $status"""
# Run the suite, and have the kernel remove the device when the suite requests it. Do not wait for
# the removal, because with vfio-pci it does not complete until the suite has closed the device.
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
    """Runs the suite in a guest. The region and the suite's partner are on the host."""

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
        # Without KVM, QEMU may crash after a device with doorbells was unplugged: QEMU 7.2 does not
        # remove handlers for fds, and QEMU 11.1 aborts for a vfio-user device with MSI-X. So the
        # guest's kernel removes the device, which looks the same to programs.
        self.removed_inside = not plain

    def run(self, transport, address="pci:", module=False, **options):
        """Run all cases in a new guest."""
        words = ["conform", "--transport", transport, "--vectors", conform.VECTORS,
                 "--size", conform.SIZE, *self.arguments, address]
        return conform.Report(*self._boot(transport, " ".join(map(str, words)), module, options))

    def _boot(self, name, command, module, options):
        """Run a command in a guest, and remove the device when the command requests it."""
        guest_kernel = kernel.find()
        image = self.place.dir / "guest.img"
        before = "insmod /modules/ivshmem.ko && " if module else ""
        command = before + command
        initramfs.build(image, guest_kernel,
                        (REMOVE % command if self.removed_inside else command) + AFTER,
                        programs=[(BUILD / "test/conform-static", "conform")],
                        modules=initramfs.VFIO if options.get("iommu") else (),
                        extra_modules=[driver.module(guest_kernel)] if module else [])
        # With one processor, TCG's atomic operations are not atomic for processes on the host.
        with machine.Guest(name, guest_kernel, image, f"{image}.log", devices=self.devices,
                           cpus=2, qmp=str(self.place.dir / "qmp"), qemu=guest_device.QEMU,
                           **options) as guest:
            try:
                status = self._follow(guest)
            except KitError as error:  # evaluate the output so far
                return f"{guest.text()}\n{processors(guest)}\n{error}\n", None
            return guest.text(), status

    def _follow(self, guest):
        ended = r"^guest: exit (\d+)"
        if guest.wait_for(rf"^{conform.TAKE_AWAY}|{ended}", SUITE).group(1) is None:
            if not self.removed_inside:
                guest.qmp().unplug(ID)
            conform.tell(self.partner)
        return int(guest.wait_for(ended, SUITE).group(1))


def processors(guest):
    """Return: where the guest's processors are, and their pending interrupts."""
    try:
        said = [guest.qmp().command("human-monitor-command", **{"command-line": command})
                for command in ("info registers -a", "info lapic 0", "info lapic 1")]
    except (KitError, OSError) as error:
        return f"the state of the processors is unknown: {error}"
    return "\n".join(line for line in "".join(said).splitlines()
                     if re.search("CPU#|RIP=|ISR|IRR", line))


def sysfs(place, **region):
    """Run the suite over sysfs, without a driver."""
    return InGuest(place, **region).run("sysfs")


def vfio(place, **region):
    """Run the suite over vfio-pci, with a virtual IOMMU."""
    return InGuest(place, **region).run("vfio", iommu=True, bind="vfio-pci")


def ours(place, address="pci:", **region):
    """Run the suite over the driver in kernel/."""
    return InGuest(place, **region).run("driver", address, module=True)


TRANSPORTS = {
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
#: Transports that only check-slow runs. Each of their parts (driver, doorbells, roster page) is in
#: another one, too.
MORE_TRANSPORTS = ("sysfs-doorbell", "vfio-doorbell-roster", "vfio-plain", "driver-doorbell")
#: The transports that are tested with ivshmem-device's device: each with and without doorbells,
#: and two of them with the roster page, which that device treats as any other memory.
SERVED_TRANSPORTS = ("sysfs-plain", "vfio-doorbell", "driver-doorbell-roster")
MORE_SERVED_TRANSPORTS = ("sysfs-doorbell", "vfio-plain-roster", "driver-plain")


def transports():
    """Return: the transports to run."""
    if guest_device.SERVED:
        return SERVED_TRANSPORTS + (MORE_SERVED_TRANSPORTS if guest_device.ALL else ())
    return [name for name in TRANSPORTS if guest_device.ALL or name not in MORE_TRANSPORTS]


def attempt(transport):
    """Run the suite over a transport. Return: the report."""
    place = Place(BUILD)
    try:
        return TRANSPORTS[transport](place)
    finally:
        place.close()


#: What the guest's kernel reports if one of its processors no longer receives timer interrupts
LOST_TIMER = "rcu: \tPossible timer handling issue on cpu"


def is_stuck(made):
    """Return: whether the suite did not end, or ended because the guest's kernel was stuck."""
    return made.status is None or LOST_TIMER in made.text


@pytest.fixture(scope="module", params=transports())
def report(request):
    """Run the suite over a transport. If it does not end, run it once more: very occasionally, a
    guest under QEMU 7.2's emulation stops receiving interrupts, and does not recover when the
    device is closed and opened again (see _ONE_AFTER_THE_OTHER in machine.py). Return: the report.
    """
    made = attempt(request.param)
    if is_stuck(made):
        unfinished, made = made, attempt(request.param)
        made.unfinished = unfinished.text[-1500:]
    yield made


def test_there_are_enough_cases():
    """The suite's program lists at least 60 cases."""
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES)
def test_case(report, case):
    """The suite's program has passed this case."""
    report.check(case, CASES)


def test_the_end(report):
    """The suite's program has run to its end, at the first attempt."""
    report.check_end(CASES)
    if report.unfinished:
        pytest.skip("the suite did not end at the first attempt: " +
                    " / ".join(report.unfinished.splitlines()[-25:]))
