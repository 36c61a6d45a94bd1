# SPDX-License-Identifier: BSD-3-Clause
"""Test that a test run that is terminated, for instance when meson's timeout expires, leaves
nothing behind."""
import os
import pathlib
import signal
import subprocess
import sys

from support.py.paths import SOURCE

BLOCKED_TEST = """
import signal

def test_blocked(place):
    print(place.dir, flush=True)
    signal.pause()
"""


def test_sigterm_runs_the_clean_up(tmp_path):
    """On SIGTERM, pytest removes the directory of the running test and exits with status 2."""
    file = tmp_path / "test_blocked.py"
    file.write_text(BLOCKED_TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "conftest",
               "-c", SOURCE / "test/pytest.ini", file]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "PYTHONPATH": str(SOURCE / "test")}) as run:
        directory = pathlib.Path(run.stdout.readline().strip())
        assert directory.is_dir()
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=60)
    assert run.returncode == 2
    assert not directory.exists()
