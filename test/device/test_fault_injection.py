# SPDX-License-Identifier: BSD-3-Clause
"""Fail each system call and each allocation made by ivshmem-device, once at every place in the code
that makes it (support/py/faults.py; IVS_FAULT and IVS_FAULTS_ALL as in
server/test_fault_injection.py).

If a call fails during startup, the device either works, or prints an error, exits with status 1 and
leaves no files. If a call fails while a VMM is served, the device either continues or drops the
VMM; it leaks no fd and serves the next VMM.
"""
import contextlib
import functools
import os
import signal
import socket
import time

import pytest

from support.py import vfio_user as vfu
from support.py.faults import PLACES_MAX, Faulty, preload, stays
from support.py.programs import SHM, TIMEOUT, fd_count
from support.py.vfio_user import (BAR0, BAR1, BAR2, CONFIG, DOORBELL, ERR, MSIX, Client, Gone,
                                  Refused)
from support.py.wire import RawClient, ring

STATUS_FAILED = 1
SIZE = 1 << 16
VECTORS = 2


class Session:
    """A VMM that uses each feature briefly, and continues after a request is refused."""

    def __init__(self, path, vectors):
        self.vectors = vectors
        self.client = Client(path)
        self.refused = 0
        self.eventfds = [vfu.eventfd() for _ in range(vectors + 1)]

    def close(self):
        self.client.close()
        while self.eventfds:
            os.close(self.eventfds.pop())

    def take_memory(self):
        """Query all regions. If the device passes an fd, check the size of its file."""
        for index in range(9):
            fd = self.client.region_info(index)[3]
            if fd is not None:
                assert os.fstat(fd).st_size == SIZE
                os.close(fd)

    def take_interrupts(self):
        """Pass an eventfd for the error interrupt and one for each vector."""
        self.client.set_irqs(ERR, vfu.EVENTFD | vfu.TRIGGER, 0, 1, fds=self.eventfds[-1:])
        if self.vectors:
            self.client.enable_msix()
            self.client.set_irqs(MSIX, vfu.EVENTFD | vfu.TRIGGER, 0, self.vectors,
                                 fds=self.eventfds[:-1])

    def use_memory(self):
        """Read and write the memory through small and large messages."""
        for length in (1, 8, 65536):
            self.client.write(BAR2, 0, b"x" * length)
            self.client.read(BAR2, 0, length)

    def ring(self):
        """Ring three ids: the device's own (0), that of a peer (1), and one that no peer has
        (77)."""
        for peer in (0, 1, 77):
            self.client.write32(BAR0, DOORBELL, peer << 16)

    def migrate(self):
        """Save the device's state and load it again."""
        self.client.load(self.client.save())

    def steps(self):
        """Return: the requests of the session, in order."""
        yield self.client.start
        yield self.client.info
        yield self.take_memory
        yield lambda: self.client.irq_info(MSIX)
        yield self.take_interrupts
        yield self.use_memory
        yield self.ring
        yield lambda: self.client.read(BAR1, 0, 64)
        yield lambda: self.client.transact(vfu.DMA_MAP, bytes(32), fds=self.eventfds[:1])
        yield self.migrate
        yield self.client.reset
        yield lambda: self.client.read(CONFIG, 0, 256)

    def play(self):
        """Send all requests and count the refused ones. Raise Gone if the device drops the VMM."""
        for step in self.steps():
            try:
                step()
            except Refused:
                self.refused += 1
            except AssertionError as error:  # the device may disconnect during a long reply
                if "closed within a message" not in str(error):
                    raise
                raise Gone from error


@contextlib.contextmanager
def session(path, vectors):
    """Return: a connected Session."""
    opened = Session(path, vectors)
    try:
        yield opened
    finally:
        opened.close()


