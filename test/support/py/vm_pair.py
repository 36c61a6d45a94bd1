# SPDX-License-Identifier: BSD-3-Clause
"""Two QEMUs on this host, of which one is migrated to the other by "ivshmem migrate". They run only
the firmware, so they start immediately."""
import json
import os
import pathlib

from guestkit import machine
from guestkit.proc import KitError
from guestkit.qmp import Qmp
from support.py.config import TOOL
from support.py.programs import wait_until

MIB = 1 << 20
MEMORY = ["-M", "q35,memory-backend=ram0", "-object", "memory-backend-ram,id=ram0,size=32M", "-m",
          "32M"]
BARE = ["-accel", "tcg", "-display", "none", "-nodefaults"]


def plain(path, ident="pl0", backend="m0", size="1M", master="on", share="on", slot="4"):
    """QEMU's arguments for a plain device."""
    memory = f"memory-backend-file,id={backend},mem-path={path},size={size},share={share}"
    device = f"ivshmem-plain,id={ident},memdev={backend},master={master},addr={slot}"
    return ["-object", memory, "-device", device]


def doorbell(socket, ident="db0", vectors=2, master="on", slot="5"):
    """QEMU's arguments for a doorbell device."""
    return ["-chardev", f"socket,id=c-{ident},path={socket}", "-device",
            f"ivshmem-doorbell,id={ident},chardev=c-{ident},vectors={vectors},master={master},"
            f"addr={slot}"]


#: A port into which a device can be plugged
PORT = ["-device", "pcie-root-port,id=rp0,chassis=1,slot=1,addr=3"]


def behind_port(words):
    """QEMU's arguments for a device, behind the port."""
    return [word.replace("addr=4", "bus=rp0").replace("addr=5", "bus=rp0") for word in words]


def devices_of(vm):
    """Return: the ids of the VM's ivshmem devices."""
    return [each["name"] for each in vm.qmp.command("qom-list", path="/machine/peripheral")
            if each["type"].startswith("child<ivshmem-")]


def acknowledge(vm, ident="pl0"):
    """Have the VM release its device behind the port: the firmware does not do that by itself, but
    a reset completes what was requested."""
    def is_gone():
        vm.qmp.command("system_reset")
        return ident not in devices_of(vm)

    wait_until(is_gone, "the device is unplugged")


class Vm:
    """A QEMU with two monitors: one for the tool, and one for the test."""

    def __init__(self, place, name, *arguments, qemu=None, memory=None):
        self.path = place.dir / f"{name}.qmp"
        own = place.dir / f"{name}.test.qmp"
        self.process = place.start(
            *(qemu or [machine.qemu_program()]), *(memory or MEMORY), *BARE, "-name", name, "-qmp",
            f"unix:{self.path},server=on,wait=off", "-qmp", f"unix:{own},server=on,wait=off",
            *arguments)
        try:
            self.qmp = place.add(Qmp(own))
        except KitError as e:
            raise AssertionError(f"{e}; QEMU: {self.process.err.seen}") from None

    @property
    def pid(self):
        """Return: QEMU's pid."""
        return self.process.pid

    def state(self):
        """Return: the run state; "ended" if QEMU has ended."""
        if self.process.popen.poll() is not None:
            return "ended"
        return self.qmp.command("query-status")["status"]

    def wait_state(self, state):
        """Wait for a run state."""
        wait_until(lambda: self.state() == state, f"the VM is {state}")

    def wait_migration(self, status):
        """Wait until a migration has this status."""
        wait_until(lambda: self.qmp.command("query-migrate").get("status") == status,
                   f"the migration is {status}")


class Pair:
    """A VM that is to be migrated, and the QEMU that waits for it.

    regions: the files of the plain devices of the source and of the destination
    """

    def __init__(self, place, qemu=None):
        self.place = place
        self.qemu = qemu
        self.uri = f"unix:{place.dir}/migration"
        self.regions = [place.dir / "from.region", place.dir / "to.region"]
        self.source = self.destination = None
        for path, content in zip(self.regions, (b"f", b"t")):
            path.write_bytes(content * MIB)

    def start(self, source=(), destination=(), **keywords):
        """Start both VMs with these arguments."""
        self.source = Vm(self.place, "from", *source, qemu=self.qemu, **keywords)
        self.destination = Vm(self.place, "to", *destination, "-incoming", "defer", qemu=self.qemu,
                              **keywords)
        return self

    def plain(self, source=None, destination=None):
        """Start two VMs with a plain device; each dictionary changes the arguments of one side."""
        return self.start(plain(self.regions[0], **(source or {})),
                          plain(self.regions[1], **(destination or {})))

    def words(self, *more):
        """The tool's command line."""
        return [TOOL, "migrate", "--qmp", self.source.path, "--to", self.uri, "--to-qmp",
                self.destination.path, *more]

    def migrate(self, *more):
        """Run the tool. Return: the completed process."""
        return self.place.run(*self.words(*more))

    def begin(self, *more):
        """Start the tool with a migration that would take minutes, and wait until memory is being
        copied. Return: the process."""
        self.regions[0].write_bytes(os.urandom(MIB))
        self.source.qmp.command("migrate-set-parameters", **{"max-bandwidth": 20000})
        process = self.place.start(*self.words(*more))
        self.source.wait_migration("active")
        return process

    def states(self):
        """Return: the run states of both VMs."""
        return self.source.state(), self.destination.state()


def refusals(done):
    """Check that the tool has refused, with --json. Return: the names of the problems."""
    assert done.returncode == 1, done
    told = json.loads(done.stdout)
    assert (told["result"], told["runs"]) == ("refused", "as before")
    return [problem["name"] for problem in told["problems"]]


def servers(place, *options, names=("a", "b")):
    """Start a server for each side. Return: their sockets, and the paths of their regions."""
    sockets = [place.dir / f"{name}.sock" for name in names]
    paths = [pathlib.Path(f"{place.shm_path}-{name}") for name in names]
    for socket, path in zip(sockets, paths):
        place.server("-n", "2", "-l", "1M", *options, socket=socket,
                     region=["-r", f"shm:{path.name}"])
    return sockets, paths
