# SPDX-License-Identifier: BSD-3-Clause
"""Channels between two guests and their host, over all transports, with and without doorbells.

The content and the order of all messages are checked by the programs that receive them
(channel_load/main.c). With IVSHMEM_GUEST_ALL, there are many more messages.
"""
import functools
import hashlib
import http.server
import json
import os
import random
import re
import threading
import time
import urllib.request

import pytest

from support.py.channel_guests import (DEVICES, LETTERS, PATIENCE, TRANSPORTS, Machines,
                                       finish_all, section)
from support.py.forwarding import Target, ask, connect, echo
from support.py.paths import BUILD
from support.py.programs import Place

ALL = "IVSHMEM_GUEST_ALL" in os.environ
KINDS = ("queue", "stream", "topic", "flood")
#: The transports of guest a and guest b. Each transport is at each end.
PAIRS = [("driver", "vfio"), ("vfio", "sysfs"), ("sysfs", "driver")]
FEW, MANY, MILLION = 3000, 100000, 1000000
#: Messages with which a flood begins and ends, and that have no number; they can be missed, too.
BARE_MAX = 4
#: seconds for the largest number of messages on a loaded machine
LONG = 1500

pytestmark = pytest.mark.skipif(
    not (BUILD / "tools/ivshmem-static").exists(),
    reason="ivshmem-static was not built: libjansson.a or libzstd.a is missing")


@pytest.fixture(name="machines", scope="module")
def machines_fixture():
    """Two guests and the host, for all tests. The last test kills one guest."""
    place = Place(BUILD)
    try:
        yield Machines(place)
    finally:
        place.close()


def load(machines, letter, device, transport, *loads):
    """Start channel-load. Return: the job."""
    address = machines.address(letter, device, transport)
    return machines[letter].start(" ".join([
        "exec channel-load", address, str(section(letter, device, transport)), letter, *loads]))


def others(letter):
    """Return: the letters of the other peers."""
    return LETTERS.replace(letter, "")


def tallies(output):
    """Return: number, digest and missed messages of each direction of each load of a peer."""
    found = re.findall(r"^(\w+) (\w+) (to|from) (.): (\d+) (\w+)(?: missed (\d+))?$",
                       "\n".join(output), re.M)
    return {(kind, way, other): (int(number), digest, int(missed or 0))
            for kind, _, way, other, number, digest, missed in found}


def check_tallies(outputs, count):
    """Check that all peers have received what the others have sent."""
    found = {letter: tallies(output) for letter, output in outputs.items()}
    for receiver in LETTERS:
        for sender in others(receiver):
            for kind in KINDS:
                sent = found[sender][kind, "to", receiver]
                received = found[receiver][kind, "from", sender]
                assert sent[0] == count
                if kind == "flood":
                    assert 0 < received[0] <= count <= received[0] + received[2] <= count + BARE_MAX
                else:
                    assert received == (*sent[:2], 0)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("device", DEVICES)
def test_messages(machines, record_property, device, pair):
    """Each of three peers sends messages to both others, of each kind; all arrive as they were
    sent, or are counted as missed by a subscriber that is too slow."""
    count = FEW if not ALL else MILLION if pair == PAIRS[0] else MANY
    jobs = {letter: load(machines, letter, device, transport, " then ".join(
        f"{kind}:{kind}:{others(letter)}:{count}" for kind in KINDS))
            for letter, transport in zip(LETTERS, [*pair, "driver"])}
    outputs = dict(zip(jobs, finish_all(jobs.values(), LONG if ALL else PATIENCE)))
    for letter, transport in zip(LETTERS, [*pair, "unix" if device == "doorbell" else "shm"]):
        assert outputs[letter][0].endswith(f"through {transport}")
    check_tallies(outputs, count)
    record_property(f"{count} messages each way", ", ".join(
        line for line in outputs["h"] if line.startswith("done")))


@pytest.mark.parametrize("device, there, back, slow_len", [
    ("doorbell", "a", "b", 1 << 30),
    ("plain", "b", "a", 128 << 20),
], ids=DEVICES)
def test_pipe(machines, record_property, device, there, back, slow_len):
    """A file passes from one guest to the other through ivshmem pipe. Its digest is that of the
    same pseudorandom bytes on the host."""
    len_ = slow_len if ALL else 16 << 20
    generate = f"channel-load bytes {LETTERS.index(there)} {len_}"
    sides = [f"ivshmem pipe {machines.options(letter, device, 'driver')} file"
             for letter in (there, back)]
    began = time.monotonic()
    jobs = [machines[back].start(
        f"{{ {sides[1]} --listen </dev/null; echo status $? >&2; }} | sha256sum"),
            machines[there].start(f"{generate} | {sides[0]}")]
    expected = machines["h"].run(f"{generate} | sha256sum", LONG)[0]
    received, sent = finish_all(jobs, LONG)
    assert (sorted(received), sent) == (sorted([expected, "status 0"]), [])
    record_property(f"{len_} bytes", f"{time.monotonic() - began:.1f} s")


