# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem create --boot: whether regions exist after each further boot of a systemd that really
boots."""
import re
import shlex

import pytest

from support.py.booted import Container
from support.py.region_tool import MIB, TOOL

OWNER, GROUP = 4711, 4712
#: A service like those that start VMs: like virtqemud.service, it does not say what it starts
#: after.
VM = """[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -e /etc/vm
StandardOutput=file:/report/vm
"""
#: Services that start VMs. Those that are installed are checked.
VM_SERVICES = ("libvirtd.service", "virtqemud.service", "libvirt-guests.service")


@pytest.fixture(name="container")
def container_fixture(place):
    """A container that has the tool, a user and a group for regions, and a service that stands in
    for that of a VM."""
    made = Container(place)
    with open(made.etc / "passwd", "a", encoding="utf-8") as file:
        file.write(f"ivs-owner:x:{OWNER}:{GROUP}::/:/bin/false\n")
    with open(made.etc / "group", "a", encoding="utf-8") as file:
        file.write(f"ivs-group:x:{GROUP}:\n")
    made.tool = made.install(TOOL)
    made.enable("multi-user.target", "vm.service", VM)
    made.write("vm", "")
    return made


def units(container):
    """The names of the region units in /etc."""
    directory = container.etc / "systemd" / "system"
    return sorted(path.name for path in directory.glob("ivshmem-region-*"))


def create(container, addresses, size):
    """Boot, and create regions with --boot. Return: the container's mounts."""
    return container.boot("cat /proc/mounts\n" + "".join(
        f"{container.tool} create {shlex.quote(address)} --size {size} --mode 0640 "
        "--owner ivs-owner --group ivs-group --boot > /dev/null\n" for address in addresses))


def check(container, addresses, paths, size):
    """Boot again; check that the regions exist, that they existed before a VM's service started,
    and that their units had created them by then; and remove the regions."""
    look = f"stat -c '%s %b*512 %u %g %a' {shlex.join(paths)}\n"
    show = "systemctl show --value -p"
    names = units(container)
    assert len(names) == len(paths)
    container.write("vm", look)
    said = container.boot("".join([
        look, "cat /report/vm\n", f"{show} ExecMainStartTimestampMonotonic vm.service\n",
        *[f"{show} Result -- {shlex.quote(name)}\n"
          f"{show} ExecMainExitTimestampMonotonic -- {shlex.quote(name)}\n" for name in names],
        *[f"{container.tool} remove {shlex.quote(address)} >&2\n" for address in addresses],
        f"systemctl show -p Id -p LoadState -p After {' '.join(VM_SERVICES)}\n"])).split("\n")
    place = 2 * len(paths)
    assert said[:place] == [f"{size} {size // 512}*512 {OWNER} {GROUP} 640"] * place, said
    vm, *rest = said[place:2 * place + 1]
    assert rest[::2] == ["success"] * len(paths), said
    assert all(0 < int(when) < int(vm) for when in rest[1::2]), said
    for service in "\n".join(said[2 * place + 1:]).split("\n\n"):
        assert "LoadState=loaded" not in service or re.search(r"^After=.*\bbasic\.target\b",
                                                              service, re.M), service
    assert units(container) == []


def test_regions_in_memory(container, place):
    """Regions are created at each boot, even those with unusual names, but not once they have been
    removed."""
    names = [place.shm, place.shm + " a'b%n$HOME\\x20"]
    addresses = [f"shm:{name}" for name in names]
    create(container, addresses, "8M")
    check(container, addresses, [f"/dev/shm/{name}" for name in names], 8 * MIB)
    assert place.shm not in container.boot("ls -A /dev/shm")


@pytest.mark.usefixtures("huge_pages")
def test_region_in_huge_pages(container, place):
    """A region is created after systemd has mounted the file system for huge pages."""
    path = f"/dev/hugepages/{place.shm}"
    if " /dev/hugepages hugetlbfs " not in create(container, [f"file:{path}"], "2M"):
        pytest.skip("this systemd does not mount a hugetlbfs at boot")
    check(container, [f"file:{path}"], [path], 2 * MIB)
