# SPDX-License-Identifier: BSD-3-Clause
"""The status of ivshmem-device, read from its control socket and with --status, and the sandbox of
the process."""
import json
import os
import re
import signal
import socket
import stat
import threading

import pytest

from support.py import advice
from support.py.clients import join
from support.py.control import Control, ask_once
from support.py.device import (Devices, Guest, check_doorbells, connect_when_free, kernel_says,
                               start_device, start_server, wait_state)
from support.py.programs import TIMEOUT, fd_count, wait_until
from support.py.vfio_user import BAR2, FEATURE, GET, MIGRATION, Client, Refused, feature_body
from support.py.wire import connect

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
MIB = 1 << 20
TOTALS = {"vmms", "turned_away", "messages", "refused", "memory_reads", "memory_writes",
          "doorbells_out", "doorbells_to_nobody", "doorbells_in", "interrupts"}
NUMBER, TEXT = int, str
OR_NULL = type(None)
#: The documented members of the status and their types. A tuple lists alternative types.
SCHEMA = {
    "program": TEXT, "version": TEXT, "devices": [{
        "socket": TEXT, "model": TEXT, "revision": NUMBER, "vectors": NUMBER, "intx": bool,
        "name": (TEXT, OR_NULL), "role": TEXT,
        "memory": {"region": (TEXT, OR_NULL), "offset": NUMBER, "size": NUMBER, "read_only": bool,
                   "attached": bool, "changes": [TEXT]},
        "server": ({"socket": TEXT, "state": TEXT, "since": TEXT, "id": (NUMBER, OR_NULL),
                    "vectors": NUMBER, "peers": (NUMBER, OR_NULL), "joins": NUMBER,
                    "problem": (TEXT, OR_NULL)}, OR_NULL),
        "vmm": ({"memory_mapped": bool, "asked_migration": bool}, OR_NULL),
        "totals": dict.fromkeys(TOTALS, NUMBER)}]}


def check_schema(value, schema, where="status"):
    """Check that the status, or a part of it, has exactly the documented members and types."""
    if isinstance(schema, tuple):
        return check_schema(value, schema[value is None], where)
    if isinstance(schema, dict):
        assert isinstance(value, dict) and set(value) == set(schema), (where, value)
        for key, inner in schema.items():
            check_schema(value[key], inner, f"{where}.{key}")
    elif isinstance(schema, list):
        assert isinstance(value, list), where
        for at, inner in enumerate(value):
            check_schema(inner, schema[0], f"{where}[{at}]")
    else:
        assert type(value) is schema, (where, value)
    return None


def control_of(place):
    """Return: the path of the control socket."""
    return place.dir / "control"


def status(place):
    """Return: the status, after checking its members and types."""
    said = ask_once(control_of(place))
    check_schema(said, SCHEMA)
    return said


def shown(place, *options):
    """Return: the lines that --status prints."""
    done = place.run_device("--status", control_of(place), *options)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.splitlines()


def plain(place, *options):
    """Start a plain device with a control socket."""
    return Devices(place, "--socket", place.dir / "vmm", "--region", f"shm:{place.shm}", "--size",
                   "1M", "--control", control_of(place), *options)


# Contents of the status

def test_status_of_a_plain_device(place):
    """Check every member of the status, and every line of --status, for a device without a VMM."""
    plain(place, "--name", "frames", "--window", "64K,64K,ro")
    assert status(place) == {
        "program": "ivshmem-device", "version": place.run_device("-V").stdout.split()[1],
        "devices": [{
            "socket": f"{place.dir}/vmm", "model": "plain", "revision": 1, "vectors": 0,
            "intx": False, "name": "frames", "role": "peer", "memory": {
                "region": f"shm:{place.shm}", "offset": 65536, "size": 65536, "read_only": True,
                "attached": True, "changes": []},
            "server": None, "vmm": None, "totals": dict.fromkeys(TOTALS, 0)}]}
    assert shown(place) == [
        f"device   {place.dir}/vmm: plain of revision 1, peer, named frames",
        f"memory   64K from offset 65536 of shm:{place.shm}, read-only",
        "vmm      none; 0 connected so far, 0 refused",
        "rung     0 by the guest (0 to no peer), 0 by peers, 0 interrupts"]


