# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem-server from start to exit: signals, existing sockets and pidfiles, running in the
background."""
import os
import pathlib
import signal
import stat

import pytest

from support.py.clients import connect_client, join, knows_all
from support.py.programs import Daemon, wait_until
from support.py.stuck_epoll import StuckInode
from support.py.wire import accepts, readable, ring


# Start and exit

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_end_by_signal(place, number):
    """A signal makes the server exit with status 0. Clients get end of file but no leave; socket
    and region are removed (W-13)."""
    server = place.server()
    clients = [join(place) for _ in range(3)]
    knows_all(clients)
    assert place.socket.exists() and place.shm_path.exists()
    server.stop(number)
    for client in clients:
        assert client.read_to_end() == []
    assert not place.socket.exists() and not place.shm_path.exists()
    ring(clients[0].peers[2][0])
    assert readable(clients[2].own) == [0]


def waits_for_a_lock(process):
    """Return: whether the process is in uninterruptible sleep."""
    stat_file = pathlib.Path(f"/proc/{process.pid}/stat")
    return stat_file.read_text().rsplit(")", 1)[1].split()[0] == "D"


def test_lock_of_the_inode_at_start_and_end(place):
    """Known limit (SECURITY.md): while another process holds the lock of an existing region's
    inode, a server cannot finish starting, and a server that removes its region cannot exit. Both
    continue when that process ends. (The region is not in /dev/shm, because other users of /dev/shm
    would also have to wait.)
    """
    region = place.dir / "region"
    region.write_bytes(bytes(1 << 20))
    options = (place.server_program, "-F", "-S", place.socket, "-r", f"file:{region}", "-l", "1M")
    with open(region, "r+b") as file, StuckInode(file.fileno()):
        server = place.start(*options)
        wait_until(lambda: waits_for_a_lock(server), "the server is waiting")
        assert not place.socket.exists()
    wait_until(lambda: accepts(place.socket), "the server starts once the lock is free")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    region.unlink()
    server = place.start(*options)
    wait_until(lambda: accepts(place.socket), "the server has created the region")
    with open(region, "r+b") as file, StuckInode(file.fileno()):
        server.signal(signal.SIGTERM)
        wait_until(lambda: waits_for_a_lock(server), "the server is waiting")
    assert server.wait() == 0
    assert not region.exists()


def test_end_with_idle_clients(place):
    """A signal ends the server even if clients are not reading."""
    server = place.server("-n", "8")
    for _ in range(20):
        connect_client(place)
    server.err.wait("joined", 20)
    server.stop()


def test_dead_socket_is_taken_over(place):
    """The socket of a killed server does not prevent the next start."""
    killed = place.server()
    client = join(place)
    killed.signal(signal.SIGKILL)
    killed.wait()
    assert client.read_to_end() == []
    assert stat.S_ISSOCK(place.socket.stat().st_mode)
    place.server()
    assert join(place).id == 0


def test_living_socket_is_not_taken(place):
    """A second server on the same socket fails with the reason, and affects neither the first nor
    its clients."""
    server = place.server()
    clients = [join(place), join(place)]
    knows_all(clients)
    region = place.shm_path.stat().st_ino
    for name in [place.shm, place.shm + "-2"]:
        second = place.run_server("-F", "-S", place.socket, "-M", name)
        assert second.returncode == 1
        assert f"already listening at {place.socket}" in second.stderr
    assert place.shm_path.stat().st_ino == region
    assert not place.shm_path.with_name(place.shm + "-2").exists()
    assert all(client.hears_nothing() for client in clients)
    assert server.err.count("joined") == 2
    assert join(place).id == 2


def test_file_in_place_of_the_socket(place):
    """A file at the socket's path that is not a socket is not removed."""
    place.socket.write_text("precious")
    before = place.socket.stat()
    done = place.run_server("-F", "-S", place.socket, "-M", place.shm)
    assert done.returncode == 1
    assert f"{place.socket} exists and is not a socket, but a regular file: remove it or use " \
        "another path" in done.stderr
    assert place.socket.read_text() == "precious"
    assert place.socket.stat().st_ino == before.st_ino
    assert not place.shm_path.exists()


