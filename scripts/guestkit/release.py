# SPDX-License-Identifier: BSD-3-Clause
"""Install a Debian release in a directory: a kernel for guests, its headers and the compiler. This
machine may run a different release.

    kernel = release.find("oldest")   # driver.module(kernel) builds in the directory
    release.folder("stable").run(["udevadm", "verify", "/build/x.rules"], 60, build=directory)

The directory is created by mmdebstrap (this takes half a minute, and 570 MB) in the cache.
Functions raise Unavailable, with the reason, if that is not possible; the caller then skips
whatever needs the directory.
"""

import os
import pathlib

from . import bootstrap, cache, debs
from .bootstrap import Unavailable
from .kernel_image import Kernel, sortable
from .proc import KitError, run_tool

_BUILD = ("gcc", "kmod", "make", "sparse")
_CLOUD = ("linux-headers-cloud-amd64", "linux-image-cloud-amd64")
#: In Debian 11, only this kernel has dma-bufs.
_DESKTOP = ("linux-headers-amd64", "linux-image-amd64")


class Release:
    """A Debian release.

    what      its name in messages
    suites    alternatives; the first one that can be installed is used. Each is a sequence of
              suites, the last of which has the wanted kernel
    packages  what to install
    """

    def __init__(self, what, suites, packages):
        self.what = what
        self.suites = suites
        self.packages = packages


#: Releases by name, which is also the name of the directory in the cache. Some mirrors
#: lack the link "stable".
RELEASES = {
    "oldest": Release("Debian 11, which has the oldest supported kernel", [("bullseye",)],
                      (*_BUILD, *_DESKTOP)),
    "stable": Release("Debian's current release", [("stable",), ("trixie",)],
                      (*_BUILD, *_CLOUD, "dkms", "libjansson4", "libncursesw6", "libseccomp2",
                       "udev")),
    "newest": Release("Debian's backports, which have its newest kernel",
                      [("stable", "stable-backports"), ("trixie", "trixie-backports")],
                      (*_BUILD, *_CLOUD)),
}

#: Guests need hardly any of the kernel's own modules, which take up 200 MB.
_NO_DRIVERS = ("--dpkgopt=path-exclude=*/lib/modules/*/kernel/drivers/*",
               "--dpkgopt=path-include=*/lib/modules/*/kernel/drivers/vfio/*")

_INSIDE = pathlib.Path(__file__).with_name("folder.sh")


class Folder:
    """A root directory in which commands can be run."""

    def __init__(self, root):
        self.root = pathlib.Path(root)

    def __str__(self):
        return str(self.root)

    def run(self, command, timeout, note=None, build="", lines=20):
        """Run a command in the root directory. Files that the command writes are discarded, except
        those in /build, which is the directory @build. Return: its output and errors, in order."""
        inside = ["sh", str(_INSIDE), str(self.root), str(build), *map(str, command)]
        return run_tool(["unshare", "--mount", "--pid", "--fork", "--kill-child", *inside],
                        timeout, note, lines=lines)


def find(name):
    """Return: the kernel_image.Kernel of a release, by its name."""
    where = folder(name)
    images = sorted(where.root.glob("boot/vmlinuz-*"), key=lambda path: sortable(path.name))
    if not images:
        raise KitError(f"{where} has no kernel: remove the directory to recreate it")
    version = images[-1].name.removeprefix("vmlinuz-")
    modules = where.root / "usr" / "lib" / "modules"
    if not modules.is_dir():  # before Debian 12, /lib need not be a link to usr/lib
        modules = where.root / "lib" / "modules"
    return Kernel(version, images[-1], modules / version,
                  headers=f"/usr/src/linux-headers-{version}", folder=where)


def folder(name):
    """Return: the Folder with a release, created if it is not in the cache."""
    release = RELEASES[name]
    if os.geteuid() != 0:
        raise Unavailable(f"only root can run commands in a root directory with {release.what}")
    where = bootstrap.folder(cache.directory(name), " ".join(sorted(release.packages)),
                             f"a root directory with {release.what}",
                             lambda new, final: _make(release, new, final))
    return _usable(Folder(where))


def _usable(made):
    try:
        made.run(["true"], 60)
    except KitError as e:
        raise Unavailable(f"cannot run commands in {made}: {debs.why_not(e)}") from e
    return made


def _make(release, new, final):
    for suites in release.suites:
        options = ["--variant=apt", *_NO_DRIVERS]
        if len(suites) > 1:
            options.append(f"--aptopt=APT::Default-Release \"{suites[-1]}\"")
        try:
            bootstrap.debian(suites, release.packages, new / suites[-1], options)
        except Unavailable:
            raise
        except KitError as e:
            why = e
            continue
        os.rename(new / suites[-1], final)
        return
    raise Unavailable(f"mmdebstrap cannot install {release.what}: {debs.why_not(why)}") from why
