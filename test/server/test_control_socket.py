# SPDX-License-Identifier: BSD-3-Clause
"""The control socket: every field of the status, and connections that misbehave."""
import datetime
import os
import pathlib
import select
import signal
import socket
import stat
import time

import pytest

from support.py.clients import join
from support.py.control import STATUS, VERSION, Control, ask_once
from support.py.programs import TIMEOUT, cpu_ticks, is_sanitized, rss_kib, wait_until
from support.py.wire import RawClient, accepts, connect, read_together, ring

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
STRANGER = 61234
PEERS_MAX = 8


def control_of(where):
    """Return the path of the control socket."""
    return where.dir / "control"


def serve(where, *options, **keywords):
    """Start a server with a control socket."""
    return where.server("--control", control_of(where), *options, **keywords)


def open_control(where):
    """Connect to the control socket."""
    return where.add(Control(control_of(where)))


def status_of(where, **members):
    """Request a status and return it."""
    return ask_once(control_of(where), **members)


def moment(text):
    """Convert a time in a reply to seconds since 1970."""
    form = "%Y-%m-%dT%H:%M:%S.%fZ"
    assert len(text) == len("2024-05-31T12:34:56.789Z")
    parsed = datetime.datetime.strptime(text, form)
    return parsed.replace(tzinfo=datetime.timezone.utc).timestamp()


# Fields of a status

def test_status_without_clients(place):
    """The status has every field even without clients, and shows the values that the server was
    started with."""
    began = time.time()
    server = serve(place, "-n", "3", "-l", "1M", nofile=200)
    status = status_of(place)
    since = moment(status.pop("since"))
    assert began - 0.001 <= since <= time.time()
    version = place.run_server("--version").stdout.split()[1]
    assert status == {
        "version": version, "pid": server.pid, "socket": str(place.socket),
        "region": {"address": f"shm:{place.shm}", "backend": "shm", "path": str(place.shm_path),
                   "size": 1 << 20, "page_size": os.sysconf("SC_PAGESIZE"), "sealed": False,
                   "seals": ["seal"], "created": True, "changes": []},
        "vectors": 3,
        "limits": {"max_peers": None, "max_peers_per_user": None,
                   "max_joins_per_user": 6000, "nofile": 200},
        "totals": {"joined": 0, "left": {"closed": 0, "spoke": 0, "failed": 0, "costly": 0},
                   "refused": {"not_allowed": 0, "max_peers": 0, "max_peers_per_user": 0,
                               "max_joins_per_user": 0, "user_share": 0,
                               "no_id": 0, "no_fd": 0, "failed": 0},
                   "messages": 0, "waits": 0},
        "ids_left": 65536, "vacant_ids": 0, "in_flight": 0, "waiting": False, "peers": []}


def test_status_of_a_sealed_region(place):
    """A memfd: region has no path and has three seals, and the status says that the server created
    it."""
    serve(place, "--max-peers", "5", "--max-peers-per-user", "4", region=["-r", "memfd:"])
    status = status_of(place)
    assert status["region"]["path"] is None
    assert status["region"]["backend"] == "memfd" and status["region"]["address"] == "memfd:"
    assert status["region"]["sealed"] is True and status["region"]["created"] is True
    assert set(status["region"]["seals"]) - {"exec"} == {"grow", "seal", "shrink"}
    assert status["limits"]["max_peers"] == 5 and status["limits"]["max_peers_per_user"] == 4


def test_status_of_an_existing_file(place):
    """For a region in an existing file, the status says that the server did not create it; a byte
    of the path that is not UTF-8 is shown as "?"."""
    path = os.fsencode(place.dir) + b"/region-\xff"
    with open(path, "wb") as file:
        file.truncate(1 << 20)
    serve(place, "-l", "1M", region=["-r", "file:" + os.fsdecode(path)])
    region = status_of(place)["region"]
    assert region["created"] is False and region["backend"] == "file"
    assert region["path"] == f"{place.dir}/region-?"
    assert region["address"] == f"file:{place.dir}/region-?"


