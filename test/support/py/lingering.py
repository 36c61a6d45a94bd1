# SPDX-License-Identifier: BSD-3-Clause
"""Create files whose close() blocks, measure how long clients wait, and stop processes."""
import contextlib
import os
import pathlib
import signal
import socket
import struct
import sys
import time

from support.py.programs import cpu_ticks, wait_until
from support.py.vfio_user import BAR0, IV_POSITION

LINGER = 8  # seconds that close() blocks
QUICK = 3  # seconds that others may wait: slow machines need less, faulty programs take much more


class Lingering:
    """Connected TCP sockets with unread data: closing the last fd of a socket blocks."""

    def __init__(self, times=1):
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(times)
        self._others = []
        self._socks = [self._make() for _ in range(times)]

    def _make(self):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sock.connect(self._listener.getsockname())
        self._others.append(self._listener.accept()[0])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER))
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.send(bytes(65536))
        return sock

    def fds(self):
        """Return: the fds of the sockets that have not been closed yet."""
        return [sock.fileno() for sock in self._socks]

    def hand_over(self, sent=None):
        """Close our fds of the sockets. This does not block: another process has received the first
        @sent sockets (None: all) and will be the last to close them, and the other sockets do not
        linger."""
        for sock in self._socks[len(self._socks) if sent is None else sent:]:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
        while self._socks:
            self._socks.pop().close()

    def close(self):
        """Close the other ends, so that close() no longer blocks."""
        for sock in self._others + [self._listener]:
            sock.close()
        self.hand_over()


def slowest(client, seconds=0.6, pid=None):
    """Read a register repeatedly. Return: the time of the slowest reply in seconds; with @pid, the
    processor time that this process used for it, which does not grow when the machine stalls."""
    now = time.monotonic if pid is None else lambda: cpu_ticks(pid) / 100
    until = time.monotonic() + seconds
    worst = 0
    client.sock.settimeout(3 * QUICK)
    while time.monotonic() < until:
        began = now()
        client.read32(BAR0, IV_POSITION)
        worst = max(worst, now() - began)
    return worst


@contextlib.contextmanager
def stopped(process):
    """Stop a process. When it continues, it finds all events that have occurred in the meantime."""
    process.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: "T" in state_of(process.pid), "it has stopped")
        yield
    finally:
        process.signal(signal.SIGCONT)


def state_of(pid):
    """Return: the state letter of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def without_passrights(place, program):
    """Create a command that runs a program as if the kernel could not reject fds. Return: the path
    of the command."""
    wrapper = place.dir / f"{program.name}-of-an-old-kernel"
    launcher = pathlib.Path(__file__).with_name("without_passrights.py")
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} {launcher} {program} "$@"\n')
    os.chmod(wrapper, 0o755)
    return wrapper
