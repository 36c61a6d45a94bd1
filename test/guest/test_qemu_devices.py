# SPDX-License-Identifier: BSD-3-Clause
"""Tests of unmodified QEMU and its own ivshmem devices with our server, regions and library."""
import os
import re
import signal
import subprocess

import pytest

from guestkit import initramfs, kernel, machine, meeting
from support.py.programs import wait_until

BOOT = 120
MIB = 1 << 20


@pytest.fixture(scope="module")
def guest_kernel():
    return kernel.find()


@pytest.fixture
def boot(build, guest_kernel, place):
    """Return: boot(script, devices, ...), which starts a guest that runs a script. The script can
    use `peek`, `meet` and `ivshmem-client`."""
    guests = []

    def start(script, devices, **options):
        number = len(guests)
        image = os.path.join(place.dir, f"guest{number}.img")
        initramfs.build(
            image, guest_kernel, script, modules=initramfs.VFIO if options.get("iommu") else (),
            programs=[(build / "test/peek-static", "peek"),
                      (build / "examples/meet-static", "meet"),
                      (build / "tools/ivshmem-client-static", "ivshmem-client")])
        guest = machine.Guest(f"guest{number}", guest_kernel, image, image + ".log",
                              devices=devices, **options)
        guests.append(guest)
        return guest

    yield start
    for guest in guests:
        guest.stop()


def peek(build, *arguments):
    """Run peek on the host. Return: the lines that it printed."""
    return subprocess.run([build / "test/peek", *map(str, arguments)], capture_output=True,
                          text=True, timeout=60, check=False).stdout


def make_region(build, place, size):
    """Create a region with examples/region. Return: the QEMU arguments that the example prints."""
    made = subprocess.run([build / "examples/region", f"shm:{place.shm}-plain", size], check=True,
                          capture_output=True, text=True, timeout=60)
    return made.stdout.split()


def test_three_peers_meet(build):
    """Run the demo: two guests with ivshmem-doorbell and the host ring each other on every vector
    (R-1 to R-4, R-7, R-8)."""
    said = []
    result = meeting.run(meeting.Config(build=str(build), say=lambda *line: said.append(line)))
    assert result.ok, "\n".join(result.problems)
    assert [peer.name for peer in result.peers] == ["guest-a", "guest-b", "host"]
    assert len(result.arrived()) == 12
    assert result.unread() == []
    assert {report["memory"] for report in result.reports()} == {4 * MIB}
    assert [report["transport"] for report in result.reports()] == ["vfio", "vfio", "unix"]
    assert set(result.round_trips()) == {(a, b) for a in range(3) for b in range(3) if a != b}
    assert ("server", "ivshmem-server: client 2 joined") in [
        (who, line.split(" (")[0]) for who, line in said]
    assert not os.path.exists(result.directory)


def test_plain_device_shares_the_region(build, boot, place):
    """With ivshmem-plain, guest and host each read what the other has written, and dump states a
    reason for each missing capability (R-2)."""
    devices = make_region(build, place, "1M")
    peek(build, f"shm:{place.shm}-plain", "write", 4096, "from-the-host")
    with boot("peek pci: id; peek pci: read 4096; peek pci: write 8192 from-the-guest; "
              "peek pci: wait 0; peek pci: ring 0 0; ivshmem-client -a pci: -c dump",
              devices) as guest:
        guest.wait_for(r"^guest: exit 0", BOOT)
        console = guest.text()
    assert f"peek: id -1 through sysfs, {MIB} bytes, 0 vectors" in console
    assert "peek: from-the-host" in console
    assert console.count("ivshmem-plain has neither ids nor doorbells") >= 3
    assert peek(build, f"shm:{place.shm}-plain", "read", 8192) == "peek: from-the-guest\n"


def test_plain_device_through_vfio(build, boot, place):
    """A device without MSI-X works over vfio, but has no vectors."""
    devices = make_region(build, place, "1M")
    with boot("peek pci: id; peek pci: write 0 through-vfio; peek pci: wait 0", devices,
              iommu=True, bind="vfio-pci") as guest:
        guest.wait_for(r"^guest: exit", BOOT)
        console = guest.text()
    assert f"peek: id -1 through vfio, {MIB} bytes, 0 vectors" in console
    assert "ivshmem-plain has neither ids nor doorbells" in console
    assert peek(build, f"shm:{place.shm}-plain", "read", 0) == "peek: through-vfio\n"


