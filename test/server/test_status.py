# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem-server --status: the table, the errors, and the output for a hostile server."""
import json
import os
import pwd
import re
import socket
import threading

import pytest

from support.py import advice
from support.py.clients import join
from support.py.control import ask_once
from support.py.programs import TIMEOUT
from support.py.wire import RawClient, read_together, ring

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
COLUMNS = ["ID", "PID", "PROGRAM", "USER", "SINCE", "STATE", "LEAVES", "VECTORS", "BEHIND",
           "DOORBELLS"]


#: Prints the reply of a control socket, byte by byte
ASK = """
import socket, sys
there = socket.socket(socket.AF_UNIX)
there.connect(sys.argv[1])
there.sendall(b'{"request":"status"}\\n')
with there.makefile("rb") as file:
    sys.stdout.buffer.write(file.readline())
"""


def control_of(where):
    """Return the path of the control socket."""
    return where.dir / "control"


def show(where, *options, path=None):
    """Run ivshmem-server --status until it exits."""
    return where.run_server("--status", path or control_of(where), *options)


def fails(where, message, path=None):
    """--status must exit with status 1, print one line with this message to stderr, and nothing
    else."""
    done = show(where, path=path)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.startswith("ivshmem-server: ") and done.stderr.count("\n") == 1
    assert message in done.stderr


class Liar:
    """A listener that is not ivshmem-server: it sends the data, and then keeps or closes the
    connection."""

    def __init__(self, path, data, stays=False):
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(str(path))
        self._sock.listen()
        self._sock.settimeout(TIMEOUT)
        self._thread = threading.Thread(target=self._answer, args=(data, stays), daemon=True)
        self._thread.start()

    def _answer(self, data, stays):
        try:
            there, _ = self._sock.accept()
            with there:
                there.settimeout(TIMEOUT)
                there.recv(4096)
                there.sendall(data)
                if stays:
                    there.recv(1)
        except OSError:
            pass  # --status has already exited

    def close(self):
        """Stop listening."""
        self._thread.join(TIMEOUT)
        self._sock.close()


