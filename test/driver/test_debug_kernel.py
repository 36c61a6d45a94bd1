# SPDX-License-Identifier: BSD-3-Clause
"""The debug kernel detects faults, and reports none when the driver is inserted and removed. The
test driver-device-node-debug-kernel runs the driver's suite on that kernel."""
import pathlib

import pytest

from guestkit import debug_kernel, driver, initramfs, machine
from support.py.kernel_modules import BOOT, boot_and_insert

MODULES = pathlib.Path(__file__).with_name("modules")

FAULTS = [("nothing", None), ("use-after-free", "BUG: KASAN: "),
          ("sleep-in-atomic", "BUG: scheduling while atomic"),
          ("locks-both-ways", "possible circular locking dependency")]


@pytest.fixture(scope="module")
def kernel():
    return debug_kernel.find()


def test_driver_is_inserted_and_removed(kernel, tmp_path):
    region = tmp_path / "region"
    region.write_bytes(bytes(1 << 20))
    console = boot_and_insert(kernel, driver.module(kernel), region, tmp_path)
    assert "guest: exit 0" in console, console


@pytest.mark.parametrize(("fault", "report"), FAULTS)
def test_fault_is_detected(kernel, tmp_path, fault, report):
    module = driver.modules(kernel, MODULES, ["faulty"])[0]
    image = initramfs.build(tmp_path / "guest.img", kernel,
                            f"insmod /modules/faulty.ko what={fault}; "
                            "dmesg | grep -E 'BUG:|WARNING:|possible circular'; true",
                            extra_modules=[module])
    with machine.Guest("guest", kernel, image, tmp_path / "guest.log", memory=512) as guest:
        guest.wait_for(r"^guest: exit 0", BOOT)
        console = guest.text()
    if report:
        assert report in console, console
    else:
        assert "BUG:" not in console and "WARNING:" not in console, console
