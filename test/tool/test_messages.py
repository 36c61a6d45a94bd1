# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem send and receive."""
import pathlib
import signal

import pytest

from support.py.channel_tool import SIZE, Command, Peers, run
from support.py.programs import wait_until

WRITE_NUMBERS = ("1", "64")  # of write(2), on x86-64 and arm64


@pytest.fixture(name="peers", params=["unix", "shm"])
def peers_fixture(place, request):
    """Peers on a server, or on a plain region."""
    return Peers(place, request.param)


@pytest.fixture(name="served")
def served_fixture(place):
    """Peers on a server, which reports the death of one to the other."""
    return Peers(place, "unix")


def test_text(peers):
    """The words of TEXT are one message; "recv" ends after --count messages of any sender."""
    receiver = peers.start("recv", "q", "--count", 3)
    assert peers.run("send", "q", "two", "words").returncode == 0
    assert peers.run("send", "q", "").returncode == 0
    sender = peers.start("send", "q", "x" * 100000)
    assert receiver.read(1 << 20) == b"two words\n\n" + b"x" * 100000 + b"\n"
    assert receiver.finish() == sender.finish() == (0, "")


def test_lines(place, peers):
    """Each line of standard input is a message, in order, whatever its length."""
    lines = [b"%d " % i + b"z\0\xff" * (i % 211) for i in range(3000)] + [b"", b"y" * 10000]
    (place.dir / "lines").write_bytes(b"\n".join(lines))  # the last line has no newline
    receiver = peers.start("recv", "q", "--count", len(lines), "--raw")
    with open(place.dir / "lines", "rb") as given:
        sender = peers.start("send", "q", stdin=given)
    assert receiver.read(1 << 24) == b"".join(lines)
    assert sender.finish() == receiver.finish() == (0, "")


def test_lines_are_sent_at_once(peers):
    """A line is sent when it is complete, although more may follow."""
    receiver, sender = peers.start("recv", "q"), peers.start("send", "q")
    for line in (b"one\n", b"two\n"):
        sender.write(line)
        assert receiver.read(len(line)) == line
    sender.close_input()
    assert sender.finish() == (0, "") and receiver.popen.poll() is None


def test_long_line(peers):
    """A line that is longer than messages can be is refused with its number."""
    receiver = peers.start("recv", "q")
    done = peers.run("send", "q", data=b"short\n" + b"x" * 70000 + b"\n")
    assert done.returncode == 1 and b"ivshmem send: line 2 is longer than " in done.stderr
    assert receiver.read(6) == b"short\n"


def test_text_that_does_not_fit(place):
    """TEXT that is longer than the section is refused with the possible length."""
    place.shm_path.write_bytes(bytes(1 << 20))
    done = run("send", place.shm, "q", "x" * 100000, "--section", 0)
    assert done.returncode == 1
    assert b"TEXT has 100000 bytes, and the section has room" in done.stderr


def test_time_limits(peers):
    """Without the other side, both commands fail when the time limit expires."""
    done = peers.run("send", "q", "text", "--timeout", 0)
    assert done.returncode == 1 and b"the receiver has not taken all messages" in done.stderr
    done = peers.run("recv", "q", "--timeout", 0)
    assert done.returncode == 1 and b"no message within 0 s" in done.stderr


def test_receiver_that_leaves(served):
    """A receiver that leaves before it has taken all messages is reported."""
    receiver = served.start("recv", "q", "--count", 1)
    sender = served.start("send", "q")
    sender.write(b"a\n")
    assert receiver.finish() == (0, "")
    sender.write(b"b\n" * 10)
    sender.close_input()
    status, message = sender.finish()
    assert status == 1 and "the other side has closed the channel, left or died" in message


def test_killed_sender(served):
    """A receiver takes what a killed sender has sent, and then waits for others."""
    receiver, sender = served.start("recv", "q"), served.start("send", "q")
    sender.write(b"last\n")
    assert receiver.read(5) == b"last\n"
    sender.popen.kill()
    assert served.run("send", "q", "next").returncode == 0
    assert receiver.read(5) == b"next\n" and receiver.popen.poll() is None


def test_failing_output(peers):
    """A message that cannot be printed is an error."""
    with open("/dev/full", "wb") as full:
        receiver = peers.start("recv", "q", "--count", 1, stdout=full)
    peers.run("send", "q", "x")
    assert receiver.finish() == (1, "ivshmem recv: cannot print: No space left on device\n")


def test_topic(peers):
    """Each subscriber prints each message, also one that may come before the publisher."""
    early = peers.start("subscribe", "t", "--count", 3, "--last")
    publisher = peers.start("publish", "t")
    publisher.write(b"one\n")
    assert early.read(4) == b"one\n"
    late = peers.start("subscribe", "t", "--count", 2, "--last")
    assert late.read(4) == b"one\n"
    publisher.write(b"two\n")
    assert late.read(4) == early.read(4) == b"two\n"
    publisher.write(b"three\n")
    assert early.read(6) == b"three\n"
    assert early.finish() == late.finish() == (0, "")
    publisher.close_input()
    assert publisher.finish() == (0, "")


def test_last_message_remains(peers):
    """With --linger, a subscriber that comes later gets the last message."""
    publisher = peers.start("publish", "t", "the", "last", "--linger", 600)
    later = peers.start("subscribe", "t", "--last", "--newest", "--count", 1)
    assert later.read(9) == b"the last\n" and later.finish() == (0, "")
    assert publisher.popen.poll() is None


