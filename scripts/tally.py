#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Count the tests in JUnit files: each skip with its reason, and one closing line.

A file that is missing or holds no test is a failure: nothing ran where something should have.
"""
import sys
import xml.etree.ElementTree as ElementTree


def count(path):
    """(passed, failed, skipped) of one file."""
    passed = failed = skipped = 0
    try:
        cases = list(ElementTree.parse(path).iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        print(f"tally: {path}: {error}")
        return 0, 1, 0
    if not cases:
        print(f"tally: {path}: no test ran")
        return 0, 1, 0
    for case in cases:
        name = case.get("name")
        if case.find("failure") is not None or case.find("error") is not None:
            print(f"failed: {name}")
            failed += 1
        elif case.find("skipped") is not None:
            reason = case.find("skipped").get("message") or "no reason given"
            print(f"skipped: {name}: {reason}")
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def main():
    totals = [sum(column) for column in zip(*(count(path) for path in sys.argv[1:]))]
    passed, failed, skipped = totals
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
