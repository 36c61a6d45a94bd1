# SPDX-License-Identifier: BSD-3-Clause
"""The metrics file: its contents, checked by a parser written from the specification of the text
format, and when it is written and removed."""
import math
import os
import pathlib
import re
import shutil
import signal
import stat
import time

import pytest

from support.py.clients import join
from support.py.programs import wait_until
from support.py.wire import RawClient, connect

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a full file system")
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


def parse_labels(text):
    """Return the labels between the braces as a dict."""
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match, f"no label at {text[at:]!r}"
        assert match[1] not in labels, f"label {match[1]} occurs twice"
        labels[match[1]] = re.sub(r"\\.", lambda found: ESCAPES[found[0]], match[2])
        at = match.end()
    return labels


def parse(data):
    """Parse the text exposition format (prometheus.io/docs/instrumenting/exposition_formats). A
    metric's HELP and TYPE must occur once and before its samples, which must be adjacent. Return:
    {(name, frozenset of labels): value}, {name: type}."""
    text = data.decode("utf-8")
    assert text.endswith("\n")
    samples, types, helps, current = {}, {}, set(), None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, words = line[7:].split(" ", 1)
            assert re.fullmatch(NAME, name) and name not in helps and words
            helps.add(name)
            current = name
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name == current and name not in types and kind in ("counter", "gauge")
            types[name] = kind
        else:
            match = SAMPLE.match(line)
            assert match, f"not a sample: {line!r}"
            assert match[1] == current and current in types
            key = match[1], frozenset(parse_labels(match[2] or "").items())
            assert key not in samples, f"{key} occurs twice"
            samples[key] = float(match[3])
            assert not math.isnan(samples[key])
    assert set(types) == helps == {name for name, _ in samples}
    for name, kind in types.items():
        assert name.startswith("ivshmem_server_")
        assert (kind == "counter") == name.endswith("_total")
    return samples, types


class Metrics:
    """The metrics file of the server with this socket."""

    def __init__(self, path, socket):
        self.path = pathlib.Path(path)
        self.socket = str(socket)

    def get(self, name, **labels):
        """Return the value of one metric."""
        samples, _ = parse(self.path.read_bytes())
        return samples["ivshmem_server_" + name,
                       frozenset({"socket": self.socket, **labels}.items())]

    def wait(self, value, name, **labels):
        """Wait until the metric has this value."""
        wait_until(lambda: self.get(name, **labels) == value, f"{name} was {value}")


def serve(where, *options, **keywords):
    """Start a server that checks every second whether its metrics have changed. Return: the server
    and its metrics file."""
    path = where.dir / "ivshmem.prom"
    server = where.server("--metrics", path, "--metrics-interval", "1", *options, **keywords)
    wait_until(path.exists, "the file was written")
    return server, Metrics(path, keywords.get("socket", where.socket))


def test_all_metrics_exist_from_the_start(place):
    """Every metric is written, even if it is zero, so that a rate can be computed from the first
    sample."""
    began = time.time()
    server, metrics = serve(place, "-n", "3", "-l", "1M", nofile=200)
    samples, types = parse(metrics.path.read_bytes())
    values = {name[len("ivshmem_server_"):]: value for (name, labels), value in samples.items()
              if labels == {("socket", metrics.socket)}}
    assert began - 0.001 <= values.pop("start_time_seconds") <= time.time()
    assert abs(values.pop("open_fds") - server.fds()) <= 1
    assert values == {"up": 1, "vectors": 3, "region_bytes": 1 << 20, "peers": 0,
                      "peers_blocked": 0, "behind_messages": 0, "behind_messages_max": 0,
                      "waiting": 0, "ids_left": 65536, "vacant_ids": 0, "in_flight_fds": 0,
                      "max_fds": 200, "joined_total": 0, "messages_total": 0, "waits_total": 0}
    for reason in ["closed", "spoke", "failed", "costly"]:
        assert metrics.get("left_total", reason=reason) == 0
    for reason in ["not_allowed", "max_peers", "max_peers_per_user", "max_joins_per_user",
                   "user_share", "no_id", "no_fd", "failed"]:
        assert metrics.get("refused_total", reason=reason) == 0
    version = place.run_server("-V").stdout.split()[1]
    assert metrics.get("info", version=version, region=f"shm:{place.shm}") == 1
    assert len(samples) == len(values) + 2 + 4 + 8 + 1
    assert types["ivshmem_server_peers"] == "gauge"
    assert stat.S_IMODE(metrics.path.stat().st_mode) == 0o644


