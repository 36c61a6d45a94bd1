# SPDX-License-Identifier: BSD-3-Clause
"""How ivshmem-device starts and stops: sockets, regions, inherited fds, and the service manager."""
import os
import pwd
import resource
import shutil
import signal
import socket
import stat
import threading
import time

import pytest

from support.py.device import Devices, connect_when_free, kernel_says, start_server
from support.py.programs import TIMEOUT, wait_until
from support.py.vfio_user import BAR2, Client
from support.py.wire import accepts

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
NOBODY = pwd.getpwnam("nobody")
MIB = 1 << 20


def plain(place, name="vmm"):
    """Return: the options of a plain device with a socket of this name and a region of 1M."""
    return ["--socket", place.dir / name, "--region", f"shm:{place.shm}", "--size", "1M"]


# The socket

@pytest.mark.parametrize("options, expected", [
    (["--socket-mode", "0600"], (0o600, os.getuid(), os.getgid())),
    (["--socket-mode", "0777"], (0o777, os.getuid(), os.getgid())),
    (["--socket-mode", "0660", "--socket-group", "12345"], (0o660, os.getuid(), 12345)),
    (["--socket-mode", "0640", "--socket-owner", "54321", "--socket-group", "12345"],
     (0o640, 54321, 12345)),
    (["--socket-owner", "nobody"], (None, NOBODY.pw_uid, os.getgid())),
])
def test_permissions_of_the_socket(place, options, expected):
    """At every start, the socket has its configured owner, group and mode before a client can
    connect."""
    if os.geteuid() and len(options) > 2:
        pytest.skip("needs root to change the owner of the socket")
    path = place.dir / "vmm"
    umask = os.umask(0)
    os.umask(umask)
    seen = []
    ended = threading.Event()

    def watch():
        while not ended.is_set():
            if accepts(path):
                seen.append(path.stat())
                return

    for _ in range(5):
        ended.clear()
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            running = Devices(place, *plain(place), *options)
            watcher.join(TIMEOUT)
        finally:
            ended.set()
            watcher.join(TIMEOUT)
        there = seen.pop()
        mode = 0o777 & ~umask if expected[0] is None else expected[0]
        assert (stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid) == (mode, *expected[1:])
        running.stop()
        assert not path.exists()


def test_dead_socket_is_replaced(place):
    """The socket of a killed process does not prevent the next start."""
    Devices(place, *plain(place)).end()
    assert (place.dir / "vmm").exists()
    Devices(place, *plain(place))
    with Client(place.dir / "vmm") as client:
        assert client.info() == (3, 9, 5)


