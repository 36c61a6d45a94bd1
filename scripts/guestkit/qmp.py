# SPDX-License-Identifier: BSD-3-Clause
"""QEMU's control socket (QMP), as much of it as a test needs."""

import json
import socket
import time

from .proc import KitError, pause


def connect(path, timeout):
    """A stream socket connected to path, as soon as somebody listens there."""
    end = time.monotonic() + timeout
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
            return connection
        except OSError as e:
            connection.close()
            if time.monotonic() >= end:
                raise KitError(f"nobody listens at {path}: {e.strerror}") from e
        pause()


class Qmp:
    """One connection. command() returns what QEMU returns; events collect in self.events."""

    def __init__(self, path, timeout=20):
        self.events = []
        self._data = b""
        self._socket = connect(path, timeout)
        self._socket.settimeout(0.1)
        self._message(timeout)
        self.command("qmp_capabilities")

    def command(self, name, timeout=20, **arguments):
        """Run a command. Arguments with a hyphen in the name: **{"a-b": value}."""
        request = {"execute": name, "arguments": arguments}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        end = time.monotonic() + timeout
        while True:
            message = self._message(end - time.monotonic())
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise KitError(f"QEMU refuses {name}: {message['error']['desc']}")
            else:
                return message["return"]

    def unplug(self, ident, timeout=20):
        """Ask the guest to let go of a device. QEMU refuses that while the slot's power indicator blinks,
        and the guest lets it blink until it has done all that belongs to plugging in: a moment longer than
        until its programs see the device."""
        end = time.monotonic() + timeout
        while True:
            try:
                return self.command("device_del", id=ident)
            except KitError as e:
                if "guest is busy" not in str(e) or time.monotonic() >= end:
                    raise
            pause()

    def wait_event(self, name, timeout=20):
        """The first event of that name, those before the call included; it is taken."""
        end = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event
            message = self._message(end - time.monotonic())
            if "event" in message:
                self.events.append(message)

    def close(self):
        self._socket.close()

    def _message(self, timeout):
        end = time.monotonic() + timeout
        while b"\n" not in self._data:
            if time.monotonic() >= end:
                raise KitError("QEMU's monitor is silent")
            pause(0)
            try:
                got = self._socket.recv(65536)
            except socket.timeout:
                continue
            if not got:
                raise KitError("QEMU closed its monitor")
            self._data += got
        line, self._data = self._data.split(b"\n", 1)
        return json.loads(line)
