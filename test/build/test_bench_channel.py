# SPDX-License-Identifier: BSD-3-Clause
"""bench/channel: what it prints, that it leaves nothing behind, and the plots."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import xml.etree.ElementTree

import pytest

from support.py.paths import BUILD, SOURCE
from support.py.programs import TIMEOUT, wait_until

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2,
                                reason="the benchmark needs two CPUs")

BENCH = BUILD / "bench" / "channel"
VERDICTS = {"met", "NOT met", "not measured"}
OWN = {"queue", "queue, send and receive", "queue, with doorbells", "stream",
       "stream, with doorbells", "topic", "topic, with doorbells"}


class Run:
    """A run of the benchmark, in a session of its own, with its sockets in @folder."""

    def __init__(self, folder, *args):
        self.folder = folder
        self.process = subprocess.Popen(
            [BENCH, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, env={**os.environ, "TMPDIR": str(folder)})

    def finish(self):
        """Return: exit status, output and errors, once it has ended."""
        output, errors = self.process.communicate(timeout=20 * TIMEOUT)
        return self.process.returncode, output, errors

    def children(self):
        """Return: the ids of its child processes."""
        path = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            return [int(pid) for pid in path.read_text(encoding="utf-8").split()]
        except (FileNotFoundError, ProcessLookupError):
            return []

    def session(self):
        """Return: the ids of all processes of its session."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == self.process.pid:
                found.append(int(path.parent.name))
        return found

    def regions(self):
        """Return: the paths of its regions."""
        return list(pathlib.Path("/dev/shm").glob(f"ivs-bench-{self.process.pid}*"))

    def check_nothing_is_left(self):
        """Check that processes, sockets and regions are gone. The helper of a server ends a moment
        after its server."""
        wait_until(lambda: not self.session(), "all processes have ended")
        assert not list(self.folder.iterdir())
        assert not self.regions()

    def close(self):
        """End what is still running."""
        for pid in self.session():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        for path in self.regions():
            path.unlink()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture(name="start")
def start_fixture(place):
    """Return: a function that starts the benchmark with arguments."""
    folder = place.dir / "tmp"
    folder.mkdir()
    return lambda *args: place.add(Run(folder, *args))


@pytest.fixture(name="quick", scope="module")
def quick_fixture(tmp_path_factory):
    """The JSON file of a short run, and what the run printed."""
    folder = tmp_path_factory.mktemp("quick")
    file = folder / "run.json"
    (folder / "tmp").mkdir()
    run = Run(folder / "tmp", "--rounds", "1", "--quick", "--save", file)
    try:
        status, output, errors = run.finish()
        assert (status, errors) == (0, "")
        run.check_nothing_is_left()
    finally:
        run.close()
    return file, output


def test_quick_run(quick):
    """A short run prints tables and goals, and saves JSON in which each way has numbers, or the
    reason why it has none."""
    file, output = quick
    found = json.loads(file.read_text(encoding="utf-8"))
    short = [row for row in found["messages"] if row["bytes"] == 64]
    for row in short:
        has_numbers = row["trip_p50_ns"] is not None
        long_only = row["way"] in ("ring, non-temporal", "ring, rep movsb")
        assert has_numbers != bool(row["absent"]) or long_only, row
        assert f"\n  {row['way']}" in output or row["absent"] in output or long_only
    assert {row["way"] for row in short if row["kind"] == "own"} == OWN
    assert not any(row["absent"] for row in short if row["kind"] != "other")
    assert {row["way"] for row in found["idle"]} >= {way for way in OWN if "doorbells" in way}
    assert all(row["readers_8_ns"] for row in found["topics"] if row["bytes"] == 64)
    assert found["bulk"][0]["mb_per_s"] > 0
    goals = found["goals"]
    assert goals and {goal["verdict"] for goal in goals} <= VERDICTS
    for goal in goals:
        line, = [line for line in output.splitlines() if line.strip().startswith(goal["goal"])]
        assert line.endswith(goal["verdict"])
        assert (goal["measured"] is None) == (goal["verdict"] == "not measured")


def test_selection(start):
    """A run can be limited to some rows, and to one length."""
    status, output, errors = start("--rounds", "1", "--quick", "--only", "queue, with",
                                   "--length", "64").finish()
    assert (status, errors) == (0, "")
    assert "ring, unchecked" in output and "queue, with doorbells" in output
    assert not re.search("^  stream|^  pipe|^4 KiB|^Bulk|wake-ups|not measured", output, re.M)


def test_terminated(start):
    """A run that is terminated ends its children, and removes their sockets and regions."""
    run = start()
    wait_until(run.children, "there are children")
    run.process.terminate()
    assert run.finish()[0] == 128 + signal.SIGTERM
    run.check_nothing_is_left()


def test_child_that_is_killed(start):
    """If a process of a channel or floor is killed, the run fails, and leaves nothing behind."""
    run = start()
    while run.process.poll() is None:
        for pid in run.children():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    status, output, errors = run.finish()
    assert (status, output) == (1, "")
    assert "its processes failed" in errors
    run.check_nothing_is_left()


def test_killed(start):
    """The children of a run that is killed end, too."""
    run = start()
    wait_until(run.children, "there are children")
    run.process.kill()
    run.finish()
    wait_until(lambda: not run.session(), "all processes have ended")


def test_invalid_options(start):
    """Options that the benchmark does not have are refused."""
    for args in (["--rounds", "0"], ["--rounds", "1x"], ["--rounds"], ["--nothing"],
                 ["--only", "quine"], ["--length", "65"]):
        status, output, errors = start(*args).finish()
        assert (status, output) == (2, "") and errors.startswith("usage: ")


@pytest.mark.skipif(not shutil.which("gnuplot"), reason="gnuplot is not installed")
def test_plots(quick, tmp_path):
    """The plots are SVG, show each way with a legend, and are the same in each run."""
    plots = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        subprocess.run([SOURCE / "bench" / "plot", quick[0], folder], check=True)
        plots.append({path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()})
    assert plots[0] == plots[1] and set(plots[0]) == {"round-trip.svg", "throughput.svg"}
    for text in plots[0].values():
        assert xml.etree.ElementTree.fromstring(text).tag.endswith("svg")
        assert "queue, with doorbells" in text and "AF_UNIX stream" in text
