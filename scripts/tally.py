#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Count the tests of one or more `meson test` runs.

Prints each skipped test with the reason, then the slowest tests, then each failure with the end of
its output, so that failures are at the end of a long log. The last line has the totals.

    scripts/tally.py LOG...

Each LOG is BUILD_DIR/meson-logs/testlog.json, or NAME.json after `meson test --logbase NAME`. If a
test prints TAP, its cases are counted instead of the test. A log that is missing or has no test
counts as a failure, because tests should have run.
"""
import json
import pathlib
import re
import sys

TAP_LINE = re.compile(r"^(?P<bad>not )?ok\b[ \d]*(?:- )?(?P<name>.*?)"
                      r"(?:\s+# (?P<skip>SKIP)\S*\s*(?P<reason>.*))?$")

LINES_MAX = 12  # maximum number of lines printed for each failure
SLOWEST_MAX = 10


def gist(lines):
    """Return: the lines that show the error: pytest's `>` and `E` lines or, if there are none, the
    last lines."""
    output = [line.removeprefix("#").removeprefix(" ").rstrip() for line in lines
              if line.strip("# ")]
    marked = [line for line in output if line.startswith((">", "E "))]
    return (marked or output)[-LINES_MAX:]


class Tally:
    def __init__(self):
        self.passed = self.skipped = 0
        self.failures = []  # (name, lines of output)
        self.durations = []  # (seconds, name, build directory)

    @property
    def failed(self):
        return len(self.failures)

    def fail(self, name, lines=()):
        self.failures.append((name, gist(lines)))

    def skip(self, name, reason):
        print(f"skipped: {name}: {reason or 'no reason given'}")
        self.skipped += 1

    def add_cases(self, test):
        """Count the cases of a test. Return: whether the test has any cases."""
        lines = test.get("stdout", "").splitlines()
        cases = [(at, match) for at, match in enumerate(map(TAP_LINE.match, lines)) if match]
        ends = [at for at, _ in cases[1:]] + [len(lines)]
        for (at, case), end in zip(cases, ends):
            name = f"{test['name']}: {case['name'].strip()}"
            if case["bad"]:
                self.fail(name, lines[at + 1:end])
            elif case["skip"]:
                self.skip(name, case["reason"])
            else:
                self.passed += 1
        return bool(cases)

    def add(self, test):
        failed_before = self.failed
        result = test["result"]
        output = (test.get("stdout", "") + test.get("stderr", "")).splitlines()
        if self.add_cases(test):
            # The test may have crashed or timed out after its last case.
            if result not in ("OK", "SKIP") and self.failed == failed_before:
                self.fail(f"{test['name']} ({result})", output)
        elif result == "OK":
            self.passed += 1
        elif result == "SKIP":
            self.skip(test["name"], "the whole test")
        else:
            self.fail(f"{test['name']} ({result})", output)

    def add_log(self, path):
        try:
            tests = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            self.fail(f"{path}: {error}")
            return
        if not tests:
            self.fail(f"{path}: no test ran")
        for test in tests:
            self.add(test)
            if "duration" in test:
                self.durations.append((test["duration"], test["name"], str(path.parents[1])))

    def slowest(self):
        """Return: lines about the tests that took longest, the slowest first."""
        return [f"{seconds:7.1f} s  {name.rpartition(' / ')[2]} ({directory})"
                for seconds, name, directory in
                sorted(self.durations, reverse=True)[:SLOWEST_MAX]]


def main():
    tally = Tally()
    for path in sys.argv[1:]:
        tally.add_log(pathlib.Path(path))
    if tally.durations:
        print("slowest:", *tally.slowest(), sep="\n")
    for name, lines in tally.failures:
        print(f"failed: {name}")
        for line in lines:
            print(f"    {line}")
    print(f"{tally.passed} passed, {tally.failed} failed"
          + (f", {tally.skipped} skipped" if tally.skipped else ""))
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
