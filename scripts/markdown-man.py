#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Convert a document to the source of a manual page:  markdown-man.py PROTOCOL.md

It supports only the Markdown that these documents use: headings, paragraphs, tables, lists with "-"
or numbers, fenced code, **bold**, *emphasis* and `code`. Everything else is rejected.
"""
import pathlib
import re
import sys

#: Name of the document -> name of the page, its title, and other pages
PAGES = {
    "PROTOCOL.md": (
        "ivshmem-protocol",
        "registers of the device, messages of the server, roster in the region",
        "*ivshmem-server*(1), *ivshmem-client*(1), *ivshmem*(4), *libivshmem*(3)"),
    "coming-from.md": (
        "ivshmem-coming-from",
        "Looking Glass, ACRN, DPDK, Proxmox VE, vsock and others: what corresponds to what",
        "*ivshmem*(1), *ivshmem-server*(1), *ivshmem-device*(1), *ivshmem-qemu*(7), "
        "*libivshmem*(3), *ivshmem*(4)"),
    "migration.md": (
        "ivshmem-migration",
        "migrating VMs that share memory: sequences, guarantees, defects of QEMU",
        "*ivshmem-migrate*(1), *ivshmem-save*(1), *ivshmem-qemu*(7), *ivshmem-server*(1)"),
}
HEAD = """{name}(7)

; SPDX-License-Identifier: BSD-3-Clause
; Made from {file} by scripts/markdown-man.py.

# NAME

{name} - {title}

# DESCRIPTION
"""
FOOT = """
# SEE ALSO

{others}
"""
SPAN = re.compile(r"\*\*(.+?)\*\*|\*(.+?)\*|`([^`]+)`")
ESCAPED = re.compile(r"\\([\\*_])")


def escape(text):
    """Escape characters that scdoc would treat as markup."""
    return re.sub(r"([\\*_])", r"\\\1", ESCAPED.sub(r"\1", text))


def inline(text):
    """Convert the inline markup of a line."""
    done, at = "", 0
    for match in SPAN.finditer(text):
        bold, emphasis, code = match.groups()
        done += escape(text[at:match.start()])
        if code or emphasis:
            done += f"_{escape(code or emphasis)}_"
        else:
            done += f"*{escape(bold)}*"
        at = match.end()
    return done + escape(text[at:])


def table(rows):
    """Convert a table, whose first row is the header and whose second row consists of dashes."""
    cells = [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in rows]
    lines = []
    last = len(cells[0]) - 1
    for number, row in enumerate([cells[0]] + cells[2:]):
        for column, cell in enumerate(row):
            mark = ("|" if number else "[") if column == 0 else ":"
            align = " " if number else "<" if column == last else "["
            lines.append(f"{mark}{align} {inline(cell)}".rstrip() if cell else mark + align)
    return lines


def end_of(lines, at, inside):
    """Return: the index of the first line from @at on for which inside() is false."""
    while at < len(lines) and inside(lines[at]):
        at += 1
    return at


def convert(file, lines):
    """Convert the blocks of a document, except its title."""
    out, at = [], 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("## "):
            out.append("# " + line[3:].upper())
        elif line.startswith("# ") or line.startswith("<!--"):
            pass
        elif line.startswith("|"):
            end = end_of(lines, at, lambda line: line.startswith("|"))
            out += table(lines[at:end])
            at = end - 1
        elif line == "```":
            end = end_of(lines, at + 1, lambda line: line != "```")
            out += [line.replace("\\", "\\\\") for line in lines[at:end + 1]]
            at = end
        elif re.match(r"#|>|```", line):
            sys.exit(f"markdown-man.py: {file}, line {at + 1}: unsupported Markdown: {line!r}")
        elif item := re.match(r"(- |\d+\. )(.*)", line):
            out.append(("- " if item[1] == "- " else ". ") + inline(item[2]))
        else:
            text = inline(line.strip())
            out.append(("  " if line.startswith("  ") else "") + text)
        at += 1
    return out


def main():
    """Print the page."""
    path = pathlib.Path(sys.argv[1])
    name, title, others = PAGES[path.name]
    lines = path.read_text(encoding="utf-8").splitlines()
    text = "\n".join(convert(path.name, lines)) + "\n"
    print(HEAD.format(name=name, file=path.name, title=title) + text
          + FOOT.format(others=others), end="")


main()
