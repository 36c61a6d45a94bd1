# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem top: on a terminal, and printed once. Servers of other tests run at the same time, so
each test shows only rows with the name of its own directory."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from support.py.clients import connect_client, join
from support.py.control_answer import Answer
from support.py.listing import start_vm
from support.py.paths import BUILD
from support.py.programs import wait_until
from support.py.terminal import PROMPT, Terminal
from support.py.wire import read_together, ring

TOOL = BUILD / "tools" / "ivshmem"
STRANGER = 61234

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")


needs_screen = pytest.mark.skipif(b"built without ncurses" in TOOL.read_bytes(),
                                  reason="built without ncurses")


def run(*words, **keywords):
    """Run ivshmem top with these arguments."""
    return subprocess.run([TOOL, "top", *map(str, words)], capture_output=True, timeout=60,
                          check=False, text=True, stdin=subprocess.DEVNULL, **keywords)


def control_of(place):
    """The path of the test's control socket."""
    return place.dir / "control"


def serve(place, *options):
    """Start a server with two vectors that can be asked."""
    return place.server("-n", "2", "-l", "1M", "--control", control_of(place), *options)


def pair(place):
    """Two clients that know each other."""
    clients = [join(place, 2), join(place, 2)]
    read_together(clients, lambda: all([len(fds) for fds in c.peers.values()] == [2]
                                       for c in clients), "both know each other")
    return clients


def sample(place, *options):
    """Return: what --json says about the test's server."""
    done = run("--json", "--interval", "0.1", *options)
    assert done.returncode == 0, done.stderr
    found, = [server for server in json.loads(done.stdout)["servers"]
              if server["control"] == str(control_of(place))]
    return found


def sample_until(place, condition):
    """Return: {id: peer} of the first sample that meets a condition. If the servers of other tests
    do not answer, one sample is not enough."""
    found = {}

    def met():
        found.clear()
        found.update({peer["id"]: peer for peer in sample(place)["peers"] or []})
        return found and condition(found)
    wait_until(met, "a sample meets the condition")
    return found


def start_top(place, *options, width=80, height=24):
    """Start top on a terminal, with the rows of this test, until it has taken a sample."""
    terminal = Terminal(place, width, height)
    terminal.command(TOOL, "top", "--interval", "0.2", "--filter", place.dir, *options)
    terminal.wait("q end", "servers ")
    return terminal


def peers(terminal):
    """Return: the ids of the peers that are shown, in their order."""
    lines = terminal.text().splitlines()
    titles = [at for at, line in enumerate(lines) if " ID " in line and "PROGRAM" in line]
    rows = [re.match(r" *\d+ +(\d+) +\d+ \S", line) for line in lines[titles[0] + 1:]] \
        if titles else []
    return [int(row[1]) for row in rows if row]


# Printed once

def test_json_has_servers_peers_and_regions(place):
    """The reply of the server, its peers with their programs, and its region."""
    server = serve(place, "--max-peers", "2")
    clients = pair(place)
    connect_client(place, 2)
    server.err.wait("refused")
    found = sample(place)
    assert found["state"] == "ok" and found["pid"] == server.pid and found["note"] is None
    assert found["socket"] == str(place.socket) and found["vectors"] == 2
    assert found["totals"]["joined"] == 2 and found["totals"]["refused"] == {"max_peers": 1}
    assert found["region"] == f"shm:{place.shm}" and found["region_size"] == 1 << 20
    assert [peer["id"] for peer in found["peers"]] == [client.id for client in clients]
    for peer in found["peers"]:
        assert peer["pid"] == os.getpid() and peer["uid"] == os.getuid() and peer["vm"] is None
        assert peer["program"].startswith("py") and peer["behind"] == 0
    everything = json.loads(run("--json", "--interval", "0.1").stdout)
    region, = [each for each in everything["regions"] if each["address"] == f"shm:{place.shm}"]
    assert region["size"] == 1 << 20 and server.pid in [user["pid"] for user in region["used_by"]]


def test_rings_that_are_not_read(place):
    """A doorbell that is rung once and not read, one that is not rung, and one that is read."""
    serve(place)
    first, second = pair(place)
    for _ in range(3):
        ring(second.peers[first.id][1])
    ring(first.peers[second.id][0])
    os.read(second.own[0], 8)
    found = sample_until(place, lambda found: found[first.id]["reading"] is False)
    assert found[first.id]["unread"] == 3
    assert [(each["unread"], each["reading"]) for each in found[first.id]["doorbells"]] == \
        [(0, True), (3, False)]
    assert found[second.id]["unread"] == 0 and found[second.id]["reading"] is True
    assert found[second.id]["seen_per_s"] == 0


