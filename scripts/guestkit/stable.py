# SPDX-License-Identifier: BSD-3-Clause
"""Debian's current release in a folder: its kernel to boot guests with, that kernel's headers, its
compiler and a few of its tools. This machine may be of an older release, or of a newer one.

    kernel = stable.find()         # a kernel.Kernel; driver.module(kernel) builds in the folder
    stable.folder().run(["udevadm", "verify", "/build/x.rules"], 60, build=directory)

Made by mmdebstrap (half a minute, 570 MB) in the cache directory, stable/. Unavailable, with the
reason, where that cannot be done: what needs it is then left out.
"""

import hashlib
import os
import pathlib
import re
import shutil
import time

from . import cache
from .kernel import Kernel, sortable
from .proc import KitError, find_program, run_tool

SUITES = ("stable", "trixie")  # a mirror may lack the link
PACKAGES = ("dkms", "gcc", "kmod", "linux-headers-cloud-amd64", "linux-image-cloud-amd64", "make",
            "sparse", "udev")

_INSIDE = pathlib.Path(__file__).with_name("folder.sh")


class Unavailable(KitError):
    """This machine cannot have the folder, and why."""


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
    """The kernel.Kernel of Debian's current release."""
    where = folder()
    images = sorted(where.root.glob("boot/vmlinuz-*"), key=lambda path: sortable(path.name))
    if not images:
        raise KitError(f"{where} has no kernel: remove it, and it is made anew")
    version = images[-1].name.removeprefix("vmlinuz-")
    return Kernel(version, images[-1], where.root / "usr" / "lib" / "modules" / version,
                  headers=f"/usr/src/linux-headers-{version}", folder=where)


def folder():
    """The Folder, made now if it is not there."""
    name = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:8]
    where = cache.directory("stable")
    if os.geteuid() != 0:
        raise Unavailable("only root can work in a folder with Debian's current release")
    if not (where / name).is_dir():
        with cache.locked(where, "a folder with Debian's current release"):
            if not (where / name).is_dir():
                for old in where.glob("[!.]*"):
                    shutil.rmtree(old, ignore_errors=True)
                _make(where, name)
    return _usable(Folder(where / name))


def _usable(made):
    try:
        made.run(["true"], 60)
    except KitError as e:
        raise Unavailable(f"commands cannot run in {made}: {str(e).splitlines()[-1].strip()}") from e
    return made


def _make(where, name):
    if not find_program("mmdebstrap"):
        raise Unavailable("mmdebstrap is missing: install the package mmdebstrap")
    mirror = _mirror()
    print(f"making a folder with Debian's current release in {where}", flush=True)
    with cache.new(where) as new:
        for suite in SUITES:
            try:
                _bootstrap(suite, mirror, new / suite)
            except KitError as e:
                why = e
                continue
            os.rename(new / suite, where / name)
            return
    raise Unavailable(f"mmdebstrap cannot make Debian's current release: "
                      f"{str(why).splitlines()[-1].strip()}")


def _bootstrap(suite, mirror, directory):
    begin = time.monotonic()
    # In a mount namespace of its own: whatever ends it, no mount is left in the directory.
    run_tool(["unshare", "--mount", "mmdebstrap", "--variant=apt", f"--include={','.join(PACKAGES)}",
              *[f"--aptopt={line}" for line in _proxies()], suite, str(directory),
              f"deb {mirror} {suite} main"], 900,
             lambda: f"making a folder with Debian {suite}: {time.monotonic() - begin:.0f} s so far",
             every=10)


def _mirror():
    """Where this machine gets Debian from."""
    try:
        listed = run_tool(["apt-get", "indextargets", "--format", "$(REPO_URI)",
                           "Created-By: Packages"], 60).splitlines()
    except KitError as e:
        raise Unavailable("no apt-get here to ask for a mirror of Debian") from e
    for uri in listed:
        if re.search(r"/debian/*$", uri):
            return uri
    raise Unavailable("apt has no mirror of Debian in its sources")


def _proxies():
    """apt's settings for the way out, as lines of a configuration; the folder's apt has its own."""
    dumped = run_tool(["apt-config", "dump"], 60).splitlines()
    return [line for line in dumped if re.match(r"Acquire::https?::Proxy\S* \"[^\"]+\"", line)]