def test_every_number_of_a_status_is_exact(place):
    """Every number in the status is exact after two clients have joined and read, a third has
    stopped reading, one has left, one has sent data, one has been refused, and doorbells have been
    rung."""
    vectors, whole = 16, 3 + 3 * 16  # number of messages to a client that knows all peers
    began = time.time()
    server = serve(place, "-n", str(vectors), "--max-peers", "3")
    gone = join(place, vectors)
    gone.close()
    server.err.wait("client 0 left")
    rude = connect(str(place.socket))
    rude.sendall(b"x")
    server.err.wait("it sent data")
    rude.close()
    readers = [join(place, vectors) for _ in range(2)]
    read_together(readers, lambda: all(len(c.peers) == 1 for c in readers), "both know each other")
    stalled = place.add(RawClient(str(place.socket), vectors))
    server.err.wait("joined", 5)
    read_together(readers, lambda: all(
        c.knows(set(range(3)) - {c.id}) for c in readers), "both know the third client")
    assert connect(str(place.socket)).recv(8) == b""
    full = readers[0].peers[readers[1].id][7]  # its count is more than the status can have
    os.write(full, (2 ** 64 - 2).to_bytes(8, "little"))
    for _ in range(20):  # /proc shows 20 in hexadecimal: 14
        ring(readers[0].peers[readers[1].id][3])
    ring(readers[1].peers[readers[0].id][15])

    status = status_of(place, doorbells=True)
    peers = {peer["id"]: peer for peer in status["peers"]}
    behind = peers[2]["behind"]
    told_to_rude = status["totals"]["messages"] - (3 + vectors) - 3 * whole + behind
    assert status["totals"]["joined"] == 5
    assert status["totals"]["left"] == {"closed": 1, "spoke": 1, "failed": 0, "costly": 0}
    assert status["totals"]["refused"]["max_peers"] == 1
    assert sum(status["totals"]["refused"].values()) == 1
    # The client that sent data may have been dropped before all its messages were sent.
    assert 0 <= told_to_rude <= 3 + vectors
    assert status["ids_left"] == 65536 - 3 and status["waiting"] is False
    assert 0 < behind < whole - 3
    assert peers[2]["blocked"] is True and peers[2]["greeted"] is True
    for peer in peers.values():
        assert began - 0.001 <= moment(peer.pop("since")) <= time.time()
        assert (peer["pid"], peer["uid"], peer["gid"], peer["vectors"]) == (
            os.getpid(), os.getuid(), os.getgid(), vectors)
    for reader, rung in zip(readers, [{15: 1}, {3: 20, 7: 2 ** 63 - 1}]):
        mine = peers[reader.id]
        assert mine["behind"] == 0 and mine["blocked"] is False and mine["greeted"] is True
        assert mine["doorbells"] == [rung.get(i, 0) for i in range(vectors)]
    assert peers[2]["doorbells"] == [0] * vectors
    assert sorted(peers[0]) == sorted(["id", "pid", "uid", "gid", "vectors", "greeted", "blocked",
                                       "behind", "doorbells", "told_leaves"])

    left_in_socket = whole - behind
    for _ in range(whole):
        assert stalled.next() is not None
    assert stalled.hears_nothing() and left_in_socket > 0
    now = {peer["id"]: peer for peer in status_of(place)["peers"]}
    assert now[2]["behind"] == 0 and now[2]["blocked"] is False
    assert all("doorbells" not in peer for peer in now.values())


def test_messages_are_counted(place):
    """If no client leaves, the messages sent and those pending add up to all the messages that were
    due."""
    server = serve(place, "-n", "8")
    clients = [place.add(RawClient(str(place.socket), 8)) for _ in range(5)]
    server.err.wait("joined", 5)
    status = status_of(place)
    assert status["totals"]["messages"] + sum(p["behind"] for p in status["peers"]) == \
        5 * (3 + 5 * 8)
    assert any(peer["blocked"] for peer in status["peers"])
    read_together(clients, lambda: all(
        c.knows(set(range(5)) - {c.id}) and len(c.own) == 8 for c in clients),
                  "all clients know each other")
    status = status_of(place)
    assert status["totals"]["messages"] == 5 * (3 + 5 * 8)
    assert [peer["behind"] for peer in status["peers"]] == [0] * 5


