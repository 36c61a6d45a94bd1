#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The program behind "make demo": a server, two guests and a host program meet in shared memory.

    scripts/demo.py BUILD_DIR

Environment: DEMO=host runs three host processes without a VM; KEEP=1 leaves the guests running.
"""

import os
import re
import signal
import sys

sys.dont_write_bytecode = True  # never write to the source tree, least of all as root
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from guestkit import meeting, proc  # noqa: E402

COLOURS = {"guest-a": 32, "peer-a": 32, "guest-b": 36, "peer-b": 36, "host": 33, "peer-c": 33,
           "server": 35, "demo": 1}

#: Lines of output that are not shown, because they are meant only for meeting.py
HIDDEN = re.compile(r"meet: stage |meet: result |guest: exit |\[ *[0-9.]+\] reboot: Power down")


class Printer:
    def __init__(self):
        self.colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ \
            and os.environ.get("TERM", "dumb") != "dumb"

    def say(self, who, line):
        if not line or HIDDEN.match(line):
            return
        if line.startswith("guest: up "):
            line = f"booted in {line.split()[-1]} s"
        for prefix in ("meet: ", "ivshmem-server: ", "guest: "):
            if line.startswith(prefix):
                line = line[len(prefix):]
        name = f"{who:<7}"
        if self.colours:
            name = f"\033[{COLOURS.get(who, 0)}m{name}\033[0m"
        print(f"{name} | {line}", flush=True)


def number(value, digits=0):
    return f"{value:,.{digits}f}" if isinstance(value, (int, float)) else "-"


def print_table(rows, left=1):
    """Print a table. The first row is the header. The first `left` columns are left-aligned, the
    others right-aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [f"{cell:<{width}}" if i < left else f"{cell:>{width}}"
                 for i, (cell, width) in enumerate(zip(row, widths))]
        print("  " + "   ".join(cells).rstrip())


def print_tables(result):
    reports = result.reports()
    names = {report["id"]: f"{report['id']} {report['name']}" for report in reports}
    trips = result.round_trips()
    arrived = result.arrived()
    rows = [("from", "to", "doorbells", "round trips", "p50 µs", "p99 µs")]
    for a in sorted(names):
        for b in sorted(names):
            if a != b:
                count = sum(1 for ring in arrived if ring[:2] == (a, b))
                trip = trips.get((a, b), {})
                rows.append((names[a], names[b], f"{count} of {result.vectors}",
                             number(trip.get("n")), number(trip.get("p50_us"), 1),
                             number(trip.get("p99_us"), 1)))
    print()
    print_table(rows, left=2)
    rows = [("MB/s", "transport", "write region", "read region", "memcpy in own memory")]
    for report in sorted(reports, key=lambda r: r["id"]):
        rows.append((names[report["id"]], str(report.get("transport", "-")),
                     number(report.get("write_mbs")), number(report.get("read_mbs")),
                     number(report.get("floor_mbs"))))
    print()
    print_table(rows, left=2)
    print()


def size_of(size):
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift and size % (1 << shift) == 0:
            return f"{size >> shift} {unit}"
    return f"{size} bytes"


def print_summary(result):
    reports = sorted(result.reports(), key=lambda r: r["id"])
    print_tables(result)
    who = ", ".join(f"{report['id']} {report['name']}" for report in reports)
    plural = "peer" if len(reports) == 1 else "peers"
    print(f"demo: {len(reports)} {plural}: {who}; "
          f"{len(result.arrived())} of {len(result.expected())} doorbells arrived")
    all_read = len(reports) == len(result.peers) and not result.unread()
    print(f"demo: region {size_of(reports[0]['memory'])}, "
          + ("every peer read what every other wrote" if all_read
             else "NOT every peer read what every other wrote"))


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    mode = os.environ.get("DEMO") or "guests"
    if mode not in ("guests", "host"):
        print(f"demo: DEMO={mode} is invalid; set it to \"host\" or unset it", file=sys.stderr)
        return 2
    keep = os.environ.get("KEEP", "") not in ("", "0")
    proc.catch_signals()
    try:
        result = meeting.run(meeting.Config(build=sys.argv[1], mode=mode, keep=keep,
                                            say=Printer().say))
    except proc.Interrupted as e:
        print(f"\ndemo: {e}: stopped, no process is left running", file=sys.stderr, flush=True)
        proc.die_of(e.number)
        return 1
    except BrokenPipeError:  # the output was closed; all processes have been stopped
        proc.die_of(signal.SIGPIPE)
        return 1
    if result.kept:
        print("\nEverything is left running:")
        for line in result.kept:
            print("  " + line)
    if result.reports():
        print_summary(result)
    sys.stdout.flush()
    for problem in result.problems:
        print(f"demo: failed: {problem}", file=sys.stderr, flush=True)
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())
