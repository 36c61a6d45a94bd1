# SPDX-License-Identifier: BSD-3-Clause
"""Limits and permissions: which clients are admitted, and the mode and owner of the socket and the
region."""
import os
import shutil
import stat

import pytest

from support.py.clients import join
from support.py.wire import connect

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
STRANGER = 61234
OTHER = 61235


def start_as(where, uid, groups=()):
    """Run the client program as another user. The client stays connected until the caller ends
    it."""
    program = where.dir / where.client_program.name
    if not program.exists():
        shutil.copy(where.client_program, program)
    numbers = ",".join(str(group) for group in groups)
    return where.start("setpriv", f"--reuid={uid}", f"--regid={uid}",
                       f"--groups={numbers}" if groups else "--clear-groups",
                       program, "-v", "-S", where.socket, stdin=-1)


def open_to_all(where, *options):
    """Start a server whose directory and socket are open to all users."""
    where.dir.chmod(0o777)
    return where.server("--socket-mode", "0666", *options)


def is_served(client):
    """Return true if the client became a peer; otherwise it must have exited with status 1."""
    try:
        client.out.wait("peer ")
        return True
    except AssertionError:
        assert client.wait() == 1
        return False


def test_client_beyond_max_peers_is_refused(place):
    """A client beyond the maximum is refused, with a reason in the log; once a peer has left,
    another client is admitted."""
    server = place.server("--max-peers", "2")
    clients = [join(place, 1) for _ in range(2)]
    assert connect(str(place.socket)).recv(8) == b""
    server.err.wait(f"refused a client (pid {os.getpid()}, uid {os.getuid()}): the maximum "
                    "number of clients is connected (--max-peers)")
    clients[0].close()
    server.err.wait("client 0 left")
    join(place, 1)


def test_refusals_do_not_fill_the_log(place):
    """A client that connects in a loop causes at most 20 log lines in 10 s; other clients are still
    served."""
    server = place.server("--max-peers", "1")
    first = join(place, 1)
    for _ in range(200):
        assert connect(str(place.socket)).recv(8) == b""
    first.close()
    server.err.wait("client 0 left")
    assert server.err.count("refused a client") == 20
    join(place, 1)


def test_max_peers_beyond_the_limit_of_fds_is_an_error(place):
    """The error message shows how many fds are needed, and neither socket nor region is created."""
    process = place.start(place.server_program, "-F", "-S", place.socket, "-M", place.shm, "-n",
                          "4", "--max-peers", "100", nofile=256)
    assert process.wait() == 1
    assert ("100 clients with 4 vectors need 100 x (1 + 4) + 16 = 516 file descriptors, but "
            "only 256 are allowed: raise the limit (ulimit -n, LimitNOFILE=) or use --max-peers 48"
            in process.err.text())
    assert not place.socket.exists() and not place.shm_path.exists()


@NEEDS_ROOT
def test_max_peers_per_user_limits_each_user(place):
    """With --max-peers-per-user, a user at the limit cannot connect another client, but other users
    can."""
    server = open_to_all(place, "--max-peers-per-user", "1")
    first = start_as(place, STRANGER)
    assert is_served(first)
    assert not is_served(start_as(place, STRANGER))
    server.err.wait(f"uid {STRANGER}): the maximum number of its user's clients is connected")
    assert is_served(start_as(place, OTHER))


@NEEDS_ROOT
@pytest.mark.parametrize("options,uid,groups,served", [
    ([], STRANGER, [], True),
    (["--allow-user", str(STRANGER)], STRANGER, [], True),
    (["--allow-user", str(STRANGER)], OTHER, [], False),
    (["--allow-user", "root", "--allow-user", str(OTHER)], OTHER, [], True),
    (["--allow-group", str(STRANGER)], STRANGER, [], True),
    (["--allow-group", "4242"], STRANGER, [4241, 4242], True),
    (["--allow-group", "4242"], STRANGER, [4241], False),
    (["--allow-user", "root", "--allow-group", "4242"], STRANGER, [4242], True),
    (["--allow-group", "daemon"], STRANGER, [1], True),
], ids=lambda value: "-".join(map(str, value)) if isinstance(value, list) else str(value))
def test_only_allowed_users_and_groups_are_admitted(place, options, uid, groups, served):
    """Users and groups are allowed by name or number, and supplementary groups count. The log names
    the user of a refused client."""
    server = open_to_all(place, *options)
    assert is_served(start_as(place, uid, groups)) == served
    if not served:
        server.err.wait(f"uid {uid}): neither its user nor any of its groups is allowed")


@NEEDS_ROOT
def test_socket_and_region_have_the_given_mode_and_owner(place):
    """Socket and region have the mode, owner and group that the options give, regardless of the
    umask."""
    place.server("--socket-mode", "0620", "--socket-owner", str(STRANGER), "--socket-group", "4242",
                 "--region-mode", "0664", "--region-owner", str(OTHER), "--region-group", "daemon")
    for path, mode, uid, gid in [(place.socket, 0o620, STRANGER, 4242),
                                 (place.shm_path, 0o664, OTHER, 1)]:
        status = path.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (mode, uid, gid)


@NEEDS_ROOT
def test_socket_of_mode_0600_is_closed_to_other_users(place):
    """With --socket-mode 0600 the kernel refuses other users' connections, and the server does not
    notice the attempts."""
    place.dir.chmod(0o777)
    server = place.server("--socket-mode", "0600")
    client = start_as(place, STRANGER)
    assert client.wait() == 1
    assert "Permission denied" in client.err.text()
    assert server.err.count("refused") == 0


@pytest.mark.parametrize("option,value,message", [
    ("--max-peers", "0", "invalid number of clients"),
    ("--max-peers", "65537", "invalid number of clients"),
    ("--max-peers-per-user", "x", "invalid number of clients"),
    ("--socket-mode", "", "invalid mode"),
    ("--socket-mode", "0", "invalid mode"),
    ("--socket-mode", "678", "invalid mode"),
    ("--socket-mode", "7777", "invalid mode"),
    ("--region-mode", "rw", "invalid mode"),
    ("--socket-owner", "nobody-of-this-name", "no such user"),
    ("--region-owner", "-1", "no such user"),
    ("--allow-user", "4294967295", "no such user"),
    ("--socket-group", "nobody-of-this-name", "no such group"),
    ("--region-group", "1x", "no such group"),
    ("--allow-group", "", "no such group"),
])
def test_bad_value(place, option, value, message):
    """A bad option value results in status 2 and a message that contains the value and says what is
    wrong with it."""
    done = place.run_server("-F", "-S", place.socket, "-M", place.shm, option, value)
    assert done.returncode == 2
    assert f"ivshmem-server: {message} \"{value}\": use " in done.stderr


@NEEDS_ROOT
def test_socket_owner_that_cannot_be_set_is_an_error(place):
    """A server without privileges cannot make another user the owner of its socket: it reports an
    error and leaves no files."""
    place.dir.chmod(0o777)
    program = shutil.copy(place.server_program, place.dir)
    process = place.start(program, "-F", "-S", place.socket, "-M", place.shm, "--socket-owner",
                          "root", user=STRANGER)
    assert process.wait() == 1
    assert (f"cannot change the owner of the socket {place.socket} to uid 0: Operation not "
            "permitted: only root can change the owner") in process.err.text()
    assert not place.socket.exists() and not place.shm_path.exists()
