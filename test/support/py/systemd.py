# SPDX-License-Identifier: BSD-3-Clause
"""A private instance of systemd: a user manager in its own directory, with our units and no
other units."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from support.py import with_unit_filter
from support.py.programs import TIMEOUT, is_sanitized, wait_until

WITH_UNIT_FILTER = pathlib.Path(with_unit_filter.__file__)
MANAGER = "/lib/systemd/systemd"
BOOTED = pathlib.Path("/run/systemd/system")  # exists if systemd has started this machine
CGROUPS = pathlib.Path("/sys/fs/cgroup")


#: Starts the program in "$@" with its own /run, which looks as if systemd had started the machine.
#: $1: the cgroups to enter, separated by colons.
IN_OWN_RUN = f"""
for path in $(echo "$1" | tr : ' '); do echo $$ > "$path/cgroup.procs"; done
shift
[ -d {BOOTED} ] && exec "$@"
exec unshare --mount sh -c '
mount -t tmpfs own-run /run && mkdir -p {BOOTED} && exec "$@"' sh "$@"
"""


def own_cgroups(name):
    """Create cgroups below those of this process in the hierarchies that systemd uses. Otherwise
    the manager would move all processes in this process's cgroup to a separate cgroup. Return: the
    paths of the new cgroups."""
    lines = pathlib.Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    parents = {line.split(":", 2)[1]: line.split(":", 2)[2].strip("/") for line in lines}
    made = []
    for controller, top in (("name=systemd", CGROUPS / "systemd"), ("", CGROUPS / "unified"),
                            ("", CGROUPS)):
        if controller in parents and (top / "cgroup.procs").exists():
            made.append(top / parents[controller] / name)
            made[-1].mkdir()
    return made


def end_all(cgroup):
    """Kill the processes in a cgroup, because helper processes outlive their server by some
    seconds. Return: true if the cgroup was empty."""
    pids = (cgroup / "cgroup.procs").read_text(encoding="ascii").split()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    return not pids


def remove_cgroups(name):
    """Remove the cgroups with this name and those below them, in all hierarchies, and kill their
    processes."""
    for path in [*CGROUPS.glob(f"**/{name}")]:
        for each, _, _ in os.walk(path, topdown=False):
            wait_until(lambda each=each: end_all(pathlib.Path(each)), f"{each} is empty")
            os.rmdir(each)


class Absent(Exception):
    """This machine cannot run a private instance of systemd; the exception's text is the reason."""


class UserManager:
    """A running user manager; close() ends the manager and all its processes."""

    def __init__(self, place):
        if not os.path.exists(MANAGER):
            raise Absent("systemd is not installed")
        self.dir = place.dir / "xdg"
        self.units = self.dir / "systemd" / "user"
        self.units.mkdir(parents=True)
        (self.units / "nothing.target").write_text("[Unit]\n")
        self.env = {"XDG_RUNTIME_DIR": str(self.dir), "PATH": os.environ["PATH"],
                    "HOME": str(self.dir), "SYSTEMD_UNIT_PATH": f"{self.units}:"}
        self.log = open(self.dir / "log", "w+", encoding="utf-8", errors="replace")
        self._cgroup = f"ivshmem-test-{os.getpid()}"
        try:
            cgroups = own_cgroups(self._cgroup)
        except OSError:
            cgroups = []  # the manager is not root, so it can move only this user's processes
        self.popen = subprocess.Popen(["sh", "-c", IN_OWN_RUN, "sh", ":".join(map(str, cgroups)),
                                       MANAGER, "--user", "--unit=nothing.target",
                                       "--log-target=console"], env=self.env, stdout=self.log,
                                      stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        place.add(self)
        try:
            wait_until(lambda: self.popen.poll() is not None or
                       (self.dir / "systemd" / "private").exists(), "it listens", timeout=20)
        except AssertionError:
            pass  # the check below detects this
        if self.run("is-system-running", check=False).stdout.strip() in ("", "offline"):
            raise Absent(f"systemd --user does not start here: {self.text()[-200:]!r}")

    def text(self):
        """Return: the log of the manager."""
        return (self.dir / "log").read_text(errors="replace")

    def run(self, *arguments, check=True):
        """Run systemctl in the manager's environment."""
        enter = [] if BOOTED.is_dir() else ["nsenter", "--mount", f"--target={self.popen.pid}"]
        done = subprocess.run([*enter, "systemctl", "--user", "--no-pager", *arguments],
                              env=self.env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=TIMEOUT, check=False)
        assert not check or done.returncode == 0, f"{arguments}: {done.stderr}{self.text()[-2000:]}"
        return done

    def show(self, unit, name):
        """Return: the value of a property of a unit."""
        return self.run("show", "-p", name, "--value", unit).stdout.strip()

    def pid(self, unit):
        """Return: the pid of the main process of a running unit, or 0."""
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
        remove_cgroups(self._cgroup)


def install_units(place, manager_dir, changes):
    """Install our units, without the settings that a user manager cannot apply."""
    unable = ("User=", "Group=", "Supplementary", "SocketGroup=", "AmbientCapabilities=",
              "CapabilityBoundingSet=", "DevicePolicy=", "IPAddressDeny=", "Private", "Proc",
              "Protect")
    if is_sanitized(place.server_program):
        unable += ("SystemCallFilter=", "MemoryDenyWriteExecute=")
        # systemd sends SIGCONT after SIGTERM, which would cancel the stop that the leak check waits
        # for.
        changes += "Environment=ASAN_OPTIONS=detect_leaks=0\n"
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
    """Return: the service's ExecStart= command, with the path of the program under test."""
    service = (place.build / "packaging" / "ivshmem@.service").read_text()
    command = re.search(r"^ExecStart=\S+(.*)$", service, re.MULTILINE)[1]
    return f"{place.server_program} {more}{command}"
