# SPDX-License-Identifier: BSD-3-Clause
"""BAR 2 over vfio-user: mapped or accessed through messages; absent, read-only, truncated, or
backed by huge pages."""
import fcntl
import mmap
import os
import select
import struct
import subprocess
import sys

import pytest

from support.py import vfio_user as vfu
from support.py.vfio_user import BAR2, MMAP, READ, WRITE, Device, memory_file

SIZE = 1 << 16


def serve(place, memory=None, **options):
    """Start a device, and a client that has initialised the device the way a guest driver would."""
    device = place.add(Device(place, memory, **{"size": SIZE, **options}))
    client = place.add(device.client())
    client.start()
    return device, client


def test_mapped_memory(place):
    """Client and host each see what the other writes, without any message."""
    memory = memory_file(SIZE)
    device, client = serve(place, memory)
    mapped = client.map_memory()
    mapped[4:8] = b"here"
    assert os.pread(memory, 4, 4) == b"here"
    counts = device.counts()
    assert counts["mapped"] == 1 and counts["memory_reads"] == counts["memory_writes"] == 0


@pytest.mark.parametrize("seals", [True, False])
@pytest.mark.parametrize("offset", [0, 1 << 14])
def test_memory_with_messages(place, seals, offset):
    """Accesses through messages, of many lengths and alignments, change only the requested bytes.
    """
    memory = memory_file(SIZE + offset + 4096, seals)
    device, client = serve(place, memory, offset=offset)
    mirror = bytearray(os.urandom(SIZE))
    os.pwrite(memory, mirror, offset)
    for at in (0, 1, 7, 8, SIZE - 64):
        for count in [*range(1, 18), 63, 64]:
            assert client.read(BAR2, at, count) == mirror[at:at + count]
            data = os.urandom(count)
            client.write(BAR2, at, data)
            mirror[at:at + count] = data
    client.write(BAR2, 0, mirror)
    assert client.read(BAR2, 0, SIZE) == mirror == os.pread(memory, SIZE, offset)
    assert os.pread(memory, offset, 0) == bytes(offset)
    assert os.pread(memory, 4096, offset + SIZE) == bytes(4096)
    counts = device.counts()
    assert counts["memory_reads"] == 96 and counts["memory_writes"] == 96


def test_offset_of_the_window(place):
    """The region information for BAR 2 contains the file offset at which the client must map the
    window."""
    memory = memory_file(4 * SIZE)
    _, client = serve(place, memory, offset=SIZE)
    os.pwrite(memory, b"window", SIZE)
    mapped = client.map_memory()
    assert mapped[:6] == b"window" and len(mapped) == SIZE


def test_absent_memory(place):
    """Absent memory reads all ones, ignores writes, and cannot be mapped. Once the memory is
    present, it can be accessed through messages."""
    device, client = serve(place)
    assert client.region_info(BAR2) == (READ | WRITE, SIZE, 0, None)
    assert client.read(BAR2, 0, 9) == b"\xff" * 9
    client.write(BAR2, 0, b"lost")
    memory = memory_file(SIZE)
    os.pwrite(memory, b"come", 0)
    device.set_memory(memory)
    assert client.read(BAR2, 0, 4) == b"come"
    client.write(BAR2, 0, b"gone")
    assert os.pread(memory, 4, 0) == b"gone"
    device.set_memory(None)
    assert client.read(BAR2, 0, 4) == b"\xff" * 4


def test_memory_replaced_while_a_reply_waits(place):
    """A reply that is waiting to be sent carries the fd of the memory that was present when the
    request arrived."""
    first, second = memory_file(SIZE), memory_file(SIZE)
    device, client = serve(place, first)
    reads = 0
    # Send requests until the socket is full and the device waits for the client to read.
    while select.select([], [client.sock], [], 0.05)[1]:
        client.send(vfu.GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, BAR2, 0, 0, 0))
        reads += 1
    device.set_memory(second)
    inodes = []
    for _ in range(reads):
        reply = client.receive()
        inodes.append(os.fstat(reply.fds[0]).st_ino)
        reply.close()
    known = [os.fstat(fd).st_ino for fd in (first, second)]
    assert set(inodes) == set(known) and inodes == sorted(inodes, key=known.index)
    assert client.info() == (3, 9, 5)


