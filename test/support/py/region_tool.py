# SPDX-License-Identifier: BSD-3-Clause
"""Running "ivshmem create", "resize" and "remove" in tests."""
import os
import subprocess

import pytest

from support.py.paths import BUILD
from support.py.programs import TIMEOUT, changed_environment

TOOL = BUILD / "tools" / "ivshmem"
MIB = 1 << 20


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
