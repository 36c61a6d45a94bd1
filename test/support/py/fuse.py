# SPDX-License-Identifier: BSD-3-Clause
"""A FUSE file system with one file, whose server can leave chosen requests unanswered.

When run as a program, this file is that server: fuse.py DIRECTORY. It prints "mounted", reads the
names of requests that it must leave unanswered from then on, and prints each such request.
"""
import contextlib
import ctypes
import os
import pathlib
import signal
import stat
import struct
import subprocess
import sys
import threading

SIZE = 1 << 20
NAME = "file"
ROOT, FILE = 1, 2  # node numbers
MNT_DETACH = 2

OPCODES = {"LOOKUP": 1, "FORGET": 2, "GETATTR": 3, "SETATTR": 4, "OPEN": 14, "READ": 15,
           "WRITE": 16, "STATFS": 17, "RELEASE": 18, "FLUSH": 25, "INIT": 26, "INTERRUPT": 36,
           "BATCH_FORGET": 42}
NAMES = {number: name for name, number in OPCODES.items()}
WITHOUT_REPLY = {"FORGET", "BATCH_FORGET", "INTERRUPT"}
IN_HEADER = struct.Struct("<IIQQIIIHH")
ENOSYS = 38


def attributes(node):
    """Return: the attributes of a node."""
    mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o666
    return struct.pack("<6Q10I", node, SIZE, SIZE // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096,
                       0)


def reply_to(name, node, body):
    """Return: the body of the reply to a request, or None if the request is not supported."""
    if name == "INIT":
        return struct.pack("<IIIIHHIIHHI7I", 7, 31, 65536, 0, 12, 9, 65536, 1, 0, 0, 0, *[0] * 7)
    if name == "LOOKUP":
        return struct.pack("<QQQQII", FILE, 0, 0, 0, 0, 0) + attributes(FILE)
    if name in ("GETATTR", "SETATTR"):
        return struct.pack("<QII", 0, 0, 0) + attributes(node)
    if name == "OPEN":
        return struct.pack("<QIi", 0, 0, 0)
    if name == "READ":
        return bytes(struct.unpack_from("<QQI", body)[2])
    if name == "WRITE":
        return struct.pack("<II", struct.unpack_from("<QQI", body)[2], 0)
    if name == "STATFS":
        return struct.pack("<5Q4I6I", *[0] * 5, 4096, 255, 4096, 0, *[0] * 6)
    return b"" if name in ("FLUSH", "RELEASE") else None


def serve(directory):
    """Mount the file system and answer its requests."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"ivs-test", os.fsencode(directory), b"fuse", 0, options.encode()):
        sys.exit(f"cannot mount: {os.strerror(ctypes.get_errno())}")
    print("mounted", flush=True)
    stalled = set()
    threading.Thread(target=lambda: [stalled.update(line.split()) or print("stalls", flush=True)
                                     for line in sys.stdin], daemon=True).start()
    while True:
        request = os.read(device, 1 << 20)
        _, opcode, unique, node, *_ = IN_HEADER.unpack_from(request)
        name = NAMES.get(opcode)
        if name in WITHOUT_REPLY:
            continue
        if name in stalled:
            print("stalled", name, flush=True)
            continue
        body = reply_to(name, node, request[IN_HEADER.size:])
        reply = struct.pack("<IiQ", 16 + len(body or b""), 0 if body is not None else -ENOSYS,
                            unique) + (body or b"")
        with contextlib.suppress(FileNotFoundError):  # the request was interrupted
            os.write(device, reply)


class Fuse:
    """A mounted file system. It must be closed before processes that may wait for it are ended.

    fd: its file, open for reading and writing
    """

    def __init__(self, place):
        self.directory = place.dir / "fuse"
        self.directory.mkdir()
        self._server = place.start(sys.executable, __file__, self.directory,
                                   stdin=subprocess.PIPE)
        self._server.out.wait("mounted")
        self.fd = os.open(self.directory / NAME, os.O_RDWR | os.O_CLOEXEC)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    @staticmethod
    def lacks():
        """Return: why a file system cannot be mounted here, or None if it can."""
        if os.geteuid():
            return "needs root to mount a FUSE file system"
        return None if os.path.exists("/dev/fuse") else "the kernel has no FUSE"

    def stall(self, *names):
        """Leave these requests unanswered from now on."""
        self._server.write(" ".join(names) + "\n")
        self._server.out.wait("stalls")

    def count(self, name):
        """Return: how many requests of this kind have been left unanswered."""
        return self._server.out.count(f"stalled {name}")

    @contextlib.contextmanager
    def as_region_of(self, server, *names):
        """Make a FakeServer send the file as its region, and leave these requests unanswered from
        then on. (They cannot be left unanswered earlier, because starting a process closes the fd
        in a child, which would wait.)"""
        def greet(sock):
            if names:
                self.stall(*names)
            return welcome(sock)

        welcome, server.greet = server.greet, greet
        before, server.memory = server.memory, self.fd
        try:
            yield
        finally:
            server.memory, server.greet = before, welcome

    def close(self):
        """End the server, so that the kernel fails all requests, and unmount."""
        if self._server.popen.poll() is None:
            self._server.signal(signal.SIGKILL)
            self._server.popen.wait()
        with contextlib.suppress(OSError):  # close() reports the file system's error
            os.close(self.fd)
        ctypes.CDLL(None).umount2(os.fsencode(self.directory), MNT_DETACH)


if __name__ == "__main__":
    serve(pathlib.Path(sys.argv[1]))
