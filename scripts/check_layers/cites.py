# SPDX-License-Identifier: BSD-3-Clause
"""Checks of references between files: lists of system calls, and rules of PROTOCOL.md."""
import re

from check_layers import csource

#: A use of IVS_SYSCALLS(name, ...), from src/base/syscalls.h, lists the system calls of a file.
_LIST = re.compile(r"^IVS_SYSCALLS\((\w+)", re.MULTILINE)
_RULES = re.compile(r"\b([PRW])-(\d+)(?: to \1-(\d+))?")
_RULE = re.compile(r"^\*\*([PRW]-\d+)\*\*", re.MULTILINE)

#: Files that are not searched, because they cite rules only as examples
OWN = ("scripts/check_layers/", "scripts/check-layers.py", "test/style/test_layers")


def check_syscalls(files):
    """Check that each file's list of system calls is added to a filter by another file."""
    code = {name: csource.code_of(text) for name, text in files.items()
            if name.startswith(("src/", "tools/")) and name.endswith(".c")}
    for name, text in code.items():
        for found in _LIST.findall(text):
            if not any(other != name and re.search(rf"\b{found}\b", code[other])
                       for other in code):
                yield name, (f"{found} is in no filter: name it in src/server/syscalls.c or "
                             "src/device/syscalls.c, or in tools/*/confine.c if it depends on "
                             "options")


def rules_in(text):
    """Return: the rules that @text cites, by their names in PROTOCOL.md; "W-2 to W-7" cites six."""
    found = set()
    for kind, first, last in _RULES.findall(text):
        found |= {f"{kind}-{n}" for n in range(int(first), int(last or first) + 1)}
    return found


def check_rules(files):
    """Check that each rule of PROTOCOL.md is cited in code or a test, and that every cited rule
    exists.
    """
    rules = set(_RULE.findall(files.get("PROTOCOL.md", "")))
    cited = set()
    for name, text in files.items():
        if name.endswith((".c", ".h", ".py")) and not name.startswith(OWN):
            here = rules_in(text)
            cited |= here
            for rule in sorted(here - rules):
                yield name, f"cites {rule}, which PROTOCOL.md does not have"
    for rule in sorted(rules - cited):
        yield "PROTOCOL.md", f"{rule} is cited in no code and no test"
