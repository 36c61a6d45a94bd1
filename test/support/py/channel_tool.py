# SPDX-License-Identifier: BSD-3-Clause
"""Run the ivshmem commands for channels, with binary input and output."""
import ctypes
import os
import signal
import subprocess

from support.py.paths import BUILD
from support.py.programs import LIBC, PR_SET_PDEATHSIG, TIMEOUT

TOOL = BUILD / "tools" / "ivshmem"
SIZE = 4 << 20


def run(*words, data=b""):
    """Run ivshmem with these arguments, and with @data as its standard input."""
    return subprocess.run([TOOL, *map(str, words)], input=data, capture_output=True,
                          timeout=TIMEOUT, check=False)


class Command:
    """A running ivshmem command; its standard input and output are pipes unless they are given."""

    def __init__(self, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE):
        self.popen = subprocess.Popen(
            [TOOL, *map(str, words)], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
            bufsize=0,
            preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL)))
        self.pid = self.popen.pid

    def write(self, data):
        """Write to the command's standard input."""
        while data:
            data = data[self.popen.stdin.write(data):]

    def close_input(self):
        """End the command's standard input."""
        self.popen.stdin.close()

    def read(self, n):
        """Read exactly this many bytes of its output, or fewer at the end."""
        data = b""
        while len(data) < n:
            part = os.read(self.popen.stdout.fileno(), n - len(data))
            if not part:
                break
            data += part
        return data

    def finish(self):
        """Wait until the command has ended. Return: its status, and its messages."""
        status = self.popen.wait(TIMEOUT)
        return status, self.popen.stderr.read().decode()

    def close(self):
        """Kill the command."""
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if stream and not stream.closed:
                stream.close()


class Peers:
    """The two sides of a channel: on a plain region with a section each, or on a server."""

    def __init__(self, place, kind):
        self.place = place
        self.kind = kind
        self.next_section = 0
        if kind == "unix":
            place.server("-n", "1", "-l", str(SIZE))
            self.address = f"unix:{place.socket}"
        else:
            place.shm_path.write_bytes(bytes(SIZE))
            self.address = f"shm:{place.shm}"

    def words(self, command, name, *more):
        """Return: the arguments of the command for the next peer."""
        section = [] if self.kind == "unix" else ["--section", self.next_section]
        self.next_section += 1
        return [command, self.address, name, *more, *section]

    def start(self, command, name, *more, **keywords):
        """Start a command as the next peer."""
        return self.place.add(Command(*self.words(command, name, *more), **keywords))

    def run(self, command, name, *more, data=b""):
        """Run a command as the next peer until it ends."""
        return run(*self.words(command, name, *more), data=data)
