# SPDX-License-Identifier: BSD-3-Clause
"""Races between two servers: one is delayed at a chosen system call during startup, while the other
starts completely."""
import shutil

import pytest

from support.py.programs import wait_until
from support.py.wire import RawClient

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
DELAY_US = 1000000  # long enough for the other server to start; otherwise the race is not tested


def start_server(where, socket, *options):
    """Start a server without waiting for it."""
    return where.start(where.server_program, "-F", "-v", "-S", socket, *options)


def start_held_up(where, call, socket, *options):
    """Start a server that strace delays the first time it makes this system call."""
    return where.start(
        "env", "ASAN_OPTIONS=detect_leaks=0",  # the leak check's vfork() would also be traced
        "strace", "-D", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
        f"inject={call}:delay_enter={DELAY_US}:when=1", where.server_program, "-F", "-v",
        "-S", socket, *options)


def identity(path):
    """Return a file's inode and change time, at least one of which differs after a replacement, or
    None if there is no file."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return None
    return there.st_ino, there.st_ctime_ns


def the_one_that_runs(servers):
    """Wait until each server has started or failed. Return: the one that runs, and the one that
    failed."""
    wait_until(lambda: all(server.err.count("ivshmem-server: listening at")
                           or server.popen.poll() is not None
                           for server in servers), "each server has started or failed")
    living = [server for server in servers if server.popen.poll() is None]
    assert len(living) == 1, [server.err.seen for server in servers]
    failed = servers[1 - servers.index(living[0])]
    assert failed.wait() == 1
    return living[0], failed


def test_region_in_use_is_not_removed(place):
    """While a server is delayed between creating and locking its region, another server starts with
    that region. The server that fails must not remove the region, which is in use."""
    first = start_held_up(place, "flock", place.dir / "first", "-M", place.shm, "-l", "4M")
    wait_until(place.shm_path.exists, "the region has been created")
    made = place.shm_path.stat().st_ino
    second = start_server(place, place.dir / "second", "-M", place.shm, "-l", "1M")
    runs, failed = the_one_that_runs([first, second])
    assert "exists with size" in failed.err.text()
    assert place.shm_path.exists(), "the region of the running server was removed"
    assert place.shm_path.stat().st_ino == made
    assert place.shm_path.stat().st_size == (4 << 20 if runs is first else 1 << 20)
    socket = place.dir / ("first" if runs is first else "second")
    with RawClient(str(socket), 1) as client:
        client.greeting()


@pytest.mark.parametrize("there", ["nothing", "dead"])
def test_socket_is_not_taken_before_it_listens(place, there):
    """A server has bound its socket and is delayed before it listens: connecting fails, but the
    socket is not dead, and another server must not replace it."""
    before = None
    if there == "dead":
        killed = place.server()
        killed.end()
        before = identity(place.socket)
        place.shm_path.unlink()
    first = start_held_up(place, "listen", place.socket, "-r", "memfd:")
    wait_until(lambda: identity(place.socket) not in (None, before)
               or first.popen.poll() is not None or first.err.count("ivshmem-server: listening at"),
               "the socket is bound")
    second = start_server(place, place.socket, "-r", "memfd:")
    runs, failed = the_one_that_runs([first, second])
    assert "already listening" in failed.err.text() or "keeps the directory" in failed.err.text()
    assert runs.popen.poll() is None
    with RawClient(str(place.socket), 1) as client:
        assert client.greeting().id == 0
        runs.err.wait("client 0 joined")
