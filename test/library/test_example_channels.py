# SPDX-License-Identifier: BSD-3-Clause
"""The examples `chat`, `sensor`, `copy` and `frames`, one for each kind of channel: their output
and errors."""
import fcntl
import os
import re
import signal
import struct
import subprocess
import termios

import pytest

from support.py.lingering import stopped
from support.py.programs import wait_until

HUGE = 24 * 3600 * 1000  # a period that does not end during a test
USAGE = {
    "chat": "usage: chat ADDRESS NAME [SECTION]\n",
    "sensor": "usage: sensor ADDRESS publish [PERIOD_MS [SECTION]]\n"
              "       sensor ADDRESS watch [newest] [last] [SECTION]\n",
    "copy": "usage: copy ADDRESS send FILE [SECTION] | copy ADDRESS receive FILE [SECTION]\n",
    "frames": "usage: frames ADDRESS produce WIDTHxHEIGHT [FPS [SECTION]]\n"
              "       frames ADDRESS show [SECTION]\n",
}
MISTAKES = {
    "chat": ["", "alice x", "alice 1 2"],
    "sensor": ["", "read", "publish 0", "publish -1", "publish 86400001", "publish 1000 x",
               "publish 1000 1 2", "watch all", "watch last 1 newest", "watch 65536"],
    "copy": ["", "send", "receive", "move file", "send file x", "receive file 1 2"],
    "frames": ["", "produce", "watch", "produce 640", "produce 640x", "produce x480",
               "produce 0x480", "produce 640x480x", "produce 16385x1", "produce 640x480 0",
               "produce 640x480 1001", "produce 640x480 60 x", "show x", "show 1 2"],
}
CALLS = [("chat", "alice"), ("sensor", "publish"), ("sensor", "watch"), ("copy", "send /dev/null"),
         ("frames", "produce 8x8"), ("frames", "show")]


@pytest.fixture
def start(place):
    """Return: start(name, words, section=None), which starts an example. Without a section, its
    address is that of the test's server; otherwise it is a plain region."""
    def begin(name, words, section=None, **options):
        address = f"unix:{place.socket}" if section is None else plain_region(place)
        last = [] if section is None else [section]
        return place.start(place.build / "examples" / name, address, *words.split(), *last,
                           **options)

    return begin


@pytest.fixture
def publish(place):
    """Return: publish(name, message), which publishes any bytes to the subscribers of a topic."""
    def begin(name, message):
        process = place.start(place.build / "tools/ivshmem", "publish", f"unix:{place.socket}",
                              name, "--linger", 3600, stdin=subprocess.PIPE)
        process.popen.stdin.buffer.write(message + b"\n")
        process.popen.stdin.close()
        return process

    return begin


def plain_region(where, size=4 << 20):
    """Create a region without a server, unless it exists. Return: its address."""
    if not where.shm_path.exists():
        with open(where.shm_path, "wb") as file:
            file.truncate(size)
    return f"shm:{where.shm}"


# All examples

@pytest.mark.parametrize("name", USAGE)
def test_usage(place, name):
    """With --help an example exits with status 0; with wrong arguments it prints the same text and
    exits with status 2 before it opens anything."""
    done = place.run(place.build / "examples" / name, "--help")
    assert (done.returncode, done.stdout, done.stderr) == (0, USAGE[name], "")
    for words in MISTAKES[name]:
        done = place.run(place.build / "examples" / name, "unix:/nonexistent", *words.split())
        assert (done.returncode, done.stdout, done.stderr) == (2, "", USAGE[name]), words


@pytest.mark.parametrize("name, words", CALLS)
def test_missing_server_and_section(place, start, name, words):
    """Without a server an example says how to start one; without an id it asks for a section."""
    process = start(name, words)
    assert process.wait() == 1
    assert process.err.text().startswith(f"{name}: no server is listening at {place.socket}: start")
    done = place.run(place.build / "examples" / name, plain_region(place), *words.split())
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{name}: the peer has no id, so say which section it uses")


