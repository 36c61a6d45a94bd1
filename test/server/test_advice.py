# SPDX-License-Identifier: BSD-3-Clause
"""Advice in the messages of ivshmem-server and the library on the host: each test makes a state,
reads the message, does what it advises, and sees that it helps."""
import os
import shutil

import pytest

from support.py import advice

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
USER = 61235
MIB = 1 << 20
AS_ROOT = r"as root, (chgrp [^()]* && chmod \S+ [^\s()]+)"


def run_server_as_user(place, *words):
    """Run a server in the foreground that is expected to fail. Return: its message."""
    status, text = advice.run_as(place, USER, place.server_program, "-F", "-S", place.socket,
                                 *words)
    assert status == 1, text
    return text


def start_server_as_user(place, *words):
    """Start a server as the user, and wait until it listens."""
    server = place.start(advice.copy_for_users(place, place.server_program), "-F", "-v", "-S",
                         place.socket, *words, user=USER)
    server.err.wait("listening at")
    return server


# Owner, group and mode

@NEEDS_ROOT
def test_region_of_root(place):
    """The message has owner, group and mode of a region that the user may not open, and a command
    that opens it."""
    place.shm_path.write_bytes(bytes(MIB))
    place.shm_path.chmod(0o600)
    words = ["-M", place.shm, "-l", "1M"]
    text = run_server_as_user(place, *words)
    assert f"cannot open {place.shm_path}: Permission denied: it belongs to root:root, mode 0600" \
        in text
    advice.do(text, AS_ROOT)
    start_server_as_user(place, *words)


@NEEDS_ROOT
def test_region_in_a_directory_of_root(place):
    """If a directory denies access, the message names the directory, not the file."""
    directory = place.dir / "roots"
    directory.mkdir(mode=0o700)
    region = directory / "region"
    region.write_bytes(bytes(MIB))
    region.chmod(0o666)
    words = ["-r", f"file:{region}", "-l", "1M"]
    text = run_server_as_user(place, *words)
    assert f"the directory {directory} belongs to root:root, mode 0700: use a directory that " \
        f"user {USER} may enter" in text
    shutil.copy(region, place.dir / "region").chmod(0o666)
    start_server_as_user(place, "-r", f"file:{place.dir}/region", "-l", "1M")


@NEEDS_ROOT
def test_new_region_in_a_directory_of_root(place):
    """If the user may not create a file in a directory, the message names the directory."""
    directory = place.dir / "roots"
    directory.mkdir(mode=0o755)
    words = ["-r", f"file:{directory}/region", "-l", "1M"]
    text = run_server_as_user(place, *words)
    assert f"the directory {directory} belongs to root:root, mode 0755: use a directory to " \
        f"which user {USER} may write" in text
    start_server_as_user(place, "-r", f"file:{place.dir}/region", "-l", "1M")


@NEEDS_ROOT
def test_server_that_a_user_may_not_connect_to(place):
    """ivshmem-client says what denies the connection: the socket's mode."""
    place.server("--socket-mode", "0600")
    words = [place.client_program, "-S", place.socket, "-c", "dump"]
    status, text = advice.run_as(place, USER, *words)
    assert status == 1
    assert "Permission denied: it belongs to root:root, mode 0600: as root, chgrp" in text
    assert "(ivshmem-server --socket-mode, --socket-group)" in text
    advice.do(text, AS_ROOT)
    assert advice.run_as(place, USER, *words) == (0, "")
