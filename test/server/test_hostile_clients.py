# SPDX-License-Identifier: BSD-3-Clause
"""Hostile and slow clients, and the comparison of servers. The cases are in support/py/hostile.py.

Under a sanitizer, which makes programs several times slower, the numbers are smaller: `Case.short`.
"""
import json
import re
import socket
import sys

import pytest

from support.py import hostile
from support.py.clients import join
from support.py.paths import SOURCE
from support.py.programs import is_sanitized, wait_until
from support.py.wire import RawClient

CASES = {case.name: case for case in hostile.CASES}
ONE_BY_ONE = {"crimes", "out-of-fds"}  # these cases have their own tests


def run(case, where, **numbers):
    """Run a case, or skip the test if the case cannot run here."""
    try:
        return case(where, **numbers)
    except hostile.CannotRun as reason:
        return pytest.skip(str(reason))


@pytest.mark.parametrize("name", [name for name in CASES if name not in ONE_BY_ONE])
def test_server_survives(place, name):
    """The server survives each case; the case itself contains the assertions."""
    case = CASES[name]
    assert run(case.run, place, **case.numbers(is_sanitized(place.server_program)))


@pytest.mark.parametrize("greeted", [True, False], ids=["greeted", "at-once"])
@pytest.mark.parametrize("name", hostile.CRIMES)
def test_client_that_breaks_the_protocol_is_dropped(place, name, greeted):
    """A client that violates the protocol is dropped (W-8)."""
    hostile.crime_is_punished(place, name, greeted)


def test_many_fds_from_a_client(place):
    """Clients send 10,000 fds, and none of them leaks."""
    hostile.many_fds(place, 20)


@pytest.mark.parametrize("vectors", [1, 5])
def test_server_out_of_fds_keeps_its_clients(place, vectors):
    """A server that is out of fds refuses new clients without affecting those connected, regardless
    of the number of fds per client."""
    assert run(hostile.out_of_fds, place, vectors=vectors, limit=64)


# The comparison

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
    """Run scripts/compare-servers.py with small numbers."""
    return where.run(sys.executable, SOURCE / "scripts" / "compare-servers.py", "--build",
                     where.build, "--quick", *options, timeout=200)


def test_comparison_has_a_result_for_each_case(place):
    """For each case the comparison has a result from QEMU's server, marked as recorded, and a
    result from this server."""
    done = compare(place)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    first, empty, *lines = done.stdout.splitlines()
    assert "QEMU's server (recorded: QEMU 7.2)" in first and not empty
    assert len(lines) == 3 * len(hostile.CASES)
    for case, title, qemu, ours in zip(hostile.CASES, lines[::3], lines[1::3], lines[2::3]):
        assert title == f"- **{case.title.format(**case.short)}**"
        assert re.fullmatch("  - QEMU's: .+", qemu) and re.fullmatch("  - ours: .+", ours)


def test_comparison_of_a_server_that_fails(place):
    """If a server exits after ten clients, the comparison shows that it failed and, for our own
    server, its exit status."""
    bad = place.dir / "bad-server"
    bad.write_text(BAD_SERVER)
    bad.chmod(0o755)
    done = compare(place, "--qemu-server", bad, "--case", "connect-and-close", "--case", "size")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("FAILED") == 2
    assert "QEMU's server (measured now)" in done.stdout.splitlines()[0]
    done = compare(place, "--server", bad, "--case", "connect-and-close", "--json")
    assert done.returncode == 1
    row, = json.loads(done.stdout)["rows"]
    assert (row["case"], row["holds"], row["qemu_holds"]) == ("connect-and-close", False, None)
    assert row["ours"].startswith("FAILED: the server ended with status 3: after ")


def oob_is_supported():
    """Return true if the kernel supports out-of-band data on UNIX sockets (an option since Linux
    5.15)."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            ours.send(b"x", socket.MSG_OOB)
        except OSError:
            return False
    return True


@pytest.mark.skipif(not oob_is_supported(), reason="the kernel has no MSG_OOB on UNIX sockets")
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("greeted", [True, False], ids=["greeted", "at-once"])
def test_client_that_sends_out_of_band_data_is_dropped(place, greeted, times):
    """A client is dropped even if it sends only out-of-band data, which a plain read() does not
    return (W-8)."""
    server = place.server()
    watcher = join(place)
    before = server.fds()
    hostile = place.add(RawClient(str(place.socket), 1))
    if greeted:
        hostile.greeting()
        watcher.read_until_knows({1})
    for _ in range(times):
        try:
            hostile.sock.send(b"x", socket.MSG_OOB)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client was dropped for its first byte
    server.err.wait("client 1 left", timeout=5)
    hostile.read_to_end()
    watcher.read_until_knows(set())
    wait_until(lambda: server.fds() == before, "the server has as many fds as before")
    assert join(place).id in (1, 2)
