# SPDX-License-Identifier: BSD-3-Clause
"""A simulated client of Looking Glass B7: it maps a region and follows the protocol, LGMP 6 and
KVMFR 20."""
import ctypes
import mmap
import os
import struct
import time

from support.py.programs import TIMEOUT, wait_until

MAGIC = 0x504d474c
FRAMES = 2  # id of the queue
QUEUES_AT, QUEUE_LEN = 32, 1144
CLIENT_ID = 0x6b8b4567
ORDER = 5  # memory order "sequentially consistent"

#: Colours of the bars, from left to right
BARS = (0xc0c0c0, 0xc0c000, 0x00c0c0, 0x00c000, 0xc000c0, 0xc00000, 0x0000c0, 0x404040)

_atomic = ctypes.CDLL("libatomic.so.1")
_EXCHANGE = getattr(_atomic, "__atomic_compare_exchange_4")
_AND = getattr(_atomic, "__atomic_fetch_and_4")
_EXCHANGE.restype = ctypes.c_bool
_EXCHANGE.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_int]
_AND.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int]


class Frame:
    """A frame: its header, and its pixels as 0xRRGGBB."""

    def __init__(self, memory, at):
        (self.format, self.serial, self.type, *sizes, self.rotation, self.stride, self.pitch,
         offset, self.rectangles) = struct.unpack_from("<14I", memory, at)
        self.screen, self.data, self.shown = zip(sizes[::2], sizes[1::2])
        self.flags, = struct.unpack_from("<I", memory, at + 1080)
        self.written, = struct.unpack_from("<I", memory, at + offset)
        begin = at + offset + 4
        self._pixels = bytes(memory[begin:begin + self.pitch * self.data[1]])

    def pixel(self, x, y):
        """Return: the colour of a pixel."""
        return struct.unpack_from("<I", self._pixels, y * self.pitch + 4 * x)[0]

    def row(self, y):
        """Return: the colours of a row."""
        return struct.unpack_from(f"<{self.data[0]}I", self._pixels, y * self.pitch)

    def box(self):
        """Return: the (x, y) of the white box's upper left corner."""
        width, height = self.data
        side = min(width, height) // 6
        for y in range(0, height, side // 2):
            row = self.row(y)
            runs = [x for x in range(width - side + 1) if row[x] == 0xffffff
                    and row[x + side - 1] == 0xffffff and len(set(row[x:x + side])) == 1]
            if runs:
                x = runs[0]
                while y and self.pixel(x, y - 1) == 0xffffff:
                    y -= 1
                return x, y
        raise AssertionError("there is no white box")


class Client:
    """A client that has mapped the region and has not subscribed yet."""

    def __init__(self, path):
        fd = os.open(path, os.O_RDWR)
        self.memory = mmap.mmap(fd, os.fstat(fd).st_size)
        os.close(fd)
        self._anchor = ctypes.c_char.from_buffer(self.memory)
        self._base = ctypes.addressof(self._anchor)
        self.bit = self.queue = self.session = None
        self._next = 0

    def get(self, at, kind="I"):
        """Return: the number at an offset."""
        return struct.unpack_from("<" + kind, self.memory, at)[0]

    def put(self, at, value, kind="I"):
        """Write a number at an offset."""
        struct.pack_into("<" + kind, self.memory, at, value)

    def is_published(self):
        """Return: whether the magic number indicates a session."""
        return self.get(0) == MAGIC and self.get(4) == 6

    def wait_for_heartbeat(self):
        """Wait for the publisher's heartbeat to change."""
        before = self.get(16, "Q")
        wait_until(lambda: self.is_published() and self.get(16, "Q") != before, "a heartbeat")

    def lock(self):
        """Take the lock of the queue."""
        def taken():
            unlocked = ctypes.c_uint32(0)
            return _EXCHANGE(self._base + self.queue + 408, ctypes.byref(unlocked), 1, ORDER, ORDER)

        wait_until(taken, "the lock")

    def unlock(self):
        """Release the lock."""
        self.put(self.queue + 408, 0)

    def attach(self):
        """Subscribe to the frames, once there is a heartbeat. Return: this object."""
        self.wait_for_heartbeat()
        at = [QUEUES_AT + QUEUE_LEN * i for i in range(self.get(24))]
        self.queue = next(queue for queue in at if self.get(queue) == FRAMES)
        self.lock()
        both = self.get(self.queue + 416, "Q")
        self.bit = next(bit for bit in range(32) if not (both | both >> 32) >> bit & 1)
        self.put(self.queue + 24 + 8 * self.bit, 0, "Q")
        self.put(self.queue + 280 + 4 * self.bit, CLIENT_ID)
        self.put(self.queue + 416, both | 1 << (32 + self.bit), "Q")
        self.put(self.queue + 8, self.get(self.queue + 8) + 1)
        self._next = self.get(self.queue + 16)
        self.session = self.get(8)
        self.unlock()
        return self

    def detach(self):
        """Unsubscribe."""
        self.lock()
        both = self.get(self.queue + 416, "Q")
        self.put(self.queue + 416, both & ~(1 << (32 + self.bit)), "Q")
        self.unlock()

    def take(self):
        """Wait for a frame, read it and mark it as read. Return: the frame."""
        deadline = time.monotonic() + TIMEOUT
        while self.get(self.queue + 16) == self._next:
            assert time.monotonic() < deadline, "no frame"
            time.sleep(0.001)
        slot = self.get(self.queue + 20) + 16 * self._next
        frame = Frame(self.memory, self.get(slot + 8))
        _AND(self._base + slot + 12, 0xffffffff & ~(1 << self.bit), ORDER)
        self._next = (self._next + 1) % self.get(self.queue + 4)
        return frame

    def close(self):
        """Unmap the region, without unsubscribing."""
        self._anchor = None
        self.memory.close()
