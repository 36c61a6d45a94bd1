#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Count the tests of some `meson test` runs: each failure and each skip on a line of its own with
its reason, and one closing line.

    scripts/tally.py BUILD_DIR...

Reads meson-logs/testlog.json. A test that speaks TAP counts as its cases. A log that is missing or
holds no test is a failure: nothing ran where something should have.
"""
import json
import pathlib
import re
import sys

TAP_LINE = re.compile(r"^(?P<bad>not )?ok\b[ \d]*(?:- )?(?P<name>.*?)"
                      r"(?:\s+# (?P<skip>SKIP)\S*\s*(?P<reason>.*))?$")


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def fail(self, name):
        print(f"failed: {name}")
        self.failed += 1

    def skip(self, name, reason):
        print(f"skipped: {name}: {reason or 'no reason given'}")
        self.skipped += 1

    def add_cases(self, test):
        """Whether it had any cases; counts them."""
        cases = [match for match in map(TAP_LINE.match, test.get("stdout", "").splitlines()) if match]
        for case in cases:
            name = f"{test['name']}: {case['name'].strip()}"
            if case["bad"]:
                self.fail(name)
            elif case["skip"]:
                self.skip(name, case["reason"])
            else:
                self.passed += 1
        return bool(cases)

    def add(self, test):
        failed_before = self.failed
        result = test["result"]
        if self.add_cases(test):
            # It may also have crashed, or ended too late, after its last case.
            if result not in ("OK", "SKIP") and self.failed == failed_before:
                self.fail(f"{test['name']} ({result})")
        elif result == "OK":
            self.passed += 1
        elif result == "SKIP":
            self.skip(test["name"], "the whole test")
        else:
            self.fail(f"{test['name']} ({result})")

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


def main():
    tally = Tally()
    for directory in sys.argv[1:]:
        tally.add_log(pathlib.Path(directory, "meson-logs", "testlog.json"))
    print(f"{tally.passed} passed, {tally.failed} failed"
          + (f", {tally.skipped} skipped" if tally.skipped else ""))
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