class Forwarding:
    """ivshmem forward at a guest and at the host. Each of them reaches a web server and an echo
    server of the other."""

    WEB, ECHO = 8080, 8007  # where the guest reaches those of the host

    def __init__(self, machines, device, guest, place, len_):
        self.guest = machines[guest]
        (place.dir / "file").write_bytes(os.urandom(len_))
        handler = functools.partial(QuietHandler, directory=place.dir)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        place.add(ServerCloser(server))
        echoing = place.add(Target(echo))
        self.guest.run(f"mkdir -p /tmp/www && channel-load bytes 7 {len_} >/tmp/www/file")
        self.servers = [self.guest.start_program("httpd -f -p 127.0.0.1:80 -h /tmp/www"),
                        self.guest.start_program("channel-load echo 7")]
        self.jobs = [
            machines["h"].start_program(
                f"ivshmem forward {machines.options('h', device, 'driver')} -v "
                f"--serve web=tcp:127.0.0.1:{server.server_port} --serve echo={echoing.address} "
                "--listen tcp:127.0.0.1:0 --to guest-web --listen tcp:127.0.0.1:0 --to guest-echo"),
            self.guest.start_program(
                f"ivshmem forward {machines.options(guest, device, 'driver')} -v "
                "--serve guest-web=tcp:127.0.0.1:80 --serve guest-echo=tcp:127.0.0.1:7 "
                f"--listen tcp:127.0.0.1:{self.WEB} --to web "
                f"--listen tcp:127.0.0.1:{self.ECHO} --to echo")]
        self.jobs[1].wait("ivshmem forward: echo: listening at")
        self.servers[1].wait("listening")

    def address(self, name):
        """Return: the address at which the host reaches a server of the guest."""
        return re.search(r"listening at (\S+)",
                         self.jobs[0].wait(f"{name}: listening at"))[1]

    def close(self):
        """End the programs."""
        for job in self.jobs:
            job.signal()
            job.finish()
        for server in self.servers:
            server.signal()
            server.wait_for_end()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files, without a log."""

    def log_message(self, *_):
        pass


class ServerCloser:
    """Runs a server in a thread, until it is closed."""

    def __init__(self, server):
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, daemon=True)
        self._thread.start()

    def close(self):
        """End the server."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(name="forwarding", params=DEVICES)
def forwarding_fixture(machines, place, request):
    """ivshmem forward between guest a and the host."""
    made = Forwarding(machines, request.param, "a", place, 64 << 20 if ALL else 4 << 20)
    yield made
    made.close()


def test_forwarded_downloads(forwarding, place):
    """Guest and host download a file from each other's web server; it is complete."""
    expected = hashlib.sha256((place.dir / "file").read_bytes()).hexdigest()
    assert forwarding.guest.run(
        f"wget -q -O - http://127.0.0.1:{forwarding.WEB}/file | sha256sum",
        LONG if ALL else PATIENCE) == [f"{expected}  -"]
    address = forwarding.address("guest-web").replace("tcp:", "")
    with urllib.request.urlopen(f"http://{address}/file", timeout=PATIENCE) as answer:
        got = hashlib.sha256(answer.read()).hexdigest()
    assert forwarding.guest.run("sha256sum </tmp/www/file") == [f"{got}  -"]


def test_forwarded_connections(forwarding, place):
    """Many connections, one after another and at the same time, from the host to the guest and
    from the guest to the host, get their own bytes back."""
    turns = 50 if ALL else 10
    at = forwarding.address("guest-echo")
    for i in range(turns):
        data = os.urandom(100 + 400 * i)
        with connect(at) as sock:
            assert ask(sock, data) == data
    socks = [place.add(connect(at)) for _ in range(20)]
    datas = [os.urandom(20000 + i) for i in range(20)]
    for sock, data in zip(socks, datas):
        sock.sendall(data[:1000])
    answers = [ask(sock, data[1000:]) for sock, data in zip(socks, datas)]
    assert answers == datas
    ask_host = "channel-load bytes $i 20000 >/tmp/in$i; " \
        f"nc 127.0.0.1 {forwarding.ECHO} </tmp/in$i | cmp - /tmp/in$i && echo right; rm /tmp/in$i"
    assert forwarding.guest.run(f"for i in $(seq {turns}); do {ask_host}; done") == \
        ["right"] * turns
    assert forwarding.guest.run(f"for i in $(seq 20); do ({ask_host}) & done; wait") == \
        ["right"] * 20


