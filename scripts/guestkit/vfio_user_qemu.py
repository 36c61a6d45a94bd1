# SPDX-License-Identifier: BSD-3-Clause
"""A QEMU with a vfio-user client (vfio-user-pci), which this machine's own may be too old for.

    qemu = vfio_user_qemu.find()       # what begins the command: for Guest(qemu=...)
    Guest("a", ..., qemu=qemu, devices=machine.vfio_user(socket))

The machine's own QEMU (IVSHMEM_QEMU, or the installed one) if that has it. Else one of Debian's backports:
packages unpacked by mmdebstrap, without root (ten seconds, 100 MB), in the cache directory, vfio-user-qemu/.
It is run where it lies, with its own loader and libraries: nothing is mounted, so all paths are this
machine's, and the process is QEMU. Unavailable, with the reason, where that cannot be done.
"""

import os
import shutil

from . import bootstrap, cache, debs, machine
from .bootstrap import Unavailable
from .proc import KitError, run_tool

SUITES = ("trixie", "trixie-backports")
PACKAGE = "qemu-system-x86"

_PROGRAM = "usr/bin/qemu-system-x86_64"
_FIRMWARE = ("usr/share/qemu", "usr/share/seabios")
#: Below the directory of libraries; big, and QEMU does without.
_NO_LIBRARIES = ("gconv", "perl", "perl-base", "qemu")


def find():
    """The words that begin QEMU's command line."""
    try:
        own = [machine.qemu_program()]
        _need_device(own)
        return own
    except KitError:
        pass  # there is none, or it is too old
    folder = bootstrap.folder(cache.directory("vfio-user-qemu"), f"{PACKAGE} {' '.join(SUITES)}",
                              "a QEMU with a vfio-user client", _make)
    try:
        command = _command(folder)
        _need_device(command)
        return command
    except KitError as e:
        raise Unavailable(f"the QEMU in {folder} cannot be used: {debs.why_not(e)}") from e


def _need_device(command):
    # Not "-device help": to list all, QEMU loads its modules, and those of this machine are another's.
    if "socket=" not in run_tool([*command, "-device", "vfio-user-pci,help"], 60):
        raise KitError("it has no vfio-user-pci")


def _command(folder):
    loaders = sorted(folder.glob("usr/lib/*-linux-gnu/ld-linux*.so.*"))
    if not loaders:
        raise KitError("it has no loader: remove it, and it is made anew")
    return [str(loaders[0]), "--library-path", str(loaders[0].parent), str(folder / _PROGRAM),
            *[word for directory in _FIRMWARE for word in ("-L", str(folder / directory))]]


def _make(new, final):
    try:
        # Nothing is installed, so nothing has to run in there.
        bootstrap.debian(SUITES, [PACKAGE], new / "all",
                         ["--mode=chrootless", "--variant=extract",
                          f"--aptopt=APT::Default-Release \"{SUITES[-1]}\""])
    except Unavailable:
        raise
    except KitError as e:
        raise Unavailable("mmdebstrap cannot make a folder with Debian's backports: "
                          + debs.why_not(e)) from e
    libraries = [str(path.relative_to(new / "all"))
                 for path in (new / "all").glob("usr/lib/*-linux-gnu")]
    for name in (_PROGRAM, *_FIRMWARE, *libraries):
        (new / "kept" / name).parent.mkdir(parents=True, exist_ok=True)
        os.rename(new / "all" / name, new / "kept" / name)
    for directory in libraries:
        for name in _NO_LIBRARIES:
            shutil.rmtree(new / "kept" / directory / name, ignore_errors=True)
    os.rename(new / "kept", final)