@pytest.mark.parametrize("name, words", CALLS)
def test_other_content(place, start, name, words):
    """An example does not overwrite a region that has other content."""
    plain_region(place)
    place.shm_path.write_bytes(b"content".ljust(4 << 20, b"\0"))
    before = {"publish": "publish 1000", "produce 8x8": "produce 8x8 60"}.get(words, words)
    process = start(name, before, section=0)
    assert process.wait() == 1
    assert "the region has other content" in process.err.text()
    assert place.shm_path.read_bytes() == b"content".ljust(4 << 20, b"\0")


# chat

def join(start, name, section=None):
    """Start a chat whose standard input is a pipe, and wait until it has joined."""
    process = start("chat", name, section, stdin=subprocess.PIPE)
    process.out.wait("chat: I am ")
    return process


def leave(process):
    """End the input of a chat, and check that it ends."""
    process.popen.stdin.close()
    assert (process.wait(), process.err.text()) == (0, "")


@pytest.mark.parametrize("plain", [False, True], ids=["unix", "shm"])
def test_chat(place, start, plain):
    """Each peer prints the lines of all others in order, and which peers join and leave."""
    if not plain:
        place.server()
    names = ["alice", "bob", "carol"]
    peers = [join(start, name, number if plain else None) for number, name in enumerate(names)]
    for number, peer in enumerate(peers):
        for other, name in enumerate(names):
            if other != number:
                peer.out.wait(f"{other} {name} has joined")
    for number, peer in enumerate(peers):
        peer.write(f"one from {names[number]}\n\ntwo\n")
    for number, peer in enumerate(peers):
        for other, name in enumerate(names):
            if other != number:
                peer.out.wait(f"{other} {name}: two")
                lines = [line for line in peer.out.seen if line.startswith(f"{other} ")]
                assert lines == [f"{other} {name} has joined", f"{other} {name}: one from {name}",
                                 f"{other} {name}: two"]
    leave(peers.pop(0))
    for peer in peers:
        peer.out.wait("0 alice has left")
    peers.append(join(start, "dave", 0 if plain else None))
    for peer in peers[:2]:
        peer.out.wait("0 dave has joined")
    for peer in peers:
        leave(peer)


def test_chat_newcomer_sees_the_last_line(place, start):
    """A peer that joins later prints the last line of each peer that is there."""
    place.server()
    first = join(start, "alice")
    watcher = join(start, "carol")
    watcher.out.wait("0 alice has joined")
    first.write("one\ntwo\n")
    watcher.out.wait("0 alice: two")
    newcomer = join(start, "bob")
    newcomer.out.wait("0 alice: two")
    newcomer.out.wait("1 carol has joined")
    assert sorted(newcomer.out.seen) == ["0 alice: two", "1 carol has joined", "chat: I am 2 bob"]


def test_chat_killed_peer(place, start):
    """The others are told when a peer is killed, and continue."""
    place.server()
    first, second, third = (join(start, name) for name in ("alice", "bob", "carol"))
    for other in second, third:
        other.out.wait("0 alice has joined")
    first.end()
    for other in second, third:
        other.out.wait("0 alice has left")
    third.out.wait("1 bob has joined")
    second.write("still here\n")
    third.out.wait("1 bob: still here")


def test_chat_does_not_wait_for_a_stopped_peer(place, start):
    """A peer that is stopped delays nobody. It prints how many lines it has missed."""
    place.server()
    first, second, third = (join(start, name) for name in ("alice", "bob", "carol"))
    for other in second, third:
        other.out.wait("0 alice has joined")
    with stopped(second):
        for number in range(1, 101):
            first.write(f"{number}\n")
            third.out.wait(f"0 alice: {number}")
    second.out.wait("0 alice: 100")
    missed = re.fullmatch(r"0 alice: missed (\d+) lines", second.out.wait("missed"))
    lines = [line for line in second.out.seen if re.fullmatch(r"0 alice: \d+", line)]
    assert missed and int(missed[1]) + len(lines) == 100
    assert lines == [f"0 alice: {n}" for n in range(101 - len(lines), 101)]


