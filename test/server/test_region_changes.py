# SPDX-License-Identifier: BSD-3-Clause
"""Test that the server notices when its region's file is removed, replaced or resized: it logs a
line at each join, and the status has lines about the changes."""
import os
import signal

import pytest

from support.py.clients import connect_client, join
from support.py.region_changes import (GROWN, NAME_LOST, SHRUNK, SIZE, make_again, rename,
                                       replace)
from support.py.stuck_epoll import StuckInode

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for chroot(2)")
CHANGES = {
    "removed": (lambda path: path.unlink(), "name_lost", NAME_LOST),
    "recreated": (make_again, "name_lost", NAME_LOST),
    "replaced": (replace, "name_lost", NAME_LOST),
    "renamed": (rename, "name_lost", NAME_LOST),
    "13 bytes": (lambda path: os.truncate(path, 13), "shrunk", SHRUNK),
    "grown": (lambda path: os.truncate(path, SIZE * 2), "grown", GROWN),
}


def serve(place, *options, **keywords):
    """Start a server with a control socket."""
    return place.server("-l", SIZE, "--control", place.dir / "control", *options, **keywords)


def changes(place):
    """Return: the lines about changes in the printed status."""
    done = place.run_server("--status", place.dir / "control")
    assert done.returncode == 0, done.stderr
    return [line[9:] for line in done.stdout.splitlines() if line.startswith("changed  ")]


def line_of(client):
    """Return: how the log line about this client begins."""
    return f"client {client} gets a region that has changed since the server opened it: "


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", ["shm", "file"])
def test_change_is_noticed_at_the_next_join(place, way, change):
    """A change appears in the status immediately, and in the log at each join. Clients are served
    as before."""
    make, _, text = CHANGES[change]
    region = place.shm_path if way == "shm" else place.dir / "region"
    address = f"{way}:{place.shm if way == 'shm' else region}"
    server = serve(place, region=["-r", address])
    first = join(place)
    assert changes(place) == [] and server.err.count("has changed") == 0
    make(region)
    assert len(changes(place)) == 1 and changes(place)[0].startswith(text)
    for client in (1, 2):
        join(place)
        line = server.err.wait(line_of(client) + text)
        assert line.endswith("; restart the server and all clients to share one region again "
                             f"({address})")
    first.read_until_knows({1, 2})
    assert server.err.count("has changed") == 2


def test_several_changes(place):
    """Several changes cause a single line in the log. A region that has its original size again
    counts as unchanged."""
    server = serve(place)
    os.truncate(place.shm_path, 2 * SIZE)
    place.shm_path.rename(place.shm_path.with_name(place.shm_path.name + "-other"))
    join(place)
    line = server.err.wait(line_of(0))
    assert NAME_LOST in line and GROWN in line and len(changes(place)) == 2
    os.truncate(place.shm_path.with_name(place.shm_path.name + "-other"), SIZE)
    assert len(changes(place)) == 1


@pytest.mark.parametrize("region", ["memfd:", "dir:"])
def test_region_without_a_name(place, region):
    """A region that never had a name is not reported as having lost its name."""
    region = region if region == "memfd:" else f"dir:{place.dir}"
    server = serve(place, region=["-r", region])
    join(place)
    assert changes(place) == [] and server.err.count("has changed") == 0


@NEEDS_ROOT
@pytest.mark.parametrize("below", [False, True], ids=["elsewhere", "below the root"])
@pytest.mark.parametrize("control", [False, True], ids=["", "control"])
def test_change_is_noticed_after_chroot(place, below, control):
    """After chroot(2) the server notices a change even if the region is outside its root directory,
    with and without the options that make it open /proc."""
    region = place.dir / "region" if below else place.shm_path
    address = f"file:{region}" if below else f"shm:{place.shm}"
    options = ["--control", place.dir / "control"] if control else []
    server = place.server("-l", SIZE, "--chroot", place.dir, *options, region=["-r", address])
    join(place)
    rename(region)
    join(place)
    server.err.wait(line_of(1) + NAME_LOST)
    assert server.err.count("has changed") == 1


@pytest.mark.parametrize("change", ["removed", "recreated", "renamed", "grown"])
def test_upgraded_server_notices_a_change(place, change):
    """After an upgrade the server still knows which file it had opened: it notices a change that
    was made before the upgrade."""
    make, _, text = CHANGES[change]
    server = serve(place)
    first = join(place)
    server.signal(signal.SIGUSR2)
    server.err.wait("listening at", 2)
    join(place)
    assert changes(place) == []
    make(place.shm_path)
    server.signal(signal.SIGUSR2)
    server.err.wait("listening at", 3)
    join(place)
    server.err.wait(line_of(2) + text)
    assert changes(place)[0].startswith(text)
    first.read_until_knows({1, 2})


def test_joins_do_not_flood_the_log(place):
    """A client that joins repeatedly causes at most 20 of these lines in 10 s; other warnings have
    a separate limit."""
    server = serve(place)
    place.shm_path.unlink()
    for _ in range(30):
        connect_client(place).close()
    server.err.wait(" joined", 30)
    join(place)
    server.err.wait(" joined", 31)
    assert server.err.count("gets a region that has changed") == 20


@pytest.mark.parametrize("way", ["shm", "file"])
def test_lock_of_the_inode_delays_no_join(place, way):
    """While a process holds the lock of the region's inode, the server checks the region without
    waiting for the lock."""
    region = place.shm_path if way == "shm" else place.dir / "region"
    server = serve(place, region=["-r", f"file:{region}"])
    with open(region, "r+b") as file:
        os.truncate(region, 2 * SIZE)
        with StuckInode(file.fileno()):
            join(place)
            server.err.wait(line_of(0) + GROWN)
            assert len(changes(place)) == 1
