# SPDX-License-Identifier: BSD-3-Clause
"""Files of ivshmem-server that other processes also use: pidfile, region, socket."""
import fcntl
import os
import pathlib
import re
import signal
import stat
import time

import pytest

from support.py.programs import wait_until
from support.py.wire import RawClient, accepts

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
NOBODY = 65534


def start_daemon(where, pidfile, *options):
    """Start a server in the background. The command exits whether or not the server starts. If it
    does, the Place finds the process by the socket's path in its command line, and ends it after
    the test."""
    return where.run_server("-S", where.socket, "-M", where.shm, "-p", pidfile, *options)


def check_refused(where, done, message):
    """The start must have failed with this message, and left neither socket nor region."""
    assert done.returncode == 1
    assert message in done.stderr
    assert not where.socket.exists() and not where.shm_path.exists()


def identity(path):
    """Return attributes of a file, at least one of which changes if the server modifies or replaces
    it."""
    there = path.lstat()
    return there.st_dev, there.st_ino, there.st_mode, there.st_nlink, there.st_size


# The pidfile

def make_directory(path):
    """Create a directory."""
    path.mkdir()


def make_fifo(path):
    """Create a FIFO: it cannot be truncated, and a write to it blocks."""
    os.mkfifo(path)


def make_device(path):
    """Create a device like /dev/zero, because a user may name a device, as in -p /dev/null."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError as error:
        pytest.skip(f"needs permission to create a device: {error}")


def make_link(path):
    """Create a symbolic link to a file that would be a valid pidfile."""
    target = path.with_name("target")
    target.write_text("4194999\n")
    path.symlink_to(target)


@pytest.mark.parametrize("mode", [[], ["-F"]], ids=["background", "foreground"])
@pytest.mark.parametrize("make", [make_directory, make_fifo, make_device, make_link])
def test_pidfile_that_is_not_a_regular_file_is_refused(place, make, mode):
    """A pidfile that is not a regular file is left unchanged, and the error message names it."""
    pidfile = place.dir / "pid"
    make(pidfile)
    before = identity(pidfile)
    check_refused(place, start_daemon(place, pidfile, *mode), str(pidfile))
    assert identity(pidfile) == before
    if pidfile.is_symlink():
        assert pidfile.read_text() == "4194999\n"


@pytest.mark.parametrize("content", [
    b"precious\n", b"-5\n", b"12 34\n", b"12abc\n", b"1\n2\n", b"\x00\x01\x02", b"1" + bytes(9),
    b"precious\n" * 10000], ids=lambda content: repr(content[:10]))
def test_pidfile_with_other_content_is_refused(place, content):
    """A pidfile with contents other than a process id is neither overwritten nor removed."""
    pidfile = place.dir / "pid"
    pidfile.write_bytes(content)
    before = identity(pidfile)
    done = start_daemon(place, pidfile)
    assert pidfile.exists() and pidfile.read_bytes() == content
    check_refused(place, done, "does not look like a pidfile")
    assert str(pidfile) in done.stderr
    assert identity(pidfile) == before


@needs_root
@pytest.mark.parametrize("uid, mode, message", [
    (NOBODY, 0o644, f"is owned by uid {NOBODY}, who can change the number in it"),
    (0, 0o666, "is writable by all users, who can change the number in it"),
])
def test_pidfile_that_others_can_write_to_is_refused(place, uid, mode, message):
    """A pidfile in which another user could put the id of a different process is not taken over."""
    pidfile = place.dir / "pid"
    pidfile.write_text("4194999\n")
    os.chown(pidfile, uid, -1)
    pidfile.chmod(mode)
    check_refused(place, start_daemon(place, pidfile), message)
    assert pidfile.read_text() == "4194999\n"


def test_server_cannot_change_its_pidfile(place):
    """The server keeps its pidfile locked, but through an fd that is open for reading only."""
    pidfile = place.dir / "pid"
    server = place.server("-p", pidfile)
    flags = [int(re.search(r"^flags:\s+(\d+)", info.read_text(), re.MULTILINE)[1], 8)
             for info in pathlib.Path(f"/proc/{server.pid}/fdinfo").iterdir()
             if os.readlink(f"/proc/{server.pid}/fd/{info.name}") == str(pidfile)]
    assert [flag & os.O_ACCMODE for flag in flags] == [os.O_RDONLY]
    with open(pidfile, "rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    server.stop()


@pytest.mark.parametrize("content", ["", "4194999\n", "4194999", "1\n"], ids=repr)
def test_stale_pidfile_is_taken_over(place, content):
    """A pidfile is taken over if it is empty, or names a process that has exited or is not a
    server."""
    pidfile = place.dir / "pid"
    pidfile.write_text(content)
    server = place.server("-p", pidfile)
    assert pidfile.read_text() == f"{server.pid}\n"
    server.stop()
    assert not pidfile.exists()


@pytest.mark.parametrize("options, message", [
    (["-S", "missing/socket"], "missing"), (["-r", "dir:missing"], "missing"),
    (["-l", "3M"], "not a power of two")], ids=["socket", "region", "size"])
@pytest.mark.parametrize("content", ["", "4194999\n"], ids=["empty", "stale"])
def test_failed_start_keeps_an_existing_pidfile(place, content, options, message):
    """A server that could not start does not remove a pidfile that existed beforehand."""
    pidfile = place.dir / "pid"
    pidfile.write_text(content)
    before = identity(pidfile)
    options = [option.replace("missing", f"{place.dir}/missing") for option in options]
    check_refused(place, start_daemon(place, pidfile, *options), message)
    assert pidfile.exists() and pidfile.read_text() == content
    assert identity(pidfile) == before


def test_replaced_pidfile_is_not_removed(place):
    """When a server exits it removes its own pidfile, but not a different file of the same name."""
    pidfile = place.dir / "pid"
    server = place.server("-p", pidfile)
    assert pidfile.read_text() == f"{server.pid}\n"
    other = place.dir / "other"
    other.write_text("1\n")
    other.rename(pidfile)
    server.stop()
    assert pidfile.exists() and pidfile.read_text() == "1\n"


def test_missing_pidfile_is_not_an_error(place):
    """A server exits cleanly even if its pidfile has been removed."""
    pidfile = place.dir / "pid"
    server = place.server("-p", pidfile)
    pidfile.unlink()
    server.stop()
    assert os.listdir(place.dir) == []


# The region

def start_together(where, commands):
    """Start programs at nearly the same time: all of them wait for one FIFO to be opened."""
    gate = where.dir / "gate"
    os.mkfifo(gate)
    started = [where.start("sh", "-c", 'echo ready >&2; read go <"$0"; exec "$@"', gate, *command)
               for command in commands]
    for process in started:
        process.err.wait("ready")
        # While its open() of the FIFO waits for a writer, the process has no fd for the FIFO, so
        # check whether the process sleeps.
        wait_until(lambda pid=process.pid: is_waiting_for_writer(pid),
                   "the process waits for the FIFO")
    with open(gate, "w", encoding="ascii") as opened:
        opened.write("go\n" * len(started))
    gate.unlink()
    return started


def is_waiting_for_writer(pid):
    """Return true if the process sleeps in open() of the FIFO."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as status:
        return status.read().rsplit(")", 1)[1].split()[0] == "S"


