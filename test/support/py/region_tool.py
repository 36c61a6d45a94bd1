# SPDX-License-Identifier: BSD-3-Clause
"""Running "ivshmem create", "resize", "remove", "save" and "restore" in tests, and processes that
use a region."""
import contextlib
import os
import pathlib
import subprocess

import pytest

from support.py.paths import BUILD
from support.py.programs import TIMEOUT, changed_environment

TOOL = BUILD / "tools" / "ivshmem"
MIB = 1 << 20

#: A program that maps a region (or only holds it open) until its input ends
USER = ("import mmap, sys\n"
        "file = open(sys.argv[1], 'r+b')\n"
        "if sys.argv[2] == 'map':\n"
        "    memory = mmap.mmap(file.fileno(), 4096)\n"
        "    file.close()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n")


def run(*arguments, status=0, **keywords):
    """Run ivshmem and check its status. Return: the completed process."""
    done = subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=False, **keywords)
    assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done


def run_traced(place, options, *arguments):
    """Run ivshmem under strace. Return: the completed process, and the trace."""
    trace = place.dir / "trace"
    done = subprocess.run(["strace", "-f", "-qq", "-o", trace, *options, TOOL,
                           *map(str, arguments)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=False,
                          env=without_leak_search())
    return done, trace.read_text()


def without_leak_search():
    """Return: an environment for programs under strace, with the leak check disabled, because it
    needs ptrace(2) itself."""
    options = os.environ.get("ASAN_OPTIONS", "")
    return changed_environment({"ASAN_OPTIONS": f"{options}:detect_leaks=0".strip(":")})


def run_in_mounts(script, *arguments):
    """Run a shell script, as root, in its own mount namespace. $TOOL is ivshmem."""
    if os.geteuid():
        pytest.skip("needs root to mount file systems")
    return subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", *map(str, arguments)],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=TIMEOUT, check=False,
                          env=changed_environment({"TOOL": str(TOOL)}))


@contextlib.contextmanager
def user_of(path, how):
    """Run a process that uses the region. Yield the process's pid."""
    with subprocess.Popen(["/usr/bin/python3", "-c", USER, path, how], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as popen:
        try:
            assert popen.stdout.readline() == "ready\n"
            yield popen.pid
        finally:
            popen.stdin.close()


@contextlib.contextmanager
def reader_with_lock(path, kind="LOCK_SH"):
    """A process that may only read the region, and holds its lock."""
    program = ("import fcntl, sys\n"
               "file = open(sys.argv[1], 'rb')\n"
               f"fcntl.flock(file, fcntl.{kind})\n"
               "print('ready', flush=True)\n"
               "sys.stdin.read()\n")
    with subprocess.Popen(["/usr/bin/python3", "-c", program, path], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as popen:
        try:
            assert popen.stdout.readline() == "ready\n"
            yield popen.pid
        finally:
            popen.stdin.close()


def sleeps(pid):
    """Whether the process is in nanosleep(2)."""
    return "nanosleep" in pathlib.Path(f"/proc/{pid}/wchan").read_text()
