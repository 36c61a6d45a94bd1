# SPDX-License-Identifier: BSD-3-Clause
"""The part of QEMU's control protocol (QMP) that the tests need."""

import json
import socket
import time

from .proc import KitError, pause


def connect(path, timeout):
    """Return: a stream socket connected to @path. Waits until a process is listening there."""
    end = time.monotonic() + timeout
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
            return connection
        except OSError as e:
            connection.close()
            if time.monotonic() >= end:
                raise KitError(f"cannot connect to {path}: {e.strerror}") from e
        pause()


class Qmp:
    """A QMP connection. command() returns QEMU's reply; events are collected in self.events."""

    def __init__(self, path, timeout=20):
        self.events = []
        self._data = b""
        self._socket = connect(path, timeout)
        self._socket.settimeout(0.1)
        self._message(timeout)
        self.command("qmp_capabilities")

    def command(self, name, timeout=20, **arguments):
        """Run a QMP command. Pass arguments whose names contain a hyphen as **{"a-b": value}."""
        request = {"execute": name, "arguments": arguments}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        end = time.monotonic() + timeout
        while True:
            message = self._message(end - time.monotonic())
            if "event" in message:
                self.events.append(message)
            elif "error" in message:
                raise KitError(f"QEMU rejected {name}: {message['error']['desc']}")
            else:
                return message["return"]

    def unplug(self, ident, timeout=20):
        """Request the unplug of a device, and retry while QEMU rejects the request because the
        power indicator of the device's port blinks. The indicator blinks until the guest has
        completed the hot-plug, which is shortly after programs see the device."""
        end = time.monotonic() + timeout
        while True:
            try:
                return self.command("device_del", id=ident)
            except KitError as e:
                if "guest is busy" not in str(e) or time.monotonic() >= end:
                    raise
            pause()

    def wait_event(self, name, timeout=20):
        """Wait for an event with this name, which may have arrived before the call. Return: the
        event, which is removed from self.events."""
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
                raise KitError("QEMU's monitor is not replying")
            pause(0)
            try:
                got = self._socket.recv(65536)
            except socket.timeout:
                continue
            if not got:
                raise KitError("QEMU closed the connection to its monitor")
            self._data += got
        line, self._data = self._data.split(b"\n", 1)
        return json.loads(line)
