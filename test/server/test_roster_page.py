# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem-server --roster: the connected peers, read from the end of the region by an independent
reader (rules P-1 to P-9) and by the client program over a transport without a server."""
import ctypes
import errno
import fcntl
import mmap
import os
import random
import re
import resource
import signal
import struct
import subprocess
import threading
import time

import pytest

from support.py.clients import join
from support.py.programs import TIMEOUT, wait_until
from support.py.stuck_epoll import StuckInode
from support.py.wire import RawClient

PAGE = 4096
SIZE = 1 << 20
PAUSE = 0.0005  # seconds
LIBC = ctypes.CDLL(None, use_errno=True)
PUNCH = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


class Roster:
    """The roster page of a region, read according to the rules of PROTOCOL.md without any of the
    project's code."""

    def __init__(self, path):
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)
        self.at = len(self.map) - PAGE

    def close(self):
        self.map.close()

    def _read(self):
        header = self.map[self.at:self.at + 64]
        (magic, version, header_len, sequence, generation, table, slots, peers, reserved, flags,
         zero) = struct.unpack("<8sIIQQQIIQII", header)
        assert (magic, version, header_len, zero) == (b"IVSROSTR", 1, 64, 0)
        assert table == (self.at + 64 if slots <= 252 else len(self.map) - reserved)
        entries = struct.iter_unpack("<IIQ", self.map[table:table + 16 * slots])
        listed = {peer: (vectors, since) for peer, vectors, since in entries if since}
        again, = struct.unpack("<Q", self.map[self.at + 16:self.at + 24])
        if sequence % 2 or again != sequence:
            return None
        return generation, peers, bool(flags & 1), listed

    def read(self):
        """Return a consistent copy of the page: (generation, peers, maintained,
        {id: (vectors, since)})."""
        deadline = time.monotonic() + TIMEOUT
        while not (found := self._read()):
            assert time.monotonic() < deadline, "the server writes continuously"
            time.sleep(PAUSE)  # the server may have been stopped while writing
        return found

    def ids(self):
        return sorted(self.read()[3])

    def shows(self, ids):
        """Return true if the page is valid and has exactly these entries."""
        try:
            return self.ids() == ids
        except AssertionError:
            return False


def roster(where, path=None):
    return where.add(Roster(path or where.shm_path))


def watch(where):
    """Run the client program on a plain mapping of the region, without a connection to the
    server."""
    client = where.start(where.client_program, "-v", "-a", f"shm:{where.shm}",
                         stdin=subprocess.PIPE)
    client.out.wait("peer -1 through shm")
    return client


def make_region(where, size=SIZE):
    """Create a region that exists before the server starts and after it exits."""
    with open(where.shm_path, "wb") as file:
        file.truncate(size)


def test_joins_and_leaves_are_in_the_region(place):
    """P-1, P-2, P-5, P-6: the page contains each peer's id, vectors and generation; each join or
    leave adds 1 to the generation."""
    server = place.server("-n", "2", "--roster", "-l", "1M")
    shown = roster(place)
    start, peers, kept, listed = shown.read()
    assert (peers, kept, listed) == (0, True, {})
    a, b = join(place, 2), join(place, 2)
    wait_until(lambda: shown.read()[1] == 2, "the page shows both peers")
    assert shown.read() == (start + 2, 2, True, {a.id: (2, start + 1), b.id: (2, start + 2)})
    a.close()
    wait_until(lambda: shown.read()[1] == 1, "the page shows only the second peer")
    assert shown.read() == (start + 3, 1, True, {b.id: (2, start + 2)})
    server.stop()
    assert shown.read() == (start + 3, 1, False, {b.id: (2, start + 2)})  # P-7