@pytest.mark.parametrize("kind", ["device", "server", "listener"])
def test_living_socket_is_not_taken(place, kind):
    """If another process already listens at the socket's path, the start fails and that process is
    not affected."""
    path = place.dir / "vmm"
    if kind == "device":
        Devices(place, *plain(place))
    elif kind == "server":
        place.server(socket=path, region=["-r", "memfd:"])
    else:
        listener = place.add(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen()
    before = path.stat()
    done = place.run_device(*plain(place))
    assert done.returncode == 1 and f"already listening at {path}: stop it, or use" in done.stderr
    assert path.stat().st_ino == before.st_ino and accepts(path)


@pytest.mark.parametrize("make", [lambda path: path.write_text("precious"), os.mkdir, os.mkfifo])
def test_file_that_is_not_a_socket_is_kept(place, make):
    """A file, a directory or a FIFO at the socket's path is not removed, and the start fails."""
    path = place.dir / "vmm"
    make(path)
    done = place.run_device(*plain(place))
    assert done.returncode == 1 and f"{path} exists and is not a socket" in done.stderr
    assert path.exists() and not place.shm_path.exists()


def test_longest_socket_path(place):
    """The path of a socket may have up to 107 bytes."""
    path = place.dir / ("s" * (107 - len(str(place.dir)) - 1))
    Devices(place, *plain(place, path.name)).stop()
    assert os.listdir(place.dir) == []


# Exit

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("state", ["alone", "connected", "half a message"])
def test_end_by_signal(place, number, state):
    """When it receives a signal, the process removes its sockets, keeps the region, disconnects the
    VMM and exits with status 0."""
    running = Devices(place, *plain(place), "--control", place.dir / "control",
                      *plain(place, "other"), n=2)
    client = None if state == "alone" else place.add(Client(place.dir / "vmm"))
    if state == "half a message":
        client.send_raw(b"\1\0\4\0\x20")
    running.stop(number)
    assert os.listdir(place.dir) == []
    assert client is None or client.is_gone()
    assert place.shm_path.stat().st_size == MIB


def test_memory_outlives_the_device(place):
    """A VM keeps its mapping after the device has exited, and the next device shows the same
    memory."""
    running = Devices(place, *plain(place))
    with Client(place.dir / "vmm") as client, client.map_memory() as memory:
        memory[:4] = b"kept"
        running.stop()
        memory[4:8] = b"more"
    Devices(place, *plain(place))
    with Client(place.dir / "vmm") as client, client.map_memory() as memory:
        assert memory[:8] == b"keptmore"


def test_socket_of_another_process_is_not_removed(place):
    """If another process has replaced the socket, the device does not remove it."""
    path = place.dir / "vmm"
    running = Devices(place, *plain(place))
    path.unlink()
    other = place.add(socket.socket(socket.AF_UNIX))
    other.bind(str(path))
    running.stop()
    assert path.exists()


def test_closed_log_does_not_end_the_device(place):
    """The device continues to run when its log is a pipe whose reader exits."""
    reader, writer = os.pipe()
    running = place.start("bash", "-c", f'exec "$@" 2>&{writer} {writer}>&-', "bash",
                          place.device_program, "-v",
                          *plain(place), fds=(writer,))
    os.close(writer)
    wait_until(lambda: accepts(place.dir / "vmm"), "the device accepts connections")
    os.close(reader)
    with connect_when_free(place, place.dir / "vmm") as client:
        assert client.info() == (3, 9, 5)
    running.signal(signal.SIGTERM)
    assert running.wait() == 0


# The region

@pytest.mark.parametrize("options, expected", [
    ([], (0o600, os.getuid(), os.getgid())),
    (["--region-mode", "0666"], (0o666, os.getuid(), os.getgid())),
    (["--region-mode", "0660", "--region-owner", "54321", "--region-group", "12345"],
     (0o660, 54321, 12345)),
])
def test_new_region(place, options, expected):
    """All memory of a new region is allocated. The region's mode does not depend on the umask, and
    the region remains when the device exits."""
    if os.geteuid() and len(options) > 2:
        pytest.skip("needs root to change the owner of the region")
    running = Devices(place, *plain(place), *options)
    there = place.shm_path.stat()
    assert (stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid) == expected
    assert there.st_size == MIB and there.st_blocks * 512 >= MIB
    running.stop()
    assert place.shm_path.stat().st_ino == there.st_ino


@pytest.mark.parametrize("size", [[], ["--size", "1M"]])
def test_existing_region_is_used(place, size):
    """An existing region keeps its contents and mode, and needs no size on the command line."""
    place.shm_path.write_bytes(b"old" + bytes(MIB - 3))
    place.shm_path.chmod(0o644)
    before = place.shm_path.stat()
    running = Devices(place, "--socket", place.dir / "vmm", "--region", f"shm:{place.shm}", *size,
                      "--region-mode", "0600")
    with Client(place.dir / "vmm") as client, client.map_memory() as memory:
        assert memory[:4] == b"old\0"
    running.stop()
    after = place.shm_path.stat()
    assert (after.st_ino, after.st_mode, after.st_size) == (before.st_ino, before.st_mode, MIB)


def test_empty_region_is_grown(place):
    """A line in tmpfiles.d creates an empty region, and the device grows it to the requested size.
    """
    place.shm_path.touch(0o640)
    Devices(place, *plain(place)).stop()
    assert place.shm_path.stat().st_size == MIB
    assert stat.S_IMODE(place.shm_path.stat().st_mode) == 0o640


@pytest.mark.parametrize("has, options, message", [
    (2 * MIB, ["--size", "1M"], "exists with size 2M, not 1M: ask for size 2M, or remove it"),
    (3 * MIB, ["--size", "1M"],
     "exists with size 3M, which is not a power of two: use another name"),
    (3 * MIB, [], "a power of two"),
    (2048, [], "4K"),
    (0, [], "is empty: first start the program that sets its size, or give a size"),
    (MIB, ["--window", "0,2M"], "that is beyond the end of the region"),
    (0, ["--size", "1M", "--socket", "/nonexistent/b", "--region", "shm:x"],
     "cannot create the socket /nonexistent/b"),
    (0, ["--size", "1M", "--control", "/nonexistent/c"], "cannot create the socket /nonexistent/c"),
])
def test_region_of_another_size_is_an_error(place, has, options, message):
    """If an existing region has an unsuitable size, or a socket cannot be created, the start fails
    and the region is not changed."""
    place.shm_path.touch()
    os.truncate(place.shm_path, has)
    before = place.shm_path.stat()
    done = place.run_device("--socket", place.dir / "vmm", "--region", f"shm:{place.shm}", *options)
    assert (done.returncode, done.stdout) == (1, "") and message in done.stderr
    after = place.shm_path.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, has)
    assert os.listdir(place.dir) == []


