# SPDX-License-Identifier: BSD-3-Clause
"""Run a server and three peers that meet: the demo, without its output.

    result = meeting.run(meeting.Config(build="build"))
    assert result.ok, result.problems

When run() returns or raises, all processes have exited and the private directory has been removed,
unless Config.keep is set.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import stat
import tempfile
import time
from dataclasses import dataclass, field

from . import initramfs, keep, kernel, machine
from .proc import TICK, KitError, Lines, Process, pause

#: Stages that the example program meet reports, in this order
STAGES = ("opened", "met", "written", "read", "rung", "measured", "done")

#: Longest path of a socket: sun_path has 108 bytes, including the terminating NUL.
SOCKET_PATH_MAX = 107

#: After one peer has failed, the other peers have this many seconds to report
AFTERMATH = 5

_TASK = """meet --name "$peer" --peers "$peers" --vectors "$vectors" --timeout "$timeout" pci:
"""

#: The guest's /stay, used with KEEP=1. The client exits at the end of its standard input, so tail
#: keeps it open.
_STAY = """echo "guest: waiting for doorbells"
tail -f /dev/null | ivshmem-client -v -a pci:
"""


@dataclass
class Config:
    """What to run.

    build    the build directory
    mode     "guests": two guests and a host process; "host": three host processes
    say      say(who, line) is called for each line of output
    """

    build: str
    mode: str = "guests"
    keep: bool = False
    vectors: int = 2
    memory: str = "4M"
    timeout: int = 60
    say: object = lambda who, line: None


@dataclass
class Peer:
    """A peer: its program, its output, and its result (the JSON that it has printed, or None until
    it prints it)."""

    name: str
    program: object = None
    lines: object = None
    exit_regex: object = None
    stage: str = "not started"
    status: object = None
    result: object = None
    said: list = field(default_factory=list)


@dataclass
class Result:
    """What a run found: the peers, in the order of their ids, and problems, a list of error
    messages that is empty on success."""

    peers: list = field(default_factory=list)
    vectors: int = 0
    problems: list = field(default_factory=list)
    directory: str = ""
    kept: list = field(default_factory=list)

    def reports(self):
        return [peer.result for peer in self.peers if peer.result]

    def expected(self):
        """Return: the expected doorbells, as (from, to, vector): one for every vector of every
        ordered pair of peers."""
        ids = range(len(self.peers))
        return {(a, b, v) for a in ids for b in ids if a != b for v in range(self.vectors)}

    def arrived(self):
        """Return: those of the expected doorbells that the rung peers have reported."""
        said = {(ring["from"], report["id"], ring["vector"]) for report in self.reports()
                for ring in report["rings"] if ring["arrived"] is True}
        return said & self.expected()

    def unread(self):
        """Return: [(reader's id, writer's id)] of the pairs in which the reader has not reported
        that it read the writer's data correctly."""
        ids = [report["id"] for report in self.reports()]
        good = {(report["id"], read["id"]) for report in self.reports()
                for read in report["read"] if read["correct"] is True}
        return [(a, b) for a in ids for b in ids if a != b and (a, b) not in good]

    def round_trips(self):
        """Return: {(id of the peer that measured, id of the other peer): its measurements}."""
        return {(report["id"], trip["with"]): trip for report in self.reports()
                for trip in report.get("round_trips", [])}

    @property
    def ok(self):
        return not self.problems


