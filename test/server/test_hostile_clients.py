# SPDX-License-Identifier: BSD-3-Clause
"""Hostile, slow and unlucky clients, and the table of them. The cases are in support/py/hostile.py.

With sanitizers, which are several times slower, the numbers are smaller: `Case.short`.
"""
import json
import sys

import pytest

from support.py import hostile
from support.py.paths import SOURCE
from support.py.programs import is_sanitized

CASES = {case.name: case for case in hostile.CASES}
ONE_BY_ONE = {"crimes", "out-of-fds"}  # see below


def run(case, where, **numbers):
    """Run a case, or skip it with its reason."""
    try:
        return case(where, **numbers)
    except hostile.CannotRun as reason:
        return pytest.skip(str(reason))


@pytest.mark.parametrize("name", [name for name in CASES if name not in ONE_BY_ONE])
def test_case(place, name):
    """What a server must survive; the assertions are the case's own."""
    case = CASES[name]
    assert run(case.run, place, **case.numbers(is_sanitized(place.server_program)))


@pytest.mark.parametrize("greeted", [True, False], ids=["greeted", "at-once"])
@pytest.mark.parametrize("name", hostile.CRIMES)
def test_crime(place, name, greeted):
    """Who does what clients must not is dropped (W-8)."""
    hostile.crime_is_punished(place, name, greeted)


def test_many_fds(place):
    """10,000 fds thrown at the server."""
    hostile.many_fds(place, 20)


@pytest.mark.parametrize("vectors", [1, 5])
def test_out_of_fds(place, vectors):
    """Refusing costs nobody who is there, with few fds for each client and with more."""
    assert run(hostile.out_of_fds, place, vectors=vectors, limit=64)


# The table

BAD_SERVER = """#!/usr/bin/python3
import os, socket, struct, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[sys.argv.index("-S") + 1])
listener.listen()
print("ivshmem-server: listening at", file=sys.stderr, flush=True)
taken = []
for number in range(10):
    taken.append(listener.accept()[0])
    messages = [(0, []), (number, []), (-1, [os.memfd_create("small")]), (number, [os.eventfd(0)])]
    for value, fds in messages:
        try:
            socket.send_fds(taken[-1], [struct.pack("<q", value)], fds)
        except OSError:
            pass  # it has closed already
sys.exit(3)
"""


def compare(where, *options):
    """Print the table with small numbers."""
    return where.run(sys.executable, SOURCE / "scripts" / "compare-servers.py", "--build",
                     where.build, "--quick", *options, timeout=200)


def test_table(place):
    """A row for each case with what ours did; QEMU's column is marked as recorded."""
    done = compare(place)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = done.stdout.splitlines()
    assert len(lines) == 2 + len(hostile.CASES)
    assert "(recorded: QEMU 7.2)" in lines[0]
    assert len({len(line) for line in lines}) == 1
    for case, line in zip(hostile.CASES, lines[2:]):
        _, title, qemu, ours, _ = (cell.strip() for cell in line.split("|"))
        assert title == case.title.format(**case.short)
        assert qemu and ours


def test_table_of_a_server_that_fails(place):
    """A server that takes ten clients and ends: the row says so; if it is ours, the status too."""
    bad = place.dir / "bad-server"
    bad.write_text(BAD_SERVER)
    bad.chmod(0o755)
    done = compare(place, "--qemu-server", bad, "--case", "connect-and-close", "--case", "size")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("FAILED") == 2
    assert "(measured now)" in done.stdout.splitlines()[0]
    done = compare(place, "--server", bad, "--case", "connect-and-close", "--json")
    assert done.returncode == 1
    row, = json.loads(done.stdout)["rows"]
    assert (row["case"], row["holds"], row["qemu_holds"]) == ("connect-and-close", False, None)
    assert row["ours"].startswith("FAILED: the server ended with status 3: after ")
