# SPDX-License-Identifier: BSD-3-Clause
"""With a service manager that is slow, absent, or stores wrong fds, the server neither waits nor
crashes, and the next start succeeds."""
import os
import shutil
import signal
import socket
import struct

import pytest

from support.py.clients import join
from support.py.crowd import all_know_all
from support.py.restart import OWN, VECTORS, all_gone, name_of, one_more, parts, stored, three
from support.py.wire import RawClient, connect

NOTES_LEN = 24576  # handover.c
SOCKET_DEV_AT, SOCKET_INO_AT = 16, 24  # struct ivs_handover_notes
MEMORY_LEN_AT, REGION_AT = 48, 60
ROSTER_HEADER_LEN = 56  # roster/memory.h
CURRENT_AT, AREA_AT = NOTES_LEN + 12, NOTES_LEN + 24  # struct ivs_roster_memory_header


# A misbehaving service manager.

@pytest.mark.usefixtures("fast_clock")
def test_slow_manager_delays_no_client(place, manager):
    """While the service manager does not read, clients are served without delay; when it reads
    again, it gets everything that it missed."""
    manager.start()
    clients = three(place)
    manager.settle()
    manager.stop_reading()
    for _ in range(6):
        one_more(place, clients)
    manager.server.err.wait("is not reading")
    for _ in range(5):
        clients.pop(0).close()
        all_know_all(clients)
    manager.go_on_reading()
    stored(manager, clients)
    manager.crash()
    one_more(place, clients)
    stored(manager, clients)


def test_clients_that_are_not_stored_are_lost(place, manager):
    """After a crash, clients whose fds the slow manager has not received completely are
    disconnected, and their leaves are announced."""
    manager.start()
    clients = three(place)
    manager.settle()
    manager.stop_reading()
    lost = [join(place, VECTORS) for _ in range(8)]
    all_know_all([*clients, *lost])
    manager.server.signal(signal.SIGKILL)
    manager.server.wait()
    manager.go_on_reading()
    manager.settle()
    half = {name.split("-")[1] for name in manager.names() if "client" in name}
    whole = parts(manager)
    manager.start()
    stays = [client for client in lost if (str(client.id), "socket") in whole]
    assert len(half) == len(clients) + len(stays) + 1, "no client was stored in part"
    all_gone([client for client in lost if client not in stays])
    clients += stays
    all_know_all(clients)
    one_more(place, clients)
    stored(manager, clients)


@pytest.mark.usefixtures("fast_clock")
def test_upgrade_during_a_slow_manager(place, manager):
    """After an upgrade, the new program sends the service manager the fds that the previous one
    could not send."""
    manager.start()
    clients = three(place)
    manager.settle()
    manager.stop_reading()
    clients += [join(place, VECTORS) for _ in range(8)]
    for _ in range(3):
        clients.pop(0).close()
    all_know_all(clients)
    manager.server.signal(signal.SIGUSR2)
    manager.server.err.wait("resumed")
    manager.go_on_reading()
    stored(manager, clients)
    manager.crash()
    one_more(place, clients)


@pytest.mark.usefixtures("fast_clock")
def test_manager_that_reads_late(place, manager):
    """If the service manager does not read during startup and its queue is full, messages to it are
    late but not lost."""
    manager.stop_reading()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(manager.path)
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                sock.send(b"X=1")
    manager.start(ready=False)
    manager.server.err.wait("listening at")
    clients = three(place)
    manager.go_on_reading()
    manager.wait_said("READY=1")
    stored(manager, clients)
    manager.crash()
    one_more(place, clients)


def test_manager_that_has_ended(place, manager):
    """Clients are still served after the service manager has disappeared."""
    manager.start()
    clients = three(place)
    manager.vanish()
    one_more(place, clients)
    clients.pop(0).close()
    all_know_all(clients)
    manager.server.signal(signal.SIGUSR2)
    manager.server.err.wait("resumed")
    one_more(place, clients)