def test_chat_input(place, start):
    """Lines arrive in pieces, long ones are split, and the last one may have no newline. No
    terminal escape sequences are printed, in names either."""
    place.server()
    first = join(start, "al\33ice")
    second = join(start, "bob")
    second.out.wait("0 al?ice has joined")
    first.write("pie")
    wait_until(lambda: not has_input(first), "the piece has been read")
    first.write("ce\n" + "x" * 300 + "\n\33[2J\nend")
    leave(first)
    second.out.wait("0 al?ice has left")
    assert second.out.seen[1:] == [
        "0 al?ice has joined", "0 al?ice: piece", "0 al?ice: " + "x" * 231, "0 al?ice: " + "x" * 69,
        "0 al?ice: ?[2J", "0 al?ice: end", "0 al?ice has left"]


def test_chat_other_messages(place, start, publish):
    """A peer whose messages are too long for the chat is ignored; shorter ones are skipped."""
    place.server()
    first = join(start, "alice")
    publish("chat of 1", b"x" * 1000)
    first.out.wait("chat: peer 1 does not send lines: ignoring it")
    publish("chat of 2", b"short")
    place.servers()[-1].err.wait("joined", 3)
    last = join(start, "bob")
    first.out.wait("3 bob has joined")
    last.out.wait("0 alice has joined")
    last.out.wait("chat: peer 1 does not send lines: ignoring it")
    assert len(first.out.seen) == 3 and len(last.out.seen) == 3


def test_chat_number_of_peers(place):
    """A peer whose number is too large for the chat is refused."""
    done = place.run(place.build / "examples/chat", plain_region(place, 64 << 20), "alice", 32)
    assert (done.returncode, done.stderr) == (1, "chat: only the peers 0 to 31 can chat\n")


def has_input(process):
    """Return: whether the pipe to the program's standard input has unread bytes."""
    count = bytearray(4)
    fcntl.ioctl(process.popen.stdin, termios.FIONREAD, count)
    return any(count)


# sensor

READING = re.compile(r"\d\d:\d\d:\d\d reading (\d+): -?\d+\.\d degrees( \(computed\))?")


def numbers(process):
    """Return: the numbers of the readings that a program has printed."""
    found = [READING.fullmatch(line) for line in process.out.seen]
    return [int(match[1]) for match in found if match]


def wait_for_reading(process, number):
    """Wait until a program has printed this reading, or a later one."""
    wait_until(lambda: (numbers(process) or [0])[-1] >= number, f"reading {number} is printed")


def check_readings(process):
    """Check that no reading is out of order, and that each gap has been reported."""
    expected = None
    for line in process.out.seen[1:]:
        missed = re.fullmatch(r"sensor: (\d+) readings (missed|skipped)", line)
        if missed and expected:
            expected += int(missed[1])
        elif not missed:
            number = int(READING.fullmatch(line)[1])
            assert expected in (None, number), process.out.seen
            expected = number + 1


