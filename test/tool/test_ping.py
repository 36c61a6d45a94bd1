# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem ping and pong."""
import json
import re
import signal
import subprocess

import pytest

from support.py.clients import join
from support.py.paths import BUILD
from support.py.terminal import Terminal
from support.py.wire import readable, ring

TOOL = BUILD / "tools" / "ivshmem"


def run(*words):
    """Run ivshmem with these arguments."""
    return subprocess.run([TOOL, *map(str, words)], capture_output=True, timeout=20, check=False,
                          text=True)


@pytest.fixture(name="server")
def server_fixture(place):
    """A server whose clients have two vectors."""
    return place.server("-n", "2", "-l", "1M")


@pytest.fixture(name="address")
def address_fixture(server):
    """The address of the server."""
    return f"unix:{server.socket}"


@pytest.fixture(name="pong")
def pong_fixture(place, address):
    """Return: pong(argument...), which starts ivshmem pong as peer 0."""
    def start(*words):
        running = place.start(TOOL, "pong", address, *words)
        running.err.wait("answering as peer 0, which has 2 vectors")
        return running
    return start


def test_every_doorbell_is_answered(address, pong):
    """Also the first one, which can arrive before the news that its sender has joined."""
    pong()
    for _ in range(10):
        done = run("ping", address, 0, "--count", 1, "--timeout", 10)
        assert done.returncode == 0, done.stderr
        assert re.search(r"^1: answer on vector 0 after [0-9.]+ .?s$", done.stdout, re.M)
        assert "peer 0, vector 0: 1 sent, 1 answered, 0 lost" in done.stdout
        assert re.search(r"^round trip: min \S+ .s, median \S+ .s, p99 \S+ .s, max \S+ .s$",
                         done.stdout, re.M)


def test_flood(address, pong):
    """With --flood, the answers are counted and not printed one by one."""
    pong()
    done = run("ping", address, 0, "--flood", "--count", 500, "--vector", 1, "--timeout", 10)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "peer 0, vector 1: 500 sent, 500 answered, 0 lost"
    bars = [re.fullmatch(r" *\S+ .?s to \S+ .?s +#* +(\d+)", line) for line in lines[2:]]
    assert sum(int(bar[1]) for bar in bars) == 500


def test_json(address, pong):
    """The results as JSON."""
    pong()
    done = run("ping", address, 0, "--flood", "--count", 20, "--json", "--timeout", 10)
    results = json.loads(done.stdout)
    assert (results["peer"], results["vector"]) == (0, 0)
    assert (results["sent"], results["answered"], results["lost"]) == (20, 20, 0)
    assert (0 < results["min_ns"] <= results["median_ns"] <= results["p99_ns"]
            <= results["max_ns"])


def test_no_answer(place, address):
    """A peer that does not ring back loses doorbells, which is a failure."""
    client = join(place, 2)
    done = run("ping", address, client.id, "--count", 1)
    assert done.returncode == 1
    assert "1: no answer within 1 s" in done.stdout
    assert done.stdout.endswith(f"peer {client.id}, vector 0: 1 sent, 0 answered, 1 lost\n")


def test_any_program_can_answer(place, address):
    """The output says on which vector the answer came."""
    client = join(place, 2)
    ping = place.start(TOOL, "ping", address, client.id, "--count", 1, "--timeout", 10)
    assert readable(client.own, 20) == [0]
    client.read_until_knows([1])
    ring(client.peers[1][1])
    ping.out.wait("1: answer on vector 1 after")
    assert ping.wait() == 0


def test_signal_prints_the_results(place, address, pong):
    """After Ctrl-C, the results are printed, and the doorbell in flight does not count as lost."""
    pong()
    ping = place.start(TOOL, "ping", address, 0, "--timeout", 10)
    ping.out.wait("1: answer on vector 0")
    ping.signal(signal.SIGINT)
    assert ping.wait() == 0
    ping.out.wait("answered, 0 lost")


def test_terminal(place, server, address, pong):
    """On a terminal of 80x24, Ctrl-C prints the results, which fit, and the shell continues. The
    doorbells do not need the server, so a server that dies does not end the command."""
    pong()
    terminal = Terminal(place)
    terminal.command(TOOL, "ping", address, 0, "--timeout", 10)
    terminal.wait("1: answer on vector 0 after")
    server.end()
    terminal.wait("3: answer on vector 0 after")
    terminal.keys("C-c")
    terminal.wait("answered, 0 lost", "round trip: min")
    terminal.command("echo", "end-of-$((2 + 2))")
    terminal.wait("end-of-4")
    lines = terminal.text().splitlines()
    bars = [line for line in lines if re.search(" to .*s +#", line)]
    assert bars and all(re.search(r"\d$", line.rstrip()) for line in bars)


def test_peer_that_leaves(place, address):
    """The command ends when its peer leaves."""
    client = join(place, 2)
    ping = place.start(TOOL, "ping", address, client.id, "--timeout", 60)
    assert readable(client.own, 20) == [0]  # so the command has found the peer
    client.close()
    ping.err.wait(f"ivshmem ping: peer {client.id} has left")
    assert ping.wait() == 1


def test_pong_ends_at_a_signal(pong):
    """pong ends at SIGINT, and says how many doorbells it has answered."""
    running = pong()
    running.signal(signal.SIGINT)
    assert running.wait() == 0
    running.err.wait("ivshmem pong: answered 0 doorbells")


def test_pong_answers_one_peer(place, address, pong):
    """With PEER, only that peer is rung."""
    pong(1)
    client = join(place, 2)
    done = run("ping", address, 0, "--count", 1)
    assert done.returncode == 1
    assert client.id == 1
    assert readable(client.own) == [0]


@pytest.mark.parametrize("words, message, status", [
    ((), "no ADDRESS", 2),
    (("unix:/x",), "no PEER", 2),
    (("unix:/x", "x"), 'invalid peer "x": use an id from 0 to 65535', 2),
    (("unix:/x", "65536"), 'invalid peer "65536"', 2),
    (("unix:/x", 0, "-v", "x"), 'invalid vector "x"', 2),
    (("unix:/x", 0, "-n", "0"), 'invalid count "0"', 2),
    (("unix:/x", 0, "-i", "0"), 'invalid time "0"', 2),
    (("unix:/x", 0, 1), "see --help", 2),
])
def test_mistakes_in_the_command_line(words, message, status):
    """A usage error names the value."""
    done = run("ping", *words)
    assert done.returncode == status
    assert message in done.stderr


@pytest.mark.parametrize("words, message", [
    ((7,), 'no peer 7 is connected: "ivshmem peers'),
    ((0, "-v", 2), "peer 0 has no vector 2: use 0 to 1"),
])
def test_peer_that_cannot_be_rung(address, pong, words, message):
    """An error says which peers or vectors there are."""
    pong()
    done = run("ping", address, *words)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize("command", [("ping", "0"), ("pong",)])
def test_region_without_doorbells(place, command):
    """On a plain region, no peer can be rung."""
    place.shm_path.write_bytes(bytes(1 << 20))
    done = run(command[0], place.shm, *command[1:])
    assert done.returncode == 1
    assert "shm:" in done.stderr