def test_symbolic_link_is_not_followed(place):
    """A region whose path is a symbolic link is refused, because a link in the world-writable
    /dev/shm may be an attack by another user."""
    target = place.dir / "target"
    target.write_bytes(bytes(MIB))
    place.shm_path.symlink_to(target)
    done = place.run_device(*plain(place))
    assert done.returncode == 1 and "is a symbolic link" in done.stderr


def test_unnamed_region(place):
    """A dir: region has no name, and is freed when its last user exits."""
    Devices(place, "--socket", place.dir / "vmm", "--region", f"dir:{place.dir}", "--size", "64K")
    assert sorted(os.listdir(place.dir)) == ["vmm"]
    with Client(place.dir / "vmm") as client:
        flags, size, offset, fd = client.region_info(BAR2)
        assert (flags, size, offset) == (7, 65536, 0) and os.fstat(fd).st_nlink == 0
        os.close(fd)


def test_file_size_limit_is_an_error(place):
    """A region that exceeds the limit set by "ulimit -f" is reported as an error, and SIGXFSZ does
    not kill the program."""
    done = place.run(place.device_program, *plain(place), preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_FSIZE, (65536, 65536)))
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "no room for a region of 1M" in done.stderr or "File too large" in done.stderr
    assert os.listdir(place.dir) == [] and not place.shm_path.exists()


@pytest.mark.parametrize("second, message", [
    (["--region", "shm:{shm}-none"], "does not exist"),
    (["--region", "shm:{shm}-b", "--size", "1M", "--window", "0,2M"], "that is beyond"),
    (["--server", "{dir}/none"], "no server is listening"),
    (["--region", "shm:{shm}", "--size", "2M"], "exists with size 1M, not 2M"),
])
def test_second_device_fails(place, second, message):
    """If the second device fails, the error message names its socket, and neither the files of the
    first device nor its new region remain."""
    second = [word.format(shm=place.shm, dir=place.dir) for word in second]
    done = place.run_device(*plain(place), "--socket", place.dir / "second", *second)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"ivshmem-device: {place.dir}/second: ") \
        and message in done.stderr
    assert os.listdir(place.dir) == []
    assert not list(place.shm_path.parent.glob(place.shm + "*"))


