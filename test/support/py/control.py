# SPDX-License-Identifier: BSD-3-Clause
"""A client of the control socket, which sends and receives lines."""
import json
import socket

from support.py.wire import TIMEOUT, connect

STATUS = b'{"request":"status"}\n'
VERSION = b'{"request":"version"}\n'


class Control:
    """A connection to a control socket."""

    def __init__(self, path):
        self.sock = connect(str(path))
        self.sock.settimeout(TIMEOUT)
        self._bytes = b""

    def close(self):
        """Close the connection."""
        self.sock.close()

    def send(self, data):
        """Send bytes unchanged."""
        self.sock.sendall(data)

    def no_more(self):
        """Shut down the sending side."""
        self.sock.shutdown(socket.SHUT_WR)

    def line(self):
        """Return the next line from the server, without its newline; None if the server closed the
        connection."""
        while b"\n" not in self._bytes:
            try:
                more = self.sock.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                assert self._bytes == b"", f"the last line is incomplete: {self._bytes[-80:]!r}"
                return None
            self._bytes += more
        line, self._bytes = self._bytes.split(b"\n", 1)
        return line

    def reply(self):
        """Return the next reply as a dict."""
        line = self.line()
        assert line is not None, "the server closed the control connection"
        return json.loads(line)

    def ask(self, data=STATUS):
        """Send a request and return its reply."""
        self.send(data)
        return self.reply()


def ask_once(path, **members):
    """Request a status over a new connection, and return it."""
    control = Control(path)
    try:
        return control.ask(json.dumps({"request": "status", **members}).encode() + b"\n")
    finally:
        control.close()
