# SPDX-License-Identifier: BSD-3-Clause
"""Test ivshmem-client when it may only read the region: because of an option, because of the file's
mode, or because the server has sent a region that cannot be written."""
import fcntl
import os

import pytest

from support.py.clients import join
from support.py.wire import BadServer, readable

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
NOBODY = 65534
SIZE = 1 << 20
F_ADD_SEALS, F_SEAL_FUTURE_WRITE = 1033, 16
BY_OPTION = "the program opened the region for reading only: omit its option --read-only, " \
    "or use ivs_peer_open()"
BY_MODE = "this user may only read the region's file: to write, change its owner, group or "
BY_FD = "the server has sent the region for reading only: to write, start the server with a region "
BY_SEAL = "the server's region is sealed against writing: to write, start the server with "


def make_region(path, mode):
    """Create a region that begins with "hello"."""
    path.write_bytes(b"hello".ljust(SIZE, b"\0"))
    path.chmod(mode)


def check(place, words, reason, user=None):
    """Check that a client can read but not write, and that put and dump print this reason."""
    commands = ["-c", "dump", "-c", "get 0 5", "-c", "put 0 x"]
    client = place.start(place.client_program, *words, *commands, user=user)
    assert client.wait() == 1
    assert f"ivshmem-client: put: {reason}" in client.err.text()
    assert "cached memory, read-only, " in client.out.text()
    assert f"\nno write: {reason}" in client.out.text() and client.out.text().endswith("hello")


@pytest.mark.parametrize("way", ["shm", "file"])
def test_read_only_by_option(place, way):
    """With --read-only a client cannot write, even if the user is permitted to."""
    make_region(place.shm_path, 0o600)
    name = place.shm if way == "shm" else place.shm_path
    check(place, ["-a", f"{way}:{name}", "--read-only"], BY_OPTION)
    assert place.shm_path.read_bytes()[:6] == b"hello\0"


def test_read_only_by_option_with_a_server(place):
    """With --read-only, a client of a server cannot write, but it can ring."""
    place.server("-n", "1")
    assert place.run_client("-c", "put 0 hello").returncode == 0
    check(place, ["-S", place.socket, "--read-only"], BY_OPTION)
    client = join(place)
    assert place.run_client("--read-only", "-c", "int 0 0").returncode == 0
    assert readable(client.own) == [0]


@NEEDS_ROOT
@pytest.mark.parametrize("way", ["shm", "file"])
@pytest.mark.parametrize("option", [[], ["--read-only"]], ids=["by itself", "option"])
def test_read_only_by_mode(place, way, option):
    """A user who may read but not write the file can read the region, with and without
    --read-only."""
    make_region(place.shm_path, 0o644)
    name = place.shm if way == "shm" else place.shm_path
    check(place, ["-a", f"{way}:{name}", *option], BY_OPTION if option else BY_MODE, user=NOBODY)


@NEEDS_ROOT
@pytest.mark.parametrize("mode, option, access", [
    (0o600, [], "reading and writing"), (0o622, [], "reading and writing"),
    (0o600, ["--read-only"], "reading"), (0o622, ["--read-only"], "reading"),
])
def test_refusal_says_what_was_wanted(place, mode, option, access):
    """If the region cannot even be read, the message says which access was requested."""
    make_region(place.shm_path, mode)
    client = place.start(place.client_program, "-a", f"shm:{place.shm}", *option, "-c", "dump",
                         user=NOBODY)
    assert client.wait() == 1
    assert client.err.text().startswith(
        f"ivshmem-client: cannot open {place.shm_path} for {access}: Permission denied: it belongs "
        f"to root:root, mode {mode:04o}")


def sent_region(place, kind):
    """Return: a file object for a region that contains "hello" and cannot be written."""
    if kind == "fd":
        make_region(place.shm_path, 0o600)
        return place.shm_path.open("rb")
    file = os.fdopen(os.memfd_create("region", os.MFD_ALLOW_SEALING), "r+b")
    file.write(b"hello".ljust(SIZE, b"\0"))
    file.flush()
    fcntl.fcntl(file, F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
    return file


@pytest.mark.parametrize("kind, reason", [("fd", BY_FD), ("seal", BY_SEAL)], ids=["fd", "seal"])
def test_read_only_by_the_server(place, kind, reason):
    """If a server sends an fd that is open for reading only, or sealed, the client can still read
    the region."""
    fd = place.add(sent_region(place, kind)).fileno()
    doorbell = place.add(os.fdopen(os.eventfd(0, os.EFD_NONBLOCK), "rb")).fileno()
    place.add(BadServer(str(place.socket), [(0, []), (0, []), (-1, [fd]), (0, [doorbell])]))
    check(place, ["-S", place.socket], reason)
