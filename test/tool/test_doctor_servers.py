# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem doctor: the rules about servers, each proven by a fault, and by its cure."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest

from support.py.clients import join, knows_all
from support.py.control import ask_once
from support.py.control_answer import Answer
from support.py.doctor import TOOL, examine, proves, prove, run_command
from support.py.fake_server import FakeServer, say
from support.py.programs import Daemon, wait_until
from support.py.wire import RawClient, read_together

NOBODY = 65534
AS_NOBODY = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be other users")

#: A server that is not this project's: it greets each client, and keeps the connection. Arguments:
#: "-S", path, "-M", region
STAND_IN = """
import os, socket, struct, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[2])
listener.listen(8)
memory = os.memfd_create("region")
os.ftruncate(memory, 1 << 20)
print("listening", flush=True)
kept = []
while True:
    sock, _ = listener.accept()
    kept.append(sock)
    for value, fds in ((0, []), (len(kept), []), (-1, [memory]), (len(kept), [os.eventfd(0)])):
        socket.send_fds(sock, [struct.pack("<q", value)], fds)
"""


def control_of(place):
    """Return: the path of the control socket in these tests."""
    return place.dir / "control"


def serve(place, *options, **keywords):
    """Start a server with a control socket."""
    return place.server("--control", control_of(place), *options, **keywords)


def crowd(place, vectors, n):
    """Return: clients that know each other."""
    clients = [join(place, vectors) for _ in range(n)]
    knows_all(clients)
    return clients


def start_again(place, process, *options, **keywords):
    """End a server, and start another one in its place."""
    process.end()
    place.socket.unlink(missing_ok=True)
    return place.server(*options, **keywords)


def prove_start(place, rule):
    """Prove a rule whose command starts a server in the background, which is ended."""
    path = place.dir / f"{place.shm}.sock"
    finding = prove(rule, "--server", path)
    assert finding["command"] == (f"ivshmem-server --socket {path} --shm {place.shm} "
                                  f"--pidfile {path}.pid")
    assert place.shm_path.exists()
    place.add(Daemon(int((place.dir / f"{place.shm}.sock.pid").read_text())))


@proves("server-absent")
def test_absent(place):
    """Where there is no socket, the printed command starts a server."""
    prove_start(place, "server-absent")


@proves("server-dead")
def test_dead(place):
    """A server that was killed leaves a socket, which the next server replaces."""
    path = place.dir / f"{place.shm}.sock"
    server = place.server(socket=path)
    server.signal(signal.SIGKILL)
    server.wait()
    assert path.exists()
    prove_start(place, "server-dead")


@proves("server-file")
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_file(place, kind):
    """A path that is not a socket."""
    if kind == "file":
        place.socket.write_text("")
    else:
        place.socket.mkdir()

    def move(finding):
        assert ("a regular file" if kind == "file" else "a directory") in finding["found"]
        place.socket.rename(place.dir / "moved")
        place.server()

    prove("server-file", "--server", place.socket, cure=move)


@proves("server-denied")
@needs_root
def test_denied(place):
    """A user who may not connect may do so after the printed command."""
    place.dir.chmod(0o755)
    place.server("--socket-mode", "0600")

    def allow(finding):
        assert "it belongs to root:root, mode 0600" in finding["advice"]
        command = finding["advice"].split("as root, ", 1)[1]
        assert os.system(command) == 0

    prove("server-denied", "--server", place.socket, cure=allow, **AS_NOBODY)


@proves("server-refuses")
def test_refuses(place):
    """A server that does not admit this user."""
    server = place.server("--allow-user", "4242")

    def admit(finding):
        assert "--allow-user" in finding["advice"]
        start_again(place, server, "--allow-user", str(os.getuid()))

    prove("server-refuses", "--server", place.socket, cure=admit)


@proves("server-silent")
@pytest.mark.parametrize("control", [False, True])
def test_stopped(place, control):
    """A server that is stopped is resumed by the printed command."""
    server = serve(place) if control else place.server()
    server.signal(signal.SIGSTOP)
    try:
        finding = prove("server-silent", "--server", place.socket)
    finally:
        server.signal(signal.SIGCONT)
    assert finding["command"] == f"kill -CONT {server.pid}"


