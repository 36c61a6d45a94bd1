# SPDX-License-Identifier: BSD-3-Clause
"""Processes of "ivshmem forward", and the servers and clients whose sockets they forward."""
import contextlib
import hashlib
import re
import socket
import threading

from support.py.programs import TIMEOUT

REGION = 64 << 20


class Target:
    """A server with a socket: it runs a handler in a thread for each connection.

    address: of the socket, as on the command line of forward
    """

    def __init__(self, handler, path=None):
        self._handler = handler
        self._sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._sock.bind(str(path) if path else ("127.0.0.1", 0))
        self._sock.listen(64)
        self.address = f"unix:{path}" if path else f"tcp:127.0.0.1:{self._sock.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock = self._sock.accept()[0]
                sock.settimeout(TIMEOUT)
                threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _run(self, sock):
        with sock, contextlib.suppress(ConnectionError):
            self._handler(sock)

    def close(self):
        """Listen no more."""
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


def echo(sock):
    """Send back what arrives, up to its end."""
    while data := sock.recv(1 << 16):
        sock.sendall(data)


def digest_at_end(sock):
    """Answer when the other side has ended its direction: with the digest of all bytes."""
    sock.sendall(hashlib.sha256(read_all(sock)).digest())


def read_all(sock):
    """Return: all bytes up to the end."""
    parts = []
    while data := sock.recv(1 << 20):
        parts.append(data)
    return b"".join(parts)


def connect(address):
    """Connect to an address of forward. Return: the socket."""
    kind, rest = address.split(":", 1)
    sock = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
    sock.settimeout(TIMEOUT)
    host, _, port = rest.rpartition(":")
    sock.connect(rest if kind == "unix" else (host, int(port)))
    return sock


def ask(sock, data):
    """Send @data and its end from a thread. Return: everything that is answered."""
    def send():
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    answer = read_all(sock)
    sender.join(TIMEOUT)
    return answer


class Forwarding:
    """A region, and processes that forward over it.

    kind: "server": the peers are clients of a server; "plain": the region is plain
    """

    def __init__(self, place, kind):
        self._place = place
        self._is_plain = kind == "plain"
        if self._is_plain:
            with open(place.shm_path, "wb") as region:
                region.truncate(REGION)
            self.address = f"shm:{place.shm}"
        else:
            place.server("-n", "1", "-l", str(REGION))
            self.address = f"unix:{place.socket}"

    def start(self, section, *options):
        """Start a process. Return: the process."""
        if self._is_plain:
            options += ("--section", section)
        return self._place.start(self._place.build / "tools" / "ivshmem", "forward", self.address,
                                 "--verbose", *options)

    def serve(self, name, target, *options):
        """Serve the streams of a name. Return: the process."""
        process = self.start(0, "--serve", f"{name}={target}", *options)
        process.err.wait(f"{name}: streams are connected to")
        return process

    def listen(self, name, path=None, *options):
        """Listen at a socket: TCP, or UNIX with @path. Return: the process, and the address."""
        at = f"unix:{path}" if path else "tcp:127.0.0.1:0"
        process = self.start(1, "--listen", at, "--to", name, *options)
        return process, address_of(process, name)


def address_of(process, name):
    """Return: the address of the socket that a process forwards to the stream @name."""
    return re.search(r"listening at (\S+)", process.err.wait(f"{name}: listening at"))[1]
