# SPDX-License-Identifier: BSD-3-Clause
"""Unmodified QEMUs beside clients that join and leave: the QEMUs do not accumulate fds, and survive
the unplug of the device. There is no guest: with native hot-plug, the firmware of q35 releases the
device immediately."""
import os
import pathlib

import pytest

from guestkit import machine, vfio_user_qemu
from support.py.bare_vm import Vm
from support.py.clients import join
from support.py.control import ask_once
from support.py.programs import fd_count, wait_until
from support.py.restart import VECTORS
from support.py.wire import RawClient, eventfd_count, ring

#: Number of clients that join and leave before each unplug, and of unplugs
JOINS, UNPLUGS = (5000, 20) if os.environ.get("IVSHMEM_GUEST_ALL") else (100, 2)
#: With this library, glibc aborts at most errors in the use of its heap
MALLOC_DEBUG = "libc_malloc_debug.so.0"


def newer_qemu():
    """Return: the beginning of the command line of a newer QEMU."""
    try:
        return vfio_user_qemu.find()
    except vfio_user_qemu.Unavailable as why:
        return pytest.skip(str(why))


QEMUS = {"installed": lambda: [machine.qemu_program()], "newer": newer_qemu}


def visit(place, keep=False):
    """Let clients join and leave, one after another."""
    for _ in range(JOINS):
        with RawClient(str(place.socket), VECTORS, keep=keep) as client:
            client.greeting()


class Plugged:
    """A QEMU into which the device has been plugged."""

    def __init__(self, place, qemu, checked):
        (place.dir / "qmp").unlink(missing_ok=True)  # of the previous QEMU
        environment = ["env", f"LD_PRELOAD={MALLOC_DEBUG}", "MALLOC_CHECK_=3"] if checked else []
        self.vm = Vm(place, "-device", "pcie-root-port,id=slot0,chassis=1", "-global",
                     "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
                     qemu=[*environment, *qemu], paused=False)
        self.pid = self.vm.process.pid
        self.vm.qmp.command("chardev-add", id="c", backend={"type": "socket", "data": {
            "server": False, "addr": {"type": "unix", "data": {"path": str(place.socket)}}}})
        self.vm.qmp.command("device_add", driver="ivshmem-doorbell", id="d", chardev="c",
                            bus="slot0", vectors=VECTORS)

    def unplug(self):
        """Unplug the device. Check that QEMU survives this, and the removal of the chardev."""
        self.vm.qmp.unplug("d")
        self.vm.qmp.wait_event("DEVICE_DELETED")
        self.vm.qmp.command("query-status")
        self.vm.qmp.command("chardev-remove", id="c")
        self.vm.qmp.command("query-status")

    def end(self):
        """End QEMU, which must not have crashed."""
        self.vm.qmp.command("quit")
        assert self.vm.process.wait() == 0, self.vm.process.err.text()


@pytest.mark.parametrize("checked", [False, True], ids=["plain", "malloc-check"])
@pytest.mark.parametrize("version", QEMUS)
def test_qemu_survives_joins_and_the_unplug(place, version, checked):
    """While clients join and leave, the number of QEMU's fds does not grow; QEMU does not crash
    after the unplug, even if its heap is checked."""
    if checked and not list(pathlib.Path("/usr/lib").glob(f"*/{MALLOC_DEBUG}")):
        pytest.skip(f"glibc's {MALLOC_DEBUG} is not installed")
    qemu = QEMUS[version]()
    control = place.dir / "control"
    place.server("-n", str(VECTORS), "--control", control, "-l", "1M",
                 "--max-joins-per-user", "0")
    stays = join(place, VECTORS)
    for _ in range(UNPLUGS):
        plugged = Plugged(place, qemu, checked)
        stays.read_until(lambda: len(stays.peers) == 1)
        mine, = stays.peers
        visit(place)
        fds = fd_count(plugged.pid)
        visit(place)
        assert fd_count(plugged.pid) <= fds + VECTORS
        assert ask_once(control)["ids_left"] >= 65536 - 4
        rung = stays.peers[mine]
        for fd in rung:
            ring(fd)
        # A QEMU without KVM crashes if a doorbell that it has not read yet is left at the unplug.
        wait_until(lambda: not any(map(eventfd_count, rung)), "QEMU has read its doorbells")
        plugged.unplug()
        plugged.end()
        stays.read_until_knows(set())
        wait_until(lambda: ask_once(control)["vacant_ids"] == 0, "no QEMU knows a seat")


def master(place, qemu, *arguments):
    """Start a QEMU whose device is the migration master."""
    (place.dir / "qmp").unlink(missing_ok=True)  # of the previous QEMU
    return Vm(place, "-chardev", f"socket,id=c,path={place.socket}", "-device",
              f"ivshmem-doorbell,id=d,chardev=c,vectors={VECTORS},master=on", *arguments,
              qemu=qemu, paused=False)


@pytest.mark.parametrize("version", QEMUS)
def test_master_is_saved_and_restored_while_peers_stay(place, version):
    """With --keep-id-0, a VM with the migration master is saved, and restored with the region's
    content, while a peer that joined before the VM stays connected. QEMU refuses any other id."""
    qemu, saved = QEMUS[version](), place.dir / "saved"
    place.server("-n", str(VECTORS), "-l", "1M", "--keep-id-0", str(os.getuid()))
    stays = join(place, VECTORS)
    vm = master(place, qemu)
    stays.read_until_knows({0})
    os.pwrite(stays.memory, b"saved", 4096)
    vm.qmp.command("migrate", uri=f"exec:cat > {saved}")
    wait_until(lambda: vm.qmp.command("query-migrate").get("status") == "completed", "it is saved")
    vm.qmp.command("quit")
    assert vm.process.wait() == 0, vm.process.err.text()
    stays.read_until_knows(set())
    os.pwrite(stays.memory, b"later", 4096)
    vm = master(place, qemu, "-incoming", f"exec:cat {saved}")
    wait_until(lambda: vm.qmp.command("query-status")["status"] == "running", "it is restored")
    stays.read_until_knows({0})
    assert os.pread(stays.memory, 5, 4096) == b"saved"
