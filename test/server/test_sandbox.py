# SPDX-License-Identifier: BSD-3-Clause
"""The sandbox and its effects. What a confined process cannot do is tested with
test/support/c/programs/confined.c, which confines itself using the same code.

A build with a sanitizer has no system call filter, because the sanitizer's own code makes other
system calls; it drops its privileges like any other build.
"""
import errno
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket

import pytest

from support.py.programs import Daemon, Place, is_sanitized
from support.py.wire import RawClient, accepts, readable, ring

BUILD = pathlib.Path(os.environ.get("IVSHMEM_BUILD", "build"))
CONFINED = BUILD / "test" / "confined"
HAS_FILTER = b"seccomp_load" in (BUILD / "tools" / "ivshmem-server").read_bytes()
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NEEDS_FILTER = pytest.mark.skipif(not HAS_FILTER, reason=(
    "built with a sanitizer, whose code makes system calls of its own"
    if is_sanitized(BUILD / "tools" / "ivshmem-server") else "built without libseccomp"))
NOBODY = pwd.getpwnam("nobody")
CAPABILITIES = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]


@pytest.fixture(autouse=True)
def no_leak_checker(monkeypatch):
    """Disable the leak check at exit. It reads /proc, which fails in a process with a different
    root directory or user; other tests run the same server with the check."""
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")


def status_of(pid):
    """Return the fields of /proc/PID/status."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, value in (line.split(":", 1) for line in lines)}


def check_confined(pid, has_filter=HAS_FILTER):
    """The process must have no capabilities, be unable to gain any, and have a filter if the build
    supports one."""
    status = status_of(pid)
    for name in CAPABILITIES:
        if name != "CapBnd" or os.geteuid() == 0:
            assert int(status[name][0], 16) == 0, name
    assert status["NoNewPrivs"] == ["1"]
    assert status["Seccomp"] == ["2" if has_filter else "0"]


def check_works(path, vectors=2):
    """Two clients join; the first rings the second, and is told when the second leaves."""
    with RawClient(str(path), vectors) as first:
        first.greeting()
        with RawClient(str(path), vectors) as second:
            second.greeting()
            first.read_until_knows([second.id])
            ring(first.peers[second.id][-1])
            assert readable([second.own[-1]], 5) == [0]
            assert os.fstat(first.memory).st_ino == os.fstat(second.memory).st_ino
        first.read_until_knows([])


def most_groups():
    """Return the user with the most groups, except root."""
    return max((user for user in pwd.getpwall() if user.pw_uid),
               key=lambda user: len(os.getgrouplist(user.pw_name, user.pw_gid)))


# Privileges

def test_all_privileges_are_dropped_by_default(place):
    """By default the server permanently gives up all capabilities, and all system calls that it
    does not need."""
    server = place.server("-n", "2")
    check_confined(server.pid)
    check_works(place.socket)
    server.stop()
    assert not place.socket.exists() and not place.shm_path.exists()


def test_sandbox_off_has_no_filter(place):
    """With --sandbox off the server has no filter, but still drops its privileges."""
    server = place.server("--sandbox", "off")
    server.err.wait("no system call filter: --sandbox off")
    check_confined(server.pid, has_filter=False)
    server.stop()


def test_sandbox_on_requires_a_filter(place):
    """With --sandbox on, a build without a filter does not start."""
    if HAS_FILTER:
        server = place.server("--sandbox", "on")
        check_confined(server.pid)
        server.stop()
    else:
        done = place.run_server("-F", "-S", place.socket, "-r", "memfd:", "--sandbox", "on")
        assert done.returncode == 2
        assert 'cannot set the sandbox to "on": built with' in done.stderr


@pytest.mark.skipif(HAS_FILTER, reason="this build has a filter")
def test_missing_filter_is_logged(place):
    """With -v the log says that the build has no filter, and why."""
    server = place.server()
    server.err.wait("no system call filter: built with")
    server.stop()


@NEEDS_ROOT
@pytest.mark.parametrize("user", ["name", "number", "many groups"])
def test_user_is_changed(place, user):
    """With --user the process has that user's uid, gid and groups, and no others."""
    entry = most_groups() if user == "many groups" else NOBODY
    os.chown(place.dir, entry.pw_uid, -1)
    pidfile = place.dir / "pid"
    server = place.server("-n", "2", "-p", pidfile, "--user",
                          entry.pw_uid if user == "number" else entry.pw_name)
    status = status_of(server.pid)
    assert status["Uid"] == [str(entry.pw_uid)] * 4
    assert status["Gid"] == [str(entry.pw_gid)] * 4
    assert sorted(map(int, status["Groups"])) == sorted(
        os.getgrouplist(entry.pw_name, entry.pw_gid))
    check_confined(server.pid)
    assert place.socket.stat().st_uid == place.shm_path.stat().st_uid == entry.pw_uid
    assert pidfile.stat().st_uid == 0  # otherwise the user could put another process's id in it
    assert server.err.count("will not be removed") == 0
    check_works(place.socket)
    server.stop()
    assert os.listdir(place.dir) == [] and not place.shm_path.exists()


