# SPDX-License-Identifier: BSD-3-Clause
"""Create an initramfs: busybox, static programs, kernel modules with dependencies, and /init.

The guest runs the shell script /run, which init.sh starts.
"""

import gzip
import lzma
import os
import pathlib
import subprocess

from . import cpio
from .proc import KitError, find_program, run_tool

#: Modules to load for interrupts in user space; the modules on which they depend are loaded, too
VFIO = ("vfio_iommu_type1", "vfio-pci")

_INIT = pathlib.Path(__file__).with_name("init.sh")


def build(path, kernel, run, programs=(), modules=(), extra_modules=(), stay=None, files=None):
    """Write an initramfs to path.

    kernel         a kernel_image.Kernel, whose modules can be included
    run            shell script that is the guest's task; its environment is the env of Guest
    programs       static programs to install in /bin: paths, or (path, name in /bin)
    modules        names of modules of that kernel to insert at boot, in order
    extra_modules  paths of .ko files (a driver under test) to install as /modules/NAME.ko. Only
                   their dependencies are inserted at boot; the script has to insert the modules.
    stay           shell script to run after the script `run`, in a guest with stay=True
    files          more files: {path in the guest: bytes}
    """
    archive = cpio.Archive()
    for directory in ("proc", "sys", "dev", "bin", "sbin", "tmp", "modules"):
        archive.directory(directory)
    archive.character_device("dev/console", 5, 1)
    archive.file("init", _INIT.read_bytes(), 0o755)
    archive.file("run", run.encode(), 0o755)
    if stay is not None:
        archive.file("stay", stay.encode(), 0o755)
    for program in programs:
        source, name = (program, os.path.basename(program)) \
            if isinstance(program, (str, os.PathLike)) else program
        archive.file(f"bin/{name}", _static(source), 0o755)
    _add_busybox(archive)
    _add_modules(archive, kernel, modules, extra_modules)
    for name, data in (files or {}).items():
        archive.file(name, data, 0o755)
    # Do not compress the archive: QEMU loads it faster than an emulated CPU would unpack it.
    pathlib.Path(path).write_bytes(archive.bytes())
    return path


def _static(path):
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as e:
        raise KitError(f"cannot read {path} for the guest: {e.strerror}") from e
    # In the guest, a dynamically linked program would fail with a misleading "not found".
    if data[:4] == b"\x7fELF" and b"/ld-linux" in data[:4096]:
        raise KitError(f"{path} must be statically linked, because the guest has no libraries")
    return data


def _add_busybox(archive):
    busybox = find_program("busybox")
    if not busybox:
        raise KitError("busybox is missing: install the package busybox-static")
    archive.file("bin/busybox", _static(busybox), 0o755)
    for applet in run_tool([busybox, "--list"], 10).split():
        if applet != "busybox" and f"bin/{applet}" not in archive:
            archive.symlink(f"bin/{applet}", "busybox")


def _add_modules(archive, kernel, modules, extra_modules):
    wanted = list(modules)
    for path in extra_modules:
        name = os.path.basename(path)
        archive.file(f"modules/{name}", pathlib.Path(path).read_bytes())
        wanted += _depends_of(path)
    order = []
    for module in kernel.with_dependencies(wanted):
        name = os.path.basename(module).split(".ko")[0] + ".ko"
        archive.file(f"modules/kernel/{name}", unpacked(module))
        order.append(f"/modules/kernel/{name}\n")
    archive.file("modules/order", "".join(order).encode())


def _depends_of(path):
    """Return: the dependencies of a .ko file, from its modinfo section."""
    data = pathlib.Path(path).read_bytes()
    begin = data.find(b"\0depends=")
    if begin < 0:
        return []
    value = data[begin + len(b"\0depends="):].split(b"\0", 1)[0].decode()
    return [name for name in value.split(",") if name]


def unpacked(path):
    """Return: the bytes of a kernel module, which may be compressed (.ko, .ko.gz, .ko.xz,
    .ko.zst)."""
    path = str(path)
    data = pathlib.Path(path).read_bytes()
    if path.endswith(".xz"):
        return lzma.decompress(data)
    if path.endswith(".gz"):
        return gzip.decompress(data)
    if path.endswith(".zst"):
        zstd = find_program("zstd")
        if not zstd:
            raise KitError(f"{path} is compressed: install the package zstd")
        return subprocess.run([zstd, "-dc"], input=data, stdout=subprocess.PIPE, check=True,
                              timeout=60).stdout
    return data