def is_decided(server):
    """Return true if the server has started or failed."""
    return server.err.count("ivshmem-server: listening at") or server.popen.poll() is not None


def test_two_servers_create_one_region(place):
    """Two servers start with the same region name and different sizes: one creates the region; the
    other reports that the region has a different size, and does not resize it."""
    sizes = {"4M": 4 << 20, "1M": 1 << 20}
    for _ in range(20):
        servers = start_together(place, [
            [place.server_program, "-F", "-v", "-S", place.dir / size, "-M", place.shm, "-l", size]
            for size in sizes])
        wait_until(lambda: all(is_decided(server) for server in servers),
                   "each server has started or failed")
        living = [at for at, server in enumerate(servers) if server.popen.poll() is None]
        assert len(living) == 1, [server.err.seen for server in servers]
        runs, failed = servers[living[0]], servers[1 - living[0]]
        assert failed.wait() == 1
        assert "exists with size" in failed.err.text()
        assert place.shm_path.stat().st_size == list(sizes.values())[living[0]]
        place.end_all()
        assert runs.popen.poll() is not None
        place.shm_path.unlink()
        for size in sizes:
            (place.dir / size).unlink(missing_ok=True)


def make_region(where, mode=0o600, uid=-1):
    """Create a region before the server starts."""
    with open(where.shm_path, "xb") as file:
        file.truncate(4 << 20)
        os.fchown(file.fileno(), uid, -1)
        os.fchmod(file.fileno(), mode)


def start_silent(where):
    """Start a server without -v on the existing region. Return: the server, once it serves
    clients."""
    server = where.start(where.server_program, "-F", "-S", where.socket, "-M", where.shm)
    wait_until(lambda: accepts(where.socket) or server.popen.poll() is not None,
               "the server accepts connections")
    with RawClient(str(where.socket), 1) as client:
        client.greeting()
    return server


def check_warns(server, path, text):
    """The server must be running, and have logged exactly one line with this text, which names the
    region."""
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    lines = [line for line in server.err.text().splitlines() if text in line]
    assert len(lines) == 1, server.err.text()
    assert lines[0].startswith("ivshmem-server: ") and str(path) in lines[0]
    assert "WARNING" not in lines[0]


@needs_root
def test_region_of_another_user_is_a_warning(place):
    """A region that belongs to another user is used, and a warning about its owner is logged."""
    make_region(place, uid=NOBODY)
    check_warns(start_silent(place), place.shm_path, f"is owned by uid {NOBODY}")
    assert place.shm_path.stat().st_uid == NOBODY


@pytest.mark.parametrize("mode", [0o666, 0o602, 0o777], ids=oct)
def test_world_writable_region_is_a_warning(place, mode):
    """A region that all users can write to is used, and a warning about it is logged."""
    make_region(place, mode)
    check_warns(start_silent(place), place.shm_path, "is writable by all users")
    assert stat.S_IMODE(place.shm_path.stat().st_mode) == mode


@pytest.mark.parametrize("mode", [None, 0o600, 0o660, 0o644], ids=str)
def test_own_region_causes_no_warning(place, mode):
    """Neither a new region nor an existing region of the same user causes a warning."""
    if mode is not None:
        make_region(place, mode)
    server = start_silent(place)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.err.text() == ""


# The socket

def test_locked_directory_does_not_prevent_the_start(place):
    """The server starts even if another process has locked the directory of its socket."""
    directory = os.open(place.dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        begin = time.monotonic()
        place.server()
        assert time.monotonic() - begin < 3
        with RawClient(str(place.socket), 1) as client:
            assert client.greeting().id == 0
    finally:
        os.close(directory)