def test_stopped_is_found_without_being_asked_for(place):
    """Without --server, the state of the process is enough."""
    server = place.server()
    server.signal(signal.SIGSTOP)
    try:
        assert "server-silent" in [finding["rule"] for finding in about(place, examine())]
    finally:
        server.signal(signal.SIGCONT)


@proves("server-silent")
@pytest.mark.parametrize("sent", [b"", b"\0\0\0", bytes(16)])
def test_silent(place, sent):
    """A program that accepts connections, and sends nothing or a part of a greeting, is replaced by
    a server."""
    fake = FakeServer(place, place.socket)
    fake.greet = lambda sock: sock.sendall(sent)

    def replace(_finding):
        fake.stop()
        place.socket.unlink()
        place.server()

    prove("server-silent", "--server", place.socket, cure=replace)


@proves("server-alien")
@pytest.mark.parametrize("kind", ["garbage", "version", "datagrams"])
def test_alien(place, kind):
    """What is not a server is told apart from one that is broken."""
    if kind == "datagrams":
        other = place.add(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        other.bind(str(place.socket))
    else:
        fake = FakeServer(place, place.socket)
        fake.greet = lambda sock: sock.sendall(b"\x1b[31mhello\r\n" * 9 if kind == "garbage"
                                               else b"\x01" + bytes(7))

    def use_ours(_finding):
        place.socket.unlink()
        place.server()

    prove("server-alien", "--server", place.socket, cure=use_ours)


@proves("server-foreign")
@needs_root
def test_foreign(place):
    """A program of another user listens at a socket that belongs to root."""
    place.dir.chmod(0o777)
    process = place.start(sys.executable, "-c", STAND_IN, "-S", place.socket, user=NOBODY)
    process.out.wait("listening")
    os.chown(place.socket, 0, 0)

    def take_back(finding):
        assert f"pid {process.pid}" in finding["found"] and "root" in finding["found"]
        start_again(place, process)

    prove("server-foreign", "--server", place.socket, cure=take_back)


@proves("server-nofile")
@pytest.mark.parametrize("limited", [False, True])
def test_nofile(place, limited):
    """A limit on file descriptors that --max-peers, or twice the clients, would exceed."""
    server = serve(place, "-n", "4", *(["--max-peers", "20"] if limited else []))
    crowd(place, 4, 10)
    subprocess.run(["prlimit", "--pid", str(server.pid), "--nofile=80:1024"], check=True)
    finding = prove("server-nofile", "--server", place.socket)
    assert "need 100" in finding["found"]
    assert finding["command"] == f"prlimit --pid {server.pid} --nofile=356:"


@proves("server-behind")
def test_behind(place):
    """A client that does not read, while others join."""
    server = serve(place, "-n", "100")
    deaf = RawClient(str(place.socket), 100)
    clients = [join(place, 100) for _ in range(4)]
    everyone = {0, *(client.id for client in clients)}
    read_together(clients, lambda: all(client.knows(everyone - {client.id}) for client in clients),
                  "all clients know each other, and the one that does not read")
    wait_until(lambda: any(peer["blocked"] for peer in ask_once(control_of(place))["peers"]),
               "a client is behind")

    def end(finding):
        assert f"(pid {os.getpid()})" in finding["found"] and server.popen.poll() is None
        deaf.close()
        knows_all(clients)

    prove("server-behind", "--server", place.socket, cure=end)


@proves("server-outdated")
def test_outdated(place):
    """A server whose program has been replaced is upgraded by the printed command."""
    program = place.dir / "ivshmem-server"
    shutil.copy(place.server_program, program)
    place.server_program = program
    server = place.server()
    new = shutil.copy(program, place.dir / "new")
    os.rename(new, program)

    def upgrade(finding):
        assert finding["command"] == f"kill -USR2 {server.pid}"
        run_command(finding)
        server.err.wait("resumed")

    prove("server-outdated", "--server", place.socket, cure=upgrade)


@proves("server-qemu")
def test_qemu(place):
    """QEMU's example of a server is replaced by ours. A copy of Python with QEMU's notice stands in
    for it."""
    program = place.dir / "ivshmem-server"
    shutil.copy(os.path.realpath(sys.executable), program)
    with program.open("ab") as file:
        file.write(b"*** Example code, do not use in production ***\0")
    script = place.dir / "script"
    script.write_text(STAND_IN)
    process = place.start(program, script, "-S", place.socket,
                          environment={"PYTHONHOME": sys.base_prefix})
    process.out.wait("listening")

    def replace(finding):
        assert f"pid {process.pid}" in finding["found"]
        start_again(place, process)

    # The script takes its own name as the first argument.
    prove("server-qemu", "--server", place.socket, cure=replace)


@proves("server-region")
@needs_root
def test_shrunk_region(place):
    """A region that was made smaller gets its size back."""
    serve(place, "-l", "4M")
    os.truncate(place.shm_path, 1 << 20)
    finding = prove("server-region", "--server", place.socket)
    assert finding["command"] == f"truncate -c -s '>4194304' {place.shm_path}"


@proves("server-region")
@pytest.mark.parametrize("change", ["grown", "name_lost"])
def test_changed_region(place, change):
    """A region that was made larger, or whose file is gone, is shared again after a restart. If the
    region itself is examined, its own rule reports that its file is gone."""
    server = serve(place, "-l", "4M")
    if change == "grown":
        os.truncate(place.shm_path, 8 << 20)
    else:
        place.shm_path.unlink()
    wait_until(lambda: change in ask_once(control_of(place))["region"]["changes"], change)

    def restart(_finding):
        server.end()
        control_of(place).unlink()
        place.shm_path.unlink(missing_ok=True)
        start_again(place, server, "--control", control_of(place), "-l", "8M")

    prove("region-removed" if change == "name_lost" else "server-region", "--server",
          place.socket, cure=restart)


@proves("server-refused")
def test_refused(place):
    """A server that has refused a client because of --max-peers."""
    server = serve(place, "--max-peers", "1")
    crowd(place, 1, 1)
    with socket.socket(socket.AF_UNIX) as second:
        second.connect(str(place.socket))
        assert not second.recv(1)

    def raise_limit(finding):
        assert "1 (max_peers)" in finding["found"] and "--max-peers" in finding["advice"]
        control_of(place).unlink()
        start_again(place, server, "--control", control_of(place), "--max-peers", "2")

    prove("server-refused", "--server", place.socket, cure=raise_limit)


def about(place, report):
    """Return: the findings about the region, the socket, and the directory of a test."""
    return [finding for finding in report.findings
            if place.shm in finding["subject"] or str(place.dir) in finding["subject"]]


@pytest.mark.parametrize("control", [False, True])
def test_healthy(place, control):
    """A server with clients has no faults, with --server, by its region's name, and without."""
    server = serve(place, "-n", "2") if control else place.server("-n", "2")
    clients = crowd(place, 2, 3)
    report = examine("--server", place.socket)
    assert not report.findings
    if os.geteuid() == 0:
        assert report.whole["examined"]["regions"] == 1
    assert report.whole["examined"]["servers"] == 1
    report = examine(place.shm)
    assert not report.findings and report.whole["examined"]["servers"] == 1
    assert not about(place, examine())
    if control:  # no client has joined, so no client has noticed
        assert ask_once(control_of(place))["totals"]["joined"] == 3
    assert all(client.sock for client in clients) and server.popen.poll() is None


def test_relative_path(place):
    """The path of a socket may be relative."""
    serve(place)
    report = examine("--server", place.socket.name, cwd=place.dir)
    assert not report.findings


def test_hostile_control(place):
    """A control socket whose replies are hostile does no harm, whatever they contain."""
    serve(place)
    control = control_of(place)
    control.unlink()
    for reply in (b"{}\n", b"[]\n", b'{"peers":[{"blocked":true,"pid":-1,"id":1e9}],"pid":1e30}\n',
                  b'{"region":{"changes":[1,null,"shrunk"],"path":"/a\\u001b[2J","size":-1},'
                  b'"limits":7,"totals":{"refused":[]},"vectors":"x","ids_left":-5}\n'):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(control))
        listener.listen(8)
        try:
            pid = os.fork()
            if not pid:
                while True:
                    sock, _ = listener.accept()
                    sock.recv(4096)
                    sock.sendall(reply)
                    sock.close()
            try:
                done = subprocess.run([TOOL, "doctor", "--server", place.socket],
                                      capture_output=True, text=True, timeout=60, check=False)
            finally:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        finally:
            listener.close()
            control.unlink()
        assert done.returncode in (0, 1, 2) and not done.stderr, done
        assert "\x1b" not in done.stdout and "truncate" not in done.stdout