def test_doorbell_without_iommu(boot, place):
    """Over sysfs the memory, the id and ringing work. An attempt to wait fails with an error that
    names the QEMU options required for waiting (R-3, R-4). The region is a sealed memfd, which QEMU
    maps like any other region."""
    server = place.server("-n", "2", region=["-r", "memfd:"])
    host = place.start_client()
    with boot("peek pci: id; peek pci: write 0 hello-host; peek pci: ring 0 1; "
              "peek pci: ring 77 9; peek pci: wait 0",
              machine.doorbell(server.socket, 2)) as guest:
        guest.wait_for(r"^guest: exit", BOOT)
        console = guest.text()
    host.out.wait("peer 1 joined with 2 vectors")
    host.out.wait("doorbell on vector 1")
    assert "peek: id 1 through sysfs" in console
    assert console.count("peek: done") == 2
    assert ("interrupts need our driver (make driver; insmod build/driver/ivshmem.ko), or vfio, "
            "for which this guest has no IOMMU: start QEMU with -device "
            "intel-iommu,intremap=on,caching-mode=on and kernel-irqchip=split") in console


def test_guest_sees_joins_and_leaves(build, boot, place):
    """The roster page shows a guest the other peers, which its device cannot show (R-8, P-8).
    Through both devices the guest sees host processes join and leave. Through ivshmem-doorbell it
    also learns which peers and vectors it cannot ring."""
    devices = make_region(build, place, "1M")
    server = place.server("-n", "2", "-l", "1M", "--roster", region=["-M", f"{place.shm}-plain"])
    host = place.start_client()
    with boot("for d in /sys/bus/pci/devices/*; do "
              "grep -q 0x1110 $d/device || continue; "
              "if [ -e $d/resource1 ]; then doorbell=pci:${d##*/}; else plain=pci:${d##*/}; fi; "
              "done; "
              "ivshmem-client -a $doorbell -c 'int all' -c dump; "
              "ivshmem-client -a $doorbell -c 'int 0 2'; "
              "ivshmem-client -a $doorbell -c 'int 77 0'; "
              "sleep 600 | ivshmem-client -v -a $plain | "
              "while read -r l; do echo \"plain: $l\"; done & "
              "sleep 600 | ivshmem-client -v -a $doorbell",
              devices + machine.doorbell(server.socket, 2, ident="second")) as guest:
        guest.wait_for(r"^peer 0 joined with 2 vectors", BOOT)
        for vector in range(2):
            host.out.wait(f"doorbell on vector {vector}")
        guest.wait_for(r"^plain: peer 1 joined with 2 vectors", BOOT)
        host.write("quit\n")
        left = guest.wait_for(r"^peer 0 left", 30)
        guest.wait_for(r"^plain: peer 0 left", 30)
        another = place.start_client()
        # QEMU knows the doorbells of id 0, so the next client gets both.
        guest.wait_for(r"^peer 0 joined with 2 vectors", 30, left.end())
        server.stop()
        guest.wait_for(r"^ivshmem-client: the server is gone", 30)
        another.write("quit\n")
        console = guest.text()
    assert "of which the last 4 KiB are reserved" in console
    assert "peer     0  2 vectors\r\n" in console or "peer     0  2 vectors\n" in console
    assert "cannot ring peer 0 vector 2: the peer has no such vector" in console
    assert "cannot ring peer 77 vector 0: no such peer is connected" in console
    assert not re.search(r"^peer 1 (joined|left)", console, re.MULTILINE)  # the guest itself
    assert host.out.count("doorbell on vector") == 2


def test_doorbells_and_roster_through_vfio(boot, place):
    """A single waiting call reports that a peer joins, rings, and leaves (P-8, W-9). If the device
    has more vectors than the server assigns, dump says which cannot be rung."""
    server = place.server("-n", "2", "--roster", region=["-r", "memfd:"])
    with boot("ivshmem-client -a pci: -c dump; sleep 600 | ivshmem-client -v -a pci:",
              machine.doorbell(server.socket, 3), iommu=True, bind="vfio-pci") as guest:
        guest.wait_for(r"^surplus +this peer has 3 vectors and the server assigns 2: no peer can "
                       "ring vector 2 and above; start the server with -n 3", BOOT)
        guest.wait_for(r"^peer 0 through vfio: 3 vectors", BOOT)
        host = place.start_client()
        guest.wait_for(r"^peer 1 joined with 2 vectors", 30)
        host.write("int 0 1\n")
        guest.wait_for(r"^doorbell on vector 1", 30)
        host.write("quit\n")
        guest.wait_for(r"^peer 1 left", 30)


def test_too_many_vectors_requested(boot, place):
    """If a program requests more vectors than the device has, the error states the number and how
    to raise it. The device works afterwards."""
    server = place.server("-n", "2")
    with boot("meet -n 2 -e 3 pci:; peek pci: id", machine.doorbell(server.socket, 2),
              iommu=True, bind="vfio-pci") as guest:
        guest.wait_for(r"^guest: exit 0", BOOT)
        console = guest.text()
    assert ("the device has 2 vectors, not 3: start QEMU with ivshmem-doorbell,vectors=3"
            in console)
    assert "peek: id 0 through vfio, 4194304 bytes, 2 vectors" in console