@NEEDS_ROOT
def test_named_owners_are_kept(place):
    """With --user, files whose owner is given by another option keep that owner."""
    server = place.server("--user", "nobody", "--socket-owner", "1", "--region-owner", "2")
    assert (place.socket.stat().st_uid, place.shm_path.stat().st_uid) == (1, 2)
    server.stop()


def as_nobody(where, *options):
    """Start the server as a user without privileges."""
    os.chown(where.dir, NOBODY.pw_uid, NOBODY.pw_gid)
    program = shutil.copy(where.server_program, where.dir)
    return where.start(program, "-F", "-v", "-S", where.socket, "-r", "memfd:", *options,
                       user=NOBODY.pw_uid)


def test_own_user_without_root(place):
    """--user with the current user needs no privileges."""
    if os.geteuid() == 0:
        as_nobody(place, "--user", NOBODY.pw_uid).err.wait("listening at")
    else:
        place.server("--user", os.getuid()).stop()


@NEEDS_ROOT
def test_start_without_privileges(place):
    """An unprivileged server loads the filter; it has no privileges to drop."""
    server = as_nobody(place, "--user", "nobody")
    server.err.wait("listening at")
    status = status_of(server.pid)
    assert int(status["CapEff"][0], 16) == int(status["CapPrm"][0], 16) == 0
    assert status["Seccomp"] == ["2" if HAS_FILTER else "0"]
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


@NEEDS_ROOT
@pytest.mark.parametrize("options, message", [
    (["--user", "root", "--region-owner", "nobody", "--socket-owner", "nobody"],
     "cannot become user 0, which only root can do: Operation not permitted"),
    (["--chroot", "/tmp"], "cannot make /tmp the root directory, which only root can do: "
                           "Operation not permitted"),
])
def test_options_that_need_root(place, options, message):
    """If an option needs root, the error message says so."""
    server = as_nobody(place, *options)  # "nobody" may not change the owner of files, either
    assert server.wait() == 1
    assert server.err.seen[-1] == "ivshmem-server: " + message
    assert not place.socket.exists()


@pytest.mark.parametrize("options, message", [
    (["--user", "no-such-user"],
     'no such user "no-such-user": use a name, or the number of a user'),
    (["--user", "4294967294"], 'no such user "4294967294"'),
    (["--user", ""], 'no such user ""'),
    (["--chroot", "/nonexistent"], 'no such directory "/nonexistent": create it'),
    (["--chroot", "/dev/null"], 'not a directory "/dev/null": use another path'),
    (["--sandbox", "maybe"], 'invalid kind of sandbox "maybe": use on, strict or off'),
    (["--sandbox", ""], 'invalid kind of sandbox ""'),
])
def test_bad_values(place, options, message):
    """A bad value results in a one-line error message and status 2; no files are created."""
    done = place.run_server("-F", "-S", place.socket, "-M", place.shm, *options)
    assert done.returncode == 2
    assert done.stderr.startswith(f"ivshmem-server: {message}")
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(place.dir) == [] and not place.shm_path.exists()