def test_read_only_memory(place):
    """Read-only memory can be read and mapped. A write is answered but changes nothing."""
    memory = memory_file(SIZE)
    os.pwrite(memory, b"fixed", 0)
    _, client = serve(place, memory, writable=False)
    flags, _, _, fd = client.region_info(BAR2)
    assert flags == READ | MMAP
    assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    with pytest.raises(PermissionError):
        mmap.mmap(fd, SIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    os.close(fd)
    for data in (b"f", b"changed!", b"x" * 4096):
        client.write(BAR2, 0, data)
    assert client.read(BAR2, 0, 5) == os.pread(memory, 5, 0) == b"fixed"


@pytest.mark.parametrize("left", [0, 4096, 4099])
def test_truncated_memory(place, left):
    """If a peer has truncated the file, missing pages read as all ones and ignore writes. The
    device survives and does not extend the file."""
    memory = memory_file(SIZE, seals=False)
    os.pwrite(memory, b"\xaa" * SIZE, 0)
    device, client = serve(place, memory)
    client.read(BAR2, SIZE - 8, 8)
    os.ftruncate(memory, left)
    expected = b"\xaa" * left + b"\xff" * (SIZE - left)
    for at, count in ((SIZE - 8, 8), (4096, 1), (4096, 2), (4096, 4), (4096, 8),
                      (4098, 2), (4090, 13), (0, SIZE)):
        assert client.read(BAR2, at, count) == expected[at:at + count]
    for at, data in ((SIZE - 8, b"12345678"), (left, b"1"), (0, b"x" * SIZE)):
        client.write(BAR2, at, data)
    assert os.fstat(memory).st_size == left
    os.ftruncate(memory, SIZE)
    client.write(BAR2, SIZE - 8, b"12345678")
    assert os.pread(memory, 8, SIZE - 8) == b"12345678"
    device.stop()


@pytest.mark.usefixtures("huge_pages")
def test_memory_of_huge_pages(place):
    """A file backed by huge pages does not support write(2), but can be accessed through messages.
    If a peer truncates the file, an access does not kill the device."""
    size = 2 << 20
    memory = os.memfd_create("huge", os.MFD_CLOEXEC | os.MFD_HUGETLB)
    os.ftruncate(memory, size)
    device, client = serve(place, memory, size=size)
    client.write(BAR2, 4096, b"12345678")
    client.write(BAR2, 8, b"some more, not aligned")
    assert client.read(BAR2, 4096, 8) == b"12345678"
    assert client.read(BAR2, 8, 22) == b"some more, not aligned"
    assert client.map_memory()[4096:4104] == b"12345678"
    os.ftruncate(memory, 0)
    client.write(BAR2, 4096, b"12345678")
    assert client.read(BAR2, 4096, 8) == b"\xff" * 8
    device.stop()
    os.close(memory)


# A program for a peer: it alternates one word of the memory between two values and reads another
# word, until its standard input ends.
FLIP = """
import mmap, select, sys
fd, size, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
shared = memoryview(mmap.mmap(fd, size)).cast(kind)
ones = 256 ** shared.itemsize - 1
seen = set()
shared[0] = 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(1000):
        shared[0] = 0
        seen.add(shared[64])
        shared[0] = ones
        seen.add(shared[64])
print(*seen)
"""


@pytest.mark.parametrize("count", [2, 4, 8])
@pytest.mark.parametrize("seals", [True, False])
def test_aligned_accesses_do_not_tear(place, count, seals):
    """An aligned access made through a message is atomic with respect to a process that has the
    memory mapped, and an aligned access by that process is atomic with respect to messages."""
    memory = memory_file(SIZE, seals)
    _, client = serve(place, memory)
    values = [0, 256**count - 1]
    with subprocess.Popen([sys.executable, "-c", FLIP, str(memory), str(SIZE),
                           {2: "H", 4: "I", 8: "Q"}[count]],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          pass_fds=[memory]) as peer:
        assert peer.stdout.readline() == "ready\n"
        read = set()
        for at in range(20000):
            read.add(client.read(BAR2, 0, count))
            client.write(BAR2, 64 * count, struct.pack("<Q", values[at % 2])[:count])
        seen = set(map(int, peer.communicate()[0].split()))
    assert read == {bytes(count), b"\xff" * count} and seen == set(values)
