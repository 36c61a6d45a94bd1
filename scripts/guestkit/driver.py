# SPDX-License-Identifier: BSD-3-Clause
"""Build kernel modules for guests, outside the source tree: the driver (kernel/) and test modules.

    path = driver.module(kernel.find())    # .../ivshmem.ko

Built modules are stored in the cache as module/VERSION/NAME-HASH/, where HASH is the hash of all
inputs. Entries that have not been used for a week are removed.

The kernel's headers are the directory Kernel.headers, or an installed package
(linux-headers-VERSION), or packages that are downloaded and unpacked into the cache,
headers/VERSION/.
"""

import hashlib
import os
import pathlib
import re
import shutil
import time

from . import cache, debs
from .proc import KitError, find_program, run_tool

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = ROOT / "kernel"
PUBLIC_HEADERS = ROOT / "include" / "ivshmem"

#: Patterns of a module's source files
_SOURCE_NAMES = ("Kbuild", "*.c", "*.h")
_HEADERS_PART = r"linux-(?:headers|kbuild)-\d\S*"
_KEPT = 7 * 24 * 3600  # seconds


def module(kernel, directory=None):
    """Return: the path of the driver, ivshmem.ko, built for a kernel_image.Kernel. @directory:
    where to store it, instead of in the cache."""
    return modules(kernel, SOURCES, ["ivshmem"], directory)[0]


def modules(kernel, source_dir, names, directory=None):
    """Return: the paths of the modules NAME.ko, built from a directory that contains a NAME.c for
    each name, or a Kbuild. The sources can include the public headers "ivshmem/driver.h" and
    "ivshmem/registers.h". @directory: as for module()."""
    source_dir = pathlib.Path(source_dir)
    where = pathlib.Path(directory or cache.directory("module")) / kernel.version
    entry = where / f"{names[0]}-{_hash(kernel, source_dir, names)}"
    paths = [entry / f"{name}.ko" for name in names]
    if not _touched(entry):
        with cache.locked(where, f"kernel modules for {kernel.version}"):
            if not _touched(entry):
                with cache.new(where) as new:
                    _build(kernel, source_dir, names, new)
                    os.rename(new / "done", entry)
                _prune(where)
    return paths


def _touched(entry):
    try:
        os.utime(entry)
        return True
    except FileNotFoundError:
        return False


def _prune(where):
    for entry in where.glob("[!.]*-*"):
        if entry.stat().st_mtime < time.time() - _KEPT:
            shutil.rmtree(entry, ignore_errors=True)


def _hash(kernel, source_dir, names):
    """Return: the hash of all inputs of the build."""
    digest = hashlib.sha256(repr((kernel.version, str(kernel.folder), str(kernel.headers),
                                  list(names))).encode())
    for path in _sources(source_dir) + _public_headers():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _sources(source_dir):
    found = sorted(path for name in _SOURCE_NAMES for path in source_dir.glob(name))
    if not found:
        raise KitError(f"{source_dir} contains no kernel module sources")
    return found


def _public_headers():
    return [PUBLIC_HEADERS / "driver.h", PUBLIC_HEADERS / "registers.h"]


def _build(kernel, source_dir, names, new):
    compile_modules(kernel, source_dir, names, new / "work")
    (new / "done").mkdir()
    for name in names:
        try:
            os.rename(new / "work" / "kernel" / f"{name}.ko", new / "done" / f"{name}.ko")
        except FileNotFoundError as e:
            raise KitError(f"building {source_dir} created no {name}.ko: check its Kbuild") from e


def compile_modules(kernel, source_dir, names, work, arguments=()):
    """Build modules in the directory @work, which is created, with kernel/ (for sources and
    modules) and include/. @arguments: more arguments for make, such as W=1. Return: the output of
    make, including warnings."""
    work = pathlib.Path(work)
    copy_sources(pathlib.Path(source_dir), work)
    kbuild = work / "kernel" / "Kbuild"
    if not kbuild.exists():
        kbuild.write_text("".join(f"obj-m += {name}.o\n" for name in names)
                          + "ccflags-y := -I$(src)/../include\n")
    return make(kernel, work, ["modules", *arguments])


