# SPDX-License-Identifier: BSD-3-Clause
"""Make every system call of ivshmem-server fail once at every place where it is made.

A scenario is first run without failures. For each system call that occurred, it is then repeated
with the first such call failing, then with the second, until no call is left that could fail. A
call's possible errors (support/py/faults.py) alternate from place to place; with IVS_FAULTS_ALL=1
each place gets all of them. Assertions:

During startup: the server serves properly, or exits with status 1 and a one-line error, and leaves
no files. While serving: it continues; all clients except the one affected by the failure get
correct announcements; no fd leaks; the next client is served. During exit: it still exits, and
reports files that it could not remove.

IVS_FAULT="CALL NTH ERROR" injects only that fault; add IVS_FAULTS_ALL=1 if the fault was found with
it.
"""
import contextlib
import functools
import os
import resource
import signal
import socket
import time

import pytest

from support.py.faults import HARMLESS, NEWCOMER, Faulty, preload, stays
from support.py.lingering import QUICK
from support.py.programs import SHM, TIMEOUT, Daemon, fd_count
from support.py.story import PEERS_MAX, VECTORS, Story
from support.py.wire import RawClient

REFUSALS_MAX = 15  # after this many, use a new server: each logs at most 20 lines in 10 s
SIZE = 1 << 20
STATUS_FAILED = 1

# Errors after which the server may exit, each with its message. The server cannot work without
# epoll_wait(), whose only errors are EINTR and those that are the server's own fault.
FATAL = {("epoll_wait", "EBADF"): "cannot wait for clients"}

# No scenario looks up names of users or groups, because the system calls that libc makes for such a
# lookup depend on the machine's nsswitch.conf.

class Starting:
    """A server started for one run, and the files that it creates.

    before: the files that existed before the start
    """

    def __init__(self, where, options, foreground=True):
        self.where = where
        self.foreground = foreground
        self.pidfile = where.dir / "pid"
        self.arguments = [where.server_program, "-S", where.socket, "-l", SIZE, "-p", self.pidfile,
                          *(["-F"] if foreground else []), *options]
        self.before = self.there()

    def there(self):
        """Return the path and inode of each file that exists now."""
        paths = [*self.where.dir.iterdir(), *SHM.glob(self.where.shm + "*")]
        return {(str(path), path.lstat().st_ino) for path in paths if not path.is_dir()}

    def _serves(self, server):
        """The server must serve like any other, and leave no files when it exits."""
        with RawClient(str(self.where.socket), 1) as client:
            client.greeting()
            assert os.fstat(client.memory).st_size == SIZE
        pid = int(self.pidfile.read_text())
        if self.foreground:
            assert pid == server.pid
            server.signal(signal.SIGTERM)
            assert server.wait_end() == 0, server.err.seen
        else:
            daemon = Daemon(pid)
            daemon.signal(signal.SIGTERM)
            daemon.wait()
            daemon.close()
        left = self.there() - self.before
        assert not left, f"the server served clients, but left behind {left}"

    def _failed(self, server, status, call):
        """The server must have reported the error in one line, and left no files except one that it
        says it could not remove. An existing region must be unchanged."""
        assert status == STATUS_FAILED, f"the server exited with status {status}: {server.err.seen}"
        server.close()
        lines = server.err.text().splitlines()
        assert len(lines) == 1 and lines[0].startswith("ivshmem-server: "), \
            f"the server printed {lines}"
        there = self.there()
        left = [path for path, _ in there - self.before
                if not (call == "unlink" and f"unlink {path}" in lines[0])]
        assert not left, f"the server printed {lines}, but left behind {left}"
        kept = {entry for entry in self.before if entry[0] == str(self.where.shm_path)}
        assert kept <= there and all(os.stat(path).st_size == SIZE for path, _ in kept), \
            "the existing region was removed or resized"

    def once(self, call, nth, error):
        """Start the server with this fault. Return: the outcome of the fault."""
        with Faulty(self.where.build, self.arguments, ("start", call, nth, error),
                    preload(self.where)) as server:
            try:
                status = None if self.foreground else server.wait_end()
                if status is None and not server.wait_serving():
                    status = server.wait_end()
                seen = server.ask()
                if status:
                    self._failed(server, status, call)
                else:
                    self._serves(server)
            finally:
                self.where.end_strays()
            return seen


def prepare_nothing(_):
    """Create no files before the start."""


def prepare_remains(where):
    """Create the files that exist before the start: a region, and the socket and pidfile of a dead
    server."""
    where.shm_path.write_bytes(bytes(SIZE))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(where.socket))
    (where.dir / "pid").write_text("4711\n")


STARTS = {
    "fresh": (prepare_nothing, lambda where: ["-M", where.shm, "--socket-mode", "0600"], True),
    "remains": (prepare_remains, lambda where: ["-M", where.shm], True),
    "sealed": (prepare_nothing, lambda where: ["-r", "memfd:", "--roster"], True),
    "unlinked": (prepare_nothing, lambda where: ["-r", f"dir:{where.dir}"], True),
    "background": (prepare_nothing, lambda where: ["-M", where.shm], False),
}


