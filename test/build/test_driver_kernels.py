# SPDX-License-Identifier: BSD-3-Clause
"""Test the guest driver with the oldest kernel that it supports and with Debian's newest kernel."""
import re

import pytest

from guestkit import driver, release
from guestkit.proc import run_tool
from support.py.kernel_modules import boot_and_insert, complaints

#: Each kernel's name, its version (for "newest", the minimum), and whether to use sparse. Debian's
#: headers for Linux 7.2 lack scripts/checker-valid.sh, which make needs in order to run sparse.
KERNELS = [("oldest", (5, 10), True), ("newest", (6, 13), False)]


@pytest.mark.parametrize(("name", "version", "sparse"), KERNELS)
def test_driver_is_built_and_used(tmp_path, name, version, sparse):
    """The driver builds without warnings, and a guest with this kernel uses the device."""
    try:
        kernel = release.find(name)
    except release.Unavailable as why:
        pytest.skip(str(why))
    found = tuple(map(int, kernel.version.split(".")[:2]))
    assert found == version if name == "oldest" else found >= version, kernel.version
    assert complaints(kernel, tmp_path / "work", sparse) == []
    region = tmp_path / "region"
    region.write_bytes(bytes(1 << 20))
    console = boot_and_insert(kernel, tmp_path / "work/kernel/ivshmem.ko", region, tmp_path)
    assert "guest: exit 0" in console, console
    assert f"{1 << 20}" in console


def preprocessed(tmp_path, version):
    """Return: the compiler's errors for compat.h with the version.h of a kernel, and without any
    other headers."""
    (tmp_path / "linux").mkdir()
    major, minor = version
    (tmp_path / "linux/version.h").write_text(
        "#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))\n"
        f"#define LINUX_VERSION_CODE KERNEL_VERSION({major}, {minor}, 0)\n")
    return run_tool(["sh", "-c", 'cc -E -nostdinc -I "$1" "$2" 2>&1 >/dev/null; true', "sh",
                     str(tmp_path), str(driver.SOURCES / "compat.h")], 60)


@pytest.mark.parametrize(("version", "refused"), [((5, 9), True), ((5, 10), False)])
def test_older_kernels_are_refused_in_one_sentence(tmp_path, version, refused):
    said = preprocessed(tmp_path, version)
    assert ("#error ivshmem needs Linux 5.10 or later" in said) == refused, said


def test_dkms_skips_the_same_kernels():
    """DKMS does not build the driver for kernels that compat.h refuses."""
    conf = (driver.ROOT / "packaging/dkms/dkms.conf.in").read_text()
    compat = (driver.SOURCES / "compat.h").read_text()
    minimum = re.search(r'BUILD_EXCLUSIVE_KERNEL_MIN="([\d.]+)"', conf)[1]
    assert f"#error ivshmem needs Linux {minimum} or later" in compat
