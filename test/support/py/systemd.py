# SPDX-License-Identifier: BSD-3-Clause
"""A private instance of systemd: a user manager in its own directory, with our units and no
others."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from support.py import with_unit_filter
from support.py.programs import TIMEOUT, is_sanitized, wait_until

WITH_UNIT_FILTER = pathlib.Path(with_unit_filter.__file__)
MANAGER = "/lib/systemd/systemd"
CGROUPS = pathlib.Path("/sys/fs/cgroup")


def cgroup_directories():
    """The existing top-level directories of all cgroup hierarchies."""
    tops = [CGROUPS, *CGROUPS.glob("*/")]
    return {path for top in tops for path in top.glob("*/")}


class Absent(Exception):
    """This machine cannot run a private instance of systemd; the exception's text is the reason."""


class UserManager:
    """A running user manager; close() ends the manager and all its processes."""

    def __init__(self, place):
        if not os.path.exists(MANAGER):
            raise Absent("systemd is not installed")
        self._before = cgroup_directories()
        self.dir = place.dir / "xdg"
        self.units = self.dir / "systemd" / "user"
        self.units.mkdir(parents=True)
        (self.units / "nothing.target").write_text("[Unit]\n")
        self.env = {"XDG_RUNTIME_DIR": str(self.dir), "PATH": os.environ["PATH"],
                    "HOME": str(self.dir), "SYSTEMD_UNIT_PATH": f"{self.units}:"}
        self.log = open(self.dir / "log", "w+", encoding="utf-8", errors="replace")
        self.popen = subprocess.Popen([MANAGER, "--user", "--unit=nothing.target",
                                       "--log-target=console"], env=self.env, stdout=self.log,
                                      stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        place.add(self)
        try:
            wait_until(lambda: self.popen.poll() is not None or
                       (self.dir / "systemd" / "private").exists(), "it listens")
        except AssertionError:
            pass  # checked below
        if self.run("is-system-running", check=False).stdout.strip() in ("", "offline"):
            raise Absent(f"systemd --user does not start here: {self.text()[-200:]!r}")

    def text(self):
        """The log of the manager."""
        return (self.dir / "log").read_text(errors="replace")

    def run(self, *arguments, check=True):
        """Run systemctl."""
        done = subprocess.run(["systemctl", "--user", "--no-pager", *arguments], env=self.env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=TIMEOUT, check=False)
        assert not check or done.returncode == 0, f"{arguments}: {done.stderr}{self.text()[-2000:]}"
        return done

    def show(self, unit, name):
        """The value of a property of a unit."""
        return self.run("show", "-p", name, "--value", unit).stdout.strip()

    def pid(self, unit):
        """The main process of a running unit, or 0."""
        return int(self.show(unit, "MainPID"))

    def close(self):
        """Stop the manager, and remove its cgroups."""
        self.popen.terminate()
        try:
            self.popen.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self.log.close()
        for top in cgroup_directories() - self._before:
            for path, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(path)
                except OSError:
                    pass  # used by another process


def install_units(place, manager_dir, changes):
    """Install our units, without the settings that a user manager cannot apply."""
    unable = ("User=", "Group=", "SocketGroup=", "AmbientCapabilities=",
              "CapabilityBoundingSet=", "DevicePolicy=", "IPAddressDeny=", "Private", "Proc",
              "Protect")
    if is_sanitized(place.server_program):  # a tracer is attached when systemd exits
        unable += ("SystemCallFilter=", "MemoryDenyWriteExecute=")
    source = place.source / "packaging" / "systemd"
    for path in [source / "ivshmem@.socket", place.build / "packaging" / "ivshmem@.service"]:
        lines = [line for line in path.read_text().splitlines() if not line.startswith(unable)]
        (manager_dir / path.name).write_text("\n".join(lines) + "\n")
    (manager_dir / "ivshmem@.service.d").mkdir()
    (manager_dir / "ivshmem@.service.d" / "test.conf").write_text("[Service]\n" + changes)


def needs(program):
    """Skip the test unless the program is installed."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


def exec_start(place, more=""):
    """The ExecStart= command of the service, with the path of the program under test."""
    service = (place.build / "packaging" / "ivshmem@.service").read_text()
    command = re.search(r"^ExecStart=\S+(.*)$", service, re.MULTILINE)[1]
    return f"{place.server_program} {more}{command}"
