# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem doctor --guest: the rules about a guest, each proven by a fault, and by its cure.

All faults are made in three guests, which boot at the same time. A guest has all devices that the
tests need. Each test removes the others from the bus, as if the VM did not have them. A cure
on the host replaces the device by one that the host has configured as the advice says.
"""
import pytest

from guestkit import initramfs, machine
from support.py import device_guest
from support.py.advice import command_in
from support.py.doctor import Report, proves
from support.py.paths import BUILD
from support.py.programs import Place

MIB = 1 << 20
PCI = "/sys/bus/pci/devices"
#: DKMS builds the module for the running kernel, and installs it.
DKMS = """#!/bin/sh
[ "$*" = autoinstall ] && d=/lib/modules/$(uname -r)/updates/dkms && mkdir -p $d &&
cp /modules/ivshmem.ko $d && depmod -a
"""
#: Files of the guests
FILES = {"bin/dkms": DKMS.encode(),
         "etc/passwd": b"root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n",
         "etc/group": b"root:x:0:\nuser:x:1000:\nivshmem:x:990:\n"}

#: Slot of each device, by its role in the first guest
SLOTS = {"good": 0x10, "no-roster": 0x11, "few-vectors": 0x12, "many-vectors": 0x13,
         "plain": 0x14, "twin": 0x15, "named": 0x16, "old": 0x17}
#: Slots of the ports into which devices are plugged. The first one has no window for them.
PORTS = {"narrow": 0x18, "wide": 0x19, "spare": 0x1a}


def bdf_of(role):
    """Return: the PCI address of a device."""
    return f"0000:00:{SLOTS[role]:02x}.0"


class Guest:
    """A guest in which the doctor runs."""

    def __init__(self, place, devices, **options):
        files = {**FILES, "bin/ivshmem": (place.build / "tools/ivshmem-static").read_bytes()}
        self.shell = device_guest.launch(
            place, devices, image={"modules": [*initramfs.VFIO, "uio_pci_generic"],
                                   "files": files}, **options)
        self.run = self.shell.run

    def await_ready(self):
        """Wait until the guest has booted, and install our driver."""
        self.shell.await_ready()
        self.install()

    def install(self):
        """Install our driver as packages do."""
        self.run("d=/lib/modules/$(uname -r)/updates/dkms; mkdir -p $d; "
                 "cp /modules/ivshmem.ko $d; depmod -a")

    def keep(self, *roles):
        """Let the guest have only these devices, and let our driver bind them."""
        kept = "|".join(bdf_of(role) for role in roles) or "none"
        self.run("echo 1 > /sys/bus/pci/rescan; modprobe ivshmem; "
                 f"for d in $(grep -l 0x1110 {PCI}/*/device); do d=${{d%/*}}; case ${{d##*/}} in "
                 f"{kept}) ;; *) echo 1 > $d/remove;; esac; done")

    def examine(self, user=None):
        """Run the doctor. Return: the Report."""
        command = "ivshmem doctor --guest --json 2>/dev/null"
        status, text = self.shell.ask(f"su {user} -c '{command}'" if user else command)
        return Report(text, status)

    def prove(self, rule, cure=None, user=None):
        """Examine, mend and examine again. @cure mends the fault if that takes more than a command;
        it gets the finding. Return: the finding."""
        finding = self.examine(user).one(rule)
        assert finding["command"] or finding["advice"]
        if cure:
            cure(finding)
        else:
            assert finding["command"], finding
            self.run(finding["command"])
        after = self.examine(user)
        assert not after.findings, (finding, after.findings)
        return finding

    def prove_by(self, rule, wrong, right):
        """Prove a rule that a cure on the host mends: the device @right is what the host has
        instead of the device @wrong after the cure."""
        self.keep(wrong)
        return self.prove(rule, lambda _finding: self.keep(right))


def at_slot(role, words):
    """Return: QEMU's arguments for a device, with a slot for its role."""
    return [*words[:-1], f"{words[-1]},addr={SLOTS[role]:#x}"]


