# SPDX-License-Identifier: BSD-3-Clause
"""A vfio-user client that uses none of the project's code, and a device that serves it.

The numbers are from QEMU's docs/interop/vfio-user and from linux/vfio.h.
"""
import array
import errno
import json
import mmap
import os
import select
import socket
import struct
import subprocess
import time

from support.py.programs import Process, fd_count, is_sanitized
from support.py.wire import TIMEOUT, connect

HEADER = struct.Struct("<HHIII")  # id, command, size, flags, errno
MESSAGE_MAX = 16 + 16 + (1 << 20)
DATA_MAX = 1 << 20
FDS_MAX = 16
REPLY, NO_REPLY, ERROR = 1, 0x10, 0x20

(VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS,
 GET_IRQ_INFO) = range(1, 8)
SET_IRQS, REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET = range(8, 14)
DIRTY_PAGES, WRITE_MULTI, FEATURE, MIG_READ, MIG_WRITE = range(14, 19)

BAR0, BAR1, BAR2, CONFIG = 0, 1, 2, 7
REGIONS_N, IRQS_N = 9, 5
READ, WRITE, MMAP = 1, 2, 4  # flags of a region
INTX, MSI, MSIX, ERR, REQ = range(5)
NONE, BOOL, EVENTFD, MASK, UNMASK, TRIGGER = (1 << bit for bit in range(6))

GET, SET, PROBE = 1 << 16, 1 << 17, 1 << 18
MIGRATION, MIG_STATE = 1, 2
STATE_ERROR, STOP, RUNNING, STOP_COPY, RESUMING = range(5)

INTR_MASK, INTR_STATUS, IV_POSITION, DOORBELL = 0, 4, 8, 12
COMMAND = 4  # offset of the command register in configuration space
MEMORY_SPACE, BUS_MASTER, INTX_DISABLE = 2, 4, 0x400


class Refused(Exception):
    """A reply with the error flag."""

    def __init__(self, number):
        super().__init__(errno.errorcode.get(number, number))
        self.errno = number


class Gone(Exception):
    """The device closed the connection."""


def pack(command, body=b"", number=1, flags=0, size=None):
    """Pack a message."""
    size = HEADER.size + len(body) if size is None else size
    return HEADER.pack(number, command, size, flags, 0) + body


def version_body(major=0, minor=1, text='{"capabilities":{"max_msg_fds":8}}'):
    """Return: the body of VERSION. If @text is None, the optional part is missing."""
    return struct.pack("<HH", major, minor) + (b"" if text is None else text.encode() + b"\0")


def set_irqs_body(index, flags, start, count, data=b""):
    """Return: the body of SET_IRQS."""
    return struct.pack("<IIIII", 20 + len(data), flags, index, start, count) + data


def access_body(region, offset, count, data=b""):
    """Return: the body of REGION_READ and REGION_WRITE."""
    return struct.pack("<QII", offset, region, count) + data


def feature_body(flags, data=b"", argsz=16):
    """Return: the body of DEVICE_FEATURE."""
    return struct.pack("<II", argsz, flags) + data


class Reply:
    """One reply: id, command, flags, errno, body, fds."""

    def __init__(self, header, body, fds):
        self.id, self.command, self.size, self.flags, self.errno = header
        self.body = body
        self.fds = fds

    def close(self):
        """Close the fds of the reply."""
        while self.fds:
            os.close(self.fds.pop())


