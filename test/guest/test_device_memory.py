# SPDX-License-Identifier: BSD-3-Clause
"""Tests of ivshmem-device's memory in guests: mapping the host's region, and protecting the region
against writes."""
import os
import signal

from support.py import device_guest
from support.py.device_guest import FIRST, Device, pattern

MIB = 1 << 20
GIB = 1 << 30
UUID = "10111213-1415-1617-1819-1a1b1c1d1e1f"


def bar2(shell, at):
    """Return: the path of BAR 2 of device number @at in the guest's sysfs."""
    return f"/sys/bus/pci/devices/{shell.run(f'probe -d {at} bdf')}/resource2"


def peek(place, *words):
    """Run peek on the host, which reads or writes a region through the library. Return: peek's
    output."""
    done = place.run(place.build / "test/peek", *words)
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()


def messages(device, at):
    """Return: how many reads and writes of the memory were sent as messages, because the memory was
    not mapped."""
    totals = device.status(at)["totals"]
    return totals["memory_reads"], totals["memory_writes"]


def found_by_name(shell, way, record_property):
    """Check that the library finds each device by the name of its region, and finds none by any
    other name (R-9)."""
    for name, size in (("frames.0", MIB), ("only-a-name", GIB)):
        assert f"through {way}, {size} bytes" in shell.run(f"peek pci:name={name} id")
    assert 'no device has the name "frames"' in shell.ask("peek pci:name=frames id 2>&1")[1]
    assert "name frames.0" in shell.ask("peek pci: id 2>&1")[1]
    record_property("case", f"ok found by name through {way}")


def test_guest_and_host_share_the_region(place, record_property):
    """With a region of 1 MiB and one of 1 GiB, guest and host each read what the other has written
    at both ends, and no access involves ivshmem-device (R-2). Devices are found by the names of
    their regions (R-9)."""
    small, big = f"{place.shm}-small", f"{place.shm}-big"
    device = Device(place,
                    ["--region", f"shm:{small}", "--size", "1M", "--name", "frames.0", "--uuid",
                     UUID],
                    ["--region", f"shm:{big}", "--size", "1G", "--name", "only-a-name"],
                    ["--region", f"shm:{small}", "--uuid", UUID],
                    options=["--control", place.dir / "device.control"])
    peek(place, f"shm:{small}", "write", 4096, "from-the-host")
    shell = device_guest.start(place, device.all())
    found_by_name(shell, "sysfs", record_property)
    shell.insert()
    found_by_name(shell, "driver", record_property)

    assert "peek: id -1 through driver, 1048576 bytes, 0 vectors" in shell.run(
        "peek /dev/ivshmem0 id")
    assert shell.run("peek /dev/ivshmem0 read 4096") == "peek: from-the-host"
    shell.run("peek /dev/ivshmem0 write 8192 from-the-guest")
    assert peek(place, f"shm:{small}", "read", 8192) == "peek: from-the-guest"
    record_property("case", "ok 1 MiB: both ways")
    assert shell.run("peek /dev/ivshmem2 read 8192") == "peek: from-the-guest"
    record_property("case", "ok two devices with one region")

    assert os.stat(f"/dev/shm/{big}").st_size == GIB
    last = GIB - 64
    peek(place, f"shm:{big}", "write", 0, "first-of-the-host")
    peek(place, f"shm:{big}", "write", last, "last-of-the-host")
    assert shell.run("peek /dev/ivshmem1 read 0") == "peek: first-of-the-host"
    assert shell.run(f"peek /dev/ivshmem1 read {last}") == "peek: last-of-the-host"
    shell.run("peek /dev/ivshmem1 write 0 first-of-the-guest")
    shell.run(f"peek /dev/ivshmem1 write {last} last-of-the-guest")
    assert peek(place, f"shm:{big}", "read", 0) == "peek: first-of-the-guest"
    assert peek(place, f"shm:{big}", "read", last) == "peek: last-of-the-guest"
    record_property("case", "ok 1 GiB: the first and the last bytes, both ways")

    for at, (name, uuid) in enumerate(
            [("frames.0", UUID), ("only-a-name", None), (None, UUID)]):
        for attribute, value in (("name", name), ("uuid", uuid)):
            path = f"/sys/class/ivshmem/ivshmem{at}/{attribute}"
            if value:
                assert shell.run(f"cat {path}") == value
            else:
                assert shell.ask(f"test -e {path}")[0] == 1
            record_property("case", f"ok device {at}: {attribute} {value}")

    shell.run(f"probe fill /dev/ivshmem1 {MIB} {16 * MIB} 7")
    shell.run(f"probe check /dev/ivshmem1 {MIB} {16 * MIB} 7")
    with open(f"/dev/shm/{big}", "rb") as region:
        region.seek(16 * MIB)
        assert region.read(MIB) == pattern(7, 16 * MIB, MIB)
    for at in range(3):
        assert device.status(at)["vmm"]["memory_mapped"]
        assert messages(device, at) == (0, 0)
        record_property("case", f"ok device {at}: no message for memory")
    shell.check_log()


