# SPDX-License-Identifier: BSD-3-Clause
"""Tests of ivshmem-device with hot plug, with VMs and programs that are reset, killed and
restarted, and with migration."""
import os
import signal
import time

from guestkit.proc import KitError
from support.py import device_guest
from support.py.device_guest import PORT, Device, HostRinger, Ringer, all_ring_all, pattern
from support.py.wire import RawClient, ring

MIB = 1 << 20
VECTORS = 2
NODE = "/dev/ivshmem0"
#: QEMU's option to keep QEMU running when the guest reboots.
REBOOTS = ["-action", "reboot=reset"]


class Setting:
    """A server, a host process that is connected to it, and a doorbell device."""

    def __init__(self, place):
        self._place = place
        self.server = place.server("-n", VECTORS, "-l", "1M")
        self.device = self.start_device("device")
        self.host = place.add(RawClient(self.server.socket, VECTORS).greeting())

    def start_device(self, name):
        """Start ivshmem-device. A process that is started with the same @name as an earlier one
        uses the same socket."""
        return Device(self._place, ["--server", self.server.socket, "--vectors", VECTORS],
                      options=["--control", self._place.dir / f"{name}.control"], name=name)

    def check(self, shell, what, record_property):
        """Check that guest and host can ring each other through the driver. Return: the guest's
        id."""
        peers = [Ringer(shell), HostRinger(self.host)]
        all_ring_all(peers, VECTORS)
        record_property("case", f"ok {what}: doorbells, both ways")
        return peers[0].ident


def plug(shell, socket, ident, bus):
    """Plug in a device, and wait until the driver has bound it."""
    shell.guest.qmp().command("device_add", driver="vfio-user-pci", id=ident, bus=bus,
                              socket={"type": "unix", "path": str(socket)})
    shell.run(f"until [ -e {NODE} ]; do sleep 0.05; done")


def test_hot_plug(place, record_property):
    """Plug in and unplug a plain device twice, and then a doorbell device. QEMU 11.1 aborts when
    the doorbell device is unplugged. In any case ivshmem-device continues and waits for the next
    VM."""
    setting = Setting(place)
    plain = Device(place, ["--region", f"shm:{place.shm}-plain", "--size", "1M"], name="plain")
    shell = device_guest.start(place, PORT, qmp=str(place.dir / "qmp"), may_crash=True).insert()
    for time_n in range(2):
        plug(shell, plain.sockets[0], f"plain{time_n}", "rp0")
        shell.run(f"probe fill {NODE} 0 {MIB} {time_n}")
        with open(f"{place.shm_path}-plain", "rb") as region:
            assert region.read() == pattern(time_n, 0, MIB)
        record_property("case", f"ok plain: plugged in, time {time_n}")
        shell.guest.qmp().unplug(f"plain{time_n}")
        shell.guest.qmp().wait_event("DEVICE_DELETED", 30)
        plain.log.wait("the VMM has left", times=time_n + 1)
        assert shell.ask(f"ls {NODE}")[0] == 1
        record_property("case", f"ok plain: unplugged, time {time_n}")
    plug(shell, setting.device.sockets[0], "doorbell", "rp0")
    setting.check(shell, "a doorbell, plugged in", record_property)
    shell.check_log()
    record_property("unplugging a device with MSI-X", unplug_doorbell(shell))
    setting.device.log.wait("the VMM has left")
    status = setting.device.status()
    assert status["vmm"] is None and status["server"]["state"] == "joined"
    record_property("case", "ok a doorbell, unplugged: the program waits for the next VM")


def unplug_doorbell(shell):
    """Unplug the doorbell device. Return: how QEMU reacted."""
    try:
        shell.guest.qmp().unplug("doorbell")
        shell.guest.qmp().wait_event("DEVICE_DELETED", 30)
    except (KitError, OSError):
        assert shell.guest.wait(20) == -signal.SIGABRT, shell.guest.tail()
        return "QEMU aborts"
    assert shell.guest.status() is None
    return "QEMU survives"