def test_missed_messages_are_counted(served):
    """The publisher does not wait for a subscriber that does not read. The subscriber says how many
    messages it has missed."""
    publisher = served.start("publish", "t")
    publisher.write(b"first\n")
    slow = served.start("subscribe", "t", "--last", "--count", 3)
    assert slow.read(6) == b"first\n"
    slow.popen.send_signal(signal.SIGSTOP)
    publisher.write(b"".join(b"%04d\n" % i for i in range(1000)))
    publisher.close_input()
    assert publisher.finish() == (0, "")
    slow.popen.send_signal(signal.SIGCONT)
    number = int(slow.read(5))
    assert number > 900 and int(slow.read(5)) == number + 1
    assert slow.finish() == (0, f"ivshmem subscribe: {number} messages were missed\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_a_receiver(peers, number):
    """A receiver that a signal ends gives up its name, even on a region without a server."""
    receiver = peers.start("recv", "q")
    sender = peers.start("send", "q", "one")
    assert receiver.read(4) == b"one\n"
    assert sender.finish() == (0, "")
    receiver.popen.send_signal(number)
    assert receiver.finish() == (-number, "")
    other = peers.start("recv", "q", "--count", 1)
    assert peers.run("send", "q", "two").returncode == 0
    assert other.read(4) == b"two\n"


def test_signal_ends_a_publisher(peers):
    """The last message of a publisher that a signal has ended is not taken for that of another."""
    old = peers.start("publish", "t", "old", "--linger", 600)
    subscriber = peers.start("subscribe", "t", "--last", "--count", 1)
    assert subscriber.read(4) == b"old\n"
    old.popen.send_signal(signal.SIGTERM)
    assert old.finish() == (-signal.SIGTERM, "")
    peers.start("publish", "t", "new", "--linger", 600)
    assert peers.start("subscribe", "t", "--last", "--count", 1).read(4) == b"new\n"


def test_signal_while_the_output_blocks(place, served):
    """A signal also ends a receiver whose output is not read."""
    (place.dir / "lines").write_bytes((b"x" * 999 + b"\n") * 1000)
    receiver = served.start("recv", "q")
    with open(place.dir / "lines", "rb") as given:
        served.start("send", "q", stdin=given)
    syscall = pathlib.Path(f"/proc/{receiver.pid}/syscall")
    wait_until(lambda: syscall.read_text(encoding="ascii").split()[0] in WRITE_NUMBERS,
               "the receiver waits until its output is read")
    receiver.popen.send_signal(signal.SIGTERM)
    assert receiver.finish() == (-signal.SIGTERM, "")


def test_second_receiver(peers):
    """A second receiver of a name is told how to find the first one."""
    receiver = peers.start("recv", "q")
    wait_until(lambda: b"receiver" in run("channels", peers.address).stdout, "it receives")
    done = peers.run("recv", "q", "--timeout", 0)
    assert done.returncode == 1 and receiver.popen.poll() is None
    assert done.stderr.decode() == (
        f'ivshmem recv: "q" in {peers.address}: another peer already receives from this name or '
        'listens to it: use another name, or end that peer, whose section "ivshmem channels '
        f'{peers.address}" shows\n')


def test_section_of_two_peers(place):
    """Two peers with the same section stop, and both say which section it is."""
    place.shm_path.write_bytes(bytes(SIZE))
    receiver = place.add(Command("recv", place.shm, "q", "--section", 3))
    wait_until(lambda: b"receiver" in run("channels", place.shm).stdout, "it receives")
    other = place.add(Command("recv", place.shm, "q", "--section", 3))
    for command in (receiver, other):
        status, message = command.finish()
        assert status == 1 and message.endswith(
            "another peer has taken section 3, and both have stopped: start each with a --section "
            "of its own\n")


def test_small_region(place):
    """A region that is too small for channels is refused, with what it would need."""
    place.shm_path.write_bytes(bytes(1 << 16))
    done = run("recv", place.shm, "q", "--section", 0, "--timeout", 0)
    assert done.returncode == 1 and b": a region of 65536 bytes has no room for 2 sections of " \
        b"at least 32 KiB each: use a larger region" in done.stderr
    place.shm_path.write_bytes(bytes(128 << 10))
    done = run("recv", place.shm, "q", "--section", 0, "--timeout", 0)
    assert done.returncode == 1 and b"no message within 0 s" in done.stderr


@pytest.mark.parametrize("words, message", [
    (["send"], "no ADDRESS"), (["send", "x"], "no NAME of a channel"),
    (["recv", "x", "y", "z"], 'surplus argument "z"'),
    (["recv", "x", "y", "-n", "0"], 'invalid count "0": use a number of at least 1'),
    (["recv", "x", "y", "-t", "x"], 'invalid time limit "x"'),
    (["publish", "x"], "no NAME of a channel"),
    (["publish", "x", "y", "--linger", "-1"], 'invalid number of seconds "-1"'),
    (["subscribe", "x", "y", "z"], 'surplus argument "z"'),
    (["subscribe", "x", "y", "-n", "0"], 'invalid count "0": use a number of at least 1'),
])
def test_mistakes(words, message):
    """A mistake in the command line is reported before anything is opened."""
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr.decode()