def test_rings_between_samples_are_seen(place):
    """The rate counts rings that have not been read, and rings after a read."""
    serve(place)
    first, second = pair(place)
    stop = threading.Event()

    def storm():
        while not stop.wait(0.001):
            ring(second.peers[first.id][1])
    thread = threading.Thread(target=storm)
    thread.start()
    try:
        found = sample_until(place, lambda found: found[first.id]["seen_per_s"])
    finally:
        stop.set()
        thread.join()
    assert found[first.id]["seen_per_s"] > 0 and found[first.id]["doorbells"][1]["seen_per_s"] > 0
    assert found[first.id]["doorbells"][0]["seen_per_s"] == 0


def test_once_prints_tables(place):
    """Totals, the server with its totals by reason, the region, the peers, and their doorbells."""
    server = serve(place)
    first, second = pair(place)
    ring(second.peers[first.id][1])
    sample_until(place, lambda found: found[first.id]["reading"] is False)
    done = run("--once", "--interval", "0.1", "--filter", place.dir)
    assert done.returncode == 0, done.stderr
    for text in (f"  {place.socket}  {server.pid}  ", "joined 2, refused 0, left 0",
                 f"region shm:{place.shm}, 1M, 2 vectors, since ", "VECTOR  UNREAD"):
        assert text in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.endswith(" not reading")]
    # The server, the peer, and its vector 1
    assert [row[1] for row in rows] == [str(place.socket), str(first.id), str(first.id)]
    nothing = run("--once", "--interval", "0.1", "--filter", "no such row")
    assert nothing.returncode == 0 and "STATE" not in nothing.stdout


def test_vm_has_its_name(place):
    """A QEMU is shown by the name of its VM."""
    serve(place)
    start_vm(place, "bell", "-chardev", f"socket,id=c,path={place.socket}", "-device",
             "ivshmem-doorbell,chardev=c,vectors=2", machine="q35")
    wait_until(lambda: sample(place)["peers"], "the VM has joined")
    vm, = sample(place)["peers"]
    assert vm["vm"] == "bell" and vm["told_leaves"] is False


def test_server_without_control_socket(place):
    """It is shown with the reason why its peers are not."""
    place.server()
    done = run("--once", "--interval", "0.1", "--filter", place.dir)
    assert "  no control\n" in done.stdout and "start it with --control PATH" in done.stdout


@needs_root
def test_other_user(place):
    """A user that may not connect to the control socket sees the server and the reason."""
    serve(place)
    tool = shutil.copy(TOOL, place.dir)
    place.dir.chmod(0o755)
    done = subprocess.run([tool, "top", "--once", "--interval", "0.1", "--filter", place.dir],
                          capture_output=True, text=True, timeout=60, check=False, user=STRANGER)
    assert done.returncode == 0 and "  not asked\n" in done.stdout
    assert f"no permission to connect to {control_of(place)}" in done.stdout
    assert "run this as root" in done.stderr


@pytest.mark.parametrize("reply, note", [
    (None, "did not answer within 2 s"), (b"hello\n", "sent an unexpected reply"),
    (b"{}\n", "sent an unexpected reply"), (b'{"error":"\\u001b[2J"}\n', "says: ?[2J")])
def test_program_that_is_not_a_server(place, reply, note):
    """The reason is shown, and other servers are shown too."""
    serve(place)
    Answer(place, place.dir / "fake", reply)
    done = run("--once", "--interval", "0.1", "--control", place.dir / "fake")
    assert done.returncode == 0 and note in done.stdout
    assert f"  {place.socket}  " in done.stdout


def test_hostile_reply(place):
    """Values that a server never sends, and text for the terminal."""
    big = 2 ** 63 - 1
    peer = {"id": big, "pid": -5, "uid": big, "since": "\x1b[2J" * 9, "vectors": big,
            "behind": -1, "doorbells": [big, -7, "x", None, big]}
    reply = {"peers": [peer, 7, None, {"id": 3}, {"id": 1, "doorbells": {}}, peer] * 3,
             "socket": "/\x1b]0;x\x07" + "y" * 5000, "since": "9" * 500, "vectors": -1,
             "pid": 2 ** 40, "totals": {"left": {"a\n" * 99: big, **{f"r{i}": 1 for i in
             range(99)}}, "refused": 5, "joined": -1}, "region": ["x"], "ids_left": 1.5}
    Answer(place, place.dir / "fake", json.dumps(reply).encode() + b"\n")
    done = run("--once", "--interval", "0.1", "--control", place.dir / "fake")
    assert done.returncode == 0 and "\x1b" not in done.stdout and "\x07" not in done.stdout
    done = run("--json", "--interval", "0.1", "--control", place.dir / "fake")
    found, = [server for server in json.loads(done.stdout)["servers"]
              if server["control"] == str(place.dir / "fake")]
    assert len(found["peers"]) == 18 and found["peers"][0]["unread"] >= big


