# SPDX-License-Identifier: BSD-3-Clause
"""scripts/install-packages is patient with mirrors, and not for ever. Nothing is installed here."""
import os
import subprocess

import pytest

from conftest import SOURCE

#: Stand-ins. apt-get takes what it is to say from the files update and install, a line for each call;
#: after the last, and for an empty line, all goes well.
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
    """run(answers): what was called and what came of it, with these answers of each action."""
    for name, text in PROGRAMS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run_it(answers):
        for action, lines in answers.items():
            (tmp_path / action).write_text("".join(f"{line}\n" for line in lines))
        done = subprocess.run([SOURCE / "scripts" / "install-packages", "build"], cwd=tmp_path, text=True,
                              env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
                              capture_output=True, timeout=60, check=False)
        return (tmp_path / "calls").read_text().split(), done

    return run_it


def test_all_goes_well(run):
    calls, done = run({})
    assert (calls, done.returncode, done.stderr) == (["update", "install"], 0, "")


@pytest.mark.parametrize("action", ["update", "install"])
def test_a_busy_mirror_is_asked_again(run, action):
    """With pauses, and with what it said."""
    calls, done = run({action: [BUSY, BUSY, BUSY]})
    assert done.returncode == 0, done.stdout + done.stderr
    assert calls.count("sleep") >= 2 and calls[-1] == "install"
    assert BUSY in done.stdout


def test_versions_have_been_replaced(run):
    """The new lists name the new ones: at once."""
    calls, done = run({"install": ["E: Failed to fetch it  404  Not Found"]})
    assert done.returncode == 0
    assert calls == ["update", "install", "update", "install"]


@pytest.mark.parametrize("action", ["update", "install"])
def test_it_gives_up(run, action):
    calls, done = run({action: [BUSY] * 20})
    assert done.returncode == 1
    assert BUSY in done.stderr and "install-packages: apt-get" in done.stderr
    assert calls.count("sleep") <= 3
