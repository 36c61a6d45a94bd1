# SPDX-License-Identifier: BSD-3-Clause
"""Install the Looking Glass B7 client, with an X server that needs no display.

    root = looking_glass.find()       # a root directory for chroot(2)

mmdebstrap unpacks the packages into the cache, looking-glass/, without root (this takes a minute or
two, and 280 MB): the client from Debian's unstable release, the only release that has it, and
everything else from the stable one. Raises Unavailable, with the reason, if that fails. If unstable
has a different release of Looking Glass, which uses a different protocol, this is noted in the
cache.
"""

import os
import re

from . import bootstrap, cache, debs
from .bootstrap import Unavailable
from .proc import KitError

SUITES = ("trixie", "unstable")
#: The X server starts a program through the shell.
PACKAGES = ("looking-glass-client=0+b7*", "xvfb", "libegl-mesa0", "libgl1-mesa-dri",
            "libglx-mesa0", "dash")

#: Directories that are used as mount points
MOUNT_POINTS = ("dev", "proc", "tmp")

_LINKS = ("bin", "lib", "lib64", "sbin")

_ABSENT = "absent"  # the name of the note in the cache
_OTHER_RELEASE = re.compile(r"^ *E: Version .* was not found", re.M)


def find():
    """Return: the path of the root directory."""
    root = bootstrap.folder(cache.directory("looking-glass"),
                            f"{' '.join(PACKAGES)} {' '.join(SUITES)}",
                            "the Looking Glass client", _make)
    if (root / _ABSENT).exists():
        raise Unavailable(f"Debian {SUITES[1]} has a release of Looking Glass other than B7 "
                          f"(remove {root} to try again)")
    return root


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
        if not _OTHER_RELEASE.search(str(e)):
            raise Unavailable("mmdebstrap cannot unpack the Looking Glass client: "
                              + debs.why_not(e)) from e
        root.mkdir(exist_ok=True)
        (root / _ABSENT).touch()
    for name in _LINKS:
        if not (root / name).is_symlink() and not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    for name in MOUNT_POINTS:
        (root / name).mkdir(exist_ok=True)
    os.rename(root, final)