@pytest.mark.parametrize("plain", [False, True], ids=["unix", "shm"])
def test_sensor(place, start, plain):
    """Each watcher prints all readings in order, and says when the publisher has left. Another
    publisher may follow."""
    if not plain:
        place.server()
    watchers = [start("sensor", "watch", number if plain else None) for number in range(2)]
    for watcher in watchers:
        watcher.out.wait("sensor: waiting for readings")
    publisher = start("sensor", "publish 10", 2 if plain else None)
    for watcher in watchers:
        wait_for_reading(watcher, 20)
        check_readings(watcher)
    where = publisher.out.wait("sensor: publishing ")
    assert "a computed curve, without a sensor" in where or "/sys/" in where
    lines = [line for line in watchers[0].out.seen if READING.fullmatch(line)]
    assert {"(computed)" in line for line in lines} == {"curve" in where}
    publisher.end()
    if not plain:  # on a plain region, only the next holder of its section shows that it is gone
        watchers[0].out.wait("sensor: the publisher has left")
    publisher = start("sensor", f"publish {HUGE}", 2 if plain else None)
    watchers[0].out.wait("sensor: the publisher has left")
    publisher.out.wait("sensor: publishing ")
    last = start("sensor", "watch last", 3 if plain else None)
    last.out.wait(" reading 1: ")


def test_sensor_missed(place, start):
    """A watcher that is stopped prints how many readings it has missed, and continues with an
    older one that is left; with the option newest, it continues with the newest one."""
    place.server()
    watchers = [start("sensor", words) for words in ("watch", "watch newest")]
    other = start("sensor", "watch")
    start("sensor", "publish 5")
    for process in (*watchers, other):
        wait_for_reading(process, 1)
    with stopped(watchers[0]), stopped(watchers[1]):
        before = numbers(other)[-1]
        wait_for_reading(other, before + 100)
    for watcher, what in zip(watchers, ("missed", "skipped")):
        watcher.out.wait(f" readings {what}")
        wait_for_reading(watcher, before + 150)
        check_readings(watcher)
        lines = [line for line in watcher.out.seen if what in line]
        assert sum(int(line.split()[1]) for line in lines) > 80


def test_sensor_other_messages(place, start, publish):
    """A message that is not a reading is an error, whether it is shorter or longer."""
    for message in b"hi", b"x" * 100:
        place.server()
        watcher = start("sensor", "watch last")
        watcher.out.wait("sensor: waiting for readings")
        publisher = publish("temperature", message)
        assert watcher.wait() == 1
        assert watcher.err.text().startswith("sensor: cannot receive: ")
        publisher.end()
        place.servers()[-1].stop()
        place.shm_path.unlink(missing_ok=True)


# copy

@pytest.mark.parametrize("plain", [False, True], ids=["unix", "shm"])
@pytest.mark.parametrize("sender_first", [False, True], ids=["receiver-first", "sender-first"])
def test_copy(place, start, plain, sender_first):
    """The copy has the same bytes and the permissions of a new file; it replaces an older one."""
    if not plain:
        place.server()
    path, copy = place.dir / "file", place.dir / "out" / "copy"
    copy.parent.mkdir()
    copy.write_bytes(b"old")
    copy.chmod(0o600)
    for size in 0, 1, 3 << 20:
        path.write_bytes(os.urandom(size))
        calls = [f"send {path}", f"receive {copy}"]
        first = start("copy", calls[not sender_first], 0 if plain else None)
        second = start("copy", calls[sender_first], 1 if plain else None)
        for process in first, second:
            assert (process.wait(), process.err.text()) == (0, "")
        assert {first.out.text(), second.out.text()} == {f"copy: sent {size} bytes",
                                                         f"copy: received {size} bytes"}
        assert copy.read_bytes() == path.read_bytes()
        assert copy.stat().st_mode == path.stat().st_mode
        assert os.listdir(copy.parent) == ["copy"]


class Transfer:
    """A copy of which a part has been transferred: the sender reads from a pipe."""

    def __init__(self, place, start):
        self.copy = place.dir / "out" / "copy"
        self.copy.parent.mkdir()
        self.copy.write_bytes(b"old")
        os.mkfifo(place.dir / "pipe")
        self.receiver = start("copy", f"receive {self.copy}")
        self.sender = start("copy", f"send {place.dir / 'pipe'}")
        self.pipe = open(place.dir / "pipe", "wb", buffering=0)
        place.add(self.pipe)
        self.pipe.write(bytes(1000))
        wait_until(lambda: any(path.stat().st_size == 1000 for path in self.parts()),
                   "the bytes have been received")

    def parts(self):
        """Return: the temporary files."""
        return [path for path in self.copy.parent.iterdir() if path != self.copy]

    def check_failed(self, receiver, sender):
        """Check that a program printed this (None: it was killed), and that no file has changed."""
        for process, text in (self.receiver, receiver), (self.sender, sender):
            if text:
                assert process.wait() == 1
                assert process.err.text().startswith(text), process.err.text()
        assert self.copy.read_bytes() == b"old"
        assert not self.parts()