def first_devices(place):
    """Start servers. Return: QEMU's arguments for the devices of SLOTS, and for ports."""
    with_page, without = place.dir / "with", place.dir / "without"
    place.server("-n", "2", "--roster", socket=with_page, region=["-r", "memfd:"])
    place.server("-n", "2", socket=without, region=["-r", "memfd:"])
    served = device_guest.Device(
        place, ["--region", f"shm:{place.shm}-named", "--size", "1M", "--name", "frames"],
        ["--legacy", f"chardev={with_page},vectors=2"])
    words = []
    for role, socket, vectors in [("good", with_page, 2), ("no-roster", without, 2),
                                  ("few-vectors", with_page, 1), ("many-vectors", with_page, 3)]:
        words += at_slot(role, machine.doorbell(socket, vectors, role))
    for role in "plain", "twin":
        (place.dir / role).write_bytes(bytes(MIB))
        words += at_slot(role, machine.plain(place.dir / role, "1M", role))
    for at, role in enumerate(["named", "old"]):
        option, text = served.vmm(at, role)
        words += [option, text.replace("{", f'{{"addr": "{SLOTS[role]:#x}", ', 1)]
    for number, (port, slot) in enumerate(PORTS.items(), 1):
        reserve = "" if port == "narrow" else ",pref64-reserve=64M"
        words += ["-device", f"pcie-root-port,id={port},chassis={number},slot={number},"
                             f"addr={slot:#x}{reserve}"]
    return words


@pytest.fixture(scope="module", name="guests")
def boot_guests():
    """The guests: one with all devices, one whose kernel has no MSI, and one with an IOMMU."""
    place = Place(BUILD)
    try:
        devices = first_devices(place)
        socket = place.dir / "with"
        guests = [
            Guest(place, devices, append="", qmp=str(place.dir / "qmp")),
            Guest(place, at_slot("good", machine.doorbell(socket, 2)), append="pci=nomsi"),
            Guest(place, at_slot("good", machine.doorbell(socket, 2)), append="", iommu=True)]
        for guest in guests:
            guest.await_ready()
        yield guests
    finally:
        place.close()


@pytest.fixture(name="guest")
def first_guest(guests):
    """The guest with all devices; only the device "good" is left."""
    guests[0].keep("good")
    return guests[0]


@pytest.fixture(name="guest_with_iommu")
def last_guest(guests):
    """The guest with an IOMMU."""
    guests[2].keep("good")
    return guests[2]


def test_healthy(guest):
    """A device with our driver and a server that has a roster page has no faults, also according to
    a user, and to a doctor that examines everything."""
    for user in None, "user":
        guest.run("chmod 0666 /dev/ivshmem0")
        report = guest.examine(user)
        assert not report.findings
        assert report.whole["examined"]["devices"] == 1
    status, text = guest.shell.ask("ivshmem doctor 2>/dev/null")
    assert status == 0 and ", 1 device)" in text, text


@proves("guest-no-device")
def test_no_device(guest):
    """A device is plugged in."""
    def plug(finding):
        assert "ivshmem attach" in finding["advice"]
        plug_in(guest, "spare", "plugged")

    guest.keep()
    guest.prove("guest-no-device", plug)
    assert guest.shell.ask("ivshmem doctor 2>/dev/null")[0] == 0


def plug_in(guest, port, ident):
    """Plug a plain device of 8 MiB into a port, and wait until the kernel has assigned addresses
    and, if there is room for the device, our driver has bound it."""
    qmp = guest.shell.guest.qmp()
    qmp.command("object-add", **{"qom-type": "memory-backend-ram", "id": f"m-{ident}",
                                 "size": 8 * MIB, "share": True})
    qmp.command("device_add", driver="ivshmem-plain", id=ident, memdev=f"m-{ident}", bus=port)
    awaited = "resource0" if port == "narrow" else "ivshmem"
    guest.run(f"until [ -e {PCI}/0000:00:{PORTS[port]:02x}.0/0000:*/{awaited} ]; do sleep 0.05; "
              "done")


