# SPDX-License-Identifier: BSD-3-Clause
"""The examples `meet` and `hello`, which also test the library: each peer reads what the others
write, and receives their doorbells."""
import json
import signal
import time

import pytest

from support.py.fake_server import FakeServer, say

# Each measurement of a meeting takes 0.2 s on the program's clock.
pytestmark = pytest.mark.usefixtures("fast_clock")
MIB = 1 << 20


def start_meet(where, peers, vectors, name, *options):
    """Start the example `meet` as one of the peers in a meeting."""
    return where.start(where.build / "examples" / "meet", "-n", peers, "-e", vectors, "-a", name,
                       "-r", "50", "-t", "80", *options, f"unix:{where.socket}")


def result_of(process):
    """Parse the JSON object in the last line that `meet` has printed."""
    prefix = "meet: result "
    last = process.out.text().splitlines()[-1]
    assert last.startswith(prefix), last
    return json.loads(last[len(prefix):])


@pytest.mark.parametrize("vectors", [1, 2, 4])
@pytest.mark.parametrize("peers", [2, 3, 5])
def test_peers_meet(place, peers, vectors):
    """All peers read what each has written, and every doorbell arrives."""
    place.server("-n", vectors, "-l", "1M", region=["-r", "memfd:"])
    meeting = [start_meet(place, peers, vectors, f"peer-{n}") for n in range(peers)]
    for process in meeting:
        assert process.wait() == 0, process.err.text()
        assert process.err.text() == ""
    results = [result_of(process) for process in meeting]
    assert sorted(result["id"] for result in results) == list(range(peers))
    roster = [{"id": result["id"], "name": result["name"]} for result in results]
    for result in results:
        others = [each for each in range(peers) if each != result["id"]]
        assert (result["transport"], result["vectors"], result["memory"]) == ("unix", vectors, MIB)
        assert result["roster"] == sorted(roster, key=lambda each: each["id"])
        assert result["rings"] == [{"from": other, "vector": vector, "arrived": True}
                                   for other in others for vector in range(vectors)]
        assert result["read"] == [{"id": other, "correct": True} for other in others]
        assert [each["with"] for each in result["round_trips"]] == others
        for trips in result["round_trips"]:
            assert trips["n"] == 50 and 0 < trips["p50_us"] <= trips["p99_us"]
        assert min(result["write_mbs"], result["read_mbs"], result["floor_mbs"]) > 0


def test_meet_again(place):
    """Data from an earlier meeting that remains in the region is not mistaken for a peer."""
    with open(place.shm_path, "wb") as file:
        file.truncate(MIB)
    for _ in range(2):
        server = place.server("-l", "1M")
        meeting = [start_meet(place, 2, 1, f"peer-{n}") for n in range(2)]
        assert [process.wait() for process in meeting] == [0, 0]
        server.stop()
    place.server("-l", "1M")
    alone = start_meet(place, 2, 1, "alone", "-t", "5")
    assert alone.wait() == 1
    alone.err.wait("meet: peer 1 did not appear")


def test_meet_may_use_fewer_vectors_than_the_server_has(place):
    """If two of four vectors are requested, `meet` gets two."""
    place.server("-n", "4", "-l", "1M")
    meeting = [start_meet(place, 2, 2, f"peer-{n}") for n in range(2)]
    assert [process.wait() for process in meeting] == [0, 0]
    assert [result_of(process)["vectors"] for process in meeting] == [2, 2]


def test_meet_with_too_few_vectors_is_an_error(place):
    """If the server assigns too few vectors, `meet` gives up when its timeout expires and says how
    to start the server."""
    place.server("-n", "1", "-l", "1M")
    process = start_meet(place, 2, 3, "greedy", "-t", "5")
    assert process.wait() == 1
    process.err.wait(f"the server at {place.socket} assigned 1 vectors, not 3: start it with -n 3")


def test_meet_is_told_late(place):
    """A peer that was found in memory before the server announced it is rung after the
    announcement."""
    server = FakeServer(place, place.socket)
    first = start_meet(place, 2, 1, "first")
    first.out.wait("stage opened")
    sock, server.others = server.sock, {0: server.renew()}
    second = start_meet(place, 2, 1, "second")
    for process in (first, second):
        process.out.wait("stage read")
    time.sleep(0.5)
    assert first.popen.poll() is None, first.err.text()
    say(sock, 1, server.own[0])
    assert [process.wait() for process in (first, second)] == [0, 0]


