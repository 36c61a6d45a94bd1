# SPDX-License-Identifier: BSD-3-Clause
"""Resources that a running ivshmem-server may lose: the reader of its log, and its fds."""
import os
import resource
import signal

from support.py.clients import join
from support.py.programs import fd_count, wait_until
from support.py.wire import RawClient, accepts, readable


def test_server_survives_the_reader_of_its_log(place):
    """After the reader of its log has exited, the server continues, and later exits cleanly."""
    log = place.dir / "log"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    try:
        server = place.start("sh", "-c", 'exec "$@" 2>"$0"', log, place.server_program, "-F", "-v",
                             "-S", place.socket, "-M", place.shm)
        wait_until(lambda: accepts(place.socket), "the server accepts connections")
        assert readable([reader], 20) and os.read(reader, 4096)
    finally:
        os.close(reader)
    first, second = join(place), join(place)
    first.read_until_knows({second.id})
    second.close()
    first.read_until_knows(set())
    assert server.popen.poll() is None
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert first.read_to_end() == []
    assert not place.socket.exists() and not place.shm_path.exists()


def set_nofile(pid, limit):
    """Change a process's soft limit on fds. Return: the previous limit."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))
    return soft


def test_leave_is_announced_without_free_fds(place):
    """While the server has no free fd, not even to refuse a client, connected clients get all
    announcements; when fds are free again, waiting clients are served."""
    server = place.server()
    remaining, leaving = join(place), join(place)
    remaining.read_until_knows({leaving.id})
    before = fd_count(server.pid)
    limit = set_nofile(server.pid, 3)
    waiting = place.add(RawClient(str(place.socket), 1))
    assert waiting.hears_nothing(0.3)
    leaving.close()
    assert remaining.next(3) == (leaving.id, False)
    assert remaining.hears_nothing()
    assert fd_count(server.pid) < before
    set_nofile(server.pid, limit)
    waiting.greeting()
    remaining.read_until_knows({waiting.id})