@pytest.mark.parametrize("path", ["/no/such/socket", "relative", "@ivs-nobody", "/" + "x" * 200])
def test_manager_that_does_not_exist(place, path):
    """If the service manager's socket does not exist, the server logs a warning, and serves
    clients."""
    server = place.start(place.server_program, "-F", "-v", "-n", "2", "-S", place.socket, "-M",
                         place.shm, environment={"NOTIFY_SOCKET": path})
    server.err.wait("NOTIFY_SOCKET" if len(path) > 100 or path[0] == "r" else "service manager")
    server.err.wait("listening at")
    clients = three(place)
    one_more(place, clients)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not place.socket.exists() and not place.shm_path.exists()


def test_small_fd_store(place, manager):
    """If the service manager silently stores fewer fds than sent (FileDescriptorStoreMax), clients
    whose fds have not all been stored are disconnected after a crash, and their leaves are
    announced."""
    manager.store_max = len(OWN) + 2 * (1 + VECTORS) + 2
    manager.start()
    clients = [*three(place), join(place, VECTORS)]
    all_know_all(clients)
    manager.settle()
    manager.crash()
    all_gone(clients[2:])
    clients = clients[:2]
    all_know_all(clients)
    stored(manager, clients)


# An fd store with wrong contents.

def test_leftover_fds_are_closed(place, manager):
    """Fds that belong to no client are closed and removed from the fd store."""
    manager.start()
    clients = three(place)
    manager.wait_idle()
    manager.end_service(signal.SIGKILL)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for name in ("ivshmem.client-7-99-socket", "ivshmem.client-7-99-0",
                     "ivshmem.client-0-99-socket"):
            manager.replace(name, ours.fileno())
        manager.replace("of-somebody-else", ours.fileno())
        manager.start()
        theirs.settimeout(20)
        assert theirs.recv(1) == b""
    manager.wait(lambda: not [name for name in manager.names() if "-99-" in name], "no leftovers")
    assert "of-somebody-else" in manager.names()
    one_more(place, clients)


@pytest.mark.parametrize("missing", ["socket", "0", "1"])
def test_client_without_an_fd_is_lost(place, manager, missing):
    """A client with a missing fd cannot be served: its connection is closed, and the others receive
    its leave."""
    manager.start()
    clients = three(place)
    manager.wait_idle()
    manager.end_service(signal.SIGKILL)
    name = name_of(manager, 1, missing)
    for entry in [entry for entry in manager.store if entry[0] == name]:
        os.close(entry[1])
        manager.store.remove(entry)
    manager.start()
    lost = clients.pop(1)
    if missing != "socket":
        all_gone([lost])
    all_know_all(clients)
    one_more(place, clients)
    stored(manager, clients)


def test_client_whose_fd_is_not_a_socket_is_lost(place, manager):
    """If the fd stored as a client's socket is a different kind of file, only that client is lost.
    """
    manager.start()
    clients = three(place)
    manager.wait_idle()
    manager.end_service(signal.SIGKILL)
    with open("/dev/null", "rb") as null:
        manager.replace(name_of(manager, 1, "socket"), null.fileno())
    manager.start()
    clients.pop(1)
    one_more(place, clients)
    stored(manager, clients)


def put(offset, content):
    """Return a function that writes bytes at an offset of the stored state."""
    return lambda fd: os.pwrite(fd, content, offset)


