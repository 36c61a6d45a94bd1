# SPDX-License-Identifier: BSD-3-Clause
"""Test that scripts/install-packages retries a limited number of times. Nothing is installed."""
import os
import subprocess

import pytest

from support.py.paths import SOURCE

#: Replacements for the programs that the script calls. Each "apt-get update" removes a line from
#: the file "update", prints the line, and fails; it succeeds if the line is empty or no line is
#: left. "apt-get install" does the same with the file "install".
PROGRAMS = {
    "apt-get": """
for action; do case $action in update|install) break; esac; done
echo "$action" >>calls
answer=$(head -n 1 "$action" 2>/dev/null)
sed -i 1d "$action" 2>/dev/null
[ -z "$answer" ] && exit
echo "$answer"
exit 100""",
    "apt-cache": '[ "$1" = show ] && grep -qx update calls 2>/dev/null',
    "dpkg-query": "exit 0",
    "sleep": 'echo "sleep" >>calls',
    "sudo": 'exec "$@"',
}
BUSY = "E: Failed to fetch it  503  Service Unavailable"


@pytest.fixture
def run(tmp_path):
    """Return: a function, run(answers, group), that runs the script. @answers: {"update" or
    "install": lines for the file}. It returns the calls that the script made, and the finished
    process."""
    for name, text in PROGRAMS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run_it(answers, group="build"):
        for action, lines in answers.items():
            (tmp_path / action).write_text("".join(f"{line}\n" for line in lines))
        done = subprocess.run([SOURCE / "scripts" / "install-packages", group], cwd=tmp_path,
                              env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
                              text=True, capture_output=True, timeout=60, check=False)
        return (tmp_path / "calls").read_text().split(), done

    return run_it


@pytest.mark.parametrize("group", ["build", "deb", "rpm", "demo", "test", "slow", "bench"])
def test_success(run, group):
    calls, done = run({}, group)
    assert (calls, done.returncode, done.stderr) == (["update", "install"], 0, "")


def test_unknown_group(run):
    """The message names the groups. Nothing is installed."""
    _, done = run({"calls": []}, "nothing")
    assert done.returncode == 1 and "slow or bench" in done.stderr


@pytest.mark.parametrize("action", ["update", "install"])
def test_busy_mirror_is_retried(run, action):
    """If a mirror is busy, the script retries after a pause, and prints the error message."""
    calls, done = run({action: [BUSY, BUSY, BUSY]})
    assert done.returncode == 0, done.stdout + done.stderr
    assert calls.count("sleep") >= 2 and calls[-1] == "install"
    assert BUSY in done.stdout


def test_replaced_versions(run):
    """If the mirror has replaced a version, the script updates the lists and retries without a
    pause, because the updated lists name the new version."""
    calls, done = run({"install": ["E: Failed to fetch it  404  Not Found"]})
    assert done.returncode == 0
    assert calls == ["update", "install", "update", "install"]


@pytest.mark.parametrize("action", ["update", "install"])
def test_gives_up(run, action):
    calls, done = run({action: [BUSY] * 20})
    assert done.returncode == 1
    assert BUSY in done.stderr and "install-packages: apt-get" in done.stderr
    assert calls.count("sleep") <= 3