@pytest.mark.parametrize("kind", ["drip", "flood", "reset"])
def test_hostile_listener(place, kind):
    """A listener that sends slowly or without end does not keep the doctor."""
    stop = threading.Event()
    place.add(Setter(stop))
    fake = FakeServer(place, place.socket)

    def drip(sock):
        while not stop.wait(0.05):
            sock.sendall(b"\0")

    def flood(sock):
        say(sock, 0)
        while not stop.is_set():
            say(sock, 1, fake.memory)

    def reset(sock):
        sock.recv(1, socket.MSG_DONTWAIT)
        return True

    fake.greet = {"drip": drip, "flood": flood, "reset": reset}[kind]
    report = examine("--server", place.socket)
    assert len(report.rules) == 1 and report.rules[0] in ("server-silent", "server-alien",
                                                          "server-refuses")


class Setter:
    """Sets an event when the test ends."""

    def __init__(self, event):
        self.close = event.set


def test_silent_control(place):
    """A control socket that never answers does not stop the examination."""
    serve(place)
    control_of(place).unlink()
    listener = place.add(socket.socket(socket.AF_UNIX))
    listener.bind(str(control_of(place)))
    listener.listen(0)
    assert not examine("--server", place.socket).findings


@pytest.mark.parametrize("path", ["", "/" + "a" * 110])
def test_wrong_paths(path):
    """A path that cannot be a socket is a mistake in the command line."""
    done = subprocess.run([TOOL, "doctor", "--server", path], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 2 and "invalid socket" in done.stderr


def test_very_many_servers(place):
    """Any user can start many processes with the name of a server. At most 64 servers are
    examined, and the report says how many were not."""
    sleep = shutil.copy(shutil.which("sleep"), place.dir / "ivshmem-server")
    for _ in range(70):
        place.start(sleep, "1000")
    report = examine()
    assert report.whole["examined"]["servers"] == 64 and report.whole["servers_left"] >= 6


def test_client_that_is_listed_many_times(place):
    """A server that lists the same client again and again does not overflow the list of clients."""
    blocked = {"id": 200, "pid": 4242, "blocked": True, "behind": 1}
    control = place.dir / "lying-control"
    Answer(place, control, json.dumps({"vectors": 1, "peers": [blocked] * 100}).encode() + b"\n")
    shutil.copy(shutil.which("bash"), place.dir / "ivshmem-server")
    fake = place.start(place.dir / "ivshmem-server", "-c", "read line", "--socket",
                       str(place.dir / "absent"), "--control", str(control),
                       stdin=subprocess.PIPE)
    report = examine()
    assert report.whole["examined"]["servers"] >= 1 and fake.popen.poll() is None


def test_limit_that_was_set_by_an_administrator(place):
    """The command raises the soft limit, and leaves the hard one as it is."""
    server = serve(place, "-n", "4", "--max-peers", "64")
    subprocess.run(["prlimit", "--pid", str(server.pid), "--nofile=80:20000"], check=True)
    prove("server-nofile", "--server", place.socket)
    done = subprocess.run(["prlimit", "--pid", str(server.pid), "--nofile", "--raw", "--noheadings",
                           "--output", "HARD"], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "20000"
