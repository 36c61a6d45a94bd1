# SPDX-License-Identifier: BSD-3-Clause
"""Install the client of Looking Glass B7, with an X server that needs no display.

    root = looking_glass.find()       # a root directory for chroot(2)

mmdebstrap unpacks the packages into the cache, looking-glass/, without root (in a minute or two,
280 MB): the client from Debian's unstable release, which alone has it, and everything else from the
stable one. Raises Unavailable, with the reason, if that fails, or if unstable has another release
of Looking Glass, which speaks another protocol.
"""

import gzip
import os

from . import bootstrap, cache, debs
from .bootstrap import Unavailable
from .proc import KitError

SUITES = ("trixie", "unstable")
#: The X server starts a program by the shell.
PACKAGES = ("looking-glass-client", "xvfb", "libegl-mesa0", "libgl1-mesa-dri", "libglx-mesa0",
            "dash")
RELEASE = "0+b7+"

#: Directories that are mounted over
MOUNT_POINTS = ("dev", "proc", "tmp")

_LINKS = ("bin", "lib", "lib64", "sbin")

#: Begins with a line such as "looking-glass (0+b7+ds1-1) unstable; urgency=medium"
CHANGELOG = "usr/share/doc/looking-glass-client/changelog.Debian.gz"


def find():
    """Return: the path of the root directory."""
    return bootstrap.folder(cache.directory("looking-glass"),
                            f"{' '.join(PACKAGES)} {' '.join(SUITES)}",
                            "the client of Looking Glass", _make)


def _make(new, final):
    root = new / "root"
    try:
        # Packages are only unpacked: their scripts do not run.
        bootstrap.debian(SUITES, PACKAGES, root,
                         ["--mode=chrootless", "--variant=extract",
                          "--aptopt=Acquire::Check-Valid-Until \"false\"",
                          f"--aptopt=APT::Default-Release \"{SUITES[0]}\""])
    except Unavailable:
        raise
    except KitError as e:
        raise Unavailable("mmdebstrap cannot unpack the client of Looking Glass: "
                          + debs.why_not(e)) from e
    check_release(root)
    for name in _LINKS:
        if not (root / name).is_symlink() and not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    for name in MOUNT_POINTS:
        (root / name).mkdir(exist_ok=True)
    os.rename(root, final)


def check_release(root):
    """Raise Unavailable if the client in this directory is of another release."""
    with gzip.open(root / CHANGELOG, "rt", encoding="utf-8") as f:
        version = f.readline().partition("(")[2].partition(")")[0]
    if not version.startswith(RELEASE):
        raise Unavailable(f"{SUITES[1]} has looking-glass-client {version}, and the publisher "
                          "speaks the protocol of release B7")
