# SPDX-License-Identifier: BSD-3-Clause
"""Install Debian's current release in a directory: a kernel for guests, its headers, the compiler
and some tools. This machine may run an older or a newer release.

    kernel = stable.find()   # a kernel_image.Kernel; driver.module(kernel) builds in the directory
    stable.folder().run(["udevadm", "verify", "/build/x.rules"], 60, build=directory)

The directory is created by mmdebstrap (in half a minute, 570 MB) in the cache, stable/. Functions
raise Unavailable, with the reason, if that is not possible; the caller then skips whatever needs
the directory.
"""

import os
import pathlib

from . import bootstrap, cache, debs
from .bootstrap import Unavailable
from .kernel_image import Kernel, sortable
from .proc import KitError, run_tool

SUITES = ("stable", "trixie")  # some mirrors lack the link "stable"
PACKAGES = ("dkms", "gcc", "kmod", "linux-headers-cloud-amd64", "linux-image-cloud-amd64", "make",
            "sparse", "udev")

_INSIDE = pathlib.Path(__file__).with_name("folder.sh")
_WHAT = "a root directory with Debian's current release"


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


def find():
    """Return: the kernel_image.Kernel of Debian's current release."""
    where = folder()
    images = sorted(where.root.glob("boot/vmlinuz-*"), key=lambda path: sortable(path.name))
    if not images:
        raise KitError(f"{where} has no kernel: remove the directory to recreate it")
    version = images[-1].name.removeprefix("vmlinuz-")
    return Kernel(version, images[-1], where.root / "usr" / "lib" / "modules" / version,
                  headers=f"/usr/src/linux-headers-{version}", folder=where)


def folder():
    """Return: the Folder with Debian's current release, created if it is not in the cache."""
    if os.geteuid() != 0:
        raise Unavailable(f"only root can run commands in {_WHAT}")
    where = bootstrap.folder(cache.directory("stable"), " ".join(PACKAGES), _WHAT, _make)
    return _usable(Folder(where))


def _usable(made):
    try:
        made.run(["true"], 60)
    except KitError as e:
        raise Unavailable(f"cannot run commands in {made}: {debs.why_not(e)}") from e
    return made


def _make(new, final):
    for suite in SUITES:
        try:
            bootstrap.debian([suite], PACKAGES, new / suite, ["--variant=apt"])
        except Unavailable:
            raise
        except KitError as e:
            why = e
            continue
        os.rename(new / suite, final)
        return
    raise Unavailable("mmdebstrap cannot install Debian's current release: "
                      + debs.why_not(why)) from why