@pytest.mark.usefixtures("fast_clock")
def test_metrics_count_what_clients_do(place):
    """The metrics count clients that join, leave, send data, are refused, or do not read."""
    _, metrics = serve(place, "-n", "16", "--max-peers", "2")
    reader = join(place, 16)
    metrics.wait(1, "peers")
    assert metrics.get("messages_total") == 3 + 16
    stalled = place.add(RawClient(str(place.socket), 16))
    metrics.wait(1, "peers_blocked")
    reader.read_until_knows({1})
    behind = metrics.get("behind_messages")
    assert behind == metrics.get("behind_messages_max") > 0
    assert metrics.get("messages_total") + behind == 3 + 16 + 16 + 3 + 32
    assert connect(str(place.socket)).recv(8) == b""
    metrics.wait(1, "refused_total", reason="max_peers")
    stalled.greeting()
    metrics.wait(0, "behind_messages")
    assert metrics.get("peers_blocked") == 0
    stalled.sock.sendall(b"x")
    metrics.wait(1, "left_total", reason="spoke")
    reader.close()
    metrics.wait(1, "left_total", reason="closed")
    assert metrics.get("joined_total") == 2 and metrics.get("peers") == 0
    assert metrics.get("ids_left") == 65536


def test_labels_are_escaped(place):
    """Quotes, backslashes and newlines in a label are escaped; a byte that is not UTF-8 becomes a
    "?"."""
    name = os.fsencode(place.dir) + b'/a "\\ \n\xff\xc3\xbc'
    metrics = place.dir / "m.prom"
    place.server("--metrics", metrics, socket=os.fsdecode(name))
    wait_until(metrics.exists, "the file was written")
    shown = f'{place.dir}/a "\\ \n?ü'
    assert Metrics(metrics, shown).get("up") == 1


@pytest.mark.usefixtures("fast_clock")
def test_unchanged_metrics_are_rarely_written(place):
    """Unchanged metrics are not written at every interval, but often enough to keep the file's
    modification time recent."""
    _, metrics = serve(place)
    # The first file may count an fd that is open only during startup. After that the contents stay
    # the same, so the file is rewritten only every fourth interval.
    seen = [metrics.path.stat().st_ino]
    times = [time.monotonic()]
    while len(seen) < 4:
        wait_until(lambda: metrics.path.stat().st_ino != seen[-1], "the file was written again")
        seen.append(metrics.path.stat().st_ino)
        times.append(time.monotonic())
    assert times[3] - times[2] > 0.25 and times[2] - times[1] > 0.25
    join(place)
    metrics.wait(1, "peers")


@pytest.mark.usefixtures("fast_clock")
def test_readers_never_see_half_a_file(place):
    """A reader that opens the metrics file at any time gets a complete file, and no temporary file
    has the suffix .prom."""
    _, metrics = serve(place)
    end = time.monotonic() + 0.25
    clients = 0
    while time.monotonic() < end:
        parse(metrics.path.read_bytes())
        if clients < 50:
            join(place).close()
            clients += 1
        assert [name for name in os.listdir(place.dir) if name.endswith(".prom")] == \
            ["ivshmem.prom"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_file_is_removed_at_the_end(place, number):
    """The metrics file is removed at exit, so that old numbers are not mistaken for current
    ones."""
    server, metrics = serve(place)
    server.stop(number)
    assert not metrics.path.exists()
    assert os.listdir(place.dir) == []


def test_replaced_file_is_not_removed(place):
    """If another process has replaced the metrics file, the server does not remove it."""
    server, metrics = serve(place)
    other = place.dir / "other"
    other.write_text("of somebody else\n")
    server.signal(signal.SIGSTOP)  # the server must not write the file in the meantime
    other.rename(metrics.path)
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGCONT)
    assert server.wait() == 0
    assert metrics.path.read_text() == "of somebody else\n"


def test_file_of_a_killed_server_is_replaced(place):
    """The next server replaces the metrics file of a killed one, and removes a half-written
    temporary file."""
    server, metrics = serve(place)
    server.end()
    half = place.dir / ".ivshmem.prom.tmp"
    half.write_text("half")
    before = metrics.get("start_time_seconds")
    server = place.server("--metrics", metrics.path)
    wait_until(lambda: metrics.get("start_time_seconds") > before, "the file was replaced")
    assert not half.exists()
    server.stop()
    assert not metrics.path.exists()


def test_links_are_not_followed(place):
    """The server does not write through a symbolic link that has the name of its temporary file."""
    victim = place.dir / "victim"
    victim.write_text("precious")
    (place.dir / ".ivshmem.prom.tmp").symlink_to(victim)
    _, metrics = serve(place)
    assert metrics.get("up") == 1 and victim.read_text() == "precious"