class Meeting:
    """The processes, files and results of one call to run()."""

    def __init__(self, config):
        self.config = config
        self.result = Result(vectors=config.vectors)
        self.names = ("guest-a", "guest-b", "host") if config.mode == "guests" \
            else ("peer-a", "peer-b", "peer-c")
        self.shm = f"ivshmem-demo-{os.getpid()}"
        self.directory = None
        self.server = None
        self._server_lines = None

    def build_path(self, name):
        path = pathlib.Path(self.config.build, name)
        if not os.access(path, os.X_OK):
            raise KitError(f"{path} is missing: build it with make or ninja -C "
                           f"{self.config.build}")
        return str(path.resolve())

    def path(self, name):
        return os.path.join(self.directory, name)

    @property
    def socket(self):
        return self.path("ivshmem.sock")

    def start_server(self):
        config = self.config
        self.server = Process(
            "ivshmem-server",
            [self.build_path("tools/ivshmem-server"), "-F", "-v", "-S", self.socket,
             "-M", self.shm, "-l", config.memory, "-n", str(config.vectors)],
            self.path("server.log"), keep=config.keep, on_death=signal.SIGTERM)
        self._server_lines = Lines(self.server.log)
        end = time.monotonic() + 10
        while not _is_socket(self.socket):
            self.pump()
            if self.server.status() is not None or time.monotonic() > end:
                raise KitError("\n".join(
                    [f"the server created no socket ({self.server.describe_end()}); its output:"]
                    + [f"    {line}" for line in self.server.tail()]))

    def add_guest(self, name, guest_kernel, image):
        guest = machine.Guest(
            name, guest_kernel, image, self.path(f"{name}.log"), iommu=True, bind="vfio-pci",
            devices=machine.doorbell(self.socket, self.config.vectors), keep=self.config.keep,
            stay=self.config.keep, env=dict(
                peer=name, peers=len(self.names), vectors=self.config.vectors,
                timeout=self.config.timeout))
        self._add(Peer(name, guest, Lines(guest.log), re.compile(r"^guest: exit (\d+)$")))

    def add_host(self, name):
        config = self.config
        program = Process(
            name, [self.build_path("examples/meet-static"), "--name", name,
                   "--peers", str(len(self.names)), "--vectors", str(config.vectors),
                   "--timeout", str(config.timeout), f"unix:{self.socket}"],
            self.path(f"{name}.log"))
        self._add(Peer(name, program, Lines(program.log)))

    def _add(self, peer):
        """Start a peer and wait until it has joined, so that ids are in the order of the peers."""
        peer.stage = "started"
        number = len(self.result.peers)
        self.result.peers.append(peer)
        end = time.monotonic() + 20
        while not re.search(rf"client {number} joined", self.server.text()):
            self.pump()
            if peer.program.status() is not None or self.server.status() is not None \
                    or time.monotonic() > end:
                raise KitError(f"{peer.name} did not join the server as client {number}")
        self.pump()

    def pump(self):
        """Process new output of the server and the peers, then pause."""
        for line in self._server_lines.take():
            self.config.say("server", line)
        for peer in self.result.peers:
            self._listen(peer)
        pause(TICK)

    def _listen(self, peer):
        status = peer.program.status()
        for line in peer.lines.take():
            peer.said.append(line)
            self.config.say(peer.name, line)
            if line.startswith("meet: stage "):
                peer.stage = line.split()[-1]
            elif line.startswith("meet: result "):
                peer.result = _parsed(line[len("meet: result "):])
            ended = peer.exit_regex and peer.exit_regex.match(line)
            if ended and peer.status is None:
                peer.status = int(ended.group(1))
        if peer.status is None and status is not None:
            # For a guest, a missing line "guest: exit" is a failure, even if QEMU's status is 0.
            peer.status = status if not peer.exit_regex else f"QEMU {peer.program.describe_end()}"

    def wait_all(self):
        end = time.monotonic() + self.config.timeout + 30
        failed = False
        while any(peer.status is None for peer in self.result.peers):
            self.pump()
            if not failed and any(peer.status not in (None, 0) for peer in self.result.peers):
                failed = True
                end = min(end, time.monotonic() + AFTERMATH)
            if time.monotonic() > end:
                break
            if self.server.status() is not None:
                raise KitError("\n".join(
                    [f"the server {self.server.describe_end()} during the meeting; its output:"]
                    + [f"    {line}" for line in self.server.tail()]))
        self.pump()

    def clean_up(self):
        for peer in self.result.peers:
            peer.program.stop()
        if self.server:
            self.server.stop()
        with_shm = os.path.join("/dev/shm", self.shm)
        if os.path.exists(with_shm):
            os.unlink(with_shm)
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)


def run(config):
    """Run a meeting. Return: a Result. Raises an exception only on a signal (proc.Interrupted) or
    because of a bug."""
    meeting = Meeting(config)
    kept = False
    try:
        try:
            _hold(meeting)
            meeting.result.problems += judge(meeting.result)
        except KitError as e:
            meeting.result.problems.append(str(e))
            if meeting.server and meeting.server.status() is None:
                meeting.pump()
        if meeting.result.problems:
            meeting.result.problems += _post_mortem(meeting)
        elif config.keep:
            meeting.result.kept = keep.leave(meeting)
            kept = True
        return meeting.result
    finally:
        if not kept:
            meeting.clean_up()


