# SPDX-License-Identifier: BSD-3-Clause
"""Debian's current release in a folder: its kernel to boot guests with, that kernel's headers, its
compiler and a few of its tools. This machine may be of an older release, or of a newer one.

    kernel = stable.find()         # a kernel_image.Kernel; driver.module(kernel) builds in the folder
    stable.folder().run(["udevadm", "verify", "/build/x.rules"], 60, build=directory)

Made by mmdebstrap (half a minute, 570 MB) in the cache directory, stable/. Unavailable, with the
reason, where that cannot be done: what needs it is then left out.
"""

import os
import pathlib

from . import bootstrap, cache, debs
from .bootstrap import Unavailable
from .kernel_image import Kernel, sortable
from .proc import KitError, run_tool

SUITES = ("stable", "trixie")  # a mirror may lack the link
PACKAGES = ("dkms", "gcc", "kmod", "linux-headers-cloud-amd64", "linux-image-cloud-amd64", "make",
            "sparse", "udev")

_INSIDE = pathlib.Path(__file__).with_name("folder.sh")


class Folder:
    """A root directory that commands run in."""

    def __init__(self, root):
        self.root = pathlib.Path(root)

    def __str__(self):
        return str(self.root)

    def run(self, command, timeout, note=None, build="", lines=20):
        """Run a command in the folder; returns what it said, errors in place. What it writes is
        forgotten, but for what it writes to /build, which is the directory build."""
        return run_tool(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", str(_INSIDE),
                         str(self.root), str(build), *map(str, command)], timeout, note, lines=lines)


def find():
    """The kernel_image.Kernel of Debian's current release."""
    where = folder()
    images = sorted(where.root.glob("boot/vmlinuz-*"), key=lambda path: sortable(path.name))
    if not images:
        raise KitError(f"{where} has no kernel: remove it, and it is made anew")
    version = images[-1].name.removeprefix("vmlinuz-")
    return Kernel(version, images[-1], where.root / "usr" / "lib" / "modules" / version,
                  headers=f"/usr/src/linux-headers-{version}", folder=where)


def folder():
    """The Folder, made now if it is not there."""
    if os.geteuid() != 0:
        raise Unavailable("only root can work in a folder with Debian's current release")
    return _usable(Folder(bootstrap.folder(cache.directory("stable"), " ".join(PACKAGES),
                                           "a folder with Debian's current release", _make)))


def _usable(made):
    try:
        made.run(["true"], 60)
    except KitError as e:
        raise Unavailable(f"commands cannot run in {made}: {debs.why_not(e)}") from e
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
    raise Unavailable("mmdebstrap cannot make Debian's current release: "
                      + debs.why_not(why)) from why