@pytest.mark.parametrize("change, name, text", [
    (lambda path: path.unlink(), "name_lost", "its name was removed, renamed or replaced: "),
    (lambda path: path.rename(path.with_name(path.name + "-2")), "name_lost", "its name was "),
    (lambda path: os.truncate(path, 13), "shrunk", "it was shrunk: "),
    (lambda path: os.truncate(path, 4 * MIB), "grown", "it was enlarged: "),
], ids=["removed", "renamed", "shrunk", "grown"])
@pytest.mark.parametrize("options", [[], ["--read-only"]], ids=["", "read-only"])
def test_status_shows_a_change_of_the_region(place, options, change, name, text):
    """If the region's file is removed, renamed or resized, the status says so."""
    plain(place, *options)
    assert not [line for line in shown(place) if line.startswith("changed")]
    change(place.shm_path)
    assert status(place)["devices"][0]["memory"]["changes"] == [name]
    assert [line for line in shown(place) if line.startswith(f"changed  {text}")]


def test_status_of_a_vmm(place):
    """The status shows whether the VMM has mapped the memory, whether it has queried the migration
    feature, and how many times it has accessed memory."""
    plain(place)
    with Client(place.dir / "vmm") as client:
        client.start()
        assert status(place)["devices"][0]["vmm"] == {"memory_mapped": False,
                                                     "asked_migration": False}
        assert shown(place)[1].endswith(", accessed through messages (slow)")
        client.read(BAR2, 0, 4)
        client.write(BAR2, 0, b"1234")
        client.write(BAR2, 4, b"1234")
        client.map_memory().close()
        with pytest.raises(Refused):
            client.transact(FEATURE, feature_body(GET | MIGRATION, bytes(8)))
        one, = status(place)["devices"]
        assert one["vmm"] == {"memory_mapped": True, "asked_migration": True}
        assert one["totals"] == {**dict.fromkeys(TOTALS, 0), "vmms": 1, "messages": 7, "refused": 1,
                                 "memory_reads": 1, "memory_writes": 2}
        assert shown(place)[1] == f"memory   1M of shm:{place.shm}, mapped by the VMM"
        assert shown(place)[2] == "vmm      connected; 1 connected so far, 0 refused"
    wait_until(lambda: status(place)["devices"][0]["vmm"] is None, "the VMM has left")


def server_line(place):
    """Return: the line about the server in the output of --status, without the time."""
    text = "\n".join(shown(place))
    found = re.search(
        r"^server   (.*): (\w+) since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ(.*\n         .*|.*)",
                      text, re.MULTILINE)
    assert found and found[1] == str(place.socket), text
    return found[2] + found[3]


@pytest.mark.usefixtures("fast_clock")
def test_states_of_a_server(place):
    """The state of the server is shown as joined, lost, greeted, foreign, and joined again, both in
    JSON and as text."""
    server = start_server(place)
    start_device(place)
    guest, _ = Guest(place, place.dir / "vmm", 2), join(place, 2)
    wait_until(lambda: status(place)["devices"][0]["server"]["peers"] == 1,
               "the device knows the peer")
    told = wait_state(place, "joined")
    assert {**told, "since": None} == {
        "socket": str(place.socket), "state": "joined", "since": None, "id": 0, "vectors": 2,
        "peers": 1, "joins": 1, "problem": None}
    assert server_line(place) == "joined, peer 0, others 1"
    assert shown(place)[0] == (f"device   {place.dir}/vmm: doorbell of revision 1, 2 vectors, peer")
    assert shown(place)[1] == "memory   1M of the server's region, accessed through messages (slow)"

    server.end()
    told = wait_state(place, "lost")
    assert (told["id"], told["peers"], told["joins"]) == (0, None, 1) and told["problem"]
    wait_until(lambda: "no server is listening" in server_line(place), "the device has retried")
    assert server_line(place).startswith("lost, peer 0\n         no server is listening at ")

    os.unlink(place.socket)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(place.socket))
        silent.listen()
        check_schema(wait_state(place, "greeted"), SCHEMA["devices"][0]["server"][0])
        assert server_line(place).startswith("greeted, peer 0\n")
    os.unlink(place.socket)

    wait_state(place, "lost")
    server = start_server(place, region=["-r", "memfd:"])
    told = wait_state(place, "foreign")
    assert told["joins"] == 1 and "a different region from the VM's" in told["problem"]
    assert server_line(place).startswith("foreign, peer 0\n         the server at ")
    guest.client.close()
    told = wait_state(place, "joined")
    assert told["joins"] == 2 and told["problem"] is None
    status(place)