def _hold(meeting):
    config = meeting.config
    say = config.say
    for name in ("tools/ivshmem-server", "examples/meet-static"):
        meeting.build_path(name)
    meeting.directory = _directory()
    meeting.result.directory = meeting.directory
    if config.mode == "guests":
        guest_kernel = kernel.find()
        image = _image(meeting, guest_kernel)
        say("demo", f"guests: kernel {guest_kernel.version}, {machine.accelerator()}")
    say("demo", f"starting the server: region {config.memory}, {config.vectors} vectors")
    meeting.start_server()
    for name in meeting.names:
        if config.mode == "guests" and name != "host":
            say("demo", f"booting {name}")
            meeting.add_guest(name, guest_kernel, image)
        else:
            say("demo", f"starting {name}")
            meeting.add_host(name)
    meeting.wait_all()


def _image(meeting, guest_kernel):
    programs = [(meeting.build_path("examples/meet-static"), "meet")]
    if meeting.config.keep:
        programs.append((meeting.build_path("tools/ivshmem-client-static"), "ivshmem-client"))
    return initramfs.build(meeting.path("guest.img"), guest_kernel, _TASK, programs=programs,
                           modules=initramfs.VFIO, stay=_STAY)


def _directory():
    """Create a private directory whose path is short enough for sockets."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), "/tmp"):
        if parent and os.access(parent, os.W_OK | os.X_OK) and \
                len(parent) + len("/ivshmem-XXXXXXXX/ivshmem.sock") <= SOCKET_PATH_MAX:
            return tempfile.mkdtemp(prefix="ivshmem-", dir=parent)  # mode 0700
    raise KitError("neither $XDG_RUNTIME_DIR nor /tmp is writable")


def _is_socket(path):
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _parsed(text):
    """Return: a peer's result, or None if @text is malformed, for instance truncated."""
    try:
        report = json.loads(text)
        for key in ("name", "id", "vectors", "memory", "roster", "rings", "read"):
            report[key]
        return report
    except (ValueError, KeyError, TypeError):
        return None


def judge(result):
    """Return: the problems in the results, as messages; empty on success."""
    problems = []
    for number, peer in enumerate(result.peers):
        report = peer.result
        if peer.status is None or (peer.status != 0 and not report):
            continue  # _post_mortem() reports these
        if not report:
            problems.append(f"{peer.name} reported no result")
        elif (report["id"], report["name"]) != (number, peer.name):
            problems.append(f"{peer.name} should be peer {number}, but reports "
                            f"{report['id']} {report['name']}")
    if problems or not all(peer.result and peer.status == 0 for peer in result.peers):
        return problems + [f"{len(result.reports())} of {len(result.peers)} peers reported a result"
                           f", {sum(p.status == 0 for p in result.peers)} ended with status 0"]
    roster = [(number, peer.name) for number, peer in enumerate(result.peers)]
    for report in result.reports():
        if sorted((entry["id"], entry["name"]) for entry in report["roster"]) != roster:
            problems.append(f"{report['name']} did not meet exactly {roster}")
    if len({report["memory"] for report in result.reports()}) != 1:
        problems.append("the peers report different sizes of the region")
    for a, b, vector in sorted(result.expected() - result.arrived()):
        problems.append(f"{roster[b][1]} did not receive vector {vector} from {roster[a][1]}")
    for reader, writer in result.unread():
        problems.append(f"{roster[reader][1]} did not read the data of {roster[writer][1]}")
    return problems


def _post_mortem(meeting):
    """Return: for each peer that failed, the stage it reached and its last output."""
    said = []
    for peer in meeting.result.peers:
        if peer.status == 0 and peer.result:
            continue
        after = STAGES[STAGES.index(peer.stage) + 1:] if peer.stage in STAGES else STAGES
        missing = f", not \"{after[0]}\"" if after else ""
        status = "still running" if peer.status is None else f"exit status {peer.status}" \
            if isinstance(peer.status, int) else peer.status
        said.append("\n".join([f"{peer.name} got as far as \"{peer.stage}\"{missing} ({status}); "
                               "the end of its output:"]
                              + [f"    {line}" for line in peer.program.tail(20)]))
    return said