@pytest.fixture
def transfer(place, start):
    """A Transfer by way of a server."""
    place.server()
    return Transfer(place, start)


def test_copy_sender_is_killed(transfer):
    """If the sender is killed, the receiver fails, and keeps the older file."""
    transfer.sender.end()
    transfer.check_failed("copy: the file is not complete: ", None)


def test_copy_sender_is_stopped(transfer):
    """If a signal ends the sender, both sides fail, because the file is not complete."""
    transfer.sender.signal(signal.SIGTERM)
    transfer.pipe.close()
    transfer.check_failed("copy: the file is not complete: ", "copy: /")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_copy_receiver_is_stopped(transfer, number):
    """If a signal ends the receiver, it removes its temporary file, and the sender fails."""
    transfer.receiver.signal(number)
    assert transfer.receiver.wait() == 1
    transfer.pipe.close()
    transfer.check_failed(f"copy: the file is not complete: stopped by signal {number}", "copy: ")


def test_copy_receiver_is_killed(transfer):
    """If the receiver is killed, the sender fails. The older file is still there."""
    transfer.receiver.end()
    transfer.pipe.close()
    assert transfer.sender.wait() == 1
    assert transfer.copy.read_bytes() == b"old"


def test_copy_cannot_be_stored(transfer):
    """If the receiver cannot rename the file, both sides fail."""
    moved = transfer.copy.parent.rename(transfer.copy.parent.with_name("moved"))
    transfer.pipe.close()
    assert transfer.receiver.wait() == transfer.sender.wait() == 1
    assert transfer.receiver.err.text() == f"copy: {transfer.copy}: No such file or directory"
    assert transfer.sender.err.text().startswith("copy: the receiver has not stored the file: ")
    assert (moved / "copy").read_bytes() == b"old"


def test_copy_progress(fast_clock, place, start):
    """A program that takes longer prints its progress."""
    del fast_clock
    place.server()
    transfer = Transfer(place, start)
    transfer.receiver.err.wait("copy: 0 MiB, 0 MiB per second", 2)
    transfer.pipe.close()
    assert transfer.receiver.wait() == transfer.sender.wait() == 0
    assert transfer.copy.read_bytes() == bytes(1000)


@pytest.mark.parametrize("path, text", [
    ("/dev/null", "exists, and is not a regular file"), (".", "exists, and is not a regular file"),
    ("/nonexistent/file", "No such file or directory"), ("/" + "x" * 5000, "File name too long")],
    ids=["device", "directory", "nonexistent", "long"])
def test_copy_receiver_errors(place, start, path, text):
    """A file that cannot be written, or must not be replaced, is an error before anything is
    received."""
    place.server()
    process = start("copy", f"receive {path}")
    assert process.wait() == 1
    assert text in process.err.text()


def test_copy_sender_errors(place, start):
    """A file that cannot be read is an error."""
    place.server()
    process = start("copy", f"send {place.dir / 'missing'}")
    assert process.wait() == 1
    assert process.err.text() == f"copy: {place.dir / 'missing'}: No such file or directory"
    receiver = start("copy", f"receive {place.dir / 'file'}")
    process = start("copy", f"send {place.dir}")
    assert process.wait() == receiver.wait() == 1
    assert process.err.text() == f"copy: {place.dir}: Is a directory"
    assert not (place.dir / "file").exists()


