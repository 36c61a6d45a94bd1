# SPDX-License-Identifier: BSD-3-Clause
"""Test that scripts/tally.py counts correctly, and prints failures at the end of its output."""
import json
import subprocess

import pytest

from support.py.paths import SOURCE


def tally(path, tests):
    """Run the script on a log of these tests. Return: (exit status, lines of output)."""
    log = path / "meson-logs" / "testlog.json"
    log.parent.mkdir()
    log.write_text("".join(json.dumps(test) + "\n" for test in tests))
    done = subprocess.run([SOURCE / "scripts" / "tally.py", log], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


CASES = """\
ok 1 - first
ok 2 - second # SKIP not available here
not ok 3 - third
# def test_third():
# >       assert 1 == 2
# E       assert 1 == 2
#
# third.py:3: AssertionError
ok 4 - fourth
# not part of the failure
1..4
"""


def test_cases(tmp_path):
    """Each TAP case is counted. Failures are printed after skips, each with its error lines."""
    assert tally(tmp_path, [{"name": "tap", "result": "ERROR", "stdout": CASES}]) == (1, [
        "skipped: tap: second: not available here",
        "failed: tap: third",
        "    >       assert 1 == 2",
        "    E       assert 1 == 2",
        "2 passed, 1 failed, 1 skipped"])


def test_programs(tmp_path):
    """A program that prints no TAP cases counts as one case. If it fails, the end of its output is
    printed."""
    long = "".join(f"line {number}\n" for number in range(100))
    assert tally(tmp_path, [
        {"name": "good", "result": "OK", "stdout": ""},
        {"name": "bad", "result": "FAIL", "stdout": long, "stderr": "it broke\n"},
        {"name": "gone", "result": "SKIP"}]) == (1, [
            "skipped: gone: the whole test",
            "failed: bad (FAIL)",
            *[f"    line {number}" for number in range(89, 100)],
            "    it broke",
            "1 passed, 1 failed, 1 skipped"])


def test_slowest(tmp_path):
    """The ten slowest tests are printed, the slowest first, then failures and the totals."""
    tests = [{"name": f"ivshmem:unit / unit-{number}", "result": "OK", "duration": number / 4}
             for number in range(12)]
    tests.append({"name": "bad", "result": "FAIL", "stdout": "broken\n", "duration": 100.04})
    assert tally(tmp_path, tests) == (1, [
        "slowest:",
        f"  100.0 s  bad ({tmp_path})",
        *[f"    {number / 4:.1f} s  unit-{number} ({tmp_path})" for number in range(11, 2, -1)],
        "failed: bad (FAIL)",
        "    broken",
        "12 passed, 1 failed"])


@pytest.mark.parametrize("result", ["TIMEOUT", "ERROR"])
def test_failure_after_the_last_case(tmp_path, result):
    status, lines = tally(tmp_path, [{"name": "tap", "result": result, "stdout": "ok 1 - first\n"}])
    assert status == 1
    assert lines == [f"failed: tap ({result})", "    ok 1 - first", "1 passed, 1 failed"]


def test_nothing_ran(tmp_path):
    assert tally(tmp_path, []) == (1, [
        f"failed: {tmp_path}/meson-logs/testlog.json: no test ran", "0 passed, 1 failed"])


def test_all_pass(tmp_path):
    assert tally(tmp_path, [{"name": "good", "result": "OK"}]) == (0, ["1 passed, 0 failed"])
