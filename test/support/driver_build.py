# SPDX-License-Identifier: BSD-3-Clause
"""Stand-in for guestkit.driver."""
import atexit
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent


def module(kernel):
    return modules(kernel, SOURCE / "kernel", ["ivshmem"])[0]


@functools.cache
def _modules(version, source_dir, names):
    where = os.environ.get("IVSHMEM_HEADERS") or f"/usr/src/linux-headers-{version}"
    work = pathlib.Path(tempfile.mkdtemp(prefix="ivs-mod-"))
    atexit.register(shutil.rmtree, work, True)
    shutil.copytree(source_dir, work / "kernel")
    shutil.copytree(SOURCE / "include", work / "include")
    kbuild = work / "kernel" / "Kbuild"
    if not kbuild.exists():
        kbuild.write_text("".join(f"obj-m += {name}.o\n" for name in names)
                          + "ccflags-y := -I$(src)/../include\n")
    done = subprocess.run(["make", "-C", where, f"M={work}/kernel", "modules", "-j2"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [work / "kernel" / f"{name}.ko" for name in names]


def modules(kernel, source_dir, names, directory=None):
    return _modules(kernel.version, source_dir, tuple(names))