def test_status_before_the_server_starts(place):
    """Until its server starts, the status of a legacy device with a pin shows the pin, no vectors,
    and no attached memory."""
    Devices(place, "--socket", place.dir / "vmm", "--control", control_of(place), "--legacy",
            f"chardev={place.socket},msi=off")
    one, = status(place)["devices"]
    assert (one["intx"], one["vectors"], one["revision"]) == (True, 0, 0)
    assert one["memory"] == {"region": None, "offset": 0, "size": 4 * MIB, "read_only": False,
                             "attached": False, "changes": []}
    assert shown(place)[0] == f"device   {place.dir}/vmm: doorbell of revision 0, pin A, peer"
    assert shown(place)[1] == "memory   4M of the server's region, not there yet"
    assert server_line(place).startswith("lost\n         no server is listening at")


def test_status_of_several_devices(place):
    """The status lists devices in the order of the command line. The text has an empty line between
    devices."""
    Devices(place, "--control", control_of(place), *[
        word for at in range(64) for word in ("--socket", place.dir / str(at), "--region",
                                              f"shm:{place.shm}", "--size", "1M")], n=64)
    assert [one["socket"] for one in status(place)["devices"]] == [
        f"{place.dir}/{at}" for at in range(64)]
    lines = shown(place)
    assert lines.count("") == 63 and len(lines) == 64 * 5 - 1
    assert [line.split()[1] for line in lines if line.startswith("device")] == [
        f"{place.dir}/{at}:" for at in range(64)]


def test_json_is_the_reply_unchanged(place):
    """--json prints the reply of the control socket unchanged, as one line."""
    plain(place)
    lines = shown(place, "--json")
    assert len(lines) == 1 and json.loads(lines[0]) == status(place)
    check_schema(json.loads(lines[0]), SCHEMA)


def test_paths_that_are_not_utf_8(place):
    """Paths may contain any bytes, but the JSON is UTF-8 and --status does not print control
    characters."""
    name = os.fsdecode(os.fsencode(place.dir) + b"/\xff\x1b[2J")
    Devices(place, "--socket", name, "--region", f"shm:{place.shm}", "--size", "1M", "--control",
            control_of(place))
    assert status(place)["devices"][0]["socket"].startswith(f"{place.dir}/?")
    text = "\n".join(shown(place))
    assert all(char == "\n" or char.isprintable() for char in text), repr(text)


# The control socket

@pytest.mark.parametrize("options, expected", [
    ([], (0o600, os.getuid(), os.getgid())),
    (["--control-mode", "0666"], (0o666, os.getuid(), os.getgid())),
    (["--control-mode", "0660", "--control-owner", "54321", "--control-group", "12345"],
     (0o660, 54321, 12345)),
])
def test_permissions_of_the_control_socket(place, options, expected):
    """The control socket has its configured mode, owner and group. Its default mode is 0600,
    regardless of the umask."""
    if os.geteuid() and len(options) > 2:
        pytest.skip("needs root to change the owner of the socket")
    plain(place, *options)
    there = control_of(place).stat()
    assert (stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid) == expected


@NEEDS_ROOT
def test_missing_permission_is_reported(place):
    """If the user may not connect, the error message gives the mode of the control socket, a
    command that grants permission, and the option that would have granted it. The command works."""
    plain(place)
    words = [61234, place.device_program, "--status", control_of(place)]
    status, text = advice.run_as(place, *words)
    assert status == 1
    assert f"no permission to connect to {control_of(place)}: it belongs to root:root, mode 0600" \
        in text
    assert "(or --control-mode, --control-group of the " in text
    advice.do(text, r"as root, (.*) \(or")
    assert advice.run_as(place, *words) == (0, "")


@pytest.mark.parametrize("line", [
    b"\n", b"status\n", b"{}\n", b"[]\n", b'{"request":"stop"}\n', b'{"request":1}\n',
    b'{"request":"status","request":"status"}\n', b"\xff\xfe\n", b'{"request":"status"\n'])
def test_unknown_requests_are_refused(place, line):
    """The reply to an unknown request names the only valid request."""
    plain(place)
    control = place.add(Control(control_of(place)))
    assert control.ask(line) == {"error": 'the only request is {"request":"status"}'}
    check_schema(control.ask(), SCHEMA)


def test_connections_that_do_not_read_block_nobody(place):
    """Clients that do not read their replies delay neither VMMs nor other clients of the control
    socket."""
    running = plain(place)
    fds = fd_count(running.pid)
    idle = [place.add(connect(str(control_of(place)))) for _ in range(20)]
    for sock in idle[:10]:
        sock.setblocking(False)
        try:
            while True:
                sock.send(b'{"request":"status"}\n' * 100)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass
    with Client(place.dir / "vmm") as client:
        assert client.info() == (3, 9, 5)
    for sock in idle:
        sock.close()
    wait_until(lambda: fd_count(running.pid) == fds, "their fds are closed")
    status(place)
    running.stop()


