# SPDX-License-Identifier: BSD-3-Clause
"""The wire protocol implemented without the project's code: a client that checks every rule while
it reads, and a server that breaks the rules."""
import array
import contextlib
import os
import pathlib
import re
import select
import signal
import socket
import struct
import threading
import time

MESSAGE_LEN = 8
TIMEOUT = 60  # seconds; for a slow and loaded machine, and sanitizers


class ProtocolError(AssertionError):
    """The server has broken a rule of the protocol."""


def pack(value):
    """Return: the bytes of one message: a little-endian signed 64-bit number."""
    return struct.pack("<q", value)


def connect(path, sock=None, quiet=False):
    """Connect a stream socket to a path: @sock, or a new socket.

    quiet: do not bind the socket to an address, so that the server takes the client for a QEMU"""
    sock = sock or socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not quiet and not sock.getsockname():
            sock.bind("")
        # Not settimeout(): connecting to a listener with a full queue would then fail immediately.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", TIMEOUT, 0))
        sock.connect(path)
        sock.settimeout(TIMEOUT)
    except OSError:
        sock.close()
        raise
    return sock


def accepts(path):
    """Return: whether a process is listening on a socket."""
    try:
        connect(str(path)).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    return True


class RawClient:
    """A client that records the server's messages, and fails if they break a rule of the protocol.

    vectors: number of vectors of each client; None: unknown, so fewer rules are checked
    keep: whether to keep the fds of other peers; if false, close each one and store None instead
    sock: the socket to connect, or None for a new one
    quiet: like QEMU, a client that the server never sends a leave
    """

    def __init__(self, path, vectors=None, keep=True, sock=None, quiet=False):
        self.sock = connect(path, sock, quiet)
        self.quiet = quiet
        self.vectors = vectors
        self.keep = keep
        self.history = []  # (value, whether there was an fd) of all messages
        self.id = None
        self.memory = None
        self.own = []
        self.peers = {}
        self.ended = False
        self._half = b""
        self._half_fds = []
        self._incomplete = None  # the id whose vectors are being received
        self.sock.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        """Disconnect, and close every fd."""
        self.sock.close()
        fds = self.own + self._half_fds + [fd for known in self.peers.values() for fd in known]
        for fd in fds + [self.memory]:
            if fd is not None:
                os.close(fd)
        self.own, self._half_fds, self.peers, self.memory = [], [], {}, None

    def _receive(self):
        """Receive more bytes of the current message. Return: false if none are available."""
        fds = array.array("i")
        try:
            data, control, flags, _ = self.sock.recvmsg(
                MESSAGE_LEN - len(self._half), socket.CMSG_SPACE(8 * fds.itemsize),
                socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data, control, flags = b"", [], 0
        for level, kind, content in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(content[:len(content) - len(content) % fds.itemsize])
        self._half += data
        self._half_fds += fds
        if flags & socket.MSG_CTRUNC or len(self._half_fds) > 1:
            raise ProtocolError(f"more than one fd came with a message: {len(fds)}")
        if not data:
            self.ended = True
            if self._half:
                raise ProtocolError("the server closed the connection within a message: "
                                    f"{self._half!r}")
        return True

    def next(self, timeout=TIMEOUT):
        """Receive one message. Return: (value, whether there was an fd); None if the connection was
        closed (then `ended` is true) or if no message arrived in time."""
        deadline = time.monotonic() + timeout
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        while not self.ended and len(self._half) < MESSAGE_LEN:
            if not self._receive():
                left = deadline - time.monotonic()
                if left < 0 or not poller.poll(left * 1000):
                    return None
        if self.ended:
            return None
        value, = struct.unpack("<q", self._half)
        fd = self._half_fds.pop() if self._half_fds else None
        self._half = b""
        self.history.append((value, fd is not None))
        self._apply(value, fd)
        return self.history[-1]

    def _apply(self, value, fd):
        place = len(self.history)
        if place == 1 and (value, fd) != (0, None):
            raise ProtocolError(f"the first message is not version 0: {value}, fd {fd}")
        if place == 2:
            if not 0 <= value <= 65535 or fd is not None:
                raise ProtocolError(f"the second message is not an id: {value}, fd {fd}")
            self.id = value
        if place == 3:
            self.memory = fd
            if value != -1 or fd is None:
                raise ProtocolError(f"the third message is not the memory: {value}, fd {fd}")
        if place > 3:
            self._apply_steady(value, fd)

    def _apply_steady(self, value, fd):
        if not 0 <= value <= 65535:
            raise ProtocolError(f"{value} is not an id")
        if self._incomplete not in (None, value):
            raise ProtocolError(f"{value} came among the vectors of {self._incomplete}")
        if fd is None:
            if self.quiet:
                raise ProtocolError(f"a leave of {value}, although the client is quiet")
            if value == self.id:
                raise ProtocolError("a leave with the client's own id")
            if value not in self.peers:
                raise ProtocolError(f"{value} has left, but had never joined")
            self._incomplete = None
            for known in self.peers.pop(value):
                if known is not None:
                    os.close(known)
            return
        known = self.own if value == self.id else self.peers.setdefault(value, [])
        known.append(fd)
        if value != self.id and not self.keep:
            os.close(known.pop())
            known.append(None)
        if self.vectors is not None:
            if len(known) > self.vectors:
                raise ProtocolError(f"{value} has joined twice: {len(known)} vectors")
            self._incomplete = value if len(known) < self.vectors else None

    def read_until(self, condition, what="the awaited state"):
        """Receive messages until condition() is true."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            if self.next(max(deadline - time.monotonic(), 0)) is None:
                why = "the server closed the connection" if self.ended else "no more messages came"
                raise AssertionError(f"{why} before {what}: id {self.id}, knows "
                                     f"{sorted(self.peers)}, last {self.history[-5:]}")

    def greeting(self):
        """Receive the version, the id, the memory and all of the client's own vectors, along with
        the messages about other peers that arrive before these vectors."""
        self.read_until(lambda: len(self.history) >= 3 and len(self.own) >= (self.vectors or 0),
                        "the end of the greeting")
        return self

    def knows(self, ids):
        """Return: whether the client knows exactly these peers, each with all vectors."""
        return set(self.peers) == set(ids) and self._incomplete is None

    def read_until_knows(self, ids):
        """Receive messages until the client knows exactly these peers."""
        self.read_until(lambda: self.knows(ids), f"it knew {sorted(ids)}")

    def hears_nothing(self, seconds=0.1):
        """Return: whether no message arrives for a while."""
        return self.next(seconds) is None and not self.ended

    def read_to_end(self):
        """Receive all messages until the server closes the connection. Return: the messages."""
        messages = []
        while (message := self.next()) is not None:
            messages.append(message)
        assert self.ended, f"the server did not close the connection; it sent {messages}"
        return messages


def read_together(clients, condition, what):
    """Let all clients take turns reading messages until condition() is true."""
    deadline = time.monotonic() + TIMEOUT
    poller = select.poll()
    for client in clients:
        poller.register(client.sock, select.POLLIN)
    while True:
        for client in clients:
            while client.next(0):
                pass
        if condition():
            return
        left = deadline - time.monotonic()
        assert left > 0 and poller.poll(left * 1000), f"no more messages before {what}: " + str(
            {client.id: sorted(client.peers) for client in clients})


def readable(fds, timeout=0):
    """Return: the indices of the readable fds. With a timeout, wait until at least one is
    readable."""
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    ready = {fd for fd, _ in poller.poll(timeout * 1000)}
    return [at for at, fd in enumerate(fds) if fd in ready]


def ring(fd):
    """Ring a doorbell."""
    assert os.write(fd, struct.pack("=Q", 1)) == 8


def eventfd_count(fd):
    """Return: how often a doorbell has been rung since its owner last read it."""
    text = pathlib.Path(f"/proc/self/fdinfo/{fd}").read_text()
    return int(re.search("^eventfd-count: *([0-9a-f]+)$", text, re.MULTILINE)[1], 16)


class BadServer:
    """A server that sends the messages of a test, and then stalls or closes the connection.

    messages: (value or bytes, list of fds) each; the caller closes the fds
    closes:   close the connection after the messages; if false, it stays open until close()

    The client must be another process. It is stopped while the server sends: otherwise it could
    mistake a pause for the end of the messages.
    """

    stops_client = True

    def __init__(self, path, messages, closes=False):
        self.messages = messages
        self.closes = closes
        self.closed_by_client = threading.Event()
        self._accepted = None
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(path)
        self._sock.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def _serve(self):
        try:
            self._accepted, _ = self._sock.accept()
            with self._client_stopped():
                for value, fds in self.messages:
                    self.send(value, fds)
            if self.closes:
                self._accepted.close()
                return
            self._accepted.recv(1)
        except OSError:
            pass  # the client or close() has ended the connection
        self.closed_by_client.set()

    @contextlib.contextmanager
    def _client_stopped(self):
        if not self.stops_client:
            yield
            return
        credentials = self._accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED,
                                                struct.calcsize("3i"))
        pid = struct.unpack("3i", credentials)[0]
        assert pid != os.getpid(), "the client must be another process"
        pidfd = os.pidfd_open(pid)
        signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
        try:
            yield
        finally:
            signal.pidfd_send_signal(pidfd, signal.SIGCONT)
            os.close(pidfd)

    def send(self, value, fds=()):
        """Send another message; bytes are sent unchanged."""
        data = value if isinstance(value, bytes) else pack(value)
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self._accepted.sendmsg([data], control)

    def close(self):
        """End the connection and stop listening."""
        for sock in (self._sock, self._accepted):
            try:
                if sock:
                    sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the socket is no longer connected
        self._thread.join(TIMEOUT)
        self._sock.close()
        if self._accepted:
            self._accepted.close()
        assert not self._thread.is_alive()