def test_messages_are_the_same_with_a_roster_page(place):
    """Clients get the same messages with and without a roster page (W-1 to W-7)."""
    def hear(*options):
        server = place.server("-n", "2", "-l", "1M", *options)
        first, second = join(place, 2), join(place, 2)
        first.read_until_knows([second.id])
        assert first.hears_nothing() and second.hears_nothing()
        history = first.history, second.history
        first.close()
        second.close()
        server.stop()
        return history

    assert hear() == hear("--roster")


def test_page_is_consistent_during_a_storm(place):
    """P-4: the page is consistent at any moment, and shows the current roster at the end."""
    place.server("-n", "1", "--roster", "-l", "1M")
    shown = roster(place)
    done = threading.Event()
    wrong = []

    def read():
        last = 0
        while not done.is_set():
            generation, peers, kept, listed = shown.read()
            if not kept or peers != len(listed) or generation < last or any(
                    since > generation for _, since in listed.values()):
                wrong.append((last, generation, peers, listed))
            last = generation

    reader = threading.Thread(target=read)
    reader.start()
    try:
        stay = join(place, 1)
        for _ in range(15):
            crowd = [join(place, 1) for _ in range(8)]
            for client in crowd:
                client.close()
        wait_until(lambda: shown.read()[1] == 1, "the crowd is gone")
    finally:
        done.set()
        reader.join()
    assert not wrong, wrong[:3]
    assert shown.ids() == [stay.id]


def test_process_beside_the_region_sees_joins_and_leaves(place):
    """P-8: a process that only reads the region gets the same events as a client of the server."""
    server = place.server("-n", "2", "--roster")
    client = watch(place)
    first = place.start_client()
    client.out.wait("peer 0 joined with 2 vectors")
    second = place.start_client()
    client.out.wait("peer 1 joined with 2 vectors")
    first.write("quit\n")
    client.out.wait("peer 0 left")
    client.write("dump\n")
    client.out.wait("peer     1  2 vectors")
    client.out.wait("roster      page in the region: generation 4, 1 connected, 1 listed")
    assert "region      4M, of which the last 4 KiB are reserved" in client.out.seen
    assert not client.out.count("no roster")
    server.stop()
    client.err.wait("the server is gone")
    client.write("dump\n")
    client.out.wait("no roster: the server that maintained the roster page in the region has "
                    "exited")
    assert client.out.count("peer     1  2 vectors") == 2
    assert not client.out.count("peer 1 left")
    second.write("quit\n")


def test_another_server_continues_the_page(place):
    """P-5, P-7: when another server takes over the page, its readers see that all earlier peers
    have left, and which new ones have joined."""
    make_region(place)
    server = place.server("-n", "1", "--roster", "-l", "1M")
    client = watch(place)
    place.start_client()
    client.out.wait("peer 0 joined with 1 vectors")
    server.stop()
    client.err.wait("the server is gone")
    place.server("-n", "3", "--roster", "-l", "1M")
    client.out.wait("peer 0 left")
    place.start_client()
    client.out.wait("peer 0 joined with 3 vectors")
    client.write("dump\n")
    client.out.wait("roster      page in the region")
    assert not client.out.count("no roster")


def test_killed_server_leaves_the_generation(place):
    """P-7: when a server is killed, the page stays as it is; the next server on that region
    continues its generation."""
    make_region(place)
    server = place.server("-n", "1", "--roster", "-l", "1M")
    shown = roster(place)
    join(place, 1)
    wait_until(lambda: shown.read()[1] == 1, "the page shows the peer")
    before = shown.read()
    server.signal(signal.SIGKILL)
    server.wait()
    assert shown.read() == before
    place.server("-n", "1", "--roster", "-l", "1M")
    assert shown.read() == (before[0] + 1, 0, True, {})


def test_second_server_by_mistake_changes_nothing(place):
    """A second server with the same socket and region exits before it writes to the region."""
    make_region(place)
    place.server("-n", "1", "--roster", "-l", "1M")
    shown = roster(place)
    join(place, 1)
    wait_until(lambda: shown.read()[1] == 1, "the page shows the peer")
    before = shown.read()
    done = place.run_server("-F", "-S", place.socket, "-M", place.shm, "-l", "1M", "--roster")
    assert done.returncode == 1
    assert shown.read() == before


