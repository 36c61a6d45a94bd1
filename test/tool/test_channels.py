# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem channels: what it shows, and that hostile regions do not harm it."""
import json
import random
import struct
import threading

import pytest

from support.py.channel_tool import SIZE, Peers, run
from support.py.programs import wait_until

SECTION_LEN = 258048  # of the 16 sections of a region of 4 MiB
ENDPOINT_LEN = 256


@pytest.fixture(name="served")
def served_fixture(place):
    """Peers on a server, which reports the death of one to the other."""
    return Peers(place, "unix")


def show(address):
    """Return: what "channels --json" prints."""
    done = run("channels", "--json", address)
    assert (done.returncode, done.stderr) == (0, b"")
    return json.loads(done.stdout)


def endpoints(address):
    """Return: all endpoints by kind; each kind occurs once."""
    return {endpoint["kind"]: endpoint for section in show(address)["sections"]
            for endpoint in section["endpoints"]}


def test_queue(served):
    """A queue without a receiver has a backlog; the receiver takes it."""
    sender = served.start("send", "jobs")
    sender.write(b"one\ntwo\n")
    wait_until(lambda: run("channels", served.address).returncode == 0, "there are channels")
    wait_until(lambda: endpoints(served.address).get("sender", {}).get("position") == 2, "sent")
    section, = show(served.address)["sections"]
    own = section["section"]
    assert (section["id"], section["vector"], section["state"]) == (own, 0, "held")
    queue, = section["endpoints"]
    assert queue["message_len"] >= 1024 and queue["unread"] == 2 and queue["other"] is None
    assert (queue["name"], queue["closed"], queue["damaged"]) == ("jobs", False, False)
    receiver = served.start("receive", "jobs", "--count", 3)
    assert receiver.read(8) == b"one\ntwo\n"
    wait_until(lambda: endpoints(served.address)["sender"]["unread"] == 0, "taken")
    found = endpoints(served.address)
    assert found["reader"]["other"] == {"section": own, "endpoint": queue["endpoint"]}
    assert found["sender"]["other"]["section"] != own and found["receiver"]["name"] == "jobs"
    assert found["reader"]["position"] == 2 and found["reader"]["name"] == "jobs"
    wait_until(lambda: endpoints(served.address)["reader"]["sleeps"], "the receiver waits")


def test_stream_and_death(served):
    """The two writers of a stream are shown, and that a holder has died or has left."""
    listener, client = served.start("pipe", "p", "--listen"), served.start("pipe", "p")
    client.write(b"x")
    assert listener.read(1) == b"x"
    found = endpoints(served.address)
    assert found["acceptor"]["name"] == found["connector"]["name"] == "p"
    assert found["connector"]["unread"] == 0 and found["acceptor"]["position"] == 0
    client.popen.kill()
    assert listener.finish()[0] == 1
    states = [section["state"] for section in show(served.address)["sections"]]
    assert sorted(states) == ["gone", "left"]


def test_text(place):
    """As text, there is a table of sections and one of endpoints."""
    peers = Peers(place, "shm")
    receiver = peers.start("receive", "jobs")
    wait_until(lambda: b"receiver" in run("channels", place.shm).stdout, "it receives")
    assert run("channels", place.shm).stdout.decode().splitlines() == [
        f"16 sections of {SECTION_LEN} bytes, 1 in use", "",
        "SECTION  ID  VECTOR  STATE",
        "      0   -       -  held", "",
        "ENDPOINT  KIND      NAME  OTHER  SLOTS  LENGTH  POSITION  UNREAD  STATE",
        "     0:1  receiver  jobs      -      -       -         -       -  open"]
    assert receiver.popen.poll() is None


def test_region_is_not_changed(place):
    """The command needs no permission to write, and changes nothing."""
    assert Peers(place, "shm").run("send", "q", "x", "--timeout", 0).returncode == 1
    before = place.shm_path.read_bytes()
    place.shm_path.chmod(0o400)
    assert show(place.shm)["sections"][0]["state"] == "left"
    assert place.shm_path.read_bytes() == before


@pytest.mark.parametrize("content, message", [
    (b"", "has no channels: no peer has opened channels in it"),
    (b"hello", "has no channels: it has other content"),
    (b"IVSCHANL" + struct.pack("<IIIIQQ", 7, 4096, 16, 0, 4096, SECTION_LEN),
     "has channels with layout version 7, and this program supports version 1"),
    (b"IVSCHANL" + struct.pack("<IIIIQQ", 1, 4096, 17, 0, 4096, SECTION_LEN),
     "has a damaged layout of channels, or one that does not fit into its 4194304 bytes"),
])
def test_no_channels(place, content, message):
    """A region without channels of the right version is reported with the reason."""
    place.shm_path.write_bytes(content + bytes(SIZE - len(content)))
    done = run("channels", place.shm)
    assert (done.returncode, done.stdout) == (1, b"")
    assert message in done.stderr.decode()