STATES = {
    "empty": lambda fd: os.ftruncate(fd, 0),
    "of-100-bytes": lambda fd: os.ftruncate(fd, 100),
    "notes-only": lambda fd: os.ftruncate(fd, 5000),
    "no-roster": lambda fd: os.ftruncate(fd, NOTES_LEN),
    "header-only": lambda fd: os.ftruncate(fd, NOTES_LEN + ROSTER_HEADER_LEN),
    "one-byte-less": lambda fd: os.ftruncate(fd, NOTES_LEN - 1 + struct.unpack(
        "=Q", os.pread(fd, 8, MEMORY_LEN_AT))[0]),
    "endless-memory": put(MEMORY_LEN_AT, struct.pack("=Q", 1 << 60)),
    "no-memory": put(MEMORY_LEN_AT, struct.pack("=Q", 0)),
    "wrong-magic": put(0, b"X"),
    "wrong-version": put(8, struct.pack("=I", 999)),
    "endless-region": put(REGION_AT, b"x" * 5000),
    "wrong-roster-magic": put(NOTES_LEN, b"X"),
    "wrong-roster-version": put(NOTES_LEN + 8, struct.pack("=I", 999)),
    "other-area": put(CURRENT_AT, struct.pack("=I", 1)),
    "area-of-4-billion": put(CURRENT_AT, struct.pack("=I", 0xffffffff)),
    "area-at-the-end": put(AREA_AT, struct.pack("=Q", 1 << 63)),
    "area-at-odd-place": put(AREA_AT, struct.pack("=Q", 57)),
    "odd-number-of-ids": put(AREA_AT + 8, struct.pack("=I", 65)),
    "all-records": put(AREA_AT + 12, struct.pack("=I", 0xffffffff)),
    "random": lambda fd: os.pwrite(fd, os.urandom(1 << 16), 0),
}


@pytest.mark.parametrize("spoil", STATES.values(), ids=STATES.keys())
def test_unusable_state_disconnects_all(place, manager, spoil):
    """If the stored state is unusable, the log says so, all clients are disconnected, and the
    server starts with new state, which the next start can resume."""
    manager.start()
    clients = three(place)
    manager.wait_idle()
    manager.end_service(signal.SIGKILL)
    spoil(manager.fd("ivshmem.state"))
    manager.start()
    manager.server.err.wait("cannot resume the state of the previous server")
    all_gone(clients)
    clients = three(place)
    stored(manager, clients)
    manager.crash()
    one_more(place, clients)


@pytest.mark.parametrize("at", [SOCKET_DEV_AT, SOCKET_INO_AT], ids=["device", "inode"])
def test_socket_of_other_notes(place, manager, at):
    """If the notes name a path other than the one on which the stored socket listens, the server
    still uses the stored socket: it cannot create another while the manager's copy listens."""
    manager.start()
    clients = three(place)
    stored(manager, clients)
    for _ in range(2):
        manager.wait_idle()
        manager.end_service(signal.SIGKILL)
        put(at, struct.pack("=Q", 12345))(manager.fd("ivshmem.state"))
        manager.start()
    one_more(place, clients)


def test_socket_that_another_server_has_replaced(place, manager):
    """If another server listens on the path of the stored socket, the start fails."""
    manager.start()
    three(place)
    manager.wait_idle()
    manager.end_service(signal.SIGKILL)
    place.socket.unlink()
    other = place.server(region=["-r", "memfd:"])
    manager.start(ready=False)
    assert manager.server.wait() == 1
    assert "another process is already listening" in manager.server.err.text()
    other.stop()


@pytest.mark.parametrize("seed", range(4))
def test_state_with_random_records(place, manager, seed):
    """If bits in the records are flipped, the clients may be lost, but the server serves new
    ones."""
    manager.start()
    three(place)
    manager.wait_idle()
    manager.end_service(signal.SIGKILL)
    fd = manager.fd("ivshmem.state")
    content = bytearray(os.pread(fd, 3 * 64, NOTES_LEN + ROSTER_HEADER_LEN))
    for at in range(8):
        content[(seed * 7919 + at * 104729) % len(content)] ^= 1 << (seed + at) % 8
    os.pwrite(fd, content, NOTES_LEN + ROSTER_HEADER_LEN)
    manager.start()
    new = place.add(RawClient(str(place.socket)))
    new.read_until(lambda: len(new.own) == VECTORS)
    assert manager.server.popen.poll() is None


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("what", ["/dev/null", "/", "pipe"])
def test_own_fd_of_another_kind(place, manager, name, what):
    """If one of the server's own fds in the fd store is a different kind of file, the server still
    starts and serves clients."""
    manager.start()
    three(place)
    manager.wait_idle()
    manager.end_service(signal.SIGKILL)
    ends = list(os.pipe()) if what == "pipe" else [os.open(what, os.O_RDONLY)]
    manager.replace(name, ends[0])
    for fd in ends:
        os.close(fd)
    manager.start()
    with RawClient(str(place.socket), VECTORS) as client:
        client.greeting()


