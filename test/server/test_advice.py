# SPDX-License-Identifier: BSD-3-Clause
"""Advice in the messages of ivshmem-server and the library on the host: each test causes an error,
reads the message, follows its advice, and checks that the advice works."""
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess

import pytest

from support.py import advice
from support.py.programs import Daemon

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
USER = 61235
MIB = 1 << 20
AS_ROOT = r"as root, (chgrp [^()]* && chmod \S+ [^\s()]+)"


def run_server_as_user(place, *words):
    """Run a server in the foreground; it is expected to fail. Return: its error message."""
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
    """The message names the owner, group and mode of a region that the user may not open, and a
    command that gives the user access."""
    place.shm_path.write_bytes(bytes(MIB))
    place.shm_path.chmod(0o600)
    words = ["-M", place.shm, "-l", "1M"]
    text = run_server_as_user(place, *words)
    assert (f"cannot open {place.shm_path} for reading and writing: Permission denied: it belongs "
            "to root:root, mode 0600") in text
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
    """ivshmem-client says what prevents the connection: the socket's mode."""
    place.server("--socket-mode", "0600")
    words = [place.client_program, "-S", place.socket, "-c", "dump"]
    status, text = advice.run_as(place, USER, *words)
    assert status == 1
    assert "Permission denied: it belongs to root:root, mode 0600: as root, chgrp" in text
    assert "(ivshmem-server --socket-mode, --socket-group)" in text
    advice.do(text, AS_ROOT)
    assert advice.run_as(place, USER, *words) == (0, "")


# Sockets

def dead_socket(path, mode=0o755):
    """Create a socket like one that a killed server leaves behind."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    path.chmod(mode)


@NEEDS_ROOT
@pytest.mark.parametrize("mode", [0o755, 0o600, 0o000], ids=oct)
def test_dead_socket_of_root(place, mode):
    """If a dead socket that root owns is in a directory that the user owns, the message names the
    socket's owner, and the user can remove the socket."""
    place.dir.chmod(0o777)
    dead_socket(place.socket, mode)
    text = run_server_as_user(place, "-r", "memfd:")
    assert (f"the socket {place.socket} exists: it belongs to root:root, mode {mode:04o}, and no "
            f"process appears to be listening at it: if it is left over, rm {place.socket}\n") == \
        text.removeprefix("ivshmem-server: ") + "\n"
    advice.do(text, r"left over, (rm \S+)", user=USER)
    start_server_as_user(place, "-r", "memfd:")


@NEEDS_ROOT
@pytest.mark.parametrize("mode", [0o755, 0o777], ids=oct)
def test_dead_socket_of_root_in_a_sticky_directory(place, mode):
    """In a directory such as /tmp only root can remove the socket. Any user may connect to a socket
    with mode 0777, and can thus find out that it is dead."""
    advice.copy_for_users(place, place.server_program)
    place.dir.chmod(0o1777)
    dead_socket(place.socket, mode)
    process = place.start(place.dir / "ivshmem-server", "-F", "-S", place.socket, "-r", "memfd:",
                          user=USER)
    assert process.wait() == 1
    text = process.err.text()
    assert f"it belongs to root:root, mode {mode:04o}, and no process" in text
    assert text.endswith("; or use another path")
    advice.do(text, r"as root, (rm \S+);")
    start_server_as_user(place, "-r", "memfd:")


@NEEDS_ROOT
def test_socket_of_a_running_server_of_root(place):
    """If a server run by root listens on the socket, the message does not advise removing it."""
    place.server()
    text = run_server_as_user(place, "-r", "memfd:")
    assert ", and a process is listening at it: use another path" in text
    assert "rm " not in text


@NEEDS_ROOT
def test_socket_of_a_running_server_with_a_relative_path(place):
    """A running server is detected even if it was started with a relative socket path."""
    place.start("sh", "-c", f"cd {place.dir} && exec {place.server_program} -F -v -S socket "
                "-r memfd:").err.wait("listening at")
    text = run_server_as_user(place, "-r", "memfd:")
    assert ", and a process is listening at it: use another path" in text