class Client:
    """The VMM's end of the socket.

    greet: begin with VERSION, as every VMM does
    """

    def __init__(self, path, greet=True, **version):
        self.sock = connect(str(path))
        self._next_id = 0
        self.version = None
        if greet:
            self.version = self.greet(**version)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        """Disconnect without sending a message, as VMMs do."""
        self.sock.close()

    # Messages

    def send_raw(self, data, fds=()):
        """Send bytes unchanged; the fds are attached to the first byte."""
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            sent = self.sock.sendmsg([data], control)
            if sent < len(data):
                self.sock.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Gone from error

    def send(self, command, body=b"", fds=(), flags=0):
        """Send a request. Return: its id."""
        self._next_id = (self._next_id + 1) & 0xffff
        self.send_raw(pack(command, body, self._next_id, flags), fds)
        return self._next_id

    def _receive(self, want, fds):
        data = b""
        while len(data) < want:
            try:
                more, control, flags, _ = self.sock.recvmsg(
                    want - len(data), socket.CMSG_SPACE(FDS_MAX * 4), socket.MSG_CMSG_CLOEXEC)
            except ConnectionResetError:
                more, control, flags = b"", [], 0
            for level, kind, content in control:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(content[:len(content) - len(content) % fds.itemsize])
            assert not flags & socket.MSG_CTRUNC
            if not more:
                assert not data, f"the device closed the connection within a message: {data!r}"
                raise Gone
            data += more
        return data

    def receive(self):
        """Receive the next reply. Raises Gone if the connection has been closed."""
        fds = array.array("i")
        header = HEADER.unpack(self._receive(HEADER.size, fds))
        assert header[3] & 0xf == REPLY, f"not a reply: {header}"
        assert HEADER.size <= header[2] <= MESSAGE_MAX, f"invalid size: {header}"
        body = self._receive(header[2] - HEADER.size, fds) if header[2] > HEADER.size else b""
        assert not header[3] & ERROR or (not body and not fds and header[4]), (
            "an error reply with a body or fds")
        return Reply(header, body, list(fds))

    def transact(self, command, body=b"", fds=(), flags=0):
        """Send a request and return its reply. Raises Refused if the reply has the error flag."""
        number = self.send(command, body, fds, flags)
        reply = self.receive()
        assert (reply.id, reply.command) == (number, command), "a reply to another request"
        if reply.flags & ERROR:
            raise Refused(reply.errno)
        assert reply.flags == REPLY and reply.errno == 0
        return reply

    def is_gone(self, timeout=TIMEOUT):
        """Return: whether the device closes the connection without further messages."""
        assert select.select([self.sock], [], [], timeout)[0], \
            "the device neither closes the connection nor answers"
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def hears_nothing(self, seconds=0.05):
        """Return: whether no message arrives for a while."""
        return not select.select([self.sock], [], [], seconds)[0]

    # Commands

    def greet(self, **version):
        """Send VERSION. Return: the device's JSON."""
        body = self.transact(VERSION, version_body(**version)).body
        assert struct.unpack_from("<HH", body) == (0, 0) and body[-1] == 0
        return json.loads(body[4:-1])

    def info(self):
        """Return (flags, regions, irqs) of the device."""
        reply = self.transact(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0))
        argsz, *rest = struct.unpack("<IIII", reply.body)
        assert argsz == 16
        return tuple(rest)

    def region_info(self, index):
        """Return (flags, size, offset, fd or None) of a region. The caller owns the fd."""
        reply = self.transact(GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, index, 0, 0, 0))
        argsz, flags, same, _, size, offset = struct.unpack("<IIIIQQ", reply.body)
        assert (argsz, same) == (32, index)
        assert len(reply.fds) == (1 if flags & MMAP else 0)
        return flags, size, offset, reply.fds[0] if reply.fds else None

    def irq_info(self, index):
        """Return (flags, count) of an interrupt index."""
        reply = self.transact(GET_IRQ_INFO, struct.pack("<IIII", 16, 0, index, 0))
        argsz, flags, same, count = struct.unpack("<IIII", reply.body)
        assert (argsz, same) == (16, index)
        return flags, count

    def set_irqs(self, index, flags, start, count, data=b"", fds=()):
        """Send SET_IRQS."""
        assert self.transact(SET_IRQS, set_irqs_body(index, flags, start, count, data),
                             fds).body == b""

    def set_vector(self, vector, fd):
        """Set the eventfd of a vector, or remove it if @fd is None."""
        self.set_irqs(MSIX, EVENTFD | TRIGGER, vector, 1, fds=() if fd is None else (fd,))

    def read(self, region, offset, count):
        """Send REGION_READ. Return: the data."""
        body = self.transact(REGION_READ, access_body(region, offset, count)).body
        assert body[:16] == access_body(region, offset, count) and len(body) == 16 + count
        return body[16:]

    def write(self, region, offset, data):
        """Send REGION_WRITE."""
        body = self.transact(REGION_WRITE, access_body(region, offset, len(data), data)).body
        assert body == access_body(region, offset, len(data))

    def read32(self, region, offset):
        """Read a register."""
        return struct.unpack("<I", self.read(region, offset, 4))[0]

    def write32(self, region, offset, value):
        """Write a register."""
        self.write(region, offset, struct.pack("<I", value))

    def reset(self):
        """Send RESET."""
        assert self.transact(RESET).body == b""

    def start(self, command=MEMORY_SPACE | BUS_MASTER):
        """Initialise the device as a guest driver does."""
        self.write(CONFIG, COMMAND, struct.pack("<H", command))

    def find_capability(self, wanted):
        """Return: the offset of a capability in configuration space, or None."""
        config = self.read(CONFIG, 0, 256)
        at = config[0x34] if config[6] & 0x10 else 0
        while at:
            if config[at] == wanted:
                return at
            at = config[at + 1]
        return None

    def enable_msix(self, control=0x8000):
        """Set the message control of MSI-X: 0x8000 enables MSI-X, 0x4000 masks all vectors."""
        at = self.find_capability(0x11)
        now = struct.unpack("<H", self.read(CONFIG, at + 2, 2))[0]
        self.write(CONFIG, at + 2, struct.pack("<H", (now & 0x7ff) | control))

    def map_memory(self, writable=True):
        """Map BAR 2 as a VMM does for its guest. Return: the mapping; None if BAR 2 cannot be
        mapped."""
        flags, size, offset, fd = self.region_info(BAR2)
        if fd is None:
            return None
        assert bool(flags & WRITE) == writable
        try:
            return mmap.mmap(fd, size, mmap.MAP_SHARED,
                             mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0), offset=offset)
        finally:
            os.close(fd)

    # Migration

    def get_state(self):
        """Return the migration state."""
        body = self.transact(FEATURE, feature_body(GET | MIG_STATE)).body
        return struct.unpack("<IIII", body)[2]

    def set_state(self, state):
        """Change the migration state."""
        sent = feature_body(SET | MIG_STATE, struct.pack("<II", state, 0))
        assert self.transact(FEATURE, sent).body == sent

    def read_data(self, size):
        """Read a piece of the migration stream."""
        body = self.transact(MIG_READ, struct.pack("<II", 8 + size, size)).body
        argsz, got = struct.unpack_from("<II", body)
        assert argsz == len(body) == 8 + got and got <= size
        return body[8:]

    def write_data(self, data):
        """Write a piece of the migration stream."""
        assert self.transact(MIG_WRITE, struct.pack("<II", 8 + len(data), len(data)) + data).body \
            == b""

    def save(self, piece=DATA_MAX):
        """Read the whole migration stream, from RUNNING or STOP. Afterwards the device is in
        STOP."""
        self.set_state(STOP_COPY)
        data = b""
        while True:
            more = self.read_data(piece)
            data += more
            if len(more) < piece:
                self.set_state(STOP)
                return data

    def load(self, data, piece=DATA_MAX, state=RUNNING):
        """Write the whole migration stream."""
        self.set_state(RESUMING)
        for at in range(0, len(data), piece):
            self.write_data(data[at:at + piece])
        self.set_state(state)


