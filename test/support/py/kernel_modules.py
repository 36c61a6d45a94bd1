# SPDX-License-Identifier: BSD-3-Clause
"""Checks of the driver's build, for any kernel."""
import re

from guestkit import driver, initramfs, machine
from guestkit.proc import KitError, find_program, run_tool

BOOT = 120

#: Messages that must never appear when the driver is built. They include warnings and errors of
#: sparse.
COMPLAINT = re.compile(r"warning:|WARNING:|error:|ERROR:")


def complaints(kernel, work, sparse=True):
    """Build the driver. Return: complaints of the compiler, modpost and, unless @sparse is false,
    sparse (which checks pointers to user space and to devices, byte orders and locks)."""
    if not kernel.folder and not find_program("sparse"):
        raise KitError("sparse is missing: install the package sparse")
    checks = ["C=2", "CF=-D__CHECK_ENDIAN__"] if sparse else []
    said = driver.compile_modules(kernel, driver.SOURCES, ["ivshmem"], work, ["W=1", *checks])
    assert not sparse or "CHECK   " in said, said
    return [line for line in said.splitlines() if COMPLAINT.search(line)]


def modinfo(path):
    """Return: the output of modinfo(8) for a module: {field: [values]}."""
    fields = {}
    for line in run_tool([find_program("modinfo"), str(path)], 60).splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name, []).append(value.strip())
    return fields


def boot_and_insert(kernel, module, region, directory):
    """Boot a guest that inserts the driver, checks the device node of an ivshmem-plain device,
    removes the driver again, and exits with status 0 if the kernel has logged no errors. Return:
    the console."""
    image = directory / "guest.img"
    initramfs.build(image, kernel, "insmod /modules/ivshmem.ko && ls -l /dev/ivshmem0 && "
                    "cat /sys/class/ivshmem/ivshmem0/size && rmmod ivshmem && "
                    "[ ! -e /dev/ivshmem0 ] && "
                    "! dmesg | grep -E 'BUG:|WARNING:|KASAN|Call Trace'", extra_modules=[module])
    with machine.Guest("guest", kernel, image, directory / "guest.log", memory=512,
                       devices=machine.plain(region, "1M")) as guest:
        guest.wait_for(r"^guest: exit", BOOT)
        return guest.text()


def udev_files(kernel, module, rules, directory):
    """Return: {path in the guest: bytes} of the files that a guest needs to run a real udevd,
    including the driver in a place where udev finds it by its alias."""
    programs = ["/usr/lib/systemd/systemd-udevd", "/usr/bin/udevadm"]
    libraries = kernel.folder.run(["sh", "-c", "ldd /usr/bin/udevadm /usr/lib/*/libkmod.so.2"], 60)
    paths = set(programs + re.findall(r"(?<!\S)/[^\s:]+\.so[^\s:]*", libraries))
    files = {path: (kernel.folder.root / path.lstrip("/")).read_bytes() for path in paths}
    modules = directory / "lib" / "modules" / kernel.version
    modules.mkdir(parents=True)
    (directory / "usr").mkdir()
    (directory / "usr" / "lib").symlink_to("../lib")  # depmod searches only one of the two places
    (modules / module.name).write_bytes(module.read_bytes())
    run_tool([find_program("depmod"), "-b", str(directory), kernel.version], 60)
    files |= {f"/lib/modules/{kernel.version}/{path.name}": path.read_bytes()
              for path in modules.iterdir()}
    files["/etc/group"] = b"root:x:0:\nivshmem:x:107:\n"
    files["/etc/passwd"] = b"root:x:0:0:root:/:/bin/sh\n"
    files[f"/usr/lib/udev/rules.d/{rules.name}"] = rules.read_bytes()
    kmod = kernel.folder.root / "usr/lib/udev/rules.d/80-drivers.rules"
    files[f"/usr/lib/udev/rules.d/{kmod.name}"] = kmod.read_bytes()
    return files