def test_socket_in_a_directory_that_does_not_exist(place):
    """The message contains the command that creates the directory."""
    path = place.dir / "a" / "b" / "socket"
    words = ["-F", "-S", path, "-r", "memfd:"]
    text = place.run_server(*words).stderr
    assert f"cannot create the socket {path}: No such file or directory: mkdir -p {path.parent}\n" \
        in text
    advice.do(text, ": (mkdir .*)")
    place.server(socket=path)


def test_metrics_in_a_directory_that_does_not_exist(place):
    """The message contains the command that creates the directory."""
    words = ["--metrics", place.dir / "new" / "m.prom"]
    text = place.run_server("-F", "-S", place.socket, "-r", "memfd:", *words).stderr
    assert "the directory of the metrics file: No such file or directory: mkdir -p" in text
    advice.do(text, ": (mkdir .*)")
    place.server(*words)


@NEEDS_ROOT
def test_owner_and_group_that_cannot_be_given(place):
    """The message says whether the owner or the group cannot be set: an ordinary user can set
    neither, except that the group may be one of the user's own groups."""
    for what, region in ("socket", "memfd:"), ("region", f"file:{place.dir}/region"):
        text = run_server_as_user(place, "-r", region, f"--{what}-owner", "0")
        assert "Operation not permitted: only root can change the owner" in text
        text = run_server_as_user(place, "-r", region, f"--{what}-group", "daemon")
        assert "Operation not permitted: this user is not a member of the group (id lists its " \
            "groups)" in text
    start_server_as_user(place, "-r", "memfd:", "--socket-owner", str(USER), "--socket-group",
                         str(USER))


@NEEDS_ROOT
def test_socket_in_a_directory_of_root(place):
    """If the user may not write to the directory, the message names the directory and its mode."""
    (place.dir / "roots").mkdir(mode=0o755)
    path = place.dir / "roots" / "socket"
    text = run_server_as_user(place, "-r", "memfd:", "-S", path)
    assert (f"cannot create the socket {path}: Permission denied: the directory {path.parent} "
            "belongs to root:root, mode 0755: use a directory to which user "
            f"{USER} may write") in text
    start_server_as_user(place, "-r", "memfd:")


# The pidfile

def start_in_background(place, *words):
    """Start a server in the background as the user. Return: (status, standard error)."""
    return advice.run_as(place, USER, place.server_program, "-S", place.socket, "-M", place.shm,
                         *words)


@NEEDS_ROOT
def test_server_of_a_user_without_options_for_the_pidfile(place):
    """If the user may not write to the default pidfile's directory, the message names options with
    which the server can start."""
    status, text = start_in_background(place)
    assert status == 1
    assert ("cannot open the pidfile /var/run/ivshmem-server.pid: Permission denied: the "
            "directory /var/run belongs to root:root, mode 0755: use a directory to which user "
            f"{USER} may write (-p FILE), or stay in the foreground (-F)") in text
    server = start_server_as_user(place, "-M", place.shm)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    pidfile = place.dir / "pid"
    assert start_in_background(place, "-p", pidfile) == (0, "")
    place.add(Daemon(int(pidfile.read_text())))


@pytest.mark.parametrize("make, why", [
    (lambda path: path.mkdir(), "it is a directory: name a file in it (-p FILE)"),
    (lambda path: path.symlink_to("/nonexistent"),
     "it is a symbolic link: remove it or use another file (-p)"),
    (dead_socket, "it is not a file: remove it or use another file (-p)"),
], ids=["directory", "link", "socket"])
def test_pidfile_that_cannot_be_one(place, make, why):
    """The message says what exists at the path of the pidfile. With -p, the server writes a pidfile
    even if -F is given, so -F is not advised."""
    path = place.dir / "pid"
    make(path)
    for mode in [], ["-F"]:
        done = place.run_server("-S", place.socket, "-r", "memfd:", "-p", path, *mode)
        assert done.returncode == 1
        assert f"cannot open the pidfile {path}: {why}\n" in done.stderr