@pytest.mark.parametrize("count", ["1", "2", "100", "x", "", "-1", "0", "99999999999"])
def test_wrong_number_of_fds(place, manager, count):
    """If LISTEN_FDS is not the number of passed fds, the server still starts and serves clients."""
    manager.start()
    three(place)
    manager.wait_idle()
    manager.end_service(signal.SIGKILL)
    if count in ("1", "2", "x", "", "-1", "0", "99999999999"):
        # Fds that LISTEN_FDS does not count stay open in the process. If the socket is one of them,
        # it looks as if another server were listening.
        place.socket.unlink()
    manager.start(count=count)
    with RawClient(str(place.socket), VECTORS) as client:
        client.greeting()


def test_fds_for_another_process(place, manager):
    """If LISTEN_PID names another process, the fds are ignored."""
    manager.start()
    three(place)
    manager.wait_idle()
    manager.end_service(signal.SIGKILL)
    place.socket.unlink()
    manager.start(prefix=["/usr/bin/env", "LISTEN_PID=1"])
    join(place, VECTORS)


def test_two_fds_of_one_name(place, manager):
    """If the fd store has two fds with the same name, the server uses one of them, which stays
    stored."""
    manager.start()
    clients = three(place)
    manager.wait_idle()
    manager.end_service(signal.SIGKILL)
    for name in OWN:
        manager.store.append((name, os.dup(manager.fd(name))))
    for _ in range(2):
        manager.start()
        one_more(place, clients)
        manager.wait_idle()
        manager.end_service(signal.SIGKILL)


def test_failed_start_after_a_crash_keeps_files(place, manager):
    """A start that fails after a crash keeps the files that clients use, so that the next start can
    resume."""
    (place.dir / "metrics").mkdir()
    options = ("-F", "-v", "-n", "2", "-S", place.socket, "--metrics",
               place.dir / "metrics" / "m.prom")
    manager.start(*options)
    clients = three(place)
    manager.wait_idle()
    (place.dir / "metrics" / "m.prom").unlink()
    manager.end_service(signal.SIGKILL)
    shutil.rmtree(place.dir / "metrics")
    manager.start(ready=False)
    assert manager.server.wait() == 1
    assert place.socket.exists() and place.shm_path.exists()
    (place.dir / "metrics").mkdir()
    manager.start()
    one_more(place, clients)


def test_failed_first_start_leaves_nothing(place, manager):
    """If the first start fails, the server leaves neither files nor stored fds."""
    manager.start("-F", "-n", "2", "-S", place.socket, "--metrics", place.dir / "no" / "m.prom",
                  ready=False)
    assert manager.server.wait() == 1
    assert not place.socket.exists() and not place.shm_path.exists()
    manager.wait(lambda: not manager.names(), "nothing is kept")
    manager.start("-F", "-v", "-n", "2", "-S", place.socket)
    one_more(place, three(place))


def test_old_client_of_an_id_does_not_affect_the_next(place, manager):
    """If a dropped client's socket is still in the fd store, events on it do not affect the next
    client with that id."""
    manager.start()
    manager.settle()
    for times in range(1, 6):
        manager.stop_reading()
        bad = connect(str(place.socket))
        bad.recv(8)
        bad.send(b"x", socket.MSG_OOB)
        manager.server.err.wait("which clients must not", times)
        good = place.add(RawClient(str(place.socket), VECTORS))
        bad.close()
        manager.go_on_reading()
        good.greeting()
        assert good.hears_nothing(0.05) and not good.ended
        good.close()
        manager.settle()
