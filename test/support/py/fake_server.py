# SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for ivshmem-server, whose behaviour a test controls."""
import contextlib
import os
import socket
import struct
import threading

from support.py.programs import wait_until
from support.py.vfio_user import eventfd, memory_file

MIB = 1 << 20


def say(sock, value, *fds):
    """Send a message, as a server does."""
    socket.send_fds(sock, [struct.pack("<q", value)], fds)


class FakeServer:
    """A server that sends each client a greeting, unless greet has been replaced.

    memory:  the region's fd
    own:     the eventfds of each new client's vectors
    others:  {id: eventfds} of the peers that are connected
    greet:   called in a thread with each connection; returns true if the connection is to be closed
    next_id: id of the next client
    came:    number of connections so far
    """

    def __init__(self, place, path, memory=None, vectors=1, others=None):
        self.path = path
        self.memory = memory_file(MIB) if memory is None else memory
        self.own = [eventfd() for _ in range(vectors)]
        self.others = others or {}
        self.greet = self.welcome
        self.next_id = 0
        self.came = 0
        self.sock = None  # the last connection
        self._greeted = 0
        self._kept = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        place.add(self)

    def _serve(self):
        while True:
            try:
                there, _ = self._listener.accept()
            except OSError:
                return
            self._kept.append(there)
            self.sock = there
            self.came += 1
            with contextlib.suppress(OSError):  # the peer closed first
                if self.greet(there):
                    there.close()
            self._greeted += 1

    def welcome(self, sock):
        """Send version, id, memory, the other peers, and the client's own vectors, as a server
        does."""
        given = self.next_id
        self.next_id += 1
        say(sock, 0)
        say(sock, given)
        say(sock, -1, self.memory)
        for peer, fds in self.others.items():
            for fd in fds:
                say(sock, peer, fd)
        for fd in self.own:
            say(sock, given, fd)

    def silent(self, _sock):
        """Accept, and send nothing."""

    def curt(self, sock):
        """Send a greeting, and close the connection."""
        self.welcome(sock)
        return True

    def settle(self):
        """Wait until all connections have been served."""
        wait_until(lambda: self._greeted == self.came, "all clients are greeted")

    def drop(self):
        """Close the most recent connection."""
        self.settle()
        self.sock.close()

    def wait_for_another(self, came):
        """Wait until there have been more than @came connections."""
        wait_until(lambda: self.came > came, "another client has connected")

    def renew(self, vectors=1):
        """Use new eventfds for all later connections. Return: the previous ones, which the caller
        closes."""
        self.settle()
        before, self.own = self.own, [eventfd() for _ in range(vectors)]
        return before

    def stop(self):
        """Stop listening, and keep the connections."""
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._thread.join(5)
            self._listener.close()

    def close(self):
        """Close all connections."""
        self.stop()
        for there in self._kept:
            there.close()
        for fd in [self.memory, *self.own, *(fd for fds in self.others.values() for fd in fds)]:
            os.close(fd)
