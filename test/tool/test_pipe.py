# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem pipe: bytes in both directions, ends, failures."""
import os
import select
import signal

import pytest

from support.py.channel_tool import Peers, run
from support.py.programs import cpu_ticks, wait_until

LEN = 20 << 20


@pytest.fixture(name="peers", params=["unix", "shm"])
def peers_fixture(place, request):
    """Peers on a server, or on a plain region."""
    return Peers(place, request.param)


@pytest.fixture(name="served")
def served_fixture(place):
    """Peers on a server, which reports the death of one to the other."""
    return Peers(place, "unix")


def connect(peers):
    """Start both sides, and let a byte pass each way. Return: the listener and the other side."""
    listener, client = peers.start("pipe", "p", "--listen"), peers.start("pipe", "p")
    listener.write(b"a")
    client.write(b"b")
    assert client.read(1) == b"a" and listener.read(1) == b"b"
    return listener, client


def test_large_transfer_in_both_directions(place, peers):
    """All bytes arrive, whatever they are, and both sides end with status 0."""
    sides = []
    for i, words in enumerate((["--listen"], [])):
        (place.dir / f"in{i}").write_bytes(os.urandom(LEN + i))
        with open(place.dir / f"in{i}", "rb") as given, open(place.dir / f"out{i}", "wb") as out:
            sides.append(peers.start("pipe", "p", *words, stdin=given, stdout=out))
    assert [side.finish() for side in sides] == [(0, "")] * 2
    for i in range(2):
        assert (place.dir / f"in{i}").read_bytes() == (place.dir / f"out{1 - i}").read_bytes()


@pytest.mark.parametrize("first", [0, 1])
def test_half_close(peers, first):
    """The end of standard input closes the other side's output; the other direction goes on."""
    sides = connect(peers)
    sides[first].close_input()
    other = sides[1 - first]
    assert other.read(1) == b""
    other.write(b"still here")
    assert sides[first].read(10) == b"still here"
    assert sides[first].popen.poll() is None and other.popen.poll() is None
    other.close_input()
    assert [side.finish() for side in sides] == [(0, "")] * 2
    assert sides[first].read(1) == b""


@pytest.mark.parametrize("before", ["idle", "ended", "ending"])
def test_killed_partner(served, before):
    """If the other side is killed, the command fails and says so, even if one of them has ended
    its direction."""
    killed, left = connect(served)
    if before == "ended":  # the other side continues to read
        killed.close_input()
        assert left.read(1) == b""
    if before == "ending":
        left.close_input()
        assert killed.read(1) == b""
    killed.popen.kill()
    status, message = left.finish()
    assert status == 1 and message.startswith("ivshmem pipe: the other side has ")
    assert "left or died" in message and len(message.splitlines()) == 1


def test_partner_that_ends_by_a_signal(peers):
    """A signal ends the command, and the other side does not take that for the end of the data."""
    ended, left = connect(peers)
    ended.popen.send_signal(signal.SIGTERM)
    assert ended.finish() == (-signal.SIGTERM, "")
    status, message = left.finish()
    assert status == 1 and "left or died before the end of the stream" in message


def test_failing_output(peers):
    """If standard output fails, both sides fail."""
    with open("/dev/full", "wb") as full:
        failing = peers.start("pipe", "p", stdout=full)
    left = peers.start("pipe", "p", "--listen")
    left.write(b"x" * 1000)
    assert failing.finish() == (
        1, "ivshmem pipe: cannot write standard output: No space left on device\n")
    assert left.finish()[0] == 1


def fill(side):
    """Write until the pipe to the command has been full for a while. Return: what was written."""
    fd, total = side.popen.stdin.fileno(), 0
    os.set_blocking(fd, False)
    while select.select([], [fd], [], 0.3)[1]:
        total += os.write(fd, b"x" * 65536)
    return total


def test_output_that_is_not_read(peers):
    """While the output is not read, both sides wait without using the processor, and the other
    direction goes on; nothing is lost."""
    reader, writer = connect(peers)
    total = fill(writer)
    assert 64 << 10 < total < 4 << 20
    before = cpu_ticks(reader.pid), cpu_ticks(writer.pid)
    assert not select.select([reader.popen.stderr], [], [], 0.3)[0]
    assert cpu_ticks(reader.pid) - before[0] <= 5 and cpu_ticks(writer.pid) - before[1] <= 5
    reader.write(b"answer")
    assert writer.read(6) == b"answer"
    writer.close_input()
    assert reader.read(total + 1) == b"x" * total
    reader.close_input()
    assert reader.finish() == writer.finish() == (0, "")


def test_half_closed_stream_uses_no_processor(peers):
    """While one direction has ended and the other is idle, both sides wait."""
    sides = connect(peers)
    sides[0].close_input()
    assert sides[1].read(1) == b""
    before = [cpu_ticks(side.pid) for side in sides]
    assert not select.select([side.popen.stderr for side in sides], [], [], 0.3)[0]
    assert all(cpu_ticks(side.pid) - ticks <= 5 for side, ticks in zip(sides, before))


def test_time_limits(peers):
    """Without a partner, both sides fail when the time limit expires."""
    done = peers.run("pipe", "p", "--timeout", 0)
    assert done.returncode == 1 and b"no peer has accepted the connection within 0 s" in done.stderr
    done = peers.run("pipe", "p", "--timeout", 0, "--listen")
    assert done.returncode == 1 and b"no peer has connected within 0 s" in done.stderr


def test_two_listeners(served):
    """A name has one listener."""
    listener = served.start("pipe", "p", "--listen")
    wait_until(lambda: b"listener" in run("channels", served.address).stdout, "it listens")
    done = served.run("pipe", "p", "--listen")
    assert done.returncode == 1 and b"another peer already receives from this name" in done.stderr
    assert listener.popen.poll() is None


@pytest.mark.parametrize("words, message", [
    ([], "no ADDRESS"), (["x"], "no NAME of a channel"), (["x", "y", "z"], 'surplus argument "z"'),
    (["x", ""], 'invalid NAME "": use 1 to 39 bytes'), (["x", "n" * 40], "use 1 to 39 bytes"),
    (["x", "a\nb"], 'invalid NAME "a?b"'), (["x", "y", "-t", "soon"], 'invalid time limit "soon"'),
    (["x", "y", "--section", "4096"], 'invalid section "4096": use 0 to 4095'),
])
def test_mistakes(words, message):
    """A mistake in the command line is reported before anything is opened."""
    done = run("pipe", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith("ivshmem pipe: ") and message in done.stderr.decode()


def test_sections(place, served):
    """A peer without an id needs a section, and a peer with an id has one."""
    done = run("pipe", served.address, "p", "--section", 0)
    assert done.returncode == 1
    assert b"this peer has id 0, and so section 0: leave out" in done.stderr
    done = run("pipe", f"shm:{place.shm}", "p")
    assert done.returncode == 1 and b"this peer has no id: give it a section" in done.stderr
    done = run("pipe", f"shm:{place.shm}", "p", "--section", 77)
    assert done.returncode == 1
    assert b"there is no section 77: the region has 16 sections" in done.stderr