# All combinations work

REGIONS = {
    "shm": lambda where: ["-M", where.shm],
    "file": lambda where: ["-r", f"file:{where.dir}/region"],
    "dir": lambda where: ["-r", f"dir:{where.dir}"],
    "memfd": lambda where: ["-r", "memfd:"],
}


@NEEDS_ROOT
@pytest.mark.parametrize("kind", REGIONS)
@pytest.mark.parametrize("how", ["as root", "user", "chroot", "user chroot"])
def test_regions_are_removed_when_confined(place, kind, how):
    """A confined server serves clients and removes its files at exit, except for a shm: region
    outside its new root."""
    options = ["-n", "2", "-p", place.dir / "pid"]
    if "user" in how:
        options += ["--user", "nobody"]
        os.chown(place.dir, NOBODY.pw_uid, -1)
    if "chroot" in how:
        options += ["--chroot", place.dir]
    server = place.server(*options, region=REGIONS[kind](place))
    check_confined(server.pid)
    assert os.readlink(f"/proc/{server.pid}/root") == (
        str(place.dir) if "chroot" in how else "/")
    assert os.readlink(f"/proc/{server.pid}/cwd") == (
        str(place.dir) if "chroot" in how else os.getcwd())
    assert status_of(server.pid)["Uid"][0] == (str(NOBODY.pw_uid) if "user" in how else "0")
    for _ in range(3):
        check_works(place.socket)
    out_of_reach = kind == "shm" and "chroot" in how
    assert server.err.count("will not be removed") == out_of_reach
    server.stop()
    assert os.listdir(place.dir) == []
    assert place.shm_path.exists() == out_of_reach


@NEEDS_ROOT
def test_chroot_with_relative_paths(place, monkeypatch):
    """Relative paths mean the same as before chroot(). The server cannot remove a file outside the
    new root at exit, and warns of that at startup."""
    (place.dir / "root" / "sub").mkdir(parents=True)
    monkeypatch.chdir(place.dir)
    server = place.server("--chroot", "root", "-p", "pid", region=["-r", "file:root/sub/region"],
                          socket="root/sub/../socket")
    assert os.readlink(f"/proc/{server.pid}/root") == str(place.dir / "root")
    check_works(place.dir / "root" / "socket", 1)
    server.err.wait(f"{place.dir}/pid will not be removed at exit, because it is outside "
                    f"{place.dir}/root: use a path in that directory")
    server.stop()
    assert os.listdir(place.dir / "root") == ["sub"]
    assert os.listdir(place.dir / "root" / "sub") == []
    assert (place.dir / "pid").exists()


@NEEDS_ROOT
def test_chroot_to_the_root(place):
    """The new root directory may be /, and then all files are removed at exit."""
    server = place.server("--chroot", "/", "-p", place.dir / "pid")
    assert server.err.count("will not be removed") == 0
    server.stop()
    assert os.listdir(place.dir) == [] and not place.shm_path.exists()


@NEEDS_ROOT
def test_chroot_keeps_other_files_of_the_same_name(place):
    """If a file inside the new root has the same path there as the server's socket outside, that
    file is not removed."""
    root = place.dir / "root"
    inside = root / str(place.dir).lstrip("/")
    inside.mkdir(parents=True)
    (inside / "socket").write_text("precious")
    place.server("--chroot", root).stop()
    assert (inside / "socket").read_text() == "precious"


