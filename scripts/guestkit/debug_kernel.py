# SPDX-License-Identifier: BSD-3-Clause
"""A small kernel with runtime checks (KASAN, lockdep, debug objects), built from the distribution's
linux-source with the configuration debug_kernel.config.

    kernel = debug_kernel.find()   # a kernel_image.Kernel without modules, for driver.module()

The kernel is built once, in six minutes on two CPUs, and stored in the cache as debug-kernel/HASH/,
where HASH is the hash of the configuration. The directory has vmlinuz, config and tree/ (the part
of the build tree that module builds need). To build the kernel from a newer linux-source, remove
the directory.
"""

import hashlib
import os
import pathlib
import shutil
import time

from . import cache, debs
from .kernel_image import Kernel
from .proc import KitError, find_program, run_tool

CONFIG = pathlib.Path(__file__).with_name("debug_kernel.config")
#: Program -> the package that provides it
TOOLS = {"make": "make", "gcc": "gcc", "flex": "flex", "bison": "bison", "bc": "bc",
         "xz": "xz-utils"}

#: The part of the build tree that module builds need; the rest takes a gigabyte
_KEPT = {"Kbuild", "Kconfig", "Makefile", "Module.symvers", ".config", "arch", "include", "scripts",
         "tools"}
_KEPT_ARCH = {"x86", "Kconfig"}

#: Options that must be in the resulting configuration. They are checked, because Kconfig silently
#: drops options that are misspelt or unavailable.
_MUST_HAVE = ("KASAN_VMALLOC", "PROVE_LOCKING", "DEBUG_ATOMIC_SLEEP", "DEBUG_LIST",
              "DEBUG_OBJECTS_WORK", "MODULES", "PCI_MSI", "DMA_SHARED_BUFFER", "SUSPEND")


def find():
    """Return: the debug kernel, a kernel_image.Kernel, which is built if the cache does not contain
    it."""
    name = hashlib.sha256(CONFIG.read_bytes()).hexdigest()[:8]
    where = cache.directory("debug-kernel")
    if not (where / name).is_dir():
        with cache.locked(where, "a debug kernel", timeout=3600):
            if not (where / name).is_dir():
                _make(where, name)
    tree = where / name / "tree"
    version = (tree / "include" / "config" / "kernel.release").read_text().strip()
    return Kernel(version, where / name / "vmlinuz", None, headers=tree)


def _make(where, name):
    debs.need_apt("a debug kernel is built from the package linux-source")
    missing = [package for program, package in TOOLS.items() if not find_program(program)]
    if missing:
        raise KitError(f"a debug kernel cannot be built: install the packages {' '.join(missing)}")
    for old in where.glob("[!.]*"):
        shutil.rmtree(old, ignore_errors=True)
    with cache.new(where) as new:
        tree = _source(new)
        _build(tree)
        (new / "done").mkdir()
        os.rename(tree / "arch" / "x86" / "boot" / "bzImage", new / "done" / "vmlinuz")
        shutil.copy(tree / ".config", new / "done" / "config")
        _strip(tree)
        os.rename(tree, new / "done" / "tree")
        os.rename(new / "done", where / name)


def _source(new):
    """Return: the unpacked source of the distribution's kernel."""
    def packages():
        found = debs.parts_of("linux-source", r"linux-source-\d\S*")
        if not found:
            raise KitError("apt does not know the package linux-source")
        return found[:1]

    if not debs.is_known("linux-source"):
        debs.update_lists("apt does not know the package linux-source")
    print(f"downloading {packages()[0]} into {new.parent}", flush=True)
    debs.download(packages, new, "the kernel's source")
    debs.unpack(new, new / "raw")
    archives = sorted(new.glob("raw/usr/src/**/linux-source-*.tar.*"))
    if not archives:
        raise KitError("the package linux-source contains no source archive")
    (new / "source").mkdir()
    run_tool(["tar", "-x", "-C", str(new / "source"), "-f", str(archives[0])], 900,
             "unpacking the kernel's source ...")
    return next((new / "source").iterdir())


def _build(tree):
    shutil.copy(CONFIG, tree / "ivshmem.config")
    begin = time.monotonic()
    for command in (["make", "-s", "tinyconfig"],
                    ["scripts/kconfig/merge_config.sh", "-m", ".config", "ivshmem.config"],
                    ["make", "-s", "olddefconfig"]):
        run_tool(command, 600, cwd=tree)
    has = (tree / ".config").read_text()
    absent = [option for option in _MUST_HAVE if f"\nCONFIG_{option}=y\n" not in has]
    if absent:
        raise KitError(f"this kernel's Kconfig drops {', '.join(absent)}; adapt {CONFIG.name}")

    def note():
        return ("building a debug kernel, which takes several minutes: "
                f"{time.monotonic() - begin:.0f} s so far")

    run_tool(["make", "-s", f"-j{os.cpu_count() or 1}", "bzImage", "modules"], 7200, note, cwd=tree,
             lines=20, every=30)


def _strip(tree):
    """Remove from the tree everything that module builds do not need."""
    unwanted = [path for path in tree.iterdir() if path.name not in _KEPT]
    unwanted += [path for path in (tree / "arch").iterdir() if path.name not in _KEPT_ARCH]
    unwanted += [path for path in (tree / "tools").iterdir() if path.name != "objtool"]
    for path in unwanted:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    for name in ("*.o", "*.a", "vmlinux*"):
        for path in (tree / "arch").rglob(name):
            path.unlink()
