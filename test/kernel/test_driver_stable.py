# SPDX-License-Identifier: BSD-3-Clause
"""The guest's driver and its packaging with Debian's current release, which this machine may not be."""
import pytest

from guestkit import driver, stable
from support.installed import install, version
from support.kernel_modules import boot_and_insert, complaints, modinfo

try:
    KERNEL = stable.find()
except stable.Unavailable as why:  # one skip, not one for each test
    pytest.skip(str(why), allow_module_level=True)

FOLDER = KERNEL.folder


def test_no_warning(tmp_path):
    """Not with W=1, and not of sparse."""
    assert complaints(KERNEL, tmp_path / "work") == []


def test_a_guest_takes_it(tmp_path):
    """Bound by its alias's numbers, seen, and removed again."""
    region = tmp_path / "region"
    region.write_bytes(bytes(1 << 20))
    console = boot_and_insert(KERNEL, driver.module(KERNEL), region, tmp_path)
    assert "guest: exit 0" in console, console
    assert f"{1 << 20}" in console


def test_dkms(build, tmp_path):
    """What `make install` has put there is all that DKMS needs."""
    install(build, tmp_path / "dest")
    tree = f"ivshmem-{version(build)}"
    script = ("set -e; exec </dev/null; dkms add /build/tree/$1; dkms build $2 -k $3; "
              "dkms install $2 -k $3; dkms status; cp $(modinfo -k $3 -n ivshmem) /build; "
              "dkms remove $2 --all; [ ! -e /var/lib/dkms/ivshmem ] || exit 1")
    found = list((tmp_path / "dest").rglob(f"src/{tree}"))
    assert len(found) == 1
    (tmp_path / "work").mkdir()
    found[0].parent.rename(tmp_path / "work" / "tree")
    said = FOLDER.run(["bash", "-c", script, "sh", tree, f"ivshmem/{version(build)}", KERNEL.version],
                      300, build=tmp_path / "work")
    assert f"ivshmem/{version(build)}, {KERNEL.version}, x86_64: installed" in said, said
    assert "eprecated" not in said and "rror!" not in said, said
    built = list((tmp_path / "work").glob("ivshmem.ko*"))
    assert len(built) == 1
    assert modinfo(built[0])["version"] == [version(build)]
    assert not (FOLDER.root / "usr" / "src" / tree).exists(), "the folder is as it was"


def test_udev_takes_the_rules(tmp_path):
    """Each line of them, by udev's own judgement."""
    rules = driver.ROOT / "packaging" / "udev" / "60-ivshmem.rules"
    (tmp_path / rules.name).write_bytes(rules.read_bytes())
    said = FOLDER.run(["sh", "-c", "echo ivshmem:x:999: >>/etc/group; udevadm verify /build/*.rules"],
                      60, build=tmp_path)
    assert "Success: 1" in said and "Fail:    0" in said, said
