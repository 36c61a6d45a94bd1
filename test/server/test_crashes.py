# SPDX-License-Identifier: BSD-3-Clause
"""Kill the server at every system call that it makes while serving: the next start must resume.

The server may lose only the client to which it was sending at that moment, and clients that had
been sent nothing yet; the other clients must not receive a wrong announcement. The server is also
killed after it has sent each message, before it has recorded the message as sent.
"""
import pathlib
import re
import shutil
import signal
import time

import pytest

from support.py.crowd import all_know_all, all_ring_all, same_memory
from support.py.manager import Manager
from support.py.programs import wait_until
from support.py.wire import RawClient

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
VECTORS = 8  # large enough to fill the socket of a client that does not read
BUDGET = 50  # seconds; places not reached within this time are skipped
KILLS_MIN = 12
# The delay is long enough for the test to notice it and kill the server.
HOLD_US = 200000
NO_LEAK_CHECK = {"ASAN_OPTIONS": "detect_leaks=0"}  # the leak check's vfork() would also be traced


class Dead(Exception):
    """The server has been killed, by strace or by the test."""


class Scenario:
    """The events during which the server is killed: three clients join, one of which does not read;
    a fourth joins; another leaves."""

    def __init__(self, place, inject, held=False):
        self.place = place
        self.manager = Manager(place)
        self.held = held
        self.clients = []
        self.log = place.dir / "strace"
        self.log.unlink(missing_ok=True)
        prefix = [shutil.which("strace"), "-D", "-qq", "-o", self.log, "-e", "trace=all",
                  *(["-e", f"inject={inject}"] if inject else [])]
        self.server = self.manager.start("-F", "-v", "-n", VECTORS, "-S", place.socket,
                                         prefix=prefix, environment=NO_LEAK_CHECK, ready=False)
        self._stops = 0

    def close(self):
        """Stop the manager and the server, and disconnect all clients."""
        self.manager.close()
        for client in self.clients:
            client.close()

    def look(self):
        """Raise Dead if the server is dead. If strace has been delaying the server for a while,
        kill the server first."""
        if self.server.popen.poll() is not None:
            raise Dead
        if self.held:
            stat = pathlib.Path(f"/proc/{self.server.pid}/stat").read_text(encoding="ascii")
            self._stops = self._stops + 1 if stat.rsplit(")", 1)[1].split()[0] == "t" else 0
            if self._stops > 2:
                self.server.signal(signal.SIGKILL)
                self.server.wait()
                raise Dead

    def until(self, client, condition):
        """Receive messages for this client until condition() is true."""
        deadline = time.monotonic() + 20
        while not condition():
            client.next(0.004)
            self.look()
            if client.ended:
                self.server.wait()  # only a dead server closes this connection
                raise Dead
            assert time.monotonic() < deadline, client.history

    def join(self, reads=True):
        """Connect another client and read its greeting."""
        client = RawClient(str(self.place.socket), VECTORS)
        self.clients.append(client)
        if reads:
            self.until(client, lambda: len(client.own) == VECTORS)
        return client

    def _is_ready(self):
        """Return: whether the server is ready. The n-th call of a name can come earlier than in the
        server that was recorded, with a sanitizer even before the server listens."""
        if self.server.popen.poll() is not None:
            raise Dead
        if not self.place.socket.exists():
            return False
        self.look()
        return any("READY=1" in text for text in self.manager.said)

    def run(self):
        """Run the scenario. Return: true if the server was killed."""
        try:
            wait_until(self._is_ready, "the server is ready")
            first, second = self.join(), self.join()
            deaf = self.join(reads=False)
            self.until(first, lambda: len(first.peers) == 2 and first.knows(first.peers))
            fourth = self.join()
            self.clients.remove(second)
            second.close()
            self.until(first, lambda: first.knows({2, 3}))
            self.until(fourth, lambda: fourth.knows({0, 2}))
            self.until(deaf, lambda: deaf.knows({0, 3}) and len(deaf.own) == VECTORS)
            for _ in range(10):
                time.sleep(0.002)
                self.look()
        except (Dead, ConnectionRefusedError, FileNotFoundError):
            self.server.wait()
            return True
        return False

    def go_on(self):
        """Start the server again and connect a client. Return: the number of lost clients that had
        received messages."""
        self.manager.settle()
        self.manager.start(environment=NO_LEAK_CHECK)
        new = RawClient(str(self.place.socket), VECTORS)
        self.clients.append(new)
        new.greeting()
        for client in self.clients:
            while client.next(0):
                pass
        lost = [client for client in self.clients if client.ended and client.history]
        stay = [client for client in self.clients if not client.ended]
        assert new in stay and len(lost) <= 1, [client.id for client in lost]
        all_know_all([client.greeting() for client in stay])
        all_ring_all(stay)
        same_memory(stay)
        assert all(client.hears_nothing(0.002) for client in stay)
        return len(lost)


def record(place):
    """Run a server that is not killed. Return: the system calls that it makes while serving, each
    as (name, n): the n-th call of that name."""
    scenario = Scenario(place, None)
    try:
        assert not scenario.run()
        assert scenario.manager.end_service(signal.SIGTERM) == 0
        names = re.findall(r"^(\w+)\(", scenario.log.read_text(errors="replace"), re.MULTILINE)
    finally:
        scenario.close()
        place.socket.unlink()
        place.shm_path.unlink()
    served = names.index("accept4")
    assert names.count("sendmsg") + names.count("sendmmsg") > 10
    last = len(names) - 1 - names[::-1].index("epoll_wait")
    return [(name, names[:at + 1].count(name)) for at, name in enumerate(names[:last])
            if at >= served - 1]


def spread(things):
    """Return the calls in an order in which every prefix is a representative sample of the list."""
    return [thing for start in range(7) for thing in things[start::7]]


@pytest.mark.parametrize("where", ["before each call", "after each message"])
def test_server_resumes_after_a_crash_at_any_system_call(place, where, capsys):
    """Kill the server at each place; the next start must resume and may lose at most one client."""
    calls = record(place)
    if where == "after each message":
        calls = [call for call in calls if call[0] in ("sendmsg", "sendmmsg")]
    deadline = time.monotonic() + BUDGET / 2
    kills = lost = tried = 0
    for name, nth in spread(calls):
        held = where == "after each message"
        what = f"delay_exit={HOLD_US}" if held else "signal=KILL"
        scenario = Scenario(place, f"{name}:{what}:when={nth}", held)
        try:
            tried += 1
            if scenario.run():
                kills += 1
                lost += scenario.go_on()
        except AssertionError as error:
            raise AssertionError(f"killed at {name} number {nth} ({where})") from error
        finally:
            scenario.close()
            place.socket.unlink(missing_ok=True)
            place.shm_path.unlink(missing_ok=True)
        if time.monotonic() > deadline and kills >= KILLS_MIN:
            break
    with capsys.disabled():
        print(f"# {kills} kills {where} (of {len(calls)} places), {lost} clients lost")
    assert kills >= KILLS_MIN
    assert lost <= kills
