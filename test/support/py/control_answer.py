# SPDX-License-Identifier: BSD-3-Clause
"""A control socket whose replies a test chooses."""
import socket
import threading


class Answer:
    """A process that answers each request on a control socket with the same bytes; None: never."""

    def __init__(self, place, path, reply):
        self._reply = reply
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
            if self._reply is not None:
                there.recv(4096)
                self._answer(there)

    def _answer(self, there):
        try:
            there.sendall(self._reply)
        except OSError:
            pass  # it has given up

    def close(self):
        """End."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for each in self._kept:
            each.close()
