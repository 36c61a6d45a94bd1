# SPDX-License-Identifier: BSD-3-Clause
"""Checks of single files: length, width, licence, purity, and calls that are not allowed."""
import fnmatch
import re

from check_layers import csource

COLUMNS_MAX = 100
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
#: Files that are exempt from the checks of columns, length and licence. Those that belong
#: to Debian packages cannot contain comments
EXEMPT = re.compile(r"(LICENSES/|fuzz/corpus/|\.gitignore$|"
                    r"packaging/debian/(changelog|copyright|source|ivshmem-dkms\.dkms))")

#: Pure files compute effects from bytes or events, without system calls, clocks or globals.
PURE = ("src/base/bitmap.h", "src/base/bytes.h", "src/base/parse.c", "src/base/text.c",
        "src/config/*", "src/host/qemu_option.c", "src/host/qemu_option.h", "src/host/vm.c",
        "src/image/*", "src/looking_glass/*", "src/migration/*",
        "src/pci/*", "src/peer/pci_identity.c", "src/protocol/v0.c", "src/qmp/message.c",
        "src/qmp/message.h", "src/roster/*.c",
        "src/roster_page/format.c", "src/server/cost.c", "src/server/observe/request.c",
        "src/server/users.c", "src/vfio_user/codec.c")
PURE_HEADERS = {"assert.h", "errno.h", "inttypes.h", "limits.h", "stdarg.h",
                "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "string.h"}
PURE_EXCEPTIONS = {
    ("src/roster/*.c", "stdlib.h"): "memory for its tables",
    ("src/server/users.c", "stdlib.h"): "memory for its table",
    ("src/base/parse.c", "stdio.h"): "snprintf",
    ("src/host/qemu_option.h", "jansson.h"): "JSON, which allocates",
    ("src/host/qemu_option.c", "stdio.h"): "snprintf",
    ("src/host/qemu_option.c", "stdlib.h"): "memory for the value",
    ("src/host/vm.c", "stdlib.h"): "memory for its tables",
    ("src/config/*", "stdio.h"): "snprintf",
    ("src/qmp/message.h", "jansson.h"): "JSON, which allocates",
    ("src/image/*", "stdlib.h"): "memory for a chunk",
    ("src/image/*", "zstd.h"): "compression, which allocates",
    ("src/migration/*", "jansson.h"): "JSON, which allocates",
    ("src/migration/*", "stdio.h"): "snprintf",
    ("src/server/observe/request.c", "jansson.h"): "JSON, which allocates",
    ("src/vfio_user/codec.c", "jansson.h"): "JSON, which allocates",
}

#: Calls that end the process, which only the programs in tools/ may make
_EXITS = re.compile(r"(?<!\w)(exit|_exit|_Exit|abort|quick_exit)\s*\(")

EXITS_EXCEPTIONS = {("src/daemon/closer.c", "_exit"): "ends helper processes that it has forked"}

#: What the guest driver may include: its own headers, public headers, and kernel headers
_KERNEL_MAY_INCLUDE = re.compile(r"<(linux|asm)/[\w/.-]+>|\"ivshmem/[\w.-]+\"|\"[\w.-]+\"")
KERNEL_LICENCE = "SPDX-License-Identifier: GPL-2.0-only"


def check_columns(files):
    """Check that no line has more than 100 columns, with tabs of 8 columns."""
    for name, text in files.items():
        if EXEMPT.match(name) or not name.endswith((".c", ".h", ".py", ".sh", "meson.build")):
            continue
        for number, line in enumerate(text.split("\n"), 1):
            width = len(line.expandtabs(8))
            if width > COLUMNS_MAX:
                yield f"{name}:{number}", f"has {width} columns, more than {COLUMNS_MAX}"


def check_budgets(files):
    """Check that files and functions are short. A function's body is found by its braces, which are
    in the first column."""
    for name, text in files.items():
        if EXEMPT.match(name) or not name.endswith((".c", ".h", ".py", ".sh")):
            continue
        lines = text.split("\n")
        if len(lines) > FILE_LINES_MAX + 1:
            yield name, f"has {len(lines) - 1} lines, more than {FILE_LINES_MAX}"
        start = None
        for number, line in enumerate(lines if name.endswith(".c") else (), 1):
            if line == "{":
                start = number
            elif line == "}" and start:
                if number - start > FUNCTION_LINES_MAX:
                    yield f"{name}:{start}", (f"the function has {number - start} lines, more than "
                                              f"{FUNCTION_LINES_MAX}")
                start = None


def _check_kernel(name, text, files):
    if KERNEL_LICENCE not in text.split("\n", 1)[0]:
        yield name, "must begin with " + KERNEL_LICENCE
    for kind, header in csource.includes_of(text):
        shown = f"<{header}>" if kind == "<" else f'"{header}"'
        own = kind == '"' and "/" not in header
        if not _KERNEL_MAY_INCLUDE.fullmatch(shown) or (own and "kernel/" + header not in files):
            yield name, f"the driver must not include {shown}"


def check_licences(files):
    """Check that each file has an SPDX line, and that the driver has the kernel's licence and
    includes only allowed headers."""
    for name, text in files.items():
        if EXEMPT.match(name) or name.endswith(".md"):
            continue
        if not any("SPDX-License-Identifier:" in line for line in text.split("\n", 4)[:4]):
            yield name, "has no SPDX line"
        if name.startswith("kernel/"):
            yield from _check_kernel(name, text, files)


def check_exits(files):
    """Check that code in src/ does not end the process."""
    for name, text in files.items():
        if name.startswith("src/") and name.endswith((".c", ".h")):
            for call in sorted(set(_EXITS.findall(csource.code_of(text)))):
                if (name, call) not in EXITS_EXCEPTIONS:
                    yield name, f"calls {call}(), which only tools/ may"


def _matching(pattern, files):
    return [name for name in files if fnmatch.fnmatchcase(name, pattern)
            and name.endswith((".c", ".h"))]


def check_pure(files):
    """Check that pure files include no headers that declare system calls, clocks or globals."""
    unused = set(PURE_EXCEPTIONS)
    for pattern in PURE:
        names = _matching(pattern, files)
        if not names:
            yield pattern, "is listed as pure, but does not exist"
        for name in names:
            for kind, header in csource.includes_of(files[name]):
                if kind == '"' or header in PURE_HEADERS or header.startswith("ivshmem/"):
                    continue
                excused = {key for key in PURE_EXCEPTIONS
                           if key[1] == header and fnmatch.fnmatchcase(name, key[0])}
                unused -= excused
                if not excused:
                    yield name, f"is listed as pure, but includes <{header}>"
    for pattern, header in sorted(unused):
        yield pattern, f"no longer includes <{header}>: remove it from PURE_EXCEPTIONS"
