# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem channels: what it shows, and that hostile regions do not harm it."""
import contextlib
import json
import random
import struct
import threading

import pytest

from support.py.channel_tool import SIZE, Command, Peers, run
from support.py.programs import wait_until

SECTION_LEN = 258048  # of the 16 sections of a region of 4 MiB
PUBLISHER = 7  # a role
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
    receiver = served.start("recv", "jobs", "--count", 3)
    assert receiver.read(8) == b"one\ntwo\n"
    wait_until(lambda: endpoints(served.address)["sender"]["unread"] == 0, "taken")
    found = endpoints(served.address)
    assert found["reader"]["other"] == {"section": own, "endpoint": queue["endpoint"]}
    assert found["sender"]["other"]["section"] != own and found["receiver"]["name"] == "jobs"
    assert found["reader"]["position"] == 2 and found["reader"]["name"] == "jobs"
    wait_until(lambda: endpoints(served.address)["reader"]["sleeps"], "the receiver waits")


def test_stream_and_death(served):
    """The output shows both writers of a stream, and whether the holder of a section has died
    or has left."""
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
    receiver = peers.start("recv", "jobs")
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


class Watch:
    """A running "channels --watch --json"."""

    def __init__(self, place):
        self.command = place.add(Command("channels", place.shm, "--watch", "--json"))

    def next(self):
        """Return: the next object that it prints."""
        lines = []
        while not lines or lines[-1] not in (b"", b"}\n"):
            lines.append(self.command.popen.stdout.readline())
        return json.loads(b"".join(lines))

    def rates(self):
        """Return: the rates of all endpoints of the next object, section by section."""
        found = self.next()
        assert found["interval_s"] == 1
        return [endpoint["messages_per_s"] for section in found["sections"]
                for endpoint in section["endpoints"]]


def writer(role, incarnation, position, reader=0, slot=0):
    """Return: an endpoint with a lane of 16 slots of 1024 bytes. @slot: number of the first one"""
    words = [role | incarnation << 32, int.from_bytes(b"name", "little"), *[0] * 30]
    words[8:10] = [16384 + slot * 1024, 16 | 1024 << 32]
    words[13] = reader
    if role == PUBLISHER:  # 20 buffers of 64 bytes
        words[14:16] = [SECTION_LEN - 20 * 64, 64 | 2 << 32 | 2 << 48]
    words[16] = position
    return struct.pack("<32Q", *words)


def reader_of(target, life, position, missed=0):
    """Return: a reader's endpoint."""
    words = [3 | 1 << 32, *[0] * 31]
    words[11:13] = [target, life]
    words[16:18] = [position, missed]
    return struct.pack("<32Q", *words)


def ref(section, index):
    """Return: the word that names an endpoint with incarnation 1."""
    return section | index << 16 | 1 << 32


def write_sections(place, *sections):
    """Fill the region with sections that have a life and endpoints."""
    content = b"IVSCHANL" + struct.pack("<IIIIQQ", 1, 4096, 16, 0, 4096, SECTION_LEN)
    content = content.ljust(4096, b"\0")
    for life, *endpoints_of_section in sections:
        header = b"IVSSECTN" + struct.pack("<3Q", life, 0xffffffff, 0)
        section = header.ljust(ENDPOINT_LEN, b"\0") + b"".join(endpoints_of_section)
        content += section.ljust(SECTION_LEN, b"\0")
    with open(place.shm_path, "r+b") as region:
        region.write(content)


def put_messages(place, slot, *numbers, length=5):
    """Store messages with these numbers in consecutive slots of section 0."""
    with open(place.shm_path, "r+b") as region:
        for i, number in enumerate(numbers):
            region.seek(4096 + 16384 + (slot + i) * 1024)
            region.write(struct.pack("<II", length, number))