@NEEDS_ROOT
@pytest.mark.parametrize("options, uid, owner", [
    (["--user", "nobody"], NOBODY.pw_uid, 0),  # the user, in a directory that root owns
    ([], 0, NOBODY.pw_uid),  # root without capabilities, in another user's directory
])
def test_files_that_cannot_be_removed_are_a_warning(place, options, uid, owner):
    """At startup, for each file that the confined process cannot remove, a warning is logged that
    says how to avoid this; all other files are removed at exit."""
    os.chown(place.dir, owner, -1)
    place.dir.chmod(0o755)
    server = place.server("-p", place.dir / "pid", *options)
    for name in ["socket", "pid"]:
        line = server.err.wait(f"{place.dir}/{name} will not be removed at exit, because user "
                               f"{uid} cannot remove it (Permission denied)")
        assert f"install -d -o {uid} /run/ivshmem" in line
    server.stop()
    assert sorted(os.listdir(place.dir)) == ["pid", "socket"]
    assert not place.shm_path.exists()
    # The remaining files do not prevent the next start.
    place.server("-p", place.dir / "pid2").stop()


@NEEDS_ROOT
def test_files_in_a_sticky_directory_are_a_warning(place):
    """In a sticky directory such as /tmp, files of another user cannot be removed, which causes a
    warning."""
    place.dir.chmod(0o1777)
    os.chown(place.dir, 1, -1)
    server = place.server("--user", "nobody", "-p", place.dir / "pid")
    server.err.wait("pid will not be removed at exit, because user 65534 cannot remove it "
                    "(Operation not permitted)")
    assert server.err.count("will not be removed") == 1
    server.stop()
    assert os.listdir(place.dir) == ["pid"]


# Root without capabilities counts as an ordinary user

@NEEDS_ROOT
def test_fds_in_flight_of_other_processes(place):
    """The kernel limits the fds in flight per user. If fds of other processes use up the limit, the
    server reports it, and continues when those fds have been received."""
    user = 300000 + os.getpid()  # using up root's limit would also block other tests
    place.dir.chmod(0o777)
    server = place.server(nofile=64, user=user)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        def send():
            os.setresuid(user, user, user)
            socket.send_fds(ours, [b"x"], [0] * 100)

        assert place.run("true", preexec_fn=send).returncode == 0
        client = place.add(RawClient(str(place.socket), 1))
        server.err.wait("because other processes of this server's user have too many file "
                        "descriptors in flight, and this server has at most 0: give the server a "
                        "user of its own (--user)")
        assert client.memory is None
        for fd in socket.recv_fds(theirs, 1, 200)[1]:
            os.close(fd)
        client.greeting()
    server.stop()


# In the background, with syslog