@pytest.mark.parametrize("present, missing", [(1, 1), (2, 2)])
def test_meet_with_one_who_never_comes(place, present, missing):
    """If a peer never joins, the others exit with status 1 within their timeout and name the
    missing peer."""
    place.server("-l", "1M")
    begin = time.monotonic()
    meeting = [start_meet(place, present + 1, 1, f"peer-{n}", "--timeout", "10")
               for n in range(present)]
    for process in meeting:
        assert process.wait() == 1
        process.err.wait(f"meet: peer {missing} did not appear")
        assert not any(ring["arrived"] for ring in result_of(process)["rings"])
    assert time.monotonic() - begin < 8


def test_meet_with_one_too_many(place):
    """A peer whose id is too high for the meeting fails immediately."""
    place.server("-l", "1M")
    first = start_meet(place, 2, 1, "first")
    first.out.wait("stage opened")
    first.signal(signal.SIGSTOP)  # so that they are still connected when another joins
    second = start_meet(place, 2, 1, "second")
    second.out.wait("stage opened")
    extra = start_meet(place, 2, 1, "extra")
    assert extra.wait() == 1
    extra.err.wait("this peer's id is 2, but 2 peers must have the ids 0 to 1")
    first.signal(signal.SIGCONT)
    assert [process.wait() for process in (first, second)] == [0, 0]


def test_killed_peer_is_reported(place):
    """If a peer is killed, the other one gives up when its timeout expires, and names the killed
    peer."""
    place.server("-l", "1M")
    doomed = start_meet(place, 2, 1, "doomed", "-r", "100000")
    doomed.out.wait("stage opened")
    other = start_meet(place, 2, 1, "other", "-r", "100000", "-t", "10")
    other.out.wait("stage rung")
    doomed.end()
    assert other.wait() == 1
    other.err.wait("doomed")


@pytest.mark.parametrize("program, options", [("meet", []), ("hello", [])])
@pytest.mark.parametrize("transport", ["shm", "file"])
def test_plain_region(place, program, options, transport):
    """A plain region consists of memory only: `meet` and `hello` give this as the reason and say
    what to do."""
    with open(place.shm_path, "wb") as file:
        file.truncate(MIB)
    name = place.shm if transport == "shm" else place.shm_path
    done = place.run(place.build / "examples" / program, *options, f"{transport}:{name}")
    assert done.returncode == 1
    assert "a plain region has neither ids nor doorbells: use a server (unix:PATH" in done.stderr


@pytest.mark.parametrize("program", ["meet", "hello"])
def test_missing_server_is_an_error(place, program):
    """Without a server, `meet` and `hello` exit with status 1 and say how to start one."""
    done = place.run(place.build / "examples" / program, f"unix:{place.socket}")
    assert done.returncode == 1
    assert f"start it with ivshmem-server -S {place.socket}" in done.stderr


@pytest.mark.parametrize("options, message", [
    ([], "exactly one ADDRESS is required"), (["a", "b"], "exactly one ADDRESS is required"),
    (["-n", "1", "unix:x"], '"1" is not a valid value for option -n'),
    (["-n", "9", "unix:x"], '"9" is not a valid value for option -n'),
    (["-e", "0", "unix:x"], '"0" is not a valid value for option -e'),
    (["-t", "x", "unix:x"], '"x" is not a valid value for option -t'),
    (["-r", "", "unix:x"], '"" is not a valid value for option -r'),
    (["-a", 'quo"te', "unix:x"], "is not a valid value for option -a"),
    (["-Z"], "Z"),
])
def test_bad_options_of_meet(place, options, message):
    """With an invalid option, `meet` exits with status 2 and names the invalid value."""
    done = place.run(place.build / "examples" / "meet", *options)
    assert done.returncode == 2
    assert message in done.stderr


def test_help_of_meet(place):
    """The help of `meet` contains an example."""
    done = place.run(place.build / "examples" / "meet", "--help")
    assert done.returncode == 0 and "\nExample" in done.stdout


def test_hello(place):
    """One `hello` process waits, and another rings it."""
    place.server()
    hello = place.build / "examples" / "hello"
    waiting = place.start(hello, f"unix:{place.socket}")
    waiting.out.wait("hello: I am peer 0, waiting")
    done = place.run(hello, f"unix:{place.socket}", "0", "good morning")
    assert done.returncode == 0
    assert done.stdout == "hello: peer 1 told peer 0: good morning\n"
    assert waiting.wait() == 0
    assert waiting.out.text().splitlines()[-1] == "hello: peer 0 was told: good morning"


def test_hello_to_a_missing_peer(place):
    """If no peer has the given id, `hello` exits with status 1."""
    place.server()
    hello = place.build / "examples" / "hello"
    done = place.run(hello, f"unix:{place.socket}", "5", "word")
    assert done.returncode == 1
    assert done.stderr == "hello: cannot ring peer 5: it is not connected, or does not exist\n"
    assert place.run(hello).returncode == 2