def test_reset_and_kill(place, record_property):
    """The VM is reset by QEMU and by the guest; then QEMU is killed and restarted. The device
    remains the same peer with the same id, and the driver still works. Doorbells that arrive while
    no VM runs are discarded."""
    setting = Setting(place)
    shell = device_guest.start(place, REBOOTS + setting.device.vmm(),
                               qmp=str(place.dir / "qmp")).insert()
    ident = setting.check(shell, "a VM", record_property)
    shell.guest.qmp().command("system_reset")
    shell.await_ready().insert()
    assert setting.check(shell, "after a reset of the machine", record_property) == ident
    shell.send("reboot -f")
    shell.await_ready().insert()
    assert setting.check(shell, "after a reboot of the guest", record_property) == ident
    assert setting.device.status()["totals"]["vmms"] == 1
    shell.check_log()

    os.kill(shell.guest.pid, signal.SIGKILL)
    setting.device.log.wait("the VMM has left")
    for fd in setting.host.peers[ident]:
        ring(fd)
    shell.close()
    shell = device_guest.start(place, setting.device.vmm()).insert()
    assert shell.counts() == [0] * VECTORS
    assert setting.check(shell, "another QEMU", record_property) == ident
    assert setting.device.status()["server"]["joins"] == 1
    shell.run(f"probe fill {NODE} 0 {MIB} 1")
    totals = setting.device.status()["totals"]
    assert (totals["vmms"], totals["memory_reads"], totals["memory_writes"]) == (2, 0, 0)
    record_property(
        "case", "ok the device remained the same peer, and memory was never accessed by message")
    setting.check(shell, "afterwards", record_property)
    killed(place, setting, shell, ident, record_property)


def killed(place, setting, shell, ident, record_property):
    """When ivshmem-device is killed, the VM continues with its memory but without working
    registers. A new ivshmem-device on the same socket serves a new VM."""
    setting.device.process.signal(signal.SIGKILL)
    setting.server.err.wait(f"client {ident} left")
    assert shell.position() == -1
    assert shell.number("probe read 0 8 4") == shell.number("probe read 0 0 4") == 0xffffffff
    record_property("case", "ok the program is killed: registers are all ones")
    shell.run(f"probe check {NODE} 0 {MIB} 1")
    shell.run(f"probe fill {NODE} 0 {MIB} 2")
    assert place.shm_path.read_bytes() == pattern(2, 0, MIB)
    record_property("case", "ok the program is killed: memory works")
    shell.run(f"probe write 0 12 4 {setting.host.id << 16}")
    assert HostRinger(setting.host).hears_nothing()
    record_property("case", "ok the program is killed: a doorbell is lost")
    shell.check_log()
    assert shell.guest.status() is None

    setting.host.read_until_knows([])
    setting.device = setting.start_device("device")
    fresh = device_guest.start(place, setting.device.vmm()).insert()
    setting.check(fresh, "another program, another VM", record_property)
    fresh.run(f"probe check {NODE} 0 {MIB} 2")
    shell.run(f"probe fill {NODE} 0 4096 3")
    fresh.run(f"probe check {NODE} 0 4096 3")
    record_property("case", "ok the VM that lost the device still has the memory")


def migrate(source, socket):
    """Migrate a VM to another QEMU that waits for it at @socket."""
    source.guest.qmp().command("migrate", uri=f"unix:{socket}")
    deadline = time.monotonic() + 60
    while (status := source.guest.qmp().command("query-migrate").get("status")) != "completed":
        assert status != "failed" and time.monotonic() < deadline, status
        time.sleep(0.05)


def test_migration_is_not_negotiated(place, record_property):
    """QEMU 11.1 does not query the migration feature and loses the state of the device.
    ivshmem-device can only notice the missing query, and logs it when the VM starts."""
    region = ["--region", f"shm:{place.shm}", "--size", "1M"]
    devices = [Device(place, region + role, name=name,
                      options=["--control", place.dir / f"{name}.control"])
               for name, role in (("from", []), ("to", ["--role", "master"]))]
    source = device_guest.start(place, devices[0].vmm(), qmp=str(place.dir / "qmp0"))
    devices[0].log.wait("the VMM has not asked whether the device can be migrated")
    destination = device_guest.launch(
        place, devices[1].vmm() + ["-incoming", f"unix:{place.dir / 'incoming'}"],
        qmp=str(place.dir / "qmp1"))
    devices[1].log.wait("a VMM has connected")
    destination.guest.qmp()  # QEMU replies once it listens for the source
    assert source.number("probe config 4 2") & 2
    before = devices[0].status()
    assert before["vmm"] == {"memory_mapped": True, "asked_migration": False}
    migrate(source, place.dir / "incoming")
    after = devices[0].status()
    assert after["totals"]["messages"] == before["totals"]["messages"]
    assert not devices[1].status()["vmm"]["asked_migration"]
    record_property("case", "ok QEMU does not tell the device of a migration")
    source.close()
    record_property("the device after a migration",
                    "works" if destination.number("probe config 4 2") & 2 else "does not answer")
    assert destination.run("echo alive") == "alive"
    record_property("case", "ok the VM continues")