def test_read_only_memory(place, record_property):
    """A guest can read all of a window or a read-only region. A store to read-only memory has no
    effect if BAR 2 is not mapped, and kills the VM if it is mapped. The region is unchanged."""
    content = pattern(5, 0, 4 * MIB)
    place.shm_path.write_bytes(content)
    region = ["--region", f"shm:{place.shm}"]
    device = Device(place,
                    [*region, "--read-only=trap"],
                    [*region, "--window", "1M,512K"],
                    [*region, "--window", "3M,1M,ro"],
                    [*region, "--window", "64K,64K", "--read-only=trap"],
                    [*region, "--read-only"],
                    options=["--control", place.dir / "device.control"])
    shell = device_guest.start(place, device.all(), may_crash=True)
    parts = [(0, 4 * MIB), (MIB, MIB // 2), (3 * MIB, MIB), (64 << 10, 64 << 10), (0, 4 * MIB)]
    paths = [bar2(shell, at) for at in range(len(parts))]
    for at, (path, (offset, length)) in enumerate(zip(paths, parts)):
        assert shell.number(f"stat -c %s {path}") == length
        step = 8192 if at in (0, 3) else 0  # each access to these devices is sent as a message
        for begin in {0, length - (step or length)}:
            assert shell.run(f"probe check {path} {begin} {step or length} 5 {offset}") \
                == "probe: as expected"
        record_property("case", f"ok device {at}: {length} bytes from {offset} are read")
    assert [device.status(at)["memory"]["offset"] for at in range(len(parts))] == [
        offset for offset, _ in parts]

    for at in (0, 3):
        shell.run(f"probe poke {paths[at]} 4096 0xdead")
        assert shell.run(f"probe check {paths[at]} 4096 8 5 {parts[at][0]}") == "probe: as expected"
        assert place.shm_path.read_bytes() == content
        record_property("case", f"ok device {at}: a store has no effect, and the VM lives")
    assert not device.status(0)["vmm"]["memory_mapped"]
    assert device.status(1)["vmm"]["memory_mapped"]

    shell.run(f"probe fill {paths[1]} 0 {MIB // 2} 9")
    changed = content[:MIB] + pattern(9, 0, MIB // 2) + content[MIB + MIB // 2:]
    assert place.shm_path.read_bytes() == changed
    record_property("case", "ok a window: the guest writes all of it and nothing else")
    status, text = shell.ask(f"probe poke {paths[1]} {MIB // 2} 1")
    assert status == 1 and "Invalid argument" in text, text
    record_property("case", "ok a window: the guest cannot map what is behind it")
    assert messages(device, 1) == messages(device, 2) == messages(device, 4) == (0, 0)
    shell.check_log()

    shell.send(f"probe poke {paths[4]} 0 1")
    assert shell.guest.wait(20) == -signal.SIGSEGV
    assert place.shm_path.read_bytes() == changed
    record_property("case",
                    "ok mapped to be read: a store ends the VM, and the region is as before")
    device.log.wait("the VMM has left", times=len(parts))


def test_memory_beside_a_window_is_unreachable(place, record_property):
    """A guest's stores to physical addresses next to BAR 2 do not change the region outside the
    window."""
    content = pattern(5, 0, 2 * MIB)
    place.shm_path.write_bytes(content)
    device = Device(place, ["--region", f"shm:{place.shm}", "--window", "512K,512K"])
    shell = device_guest.start(place, device.vmm())
    begin, end = (int(word, 16) for word in shell.run(
        f"sed -n 3p {bar2(shell, 0).removesuffix('2')}").split()[:2])
    assert end - begin + 1 == MIB // 2
    inside = [begin, end - 3]
    for address in [*inside, begin - 4, begin - 4096, begin - MIB // 2, end + 1, end + 4097,
                    end + MIB // 2]:
        shell.run(f"devmem {address:#x} 32 0x5a5a5a5a")
    changed = bytearray(content)
    for address in inside:
        at = MIB // 2 + address - begin
        changed[at:at + 4] = b"ZZZZ"
    assert place.shm_path.read_bytes() == changed
    record_property("case", "ok a window: stores beside it do not reach the region")


def test_read_only_window(place, record_property):
    """--window ...,ro protects the window as --read-only does."""
    content = pattern(5, 0, MIB)
    place.shm_path.write_bytes(content)
    device = Device(place, ["--region", f"shm:{place.shm}", "--window", "256K,256K,ro", "--name",
                            "x"])
    shell = device_guest.start(place, device.vmm(), may_crash=True).insert()
    assert shell.run(f"cat {FIRST}/size {FIRST}/name") == "262144\nx"
    assert shell.run("probe check /dev/ivshmem0 0 262144 5 262144") == "probe: as expected"
    shell.send("peek /dev/ivshmem0 write 0 x")
    assert shell.guest.wait(20) == -signal.SIGSEGV
    assert place.shm_path.read_bytes() == content
    record_property("case", "ok a window: a store ends the VM, and the region is as before")