def check_serves(path, vectors, briefly=False):
    """Check that the device serves a VMM. Retry, because the device may not yet have noticed that
    the previous VMM has disconnected."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            with session(path, vectors) as good:
                if briefly:
                    good.take_memory()
                    good.take_interrupts()
                else:
                    good.play()
                # A device with role peer refuses to be migrated, and refuses no other request.
                assert good.refused <= 1
                return
        except (Gone, FileNotFoundError, ConnectionRefusedError):
            assert time.monotonic() < deadline, "VMMs are no longer served"
            time.sleep(0.001)


# Faults during startup

KINDS = {
    "plain": (["--region", "shm:{shm}", "--size", SIZE, "--role", "master"], 0),
    "read-only": (["--region", "shm:{shm}", "--size", SIZE, "--window", f"0,{SIZE},ro",
                   "--control", "{dir}/control"], 0),
    "remains": (["--region", "shm:{shm}", "--socket-mode", "0600"], 0),
    "doorbell": (["--server", "{server}", "--vectors", VECTORS, "--control", "{dir}/control"],
                 VECTORS),
}


class Starts:
    """A device of one kind (see KINDS), which is started again for each fault."""

    def __init__(self, where, kind):
        self.where = where
        self.kind = kind
        options, self.vectors = KINDS[kind]
        self.path = where.dir / "vmm"
        if self.vectors:
            where.server("-n", VECTORS, "-l", SIZE, region=["-r", "memfd:"])
        self.arguments = [where.device_program, "--socket", self.path, *[
            str(word).format(shm=where.shm, dir=where.dir, server=where.socket)
            for word in options]]

    def there(self):
        """Return: the paths of all existing files, except the socket of the server."""
        return {path for path in [*self.where.dir.iterdir(), *SHM.glob(self.where.shm + "*")]
                if path != self.where.socket}

    def prepare(self):
        """Remove all files. For the kind "remains", create a region, and a socket that no process
        listens on."""
        for path in self.there():
            path.unlink()
        if self.kind == "remains":
            self.where.shm_path.write_bytes(bytes(SIZE))
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(self.path))

    def check_failed(self, device, status, call):
        """Check that the start failed with an error message that names every file that was left
        behind."""
        assert status == STATUS_FAILED, f"the device exited with status {status}: {device.err.seen}"
        device.close()
        lines = device.err.text().splitlines()
        assert lines and all(line.startswith("ivshmem-device: ") for line in lines), lines
        assert len(lines) == 1 or call in ("unlink", "newfstatat"), f"the device printed {lines}"
        kept = {self.where.shm_path, self.path} if self.kind == "remains" else set()
        left = {path for path in self.there() - kept if str(path) not in "\n".join(lines)}
        assert not left, f"the device printed {lines}, but left behind {left}"
        if self.kind == "remains":
            assert self.where.shm_path.stat().st_size == SIZE, "the existing region was resized"

    def check_served(self, device, call):
        """Check that the device serves a VMM and exits cleanly."""
        if not self.kind == "read-only":
            check_serves(self.path, self.vectors)
        device.signal(signal.SIGTERM)
        assert device.wait_end() == 0, device.err.seen
        left = self.there() - {self.where.shm_path}
        assert not left or call in ("unlink", "newfstatat"), f"the device left behind {left}"

    def once(self, _kind=None, call=None, nth=0, error=None):
        """Start the device and make this call fail. Return: the outcome."""
        self.prepare()
        with Faulty(self.where.build, self.arguments, ("start", call, nth, error),
                    preload(self.where)) as device:
            status = None if device.wait_serving() else device.wait_end()
            seen = device.ask()
            if status is None:
                self.check_served(device, call)
            else:
                self.check_failed(device, status, call)
            return seen


@pytest.mark.parametrize("kind", KINDS)
def test_faults_during_the_start(place, tally, kind):
    """If a call fails during startup, the device works, or prints an error, exits with status 1 and
    leaves no files."""
    starts = Starts(place, kind)
    tally.play(starts.once().counts, starts.once)
    tally.end()


# Faults while a VMM is served

# Duration in seconds with the fast clock: if a connection to the server lasts this long and is then
# lost, the device reconnects without a longer delay.
USEFUL = 0.22


class Serving:
    """A device that serves VMMs in many runs. After a failed run a new process replaces the old
    one."""

    def __init__(self, where, kind):
        self.where = where
        self.vectors = KINDS[kind][1]
        self.path = where.dir / "vmm"
        self.starts = Starts(where, kind)
        self.device = None
        self.fds = None
        self.peer = None

    def open(self):
        """Start the device unless it is running."""
        if self.device:
            return
        self.starts.prepare()
        self.device = Faulty(self.where.build, self.starts.arguments, preload=preload(self.where))
        assert self.device.wait_serving(), self.device.err.text()
        check_serves(self.path, self.vectors)
        self.fds = self.wait_fds(None)

    def close(self):
        """End the process without checking how it exits."""
        if self.device:
            self.device.close()
        self.device = None

    def wait_fds(self, wanted, call=None):
        """Wait until the process has @wanted fds or, if @wanted is None, until the count is stable.
        Return: the count."""
        deadline = time.monotonic() + TIMEOUT
        before = None
        while True:
            seen = self.device.ask()
            # A failed close() is simulated by putting another file in place of the fd (faults.c).
            # One more fd is then open, unless the device retries the close() (daemon/close.c).
            extra = [0, 1] if call == "close" and seen.failed else [0]
            try:
                now = fd_count(self.device.pid)
            except OSError:
                now = 0
            assert now, f"the device has exited: {self.device.err.seen}"
            if now == before if wanted is None else now - wanted in extra:
                if now == wanted or stays(self.device.pid, now):
                    return now
            assert time.monotonic() < deadline, f"the device has {now} fds, not {wanted} as before"
            before = now
            time.sleep(0.05 if wanted is None else 0.0005)

    def play(self):
        """Run a session and, if the device has doorbells, ring it from a peer. Raise Gone or
        Refused if the device does not admit the VMM."""
        with session(self.path, self.vectors) as one:
            if self.vectors:
                with RawClient(str(self.where.socket), VECTORS) as peer:
                    peer.greeting()
                    for fds in peer.peers.values():
                        ring(fds[0])
                    one.play()
                    return
            one.play()

    def once(self, _kind=None, call=None, nth=0, error=None):
        """Run a session in which this call fails, and then a session without a fault. Return: the
        outcome of the first session."""
        self.open()
        try:
            self.device.arm(call, nth, error)
            with contextlib.suppress(Gone, Refused):
                self.play()
            seen = self.device.ask()
            began = time.monotonic()
            self.fds = self.wait_fds(self.fds, call)
            if time.monotonic() - began > 0.05:
                time.sleep(USEFUL)
            self.device.arm()
            check_serves(self.path, self.vectors, briefly=True)
            self.wait_fds(self.fds)
        except BaseException:
            self.close()
            raise
        if call in ("malloc", "mmap", "brk"):
            self.close()  # only a new process repeats an allocation that is made once
        return seen

    def stop(self):
        """Check that the process exits cleanly."""
        if self.device:
            self.device.arm()
            self.device.signal(signal.SIGTERM)
            assert self.device.wait_end() == 0, self.device.err.seen
        self.close()


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("kind", ["plain", "doorbell"])
def test_faults_while_serving(place, tally, kind):
    """If a call fails while a VMM is served, the device continues or drops the VMM. It leaks no fd,
    and serves the next VMM."""
    serving = Serving(place, kind)
    try:
        tally.play(serving.once().counts, serving.once, client_errors=True)
        serving.stop()
    finally:
        serving.close()
    tally.end()


@pytest.mark.parametrize("error", ["ETOOMANYREFS", "ENOBUFS", "ENOMEM"])
def test_refused_replies_are_sent_later(place, error):
    """If the kernel refuses to send a reply, because too many fds of other processes are in flight
    or memory is low, the device retries, and the VMM notices nothing."""
    serving = Serving(place, "plain")
    try:
        serving.open()
        for nth in range(1, PLACES_MAX):
            serving.device.arm("sendmsg", nth, error)
            serving.play()
            if not serving.device.ask().fired:
                break
        assert nth > 10
        serving.stop()
    finally:
        serving.close()


def end_once(starts, _kind=None, call=None, nth=0, error=None):
    """Start the device, connect a VMM, and terminate the device while making this call fail.
    Return: the outcome."""
    starts.prepare()
    with Faulty(starts.where.build, starts.arguments) as device:
        assert device.wait_serving(), device.err.seen
        with Client(starts.path) as client:
            client.start()
            device.arm(call, nth, error)
            device.signal(signal.SIGTERM)
            status = device.wait_end()
            assert client.is_gone()
        seen = device.ask()
        assert status == 0, f"the device exited with status {status}: {device.err.seen}"
        device.close()
        for path in starts.there() - {starts.where.shm_path}:
            assert str(path) in device.err.text(), f"{path} was left behind without a message"
    return seen


def test_faults_during_the_end(place, tally):
    """If a call fails while the device exits, its exit status is still 0, and it logs each file
    that it could not remove."""
    if tally.sanitized:
        pytest.skip("the leak check at exit makes additional system calls")
    starts = Starts(place, "plain")
    tally.play(end_once(starts).counts, functools.partial(end_once, starts))
    tally.end()
