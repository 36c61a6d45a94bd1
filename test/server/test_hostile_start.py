# SPDX-License-Identifier: BSD-3-Clause
"""What another user can do while a server is starting, if that user can write to a directory that
the server uses."""
import os
import shutil
import signal
import socket
import stat
import struct

import pytest

from support.py.stopped_start import (check_link_not_followed, start_stopped,
                                      swap_socket_for_link)

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NEEDS_STRACE = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")


@NEEDS_ROOT
@NEEDS_STRACE
@pytest.mark.parametrize("nth, name", [(1, "socket"), (2, "control")])
@pytest.mark.parametrize("owner", [[], ["owner", "1"], ["group", "1"]], ids=["mode", "owner",
                                                                            "group"])
def test_link_in_place_of_the_socket(place, nth, name, owner):
    """Another user replaces the socket with a link as soon as it exists: the mode and owner of the
    file to which the link points do not change."""
    options = [f"--{name}-mode", "0666"]
    options += [f"--{name}-{owner[0]}", owner[1]] if owner else []
    server = start_stopped(place, ("bind", nth), place.dir / name, place.server_program, "-F", "-S",
                           place.socket, "-r", "memfd:", "--control", place.dir / "control",
                           *options)
    path = place.dir / name
    check_link_not_followed(server, swap_socket_for_link(place, server, path), path)


@NEEDS_ROOT
@NEEDS_STRACE
def test_hard_link_in_place_of_the_socket(place):
    """If the socket has a second name (a hard link), the server does not change its owner to the
    one given with --socket-owner."""
    theirs = place.dir / "theirs"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(theirs))
        server = start_stopped(place, ("bind", 1), place.socket, place.server_program, "-F", "-S",
                               place.socket, "-r", "memfd:", "--socket-owner", "1")
        place.socket.unlink()
        os.link(theirs, place.socket)
        server.signal(signal.SIGCONT)
        assert server.wait() == 1
    assert "another process has replaced the socket" in server.err.text()
    assert theirs.stat().st_uid == 0


@pytest.mark.parametrize("mode", ["0600", "0660", "0666", "0777"])
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_socket_mode_does_not_depend_on_the_umask(place, mode, umask):
    """The sockets have exactly the permission bits that the options specify."""
    before = os.umask(umask)
    try:
        server = place.server("--socket-mode", mode, "--control", place.dir / "control",
                              "--control-mode", mode)
    finally:
        os.umask(before)
    for name in ["socket", "control"]:
        assert stat.S_IMODE((place.dir / name).stat().st_mode) == int(mode, 8)
    server.stop()


def test_socket_mode_does_not_depend_on_a_default_acl(place):
    """In a directory with a default ACL the socket has the permission bits that the option
    specifies."""
    entries = [(0x01, 7), (0x04, 5), (0x20, 0)]  # user::rwx, group::r-x, other::---
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits, 0xffffffff)
                                          for tag, bits in entries)
    try:
        os.setxattr(place.dir, "system.posix_acl_default", acl)
    except OSError as error:
        pytest.skip(f"needs a file system with ACLs: {error}")
    server = place.server("--socket-mode", "0666")
    assert stat.S_IMODE(place.socket.stat().st_mode) == 0o666
    server.stop()
