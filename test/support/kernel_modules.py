# SPDX-License-Identifier: BSD-3-Clause
"""What is to be true of the driver's build, whichever kernel it is for."""
import re

from guestkit import driver, initramfs, machine
from guestkit.proc import KitError, find_program, run_tool

BOOT = 120

#: What a build of ours must never say. Sparse's complaints are warnings or errors.
COMPLAINT = re.compile(r"warning:|WARNING:|error:|ERROR:")


def complaints(kernel, work):
    """What compiler, modpost and sparse (pointers to user space and to devices, byte orders, locks)
    have against the driver."""
    if not kernel.folder and not find_program("sparse"):
        raise KitError("sparse is missing: install the package sparse")
    said = driver.compile_modules(kernel, driver.SOURCES, ["ivshmem"], work,
                                  ["W=1", "C=2", "CF=-D__CHECK_ENDIAN__"])
    assert "CHECK   " in said, said
    return [line for line in said.splitlines() if COMPLAINT.search(line)]


def modinfo(path):
    """What a module says of itself: {field: [values]}."""
    fields = {}
    for line in run_tool([find_program("modinfo"), str(path)], 60).splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name, []).append(value.strip())
    return fields


def boot_and_insert(kernel, module, region, directory):
    """The console of a guest that inserts the driver, looks at ivshmem-plain's device node, and removes
    the driver again. Fails if the kernel complained."""
    image = directory / "guest.img"
    initramfs.build(image, kernel, "insmod /modules/ivshmem.ko && ls -l /dev/ivshmem0 && "
                    "cat /sys/class/ivshmem/ivshmem0/size && rmmod ivshmem && [ ! -e /dev/ivshmem0 ] && "
                    "! dmesg | grep -E 'BUG:|WARNING:|KASAN|Call Trace'", extra_modules=[module])
    with machine.Guest("guest", kernel, image, directory / "guest.log", memory=512,
                       devices=machine.plain(region, "1M")) as guest:
        guest.wait_for(r"^guest: exit", BOOT)
        return guest.text()
