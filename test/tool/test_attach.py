# SPDX-License-Identifier: BSD-3-Clause
"""`ivshmem attach` and `ivshmem detach` with QEMU: in guests with the driver, and in VMs without an
operating system."""
import os
import signal

import pytest

from support.py.attach import (FAST, I440FX, MIB, NATIVE, NODE, PORTS, VECTORS, Vm, blocks_sigint,
                               make_region, start_server)
from support.py.device_guest import HostRinger, Ringer, all_ring_all
from support.py.programs import wait_until
from support.py.wire import BadServer, RawClient, connect

#: How a VM handles hot-plug -> QEMU's arguments
MACHINES = {"q35": PORTS, "native": [*NATIVE, *PORTS], "i440fx": I440FX}
#: Cycles in check-slow; otherwise few
CYCLES = int(os.environ.get("IVSHMEM_ATTACH_CYCLES", "0"))


def check_region(vm, place, seed):
    """Check that guest and host share the region."""
    vm.shell.run(f"probe fill {NODE} 0 4096 {seed}")
    assert any(place.shm_path.read_bytes()[:4096])
    with open(place.shm_path, "r+b") as file:
        file.write(bytes(4096))
    assert vm.shell.ask(f"probe check {NODE} 0 4096 {seed}")[0]


@pytest.mark.parametrize("machine", MACHINES)
def test_cycles(place, machine, record_property):
    """A plain and a doorbell device are plugged in and unplugged, several times. Each time the
    guest shares the region and exchanges doorbells with a peer that leaves before the device does.
    Afterwards, the VM has nothing that it did not have at first, except placeholders."""
    vm = Vm(place, *MACHINES[machine], own=True).boot()
    if CYCLES:
        vm.shell.run("(while :; do :; done) &")
    make_region(place)
    server, control = start_server(place, "--roster")
    first = place.add(RawClient(server.socket, VECTORS).greeting())
    for cycle in range(CYCLES or (1 if machine == "native" else 3)):
        told = vm.json("attach", "--region", place.shm)
        assert told["enabled"] and told["size"] == MIB and told["driver"] == "ivshmem-plain"
        vm.await_node()
        check_region(vm, place, cycle + 1)
        said = vm.run("detach", told["id"]).out.text()
        assert said.strip() == f"detached ivshmem0; removed the object {told['backend']}"
        vm.check_nothing_left()
        record_property("case", f"ok {machine}: plain, cycle {cycle}")
        before = vm.fds()
        told = vm.json("attach", "--server", server.socket)
        assert told["enabled"] and told["vectors"] == VECTORS
        vm.await_node()
        guest = Ringer(vm.shell)
        with RawClient(server.socket, VECTORS) as host:
            all_ring_all([guest, HostRinger(host.greeting())], VECTORS)
        first.read_until_knows([guest.ident])
        done = vm.json("detach", told["id"], "--control", control, "--no-rings")
        assert done["removed"] == told["backend"] and not done["pending"]
        vm.check_nothing_left()
        assert len(vm.fds()) <= len(before) + done["placeholders"]
        assert place.shm_path.exists()
        record_property("case", f"ok {machine}: doorbell, cycle {cycle}")
    first.read_until_knows([])
    vm.shell.check_log()
    assert CYCLES or idle(vm)


def idle(vm):
    """Return whether QEMU uses less than half a processor for a second: its main loop must not
    spin. (This waits for something not to happen.)"""
    before = cpu_seconds(vm.pid)
    vm.shell.run("sleep 1")
    return cpu_seconds(vm.pid) - before < 0.5