def start_round(machines, chance, number):
    """Start a publisher, and a subscriber on each machine, in a random order, at random moments,
    over random transports. Return: the publisher, and the subscribers."""
    device = chance.choice(DEVICES)
    calls = []
    publishing = chance.choice(LETTERS)
    for letter in LETTERS:
        own, other = (machines.options(letter, device, transport)
                      for transport in chance.sample(TRANSPORTS, 2))
        calls.append((letter, f"ivshmem subscribe {own} news-{number} --last -n 1"))
        if letter == publishing:
            calls.append((letter, f"ivshmem publish {other} news-{number} round-{number} "
                          "--linger 3600"))
    chance.shuffle(calls)
    jobs = []
    for letter, command in calls:
        jobs.append((command, machines[letter].start_program(command)))
        time.sleep(chance.choice([0, 0.2]) * chance.random())  # any order, not a wait
    return [[job for command, job in jobs if word in command]
            for word in ("publish", "subscribe")]


def test_publishers_and_subscribers_in_any_order(machines, record_property):
    """It does not matter whether the publisher or a subscriber starts first, in which guest, or on
    the host: each subscriber gets the message."""
    seed = int(os.environ.get("IVS_ORDER_SEED", random.randrange(1 << 32)))
    record_property("IVS_ORDER_SEED", seed)
    chance = random.Random(seed)
    for number in range(100 if ALL else 5):
        (publisher,), subscribers = start_round(machines, chance, number)
        for output in finish_all(subscribers):
            assert [line for line in output if not line.startswith("pid ")] == [f"round-{number}"]
        publisher.signal()
        publisher.wait_for_end()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("device", DEVICES)
def test_bench(machines, device, transport):
    """ivshmem bench measures the memory and, if the device has doorbells, rings itself. With the
    driver, it would wake other programs, so it needs --vector."""
    command = f"ivshmem bench {machines.address('a', device, transport)} --time 0 --size 4K --json"
    report = json.loads("\n".join(machines["a"].run(command)))
    assert (report["transport"], report["cached"]) == (transport, transport == "driver")
    assert [row["operation"] for row in report["memory"]] == ["read", "copy out"]
    rings_itself = device == "doorbell" and transport != "driver"
    assert (report["doorbell"] is not None) == rings_itself, report["no_doorbell"]
    if device == "doorbell" and transport == "driver":
        assert "would be woken" in report["no_doorbell"]
        report = json.loads("\n".join(machines["a"].run(f"{command} --vector 0")))
        assert report["doorbell"]["vector"] == 0 and report["no_doorbell"] is None


def kill_loads(device, peers, names="qst"):
    """Return: the loads that run until a guest is killed, and those after it has been restarted."""
    later = names if device == "doorbell" else names.upper()
    return [[f"{kind}:{name}:{peers}:{count}"
             for kind, name in zip(KINDS, of)] for of, count in ((names, "endless"), (later, FEW))]


@pytest.mark.parametrize("turn", range(5 if ALL else 1))
def test_guest_is_killed(machines, turn):
    """When a guest is killed, its partners see the end of all its channels, and continue with the
    guest that is started again. Without doorbells, they see the end when that guest takes the
    section."""
    pairs = dict(zip(DEVICES, (PAIRS[turn % 3], PAIRS[(turn + 1) % 3])))
    jobs = {}
    for device, pair in pairs.items():
        for letter, transport in zip("ah", pair):
            first, then = kill_loads(device, "b")
            jobs[device, letter] = load(machines, letter, device, transport, *first, "then", *then)
        load(machines, "b", device, pair[1], *kill_loads(device, "ah")[0])
    for job in jobs.values():
        job.wait("running", 3)
    machines["b"].kill()
    for letter in "ah":
        jobs["doorbell", letter].wait("ended", 3)
    machines.boot("b").wait_until_ready()
    after = [load(machines, "b", device, pair[1], *kill_loads(device, "ah")[1])
             for device, pair in pairs.items()]
    for output in finish_all([*jobs.values(), *after]):
        assert len([line for line in output if line.startswith("done")]) == 3
