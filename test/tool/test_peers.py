# SPDX-License-Identifier: BSD-3-Clause
"""The ivshmem commands for a peer: get, put, dump, peers, ring and wait. Code that they share with
ivshmem-client is tested in test/client."""
import json
import os
import subprocess

import pytest

from support.py.clients import join
from support.py.paths import BUILD
from support.py.wire import readable, ring

TOOL = BUILD / "tools" / "ivshmem"
SIZE = 1 << 20
STRANGER = 61234

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")


def run(*words, data=b""):
    """Run ivshmem with these arguments, and with @data as its standard input."""
    return subprocess.run([TOOL, *map(str, words)], input=data, capture_output=True, timeout=20,
                          check=False)


@pytest.fixture(name="region")
def region_fixture(place):
    """A region of zeroes, except for "hello" at offset 4096."""
    place.shm_path.write_bytes(bytes(4096) + b"hello" + bytes(SIZE - 4101))
    return place.shm_path


@pytest.fixture(name="socket")
def socket_fixture(place):
    """The socket of a server whose clients have two vectors, with a roster page."""
    place.server("-n", "2", "-l", "1M", "--roster")
    return place.socket


@pytest.mark.parametrize("address", ["{name}", "shm:{name}", "{path}", "file:{path}"])
def test_addresses_of_a_region(place, region, address):
    """A name without a prefix means shm:NAME, and a path without a prefix means the file at that
    path."""
    done = run("get", address.format(name=place.shm, path=region), "4K", 5)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello", b"")


def test_path_of_a_socket(place, socket):
    """A path without a prefix means a server if there is a socket at the path."""
    client = join(place, 2)
    assert run("ring", socket, client.id, 1).returncode == 0
    assert readable(client.own) == [1]


@pytest.mark.parametrize("address, message", [
    ("", 'invalid address "": use a name'),
    ("a\nb", 'invalid address "a?b": use UTF-8 without control characters'),
    ("\x1b[2J", 'invalid address "?[2J": use UTF-8 without control characters'),
    ("x" * 4096, "it is too long"),
    ("no:such", 'invalid address "no:such": put shm: before it if it is a name'),
    ("memfd:", '"memfd:" is not a valid address'),
])
def test_invalid_addresses(address, message):
    """An invalid address is reported with the reason."""
    done = run("get", address, 0, 1)
    assert done.returncode in (1, 2) and not done.stdout
    assert done.stderr.startswith(b"ivshmem get: ") and message in done.stderr.decode()


@pytest.mark.parametrize("words, message", [
    (["get"], "no ADDRESS"), (["put"], "no ADDRESS"), (["dump"], "no ADDRESS"),
    (["peers"], "no ADDRESS"), (["ring"], "no ADDRESS"), (["wait"], "no ADDRESS"),
    (["get", "x"], "no OFFSET"), (["get", "x", "0"], "no LEN"), (["put", "x", "0"], "no TEXT"),
    (["get", "x", "0", "1", "2"], 'surplus argument "2"'),
    (["put", "x", "0", "a", "b"], 'surplus argument "b": quote TEXT if it contains blanks'),
    (["dump", "x", "0"], "no LEN"), (["dump", "x", "0", "1", "2"], 'surplus argument "2"'),
    (["dump", "x", "0", "1", "--json"], "use ivshmem get for bytes"),
    (["ring", "x"], "no PEER"), (["ring", "x", "0"], "no VECTOR"),
    (["ring", "x", "all", "1"], 'surplus argument "1"'),
    (["peers", "x", "y"], 'surplus argument "y"'),
    (["wait", "x", "65536"], 'invalid vector "65536": use 0 to 65535'),
    (["wait", "x", "0", "1"], 'surplus argument "1"'),
    (["wait", "x", "-t", "soon"], 'invalid time limit "soon"'),
    (["wait", "x", "-n", "0"], 'invalid count "0"'),
])
def test_mistakes(words, message):
    """A mistake in the command line is reported before anything is opened."""
    done = run(*words)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.decode().startswith(f"ivshmem {words[0]}: {message}"[:len(words[0]) + 10])
    assert message in done.stderr.decode()