@pytest.mark.usefixtures("fast_clock")
@NEEDS_ROOT
def test_full_disk_is_logged_once(place):
    """If the disk is full, the server continues, logs the error once, and logs when it can write
    again."""
    disk = place.dir / "disk"
    disk.mkdir()
    done = place.run("mount", "-t", "tmpfs", "-o", "size=16k", "none", disk)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        path = disk / "m.prom"
        server = place.server("--metrics", path, "--metrics-interval", "1")
        metrics = Metrics(path, place.socket)
        wait_until(path.exists, "the file was written")
        with open(disk / "ballast", "wb", buffering=0) as ballast:
            with pytest.raises(OSError):
                while True:
                    ballast.write(bytes(4096))
        join(place)
        server.err.wait(f"cannot write the metrics file {path}: No space left on device; retrying")
        time.sleep(0.25)
        assert server.err.count("cannot write the metrics") == 1
        assert metrics.get("peers") == 0, "the old file was not kept"
        wait_until(lambda: sorted(os.listdir(disk)) == ["ballast", "m.prom"],
                   "the unfinished file is removed")
        (disk / "ballast").unlink()
        server.err.wait(f"the metrics file {path} can be written again")
        metrics.wait(1, "peers")
        server.stop()
        assert os.listdir(disk) == []
    finally:
        place.end_all()
        place.run("umount", disk)


@pytest.mark.usefixtures("fast_clock")
@NEEDS_ROOT
def test_unwritable_directory_is_logged_once(place):
    """Without permission to write the metrics file the server continues; once it has permission, it
    writes the file."""
    place.dir.chmod(0o777)
    there = place.dir / "there"
    there.mkdir(mode=0o755)
    program = shutil.copy(place.server_program, place.dir)
    server = place.start(program, "-F", "-S", place.socket, "-M", place.shm, "--metrics",
                         there / "m.prom", "--metrics-interval", "1", user=61234)
    server.err.wait("cannot write the metrics")
    there.chmod(0o777)
    server.err.wait("can be written again")
    assert Metrics(there / "m.prom", place.socket).get("up") == 1


@pytest.mark.usefixtures("fast_clock")
def test_file_is_written_when_clients_use_all_fds(place):
    """The metrics file is written even when clients use all available fds."""
    _, metrics = serve(place, "-n", "0", nofile=64)  # each client takes one fd, so none is left
    while place.add(RawClient(str(place.socket), 0)).next() is not None:
        pass
    metrics.wait(1, "refused_total", reason="no_fd")
    assert metrics.get("max_fds") == 64 >= metrics.get("open_fds") >= 63


@pytest.mark.parametrize("path, message", [
    ("/dev/null", "/dev/null exists and is not a file"),
    ("/no/such/place/m.prom", "cannot open /no/such/place/, the directory of the metrics file"),
    ("dir/", "is not a valid name for the metrics file"),
    ("", "is not a valid name for the metrics file"),
    ("/dev", "/dev exists and is not a file"),
])
def test_path_that_cannot_be_written_is_an_error(place, path, message):
    """If the metrics file cannot be written, the server does not start, leaves no files and does
    not replace a device."""
    done = place.run_server("-F", "-S", place.socket, "-M", place.shm, "--metrics", path)
    assert done.returncode == 1 and message in done.stderr
    assert not place.socket.exists() and not place.shm_path.exists()
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("value", ["0", "3601", "x", "", "-1", "1.5"])
def test_bad_interval(place, value):
    """A bad interval results in status 2 and a message with the allowed range."""
    done = place.run_server("-F", "--metrics-interval", value)
    assert done.returncode == 2
    assert f'invalid interval "{value}": use 1 to 3600 seconds' in done.stderr


@pytest.mark.parametrize("data", [
    b'a{b="c"} 1\n', b"# HELP ivshmem_server_a b\nivshmem_server_a 1\n",
    b"# HELP ivshmem_server_a b\n# TYPE ivshmem_server_a counter\nivshmem_server_a 1\n",
    b'# HELP ivshmem_server_a b\n# TYPE ivshmem_server_a gauge\nivshmem_server_a{b="\\x"} 1\n',
    b'# HELP ivshmem_server_a b\n# TYPE ivshmem_server_a gauge\nivshmem_server_a{b="c"d="e"} 1\n',
    b"# HELP ivshmem_server_a b\n# TYPE ivshmem_server_a gauge\nivshmem_server_a 1",
    b"# HELP ivshmem_server_a b\n# TYPE ivshmem_server_a gauge\n",
], ids=range(7))
def test_parser_rejects_bad_files(data):
    """The tests' own parser rejects files that violate the format."""
    with pytest.raises(AssertionError):
        parse(data)
