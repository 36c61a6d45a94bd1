# SPDX-License-Identifier: BSD-3-Clause
"""The examples `ping-pong`, `one-to-many`, `poll-loop` and `queue`: their output and errors. The
examples `meet` and `hello` are tested in test_example_meet.py, and the other examples with channels
in test_example_channels.py."""
import fcntl
import mmap
import os
import re
import signal
import struct
import subprocess
import termios
import time

import pytest

from support.py.lingering import state_of, stopped
from support.py.programs import wait_until

PLAIN = "a plain region has neither ids nor doorbells: use a server (unix:PATH"
SLOTS = 64
DEVICE_LEN = 256
TEXT_LEN = 240


def example(where, name):
    """Return: the path of an example."""
    return where.build / "examples" / name


def address(where):
    """Return: the address of the test's server."""
    return f"unix:{where.socket}"


# All examples

EXAMPLES = {"ping-pong": [[]], "poll-loop": [[]], "one-to-many": [["read"], ["write"]]}
CALLS = [(name, words) for name, calls in EXAMPLES.items() for words in calls]


@pytest.mark.parametrize("name", EXAMPLES)
def test_usage_of_each_example(place, name):
    """With --help an example exits with status 0; without arguments it prints the same text and
    exits with status 2."""
    done = place.run(example(place, name), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {name} ")
    wrong = place.run(example(place, name))
    assert (wrong.returncode, wrong.stdout, wrong.stderr) == (2, "", done.stdout)


@pytest.mark.parametrize("name, words", [
    ("ping-pong", ["x"]), ("ping-pong", ["-1"]), ("ping-pong", ["65536"]),
    ("ping-pong", ["1", "0"]), ("ping-pong", ["1", ""]), ("ping-pong", ["1", "1", "1"]),
    ("poll-loop", ["0"]), ("poll-loop", ["1", "1"]), ("one-to-many", []),
    ("one-to-many", ["1"])], ids=str)
def test_mistakes(place, name, words):
    """With an invalid number or a surplus argument, an example exits with status 2 before it opens
    anything."""
    done = place.run(example(place, name), "unix:/nonexistent", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: {name} ")


@pytest.mark.parametrize("name, words", CALLS)
def test_missing_server_is_an_error(place, name, words):
    """Without a server, an example exits with status 1 and says how to start one."""
    done = place.run(example(place, name), *words, address(place))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (f"{name}: no server is listening at {place.socket}: start it with "
                           f"ivshmem-server -S {place.socket}\n")


@pytest.mark.parametrize("name, words", CALLS)
def test_plain_region_is_an_error(place, name, words):
    """A region without a server has neither doorbells nor ids: an example prints the library's
    message, which says what to do."""
    with open(place.shm_path, "wb") as file:
        file.truncate(1 << 20)
    done = place.run(example(place, name), *words, f"shm:{place.shm}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{name}: {PLAIN}")


@pytest.mark.parametrize("name, words", [("ping-pong", []), ("one-to-many", ["read"])])
def test_no_vectors(place, name, words):
    """If the server assigns no vectors, an example says so, and says how to start the server
    (except poll-loop, which still prints joins)."""
    place.server("-n", "0")
    done = place.run(example(place, name), *words, address(place))
    assert done.returncode == 1
    assert done.stderr == f"{name}: the server assigns no vectors: start it with -n 1 or more\n"


@pytest.mark.parametrize("name, words", [
    ("hello", []), ("ping-pong", []), ("ping-pong", ["1"]), ("one-to-many", ["read"]),
    ("poll-loop", []), ("queue", ["receive"]), ("queue", ["send", "hi"]), ("chat", ["alice"]),
    ("sensor", ["watch"]), ("copy", ["send", "/dev/null"]), ("frames", ["show"])], ids=str)
def test_stopped_and_continued(place, name, words):
    """SIGSTOP and SIGCONT, as sent for Ctrl-Z and fg, interrupt waiting system calls, but the
    program keeps waiting."""
    place.server()
    after = [*words, address(place)] if name == "one-to-many" else [address(place), *words]
    process = place.start(example(place, name), *after, stdin=subprocess.PIPE)
    place.servers()[-1].err.wait("client 0 joined")
    for _ in range(4):
        wait_until(lambda: state_of(process.pid) == "S", "the program is waiting")
        time.sleep(0.05)  # it may only have been waiting for the rest of the greeting
        with stopped(process):
            pass
    time.sleep(0.1)
    assert process.popen.poll() is None, process.err.text()
    assert not process.err.seen


def test_meet_continues_after_a_stop(place):
    """Being stopped and continued repeatedly does not disturb `meet`, whatever it is waiting
    for."""
    place.server("-n", "2")
    both = [place.start(example(place, "meet"), "-n", "2", "-r", "20000", address(place))
            for _ in range(2)]
    both[0].out.wait("meet: I am peer")
    while both[0].popen.poll() is None:
        time.sleep(0.01)
        for number in signal.SIGSTOP, signal.SIGCONT:
            both[0].signal(number)
    for process in both:
        assert process.wait() == 0, process.err.text()


# hello, region

@pytest.mark.parametrize("words, what", [([], "cannot wait"), (["0", "hi"], "cannot ring peer 0")])
def test_hello_without_doorbells(place, words, what):
    """hello explains why a plain region has no doorbells, and how to get them."""
    with open(place.shm_path, "wb") as file:
        file.truncate(1 << 20)
    done = place.run(example(place, "hello"), f"shm:{place.shm}", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"hello: {what}: {PLAIN}")


def test_hello_prints_no_terminal_escapes(place):
    """hello replaces the bytes in the region that are not printable."""
    place.server()
    process = place.start(example(place, "hello"), address(place))
    process.out.wait("I am peer 0, waiting for a doorbell")
    with open(place.shm_path, "r+b") as region, mmap.mmap(region.fileno(), 64) as memory:
        memory[:64] = b"\x1b]0;hi\x07\r\x9b2J\n\x00".ljust(64, b"\x1b")
    assert place.run_client("-c", "int 0 0").returncode == 0
    assert process.wait() == 0
    assert process.out.seen[-1] == "hello: peer 0 was told: ?]0;hi???2J?"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change the owner of the region")
def test_region_warns_of_a_region_of_others(place):
    """region prints a warning if another user created the region first, or if all users can write
    to it."""
    words = [example(place, "region"), f"shm:{place.shm}", "1M"]
    assert place.run(*words).stderr == ""
    assert place.run(*words).stderr == ""
    os.chown(place.shm_path, 65534, -1)
    place.shm_path.chmod(0o666)
    done = place.run(*words)
    assert done.returncode == 0
    assert done.stderr == (
        f"region: warning: {place.shm_path} existed before and is owned by uid 65534\n"
        f"region: warning: {place.shm_path} existed before and is writable by all users\n")


# ping-pong

RESULT = re.compile(r"ping-pong: (\d+) round trips with peer (\d+): min ([\d.]+) us, "
                    r"p50 ([\d.]+) us, p99 ([\d.]+) us")


def ping_pong(where, *words):
    """Start ping-pong as one of two peers."""
    return where.start(example(where, "ping-pong"), address(where), *words)


def check_game(first, second, rounds):
    """Check that peer 0 has printed its measurements and peer 1 its number of answers, and that
    both exit with status 0."""
    for process in (first, second):
        assert process.wait() == 0, process.err.text()
        assert process.err.text() == ""
    lines = sorted(process.out.text() for process in (first, second))
    assert lines[0].startswith("ping-pong: I am peer 0 (unix)\n")
    found = RESULT.fullmatch(lines[0].splitlines()[1])
    assert found and (int(found[1]), int(found[2])) == (rounds, 1), lines
    assert 0 < float(found[3]) <= float(found[4]) <= float(found[5])
    answered = re.fullmatch(r"ping-pong: answered peer 0 (\d+) times", lines[1].splitlines()[1])
    assert answered and int(answered[1]) >= rounds


def test_ping_pong_by_roster(place):
    """Two peers find each other without ids on the command line."""
    place.server("-n", "2")
    check_game(ping_pong(place), ping_pong(place), 1000)


@pytest.mark.parametrize("before", [0, 1])
def test_ping_pong_and_a_stranger(place, before):
    """A peer that leaves as soon as it is rung is not the partner, so the players keep
    searching."""
    place.server("-n", "2")
    players = [ping_pong(place) for _ in range(before)]
    for process in players:
        process.out.wait("I am peer 0")
    stranger = place.start(example(place, "hello"), address(place))
    stranger.out.wait(f"I am peer {before}, waiting")
    players += [ping_pong(place) for _ in range(2 - before)]
    for process in players:
        assert process.wait() == 0, process.err.text()
    assert stranger.wait() == 0
    said = "".join(process.out.text() for process in players)
    # The second player can have the stranger's id, if the first one has been told of its leave.
    assert re.search("1000 round trips with peer [012]: ", said), said
    assert re.search("answered peer [012] 1001 times", said), said


def test_ping_pong_with_given_ids(place):
    """A second game in the same region works: the cells of the first do not affect it."""
    place.server()
    for _ in range(2):
        first = ping_pong(place, "1", "100")
        first.out.wait("I am peer 0")
        check_game(first, ping_pong(place, "0", "100"), 100)
        place.servers()[-1].stop()
        place.server()


def test_ping_pong_other_dies(place):
    """If the answering peer is killed, the other exits with status 1."""
    place.server()
    memory = board(place)
    first = ping_pong(place, "1", "10000000")
    first.out.wait("I am peer 0")
    second = ping_pong(place, "0")
    answer = slice(64 + 8, 64 + 16)  # in the cell of peer 1
    wait_until(lambda: any(memory[answer]), "peer 1 has answered")
    second.end()
    assert first.wait() == 1
    assert first.err.text() == ("ping-pong: the other peer is not answering: it is not connected, "
                                "or does not exist")


def test_ping_pong_with_oneself(place):
    """The peer's own id is refused, and so is an id whose cell is outside the region."""
    place.server("-l", "4K")
    for other in ("0", "64"):
        done = place.run(example(place, "ping-pong"), address(place), other)
        assert done.returncode == 1
        assert "PEER is this peer's own id, or the region is too small" in done.stderr


# one-to-many

def read_all(where):
    """Start a reader and wait until it has joined."""
    before = where.servers()[-1].err.count("joined")
    reader = where.start(example(where, "one-to-many"), "read", address(where))
    where.servers()[-1].err.wait("joined", before + 1)
    return reader


def write_lines(where, lines, *words):
    """Run a writer with these lines as its input. Return: its output."""
    done = where.run(example(where, "one-to-many"), "write", address(where), *words,
                     text="".join(line + "\n" for line in lines))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def board(where):
    """Map the server's region, as an untrusted peer could."""
    with open(where.shm_path, "r+b") as file:
        return where.add(mmap.mmap(file.fileno(), 0))


def put(memory, number, text, generation=7, length=None, stamp=None):
    """Write a message directly into memory, as an untrusted peer could."""
    at = DEVICE_LEN * (1 + number % SLOTS)
    stamp = generation << 32 | number if stamp is None else stamp
    memory[at + 16:at + 16 + TEXT_LEN] = text.ljust(TEXT_LEN, b"\0")
    memory[at:at + 16] = struct.pack("<QQ", stamp, len(text) if length is None else length)
    memory[:8] = struct.pack("<Q", generation << 32 | number)


def test_readers_print_each_message_in_order(place):
    """Each reader prints all messages in order. A second writer starts a new generation."""
    place.server()
    readers = [read_all(place) for _ in range(3)]
    assert write_lines(place, ["good morning", "to all"]) == "one-to-many: wrote 2 messages\n"
    for reader in readers:
        reader.out.wait("2: to all")
    write_lines(place, ["again"])
    for reader in readers:
        reader.out.wait("1: again")
        assert reader.out.seen == ["1: good morning", "2: to all", "1: again"]


def test_only_named_peers_are_rung(place):
    """If a peer is named, only that peer is rung."""
    place.server()
    reader = read_all(place)
    write_lines(place, ["you"], "0", "40000")
    reader.out.wait("1: you")


def test_late_reader(place):
    """A late reader prints the last 64 messages, and the number that it has missed."""
    place.server()
    write_lines(place, map(str, range(1, 101)))
    reader = read_all(place)
    reader.out.wait("missed 36 messages")
    assert reader.out.seen == [f"{n}: {n}" for n in range(37, 101)] + [
        "one-to-many: missed 36 messages"]


def test_reader_that_sleeps(place):
    """A reader that is stopped while messages are overwritten prints no invented or torn
    message."""
    place.server()
    reader = read_all(place)
    reader.signal(signal.SIGSTOP)
    write_lines(place, (f"{n} " * 20 for n in range(1, 501)))
    reader.signal(signal.SIGCONT)
    reader.out.wait("500: ")
    reader.out.wait("one-to-many: missed 436 messages")
    for line in reader.out.seen[:-1]:
        number = line.split(":")[0]
        assert set(line.split(": ")[1].split()) == {number}


def test_long_lines_are_split(place):
    """A line that is too long for one message is split; control characters are replaced by "?"."""
    place.server()
    reader = read_all(place)
    write_lines(place, ["x" * 300, "\33[2J\x07bell"])
    reader.out.wait("bell")
    assert reader.out.seen == ["1: " + "x" * TEXT_LEN, "2: " + "x" * 60, "3: ?[2J?bell"]


@pytest.mark.parametrize("what", ["length", "stamp", "half", "back", "far", "noise"])
def test_hostile_writer(place, what):
    """Regardless of what an untrusted peer writes, the reader prints the next message of a correct
    writer."""
    server = place.server()
    memory = board(place)
    reader = read_all(place)
    if what == "length":
        put(memory, 1, b"x", length=TEXT_LEN + 1)
        put(memory, 2, b"y", length=(1 << 64) - 1)
    elif what == "stamp":
        put(memory, 1, b"x", stamp=5)
    elif what == "half":
        put(memory, 1, b"x", stamp=0)
    elif what == "back":
        put(memory, 9, b"nine")
        place.run_client("-c", "int 0 0")
        reader.out.wait("9: nine")
        put(memory, 3, b"three")
    elif what == "far":
        memory[:8] = struct.pack("<Q", (7 << 32) + 0xffffffff)
    else:
        memory[:(1 + SLOTS) * DEVICE_LEN] = os.urandom((1 + SLOTS) * DEVICE_LEN)
    place.run_client("-c", "int 0 0")
    reader.out.wait("three" if what == "back" else "missed")
    write_lines(place, ["honest"])
    reader.out.wait("1: honest")
    assert reader.popen.poll() is None and server.popen.poll() is None


def test_too_small_region_is_an_error(place):
    """If the region is too small for its board (4K), one-to-many exits with status 1."""
    place.server("-l", "4K")
    for words in ("read", "write"):
        done = place.run(example(place, "one-to-many"), words, address(place))
        assert (done.returncode, done.stderr) == (1, "one-to-many: the region is too small\n")


# queue

USAGE_OF_QUEUE = "usage: queue ADDRESS send TEXT [SECTION] | queue ADDRESS receive [SECTION]\n"


def plain_region(where):
    """Create a region without a server. Return: its address."""
    with open(where.shm_path, "wb") as file:
        file.truncate(1 << 20)
    return f"shm:{where.shm}"


@pytest.mark.parametrize("words", [[], ["x"], ["x", "send"], ["x", "take"],
                                   ["x", "receive", "1", "2"], ["x", "receive", "one"],
                                   ["x", "send", "hi", "1", "2"], ["x", "send", "hi", ""]], ids=str)
def test_queue_usage(place, words):
    """With wrong arguments queue exits with status 2 before it opens anything."""
    done = place.run(example(place, "queue"), *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", USAGE_OF_QUEUE)
    done = place.run(example(place, "queue"), "--help")
    assert (done.returncode, done.stdout, done.stderr) == (0, USAGE_OF_QUEUE, "")


def test_queue_without_a_server(place):
    """Without a server queue says how to start one; without an id it asks for a section."""
    done = place.run(example(place, "queue"), address(place), "receive")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"queue: no server is listening at {place.socket}: start it")
    done = place.run(example(place, "queue"), plain_region(place), "receive")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("queue: the peer has no id, so say which section it uses")


@pytest.mark.parametrize("plain", [False, True], ids=["unix", "shm"])
def test_queue_sends_and_receives(place, plain):
    """Messages arrive in order, also that of a sender which started first. The receiver continues
    when a sender has left, and prints no terminal escape sequences."""
    if not plain:
        place.server()
    where = plain_region(place) if plain else address(place)

    def start(section, *words):
        return place.start(example(place, "queue"), where, *words, *[section] * plain)

    first = start(1, "send", "good morning")
    wait_until(lambda: state_of(first.pid) == "S" and first.popen.poll() is None, "it waits")
    receiver = start(0, "receive")
    assert first.wait() == 0
    assert start(1, "send", "\033]0;hi").wait() == 0
    assert start(1, "send", "x" * 1024).wait() == 0
    receiver.out.wait("queue: received: xxx")
    receiver.out.wait("queue: the last sender has left", 3)
    assert receiver.out.seen == [
        "queue: waiting for messages", "queue: received: good morning",
        "queue: the last sender has left", "queue: received: ?]0;hi",
        "queue: the last sender has left", "queue: received: " + "x" * 1024,
        "queue: the last sender has left"]
    assert (first.out.text(), first.err.text()) == ("queue: sent: good morning", "")


def test_queue_errors(place):
    """A message that is too long, a second receiver, and a receiver that is killed are errors."""
    place.server()
    long = place.run(example(place, "queue"), address(place), "send", "x" * 1025)
    assert (long.returncode, long.stdout) == (1, "")
    assert long.stderr.startswith("queue: cannot send: ")
    receiver = place.start(example(place, "queue"), address(place), "receive")
    receiver.out.wait("waiting for messages")
    second = place.run(example(place, "queue"), address(place), "receive")
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.startswith("queue: cannot open the queue: ")
    receiver.signal(signal.SIGSTOP)
    sender = place.start(example(place, "queue"), address(place), "send", "hi")
    place.servers()[-1].err.wait("joined", 4)
    receiver.end()
    last = place.start(example(place, "queue"), address(place), "receive")
    assert sender.wait() == 0, sender.err.text()
    last.out.wait("queue: received: hi")


# poll-loop

def poll_loop(where, *words):
    """Start poll-loop with a pipe as its standard input."""
    return where.start(example(where, "poll-loop"), address(where), *words, stdin=subprocess.PIPE)


def test_poll_loop_without_doorbells(place):
    """A plain region with a roster page has joins, but no doorbells: poll-loop says why."""
    place.server("--roster")
    process = place.start(example(place, "poll-loop"), f"shm:{place.shm}", stdin=subprocess.PIPE)
    process.write("ring 0 0\nquit\n")
    process.out.wait(f"cannot ring peer 0 vector 0: {PLAIN}")
    assert process.wait() == 0


def test_poll_loop_handles_all_events(place):
    """One loop handles joins, doorbells, leaves, the timer and commands."""
    place.server("-n", "2")
    first = poll_loop(place, "1")
    first.out.wait("I am peer 0 (unix), 2 vectors")
    second = poll_loop(place, "3600")
    first.out.wait("peer 1 joined with 2 vectors")
    second.out.wait("peer 0 joined with 2 vectors")
    second.write("ring 0 1\nring 0 0\nring 0 9\nring 7 0\nnonsense\n")
    first.out.wait("doorbell on vector 0")
    first.out.wait("doorbell on vector 1")
    second.out.wait("cannot ring peer 0 vector 9: there is no such vector")
    second.out.wait("cannot ring peer 7 vector 0: it is not connected, or does not exist")
    second.out.wait("commands: ring PEER VECTOR, quit")
    first.out.wait("1 other peers, 2 doorbells so far")
    second.write("quit\n")
    assert second.wait() == 0
    first.out.wait("peer 1 left")
    first.out.wait("0 other peers, 2 doorbells so far")
    place.servers()[-1].stop()
    first.out.wait("the server is gone; known doorbells continue to work")
    first.write("ring 0 1\n")
    first.out.wait("doorbell on vector 1", 2)
    first.popen.stdin.close()
    assert (first.wait(), first.err.text()) == (0, "")


def test_poll_loop_reads_input_in_pieces(place):
    """A line may arrive in pieces; a line that is too long is truncated, and is not executed."""
    place.server()
    loop = poll_loop(place)
    loop.write("rin")
    loop.out.wait("I am peer 0")
    wait_until(lambda: not has_input(loop), "the piece has been read")
    loop.write("g 0 0\n" + "x" * 5000 + "\n")
    loop.out.wait("doorbell on vector 0")
    loop.out.wait("commands:")
    loop.write("quit")
    loop.popen.stdin.close()
    assert loop.wait() == 0
    assert loop.out.count("commands:") == 1


def has_input(process):
    """Return whether the pipe to the program's standard input has unread bytes."""
    count = bytearray(4)
    fcntl.ioctl(process.popen.stdin, termios.FIONREAD, count)
    return any(count)