def test_absent_region(place):
    """The error message names a region that does not exist."""
    done = run("get", place.shm, 0, 1)
    assert done.returncode == 1 and place.shm in done.stderr.decode()


def test_put_and_get(place, region):
    """"put" writes text, hexadecimal digits or standard input, and "get" prints what was
    written."""
    assert run("put", place.shm, 0, "a b").returncode == 0
    assert run("put", place.shm, 3, "-x", "00ff").returncode == 0
    assert run("put", place.shm, "0x5", "-", data=b"\n\0x").returncode == 0
    assert region.read_bytes()[:9] == b"a b\0\xff\n\0x\0"
    assert run("get", "-x", place.shm, 0, 8).stdout == b"61206200ff0a0078\n"


def test_put_that_does_not_fit(place, region):
    """Text that would extend beyond the region is not written."""
    before = region.read_bytes()
    done = run("put", place.shm, SIZE - 1, "ab")
    assert done.returncode == 1 and b"ivshmem put: put: the data does not fit" in done.stderr
    assert region.read_bytes() == before


@needs_root
def test_reading_needs_no_permission_to_write(place, region):
    """"get", "dump" and "peers" open the region for reading only; "put" says why it cannot
    write."""
    region.chmod(0o644)
    program = place.dir / "ivshmem"
    program.write_bytes(TOOL.read_bytes())
    program.chmod(0o755)
    place.dir.chmod(0o755)

    def run_as_stranger(*words):
        process = place.start(program, *words, user=STRANGER)
        return process.wait(), process.out.text(), process.err.text()

    assert run_as_stranger("get", place.shm, "4K", "5") == (0, "hello", "")
    assert run_as_stranger("dump", place.shm, "4K", "5")[0] == 0
    status, _, message = run_as_stranger("put", place.shm, "0", "x")
    assert status == 1 and "this user may only read the region's file" in message


def test_dump_of_bytes(place, region):
    """"dump" with a range prints offsets, hexadecimal digits and characters; a single star replaces
    repeated lines."""
    done = run("dump", place.shm, 4080, 64)
    zeroes = b"00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00"
    assert done.stdout.split(b"\n") == [
        b"00000ff0  " + zeroes + b"  |................|",
        b"00001000  68 65 6c 6c 6f 00 00 00  00 00 00 00 00 00 00 00  |hello...........|",
        b"00001010  " + zeroes + b"  |................|", b"*", b"00001030", b""]
    assert run("dump", place.shm, 4096, 3).stdout.split(b"\n")[0] == \
        b"00001000  68 65 6c" + b" " * 42 + b"|hel|"
    assert region.exists()


def test_dump_of_a_peer(place, socket):
    """"dump" prints the transport, the region, the peers and the missing capabilities, as text or
    JSON."""
    client = join(place, 2)
    text = run("dump", socket).stdout.decode()
    assert "transport   unix" in text and "region      1M" in text
    assert f"peer {client.id:5}  2 vectors" in text and "roster      page in the region" in text
    found = json.loads(run("dump", "--json", socket).stdout)
    assert found["address"] == f"unix:{socket}" and found["transport"] == "unix"
    assert found["size"] == SIZE and 0 < found["usable"] < SIZE
    assert found["peers"] == [{"id": client.id, "vectors": 2}]
    assert found["roster"]["connected"] == 2 and found["roster"]["maintained"]
    assert found["changes"] == [] and found["missing"] == {}


def test_dump_of_a_plain_region(place, region):
    """Without a server, "dump" lists the missing capabilities and says why they are missing."""
    found = json.loads(run("dump", "--json", place.shm).stdout)
    assert set(found["missing"]) == {"id", "ring", "wait", "roster"}
    assert found["own_id"] == -1 and found["roster"] is None and found["peers"] == []
    assert region.exists()


