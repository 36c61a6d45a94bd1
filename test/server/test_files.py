# SPDX-License-Identifier: BSD-3-Clause
"""What ivshmem-server does to the file system, which others use too: pidfile, region, socket."""
import fcntl
import os
import signal
import stat
import time

import pytest

from support.py.programs import wait_until
from support.py.wire import RawClient, accepts

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
NOBODY = 65534


def start_daemon(where, pidfile, *options):
    """Start a server in the background: the command ends, whether it works or not. What it leaves
    running is found by the place, as the socket is in its directory."""
    return where.run_server("-S", where.socket, "-M", where.shm, "-p", pidfile, *options)


def check_refused(where, done, message):
    """It did not start, says why, and left neither socket nor region."""
    assert done.returncode == 1
    assert message in done.stderr
    assert not where.socket.exists() and not where.shm_path.exists()


def identity(path):
    """What of a file must not change when it is nobody's to touch."""
    there = path.lstat()
    return there.st_dev, there.st_ino, there.st_mode, there.st_nlink, there.st_size


# The pidfile

def make_directory(path):
    """A directory."""
    path.mkdir()


def make_fifo(path):
    """A FIFO: no bytes to cut off, and no end to write to."""
    os.mkfifo(path)


def make_device(path):
    """A character device, /dev/zero: what -p /dev/null would meet."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError as error:
        pytest.skip(f"needs to be allowed to make a device: {error}")


def make_link(path):
    """A symbolic link to a file that would be a fine pidfile."""
    target = path.with_name("target")
    target.write_text("4194999\n")
    path.symlink_to(target)


@pytest.mark.parametrize("mode", [[], ["-F"]], ids=["background", "foreground"])
@pytest.mark.parametrize("make", [make_directory, make_fifo, make_device, make_link])
def test_pidfile_that_is_no_file(place, make, mode):
    """What is no regular file is no pidfile: refused with its name, and still there."""
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
def test_pidfile_with_other_content(place, content):
    """A file in which somebody keeps something else is not overwritten, nor removed."""
    pidfile = place.dir / "pid"
    pidfile.write_bytes(content)
    before = identity(pidfile)
    done = start_daemon(place, pidfile)
    assert pidfile.exists() and pidfile.read_bytes() == content
    check_refused(place, done, "does not look like a pidfile")
    assert str(pidfile) in done.stderr
    assert identity(pidfile) == before


@pytest.mark.parametrize("content", ["", "4194999\n", "4194999", "1\n"], ids=repr)
def test_pidfile_of_old_is_taken_over(place, content):
    """Empty, or the number of somebody who is gone, or of another program: it is a pidfile."""
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
def test_failed_start_leaves_the_pidfile(place, content, options, message):
    """Who could not start has nothing to remove: the pidfile existed before."""
    pidfile = place.dir / "pid"
    pidfile.write_text(content)
    before = identity(pidfile)
    options = [option.replace("missing", f"{place.dir}/missing") for option in options]
    check_refused(place, start_daemon(place, pidfile, *options), message)
    assert pidfile.exists() and pidfile.read_text() == content
    assert identity(pidfile) == before


def test_replaced_pidfile_stays(place):
    """At its end a server removes the file that it made, and not another of the same name."""
    pidfile = place.dir / "pid"
    server = place.server("-p", pidfile)
    assert pidfile.read_text() == f"{server.pid}\n"
    other = place.dir / "other"
    other.write_text("1\n")
    other.rename(pidfile)
    server.stop()
    assert pidfile.exists() and pidfile.read_text() == "1\n"


def test_removed_pidfile(place):
    """Somebody has removed it already: no reason to fail."""
    pidfile = place.dir / "pid"
    server = place.server("-p", pidfile)
    pidfile.unlink()
    server.stop()
    assert os.listdir(place.dir) == []


# The region

def start_together(where, commands):
    """Start programs as nearly at once as can be: all wait for the same FIFO to be opened."""
    gate = where.dir / "gate"
    os.mkfifo(gate)
    started = [where.start("sh", "-c", 'echo ready >&2; read go <"$0"; exec "$@"', gate, *command)
               for command in commands]
    for process in started:
        process.err.wait("ready")
        # Its own fd tells nothing before the open is over; in the kernel it waits for a writer.
        wait_until(lambda pid=process.pid: is_waiting_for_writer(pid), "it waits at the gate")
    with open(gate, "w", encoding="ascii") as opened:
        opened.write("go\n" * len(started))
    gate.unlink()
    return started


def is_waiting_for_writer(pid):
    """Whether a process sleeps, with nothing left to do but to open the gate."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as status:
        return status.read().rsplit(")", 1)[1].split()[0] == "S"


def is_decided(server):
    """Whether a server has either started or given up."""
    return server.err.count("ivshmem-server: listening at") or server.popen.poll() is not None


def test_two_servers_make_one_region(place):
    """Two servers that want a region of one name with different sizes: one gets it, the other
    says that it has another size, and nothing is cut or grown under who uses it."""
    sizes = {"4M": 4 << 20, "1M": 1 << 20}
    for _ in range(20):
        servers = start_together(place, [
            [place.server_program, "-F", "-v", "-S", place.dir / size, "-M", place.shm, "-l", size]
            for size in sizes])
        wait_until(lambda: all(is_decided(server) for server in servers), "both are decided")
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
    """A region that is there before the server."""
    with open(where.shm_path, "xb") as file:
        file.truncate(4 << 20)
        os.fchown(file.fileno(), uid, -1)
        os.fchmod(file.fileno(), mode)


def start_silent(where):
    """Start a server without -v on the region that is there. Return: it, serving."""
    server = where.start(where.server_program, "-F", "-S", where.socket, "-M", where.shm)
    wait_until(lambda: accepts(where.socket) or server.popen.poll() is not None,
               "the server accepts")
    with RawClient(str(where.socket), 1) as client:
        client.greeting()
    return server


def check_warns(server, path, text):
    """It runs, and has said so in one line that names the region."""
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    lines = [line for line in server.err.text().splitlines() if text in line]
    assert len(lines) == 1, server.err.text()
    assert lines[0].startswith("ivshmem-server: ") and str(path) in lines[0]
    assert "WARNING" not in lines[0]


@needs_root
def test_region_of_somebody_else(place):
    """A region that another user has put there is used, but its owner can do what he likes."""
    make_region(place, uid=NOBODY)
    check_warns(start_silent(place), place.shm_path, f"is owned by uid {NOBODY}")
    assert place.shm_path.stat().st_uid == NOBODY


@pytest.mark.parametrize("mode", [0o666, 0o602, 0o777], ids=oct)
def test_region_for_everybody(place, mode):
    """A region that everybody can write to is used, and told of."""
    make_region(place, mode)
    check_warns(start_silent(place), place.shm_path, "is writable by all users")
    assert stat.S_IMODE(place.shm_path.stat().st_mode) == mode


@pytest.mark.parametrize("mode", [None, 0o600, 0o660, 0o644], ids=str)
def test_region_without_reproach(place, mode):
    """A new region, and one of our own, are not worth a word."""
    if mode is not None:
        make_region(place, mode)
    server = start_silent(place)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.err.text() == ""


# The socket

def test_locked_directory(place):
    """Whoever may read a directory can lock it: that does not keep a server from starting."""
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