# Inherited sockets

def test_inherited_listener(place):
    """VMMs can connect to an inherited listening socket one after another, and the device does not
    remove the socket's path."""
    path = place.dir / "theirs"
    listener = place.add(socket.socket(socket.AF_UNIX))
    listener.bind(str(path))
    listener.listen()
    running = Devices(place, "--fd", listener.fileno(), "--region", f"shm:{place.shm}", "--size",
                      "1M", fds=(listener.fileno(),))
    assert running.err.count(f"fd {listener.fileno()}: waiting for a VMM") == 1
    for _ in range(3):
        with Client(path) as client:
            assert client.info() == (3, 9, 5)
        running.err.wait("the VMM has left", running.err.count("has connected"))
    running.stop()
    assert path.exists()


def connected(place, n, **keywords):
    """Start a process with @n devices, each of which inherits a connected socket. Return: the
    process, and a client for each device."""
    pairs = [socket.socketpair() for _ in range(n)]
    options = [word for at, (_, theirs) in enumerate(pairs) for word in (
        "--fd", theirs.fileno(), "--region", f"shm:{place.shm}", "--size", "1M")]
    running = Devices(place, *options, n=n, fds=[theirs.fileno() for _, theirs in pairs],
                      **keywords)
    for _, theirs in pairs:
        theirs.close()
    return running, [place.add(from_socket(ours)) for ours, _ in pairs]


def from_socket(sock):
    """Return: a client that uses an existing connection."""
    client = Client.__new__(Client)
    sock.settimeout(TIMEOUT)
    client.sock = sock
    client._next_id = 0
    client.version = client.greet()
    return client


@pytest.mark.parametrize("n", [1, 2, 5])
def test_inherited_connections(place, n):
    """The process serves each inherited connection, and exits when the last one is closed."""
    running, clients = connected(place, n)
    for at, client in enumerate(clients):
        assert client.info() == (3, 9, 5)
        if at:
            running.err.wait("the VMM has left", at)
        assert running.popen.poll() is None
        client.close()
    assert running.wait() == 0


def test_inherited_connection_beside_a_socket(place):
    """If a process has a device with an inherited connection and a device with a listening socket,
    it continues when the connection is closed, because clients can still connect to the socket."""
    ours, theirs = socket.socketpair()
    running = Devices(place, *plain(place), "--fd", theirs.fileno(), "--region", f"shm:{place.shm}",
                      n=2, fds=(theirs.fileno(),))
    theirs.close()
    from_socket(ours).close()
    running.err.wait("the VMM has left")
    with Client(place.dir / "vmm") as client:
        assert client.info() == (3, 9, 5)
    running.stop()


def test_inherited_connection_that_is_closed(place):
    """If the only inherited connection is already closed, the process exits, because no client can
    ever connect."""
    ours, theirs = socket.socketpair()
    ours.close()
    running = Devices(place, "--fd", theirs.fileno(), "--region", f"shm:{place.shm}", "--size",
                      "1M",
                      fds=(theirs.fileno(),))
    theirs.close()
    assert running.wait() == 0


@pytest.mark.parametrize("kind", ["file", "pipe", "closed", "datagram", "TCP", "unconnected"])
def test_inherited_fd_that_is_not_a_stream_socket(place, kind):
    """If an inherited fd is not a stream socket, the error message names the fd and the reason, and
    no files are left."""
    if kind == "file":
        fd = os.open("/dev/null", os.O_RDWR)
    elif kind == "pipe":
        fd, other = os.pipe()
        os.close(other)
    elif kind == "datagram":
        fd = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].detach()
    elif kind == "TCP":  # any host could connect, and memory cannot be passed to a VMM
        listener = socket.create_server(("127.0.0.1", 0))
        fd = listener.detach()
    else:
        fd = socket.socket(socket.AF_UNIX).detach()
    passed = () if kind == "closed" else (fd,)
    process = place.start(place.device_program, "--fd", fd, "--region", f"shm:{place.shm}",
                          "--size",
                          "1M", fds=passed)
    os.close(fd)
    assert process.wait() == (2 if kind == "closed" else 1)
    message = f'not an inherited socket "{fd}"' if kind == "closed" \
        else f"cannot use fd {fd} as a socket"
    assert message in process.err.text()
    assert not place.shm_path.exists()


