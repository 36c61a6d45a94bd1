# SPDX-License-Identifier: BSD-3-Clause
"""scripts/make-deb: what it removes from the package directory, and the commands that it prints. A
script that creates empty packages replaces dpkg-buildpackage."""
import os
import shlex
import subprocess

import pytest

from support.py.paths import SOURCE

FAKE = """#!/bin/sh
for name in ivshmem-tools libivshmem0 libivshmem-dev ivshmem-dkms; do
    : > ../${name}_9.9_all.deb
done
"""
OTHERS = ["ivshmem-tools-extra_1_all.deb", "libivshmem0dbg.deb", "hello_1_amd64.deb"]
OLD = ["ivshmem-tools_0.0.1_amd64.deb", "libivshmem0_0.0.1_amd64.deb"]


def make_deb(place, directory, **keywords):
    """Run make-deb. Return: the last two lines that it prints."""
    fake = place.dir / "bin" / "dpkg-buildpackage"
    fake.parent.mkdir(exist_ok=True)
    fake.write_text(FAKE)
    fake.chmod(0o755)
    done = subprocess.run(
        [SOURCE / "scripts" / "make-deb", directory], capture_output=True, text=True, timeout=60,
        check=False, env={**os.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}"}, **keywords)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-2:]


@pytest.mark.parametrize("name", ["debs", "Joe's debs"])
def test_other_packages_stay(place, name):
    """Only this project's older packages are removed, and the printed command contains the new
    files' names."""
    debs = place.dir / name
    debs.mkdir()
    for file in OTHERS + OLD:
        (debs / file).touch()
    command, others = make_deb(place, debs)
    made = [f"{package}_9.9_all.deb" for package in (
        "ivshmem-dkms", "ivshmem-tools", "libivshmem-dev", "libivshmem0")]
    assert sorted(path.name for path in debs.iterdir()) == sorted(OTHERS + made)
    words = shlex.split(command.split(": ", maxsplit=2)[2])
    assert words == ["apt", "install", f"{debs}/{made.pop(1)}"]
    assert shlex.split(others.split(":")[2]) == [f"{debs}/{file}" for file in made]


def test_relative_folder(place):
    """A relative path is relative to this tree; the printed command can be run from any
    directory."""
    debs = os.path.relpath(place.dir / "debs", SOURCE)
    command, _ = make_deb(place, debs, cwd="/")
    assert command.endswith(f": apt install {place.dir}/debs/ivshmem-tools_9.9_all.deb")