@pytest.mark.parametrize("reason, options, nofile", [
    ("not_allowed", ["--allow-user", "61299"], None),
    ("max_peers", ["--max-peers", "1"], None),
    ("max_peers_per_user", ["--max-peers-per-user", "1"], None),
    ("max_joins_per_user", ["--max-joins-per-user", "1"], None),
    ("no_fd", ["-n", "16"], 64),
])
def test_refusals_are_counted_by_reason(place, reason, options, nofile):
    """Each reason for a refusal has its own counter, and the control socket continues to answer.
    (Two reasons cannot be caused here: "no_id" requires 65536 clients at once, and "failed"
    requires a kernel that is out of memory.)"""
    serve(place, *options, nofile=nofile)
    vectors = 16 if reason == "no_fd" else 1
    served = 0
    for _ in range(4):
        client = place.add(RawClient(str(place.socket), vectors))
        if client.next() is None:
            break
        served += 1
    refused = {name: n for name, n in status_of(place)["totals"]["refused"].items() if n}
    assert refused == {reason: 1}
    assert len(status_of(place)["peers"]) == served


def test_status_has_version_and_process(place):
    """The reply to a version request contains the program's version and process id."""
    server = serve(place)
    version = place.run_server("--version").stdout.split()[1]
    assert open_control(place).ask(VERSION) == {"version": version, "pid": server.pid}


def test_status_of_a_server_in_the_background(place):
    """The process id in the status is that of the background process; doorbells are counted; the
    control socket is removed at exit."""
    pidfile = place.dir / "pid"
    done = place.run_server("-S", place.socket, "-M", place.shm, "-p", pidfile, "--control",
                            control_of(place))
    assert done.returncode == 0, done.stderr
    pid = int(pidfile.read_text())
    join(place)
    status = status_of(place, doorbells=True)
    assert status["pid"] == pid and status["peers"][0]["doorbells"] == [0]
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "the server has exited")
    assert not control_of(place).exists()


@NEEDS_ROOT
def test_doorbells_are_null_without_proc(place):
    """Without /proc the doorbell counts are null, and the rest of the status is complete."""
    server = place.start("unshare", "-m", "sh", "-c", 'umount -l /proc && exec "$@"', "sh",
                         place.server_program, "-F", "-v", "-S", place.socket, "-M", place.shm,
                         "--control", control_of(place))
    try:
        server.err.wait("listening at")
    except AssertionError:
        pytest.skip(f"/proc cannot be hidden here: {server.err.text()}")
    join(place)
    peer, = status_of(place, doorbells=True)["peers"]
    assert peer["doorbells"] is None and peer["behind"] == 0


# Connections that misbehave

def test_connection_that_does_not_read_costs_one_reply(place):
    """While a connection does not read its replies, the server stops reading requests from it.
    Other connections do not wait, and the server does not spin."""
    server = serve(place, "-n", "64")
    clients = [join(place, 64) for _ in range(20)]
    silent = open_control(place)
    silent.sock.setblocking(False)
    asked = 0
    try:
        while asked < 100000:
            silent.sock.send(b'{"request":"status","doorbells":true}\n')
            asked += 1
    except BlockingIOError:
        pass
    other = open_control(place)
    other.ask()
    memory = rss_kib(server.pid)
    for _ in range(1000):
        assert len(other.ask()["peers"]) == len(clients)
    if not is_sanitized(place.server_program):
        assert rss_kib(server.pid) < memory + 1024
    before = cpu_ticks(server.pid)
    time.sleep(0.5)
    assert cpu_ticks(server.pid) - before <= 10
    assert not is_ready(silent, select.POLLOUT), "the server has read more requests"
    join(place, 64)
    silent.sock.settimeout(TIMEOUT)
    for _ in range(3):
        assert len(silent.reply()["peers"]) in (len(clients), len(clients) + 1)


def is_ready(control, events):
    """Return true if the socket is readable or writable now. Its fd may be too high for
    select()."""
    poller = select.poll()
    poller.register(control.sock, events)
    return bool(poller.poll(0))


