# SPDX-License-Identifier: BSD-3-Clause
"""The kernel of this machine's distribution: downloaded and unpacked once, never installed.

Stored in ${XDG_CACHE_HOME:-~/.cache}/ivshmem/kernel/VERSION/ as

    vmlinuz  config  lib/modules/VERSION/...

A stored kernel is used without network access. To download a newer one, remove the directory.
"""

import os

from . import cache, debs
from .kernel_image import Kernel, sortable
from .proc import KitError, find_program, run_tool

#: Metapackages that depend on the newest kernel for virtual machines, for Debian and for Ubuntu
METAPACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual")

#: Packages that make up a kernel; distributions split it differently
PART = r"linux-(?:image|image-unsigned|modules|binary)-\d\S*"

_OWN = "set IVSHMEM_KERNEL=/path/to/vmlinuz and IVSHMEM_MODULES=/path/to/lib/modules/VERSION"


def cache_directory():
    return cache.directory("kernel")


def find():
    """Return: the Kernel of this machine's distribution, regardless of what the environment
    selects."""
    kernel = cached()
    if kernel:
        return kernel
    with cache.locked(cache_directory(), "a guest kernel"):
        return cached() or _fetch()


def cached():
    """Return: the newest kernel in the cache, or None."""
    best = None
    for image in cache_directory().glob("[0-9]*/vmlinuz"):
        version = image.parent.name
        if best is None or sortable(version) > sortable(best.version):
            best = Kernel(version, image, image.parent / "lib" / "modules" / version)
    return best


def _fetch():
    where = cache_directory()
    with cache.new(where) as new:
        packages = _packages()
        print(f"downloading a guest kernel ({', '.join(packages)}) into {where}", flush=True)
        debs.download(_packages, new, "a guest kernel")
        debs.unpack(new, new / "raw")
        version = arrange(new / "raw", new / "kernel")
        os.rename(new / "kernel", where / version)
    return cached()


def _packages():
    """Return: names of the packages that make up the distribution's kernel for virtual machines."""
    debs.need_apt(_OWN)
    for attempt in ("as it is", "after an update"):
        if attempt == "after an update":
            debs.update_lists("apt's package lists contain no guest kernel")
        for meta in METAPACKAGES:
            found = debs.all_parts_of(meta, PART)
            if found:
                return found
    raise KitError(f"apt knows none of the packages {', '.join(METAPACKAGES)}: " + _OWN)


def arrange(raw, kernel):
    """Create the directory @kernel, in the layout of the cache, from the packages unpacked in @raw.
    Return: the kernel's version."""
    kernel.mkdir()
    images = sorted(raw.glob("boot/vmlinuz-*")) + sorted(raw.glob("usr/lib/modules/*/vmlinuz"))
    trees = sorted(raw.glob("lib/modules/*")) + sorted(raw.glob("usr/lib/modules/*"))
    if not images or not trees:
        raise KitError("the downloaded packages contain no kernel image or no modules: " + _OWN)
    version = trees[0].name
    images[0].rename(kernel / "vmlinuz")
    for config in raw.glob(f"boot/config-{version}"):
        config.rename(kernel / "config")
    (kernel / "lib" / "modules").mkdir(parents=True)
    trees[0].rename(kernel / "lib" / "modules" / version)
    # Some builds of depmod search lib/modules, others usr/lib/modules: provide both.
    (kernel / "usr").mkdir()
    (kernel / "usr" / "lib").symlink_to("../lib")
    depmod = find_program("depmod")
    if not depmod:
        raise KitError("depmod is missing: install the package kmod")
    run_tool([depmod, "-b", str(kernel), version], 120, "indexing modules ...")
    return version