def cpu_seconds(pid):
    """Return: the processor time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_interrupted(place):
    """After an interruption, the device that the guest has not enabled yet is unplugged, and its
    memory object is removed."""
    vm = Vm(place, *NATIVE, *PORTS, own=True).boot(driver=False)
    make_region(place)
    process = vm.start("attach", "--region", place.shm, "--timeout", "600")
    wait_until(lambda: blocks_sigint(process.pid), "the tool has begun the first step")
    process.signal(signal.SIGINT)
    assert process.wait() == -signal.SIGINT
    vm.check_nothing_left()
    assert place.shm_path.stat().st_size == MIB


def test_not_enabled(place):
    """Without an operating system, the guest does not enable the device. If the user then
    interrupts the command, nothing can be undone, and the reason says so."""
    vm = Vm(place, *PORTS, bare=True)
    vm.await_firmware()
    make_region(place)
    process = vm.run("attach", "--region", place.shm, "--timeout", "1", status=3)
    assert "ivshmem0 is plugged in, but the guest has not enabled it within 1 s" in \
        process.err.text()
    process = vm.start("attach", "--region", place.shm, "--timeout", "600", environment=FAST)
    wait_until(lambda: "ivshmem1" in vm.names("/machine/peripheral"), "the device is plugged in")
    process.signal(signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM
    assert "ivshmem1 stays plugged in" in process.err.text()


def test_without_an_operating_system(place):
    """Without an operating system, the guest does not acknowledge a request. A reset completes it;
    then the command removes what the device used."""
    vm = Vm(place, *PORTS, bare=True)
    make_region(place)
    vm.run("attach", "--region", place.shm, "--timeout", "0")
    for _ in range(2):
        reason = vm.refused("detach", "ivshmem0", "--timeout", "1", status=3)
        assert "was requested, but the guest has not released it in time" in reason
    assert "ivshmem0" in vm.names("/machine/peripheral")
    process = vm.start("detach", "ivshmem0", "--timeout", "600")
    wait_until(lambda: blocks_sigint(process.pid), "the request was sent")
    process.signal(signal.SIGINT)
    assert process.wait() == -signal.SIGINT
    assert "interrupted: the unplug of ivshmem0 was requested" in process.err.text()
    vm.qmp.command("system_reset")
    vm.qmp.wait_event("DEVICE_DELETED")
    assert "was released earlier: ivshmem0; removed the object" in vm.run(
        "detach", "ivshmem0").out.text()
    vm.check_nothing_left()
    assert 'the VM has no device "ivshmem0"' in vm.refused("detach", "ivshmem0")


def test_doorbell_released_later(place):
    """The fds of a doorbell device that is released after the command has ended are replaced by the
    next command."""
    vm = Vm(place, *PORTS, bare=True)
    make_region(place)
    server, control = start_server(place)
    vm.run("attach", "--server", server.socket, "--timeout", "0")
    words = ["ivshmem0", "--control", control, "--timeout", "1"]
    for _ in range(2):
        vm.refused("detach", *words, status=3)
    highest = max(vm.fds())
    vm.qmp.command("system_reset")
    vm.qmp.wait_event("DEVICE_DELETED")
    assert "the unplug of ivshmem0 is not complete: run \"ivshmem detach --qmp" in vm.refused(
        "attach", "--region", place.shm)
    done = vm.json("detach", *words)
    assert done["driver"] is None and done["removed"].startswith("ivshmem0-chr-")
    assert done["placeholders"] >= VECTORS and max(vm.fds()) <= highest
    vm.check_nothing_left()
    vm.run("attach", "--region", place.shm, "--timeout", "0")


def test_programs_that_die(place):
    """If QEMU is killed while the command waits, the command says so. If the server has died, the
    device stays, because nothing is known about it any more."""
    vm = Vm(place, *PORTS, bare=True)
    make_region(place)
    server, control = start_server(place)
    vm.run("attach", "--server", server.socket, "--timeout", "0")
    vm.run("attach", "--region", place.shm, "--timeout", "0")
    server.end()
    assert "no process listens at" in vm.refused("detach", "ivshmem0", "--control", control)
    assert vm.names("/machine/peripheral") >= {"ivshmem0", "ivshmem1"}
    process = vm.start("detach", "ivshmem1", "--timeout", "600")
    wait_until(lambda: blocks_sigint(process.pid), "the request was sent")
    os.kill(vm.pid, signal.SIGKILL)
    assert process.wait() == 1
    vm.process.wait()  # its monitor accepts connections until then
    assert "closed the connection: QEMU has ended" in process.err.text()
    process = vm.start("attach", "--region", place.shm)
    assert process.wait() == 1 and "no process listens at" in process.err.text()


def test_paused(place):
    """A device can be plugged into a VM that has not started yet. Its unplug is not requested while
    the VM is paused."""
    vm = Vm(place, *PORTS, bare=True, paused=True)
    make_region(place)
    process = vm.run("attach", "--region", place.shm)
    assert "the VM is not running: its guest will find the device when the VM" in process.err.text()
    assert "the VM is not running" in vm.refused("detach", "ivshmem0")
    vm.qmp.command("cont")
    vm.qmp.command("stop")


def test_ports(place):
    """Ports are taken in order. If none is free, or none is large enough, the reason names the
    argument that the VM lacks; a given bus must be free."""
    vm = Vm(place, "-device", "pcie-root-port,id=small,chassis=7,slot=3", "-device",
            "pcie-root-port,id=off,chassis=4,slot=4,hotplug=off", bare=True)
    make_region(place, 16 * MIB)

    def has_window():
        window = vm.qmp.command("query-pci")[0]["devices"][1]["pci_bridge"]["bus"][
            "prefetchable_range"]
        return 0 < window["base"] < window["limit"]

    wait_until(has_window, "the firmware has assigned windows")
    reason = vm.refused("attach", "--region", place.shm)
    assert ("the window of the port small has 2M, but the region has 16M: start the VM with "
            "-device pcie-root-port,id=ivshmem-port,chassis=8,slot=8,pref64-reserve=16M; or use "
            "--bus small") in reason
    vm.run("attach", "--region", place.shm, "--bus", "small", "--timeout", "0")
    assert "the bus small already has a device (ivshmem-plain)" in vm.refused(
        "attach", "--region", place.shm, "--bus", "small")
    reason = vm.refused("attach", "--region", place.shm)
    assert "no port of the VM is free and supports hot-plug: start the VM with" in reason
    assert "Bus 'none' not found" in vm.refused("attach", "--region", place.shm, "--bus", "none")
    bare = Vm(place, bare=True)
    assert ("the VM has no port into which a device can be plugged: start the VM with -device "
            "pcie-root-port,id=ivshmem-port,chassis=1,slot=1,pref64-reserve=16M"
            ) in bare.refused("attach", "--region", place.shm)
    bare.check_nothing_left()


def test_advised_port(place):
    """The argument that the reason names works."""
    make_region(place)
    reason = Vm(place, bare=True).refused("attach", "--region", place.shm)
    words = reason.split("start the VM with ")[1].split()
    vm = Vm(place, *words, bare=True)
    assert vm.json("attach", "--region", place.shm, "--timeout", "0")["bus"] == "ivshmem-port"


def test_ids(place):
    """An id that is in use is refused; names of objects are never used again."""
    vm = Vm(place, *PORTS, bare=True, paused=True)
    make_region(place)
    first = vm.json("attach", "--region", place.shm, "--id", "mine")
    assert first["id"] == "mine" and first["backend"].startswith("mine-mem-")
    assert 'the VM already has a device "mine"' in vm.refused("attach", "--region", place.shm,
                                                              "--id", "mine")
    assert vm.json("attach", "--region", place.shm)["id"] == "ivshmem0"


@pytest.mark.parametrize("size, reason", [
    (3 * MIB, "is not a power of two"), (0, "is empty: set its size first"),
    (2048, "QEMU's minimum is 4K"), (None, "does not exist: create it first")])
def test_bad_regions(place, size, reason):
    """A region that QEMU would abort with, or that does not exist, is refused."""
    vm = Vm(place, *PORTS, bare=True, paused=True)
    if size is not None:
        make_region(place, size)
    assert reason in vm.refused("attach", "--region", place.shm)
    assert place.shm_path.exists() == (size is not None)
    vm.check_nothing_left()


def test_bad_servers(place):
    """A server that is absent or silent, or whose region no device can use, is detected before QEMU
    connects to it."""
    vm = Vm(place, *PORTS, bare=True, paused=True)
    assert "ivshmem-server" in vm.refused("attach", "--server", place.dir / "none")
    with BadServer(str(place.dir / "silent"), []):
        assert "accepted the connection but sends nothing" in vm.refused(
            "attach", "--server", place.dir / "silent", environment=FAST)
    assert "no ivshmem-device listens at" in vm.refused("attach", "--device", place.dir / "none")
    vm.check_nothing_left()


def test_master(place):
    """A device can be plugged in as the master, but only at a server without other clients."""
    vm = Vm(place, *PORTS, bare=True, paused=True)
    server, _ = start_server(place)
    sock = connect(server.socket)
    assert "QEMU accepts a master only with id 0: disconnect them" in vm.refused(
        "attach", "--server", server.socket, "--master")
    sock.close()
    server.err.wait("client 0 left")
    told = vm.json("attach", "--server", server.socket, "--master")
    assert vm.qmp.command("qom-get", path=f"/machine/peripheral/{told['id']}",
                          property="master") == "on"


def test_master_beside_peers(place):
    """A server that keeps id 0 for the user of QEMU accepts a master although it has other
    clients."""
    vm = Vm(place, *PORTS, bare=True, paused=True)
    server, _ = start_server(place, "--keep-id-0", os.getuid())
    host = place.add(RawClient(server.socket, VECTORS).greeting())
    vm.run("attach", "--server", server.socket, "--master")
    host.read_until_knows([0])
    assert "QEMU accepts a master only with id 0" in Vm(
        place, *PORTS, bare=True, paused=True).refused("attach", "--server", server.socket,
                                                       "--master")


def test_only_migratable(place):
    """QEMU with -only-migratable accepts only a master. Otherwise QEMU would keep the character
    device busy."""
    vm = Vm(place, "-only-migratable", *PORTS, bare=True, paused=True)
    make_region(place)
    reason = vm.refused("attach", "--region", place.shm)
    assert "started with -only-migratable, so it accepts only a device with --master" in reason
    vm.check_nothing_left()
    vm.run("attach", "--region", place.shm, "--master")


def test_vectors(place):
    """The device has as many vectors as the server; a different number causes a note."""
    vm = Vm(place, *PORTS, bare=True, paused=True)
    server, _ = start_server(place)
    process = vm.run("attach", "--server", server.socket, "--vectors", "1")
    assert "note: the server has 2 vectors, but the device only 1" in process.err.text()
    assert vm.qmp.command("qom-get", path="/machine/peripheral/ivshmem0", property="vectors") == 1


def test_probe_is_not_announced(place):
    """The client with which the tool probes the server leaves before QEMU connects, so QEMU never
    learns of it."""
    vm = Vm(place, *PORTS, bare=True, paused=True)
    server, _ = start_server(place)
    vm.run("attach", "--server", server.socket)
    server.err.wait("joined", times=2)
    events = [line.split("(")[0].split()[-1] for line in server.err.seen
              if "joined" in line or "left" in line]
    assert events == ["joined", "left", "joined"], server.err.seen


def test_device_on_the_root_bus(place):
    """QEMU refuses to unplug a device that has been on a bus without hot-plug since the start; the
    device keeps what it uses."""
    server, control = start_server(place)
    vm = Vm(place, "-chardev", f"socket,id=c,path={server.socket}", "-device",
            "ivshmem-doorbell,id=cold,chardev=c,vectors=2", bare=True)
    reason = vm.refused("detach", "cold", "--control", control)
    assert "QEMU refuses device_del: Bus 'pcie.0' does not support hotplugging" in reason
    vm.check_nothing_left()


@pytest.mark.parametrize("told, reason", [(True, "has told this QEMU that a peer left"),
                                          (None, "is too old to say")])
def test_told_leaves(place, told, reason):
    """A QEMU that may have been told of a leave keeps its device, and survives."""
    vm = Vm(place, *PORTS, bare=True)
    server, control = start_server(place, told=told)
    process = vm.run("attach", "--server", server.socket, "--timeout", "0", "--control", control)
    assert ("is too old to say whether it tells QEMUs" in process.err.text()) == (told is None)
    assert reason in vm.refused("detach", "ivshmem0", "--control", control)
    assert "ivshmem0" in vm.names("/machine/peripheral")
    vm.qmp.command("query-status")


@pytest.mark.parametrize("words, reason", [
    (["attach", "--region", "x"], "give the VM: either --qmp SOCKET or --domain DOMAIN"),
    (["attach", "--qmp", "x", "--domain", "y", "--region", "z"], "give the VM"),
    (["attach", "--qmp", "x"], "give one of --region, --server and --device"),
    (["attach", "--qmp", "x", "--region", "y", "--server", "z"], "give one of"),
    (["attach", "--qmp", "x", "--region", "y", "-n", "2"], "--vectors is for --server"),
    (["attach", "--domain", "x", "--server", "y", "--control", "z"], "--control is for --qmp"),
    (["attach", "--qmp", "x", "--device", "y", "--master"], "--master is for"),
    (["attach", "--qmp", "x", "--region", "y", "--id", "1"], 'invalid id "1"'),
    (["attach", "--qmp", "x", "--region", "y", "-t", "x"], 'invalid time limit "x"'),
    (["attach", "--qmp", "x", "--server", "y", "-n", "0"], 'invalid number of vectors "0"'),
    (["attach", "--qmp", "x", "--region", "a:b"], 'invalid address "a:b"'),
    (["detach", "x"], "give the VM"), (["detach", "--qmp", "x"], "no ID: give"),
    (["detach", "--qmp", "x", "/"], 'invalid id "/"'),
    (["detach", "--qmp", "x", "a", "b"], 'surplus argument "b"'),
    (["detach", "--qmp", "x", "a", "-t", "0"], 'invalid time limit "0"'),
])
def test_mistakes(place, words, reason):
    """Mistakes on the command line are usage errors, and the reason says what to give."""
    done = place.run(place.build / "tools/ivshmem", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ivshmem {words[0]}: ") and reason in done.stderr, done.stderr


def test_absent_monitor(place):
    """A monitor that is absent is reported with QEMU's argument for it."""
    make_region(place)
    path = place.dir / "none"
    done = place.run(place.build / "tools/ivshmem", "attach", "--qmp", path, "--region", place.shm)
    assert done.returncode == 1 and f"-qmp unix:{path},server=on,wait=off" in done.stderr
