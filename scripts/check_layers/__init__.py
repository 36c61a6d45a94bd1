# SPDX-License-Identifier: BSD-3-Clause
"""The checks of scripts/check-layers.py. Each check is a function that takes {file name: text} and
yields complaints.

Checks read no files themselves, so that a test can pass them any tree. The rules and their reasons
are in ARCHITECTURE.md and CONTRIBUTING.md.
"""
from check_layers import borders, circles, cites, known, language, rooms, shape

#: Name of each check -> its function, which yields (where, what) for each complaint.
CHECKS = {
    "rooms": rooms.check_includes,
    "calls": circles.check_calls,
    "folders": rooms.check_folders,
    "circles": circles.check,
    "columns": shape.check_columns,
    "budgets": shape.check_budgets,
    "licences": shape.check_licences,
    "pure": shape.check_pure,
    "exits": shape.check_exits,
    "syscalls": cites.check_syscalls,
    "rules": cites.check_rules,
    "enums": borders.check_enums,
    "returns": borders.check_returns,
    "bodies": borders.check_bodies,
    "limits": borders.check_limits,
    "private": borders.check_private,
    "language": language.check,
}


def complaints_of(check, files):
    """Return: one check's complaints about @files, as lines of text."""
    return [f"{where}: {what}" for where, what in CHECKS[check](files)]


def run(files, exceptions=None, counted=None):
    """Run all checks. Return: (complaints, {check in COUNTED: number of its complaints})."""
    exceptions = known.KNOWN if exceptions is None else exceptions
    counted = known.COUNTED if counted is None else counted
    found = {check: complaints_of(check, files) for check in CHECKS}
    complaints = known.without_known(found, exceptions)
    counts = {check: len(complaints.pop(check)) for check in counted}
    return [line for lines in complaints.values() for line in lines], counts
