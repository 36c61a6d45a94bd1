# SPDX-License-Identifier: BSD-3-Clause
"""The distribution's own kernel for guests: downloaded and unpacked, never installed.

Kept in ${XDG_CACHE_HOME:-~/.cache}/ivshmem/kernel/VERSION/ as

    vmlinuz  config  lib/modules/VERSION/...

What is there is used without asking the network; to get a newer kernel remove the directory.

Environment: IVSHMEM_GUEST_KERNEL=stable, the kernel of Debian's current release (stable.py);
IVSHMEM_GUEST_KERNEL=debug, one that watches itself (debug_kernel.py). IVSHMEM_KERNEL, a kernel
image to use instead, and with it IVSHMEM_MODULES, its directory of modules (as
/lib/modules/VERSION, with a modules.dep).
"""

import os
import pathlib
import re

from . import cache, debs
from .proc import KitError, find_program, run_tool

#: What depends on the newest kernel for virtual machines: Debian's name, Ubuntu's name.
METAPACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual")

#: The parts of one kernel, whichever way the distribution cuts it.
PART = r"linux-(?:image|image-unsigned|modules|binary)-\d\S*"

_OWN = "set IVSHMEM_KERNEL=/path/to/vmlinuz and IVSHMEM_MODULES=/path/to/lib/modules/VERSION"


class Kernel:
    """A kernel to boot, and to make modules for (driver.py).

    version, image: path of the vmlinuz; modules: directory of its modules, or None.
    headers: its build directory, as `make -C` takes it; None: to be looked for.
    folder: the stable.Folder with its headers and compiler; None: this machine has them.
    """

    def __init__(self, version, image, modules, headers=None, folder=None):
        self.version = version
        self.headers = headers
        self.folder = folder
        self.image = pathlib.Path(image)
        self.modules = pathlib.Path(modules) if modules else None

    def with_dependencies(self, names):
        """Paths of the .ko files to insert for these modules, in order.

        Built-in ones are left out. Reads modules.dep instead of asking modprobe, which would
        obey the host's /etc/modprobe.d.
        """
        if not names:
            return []
        if not self.modules:
            raise KitError("the guest needs kernel modules: set IVSHMEM_MODULES to the directory "
                           f"lib/modules/VERSION that belongs to {self.image}")
        depends = {}
        for line in self._index("modules.dep"):
            module, _, rest = line.partition(":")
            depends[_name(module)] = (module, rest.split())
        builtin = {_name(line) for line in self._index("modules.builtin")}
        order = []
        for name in names:
            if _name(name) in builtin:
                continue
            if _name(name) not in depends:
                raise KitError(f"kernel {self.version} has no module {name}")
            module, before = depends[_name(name)]
            order += [m for m in list(reversed(before)) + [module] if m not in order]
        return [self.modules / module for module in order]

    def _index(self, name):
        try:
            return (self.modules / name).read_text().split("\n")[:-1]
        except OSError as e:
            raise KitError(f"{e.filename}: {e.strerror}; make it with depmod") from e


def _name(module):
    return os.path.basename(module.strip()).split(".ko")[0].replace("-", "_")


def cache_directory():
    return cache.directory("kernel")


def find():
    """The Kernel for guests: as the environment says, from the cache, or downloaded now."""
    choice = os.environ.get("IVSHMEM_GUEST_KERNEL")
    if choice:
        return _chosen(choice)
    image = os.environ.get("IVSHMEM_KERNEL")
    if image:
        modules = os.environ.get("IVSHMEM_MODULES")
        for path in filter(None, (image, modules)):
            if not os.access(path, os.R_OK):
                raise KitError(f"cannot read {path}, which IVSHMEM_KERNEL or IVSHMEM_MODULES names")
        return Kernel(os.path.basename(os.path.normpath(modules)) if modules else "given",
                      image, modules)
    return of_distribution()


def _chosen(name):
    from . import debug_kernel, stable  # they need what is here
    kernels = {"debug": debug_kernel.find, "stable": stable.find, "default": of_distribution}
    if name not in kernels:
        raise KitError(f"IVSHMEM_GUEST_KERNEL={name}: it is {', '.join(sorted(kernels))}")
    return kernels[name]()


def of_distribution():
    """The Kernel of this machine's distribution, whatever the environment says."""
    kernel = cached()
    if kernel:
        return kernel
    with cache.locked(cache_directory(), "a guest kernel"):
        return cached() or _fetch()


def cached():
    """The newest complete kernel of the cache, or None."""
    best = None
    for image in cache_directory().glob("[0-9]*/vmlinuz"):
        version = image.parent.name
        if best is None or sortable(version) > sortable(best.version):
            best = Kernel(version, image, image.parent / "lib" / "modules" / version)
    return best


def sortable(version):
    return [int(word) for word in re.findall(r"\d+", version)]


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
    """Names of the packages that make up the distribution's kernel for virtual machines."""
    debs.need_apt(_OWN)
    for attempt in ("as it is", "after an update"):
        if attempt == "after an update":
            debs.update_lists("no package list knows a guest kernel")
        for meta in METAPACKAGES:
            found = debs.all_parts_of(meta, PART)
            if found:
                return found
    raise KitError(f"none of the packages {', '.join(METAPACKAGES)} is known to apt: " + _OWN)


def arrange(raw, kernel):
    """Make the directory kernel, as it is kept, out of unpacked packages; returns the version."""
    kernel.mkdir()
    images = sorted(raw.glob("boot/vmlinuz-*")) + sorted(raw.glob("usr/lib/modules/*/vmlinuz"))
    trees = sorted(raw.glob("lib/modules/*")) + sorted(raw.glob("usr/lib/modules/*"))
    if not images or not trees:
        raise KitError("the downloaded packages have no kernel image or no modules: " + _OWN)
    version = trees[0].name
    images[0].rename(kernel / "vmlinuz")
    for config in raw.glob(f"boot/config-{version}"):
        config.rename(kernel / "config")
    (kernel / "lib" / "modules").mkdir(parents=True)
    trees[0].rename(kernel / "lib" / "modules" / version)
    # depmod looks in lib/modules or usr/lib/modules, as it was built: let it find both.
    (kernel / "usr").mkdir()
    (kernel / "usr" / "lib").symlink_to("../lib")
    depmod = find_program("depmod")
    if not depmod:
        raise KitError("depmod is missing: install the package kmod")
    run_tool([depmod, "-b", str(kernel), version], 120, "indexing modules ...")
    return version