# Errors of --status

class Liar:
    """A socket of a program that is not one of ours. It accepts one connection, sends the given
    bytes, and closes the connection."""

    def __init__(self, path, data):
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(str(path))
        self._sock.listen()
        self._sock.settimeout(TIMEOUT)
        self._thread = threading.Thread(target=self._answer, args=(data,), daemon=True)
        self._thread.start()

    def _answer(self, data):
        try:
            there, _ = self._sock.accept()
            with there:
                there.recv(4096)
                there.sendall(data)
        except OSError:
            pass  # the tool has already exited

    def close(self):
        self._thread.join(TIMEOUT)
        self._sock.close()


@pytest.mark.parametrize("data, message", [
    (b"", "closed the connection without a reply: is it the control socket"),
    (b'{"devices":[', "closed the connection before its reply was complete"),
    (b"{}\n", "sent an unexpected reply"), (b"[]\n", "sent an unexpected reply"),
    (b'{"devices":{}}\n', "sent an unexpected reply"), (b"nonsense\n", "sent an unexpected reply"),
    (b'{"error":"no \\u001b[31m"}\n', "says: no ?[31m"),
])
def test_other_program_at_the_socket(place, data, message):
    """If another program listens at the control socket's path, --status prints a one-line error
    with the reason."""
    place.add(Liar(control_of(place), data))
    done = place.run_device("--status", control_of(place))
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.count("\n") == 1
    assert message in done.stderr


def test_control_socket_of_a_server(place):
    """If the control socket is that of an ivshmem-server, --status reports an error."""
    place.server("--control", control_of(place))
    done = place.run_device("--status", control_of(place))
    assert done.returncode == 1 and "sent an unexpected reply" in done.stderr


def test_socket_without_a_listener(place):
    """If a program was killed and has left its control socket, --status reports that no process
    listens there."""
    plain(place).end()
    done = place.run_device("--status", control_of(place))
    assert done.returncode == 1 and f"no process listens at {control_of(place)}" in done.stderr


def test_control_characters_are_not_printed(place):
    """--status prints no control characters, even if the reply contains them and has values of
    unexpected types."""
    evil = "\x1b]0;x\x07\r\n\x7f\u009b2J\u202e"
    device = {key: evil for key in SCHEMA["devices"][0]}
    nested = {"socket": evil, "model": [], "revision": {}, "vectors": -1, "name": evil,
              "memory": {"region": evil, "size": evil, "offset": 2**62, "attached": 1},
              "server": {"socket": evil, "state": evil, "since": evil, "problem": evil,
                         "id": 2**62},
              "vmm": [evil], "totals": {"vmms": evil}}
    place.add(Liar(control_of(place), json.dumps(
        {"devices": [device, nested, evil, None, 5, {}]}).encode() + b"\n"))
    text = "\n".join(shown(place))
    assert all(char == "\n" or char.isprintable() for char in text), repr(text)


def test_control_characters_are_escaped_in_json(place):
    """--json prints what the reply says in ASCII, without control characters."""
    reply = {"devices": [{"socket": "\x1b]0;x\x07\r\n\x7f\u009b2J\u202e\U0001f600"}]}
    place.add(Liar(control_of(place), json.dumps(reply, ensure_ascii=False).encode() + b"\n"))
    text = place.run_device("--status", control_of(place), "--json").stdout
    assert json.loads(text) == reply
    assert text.isascii() and text[:-1].isprintable(), repr(text)


@pytest.mark.parametrize("option", ["", "--json"])
def test_full_disk_is_an_error(place, option):
    plain(place)
    done = place.run("sh", "-c", f'exec "$0" --status "$1" {option} >/dev/full',
                     place.device_program, control_of(place))
    assert done.returncode == 1 and "No space left on device" in done.stderr


# The sandbox