def test_inherited_fd_for_two_devices(place):
    """Two devices cannot share an inherited fd, and an fd that the process has opened itself does
    not count as inherited."""
    region = ["--region", f"shm:{place.shm}", "--size", "1M"]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place.dir / "theirs"))
        listener.listen()
        number = listener.fileno()
        process = place.start(place.device_program, "--fd", number, *region, "--fd", number,
                              *region, fds=(number,))
        assert process.wait() == 2
        assert f'two devices use the socket "{number}": use one for each' in process.err.text()
        process = place.start(place.device_program, "--fd", number, "--socket", place.dir / "b",
                              *region,
                              fds=(number,))
        assert process.wait() == 2
        assert f'ivshmem-device: --fd {number}: a device without "--region"' in process.err.text()
    start_server(place)
    process = place.start(place.device_program, "--fd", 4, "--server", place.socket)
    assert process.wait() == 2 and 'not an inherited socket "4"' in process.err.text()


# The service manager

@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_service_manager_is_notified(place, kind):
    """The device sends READY=1 when VMMs can connect, STOPPING=1 at exit, and nothing else."""
    manager = place.add(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    manager.settimeout(TIMEOUT)
    name = str(place.dir / "notify")
    manager.bind(name if kind == "path" else "\0" + name)
    running = Devices(place, *plain(place), *plain(place, "two"), n=2, environment={
        "NOTIFY_SOCKET": name if kind == "path" else "@" + name})
    assert manager.recv(100) == b"READY=1"
    assert accepts(place.dir / "vmm") and accepts(place.dir / "two")
    running.stop()
    assert manager.recv(100) == b"STOPPING=1"
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(100)


def test_failed_start_is_not_ready(place):
    """A device that fails to start does not send READY=1."""
    manager = place.add(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    manager.bind(str(place.dir / "notify"))
    process = place.start(place.device_program, *plain(place), "--window", "0,2M", environment={
        "NOTIFY_SOCKET": place.dir / "notify"})
    assert process.wait() == 1
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(100)


@pytest.mark.parametrize("address", ["relative", "/nonexistent/notify", "/" + "x" * 200])
def test_unreachable_service_manager_is_an_error(place, address):
    """If the service manager cannot be notified, the start fails before any file is created."""
    process = place.start(place.device_program, *plain(place),
                          environment={"NOTIFY_SOCKET": address})
    assert process.wait() == 1
    assert address in process.err.text()
    assert os.listdir(place.dir) == [] and not place.shm_path.exists()


# Another user

CAPABILITIES = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]


@pytest.fixture
def no_leak_checker(monkeypatch):
    """Disable the leak checker, because it reads /proc at exit, which fails in a process that has
    changed its user."""
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")


@NEEDS_ROOT
@pytest.mark.usefixtures("no_leak_checker")
@pytest.mark.parametrize("user", ["nobody", str(NOBODY.pw_uid)])
def test_user_is_changed(place, user):
    """With --user the process has the ids of that user and no capabilities. It owns its sockets, so
    that it can remove them."""
    os.chown(place.dir, NOBODY.pw_uid, -1)
    running = Devices(place, *plain(place), "--control", place.dir / "control", "--user", user)
    kernel = kernel_says(running.pid)
    assert kernel["Uid"] == [str(NOBODY.pw_uid)] * 4 and kernel["Gid"] == [str(NOBODY.pw_gid)] * 4
    assert all(int(kernel[name][0], 16) == 0 for name in CAPABILITIES)
    assert kernel["NoNewPrivs"] == ["1"]
    for name in ("vmm", "control"):
        assert (place.dir / name).stat().st_uid == NOBODY.pw_uid
    with Client(place.dir / "vmm") as client, client.map_memory() as memory:
        memory[0] = 1
    running.stop()
    assert os.listdir(place.dir) == []


@NEEDS_ROOT
@pytest.mark.usefixtures("no_leak_checker")
def test_named_owner_is_kept(place):
    """--user does not change the owner of a socket if another option sets it. The process logs
    files that it cannot remove."""
    running = Devices(place, *plain(place), "--socket-owner", "12345", "--user", "nobody")
    assert (place.dir / "vmm").stat().st_uid == 12345
    assert "vmm" in "\n".join(running.err.seen)
    running.stop()
    assert f"cannot remove the socket {place.dir}/vmm" in running.err.text()


@pytest.mark.usefixtures("fast_clock")
@NEEDS_ROOT
@pytest.mark.usefixtures("no_leak_checker")
@pytest.mark.parametrize("allowed", [True, False])
def test_user_without_access_to_the_server(place, allowed):
    """A device with --user becomes a peer again after its server has restarted, if the user may
    connect to the server. Otherwise the device logs the missing permission once."""
    place.dir.chmod(0o777)
    place.shm_path.write_bytes(bytes(MIB))
    options = ["-l", "1M", "--socket-mode", "0666" if allowed else "0600"]
    server = place.server(*options)
    running = Devices(place, "--socket", place.dir / "vmm", "--server", place.socket, "--user",
                      "nobody")
    server.end()
    server = place.server(*options)
    if allowed:
        running.err.wait("is peer 0 of the server")
        server.err.wait("client 0 joined")
    else:
        running.err.wait(f"cannot connect to {place.socket}: Permission denied")
        time.sleep(1.2)
        assert running.err.count("Permission denied") == 1
    running.stop()


@pytest.mark.parametrize("how", [["--read-only"], ["--read-only=trap"],
                                 ["--window", f"{MIB // 2},4K,ro"]])
def test_read_only_region_of_a_user(place, how):
    """A read-only device needs only read permission for the region."""
    if os.geteuid():
        pytest.skip("needs root to switch to another user")
    place.shm_path.write_bytes(bytes(MIB // 2) + b"here" + bytes(MIB // 2 - 4))
    place.shm_path.chmod(0o444)
    program = shutil.copy(place.device_program, place.dir)
    place.dir.chmod(0o777)
    words = [program, "--socket", place.dir / "vmm", "--region", f"shm:{place.shm}"]
    refused = place.start(*words, user=NOBODY.pw_uid)
    assert refused.wait() == 1
    assert f"cannot open {place.shm_path} for reading and writing: Perm" in refused.err.text()
    running = place.start(*words, "-v", *how, user=NOBODY.pw_uid)
    running.err.wait("waiting for a VMM")
    with Client(place.dir / "vmm") as client:
        client.start()
        assert client.read(BAR2, 0 if "--window" in how else MIB // 2, 4) == b"here"
        assert client.write(BAR2, 0, b"x") is None
    assert place.shm_path.read_bytes().count(b"x") == 0
    running.signal(signal.SIGTERM)
    assert running.wait() == 0


def test_user_needs_root(place):
    """Without root, --user is an error: the message is one line, and no file is created."""
    if os.geteuid() == 0:
        program = shutil.copy(place.device_program, place.dir)
        place.dir.chmod(0o777)
        process = place.start(program, *plain(place), "--user", "daemon", user=NOBODY.pw_uid)
    else:
        process = place.start(place.device_program, *plain(place), "--user", "daemon")
    assert process.wait() == 1
    assert process.err.text().count("\n") == 0 and "ivshmem-device: " in process.err.text()
    assert not place.shm_path.exists() and not (place.dir / "vmm").exists()