def test_several_devices(build, boot, place):
    """The address "pci:" lists the devices and their properties. A full or an abbreviated PCI
    address selects one of them."""
    server = place.server("-n", "1")
    with boot("peek pci: id; for d in /sys/bus/pci/devices/*; do "
              "grep -q 0x1110 $d/device || continue; peek pci:${d##*/} id; "
              "peek pci:${d##*0000:} id; done; peek pci:0000:00:1f.7 id",
              make_region(build, place, "1M")
              + machine.doorbell(server.socket, 1, ident="second")) as guest:
        guest.wait_for(r"^guest: exit", BOOT)
        console = guest.text()
    assert "there are 2 ivshmem devices; choose one: pci:0000:" in console
    assert re.search(r"\(1M, plain\), pci:0000:\S+ \(4M, doorbell\)", console)
    assert console.count("peek: id -1 through sysfs, 1048576 bytes") == 2
    assert console.count("peek: id 0 through sysfs, 4194304 bytes") == 2
    assert "there is no PCI device at 0000:00:1f.7; the ivshmem devices are pci:0000:" in console


def test_processors_start_one_after_the_other(boot):
    """init.sh starts the processors one after another, because a guest that boots on several
    processors occasionally hangs (see machine.py). Programs can use all of them."""
    guest = boot("nproc; dmesg | grep 'smp: Brought up'", [], cpus=2)
    assert guest.wait_for(r"^guest: exit (\d+)", BOOT).group(1) == "0"
    assert re.search(r"^2$", guest.text(), re.M), guest.text()
    assert "Brought up 1 node, 1 CPU" in guest.text()


def test_guest_without_a_device(boot):
    """If the guest has no ivshmem device, the error message states which QEMU options add one."""
    with boot("peek pci: id", []) as guest:
        guest.wait_for(r"^guest: exit 1", BOOT)
        assert "this machine has no ivshmem device (1af4:1110): start QEMU" in guest.text()


def test_doorbells_survive_the_server(boot, place):
    """The data path does not involve the server: after it is killed, a guest and a host process can
    ring each other."""
    server = place.server("-n", "1")
    host = place.start_client()
    with boot("peek pci: wait 0 && peek pci: ring 0 0",
              machine.doorbell(server.socket, 1), iommu=True, bind="vfio-pci") as guest:
        guest.wait_for(r"^peek: waiting", BOOT)
        server.signal(signal.SIGKILL)
        server.wait()
        host.err.wait("the server is gone")
        host.write("int 1 0\n")
        guest.wait_for(r"^guest: exit 0", BOOT)
    host.out.wait("doorbell on vector 0")


def test_ids_are_not_reused_while_qemu_knows_them(place):
    """The server does not reuse an id that QEMU knows, because unmodified QEMU would corrupt its
    heap.

    QEMU runs with an allocator that detects the corruption: QEMU 7.2 would crash when a second peer
    is assigned id 1.
    """
    server = place.server("-n", "2")
    qemu = place.start(
        "env", "LD_PRELOAD=libc_malloc_debug.so.0", "MALLOC_CHECK_=3", "MALLOC_PERTURB_=165",
        machine.qemu_program(), "-M", "q35", "-accel", "tcg", "-nodefaults", "-display", "none",
        "-monitor", "none", *machine.doorbell(server.socket, 2))
    server.err.wait("client 0 joined")
    for _ in range(20):
        assert place.run_client("-c", "int 0 1").returncode == 0
    place.start_client().out.wait("peer 0 joined")
    assert qemu.popen.poll() is None, qemu.err.text()


def start_qemu(place, *devices):
    """Start QEMU with these devices, without a guest."""
    return place.start("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-S", "-display",
                       "none", "-nodefaults", *devices)


def test_vectors_that_qemu_lacks(place):
    """If the server assigns more vectors than QEMU's device has, QEMU receives no doorbells on the
    surplus vectors, and the server's status says so."""
    server = place.server("-n", "2", "--control", place.dir / "control")
    qemu = start_qemu(place, *machine.doorbell(server.socket, 1))
    qemu.err.wait("Too many eventfd received, device has 1 vectors")
    assert place.run_client("-c", "int 0 all").returncode == 0

    def untaken():
        done = place.run_server("--status", place.dir / "control")
        return [line for line in done.stdout.splitlines() if line.startswith("untaken")]

    wait_until(lambda: untaken() == ["untaken  client 0 vector 1 (1); QEMU reads only the "
                                     "doorbells of the vectors that its option vectors= specifies"],
               "as expected")


def test_reconnecting_qemu_is_named(place, fast_clock, monkeypatch):
    """QEMU with reconnect= connects, but never reads its greeting: the server's log names the
    client and the option. (The server's clock runs ten times as fast as QEMU's.)"""
    del fast_clock
    server = place.server("-n", "1")
    monkeypatch.delenv("LD_PRELOAD")
    devices = machine.doorbell(server.socket, 1)
    devices[1] += ",reconnect=1"
    qemu = start_qemu(place, *devices)
    line = server.err.wait("has not read its greeting for 5 s; if it is QEMU, remove reconnect=")
    assert f"client 0 (pid {qemu.pid}, " in line
