# SPDX-License-Identifier: BSD-3-Clause
"""Images (the files that "ivshmem save" writes), valid and damaged, composed according to
src/image/format.h without any of the project's code."""
import struct

MAGIC = b"IVSSAVED"
CHUNK = 4096
PLAIN, END = 2, 3
POLYNOMIAL = 0xc96c5795d7870f42


def _table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


TABLE = _table()


def crc64(data):
    """The checksum of images."""
    value = (1 << 64) - 1
    for byte in data:
        value = value >> 8 ^ TABLE[(value ^ byte) & 0xff]
    return value ^ (1 << 64) - 1


def header(size, name=b"shm:sample", version=1, chunk=CHUNK, roster=0, saved_ms=0):
    """The header of an image, and the name."""
    start = struct.pack("<8sIIQIIQQQ", MAGIC, version, len(name), size, chunk, 0, saved_ms, roster,
                        0)
    return start + struct.pack("<Q", crc64(start + name)) + name


def record(before, kind, number, content=b""):
    """A record with its content, after a header or record with the checksum @before."""
    start = struct.pack("<IIQ", kind, len(content), number)
    total = crc64(struct.pack("<Q", before) + start + content)
    return start + struct.pack("<Q", total) + content, total


def image(region, chunk=CHUNK, **keywords):
    """An image of a small region, which is not compressed."""
    data = header(len(region), chunk=chunk, **keywords)
    name_len = struct.unpack("<I", data[12:16])[0]
    total = struct.unpack("<Q", data[56:64])[0]
    assert len(data) == 64 + name_len
    chunks = range(0, len(region), chunk)
    for number, at in enumerate(chunks):
        content = region[at:at + chunk]
        if any(content):
            piece, total = record(total, PLAIN, number, content)
            data += piece
    return data + record(total, END, len(chunks))[0]