@proves("guest-no-address")
def test_no_address(guest):
    """A device is plugged into a port without a window that is large enough, and then into another
    port."""
    def move(finding):
        assert "pref64-reserve=SIZE" in finding["advice"]
        guest.keep()
        plug_in(guest, "wide", "moved")

    guest.keep()
    plug_in(guest, "narrow", "small")
    finding = guest.prove("guest-no-address", move)
    assert "the port at 0000:00:" in finding["found"]


@proves("guest-unnamed")
def test_unnamed(guest):
    """Two devices of the same size, of which one gets a name."""
    guest.keep("plain", "twin")
    finding = guest.prove("guest-unnamed", lambda _finding: guest.keep("plain", "named"))
    assert f"the devices at {bdf_of('plain')} and {bdf_of('twin')}" in finding["found"]


@proves("guest-no-driver")
@pytest.mark.parametrize("fault", [
    "rmmod ivshmem",
    f"echo {bdf_of('good')} > {PCI}/{bdf_of('good')}/driver/unbind",
    f"rmmod ivshmem; echo none > {PCI}/{bdf_of('good')}/driver_override",
], ids=["not loaded", "unbound", "reserved"])
def test_no_driver(guest, fault):
    """Our driver is not loaded, or does not have the device."""
    guest.run(fault)
    guest.prove("guest-no-driver")


@proves("guest-no-driver")
def test_driver_not_installed(guest):
    """Our driver is not installed. Root can use the device nevertheless."""
    def build(finding):
        assert "make driver; insmod" in finding["advice"] and not finding["command"]
        guest.run(command_in(finding["advice"], "(ivshmem dump .*)"))
        guest.run("insmod /modules/ivshmem.ko")

    guest.run("rmmod ivshmem; rm /lib/modules/$(uname -r)/updates/dkms/ivshmem.ko; depmod -a")
    guest.prove("guest-no-driver", build)
    guest.install()


@proves("guest-wrong-driver")
def test_wrong_driver(guest):
    """uio_pci_generic has the device, as in ACRN's tutorial."""
    bdf = bdf_of("good")
    guest.run(f"echo {bdf} > {PCI}/{bdf}/driver/unbind; "
              f"echo uio_pci_generic > {PCI}/{bdf}/driver_override; "
              "echo 1af4 1110 > /sys/bus/pci/drivers/uio_pci_generic/new_id; "
              f"echo {bdf} > /sys/bus/pci/drivers_probe; "
              "echo 1af4 1110 > /sys/bus/pci/drivers/uio_pci_generic/remove_id")
    finding = guest.prove("guest-wrong-driver")
    assert "uio_pci_generic" in finding["found"]


@proves("guest-driver-kernel")
@pytest.mark.parametrize("dkms", [True, False], ids=["dkms", "source"])
def test_driver_of_another_kernel(guest, dkms):
    """The kernel was updated."""
    def build(finding):
        assert "make driver; insmod" in finding["advice"] and not finding["command"]
        guest.run("insmod /modules/ivshmem.ko")

    guest.run("rmmod ivshmem; d=/lib/modules/5.10.0-1-amd64/updates; mkdir -p $d; "
              "mv /lib/modules/$(uname -r)/updates/dkms $d; depmod -a")
    if dkms:
        guest.run("mkdir -p /usr/src/ivshmem-1; touch /usr/src/ivshmem-1/dkms.conf")
    finding = guest.prove("guest-driver-kernel", None if dkms else build)
    assert "installed for Linux 5.10.0-1-amd64" in finding["found"]
    guest.run("rm -rf /usr/src/ivshmem-1 /lib/modules/5*")
    guest.install()


@proves("guest-driver-kernel")
def test_driver_that_is_not_listed(guest):
    """The module was copied, but depmod was not run."""
    guest.run("rmmod ivshmem; : > /lib/modules/$(uname -r)/modules.dep")
    assert guest.prove("guest-driver-kernel")["command"].startswith("depmod -a;")


@proves("guest-no-iommu")
def test_no_iommu(guest):
    """The device is reserved for vfio-pci, in a guest without an IOMMU."""
    path = f"{PCI}/{bdf_of('good')}"
    guest.run(f"echo vfio-pci > {path}/driver_override; echo {bdf_of('good')} > "
              f"{path}/driver/unbind; echo {bdf_of('good')} > /sys/bus/pci/drivers_probe")
    guest.prove("guest-no-iommu")