def eventfd():
    """Create a non-blocking eventfd."""
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


def fired(fd):
    """Return: the number of writes to an eventfd since the last call."""
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


def memory_file(size, seals=True):
    """Create a memfd of this size. With seals, the size cannot change."""
    import fcntl
    fd = os.memfd_create("region", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return fd


def path_of(fd):
    """Return: a path at which other processes can open this fd, or "-" for None."""
    return "-" if fd is None else f"/proc/{os.getpid()}/fd/{fd}"


class Device(Process):
    """serve-device (test/support/c/programs/serve_device.c), which serves one PCI function.

    memory: fd of the memory behind BAR 2, or None for no memory
    """

    def __init__(self, place, memory=None, offset=0, writable=True, name="vfio.sock", **options):
        self.path = place.dir / name
        words = [f"{key}={value}" for key, value in options.items()]
        words += [f"offset={offset}", f"writable={int(writable)}", f"memory={path_of(memory)}"]
        super().__init__([place.build / "test" / "serve-device", self.path, *words],
                         stdin=subprocess.PIPE)
        self._answers = 0
        try:
            self.out.wait("ready")
        except AssertionError:
            self.end()
            raise

    def ask(self, line):
        """Write a line to the program's standard input. Return: the answer."""
        answered = ("done", "clients=", "rung", "unknown")
        self.write(line + "\n")
        self._answers += 1
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            answers = [seen for seen in list(self.out.seen) if seen.startswith(answered)]
            if len(answers) >= self._answers:
                return answers[self._answers - 1]
            if self.popen.poll() is not None:
                break
            time.sleep(0.0005)
        raise AssertionError(f"no answer to {line!r}: {self.out.seen[-5:]} {self.err.seen[-5:]}")

    def counts(self):
        """Return: the counters of the program."""
        return {name: int(value) for name, value in
                (word.split("=") for word in self.ask("counts").split())}

    def rung(self):
        """Return: (peer, vector) of the doorbells that the guest rang since the last call."""
        return [tuple(map(int, word.split(":"))) for word in self.ask("rung").split()[1:]]

    def doorbell(self, vector):
        """Ring a vector, as a peer does."""
        self.ask(f"doorbell {vector}")

    def set_memory(self, memory=None, offset=0, writable=True):
        """Replace the memory of BAR 2."""
        self.ask(f"memory {path_of(memory)} {offset} {int(writable)}")

    def fds(self):
        """Return: the number of the program's open fds."""
        return fd_count(self.pid)

    def grows_kib(self):
        """Return: how many KiB the program may grow: a few messages, or more with sanitizers, which
        do not reuse freed memory immediately."""
        return 400 << 10 if is_sanitized(self.popen.args[0]) else 8 << 10

    def client(self, *arguments, **keywords):
        """Connect a client to this device."""
        return Client(self.path, *arguments, **keywords)

    def wait_gone(self, times):
        """Wait until the program has reported @times disconnects. Return: (result, reason) of the
        last one."""
        _, result, reason = self.out.wait("gone ", times).split(" ", 2)
        return int(result), reason

    def close(self):
        """Kill the program without checking its status. A sanitizer must not have reported
        anything."""
        self.end()
        assert not self.err.count("runtime error:"), self.err.text()

    def stop(self):
        """Let the program exit, and check for status 0. If a sanitizer has reported an error, the
        status is nonzero."""
        self.popen.stdin.close()
        status = self.wait()
        assert status == 0, f"serve-device ended with {status}: {self.err.text()}"