def test_peers_without_vectors_are_shown(place):
    """P-6: the page also lists peers without vectors, which messages to clients do not mention
    (W-12)."""
    place.server("-n", "0", "--roster")
    client = watch(place)
    with RawClient(str(place.socket)) as peer:
        peer.next()
        client.out.wait("peer 0 joined with 0 vectors")
    client.out.wait("peer 0 left")


def test_more_peers_than_entries(place):
    """P-2: peers without an entry are counted, and get an entry when one is free."""
    place.server("-n", "1", "--roster-peers", "2", "-l", "1M")
    shown = roster(place)
    peers = [join(place, 1) for _ in range(4)]
    wait_until(lambda: shown.read()[1] == 4, "the page counts all peers")
    assert shown.ids() == [0, 1]
    client = watch(place)
    client.write("dump\n")
    client.out.wait("4 connected, 2 listed")
    peers[0].close()
    client.out.wait("peer 0 left")
    client.out.wait("peer 2 joined")
    assert shown.ids() == [1, 2]


def test_large_page(place):
    """P-3: a large table begins before the region's last page; the client program shows how much of
    the region is reserved."""
    place.server("-n", "1", "--roster-peers", "65536", "-l", "4M")
    shown = roster(place)
    peer = join(place, 1)
    wait_until(lambda: shown.ids() == [peer.id], "the page shows the peer")
    assert place.run_client("-c", "dump").stdout.count("the last 1028 KiB are reserved") == 1


def test_example_meet_does_not_touch_the_roster_page(place):
    """The example "meet" divides only the bytes before the roster page among its processes, none of
    which writes to the page."""
    place.server("-n", "1", "-l", "1M", "--roster")
    shown = roster(place)
    meeting = [place.start(place.build / "examples" / "meet", "-n", "2", "-a", f"peer-{n}", "-r",
                           "50", f"unix:{place.socket}") for n in range(2)]
    for process in meeting:
        assert process.wait() == 0, process.err.text()
    wait_until(lambda: shown.read()[1] == 0, "the page shows no peers")
    assert shown.read()[0] >= 4


@pytest.mark.parametrize("options, status, message", [
    (["--roster", "-l", "4K"], 1,
     "a roster of 252 peers needs 4K, more than half of a region of 4K: use "
     "--size 8K or more, or a lower --roster-peers"),
    (["--roster-peers", "65536"], 1, "--size 4M or more"),
    (["--roster-peers", "0"], 2, 'invalid number of clients "0": use 1 to 65536'),
    (["--roster-peers", "65537"], 2, 'invalid number of clients "65537"'),
    (["--roster=7"], 2, "--roster"),
])
def test_impossible_sizes_are_errors(place, options, status, message):
    """If the region is too small for the roster or a number is invalid, the error message contains
    the numbers, and no files are left."""
    done = place.run_server("-F", "-S", place.socket, "-M", place.shm, "-l", "1M", *options)
    assert done.returncode == status
    assert message in done.stderr
    assert not place.shm_path.exists() and not place.socket.exists()


def test_file_size_limit_does_not_matter(place):
    """The server updates the page of a region that is larger than the limit set by "ulimit -f"."""
    server = place.server("-n", "1", "--roster", "-l", "1M")
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (PAGE, PAGE))
    shown = roster(place)
    join(place)
    wait_until(lambda: shown.shows([0]), "the page shows the peer")