def test_two_servers_start_on_one_dead_socket(place):
    """If several servers start at the same time, exactly one gets the socket, and the others do not
    remove it."""
    killed = place.server()
    killed.signal(signal.SIGKILL)
    killed.wait()
    starting = [place.start(place.server_program, "-F", "-v", "-S", place.socket, "-r", "memfd:")
                for _ in range(4)]
    wait_until(lambda: sum(each.popen.poll() is not None for each in starting) >= 3,
               "three servers have given up")
    living = [each for each in starting if each.popen.poll() is None]
    assert len(living) == 1
    living[0].err.wait("ivshmem-server: listening at")
    assert join(place).id == 0


# In the background

def start_daemon(place, *options):
    """Start a daemon. Return: the daemon and its pidfile."""
    pidfile = place.dir / "pid"
    done = place.run_server("-S", place.socket, "-M", place.shm, "-p", pidfile, *options)
    assert (done.returncode, done.stderr) == (0, "")
    return place.add(Daemon(int(pidfile.read_text()))), pidfile


def test_daemon_serves_when_the_command_returns(place):
    """Clients can connect as soon as the command returns. On SIGTERM the daemon removes all files
    that it created."""
    daemon, pidfile = start_daemon(place)
    client = join(place)
    assert os.readlink(f"/proc/{daemon.pid}/exe") == str(place.server_program)
    assert os.getsid(daemon.pid) == daemon.pid
    for fd in range(3):
        assert os.readlink(f"/proc/{daemon.pid}/fd/{fd}") == "/dev/null"
    daemon.signal(signal.SIGTERM)
    daemon.wait()
    assert client.read_to_end() == []
    assert not pidfile.exists() and not place.socket.exists() and not place.shm_path.exists()


@pytest.mark.parametrize("options, message", [
    (["-l", "3M"], "not a power of two"),
    (["-S", "/nonexistent/socket"], "/nonexistent"),
    (["-p", "/nonexistent/pid"], "cannot open the pidfile /nonexistent/pid"),
    (["-r", "dir:/nonexistent"], "/nonexistent"),
])
def test_daemon_that_cannot_start_reports_it(place, options, message):
    """If the daemon cannot start, the command fails with the reason, and leaves no files."""
    pidfile = place.dir / "pid"
    done = place.run_server("-S", place.socket, "-M", place.shm, "-p", pidfile, *options)
    assert done.returncode == 1
    assert message in done.stderr
    assert os.listdir(place.dir) == []
    assert not place.shm_path.exists()


@pytest.mark.parametrize("mode", [[], ["-F"]], ids=["background", "foreground"])
def test_pidfile_of_a_living_server_is_not_taken(place, mode):
    """A second server with the same pidfile fails, and the pidfile still names the first server."""
    daemon, pidfile = start_daemon(place)
    done = place.run_server("-S", place.dir / "other", "-r", "memfd:", "-p", pidfile, *mode)
    assert done.returncode == 1
    assert f"the pidfile {pidfile} belongs to a running server" in done.stderr
    assert pidfile.read_text() == f"{daemon.pid}\n"
    assert not (place.dir / "other").exists()
    assert join(place).id == 0


def test_stale_pidfile_is_taken_over(place):
    """The pidfile of a killed daemon does not prevent the next start."""
    daemon, _ = start_daemon(place)
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    other, pidfile = start_daemon(place)
    assert pidfile.read_text() == f"{other.pid}\n"
    assert join(place).id == 0


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_daemon_without_standard_fds(place, closed):
    """A daemon started without standard fds works, and does not write its log into its pidfile or
    region."""
    pidfile = place.dir / "pid"
    done = place.run("sh", "-c", f'"$@" {closed}', "sh", place.server_program, "-v", "-S",
                     place.socket, "-M", place.shm, "-p", pidfile)
    assert done.returncode == 0 and pidfile.exists()
    daemon = place.add(Daemon(int(pidfile.read_text().split()[0])))
    assert pidfile.read_text() == f"{daemon.pid}\n"
    first, second = join(place), join(place)
    knows_all([first, second])
    assert os.pread(first.memory, 4096, 0) == bytes(4096)


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_server_without_standard_fds(place, closed):
    """A server in the foreground without standard fds does not write its log into the region."""
    place.start("sh", "-c", f'exec "$@" {closed}', "sh", place.server_program, "-F", "-v", "-S",
                place.socket, "-M", place.shm)
    wait_until(lambda: accepts(place.socket), "the server accepts connections")
    first, second = join(place), join(place)
    knows_all([first, second])
    assert os.pread(first.memory, 4096, 0) == bytes(4096)