class SlowServer(Answer):
    """An Answer that is right, but comes late. It counts the requests."""

    def __init__(self, place, path, delay):
        self.asked = 0
        self._delay = delay
        self._end = threading.Event()
        super().__init__(place, path, b'{"peers":[]}\n')

    def _answer(self, there):
        self.asked += 1
        self._end.wait(self._delay)
        super()._answer(there)

    def close(self):
        self._end.set()
        super().close()


def test_servers_that_answer_late(place):
    """Many of them do not make a sample long: some are asked in each, in turns. The number of the
    others is shown."""
    slow = [SlowServer(place, place.dir / f"slow{i}", 0.6) for i in range(12)]
    controls = [word for i in range(len(slow)) for word in ("--control", place.dir / f"slow{i}")]
    done = run("--json", "--interval", "0.1", *controls)
    assert done.returncode == 0
    # Each sample asks two of them. The process may end during the fourth sample
    assert 3 <= sum(each.asked for each in slow) <= 8
    assert max(each.asked for each in slow) == 1
    report = json.loads(done.stdout)
    assert report["delayed"] >= len(slow) - 2 and report["left_out"] == 0
    assert f"not asked because others are slow: {report['delayed']}" in done.stderr


@pytest.mark.parametrize("words, status, message", [
    ((), 1, "standard input and output are not a terminal: use --once or --json"),
    (("--interval", "0"), 2, 'invalid interval "0": use 0.1 to 3600 seconds'),
    (("--interval", "nan"), 2, "invalid interval"), (("--interval", "1x"), 2, "invalid interval"),
    (("--sort", "size"), 2, 'invalid order "size": use unread, seen, behind'),
    (("--filter", "a\nb"), 2, "invalid filter"), (("--filter", "x" * 64), 2, "invalid filter"),
    (("--control", ""), 2, "invalid control socket"), (("x",), 2, 'surplus argument "x"')])
def test_mistakes(words, status, message):
    """Mistakes on the command line."""
    done = run(*words)
    assert (done.returncode, done.stdout) == (status, "") and message in done.stderr


# On a terminal

@needs_screen
def test_screen(place):
    """Servers, regions and peers at 80x24; a peer that joins, and one that does not read."""
    server = serve(place)
    first, second = pair(place)
    terminal = start_top(place)
    terminal.wait(f" {server.pid} ", f"shm:{place.shm}"[:32], "not reading), unread")
    wait_until(lambda: peers(terminal) == [first.id, second.id], "both peers are shown")
    assert all(len(line) <= 80 for line in terminal.text().splitlines())
    third = join(place, 2)
    wait_until(lambda: peers(terminal) == [0, 1, third.id], "the new peer is shown")
    ring(first.peers[second.id][1])
    wait_until(lambda: [line for line in terminal.text().splitlines()
                        if line.endswith(" not reading")], "a peer does not read")
    assert peers(terminal)[0] == second.id
    os.read(second.own[1], 8)
    wait_until(lambda: peers(terminal)[0] == first.id, "it has read")


@needs_screen
def test_keys(place):
    """Sorting, reversing, filtering, pages and help."""
    serve(place)
    first, second = pair(place)
    ring(first.peers[second.id][1])
    terminal = start_top(place)
    wait_until(lambda: peers(terminal) == [1, 0], "the unread doorbell comes first")
    for order in ("seen", "behind", "age", "program", "pid", "id"):
        terminal.keys("s")
        terminal.wait(f"sort: {order}")
    wait_until(lambda: peers(terminal) == [0, 1], "sorted by id")
    terminal.keys("r")
    wait_until(lambda: peers(terminal) == [1, 0], "reversed")
    terminal.keys("?")
    terminal.wait("rings per second that were seen", "show only rows")
    terminal.keys("?")
    terminal.wait("STATE", without="rings per second that were seen")
    terminal.keys("Tab")
    terminal.wait("page: servers", "joined 2, refused 0, left 0,", "2 vectors, since")
    terminal.keys("Tab")
    terminal.wait("page: regions", "USED BY")
    terminal.keys("Tab")
    terminal.wait("page: doorbells", "VECTOR")
    wait_until(lambda: len(peers(terminal)) == 4, "a row for each doorbell")
    terminal.keys("Tab", "/")
    terminal.keys(*["BSpace"] * 64)
    terminal.wait("\n/\n")
    terminal.type(str(place.dir)[1:] + "x")
    terminal.keys("Enter")
    terminal.wait("filter: ")
    wait_until(lambda: not peers(terminal), "no row contains the text")
    terminal.keys("/", "BSpace", "Enter")
    wait_until(lambda: peers(terminal) == [1, 0], "the text is contained again")