def test_pidfile_in_a_directory_that_does_not_exist(place):
    """The message names the missing directory, and says how to create it."""
    path = place.dir / "new" / "pid"
    words = ["-S", place.socket, "-r", "memfd:", "-p", path]
    done = place.run_server(*words)
    assert done.returncode == 1
    assert f"the directory {path.parent} does not exist: mkdir -p {path.parent}\n" in done.stderr
    advice.do(done.stderr, ": (mkdir .*)")
    assert place.run_server(*words).returncode == 0
    place.add(Daemon(int(path.read_text())))


# The region's location

def run_server(place, *words):
    """Run a server in the foreground; it is expected to fail. Return: its error message."""
    done = place.run_server("-F", "-S", place.socket, *words)
    assert done.returncode == 1, done.stderr
    return done.stderr


def hugetlbfs():
    """Return: the directory where a hugetlbfs is mounted, or None."""
    mounts = [line.split() for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
    return next((mount[1] for mount in mounts if mount[2] == "hugetlbfs"), None)


@pytest.mark.parametrize("option", ["-m", "-r"])
def test_directory_that_does_not_exist(place, option):
    """An argument that contains a slash is treated as a path, even for -m. The message says how to
    create the directory, and where huge pages can be found: on a hugetlbfs that is already mounted
    or that the user can mount."""
    path = place.dir / "hugepages"
    words = [option, f"{path}/" if option == "-m" else f"dir:{path}/", "-l", "1M"]
    text = run_server(place, *words)
    assert f"the directory {path}/ does not exist: mkdir -p {path}/" in text
    if hugetlbfs():
        assert f", or for huge pages use {hugetlbfs()}, where a hugetlbfs is mounted" in text
    else:
        assert (f", and for huge pages mount -t hugetlbfs none {path}/; or use memfd:2M, which "
                "needs no mount") in text
    advice.do(text, r": (mkdir -p [^\s,]+),")
    place.start(place.server_program, "-F", "-S", place.socket, *words).err.wait(
        f"the region in {path}/ has ordinary pages, because no hugetlbfs is mounted there")


@NEEDS_ROOT
@pytest.mark.usefixtures("huge_pages")
def test_directory_without_a_hugetlbfs(place):
    """If a region whose path contains "huge" has ordinary pages, the message says how to mount a
    hugetlbfs there, which gives the region huge pages."""
    path = place.dir / "hugepages"
    path.mkdir()
    for words in ["-m", path], ["-r", f"file:{path}/region"]:
        server = place.start(place.server_program, "-F", "-v", "-S", place.socket, *words, "-l",
                             "2M")
        text = server.err.wait(" has ordinary pages, because ")
        server.err.wait("listening at")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        advice.do(text, "there: first run (mount .*)")
        try:
            server = place.start(place.server_program, "-F", "-v", "-S", place.socket, *words,
                                 "-l", "2M")
            server.err.wait("listening at")
            assert server.err.count("ordinary pages") == 0
            told = run_server(place, "-m", place.dir / "none")
            assert f", or for huge pages use {hugetlbfs()}, where a hugetlbfs is mounted" in told
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
        finally:
            subprocess.run(["umount", str(path)], check=True)


def test_path_as_a_name_for_shared_memory(place):
    """If a path is given as a name for POSIX shared memory, the message suggests the address that
    was probably meant."""
    place.shm_path.write_bytes(bytes(MIB))
    (place.dir / "file").write_bytes(bytes(MIB))
    for path in place.shm_path, place.dir, place.dir / "file":
        words = ["-l", "1M", "-r"]
        text = run_server(place, *words, f"shm:{path}")
        assert f'"{path}" is a path, not a name for POSIX shared memory: use ' in text
        meant = advice.command_in(text, r"use (\S+)")
        server = place.server("-l", "1M", region=["-r", meant])
        server.stop()
        told = place.run(place.client_program, "-a", f"shm:{path}", "-c", "dump").stderr
        assert f": use {meant}" in told


def test_file_in_a_directory_that_does_not_exist(place):
    """The message names the missing directory, and says how to create it."""
    words = ["-r", f"file:{place.dir}/new/region", "-l", "1M"]
    text = run_server(place, *words)
    assert f"the directory {place.dir}/new does not exist: mkdir -p {place.dir}/new" in text
    advice.do(text, ": (mkdir .*)")
    place.server("-l", "1M", region=words[:2])


def test_link_to_a_region(place):
    """The message does not name the file to which a symbolic link leads: its owner has
    chosen that name, perhaps with escape sequences."""
    target = place.dir / "region\x1b[31m"
    link = place.dir / "link"
    link.symlink_to(target)
    message = (f"{place.server_program.name}: {link} is a symbolic link, which is not followed: "
               "name the file itself\n")
    assert run_server(place, "-r", f"file:{link}", "-l", "1M") == message
    target.write_bytes(bytes(MIB))
    assert run_server(place, "-r", f"file:{link}", "-l", "1M") == message
    target.rename(place.dir / "region")
    place.server("-l", "1M", region=["-r", f"file:{place.dir}/region"])


@pytest.mark.parametrize("words", [["-r", "file:/none/a\x1b[31m\nb\x9b\u202e", "-l", "1M"],
                                   ["a\x1b[31m\nb\x9b\u202e"]])
def test_messages_have_no_control_characters(place, words):
    """Whatever is in a message, it is one line and does not control a terminal."""
    text = place.run_server("-F", "-S", place.socket, *words).stderr
    assert "a?[31m?b??" in text and text.count("\n") == 1


@pytest.mark.parametrize("make, kind", [
    (lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3)), "a character device"),
    (lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(239, 254)),
     "a character device"),
    (lambda path: os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(239, 254)), "a block device"),
    (os.mkfifo, "a named pipe"), (dead_socket, "a socket")],
    ids=["null", "no-driver", "block", "pipe", "socket"])