def test_client_truncates_the_region(place):
    """P-9: after a client has truncated the region, the server continues, reports it once, and does
    not grow the region; when the region has been grown, it writes the whole page."""
    server = place.server("-n", "1", "--roster", "-l", "1M")
    stay = join(place, 1)
    before = roster(place)
    wait_until(lambda: before.ids() == [stay.id], "the page is complete")
    os.truncate(place.shm_path, PAGE)
    for _ in range(3):
        with RawClient(str(place.socket), 1) as client:
            client.greeting()
        server.err.wait("cannot publish the roster in the region")
    assert place.shm_path.stat().st_size == PAGE
    os.truncate(place.shm_path, SIZE)
    server.err.wait("the roster is published again")
    shown = roster(place)
    wait_until(lambda: shown.ids() == [stay.id], "the page shows the peer again")
    assert server.err.count("cannot publish the roster") == 1
    server.stop()


def set_flag(client, flag):
    """Set a flag on the region's open file, which the client shares with all processes that have
    the fd."""
    try:
        fcntl.fcntl(client.memory, fcntl.F_SETFL,
                    fcntl.fcntl(client.memory, fcntl.F_GETFL) | flag)
    except OSError as error:
        assert error.errno == errno.EINVAL
        pytest.skip("the region's file system has no such flag")


@pytest.mark.parametrize("kind, flag", [("memfd", "O_APPEND"), ("shm", "O_APPEND"),
                                        ("file", "O_APPEND"), ("file", "O_DIRECT")])
def test_client_sets_flags_of_the_regions_open_file(place, kind, flag):
    """A client sets a flag on the region's open file. This neither keeps the server from writing
    the page nor makes the region longer, even after an upgrade. At exit the server marks the page
    as not maintained."""
    path = {"memfd": None, "shm": place.shm_path, "file": place.dir / "region"}[kind]
    region = {"memfd": "memfd:", "shm": f"shm:{place.shm}", "file": f"file:{path}"}[kind]
    server = place.server("-n", "1", "--roster", region=["-r", region, "-l", "1M"])
    hostile = join(place)
    shown = roster(place, f"/proc/self/fd/{hostile.memory}")
    set_flag(hostile, getattr(os, flag))
    clients = [hostile, join(place)]
    wait_until(lambda: shown.shows([0, 1]), "the page shows a join")
    server.signal(signal.SIGUSR2)
    server.err.wait("resumed 2 of 2 clients")
    clients.append(join(place))
    wait_until(lambda: shown.shows([0, 1, 2]), "the page shows a join after an upgrade")
    hostile.close()
    wait_until(lambda: shown.shows([1, 2]), "the page shows that the hostile client has left")
    assert os.fstat(clients[1].memory).st_size == SIZE
    assert server.err.count("cannot publish") == 0
    server.stop()
    assert shown.read()[2] is False


@pytest.mark.parametrize("kind", ["memfd", "shm", "file"])
def test_client_holds_the_lock_of_the_regions_inode(place, kind):
    """A client holds the lock that each write(2) to the region takes. The server nevertheless
    updates the page, greets clients and exits, even after an upgrade."""
    path = {"memfd": None, "shm": place.shm_path, "file": place.dir / "region"}[kind]
    region = {"memfd": "memfd:", "shm": f"shm:{place.shm}", "file": f"file:{path}"}[kind]
    if path:  # otherwise the server removes the file at exit, and unlink(2) takes the lock, too
        path.write_bytes(bytes(SIZE))
    server = place.server("-n", "1", "--roster", region=["-r", region, "-l", "1M"])
    hostile = join(place)
    shown = roster(place, f"/proc/self/fd/{hostile.memory}")
    with StuckInode(hostile.memory):
        join(place)
        wait_until(lambda: shown.shows([0, 1]), "the page shows a join")
        server.signal(signal.SIGUSR2)
        server.err.wait("resumed 2 of 2 clients")
        join(place)
        wait_until(lambda: shown.shows([0, 1, 2]), "the page shows a join after an upgrade")
        hostile.close()
        wait_until(lambda: shown.shows([1, 2]), "the page shows that the hostile client has left")
        server.stop()
        assert shown.read()[2] is False


