# SPDX-License-Identifier: BSD-3-Clause
"""Test that ivshmem-client reports when its region's file is removed, replaced or resized."""
import os
import signal
import subprocess

import pytest

from support.py.programs import is_blocked, wait_until
from support.py.region_changes import (GROWN, NAME_LOST, SHRUNK, SIZE, make_again, rename,
                                       replace)

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a mount namespace")
AGAIN = "the region has its original name and size again"


def leave_a_link(path):
    """Remove a region's name after giving it a second one."""
    os.link(path, path.with_name(path.name + "-link"))
    path.unlink()


CHANGES = {
    "removed": (lambda path: path.unlink(), NAME_LOST),
    "recreated": (make_again, NAME_LOST),
    "replaced": (replace, NAME_LOST),
    "renamed": (rename, NAME_LOST),
    "left with only its other name": (leave_a_link, NAME_LOST),
    "shrunk": (lambda path: os.truncate(path, SIZE // 2), SHRUNK),
    "cut in the middle of a page": (lambda path: os.truncate(path, SIZE - 1), SHRUNK),
    "grown": (lambda path: os.truncate(path, SIZE * 2), GROWN),
}


def start_clients(place):
    """Start one client for each transport available on the host. Return: the clients."""
    addresses = [f"shm:{place.shm}", f"file:{place.shm_path}", f"unix:{place.socket}"]
    clients = [place.start(place.client_program, "-a", address, stdin=subprocess.PIPE)
               for address in addresses]
    for client in clients:
        client.write("put 0 x\nget -x 0 1\n")
        client.out.wait("78")
    return clients


@pytest.fixture(name="clients")
def clients_fixture(fast_clock, place):
    """Start a server, and one client for each transport available on the host, all with the same
    region."""
    del fast_clock
    place.server("-n", "1", "-l", SIZE)
    return start_clients(place)


@pytest.mark.parametrize("change", CHANGES)
def test_change_is_reported(place, clients, change):
    """A change is reported once on standard error, and shown by dump; the client continues to use
    the region that it already has."""
    make, text = CHANGES[change]
    make(place.shm_path)
    for client in clients:
        client.err.wait(f"ivshmem-client: the region: {text}")
        client.write("put 1 yz\nget -x 1 2\ndump\n")
        client.out.wait("797a")
        client.out.wait(f"changed     {text}")
        client.popen.stdin.close()
        assert client.wait() == 0
        assert client.err.count("the region") == 1


def test_every_change_is_reported(place, clients):
    """Further changes are also reported, and so is a region that has regained its name and size."""
    os.truncate(place.shm_path, SIZE * 2)
    for client in clients:
        client.err.wait(GROWN)
    make_again(place.shm_path)
    for client in clients:
        client.err.wait(NAME_LOST)
        client.err.wait(GROWN, 2)
    other = place.shm_path.with_name(place.shm_path.name + "-other")
    for client in start_clients(place)[:2]:
        place.shm_path.rename(other)
        client.err.wait(NAME_LOST)
        other.rename(place.shm_path)
        client.err.wait(AGAIN)


@pytest.mark.usefixtures("fast_clock")
def test_sealed_region_does_not_change(place):
    """A client whose region is a sealed memfd has nothing to watch, so it does not wake up."""
    place.server("-n", "1", region=["-r", "memfd:"])
    client = place.start_client()
    status = f"/proc/{client.pid}/status"
    wait_until(lambda: is_blocked(client.pid), "the client waits for events")

    def switches():
        with open(status, encoding="ascii") as file:
            return [line for line in file if line.startswith("voluntary_ctxt_switches")]

    before = switches()
    with pytest.raises(subprocess.TimeoutExpired):
        client.popen.wait(0.3)
    assert switches() == before


@pytest.mark.usefixtures("fast_clock")
def test_change_before_the_first_event(place):
    """With -c the client exits before an event can arrive, but dump queries the kernel."""
    place.shm_path.write_bytes(bytes(SIZE))
    commands = "put 0 x\nget -x 0 1\n"
    client = place.start(place.client_program, "-a", f"shm:{place.shm}", stdin=subprocess.PIPE)
    client.write(commands)
    client.out.wait("78")
    place.shm_path.unlink()
    client.write("dump\n")
    client.out.wait(f"changed     {NAME_LOST}")


@NEEDS_ROOT
@pytest.mark.usefixtures("fast_clock")
def test_end_of_the_mount_namespace_is_no_change(place):
    """If the server had its own mount namespace, the kernel shows a shorter path for the client's
    file once that namespace is gone. The name still leads to the file, so the client reports no
    change."""
    server = place.start("unshare", "--mount", place.server_program, "-F", "-v", "-S", place.socket,
                         "-M", place.shm, "-l", SIZE)
    server.err.wait("listening at")
    client = place.start_client()
    server.signal(signal.SIGKILL)
    client.err.wait("the server is gone")
    with pytest.raises(subprocess.TimeoutExpired):
        client.popen.wait(0.5)  # five times the period of the check
    client.write("dump\n")
    client.out.wait("no roster: the server is gone")
    assert client.out.count("changed") == 0 and client.err.count("the region") == 0
    place.shm_path.unlink()
    client.err.wait(NAME_LOST)
