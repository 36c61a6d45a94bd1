# SPDX-License-Identifier: BSD-3-Clause
"""Test the guest driver and its packaging with Debian's current release, even if this machine runs
a different release."""
import re

import pytest

from guestkit import driver, initramfs, machine, release
from support.py.installed import install, version
from support.py.kernel_modules import BOOT, boot_and_insert, complaints, modinfo, udev_files
from support.py.udev_rules import verify

try:
    KERNEL = release.find("stable")
except release.Unavailable as why:  # skip the whole file instead of each test
    pytest.skip(str(why), allow_module_level=True)

FOLDER = KERNEL.folder
RULES = driver.ROOT / "packaging" / "udev" / "60-ivshmem.rules"


def test_driver_builds_without_warnings(tmp_path):
    """The driver builds without warnings, with W=1 and with sparse."""
    assert complaints(KERNEL, tmp_path / "work") == []


def test_guest_loads_the_driver(tmp_path):
    """A guest loads the driver, which binds the device; a program uses the device; and the driver
    can be removed again."""
    region = tmp_path / "region"
    region.write_bytes(bytes(1 << 20))
    console = boot_and_insert(KERNEL, driver.module(KERNEL), region, tmp_path)
    assert "guest: exit 0" in console, console
    assert f"{1 << 20}" in console


def test_dkms_builds_the_driver(build, tmp_path):
    """DKMS builds the driver from the files that `make install` installs."""
    install(build, tmp_path / "dest")
    tree = f"ivshmem-{version(build)}"
    script = ("set -e; exec </dev/null; dkms add /build/tree/$1; dkms build $2 -k $3; "
              "dkms install $2 -k $3; dkms status; cp $(modinfo -k $3 -n ivshmem) /build; "
              "dkms remove $2 --all; [ ! -e /var/lib/dkms/ivshmem ] || exit 1")
    found = list((tmp_path / "dest").rglob(f"src/{tree}"))
    assert len(found) == 1
    (tmp_path / "work").mkdir()
    found[0].parent.rename(tmp_path / "work" / "tree")
    said = FOLDER.run(["bash", "-c", script, "sh", tree, f"ivshmem/{version(build)}",
                       KERNEL.version],
                      300, build=tmp_path / "work")
    assert f"ivshmem/{version(build)}, {KERNEL.version}, x86_64: installed" in said, said
    assert "eprecated" not in said and "rror!" not in said, said
    built = list((tmp_path / "work").glob("ivshmem.ko*"))
    assert len(built) == 1
    assert modinfo(built[0])["version"] == [version(build)]
    assert not (FOLDER.root / "usr" / "src" / tree).exists(), "the folder must not change"


def test_udev_accepts_the_rules(tmp_path):
    """udevadm verify accepts the udev rules file."""
    wrong, said = verify(FOLDER, {RULES.stem: RULES.read_text(encoding="utf-8")}, tmp_path)
    assert not wrong, said


def test_udev_loads_the_driver_and_creates_the_link(tmp_path):
    """A real udevd in a guest loads the driver by its alias, gives the group ivshmem access to the
    device node, and creates a link with the PCI address. With the rule in ivshmem(4), the group has
    access to the attribute "memory", too."""
    region = tmp_path / "region"
    region.write_bytes(bytes(1 << 20))
    files = udev_files(KERNEL, driver.module(KERNEL), RULES, tmp_path / "files")
    man = (driver.ROOT / "man/ivshmem.4.scd").read_text()
    rule = re.search('^SUBSYSTEM=="ivshmem", RUN.*\n', man, re.MULTILINE)[0]
    files["/usr/lib/udev/rules.d/61-memory.rules"] = rule.encode()
    image = initramfs.build(
        tmp_path / "guest.img", KERNEL, "[ ! -e /dev/ivshmem0 ] || exit 1; "
        "rm /run; mkdir /run; PATH=$PATH:/usr/bin; "  # this script itself is in /run
        "/usr/lib/systemd/systemd-udevd --daemon; udevadm trigger --action=add; udevadm settle; "
        "ls -ln /dev/ivshmem0; ls -l /dev/ivshmem/*; "
        "ls -ln /sys/class/ivshmem/ivshmem0/memory; cd /sys/class/ivshmem/ivshmem0/device; pwd -P",
        files=files)
    with machine.Guest("guest", KERNEL, image, tmp_path / "guest.log", memory=512,
                       devices=machine.plain(region, "1M")) as guest:
        guest.wait_for(r"^guest: exit", BOOT)
        console = guest.text()
    address = re.search(r"/(\w{4}:\w\w:\w\w\.\w)\r?$", console, re.MULTILINE)
    assert address, console
    assert re.search(r"^crw-rw---- +1 0 +107 ", console, re.MULTILINE), console
    assert re.search(rf"^-rw-rw---- +1 0 +107 +{1 << 20} ", console, re.MULTILINE), console
    assert re.search(rf"pci-{address[1]} -> \S*ivshmem0\r?$", console, re.MULTILINE), console