def has_filter(place):
    """Return: whether this build can use a sandbox. Builds with a sanitizer cannot."""
    return b"seccomp_load" in place.device_program.read_bytes()


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("sandbox", [[], ["--sandbox", "on"], ["--sandbox", "off"]])
@pytest.mark.parametrize("kind", ["plain", "server"])
def test_device_is_confined(place, sandbox, kind):
    """The process has a system call filter unless --sandbox is off. It has no capabilities and
    cannot gain any. All features work with and without the filter."""
    if sandbox == ["--sandbox", "on"] and not has_filter(place):
        done = place.run_device("-S", place.dir / "vmm", "--region", f"shm:{place.shm}", *sandbox)
        assert done.returncode == 2 and 'cannot set the sandbox to "on": built with' in done.stderr
        return
    if kind == "plain":
        running = plain(place, *sandbox)
    else:
        server = start_server(place)
        running = start_device(place, *sandbox)
    kernel = kernel_says(running.pid)
    filtered = has_filter(place) and sandbox != ["--sandbox", "off"]
    assert kernel["Seccomp"] == ["2" if filtered else "0"] and kernel["NoNewPrivs"] == ["1"]
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(kernel[name][0], 16) == 0
    assert running.err.count("no system call filter") == (0 if filtered else 1)
    guest = Guest(place, place.dir / "vmm", 2 if kind == "server" else 0)
    guest.client.map_memory().close()
    guest.client.write(BAR2, 0, b"x" * 4096)
    assert guest.client.read(BAR2, 0, 4096) == b"x" * 4096
    if kind == "server":
        check_doorbells(guest, join(place, 2), 0)
        server.end()
        start_server(place)
        wait_state(place, "joined")
        check_doorbells(guest, join(place, 2), guest.id())
    guest.client.close()
    connect_when_free(place, place.dir / "vmm").close()
    status(place)
    running.stop()
    assert not (place.dir / "vmm").exists() and not control_of(place).exists()


FEATURES = [
    ["--read-only"], ["--read-only=trap"], ["--window", "4K,64K"], ["--window", "4K,64K,ro"],
    ["--role", "master"], ["--name", "a", "--uuid", "01234567-89ab-cdef-0123-456789abcdef"]]


@pytest.mark.parametrize("region", ["shm:{shm}", "file:{dir}/region", "dir:{dir}"])
@pytest.mark.parametrize("options", FEATURES, ids=" ".join)
def test_features_within_the_sandbox(place, region, options):
    """The filter allows every system call that each kind of region needs, with each option."""
    running = Devices(place, "--socket", place.dir / "vmm", "--region", region.format(
        shm=place.shm, dir=place.dir), "--size", "1M", "--control", control_of(place), *options)
    use(Client(place.dir / "vmm"))
    status(place)
    running.stop(signal.SIGINT)


@pytest.mark.usefixtures("fast_clock")
def test_features_with_a_server_within_the_sandbox(place, record_property):
    """The filter allows every system call that a device with a server needs, with each option: with
    named and with sealed memory, and after the server has returned with a different region."""
    names = [(kind, at) for kind in ("shm", "sealed") for at in range(len(FEATURES))]

    def serve(kind, at, region):
        return place.server("-l", "1M", socket=place.dir / f"{kind}{at}.server", region=region)

    servers = [serve(kind, at, ["-M", f"{place.shm}-{at}"] if kind == "shm" else ["-r", "memfd:"])
               for kind, at in names]
    running = [Devices(place, "--socket", place.dir / f"{kind}{at}", "--control",
                       place.dir / f"{kind}{at}.control", "--server",
                       place.dir / f"{kind}{at}.server", *FEATURES[at]) for kind, at in names]
    for kind, at in names:
        use(Client(place.dir / f"{kind}{at}"))
    for server in servers:
        server.end()
    servers = [serve(kind, at, ["-r", "memfd:"]) for kind, at in names]
    for server in servers:
        server.err.wait("joined")
    for process, (kind, at) in zip(running, names):
        process.err.wait("is peer 0 of the server")
        use(connect_when_free(place, place.dir / f"{kind}{at}"))
        ask_once(place.dir / f"{kind}{at}.control")
        process.stop(signal.SIGINT)
        record_property("case", f"ok {kind} {' '.join(FEATURES[at])}")


def use(client):
    """Access the region through a mapping and through messages of several sizes, and try to save
    the device's state."""
    with client:
        client.start()
        flags, size, _, fd = client.region_info(BAR2)
        if fd is not None:
            os.close(fd)
            client.map_memory(writable=bool(flags & 2)).close()
        for length in (1, 2, 4, 8, 3, 4096, 65536):
            client.read(BAR2, 0, length)
            client.write(BAR2, 0, bytes(length))
        assert client.read(BAR2, size, 4) == bytes(4)
        try:
            client.save()
        except Refused:
            pass  # the device is not a master
        client.reset()