def test_region_that_is_not_a_file(place, make, kind):
    """The message says what kind of file exists at the path, and which kinds can be used
    instead."""
    if "device" in kind and os.geteuid():
        pytest.skip("needs root to create a device")
    path = place.dir / "what"
    make(path)
    expected = f"{path} is not a file, but {kind}: use another path, in a tmpfs, in a hugetlbfs " \
        "or on a disk\n"
    assert expected in run_server(place, "-r", f"file:{path}", "-l", "1M")
    assert expected in place.run(place.client_program, "-a", f"file:{path}", "-c", "dump").stderr
    place.server("-l", "1M", region=["-r", f"file:{place.dir}/region"])


@NEEDS_ROOT
def test_region_that_is_a_kvmfr_device(place):
    """The message says what the kvmfr module is for, and that sharing memory does not need it."""
    path = place.dir / "kvmfr0"
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    text = run_server(place, "-r", f"file:{path}", "-l", "1M")
    assert (f"{path} is not a file, but a device of the kvmfr module, which Looking Glass needs "
            "only to import frames as dma-bufs: to share memory, use shm:looking-glass here, and "
            "its file in QEMU and Looking Glass") in text


def test_region_that_nobody_has_made(place):
    """A client cannot create a region, so the message does not advise creating one."""
    text = place.run(place.client_program, "-a", f"shm:{place.shm}", "-c", "dump").stderr
    assert f"there is no region shm:{place.shm}: first start the program that creates it\n" in text
    place.server("-l", "1M")
    assert place.run(place.client_program, "-a", f"shm:{place.shm}", "-c", "dump").returncode == 0