def test_backlog_and_problems(place):
    """How far each reader is behind is shown, and why an endpoint is of no more use."""
    place.shm_path.write_bytes(bytes(SIZE))
    write_sections(
        place,
        (7, writer(1, 1, 4, ref(1, 1)),  # 1 of 4 messages is unread
         writer(7, 1, 50, slot=16),  # a publisher
         writer(1, 1, 4, ref(1, 4), slot=32),  # one has been released before it was counted
         writer(1, 1, 4, ref(1, 9), slot=48),  # its reader does not exist
         writer(1, 1, 1, slot=64),  # its message has an impossible length
         writer(7, 1, 20, slot=80),  # its last message has an impossible number
         writer(1, 1, 17, slot=96)),  # more messages than slots
        (8, reader_of(ref(0, 1), 7, 3),
         reader_of(ref(0, 2), 7, 45),  # a subscriber
         reader_of(ref(0, 2), 7, 20, missed=3),  # 16 of 30 messages are still there
         reader_of(ref(0, 3), 7, 5),
         reader_of(ref(0, 9), 7, 5),  # its writer does not exist
         reader_of(ref(0, 2), 6, 45),  # its writer had an earlier life
         reader_of(ref(0, 2), 7, 60)))  # farther than the publisher
    put_messages(place, 0, 1, 2, 3, 4)
    put_messages(place, 16, 49, 50, *range(35, 49))
    put_messages(place, 64, 1, length=1025)
    put_messages(place, 80, *range(2, 18))
    writers, readers = [section["endpoints"] for section in show(place.shm)["sections"]]
    assert [(end["unread"], end["problem"]) for end in writers] == [
        (1, None), (None, None), (0, None), (None, "reader gone"), (1, "impossible message"),
        (None, "impossible message"), (None, "impossible positions")]
    assert [(end["unread"], end["overwritten"], end["problem"]) for end in readers] == [
        (1, 0, None), (5, 0, None), (30, 14, None), (0, 0, None), (None, None, "writer gone"),
        (None, None, "writer gone"), (None, None, None)]
    text = run("channels", place.shm).stdout.decode()
    assert [end["missed"] for end in readers] == [0, 0, 3, 0, 0, 0, 0]
    assert [end["message_len"] for end in writers[:2]] == [1016, 64]
    for state in ("open, missed 3, misses 14", "open, reader gone", "open, writer gone",
                  "open, impossible message"):
        assert state in text


def test_rates(place):
    """Positions that have moved forward give rates, and no other positions do."""
    place.shm_path.write_bytes(bytes(SIZE))
    last, top = (1 << 64) - 1, 1 << 63
    write_sections(place, (7, writer(1, 1, 100), writer(7, 1, 5), writer(1, 1, 100),
                           writer(1, 1, 100), writer(1, 1, 100), writer(2, 1, 100),
                           writer(1, 1, last), writer(1, 1, 0), writer(1, 1, 100)),
                   (8, writer(1, 1, 100)), (9, writer(1, 1, 100)))
    watch = Watch(place)
    rates = watch.rates()
    assert rates == [0, 0, 0, 0, 0, None, 0, 0, 0, 0, 0]
    write_sections(place, (7, writer(1, 1, 1100),
                           writer(7, 1, 5),
                           writer(1, 1, 99),  # backwards
                           writer(1, 2, 1100),  # another use of the endpoint
                           writer(7, 1, 1100),  # another role
                           writer(2, 1, 1100),  # a receiver has no position
                           writer(1, 1, 1),  # backwards, as a difference of 2
                           writer(1, 1, top),  # farther than any peer can go
                           writer(1, 1, 100 + (1 << 40))),
                   (3, writer(1, 1, 1100)),  # another life
                   (last, writer(1, 1, 1100)))  # two holders
    rates = watch.rates()
    assert 0 < rates[0] <= 1000  # 1000 messages in a second, or longer on a busy machine
    assert rates[1:] == [0] + [None] * 9
    rates = watch.rates()
    assert rates == [0] * 5 + [None] + [0] * 4 + [None]


def test_rates_of_peers(place):
    """The rates of a publisher and of its subscriber are shown while they move, also as text."""
    peers = Peers(place, "shm")
    publisher, subscriber = peers.start("publish", "t"), peers.start("subscribe", "t")
    publisher.write(b"x\n")
    # Until one of them has divided the region, the command fails.
    wait_until(lambda: run("channels", place.shm).returncode == 0, "the region has channels")
    wait_until(lambda: {"publisher", "reader"} <= endpoints(place.shm).keys(), "both take part")
    stop = threading.Event()

    def exchange():
        with contextlib.suppress(OSError):
            while not stop.is_set():
                publisher.write(b"x\n")
                subscriber.read(2)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        found = json.loads(run("channels", place.shm, "--json", "--interval", 1).stdout)
        done = run("channels", place.shm, "--interval", 1)
    finally:
        stop.set()
        publisher.write(b"x\n" * 10)  # so that the thread cannot wait for one that was missed
        thread.join()
    rates = {endpoint["kind"]: endpoint["messages_per_s"] for section in found["sections"]
             for endpoint in section["endpoints"]}
    assert rates["publisher"] > 0 and rates["reader"] > 0 and rates["subscriber"] is None
    titles, = [line for line in done.stdout.decode().splitlines() if "ENDPOINT" in line]
    assert titles.split()[-4:] == ["POSITION", "MSGS/S", "UNREAD", "STATE"]


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
    (["x", "--interval", "0"], 'invalid interval "0": use 1 to 3600 seconds'),
])
def test_mistakes(words, message):
    """A mistake in the command line is reported before anything is opened."""
    done = run("channels", *words)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr.decode()