class Syslog:
    """A directory to serve as a server's /dev, with a log socket that the test reads."""

    def __init__(self, where):
        self.path = where.dir / "log"
        self.sock = None
        self.listen(socket.SOCK_DGRAM)
        where.add(self)

    def listen(self, kind):
        """Listen at the log socket, like a syslogd that has just been started."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.sock = socket.socket(socket.AF_UNIX, kind)
        self.sock.bind(str(self.path))
        if kind == socket.SOCK_STREAM:
            self.sock.listen()
        self.path.chmod(0o666)

    def wait(self, text):
        """Return the next line that contains this text."""
        self.sock.settimeout(20)
        while True:
            line = self.sock.recv(4096).decode()
            if text in line:
                return line

    def close(self):
        """Stop listening."""
        if self.sock:
            self.sock.close()


IN_OWN_DEV = """
mkdir "$0/dev" && touch "$0/dev/null" && mount --bind /dev/null "$0/dev/null" &&
ln -s "$0/log" "$0/dev/log" && mount --rbind "$0/dev" /dev && exec "$@"
"""


@NEEDS_ROOT
@pytest.mark.parametrize("how", ["plain", "user", "chroot"])
def test_confined_server_in_the_background(place, how):
    """The command exits once the child is confined. The child logs to syslog, even after syslogd
    has been restarted (except with --chroot), and continues to run without syslogd."""
    log = Syslog(place)
    root = place.dir / "root"
    root.mkdir()
    options = {"plain": [], "user": ["--user", "nobody"], "chroot": ["--chroot", root]}[how]
    if how == "user":
        os.chown(root, NOBODY.pw_uid, -1)
        place.dir.chmod(0o755)
    done = place.run("unshare", "-m", "sh", "-c", IN_OWN_DEV, place.dir, place.server_program, "-v",
                     "-S", root / "socket", "-p", root / "pid", "-r", "memfd:", *options)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("cannot mount: " + done.stderr.strip())
    assert done.returncode == 0, done.stderr
    daemon = place.add(Daemon(int((root / "pid").read_text())))
    check_confined(daemon.pid)
    check_works(root / "socket", 1)
    line = log.wait("client 0 left")
    assert f"ivshmem-server[{daemon.pid}]: client 0 left" in line
    # Restart syslogd. syslog(3) reconnects, but may lose the next line.
    log.listen(socket.SOCK_DGRAM)
    for _ in range(2):
        check_works(root / "socket", 1)
    if how != "chroot":
        log.wait("client 0 left")
    # Restart syslogd with a socket type that the filter forbids, and then remove the socket.
    log.listen(socket.SOCK_STREAM)
    for _ in range(2):
        check_works(root / "socket", 1)
    log.close()
    log.path.unlink()
    for _ in range(2):
        check_works(root / "socket", 1)
    assert accepts(root / "socket")
    daemon.signal(signal.SIGTERM)
    daemon.wait()
    assert os.listdir(root) == []


@NEEDS_ROOT
def test_failure_in_the_background_is_reported(place):
    """If a server in the background fails to confine itself, the terminal still shows the error."""
    program = shutil.copy(place.server_program, place.dir)
    os.chown(place.dir, NOBODY.pw_uid, NOBODY.pw_gid)
    process = place.start(program, "-S", place.socket, "-p", place.dir / "pid", "-r", "memfd:",
                          "--chroot", place.dir, user=NOBODY.pw_uid)
    assert process.wait() == 1
    assert "cannot make" in process.err.text() and "the root directory" in process.err.text()
    assert os.listdir(place.dir) == ["ivshmem-server"]


# Effects of the filter

ALLOWED = {"nothing": errno.EFAULT, "close": errno.EBADF, "map memory": 0,
           "check a process": 0 if os.geteuid() == 0 else errno.EPERM}
SYSLOG = {"socket unix datagram": 0, "socket unix stream": errno.EACCES, "connect": errno.ENOTSOCK}
STARTING = {
    "open for reading": 0,
    "map code from a file": 0,
    "execve": errno.ENOENT,
    "clone3": errno.ENOSYS,
    "socket unix stream": errno.EACCES,
    "map the region": 0,
    "truncate the region": 0,
    "pread the region": 0,
}


def all_calls():
    """Return the names of all system calls that confined.c can try."""
    if not HAS_FILTER:
        return ["none"]
    return os.popen(f"{CONFINED} - calls").read().splitlines()


@NEEDS_FILTER
@pytest.mark.parametrize("call", all_calls())
@pytest.mark.parametrize("lists, more", [("-", {}), ("l", SYSLOG), ("s", STARTING)],
                         ids=["serving", "syslog", "starting"])
def test_forbidden_calls_kill(place, lists, more, call):
    """A system call that is not listed kills the process immediately."""
    done = place.run(CONFINED, lists, "call", call)
    place.pardon_violators()
    allowed = ALLOWED | more
    if call == "nothing":
        assert done.returncode in (0, errno.EFAULT)
    elif call in allowed:
        assert done.returncode == allowed[call], os.strerror(done.returncode)
    else:
        assert done.returncode == -signal.SIGSYS
    assert done.stdout.startswith("confined\n")


@NEEDS_FILTER
@pytest.mark.parametrize("options, status, text", [
    (["--version"], 0, "ivshmem-server 0."),
    (["--help"], 0, "usage: ivshmem-server"),
    (["--no-such-option"], 2, "Try"),
    (["-F", "--user", "nobody", "--allow-user", "daemon", "--allow-group", "nogroup", "-r", "foo:"],
     1, "is not a valid region address"),
    (["-F", "-r", "memfd:3M"], 1, "not a valid size of huge pages"),
    (["-F", "-r", "dir:/nonexistent"], 1, "the directory /nonexistent does not exist"),
])
def test_restart_under_the_filter(place, options, status, text):
    """Under the active filter, the program can be executed again, and can start up until it has to
    create its resources. An upgraded server inherits these resources and need not create them.
    """
    done = place.run(CONFINED, "ls", "run", place.server_program, *options)
    assert done.returncode == status, done
    assert text in done.stdout + done.stderr


@NEEDS_FILTER
def test_no_restart_without_permission(place):
    """Without the list of system calls for starting programs, the filter forbids exec()."""
    done = place.run(CONFINED, "-", "run", place.server_program, "--version")
    assert place.pardon_violators()
    assert done.returncode == -signal.SIGSYS


@NEEDS_FILTER
def test_filter_is_loaded_once(place):
    """A restart does not load the active filter again, because the kernel limits the number of
    filters."""
    done = place.run(CONFINED, "s", "again", "300")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "confined\n" * 301


def filter_of(pid):
    """Return the lines of a server's filter, from the memory that the server hands over to the next
    program."""
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        if "memfd:ivshmem-state" in os.readlink(link):
            with open(link, "rb") as file:
                text = file.read(65536)
            at = text.index(b"accept4\n")
            return text[at:text.index(b"\0", at)].decode().splitlines()
    raise AssertionError("the server has no memory to hand over to the next program")


def may_open(lines, flags):
    """Return whether the filter allows opening a file with these flags."""
    for line in lines:
        call, *conditions = line.split()
        if call not in ("open", "openat", "openat2", "creat"):
            continue
        pairs = [re.fullmatch(r"(\d+)&(\w+)=(\w+)", text).groups() for text in conditions]
        if all(flags & int(mask, 16) == int(value, 16) for _, mask, value in pairs):
            return True
    return False


@NEEDS_FILTER
@pytest.mark.parametrize("options, reads, makes", [
    ([], False, False), (["--control"], True, False), (["--metrics"], False, True),
    (["--control", "--metrics"], True, True)], ids=str)
def test_which_files_a_strict_server_can_open(place, options, reads, makes):
    """With --sandbox strict a server does not open files for reading unless --control is given,
    does not create files unless --metrics is given, and never writes to an existing file."""
    words = [word for option in options for word in (option, place.dir / option[2:])]
    server = place.server("--sandbox", "strict", *words)
    lines = filter_of(server.pid)
    assert may_open(lines, os.O_RDONLY) == may_open(lines, os.O_RDONLY | os.O_CLOEXEC) == reads
    assert may_open(lines, os.O_WRONLY | os.O_CREAT | os.O_EXCL) == makes
    for flags in [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_CREAT |
                  os.O_EXCL, os.O_WRONLY | os.O_TRUNC, os.O_RDONLY | os.O_TRUNC]:
        assert not may_open(lines, flags), hex(flags)
    server.stop()


# The tests detect violations

@NEEDS_FILTER
def test_violation_fails_a_test(build):
    """A program killed by its filter fails the test that started it, even if the test itself does
    not check for that."""
    made = Place(build)
    process = made.start(CONFINED, "-", "call", "ptrace")
    process.wait()
    with pytest.raises(AssertionError, match="forbidden system call.*confined"):
        made.close()
    assert not made.dir.exists()