# frames

REPORT = re.compile(r"frames: ([\d.]+) per second, (\d+) of (\d+) in place, (\d+) missed, "
                    r"(\d+) wrong")


def reports(process):
    """Return: what a program has printed each second: frames in place, frames, missed, wrong."""
    found = [REPORT.fullmatch(line) for line in process.out.seen]
    return [tuple(map(int, match.groups()[1:])) for match in found if match]


@pytest.mark.parametrize("plain", [False, True], ids=["unix", "shm"])
def test_frames(fast_clock, place, start, plain):
    """Two programs show the frames in place and a third one copies of them; no frame is wrong. They
    continue with the next producer."""
    del fast_clock
    if not plain:
        place.server()
    viewers = [start("frames", "show", number if plain else None) for number in range(2)]
    if not plain:
        viewers.append(start("frames", "show"))
        viewers[2].out.wait("frames: waiting for frames")
    producer = start("frames", "produce 100x50 60", 2 if plain else None)
    producer.out.wait("frames: producing 100x50, stride 512, 40960 bytes per frame")
    for viewer in viewers:
        viewer.out.wait("frames: showing 100x50, stride 512")
        viewer.out.wait(" wrong", 3)
        assert all(frames and not wrong for _, frames, _, wrong in reports(viewer))
    in_place = [reports(viewer)[2][:2] for viewer in viewers]
    assert [n for n, frames in in_place if n == frames] == [n for n, _ in in_place if n]
    assert sum(not n for n, _ in in_place) == (not plain), in_place
    producer.end()
    if not plain:
        for viewer in viewers:
            viewer.out.wait("frames: the producer has left")
    start("frames", "produce 64x16 60", 2 if plain else None)
    for viewer in viewers:
        viewer.out.wait("frames: showing 64x16, stride 256")
        viewer.out.wait(" wrong", len(reports(viewer)) + 2)
        assert all(not wrong for *_, wrong in reports(viewer))


def test_frames_do_not_fit(place, start):
    """A producer whose frames do not fit in its section says so."""
    place.server()
    for size, length in ("1920x1080", 8364032), ("16384x16384", (1 << 30) + 8192):
        process = start("frames", f"produce {size}")
        assert process.wait() == 1
        assert process.err.text() == (f"frames: 6 frames of {length} bytes do not fit in one of "
                                      "the 4 sections of the region: use a larger region")


def make_frame(number=64, width=64, height=16, stride=256, format=b"XR24", wrong=0, rows=16):
    """Return: a frame without newlines, which ivshmem publish can publish."""
    pixels = b"".join(struct.pack("<I", (x + number) << 16 | (y + number) << 8 | number)
                      for y in range(rows) for x in range(64))
    return (struct.pack("<QIII4s", number, width, height, stride, format).ljust(4096, b"\0")
            + pixels[:-1] + bytes([pixels[-1] + wrong]))


def test_frames_wrong(fast_clock, place, start, publish):
    """A frame with a wrong pixel, and one whose size is impossible, is counted as wrong."""
    del fast_clock
    place.server("-l", "16M")
    viewer = start("frames", "show")
    viewer.out.wait("frames: waiting for frames")
    wrong = [make_frame(wrong=1), b"short", make_frame(width=65), make_frame(width=0),
             make_frame(height=17), make_frame(height=0), make_frame(stride=255),
             make_frame(stride=0), make_frame(stride=1 << 31),
             make_frame(width=1 << 30, stride=0), make_frame(format=b"XR30"), make_frame(rows=15)]
    for number, frame in enumerate([make_frame(), *wrong], 1):
        assert b"\n" not in frame
        publisher = publish("frames", frame)
        viewer.out.wait(" wrong", number)
        assert reports(viewer)[number - 1][1:] == (1, 0, number > 1), number
        publisher.end()
        viewer.out.wait("frames: the producer has left", number)