@needs_screen
def test_scrolling_and_sizes(place):
    """Many peers on a small screen; sizes down to one character; growing back."""
    serve(place)
    clients = [connect_client(place, 2) for _ in range(30)]
    terminal = start_top(place, "--sort", "id")
    wait_until(lambda: peers(terminal)[:2] == [0, 1], "the first peers")
    terminal.keys("Down")
    wait_until(lambda: peers(terminal)[:1] == [1], "one down")
    terminal.keys("End")
    wait_until(lambda: peers(terminal)[-1:] == [len(clients) - 1], "the end")
    terminal.keys("PPage", "Home")
    wait_until(lambda: peers(terminal)[:2] == [0, 1], "the start")
    terminal.resize(120, 50)
    terminal.wait("SINCE")
    wait_until(lambda: peers(terminal) == list(range(len(clients))), "all peers")
    for size in ((40, 10), (20, 5), (3, 3), (2, 2)):
        terminal.resize(*size)
        wait_until(lambda size=size: len(terminal.text().split("\n")) - 1 == size[1], "smaller")
    terminal.resize(80, 24)
    terminal.wait("q end", "STATE")


@needs_screen
def test_server_that_dies_and_returns(place):
    """It is shown as gone, then with its new peers."""
    server = serve(place)
    pair(place)
    terminal = start_top(place)
    wait_until(lambda: peers(terminal) == [0, 1], "both peers are shown")
    server.end()
    terminal.wait(" gone ")
    wait_until(lambda: not peers(terminal), "its peers are gone")
    server = serve(place)
    client = join(place, 2)
    terminal.wait(f" {server.pid} ", without=" gone ")
    wait_until(lambda: peers(terminal) == [client.id], "the new peer is shown")


@needs_screen
@pytest.mark.parametrize("how", ["q", "C-c", signal.SIGTERM, signal.SIGHUP])
def test_terminal_is_restored(place, how):
    """After the end of top, the shell shows what it showed before, and echoes."""
    serve(place)
    terminal = start_top(place)
    assert terminal.is_alternate()
    if isinstance(how, str):
        terminal.keys(how)
    else:
        os.kill(terminal.pid("ivshmem"), how)
    terminal.wait(PROMPT, without="q end")
    assert not terminal.is_alternate()
    terminal.command("echo status $?; stty -a")
    terminal.wait(f"status {0 if how == 'q' else 130 if how == 'C-c' else 128 + how}")
    terminal.wait("\nisig icanon iexten echo ")


@needs_screen
def test_suspended(place):
    """Ctrl-Z returns to the shell, and fg to the screen."""
    serve(place)
    terminal = start_top(place)
    terminal.keys("C-z")
    terminal.wait(PROMPT, without="q end")
    assert not terminal.is_alternate()
    terminal.command("fg")
    terminal.wait("q end", "STATE")
    join(place, 2)
    wait_until(lambda: peers(terminal) == [0], "the new peer is shown")


@needs_screen
@pytest.mark.parametrize("kind", ["nonsense", "dumb"])
def test_unknown_terminal(place, kind):
    """The error says what to do."""
    terminal = Terminal(place, width=200)
    terminal.command(f"TERM={kind}", TOOL, "top")
    terminal.wait(f"(TERM={kind}) is not known, or cannot place text: set TERM, or use --once")


@needs_screen
def test_server_that_does_not_answer_any_more(place):
    """Keys still work, and the reason is shown."""
    server = serve(place)
    terminal = start_top(place)
    server.signal(signal.SIGSTOP)
    try:
        terminal.keys("Tab")
        terminal.wait("page: servers")
        terminal.wait("not asked", "did not answer within 2 s")
    finally:
        server.signal(signal.SIGCONT)