def hostile_section(numbers, number):
    """Return: the header and endpoints of a section, with random words that are close to valid
    ones."""
    words = [0, 1, 2, 16, 64, 1 << 32, (1 << 64) - 1, (1 << 63) - 1]

    def word():
        choice = numbers.randrange(3)
        return numbers.choice(words) if choice else numbers.getrandbits(64)

    data = struct.pack("<4Q", word(), word() or 1, word(), word()).ljust(ENDPOINT_LEN, b"\0")
    for index in range(1, 64):
        endpoint = [word() for _ in range(32)]
        endpoint[0] = numbers.randrange(11) | numbers.randrange(2) << 8 | index << 32
        if numbers.randrange(2):  # a lane inside the section, and a reference to an endpoint
            endpoint[8:10] = [16384, 16 | 1024 << 32]
            for i in (11, 13):
                other = numbers.randrange(64)
                endpoint[i] = numbers.choice([number, numbers.randrange(16)]) | other << 16 | \
                    other << 32
        if numbers.randrange(2):
            endpoint[1:6] = struct.unpack("<5Q", b"\x1b[2J\n\r\x7f\xff\xc2\x9b".ljust(40, b"n"))
        data += struct.pack("<32Q", *endpoint)
    return data.ljust(SECTION_LEN, b"\0")


def test_hostile_region(place):
    """Whatever a region contains, the output is complete, valid and safe for terminals."""
    numbers = random.Random(1)
    layout = b"IVSCHANL" + struct.pack("<IIIIQQ", 1, 4096, 16, 0, 4096, SECTION_LEN)
    for _ in range(20):
        content = layout.ljust(4096, b"\0") + b"".join(
            hostile_section(numbers, i) for i in range(16))
        place.shm_path.write_bytes(content.ljust(SIZE, b"\0"))
        found = show(place.shm)
        assert len(found["sections"]) == 16 and not found["truncated"]
        shown = [endpoint for section in found["sections"] for endpoint in section["endpoints"]]
        assert {endpoint["kind"] for endpoint in shown} == {
            "sender", "receiver", "reader", "listener", "connector", "acceptor", "publisher",
            "subscriber"}
        assert any(endpoint["damaged"] for endpoint in shown)
        done = run("channels", place.shm)
        assert done.returncode == 0 and not done.stderr
        text = done.stdout.decode()
        assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text.replace("\n", ""))
        assert len(text.splitlines()) == 16 + len(shown) + 5


def test_region_full_of_endpoints(place):
    """The number of endpoints that are shown is limited."""
    sections_n, section_len = 240, 32768
    section = struct.pack("<4Q", 0, 1, 0, 0).ljust(ENDPOINT_LEN, b"\0") + struct.pack(
        "<32Q", 4 | 1 << 32, *[0] * 31) * 63
    layout = b"IVSCHANL" + struct.pack("<IIIIQQ", 1, 4096, sections_n, 0, 4096, section_len)
    content = layout.ljust(4096, b"\0") + section.ljust(section_len, b"\0") * sections_n
    place.shm_path.write_bytes(content.ljust(8 << 20, b"\0"))
    found = show(place.shm)
    assert found["truncated"] and len(found["sections"]) == sections_n
    assert b"only the first 10000 endpoints are shown" in run("channels", place.shm).stdout


def test_region_that_changes(place):
    """Words that change while they are read do no harm."""
    numbers = random.Random(2)
    layout = b"IVSCHANL" + struct.pack("<IIIIQQ", 1, 4096, 16, 0, 4096, SECTION_LEN)
    contents = [b"".join(hostile_section(numbers, i) for i in range(2)) for _ in range(2)]
    place.shm_path.write_bytes(layout.ljust(SIZE, b"\0"))
    stop = threading.Event()

    def scribble():
        with open(place.shm_path, "r+b", buffering=0) as region:
            while not stop.is_set():
                for content in contents:
                    region.seek(4096)
                    region.write(content)

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for _ in range(20):
            assert len(show(place.shm)["sections"]) <= 2
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("words, message", [
    ([], "no ADDRESS"), (["x", "y"], 'surplus argument "y"'),
])
def test_mistakes(words, message):
    """A mistake in the command line is reported before anything is opened."""
    done = run("channels", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr.decode()