@pytest.fixture
def small_disk(place):
    """A file system with room for little more than a region."""
    disk = place.dir / "disk"
    disk.mkdir()
    done = place.run("mount", "-t", "tmpfs", "-o", f"size={SIZE + 4 * PAGE}", "none", disk)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield disk
    place.end_all()
    place.run("umount", disk)


def test_client_punches_a_hole(place, small_disk):
    """A client punches a hole into the roster page while the disk has no room to fill it. The
    server continues, reports the hole once, and writes the whole page when there is room again."""
    path, filler = small_disk / "region", small_disk / "filler"
    server = place.server("-n", "1", "--roster", region=["-r", f"file:{path}", "-l", "1M"])
    hostile = join(place)
    wait_until(lambda: roster(place, path).shows([0]), "the page shows the peer")
    assert not LIBC.fallocate(hostile.memory, PUNCH, ctypes.c_long(SIZE - PAGE),
                              ctypes.c_long(PAGE))
    with open(filler, "wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(PAGE))
    stay = join(place)
    server.err.wait("cannot publish the roster in the region, retrying once a second: the region "
                    "has a hole")
    filler.unlink()
    server.err.wait("the roster is published again")
    assert roster(place, path).ids() == [0, stay.id]
    assert server.err.count("cannot publish the roster") == 1
    server.stop()


def test_client_writes_garbage_to_the_page(place):
    """P-9: regardless of what other processes write to the page, server and readers survive; the
    next change to the roster repairs the page."""
    server = place.server("-n", "2", "--roster")
    shown = roster(place)
    client = watch(place)
    chance = random.Random(7)
    done = threading.Event()

    def scribble():
        while not done.is_set():
            at = shown.at + chance.choice([0, 8, 16, 24, 32, 40, 44, 48, 56]
                                          + [64 + 4 * n for n in range(8)])
            shown.map[at:at + 8] = chance.choice([
                bytes(8), b"\xff" * 8, chance.randbytes(8), struct.pack("<Q", chance.randrange(9)),
                struct.pack("<II", 65535, 65536), struct.pack("<Q", len(shown.map))])

    writer = threading.Thread(target=scribble)
    writer.start()
    try:
        for _ in range(10):
            with RawClient(str(place.socket), 2) as peer:
                peer.greeting()
            client.write("dump\nint 3 1\n")
    finally:
        done.set()
        writer.join()
    client.write("dump\n")
    stay = join(place, 2)
    # The server writes the page after it has sent clients their messages; until then the page may
    # contain garbage.
    wait_until(lambda: shown.shows([stay.id]), "the table is correct again")
    client.out.wait(f"peer {stay.id} joined with 2 vectors")
    client.write("quit\n")
    assert client.wait() in (0, 1)  # without a server, ringing is refused
    server.stop()


def test_half_written_page_is_reported(place):
    """P-4: if a server was killed while writing the page, a reader gives up within a bounded time
    and reports it."""
    make_region(place)
    server = place.server("-n", "1", "--roster", "-l", "1M")
    shown = roster(place)
    server.signal(signal.SIGKILL)
    server.wait()
    shown.map[shown.at + 16] |= 1
    done = place.run(place.client_program, "-a", f"shm:{place.shm}", "-c", "dump")
    assert done.returncode == 0
    assert "roster      page in the region, incomplete" in done.stdout
    assert "the last 4 KiB are reserved" in done.stdout
    place.server("-n", "1", "--roster", "-l", "1M")
    assert shown.read()[1:] == (0, True, {})


def test_other_contents_are_not_taken_for_a_roster(place):
    """Other contents of the last page are not mistaken for a roster, even if they begin with its
    magic number."""
    make_region(place)
    with open(place.shm_path, "r+b") as file:
        file.seek(SIZE - PAGE)
        file.write(b"IVSROSTR" + b"\x01\0\0\0" * 30)
    done = place.run(place.client_program, "-a", f"shm:{place.shm}", "-c", "dump")
    assert re.search(r"^region      1M$", done.stdout, re.MULTILINE)
    assert "no roster: a plain region" in done.stdout