@pytest.mark.parametrize("name", STARTS)
def test_faults_during_the_start(place, tally, name):
    """If a system call fails during startup, the server still serves properly, or exits with status
    1 and a one-line error message; in both cases it leaves no files."""
    prepare, options, foreground = STARTS[name]

    def once(_kind=None, call=None, nth=0, error=None):
        for path in [*place.dir.iterdir(), *SHM.glob(place.shm + "*")]:
            path.unlink()
        prepare(place)
        return Starting(place, options(place), foreground).once(call, nth, error)

    tally.play(once().counts, once)
    tally.end()


def end_once(where, _kind=None, call=None, nth=0, error=None):
    """Start the server, let a client join, and cause this fault while the server exits. Return: the
    outcome of the fault."""
    starting = Starting(where, ["-M", where.shm])
    with Faulty(where.build, starting.arguments) as server:
        assert server.wait_serving(), server.err.seen
        with RawClient(str(where.socket), 1) as client:
            client.greeting()
            server.arm(call, nth, error)
            server.signal(signal.SIGTERM)
            status = server.wait_end()
            client.read_to_end()
        seen = server.ask()
    assert status == 0, f"the server exited with status {status}: {server.err.seen}"
    for path, _ in starting.there() - starting.before:
        assert server.err.count(path), f"{path} was left behind without a message"
        os.unlink(path)
    return seen


def test_faults_during_the_end(place, tally):
    """If a system call fails while the server exits, it still exits, and reports files that it
    could not remove."""
    if tally.sanitized:
        pytest.skip("the leak check at exit makes additional system calls")
    tally.play(end_once(place).counts, functools.partial(end_once, place))
    tally.end()


@pytest.mark.parametrize("nth", [1, 5])
@pytest.mark.parametrize("call,error", FATAL)
def test_fatal_faults(place, call, error, nth):
    """If an error makes serving impossible, the server reports it, exits with status 1, and leaves
    no files."""
    starting = Starting(place, ["-M", place.shm])
    with Faulty(place.build, starting.arguments) as server:
        assert server.wait_serving(), server.err.seen
        with RawClient(str(place.socket), 1) as client:
            client.greeting()
            server.arm(call, nth, error)
            for _ in range(nth):
                with contextlib.suppress(ConnectionError, FileNotFoundError), \
                        RawClient(str(place.socket), 1) as visitor:
                    visitor.next()
            assert server.wait_end() == STATUS_FAILED
            client.read_to_end()
        server.close()
    assert [line for line in server.err.text().splitlines() if FATAL[call, error] in line]
    assert starting.there() == starting.before


class Serving:
    """A server that keeps running while scenarios are repeated."""

    def __init__(self, where, *options):
        self.path = str(where.socket)
        self.server = Faulty(where.build, [where.server_program, "-F", "-v", "-S", where.socket,
                                           "-r",
                                           "memfd:", "-l", SIZE, "--max-peers", PEERS_MAX,
                                           *options],
                             preload=preload(where))
        self.pid = self.server.pid
        try:
            assert self.server.wait_serving(), self.server.err.text()
            self.fds = fd_count(self.pid)
        except BaseException:
            self.server.close()
            raise

    def wait_fds(self, call=None):
        """Wait until the server has only as many fds as it had without clients. Return: the outcome
        of the fault."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            seen = self.server.ask()
            # A close() that was made to fail may leave an fd open (see faults.c), unless the server
            # repeated it (see daemon/close.c).
            expected = {self.fds, self.fds + 1} if call == "close" and seen.failed else {self.fds}
            try:
                fds = fd_count(self.pid)
            except OSError:
                fds = 0
            assert fds, f"the server exited: {self.server.err.seen}"
            if fds in expected and (fds == self.fds or stays(self.pid, fds)):
                self.fds = fds
                return seen
            assert time.monotonic() < deadline, \
                f"the server has {fds} fds, not {self.fds} as before"
            time.sleep(0.0005)

    def refusals(self):
        """Return the number of log lines about refused clients."""
        return self.server.err.count("refused a client")

    def newcomer(self):
        """Connect a client to the server, which has no other clients: the client must be served
        like the server's first client."""
        with RawClient(self.path) as client:
            client.read_until(lambda: len(client.history) == 4, "the greeting")
            assert client.history == [(0, False), (0, False), (-1, True), (0, True)]
        self.wait_fds()

    def stop(self):
        """Stop the server. Builds with a sanitizer report leaks as it exits."""
        self.server.arm()
        self.server.signal(signal.SIGTERM)
        status = self.server.wait_end()
        assert status == 0, f"the server exited with status {status}: {self.server.err.seen}"


def speak(client):
    """Send data, which a client must not do."""
    client.sock.send(b"x")