def test_peers(place, socket):
    """"peers" lists the connected peers; if given a server's socket, it lists its own peer, too."""
    clients = [join(place, 2), join(place, 2)]
    lines = run("peers", socket).stdout.decode().splitlines()
    assert lines[0].split() == ["ID", "VECTORS", "NOTE"]
    assert lines[1].split(maxsplit=2) == ["2", "2", "this command's own peer"]
    assert [line.split() for line in lines[2:]] == [["0", "2"], ["1", "2"]]
    found = json.loads(run("peers", "-j", socket).stdout)
    assert found["peers"] == [{"id": client.id, "vectors": 2} for client in clients]


def test_peers_of_a_region(place, socket):
    """If the region has a roster page, "peers" needs no connection to the server."""
    join(place, 2)
    found = json.loads(run("peers", "-j", place.shm).stdout)
    assert found == {"own_id": -1, "peers": [{"id": 0, "vectors": 2}]}
    assert socket.exists()


def test_peers_without_a_roster(place, region):
    """Without a roster page, "peers" says why it knows no peers."""
    done = run("peers", place.shm)
    assert done.returncode == 1 and b"a plain region has neither ids nor doorbells" in done.stderr
    assert region.exists()


def test_ring(place, socket):
    """"ring" rings one vector, all vectors of a peer, or all vectors of all peers."""
    clients = [join(place, 2), join(place, 2)]
    done = run("ring", "-v", socket, 0, 1)
    assert done.stdout == b"rang peer 0 vector 1\n" and readable(clients[0].own) == [1]
    assert run("ring", socket, 1, "all").returncode == 0
    assert readable(clients[1].own) == [0, 1]
    done = run("ring", "-v", socket, "all")
    assert len(done.stdout.splitlines()) == 4 and readable(clients[0].own) == [0, 1]
    done = run("ring", socket, 7, 0)
    assert done.returncode == 1 and b"no such peer is connected" in done.stderr


def start_wait(place, *words):
    """Start ivshmem wait, and wait until it can be rung. Return: the process."""
    process = place.start(TOOL, "wait", *words)
    process.err.wait("waiting as peer 0, which has 2 vectors")
    return process


def test_wait_for_any_vector(place, socket):
    """"wait" ends at the first doorbell, on any vector."""
    waiting = start_wait(place, socket)
    assert run("ring", socket, 0, 1).returncode == 0
    assert waiting.wait() == 0 and waiting.out.text() == "doorbell on vector 1"


def test_wait_for_one_vector(place, socket):
    """"wait", if given a vector, ignores the others, and ends after the requested number of
    doorbells."""
    waiting = start_wait(place, socket, 0, "-n", "2")
    for _ in range(2):
        assert run("ring", socket, 0, 1).returncode == 0
        assert run("ring", socket, 0, 0).returncode == 0
        waiting.out.wait("doorbell on vector 0")
    assert waiting.wait() == 0 and waiting.out.text().split("\n") == ["doorbell on vector 0"] * 2


def test_wait_with_a_time_limit(socket):
    """If no doorbell arrives within the time limit, the exit status is 1."""
    done = run("wait", socket, "-q", "-t", 0)
    assert done.returncode == 1 and done.stderr == b"ivshmem wait: no doorbell within 0 s\n"


def test_wait_without_vectors(place, region):
    """A plain region has no doorbells, and a vector that the peer lacks cannot be rung."""
    done = run("wait", place.shm)
    assert done.returncode == 1 and b"ivshmem wait: shm:" in done.stderr
    place.server("-n", "1", "-l", "1M")
    done = run("wait", place.socket, 1)
    assert done.returncode == 1 and b"this peer has no vector 1: use 0 to 0" in done.stderr
    assert region.exists()


def test_server_ends_while_waiting(place):
    """"wait" continues when the server exits, because doorbells still work."""
    server = place.server("-n", "2", "-l", "1M")
    waiting = start_wait(place, place.socket)
    client = join(place, 2)
    client.read_until(lambda: client.knows({0}), "the client knows the waiting peer")
    server.stop()
    ring(client.peers[0][1])
    assert waiting.wait() == 0 and waiting.out.text() == "doorbell on vector 1"