def copy_sources(source_dir, work):
    """Copy the sources of modules to @work/kernel/, and the headers that they include."""
    (work / "kernel").mkdir(parents=True)
    (work / "include" / "ivshmem").mkdir(parents=True)
    for path in _sources(source_dir):
        shutil.copy(path, work / "kernel")
    for path in _public_headers():
        shutil.copy(path, work / "include" / "ivshmem")


def make(kernel, work, arguments):
    """Run make in the kernel's build directory for the modules in @work/kernel/. Return: its output
    and errors, in order."""
    if not kernel.folder:
        _need_compiler()
    inside = "/build" if kernel.folder else str(work)
    # Drop the MAKEFLAGS of a parent make, whose -j would cause a warning.
    command = ["env", "-u", "MAKEFLAGS", "make", "-C", str(headers(kernel)), f"M={inside}/kernel",
               f"-j{os.cpu_count() or 1}", "--no-print-directory", *arguments]
    note = f"building {arguments[0]} for Linux {kernel.version} ..."
    # Let a shell merge stderr into stdout, so that each warning follows the name of its file.
    if kernel.folder:
        return kernel.folder.run(command, 600, note, build=work)
    return run_tool(["sh", "-c", 'exec "$@" 2>&1', "sh", *command], 600, note, lines=20)


def _need_compiler():
    for program in ("make", "gcc"):
        if not find_program(program):
            raise KitError(f"{program} is missing, but needed to build kernel modules: "
                           f"install the package {program}")


def headers(kernel):
    """Return: the build directory for a kernel's modules: Kernel.headers, an installed one, or a
    downloaded one."""
    return kernel.headers or installed_headers(kernel.version) or downloaded_headers(kernel.version)


def installed_headers(version):
    """Return: the build directory that an installed package provides for a kernel version, or None.
    """
    for path in (f"/lib/modules/{version}/build", f"/usr/src/linux-headers-{version}"):
        if os.path.exists(f"{path}/Makefile"):
            return pathlib.Path(path)
    return None


def downloaded_headers(version):
    """Return: the build directory in the cache for a kernel version, downloaded if it is missing.
    """
    where = cache.directory("headers")
    path = where / version / "usr" / "src" / f"linux-headers-{version}"
    if not path.is_dir():
        with cache.locked(where, "kernel headers"):
            if not path.is_dir():
                _fetch_headers(version, where)
    return path


def _fetch_headers(version, where):
    package = f"linux-headers-{version}"
    otherwise = f"install the headers of Linux {version} (Debian and Ubuntu: the package {package})"
    debs.need_apt(otherwise)

    if not debs.is_known(package):
        debs.update_lists(f"apt does not know the package {package}")
    if not debs.is_known(package):
        raise KitError(f"apt does not know the package {package}. If the kernel in "
                       f"{cache.directory('kernel')} is outdated, remove it to download a newer "
                       f"one; or {otherwise}")

    def packages():
        return [package] + debs.all_parts_of(package, _HEADERS_PART)

    with cache.new(where) as new:
        print(f"downloading the headers of Linux {version} into {where}", flush=True)
        debs.download(packages, new, "kernel headers")
        root = new / "root"
        debs.unpack(new, root)
        relocate(root, where / version)
        os.rename(root, where / version)


def relocate(root, final):
    """Change the packages' makefiles and links, so that they refer to the directory @final instead
    of /usr/src and /usr/lib."""
    for makefile in [*root.glob("usr/src/*/Makefile"), *root.glob("usr/src/*/.kernelvariables")]:
        text = makefile.read_text()
        makefile.write_text(re.sub(r"(?<![\w/])/usr/(src|lib)/linux-", rf"{final}/usr/\1/linux-",
                                   text))
    for link in [path for path in root.glob("usr/src/*/*") if path.is_symlink()]:
        target = os.readlink(link)
        if target.startswith("/") and os.path.lexists(f"{root}{target}"):
            link.unlink()
            link.symlink_to(f"{final}{target}")