@proves("guest-node-absent")
def test_node_absent(guest):
    """The node has been removed."""
    guest.run("rm /dev/ivshmem0")
    guest.prove("guest-node-absent")


@proves("guest-node-denied")
def test_node_denied(guest):
    """A user may not open the node."""
    guest.run("chown 0:0 /dev/ivshmem0; chmod 0600 /dev/ivshmem0")
    guest.prove("guest-node-denied", user="user", cure=lambda finding: guest.run(
        command_in(finding["advice"], "as root, ([^;]*);")))


@proves("guest-memory-off")
def test_memory_off(guest):
    """A program has cleared the bit for memory decoding."""
    guest.run(f"printf '\\005' | dd of={PCI}/{bdf_of('good')}/config bs=1 seek=4 conv=notrunc")
    guest.prove("guest-memory-off")


@proves("guest-bus-master")
def test_bus_master(guest):
    """A program has cleared the bit for bus mastering."""
    guest.run(f"printf '\\003' | dd of={PCI}/{bdf_of('good')}/config bs=1 seek=4 conv=notrunc")
    guest.prove("guest-bus-master")


@proves("guest-no-msi")
def test_msix_disabled(guest):
    """A program has disabled MSI-X in the device. QEMU puts the capability at 0x40."""
    path = f"{PCI}/{bdf_of('good')}/config"
    assert guest.run(f"hexdump -s 64 -n 1 -e '1/1 \"%x\\n\"' {path}") == "11"
    guest.run(f"printf '\\000' | dd of={path} bs=1 seek=67 conv=notrunc")
    guest.prove("guest-no-msi")


@proves("guest-no-msi")
def test_kernel_without_msi(guest, guests):
    """The kernel was started with pci=nomsi. The other guest was started without it."""
    guests[1].keep("good")
    finding = guests[1].examine().one("guest-no-msi")
    assert "pci=nomsi" in finding["found"] and "remove the parameter" in finding["advice"]
    assert not guest.examine().findings


@proves("guest-vectors")
@pytest.mark.parametrize("wrong, advice", [("few-vectors", "ivshmem-doorbell,vectors=2"),
                                           ("many-vectors", "the server with -n 3, or QEMU")])
def test_vectors(guest, wrong, advice):
    """The device has fewer or more vectors than the server assigns."""
    assert advice in guest.prove_by("guest-vectors", wrong, "good")["advice"]


@proves("guest-no-roster")
def test_no_roster(guest):
    """The server was started without --roster."""
    assert "--roster" in guest.prove_by("guest-no-roster", "no-roster", "good")["advice"]


@proves("guest-revision-0")
def test_revision_0(guest):
    """A device of revision 0 is replaced."""
    guest.prove_by("guest-revision-0", "old", "good")


@proves("guest-uncached")
def test_uncached(guest_with_iommu):
    """vfio-pci has the device."""
    bdf = bdf_of("good")
    guest_with_iommu.run(f"echo {bdf} > {PCI}/{bdf}/driver/unbind; "
                         f"echo vfio-pci > {PCI}/{bdf}/driver_override; "
                         f"echo {bdf} > /sys/bus/pci/drivers_probe")
    guest_with_iommu.prove("guest-uncached")


@proves("guest-lockdown")
@pytest.mark.parametrize("loaded", [True, False], ids=["ours", "vfio-pci"])
def test_lockdown(guest_with_iommu, loaded):
    """The kernel is locked down, and does not load a module without a signature."""
    bdf = bdf_of("good")
    guest_with_iommu.run(f"echo {bdf} > {PCI}/{bdf}/driver/unbind" if loaded else "rmmod ivshmem")
    guest_with_iommu.run("mount -t securityfs none /sys/kernel/security; "
                         "echo integrity > /sys/kernel/security/lockdown || :")
    finding = guest_with_iommu.prove("guest-lockdown")
    assert ("vfio-pci" in finding["command"]) != loaded


def test_kernel_logs(guests):
    """No kernel has logged an error."""
    for guest in guests:
        guest.shell.check_log()