def test_ninth_connection_replaces_the_longest_idle(place):
    """At most eight connections are served; a ninth replaces the one that has been idle longest."""
    serve(place)
    controls = [open_control(place) for _ in range(PEERS_MAX)]
    for control in controls:
        control.ask(VERSION)
    controls[0].ask(VERSION)  # now the second has been idle the longest
    ninth = open_control(place)
    assert ninth.ask(VERSION)
    assert controls[1].line() is None
    for control in controls[:1] + controls[2:] + [ninth]:
        assert control.ask(VERSION)
    tenth = open_control(place)
    assert tenth.ask(VERSION)
    assert controls[0].line() is None


def test_last_eight_of_a_hundred_connections_are_served(place):
    """The last eight of a hundred connections are served; the server closes the others, and no fd
    leaks."""
    server = serve(place)
    open_control(place).ask(VERSION)
    before = server.fds()
    controls = [open_control(place) for _ in range(100)]
    assert controls[-1].ask(VERSION)
    wait_until(lambda: server.fds() == before, "the server has as many fds as before")
    assert sum(control_is_open(control) for control in controls) == PEERS_MAX


def control_is_open(control):
    """Return true if the server has not closed the connection."""
    return not is_ready(control, select.POLLIN)


def test_closed_connections_leave_no_fds(place):
    """No fd leaks if a connection is closed immediately, in the middle of a request or in the
    middle of a reply."""
    server = serve(place)
    client = join(place)
    open_control(place).ask()
    before = server.fds()
    for data in [b"", b'{"requ', STATUS, STATUS * 100, b"\n" * 4000] * 20:
        control = Control(control_of(place))
        control.send(data)
        control.close()
    status_of(place)
    wait_until(lambda: server.fds() == before, "the server has as many fds as before")
    assert client.hears_nothing(0)
    assert server.err.count("left") == 0


def test_control_socket_answers_when_clients_use_all_fds(place):
    """When clients use all available fds, eight control connections still get the status with
    doorbell counts."""
    serve(place, "-n", "4", nofile=64)
    clients = []
    while True:
        client = place.add(RawClient(str(place.socket), 4))
        if client.next() is None:
            break
        clients.append(client)
    controls = [open_control(place) for _ in range(PEERS_MAX)]
    for control in controls:
        reply = control.ask(b'{"request":"status","doorbells":true}\n')
        assert reply["totals"]["refused"]["no_fd"] == 1
        assert [peer["doorbells"] for peer in reply["peers"]] == [[0] * 4] * len(clients)
    for control in controls:
        control.close()
    assert status_of(place, doorbells=True)["peers"][0]["doorbells"] == [0] * 4
    assert connect(str(place.socket)).recv(8) == b"", "a client got the fd of a control connection"


# The socket itself

def test_control_socket_has_mode_0600_and_is_removed(place):
    """The control socket has mode 0600 regardless of the umask, and is removed when the server
    exits."""
    server = serve(place)
    assert stat.S_IMODE(control_of(place).stat().st_mode) == 0o600
    server.stop()
    assert not control_of(place).exists() and not place.socket.exists()


@NEEDS_ROOT
def test_permissions_of_the_control_socket_are_enforced(place):
    """A user without permission to open the control socket gets no reply; options set its mode,
    owner and group."""
    place.dir.chmod(0o777)
    server = serve(place)
    assert can_ask_as(place, STRANGER) is False
    server.stop()
    serve(place, "--control-mode", "0660", "--control-group", str(STRANGER))
    assert can_ask_as(place, STRANGER) is True
    assert control_of(place).stat().st_gid == STRANGER
    place.end_all()
    serve(place, "--control-owner", str(STRANGER))
    assert can_ask_as(place, STRANGER) is True


def can_ask_as(where, uid):
    """Return true if a process of another user gets a reply."""
    code = ("import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
            "s.sendall(b'{\"request\":\"version\"}\\n'); print(s.recv(4096))")
    done = where.run("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
                     "/usr/bin/python3", "-c", code, control_of(where))
    assert done.returncode == 0 or "PermissionError" in done.stderr, done.stderr
    return done.returncode == 0


def test_control_socket_of_a_killed_server_is_replaced(place):
    """Connections to a killed server get end of file, and the next server replaces the control
    socket."""
    server = serve(place)
    control = open_control(place)
    first = control.ask(VERSION)["pid"]
    server.end()
    assert control.line() is None
    assert control_of(place).exists()
    second = serve(place, region=["-M", place.shm]).pid
    assert status_of(place)["pid"] == second != first


