# SPDX-License-Identifier: BSD-3-Clause
"""A kernel for guests: image, modules, and the headers and compiler to build modules for it."""

import os
import pathlib
import re

from .proc import KitError


class Kernel:
    """A kernel to boot, and to build modules for (driver.py).

    version  the kernel's release, as "uname -r" prints it
    image    path of the vmlinuz
    modules  directory with the kernel's modules, or None
    headers  the kernel's build directory, for `make -C`; None: driver.headers() finds it
    folder   the release.Folder with the headers and the compiler; None: they are on this machine
    """

    def __init__(self, version, image, modules, headers=None, folder=None):
        self.version = version
        self.headers = headers
        self.folder = folder
        self.image = pathlib.Path(image)
        self.modules = pathlib.Path(modules) if modules else None

    def with_dependencies(self, names):
        """Return: paths of the .ko files to insert for the modules @names and their dependencies,
        in order. Modules that are built in are left out.

        Reads modules.dep itself, because modprobe would apply the host's /etc/modprobe.d.
        """
        if not names:
            return []
        if not self.modules:
            raise KitError("the guest needs kernel modules: set IVSHMEM_MODULES to the directory "
                           f"lib/modules/VERSION of {self.image}")
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
            raise KitError(f"{e.filename}: {e.strerror}; create the file with depmod") from e


def _name(module):
    return os.path.basename(module.strip()).split(".ko")[0].replace("-", "_")


def sortable(version):
    """Return: a key that sorts versions by their numbers."""
    return [int(word) for word in re.findall(r"\d+", version)]
