#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Who may include whom, and which files are pure (see ARCHITECTURE.md). Run as a test.

Also what can be told by looking: an SPDX line in each file, and the budgets of length.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

#: layer -> the layers whose headers it may include, besides its own. Public headers are free to all.
MAY_INCLUDE = {
    "base": set(),
    "daemon": {"base"},
    "protocol": {"base"},
    "region": {"base"},
    "roster_page": {"region", "base"},
    "roster": {"protocol", "base"},
    "server": {"roster", "roster_page", "protocol", "region", "daemon", "base"},
    "client": {"protocol", "base"},
    "peer": {"client", "roster_page", "protocol", "region", "base"},
    "pci": {"base"},
    "vfio_user": {"pci", "daemon", "base"},
    "device": {"pci", "vfio_user", "client", "protocol", "region", "daemon", "base"},
}

#: Bytes or events in, effects out: no system call, no clock, no global.
PURE = ("src/pci/config.c", "src/pci/function.c", "src/pci/private.h", "src/pci/msix.c",
        "src/pci/registers.c", "src/pci/state.c", "src/protocol/v0.c",
        "src/peer/pci_identity.c", "src/server/observe/request.c", "src/roster/roster.c",
        "src/roster/due.c", "src/roster/memory.c", "src/roster/resume.c",
        "src/base/bitmap.h", "src/base/bytes.h", "src/base/parse.c", "src/base/text.c", "src/vfio_user/codec.c",
        "src/roster_page/format.c")
PURE_HEADERS = {"assert.h", "errno.h", "inttypes.h", "limits.h", "stdatomic.h", "stdbool.h",
                "stddef.h", "stdint.h", "string.h"}
PURE_EXCEPTIONS = {
    ("src/roster/roster.c", "stdlib.h"): "memory for its tables",
    ("src/roster/memory.c", "stdlib.h"): "memory",
    ("src/base/parse.c", "stdio.h"): "snprintf",
    ("src/server/observe/request.c", "jansson.h"): "JSON, which allocates",
    ("src/vfio_user/codec.c", "jansson.h"): "JSON, which allocates",
}

#: Below tools/ nobody ends the process.
FORBIDDEN_CALLS = re.compile(r"\b(exit|_exit|abort|quick_exit)\s*\(")

#: IVS_SYSCALLS(name, ...): the system calls of that file, in src/base/syscalls.h.
LIST = re.compile(r"^IVS_SYSCALLS\((\w+)", re.MULTILINE)

#: The guest's driver is the kernel's: its own headers, the public ones, the kernel's.
KERNEL_MAY_INCLUDE = re.compile(r"<(linux|asm)/[\w/.-]+>|\"ivshmem/[\w.-]+\"|\"[\w.-]+\"")
KERNEL_LICENCE = "SPDX-License-Identifier: GPL-2.0-only"

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
INCLUDE = re.compile(r'^#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)
SPDX_EXEMPT = re.compile(r"^(LICENSES/|fuzz/corpus/|.*\.md$|\.gitignore$)")


def sources():
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True).stdout.split("\n")
    return [name for name in listed if name and (ROOT / name).is_file()]


def check_includes(name, text, complain):
    layer = name.split("/")[1]
    if layer not in MAY_INCLUDE:
        complain(name, f"src/{layer} is no layer: add it to scripts/check-layers.py")
        return
    for kind, header in INCLUDE.findall(text):
        if kind == "<" or header.startswith("ivshmem/"):
            continue
        target = header.split("/")[0]
        if target != layer and target not in MAY_INCLUDE[layer]:
            complain(name, f'{layer} must not include "{header}"')


def check_pure(name, text, complain):
    for kind, header in INCLUDE.findall(text):
        if kind == "<" and header not in PURE_HEADERS and (name, header) not in PURE_EXCEPTIONS:
            complain(name, f"is pure and includes <{header}>")


def check_kernel(name, text, complain):
    """The driver: its licence, and that it includes nothing of the programs."""
    if KERNEL_LICENCE not in text.split("\n", 1)[0]:
        complain(name, "must begin with " + KERNEL_LICENCE)
    for kind, header in INCLUDE.findall(text):
        shown = f"<{header}>" if kind == "<" else f'"{header}"'
        own = kind == '"' and "/" not in header
        if not KERNEL_MAY_INCLUDE.fullmatch(shown) or (own and not (ROOT / "kernel" / header).is_file()):
            complain(name, f"the driver must not include {shown}")


def check_functions(name, lines, complain):
    """In kernel style a function's body is from a brace in the first column to the other."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            if number - start > FUNCTION_LINES_MAX:
                complain(f"{name}:{start}", f"the function has {number - start} lines")
            start = None


def check_file(name, complain):
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = text.split("\n")
    if not any("SPDX-License-Identifier:" in line for line in lines[:4]):
        complain(name, "has no SPDX line")
    if name.endswith((".c", ".h", ".py", ".sh")) and len(lines) > FILE_LINES_MAX + 1:
        complain(name, f"has {len(lines) - 1} lines, more than {FILE_LINES_MAX}")
    if name.endswith(".c"):
        check_functions(name, lines, complain)
    if name.startswith("kernel/"):
        check_kernel(name, text, complain)
    if name.startswith("src/") and name.endswith((".c", ".h")):
        check_includes(name, text, complain)
        if FORBIDDEN_CALLS.search(text):
            complain(name, "ends the process; only programs may")
    if name in PURE:
        check_pure(name, text, complain)


def check_lists(names, complain):
    """Each list of system calls (src/base/syscalls.h) is joined into a filter by somebody."""
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in names
             if name.startswith(("src/", "tools/")) and name.endswith(".c")}
    for name, text in texts.items():
        for found in LIST.findall(text):
            users = [other for other in texts if other != name and
                     re.search(rf"\b{found}\b", texts[other])]
            if not users:
                complain(name, f"{found} is in no filter: name it in src/server/syscalls.c, or in "
                               "tools/*/confine.c for what depends on options")


def rules_in(text):
    """Numbers of rules as PROTOCOL.md has them; "W-2 to W-7" are six."""
    found = set()
    for kind, first, last in re.findall(r"\b([PRW])-(\d+)(?: to \1-(\d+))?", text):
        found |= {f"{kind}-{n}" for n in range(int(first), int(last or first) + 1)}
    return found


def check_rules(names, complain):
    """Every rule of PROTOCOL.md is cited by code or a test, and nothing cites one that is not there."""
    protocol = (ROOT / "PROTOCOL.md").read_text(encoding="utf-8")
    rules = set(re.findall(r"^\*\*([PRW]-\d+)\*\*", protocol, re.MULTILINE))
    cited = set()
    for name in names:
        if name.endswith((".c", ".h", ".py")) and name != "scripts/check-layers.py":
            here = rules_in((ROOT / name).read_text(encoding="utf-8"))
            cited |= here
            for rule in sorted(here - rules):
                complain(name, f"cites {rule}, which PROTOCOL.md does not have")
    for rule in sorted(rules - cited):
        complain("PROTOCOL.md", f"{rule} is cited by no code and no test")


def main():
    complaints = []
    for name in sources():
        if not SPDX_EXEMPT.match(name):
            check_file(name, lambda where, what: complaints.append(f"{where}: {what}"))
    check_lists(sources(), lambda where, what: complaints.append(f"{where}: {what}"))
    check_rules(sources(), lambda where, what: complaints.append(f"{where}: {what}"))
    for missing in (name for name in PURE if not (ROOT / name).is_file()):
        complaints.append(f"{missing}: is said to be pure and does not exist")
    print("\n".join(complaints) or f"layers: {len(sources())} files are as they should be")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