@pytest.mark.parametrize("what", ["the other socket", "living", "file", "no directory", "long"])
def test_control_socket_that_cannot_be_created_is_an_error(place, what):
    """If the control socket cannot be created, the server does not start, and leaves no files."""
    path = control_of(place)
    message = "another process is already listening"
    if what == "the other socket":
        path = place.socket
    elif what == "living":
        listening = place.add(socket.socket(socket.AF_UNIX))
        listening.bind(str(path))
        listening.listen()
    elif what == "file":
        path.write_text("precious")
        message = "exists and is not a socket"
    elif what == "no directory":
        path = place.dir / "no" / "such"
        message = "No such file or directory"
    else:
        path = place.dir / ("x" * 108)
        message = "but must have 1 to 107"
    done = place.run_server("-F", "-S", place.socket, "-M", place.shm, "--control", path)
    assert done.returncode == 1 and message in done.stderr
    assert not place.socket.exists() and not place.shm_path.exists()
    if what == "file":
        assert path.read_text() == "precious"


def test_no_control_socket_by_default(place):
    """Without --control there is no control socket, and no fds are reserved for one."""
    server = place.server()
    without = server.fds()
    server.stop()
    server = serve(place)
    status_of(place)  # returns once the server is in its event loop
    wait_until(lambda: server.fds() == without + 1 + PEERS_MAX + 1,
               "the server has the expected number of fds")


@pytest.mark.parametrize("option, value, message", [
    ("--control-mode", "0", "invalid mode"), ("--control-mode", "1777", "invalid mode"),
    ("--control-owner", "nobody-of-this-name", "no such user"),
    ("--control-group", "nobody-of-this-name", "no such group"),
])
def test_bad_option_of_the_control_socket(place, option, value, message):
    """A bad value for a control socket option results in status 2 and a message that says what is
    wrong."""
    done = place.run_server("-F", option, value)
    assert done.returncode == 2 and f'{message} "{value}": use ' in done.stderr


def test_limit_of_fds_includes_the_control_socket(place):
    """The number of fds that the server needs, checked at startup, includes its control
    connections."""
    done = place.start(place.server_program, "-F", "-S", place.socket, "-M", place.shm, "-n", "1",
                       "--max-peers", "20", "--control", control_of(place), nofile=64)
    assert done.wait() == 1
    assert "20 x (1 + 1) + 28 = 68 file descriptors, but only 64 are " in done.err.text()


# The log

def test_client_that_sends_data_is_logged_as_a_warning(place):
    """Even without -v, each client that sends data is logged with its id, process, user and reason,
    up to 20 lines in 10 s. A normal close is not logged."""
    server = place.start(place.server_program, "-F", "-S", place.socket, "-M", place.shm,
                         "--control", control_of(place))
    wait_until(lambda: accepts(control_of(place)), "the server is listening")
    assert status_of(place)["peers"] == []  # once the server replies, it also serves clients
    join(place).close()
    wait_until(lambda: status_of(place)["totals"]["left"]["closed"] == 1, "the client has left")
    for n in range(30):
        rude = place.add(RawClient(str(place.socket), 1))
        rude.sock.sendall(b"x")
        wait_until(lambda n=n: status_of(place)["totals"]["left"]["spoke"] == n + 1,
                   "the client has left")
    line = server.err.wait("left (pid")
    assert f"client 0 left (pid {os.getpid()}, uid {os.getuid()}): it sent data" in line
    server.err.wait("it sent data", 20)
    assert server.err.count("it sent data") == 20
    assert server.err.count("it closed") == 0


@pytest.mark.parametrize("vectors", [0, 16], ids=["for the socket", "for doorbells"])
def test_client_refused_for_lack_of_fds_is_named(place, vectors):
    """The log names the process and the user of a client that is refused for lack of fds."""
    server = serve(place, "-n", str(vectors), nofile=64)
    while place.add(RawClient(str(place.socket), vectors)).next() is not None:
        pass
    server.err.wait(f"refused a client (pid {os.getpid()}, uid {os.getuid()}): out of file")