def test_status_is_a_table(place):
    """The output is a summary, followed by a table with column titles and a line for each
    client."""
    server = place.server("--control", control_of(place), "-n", "16", "-l", "2M", "--max-peers",
                          "3", "--max-peers-per-user", "9")
    join(place, 16).close()
    server.err.wait("client 0 left")
    readers = [join(place, 16) for _ in range(2)]
    stalled = place.add(RawClient(str(place.socket), 16))
    server.err.wait("joined", 4)
    read_together(readers, lambda: all(
        c.knows(set(range(3)) - {c.id}) for c in readers), "both know each other")
    assert place.add(RawClient(str(place.socket))).next() is None
    for _ in range(7):
        ring(readers[0].peers[1][2])
    behind = ask_once(control_of(place))["peers"][2]["behind"]

    done = show(place)
    assert (done.returncode, done.stderr) == (0, "")
    head, table = done.stdout.split("\n\n")
    lines = head.splitlines()
    assert re.fullmatch(rf"server   pid {server.pid}, version [0-9.]+, "
                        r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", lines[0])
    assert lines[1] == f"socket   {place.socket}, 16 vectors"
    assert lines[2] == (f"region   shm:{place.shm}, 2M in pages of 4K, at {place.shm_path}, "
                        "not sealed, new")
    assert re.fullmatch(r"limits   clients 3, of one user 9, open files \d+, ids left 65533, "
                        r"vacant 0",
                        lines[3])
    assert lines[4] == "clients  3 now, 4 joined, 1 left (closed 1)"
    assert lines[5] == "refused  1 connections (max_peers 1)"
    assert re.fullmatch(r"sent     \d+ messages, 0 waits for the kernel", lines[6])
    assert lines[7:] == ["untaken  client 1 vector 2 (7); QEMU reads only the doorbells of "
                         "the vectors that its option vectors= specifies"]
    rows = table.splitlines()
    assert rows[0].split() == COLUMNS and len(rows) == 4
    ends = [rows[0].index(title) + len(title) for title in COLUMNS]
    starts = [rows[0].index(title) for title in COLUMNS]
    user = pwd.getpwuid(os.getuid()).pw_name
    program = open("/proc/self/comm", encoding="utf-8").read().strip()
    for at, row in enumerate(rows[1:]):
        for column in ["ID", "PID", "VECTORS", "BEHIND"]:
            assert row[ends[COLUMNS.index(column)] - 1].isdigit()
        for column in ["PROGRAM", "USER", "SINCE", "STATE", "LEAVES", "DOORBELLS"]:
            start = starts[COLUMNS.index(column)]
            assert row[start - 1] == " " and row[start] != " "
        cells = row.split(maxsplit=9)
        assert cells[:4] == [str(at), str(os.getpid()), program, user]
        assert cells[5:9] == [["ready", "ready", "blocked"][at], "told", "16", [
            "0", "0", str(behind)][at]]
        counts = [0] * 16
        counts[2] = 7 if at == 1 else 0
        assert cells[9] == " ".join(map(str, counts))
    assert stalled.next() is not None


def test_untaken_doorbells_are_abbreviated(place):
    """At most eight vectors with untaken doorbells are listed, followed by the number of remaining
    ones."""
    place.server("--control", control_of(place), "-n", "5")
    clients = [join(place, 5) for _ in range(2)]
    for doorbell in clients[0].own + clients[1].own:
        ring(doorbell)
    line, = [line for line in show(place).stdout.splitlines() if line.startswith("untaken")]
    assert line.startswith("untaken  client 0 vector 0 (1), client 0 vector 1 (1), ")
    assert "client 1 vector 2 (1) and 2 more; QEMU reads" in line


def test_status_without_vectors(place):
    """If the server assigns no vectors, the status says what that means."""
    place.server("--control", control_of(place), "-n", "0")
    assert f"{place.socket}, 0 vectors: clients cannot ring each other (-n)\n" in show(place).stdout


def test_json_is_the_reply_unchanged(place):
    """--json prints the reply unchanged, on one line and with doorbell counts."""
    place.server("--control", control_of(place))
    join(place, 1)
    done = show(place, "--json")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    assert json.loads(done.stdout) == ask_once(control_of(place), doorbells=True)


def test_many_doorbells_are_abbreviated(place):
    """At most sixteen doorbell counts of a client are shown, followed by the number of remaining
    ones."""
    place.server("--control", control_of(place), "-n", "40")
    join(place, 40)
    assert show(place).stdout.splitlines()[-1].endswith(" 0" * 16 + " and 24 more")


def test_table_without_clients_or_vectors(place):
    """A table without clients has only column titles; a client without vectors has a dash for its
    doorbells."""
    server = place.server("--control", control_of(place), "-n", "0")
    assert show(place).stdout.splitlines()[-1].split() == COLUMNS
    join(place, 0)
    server.err.wait("joined")
    assert show(place).stdout.splitlines()[-1].split()[6:] == ["told", "0", "0", "-"]


@NEEDS_ROOT
def test_client_whose_program_has_ended(place):
    """A client whose program has exited is shown with a dash for its program; a user without a name
    is shown as a number."""
    place.dir.chmod(0o777)
    place.server("--control", control_of(place), "--socket-mode", "0666")
    code = ("import os,socket,sys,time; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
            "print('joined', flush=True)\nif os.fork(): os._exit(0)\ntime.sleep(60)")
    parent = place.start("setpriv", "--reuid=61234", "--regid=61234", "--clear-groups",
                         "/usr/bin/python3", "-c", "import socket,os,sys\n" + code.replace(
                             "time.sleep(60)", "sys.stdin.read()"), place.socket, stdin=-1)
    parent.out.wait("joined")
    parent.popen.wait(TIMEOUT)
    row = show(place).stdout.splitlines()[-1].split()
    parent.popen.stdin.close()
    assert row[:4] == ["0", str(parent.pid), "-", "61234"]


# Errors

def test_missing_socket(place):
    """If the socket does not exist, the error message asks whether the server is running with
    --control."""
    fails(place, f"there is no socket {control_of(place)}: is the server running, with --control")


def test_socket_without_a_listener(place):
    """If no process listens on the socket, the error message says that the server has ended."""
    place.server("--control", control_of(place)).end()
    fails(place, f"no process listens at {control_of(place)}: the server has ended")


def test_file_that_is_not_a_socket(place):
    """If the path is not a socket, the error message says so."""
    control_of(place).write_text("")
    fails(place, f"no process listens at {control_of(place)}: it is a regular file")


def test_too_long_path(place):
    """A path that is too long results in the same error message as for any other socket."""
    fails(place, "the socket's path has 200 bytes, but must have 1 to 107", path="x" * 200)


@NEEDS_ROOT
def test_missing_permission_is_reported(place):
    """If the user may not connect, the error message gives the mode of the control socket, a
    command that grants permission, and the option that would have granted it. The command works."""
    place.server("--control", control_of(place))
    words = [61234, place.server_program, "--status", control_of(place)]
    status, text = advice.run_as(place, *words)
    assert status == 1
    assert f"no permission to connect to {control_of(place)}: it belongs to root:root, mode 0600" \
        in text
    assert "(or --control-mode, --control-group of the " in text
    advice.do(text, r"as root, (.*) \(or")
    assert advice.run_as(place, *words) == (0, "")


def test_socket_for_clients_is_recognized(place):
    """If the path is that of the socket for clients, the error message asks whether it is the
    control socket; the server is not affected."""
    server = place.server("--control", control_of(place))
    fails(place, "sent an unexpected reply: is it the control socket", path=place.socket)
    server.err.wait("left")
    assert show(place).returncode == 0


@pytest.mark.parametrize("data, stays, message", [
    (b"", True, "did not answer within 5 s: is it the control socket"),
    (b'{"version":"1"', True, "did not answer within 5 s: is it the control socket"),
    (b"", False, "closed the connection without a reply: is it the control socket"),
    (b'{"version":"1"', False, "closed the connection before its reply was complete"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", False, "sent an unexpected reply"),
    (b"{}\n", False, "sent an unexpected reply"),
    (b"{nonsense}\n", False, "sent an unexpected reply"),
    (b'{"error":"there is no \\u001b[31mstatus\\n"}\n', False,
     "says: there is no ?[31mstatus?\n"),
], ids=["silent", "stops", "ends", "ends in the middle", "other protocol", "other JSON",
        "no JSON", "error"])
@pytest.mark.usefixtures("fast_clock")
def test_other_servers_at_the_socket(place, data, stays, message):
    """If another program listens on the socket, --status gives up after at most 5 s, and says what
    was wrong."""
    place.add(Liar(control_of(place), data, stays))
    fails(place, message)


def test_datagram_socket(place):
    """A datagram socket is reported as being a socket of a different type."""
    there = place.add(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    there.bind(str(control_of(place)))
    fails(place, "is a socket of a different type")


def test_control_characters_are_not_printed(place):
    """Control characters in a reply are not printed, and values of unexpected types are
    harmless."""
    evil = "\x1b]0;x\x07\r\n\x7f\u009b2J\u202e"
    place.add(Liar(control_of(place), json.dumps({
        "version": evil, "pid": evil, "since": evil, "socket": evil, "vectors": evil,
        "region": {"address": evil, "path": evil, "size": evil},
        "limits": evil, "totals": {"left": {evil: 5}, "refused": [1]},
        "peers": [{"id": evil, "pid": 2**62, "uid": evil, "since": evil, "vectors": [],
                   "doorbells": [evil, 2**62] * 20}, evil, None, {}],
    }).encode() + b"\n"))
    done = show(place)
    assert done.returncode == 0
    assert all(char == "\n" or char.isprintable() for char in done.stdout), repr(done.stdout)
    assert len(done.stdout.splitlines()) == 8 + 1 + 5


@pytest.mark.parametrize("ascii_only", [False, True])
def test_control_characters_are_escaped_in_json(place, ascii_only):
    """--json prints what the reply says in ASCII, without control characters."""
    reply = {"socket": "\x1b]0;x\x07\r\n\x7f\u009b2J\u202eä\U0001f600", "peers": []}
    place.add(Liar(control_of(place), json.dumps(reply, ensure_ascii=ascii_only).encode() + b"\n"))
    done = show(place, "--json")
    assert json.loads(done.stdout) == reply
    assert done.stdout.isascii() and done.stdout[:-1].isprintable(), repr(done.stdout)


def test_replies_are_ascii(place):
    """A reply has no control characters, even if a path has some."""
    name = place.dir / "s\x1b\x7f\u009b2J\u202eä"
    place.server("--control", control_of(place), "-S", name)
    reply = place.run("python3", "-c", ASK, control_of(place)).stdout
    assert json.loads(reply)["socket"] == str(name)
    assert reply.isascii() and reply[:-1].isprintable(), repr(reply)


def test_full_disk_is_an_error(place):
    """If the output cannot be written because the disk is full, --status fails with that error."""
    place.server("--control", control_of(place))
    for option in ["", "--json"]:
        done = place.run("sh", "-c", f'exec "$0" --status "$1" {option} >/dev/full',
                         place.server_program, control_of(place))
        assert done.returncode == 1 and "No space left on device" in done.stderr


def test_json_without_status_is_refused(place):
    """--json requires --status."""
    done = place.run_server("--json")
    assert done.returncode == 2 and "use it with --status PATH" in done.stderr


def test_status_of_many_clients(place):
    """--status handles a reply that arrives in many pieces."""
    server = place.server("--control", control_of(place), "-n", "1")
    for _ in range(400):
        place.add(RawClient(str(place.socket), 1, keep=False))
    server.err.wait("joined", 400)
    rows = show(place).stdout.split("\n\n")[1].splitlines()
    assert [row.split()[0] for row in rows[1:]] == [str(n) for n in range(400)]
    assert len({row.index("python") if "python" in row else -1 for row in rows[1:]}) == 1
