# SPDX-License-Identifier: BSD-3-Clause
"""Find or install a QEMU with a vfio-user client (the device vfio-user-pci).

    qemu = vfio_user_qemu.find()       # the first words of the command line, for Guest(qemu=...)
    Guest("a", ..., qemu=qemu, devices=machine.vfio_user(socket))

Uses this machine's QEMU (IVSHMEM_QEMU, or the installed one) if it has the device. Otherwise
mmdebstrap unpacks the QEMU from Debian's backports into the cache, vfio-user-qemu/, without root
(this takes ten seconds, and 100 MB). That QEMU is run with its own loader and libraries, but
without a mount namespace, so all paths are this machine's, and the process is QEMU itself. Raises
Unavailable, with the reason, if that fails.
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
#: Large subdirectories of the library directory that QEMU does not need
_NO_LIBRARIES = ("gconv", "perl", "perl-base", "qemu")


def find():
    """Return: the first words of a command line that runs such a QEMU."""
    try:
        own = [machine.qemu_program()]
        _need_device(own)
        return own
    except KitError:
        pass  # QEMU is not installed, or is too old
    folder = bootstrap.folder(cache.directory("vfio-user-qemu"), f"{PACKAGE} {' '.join(SUITES)}",
                              "a QEMU with a vfio-user client", _make)
    try:
        command = _command(folder)
        _need_device(command)
        return command
    except KitError as e:
        raise Unavailable(f"the QEMU in {folder} cannot be used: {debs.why_not(e)}") from e


def _need_device(command):
    # Do not use "-device help": it would load the modules of this machine's QEMU, whose version
    # differs.
    if "socket=" not in run_tool([*command, "-device", "vfio-user-pci,help"], 60):
        raise KitError("it lacks the device vfio-user-pci")


def _command(folder):
    loaders = sorted(folder.glob("usr/lib/*-linux-gnu/ld-linux*.so.*"))
    if not loaders:
        raise KitError("it has no loader: remove the directory to recreate it")
    return [str(loaders[0]), "--library-path", str(loaders[0].parent), str(folder / _PROGRAM),
            *[word for directory in _FIRMWARE for word in ("-L", str(folder / directory))]]


def _make(new, final):
    try:
        # Packages are only unpacked; none of the programs in them needs to be runnable here.
        bootstrap.debian(SUITES, [PACKAGE], new / "all",
                         ["--mode=chrootless", "--variant=extract",
                          f"--aptopt=APT::Default-Release \"{SUITES[-1]}\""])
    except Unavailable:
        raise
    except KitError as e:
        raise Unavailable("mmdebstrap cannot unpack Debian's backports: "
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
