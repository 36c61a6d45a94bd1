# SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for the service manager. It receives a service's notifications, stores the service's
fds, and passes them to the service at the next start. It does only what sd_notify(3),
sd_listen_fds(3) and systemd.service(5) document."""
import array
import os
import pathlib
import signal
import socket
import sys
import threading

from support.py.programs import Process, TIMEOUT, wait_until

LAUNCHER = pathlib.Path(__file__).with_name("with_fds.py")
DATAGRAM_LEN = 4096


class Manager:
    """A manager of one service, with a store of named fds. Several fds may have the same name.

    store_max:  maximum number of fds (FileDescriptorStoreMax); more are discarded without an error
    activation: (name, fd) of the manager's own socket, which it passes first at every start
    """

    def __init__(self, place, store_max=4096, activation=None):
        self.place = place
        self.path = str(place.dir / "notify")
        self.said = []  # the texts of all datagrams, in order
        self.store = []  # (name, fd)
        self.store_max = store_max
        self.activation = activation
        self.server = None
        self._changed = threading.Condition()
        self._may_read = threading.Event()
        self._may_read.set()
        self._sock = None
        self._open()

    def _open(self):
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(self.path)
        self._thread = threading.Thread(target=self._read, args=(self._sock,), daemon=True)
        self._thread.start()

    def close(self):
        """End the service, and close all fds."""
        if self.server:
            self.server.end()
        self.vanish()
        self.forget_all()

    def vanish(self):
        """Stop listening, so that the service's notifications are lost."""
        if not self._sock:
            return
        self._may_read.set()
        self._send("END=1")
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()
        self._sock.close()
        self._sock = None
        os.unlink(self.path)

    def come_back(self):
        """Listen again at the same address after vanish(), with all fds that were stored."""
        self._open()

    def _send(self, text):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(TIMEOUT)
            sock.connect(self.path)
            sock.send(text.encode())

    def _read(self, sock):
        number = array.array("i")
        while True:
            self._may_read.wait()
            data, control, _, _ = sock.recvmsg(DATAGRAM_LEN, socket.CMSG_SPACE(number.itemsize * 8),
                                               socket.MSG_CMSG_CLOEXEC)
            fds = array.array("i")
            for level, kind, content in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(content)
            self._may_read.wait()  # reading may have been stopped in the meantime
            with self._changed:
                self._take(data.decode(), list(fds))
                self._changed.notify_all()
            if data == b"END=1":
                return

    def _take(self, text, fds):
        self.said.append(text)
        pairs = dict(line.split("=", 1) for line in text.splitlines())
        name = pairs.get("FDNAME", "stored")
        if "FDSTORE" in pairs:
            assert fds, "FDSTORE=1 came without an fd"
            while fds and len(self.store) < self.store_max:
                self.store.append((name, fds.pop(0)))
        if "FDSTOREREMOVE" in pairs:
            for entry in [entry for entry in self.store if entry[0] == name]:
                os.close(entry[1])
                self.store.remove(entry)
        for fd in fds:
            os.close(fd)

    def forget_all(self):
        """Empty the store, as after `systemctl stop`."""
        with self._changed:
            while self.store:
                os.close(self.store.pop()[1])

    def stop_reading(self):
        """Stop reading, so that the queue (net.unix.max_dgram_qlen) fills."""
        self._may_read.clear()
        self._send("STOP=1")  # wake the reader, which may be waiting for a datagram

    def go_on_reading(self):
        """Resume reading notifications."""
        self._may_read.set()

    def settle(self):
        """Wait until all notifications sent so far have been received."""
        barrier = f"SETTLE={len(self.said)}"
        self._send(barrier)
        self.wait(lambda: barrier in self.said, "the barrier")

    def wait(self, condition, what):
        """Wait until condition() is true; it is checked after each notification."""
        with self._changed:
            assert self._changed.wait_for(condition, TIMEOUT), \
                f"timeout: {what}; the service sent {self.said[-5:]}, the store has {self.names()}"

    def wait_said(self, line, times=1):
        """Wait until this many datagrams contain this line."""
        self.wait(lambda: sum(line in text.splitlines() for text in self.said) >= times, line)

    def names(self):
        """Return: the names in the store, in order."""
        return [name for name, _ in self.store]

    def replace(self, name, fd):
        """Replace the stored fd with this name with a copy of another fd."""
        with self._changed:
            for at, (known, old) in enumerate(self.store):
                if known == name:
                    os.close(old)
                    self.store[at] = (name, os.dup(fd))
                    return
            self.store.append((name, os.dup(fd)))

    def fd(self, name):
        """Return: the stored fd with this name; it remains in the store."""
        return dict(self.store)[name]

    def start(self, *options, region=None, count="-", prefix=(), environment=None, ready=True):
        """Start the service with the fds in the store. options, region: default to those used for
        the previous start; count: value of LISTEN_FDS; prefix: command of a program that runs the
        service."""
        assert not self.server or self.server.popen.poll() is not None
        if options or region or not self.server:
            self._options = options or ("-F", "-v", "-n", "2", "-S", self.place.socket)
            self._region = region or ("-M", self.place.shm)
        entries = ([self.activation] if self.activation else []) + self.store
        fds = [fd for _, fd in entries]
        given = {"NOTIFY_SOCKET": self.path, "LISTEN_PID": None, "LISTEN_FDS": None,
                 "LISTEN_FDNAMES": None, **(environment or {})}
        ready_n = sum("READY=1" in text for text in self.said)
        self.server = Process(
            [sys.executable, LAUNCHER, count, ":".join(name for name, _ in entries),
             ",".join(map(str, fds)), *(prefix or [self.place.server_program]),
             *([self.place.server_program] if prefix else []), *self._options, *self._region],
            environment=given, fds=fds)
        if not ready:
            return self.server
        wait_until(lambda: sum("READY=1" in text for text in self.said) > ready_n
                   or self.server.popen.poll() is not None, "the service is ready")
        assert self.server.popen.poll() is None, self.server.err.text()
        return self.server

    def end_service(self, number):
        """End the service with a signal, and receive all its notifications. Return: its status."""
        self.server.signal(number)
        status = self.server.wait()
        if self._sock and self._may_read.is_set():
            self.settle()
        return status

    def wait_idle(self):
        """Wait until the service is idle."""
        status = pathlib.Path(f"/proc/{self.server.pid}/status")
        looks = []

        def waits():
            lines = status.read_text(encoding="ascii").splitlines()
            looks.append([line for line in lines if line.startswith(("State", "vol", "nonv"))])
            return "S (" in looks[-1][0] and looks[-4:] == looks[-1:] * 4

        wait_until(waits, "the service waits")

    def crash(self, idle=True, **start):
        """Kill the service with SIGKILL, and start it again. idle: first wait until no message is
        being sent, so that no client is lost."""
        if idle:
            self.wait_idle()
        assert self.end_service(signal.SIGKILL) == -signal.SIGKILL
        return self.start(**start)

    def restart(self, *options, **start):
        """Restart the service as `systemctl restart` does."""
        status = self.end_service(signal.SIGTERM)
        assert status == 0, self.server.err.text()
        return self.start(*options, **start)
