#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Convert PROTOCOL.md to the source of a manual page:  protocol-man.py PROTOCOL.md

It supports only the Markdown that PROTOCOL.md uses: headings, paragraphs, tables, lists with "-",
**bold**, *emphasis* and `code`. Everything else is rejected.
"""
import re
import sys

HEAD = """ivshmem-protocol(7)

; SPDX-License-Identifier: BSD-3-Clause
; Made from PROTOCOL.md by scripts/protocol-man.py.

# NAME

ivshmem-protocol - registers of the device, messages of the server, roster in the region

# DESCRIPTION
"""
FOOT = """
# SEE ALSO

*ivshmem-server*(1), *ivshmem-client*(1), *ivshmem*(4), *libivshmem*(3)
"""
SPAN = re.compile(r"\*\*(.+?)\*\*|\*(.+?)\*|`([^`]+)`")


def escape(text):
    """Escape characters that scdoc would treat as markup."""
    return re.sub(r"([\\*_])", r"\\\1", text)


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


def convert(lines):
    """Convert the blocks of a document, except its title."""
    out, at = [], 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("## "):
            out.append("# " + line[3:].upper())
        elif line.startswith("# ") or line.startswith("<!--"):
            pass
        elif line.startswith("|"):
            end = at
            while end < len(lines) and lines[end].startswith("|"):
                end += 1
            out += table(lines[at:end])
            at = end - 1
        elif re.match(r"#|>|```|\d+\. ", line):
            sys.exit(f"protocol-man.py: line {at + 1}: unsupported Markdown: {line!r}")
        elif line.startswith("- "):
            out.append("- " + inline(line[2:]))
        else:
            text = inline(line.strip())
            out.append(("  " if line.startswith("  ") else "") + text)
        at += 1
    return out


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        lines = file.read().splitlines()
    print(HEAD + "\n".join(convert(lines)) + FOOT, end="")


main()
