#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Check the sources against the rules in ARCHITECTURE.md and CONTRIBUTING.md. Runs as a test."""
import argparse
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True

import check_layers  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent


def read_tree(root):
    """Return: {name: text} for all files that are tracked by git, or are neither tracked nor
    ignored.
    """
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True).stdout.split("\n")
    return {name: (root / name).read_text(encoding="utf-8", errors="replace")
            for name in sorted(set(listed)) if name and (root / name).is_file()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(check_layers.CHECKS),
                        help="list all complaints of one check, including known and counted ones")
    parser.add_argument("root", nargs="?", type=pathlib.Path, default=ROOT)
    options = parser.parse_args()

    files = read_tree(options.root)
    counts = {}
    if options.only:
        complaints = check_layers.complaints_of(options.only, files)
    else:
        complaints, counts = check_layers.run(files)
    print("\n".join(complaints) or f"layers: {len(files)} files pass")
    for check, count in counts.items():
        print(f"layers: {count} complaints of --only {check} do not count yet")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