def half_close(client):
    """Half-close the connection, which a client must not do."""
    client.sock.shutdown(socket.SHUT_WR)


def play_manners(story):
    """Clients join and leave; one sends data, one half-closes its connection, and one exceeds the
    maximum number of clients."""
    first, second, third = story.join(), story.join(), story.join()
    story.ring_all()
    story.leave(second)
    story.leave(third, speak)
    story.leave(story.join(), half_close)
    for _ in range(PEERS_MAX - 1):
        story.join()
    story.one_too_many()
    story.leave(first)
    story.join()
    story.ring_all()


def play_sleeper(story):
    """One client does not read until its socket is full, while others join and leave."""
    sleeper = story.fall_asleep()
    watcher = story.join()
    for _ in range(7):
        story.leave(story.join())
    story.join()
    story.wake(sleeper)
    story.leave(watcher)
    story.join()
    story.ring_all()


def play_shortage(story):
    """For a while the server cannot open any fd: connected clients are served, and new clients
    wait."""
    story.join()
    leaving = story.join()
    pid = story.serving.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        newcomer = story.connect()
        assert newcomer.next(0.02) is None and not newcomer.ended
        story.leave(leaving)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    story.join(newcomer)


def play_stranger(story):
    """The server looks up the groups of a connecting client and refuses the client."""
    client = story.connect()
    assert client.next() is None and client.ended, "a client that is not allowed was admitted"
    story.refusals += 1


def check_lost(story, kind, seen, refusals_before):
    """Fail if a client that the fault did not affect was lost, or if a loss was not logged."""
    log = story.serving.server.err
    assert len(story.lost) <= (kind != HARMLESS), f"{len(story.lost)} clients were lost"
    for client in story.lost:
        if kind == NEWCOMER:
            was_there = client in story.greeted or client.history
            assert not was_there, f"client {client.id}, which was connected, was lost"
        else:
            others = {inode for other, inode in story.greeted.items() if other is not client}
            mine = story.greeted.get(client)
            assert seen.link not in {f"socket:[{inode}]" for inode in others}, \
                f"client {client.id} was lost because of a fault that affected another client"
            assert not mine or seen.link == f"socket:[{mine}]"
        if kind == NEWCOMER:
            log.wait("refused a client", refusals_before + story.refusals + 1)
        else:
            log.wait(" left " if client.id is None else f"client {client.id} left ")


class Theatre:
    """Runs a scenario repeatedly, on a server that is replaced when necessary."""

    # Calls that only a newly started server makes.
    FRESH = ("malloc", "mmap", "brk")

    def __init__(self, where, play, options):
        self.where = where
        self.play = play
        self.options = options
        self.serving = None

    def _open(self, call):
        if self.serving and (call in self.FRESH or self.serving.refusals() >= REFUSALS_MAX):
            self.serving.stop()
            self.close()
        if not self.serving:
            self.serving = Serving(self.where, *self.options)

    def close(self):
        """Stop the server without checking anything."""
        if self.serving:
            self.serving.server.close()
        self.serving = None

    def once(self, kind=None, call=None, nth=0, error=None):
        """Run the scenario once with this fault. Return: the outcome of the fault."""
        self._open(call)
        serving = self.serving
        try:
            before = serving.refusals()
            serving.server.arm(call, nth, error)
            with Story(serving) as story:
                self.play(story)
                story.end()
                seen = serving.wait_fds(call)
                serving.server.arm()
                check_lost(story, kind if seen.fired else HARMLESS, seen, before)
            if self.play is not play_stranger:
                serving.newcomer()
        except BaseException:
            self.close()
            raise
        return seen

    def stop(self):
        """Stop the last server, which must exit cleanly."""
        if self.serving:
            self.serving.stop()
        self.close()


SCENARIOS = {
    "manners": (play_manners, []),
    "sleeper": (play_sleeper, ["--roster"]),
    "shortage": (play_shortage, []),
    "stranger": (play_stranger, ["--allow-group", "54321"]),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_faults_while_serving(place, tally, name):
    """If a system call fails while the server serves clients, the server continues and leaks no fd,
    and at most the client affected by the failure is lost."""
    play, options = SCENARIOS[name]
    theatre = Theatre(place, play, ["-n", VECTORS, *options])
    try:
        tally.play(theatre.once().counts, theatre.once, client_errors=True)
        theatre.stop()
    finally:
        theatre.close()
    tally.end()


def test_newcomer_that_cannot_be_added_is_disconnected_at_once(place):
    """If the server cannot watch the socket of a new client, the client reads end of file
    immediately, although helper processes keep fds open for several seconds."""
    serving = Serving(place)
    try:
        serving.server.arm("epoll_ctl", 1, "ENOSPC")
        began = time.monotonic()
        with RawClient(serving.path, 1) as client:
            assert client.next() is None and client.ended
        assert time.monotonic() - began < QUICK
        assert serving.server.ask().fired
        serving.stop()
    finally:
        serving.server.close()
