# SPDX-License-Identifier: BSD-3-Clause
"""A server whose fds are stored by a service manager can be killed at any time, and resumes when it
is started again."""
import os
import signal
import socket

import pytest

from support.py.clients import join
from support.py.crowd import Storm, all_know_all, all_ring_all, read_what_is_there
from support.py.manager import Manager
from support.py.programs import Daemon, fd_count, wait_until
from support.py.restart import VECTORS, all_gone, one_more, stored, three
from support.py.wire import RawClient, accepts

# The stand-in for the service manager.

def test_manager_stores_fds_by_name(place, manager):
    """The tests' service manager stores several fds under one name, removes fds by name, and
    discards fds beyond its maximum number."""
    manager.store_max = 3
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(manager.path)

        def say(text, *fds):
            socket.send_fds(sock, [text.encode()], list(fds))

        say("READY=1\nSTATUS=x")
        for name in ("a", "b", "a", "c"):
            say(f"FDSTORE=1\nFDNAME={name}", 0)
        manager.settle()
        assert manager.names() == ["a", "b", "a"]
        assert os.path.samestat(os.fstat(manager.fd("b")), os.fstat(0))
        say("FDSTOREREMOVE=1\nFDNAME=a")
        manager.settle()
        assert manager.names() == ["b"]
        manager.wait_said("STATUS=x")
        manager.stop_reading()
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            for _ in range(1000):
                sock.send(b"X=1")
        manager.go_on_reading()
        manager.settle()
        manager.vanish()
        with pytest.raises(ConnectionRefusedError):
            sock.send(b"X=1")
        manager.come_back()
        manager.settle()


def test_manager_passes_fds_in_order(place, manager):
    """The service manager passes exactly the stored fds, in order, starting at 3, and names them in
    the environment."""
    paths = []
    for at in range(3):
        paths.append(place.dir / f"file{at}")
        paths[at].write_text("x")
        fd = os.open(paths[at], os.O_RDONLY)
        manager.replace(f"name{at}", fd)
        os.close(fd)
    script = place.dir / "show"
    script.write_text("#!/bin/sh\nreadlink /proc/$$/fd/3 /proc/$$/fd/4 /proc/$$/fd/5\n"
                      "echo $LISTEN_FDS $LISTEN_FDNAMES $((LISTEN_PID - $$))\n"
                      "ls /proc/$$/fd\n")  # do not use a pipe: its ends would also be listed
    script.chmod(0o755)
    shown = manager.start(prefix=["/bin/sh", script], ready=False)
    assert shown.wait() == 0, shown.err.text()
    lines = shown.out.text().splitlines()
    assert lines[:3] == [str(path) for path in paths]
    assert lines[3] == "3 name0:name1:name2 0"
    # The shell itself opens fd 10, for its script.
    assert {int(fd) for fd in lines[4:]} - {10} == set(range(6))


# Contents of the fd store.

def test_fd_store_has_copies_of_all_state(place, manager):
    """The fd store has copies of all fds that the server needs to resume, and no fds of clients
    that have left."""
    manager.start()
    stored(manager, [])
    clients = three(place)
    stored(manager, clients)
    clients.pop(1).close()
    all_know_all(clients)
    stored(manager, clients)
    assert manager.said[0].splitlines()[0] != "READY=1", \
        "READY=1 was sent before all fds were stored"
    manager.restart()
    stored(manager, clients)
    manager.crash()
    stored(manager, clients)
    manager.server.signal(signal.SIGTERM)
    assert manager.server.wait() == 0
    manager.wait_said("STOPPING=1", 2)
    assert place.socket.exists() and place.shm_path.exists(), \
        "the next start needs the names of socket and region"


def test_watchdog_is_notified(place, manager):
    """The server notifies the watchdog twice as often as required, and never if WATCHDOG_PID names
    another process."""
    manager.start(environment={"WATCHDOG_USEC": "100000", "WATCHDOG_PID": None})
    manager.wait_said("WATCHDOG=1", 5)
    manager.restart(environment={"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"})
    said_n = len(manager.said)
    three(place)
    assert not any("WATCHDOG" in text for text in manager.said[said_n:])


# Resuming.

@pytest.mark.parametrize("how", ["crash", "restart"])
def test_clients_do_not_notice_a_restart(place, manager, how):
    """A restart sends connected clients no message, and another client can join afterwards; this
    holds for two restarts in a row."""
    manager.start()
    clients = three(place)
    for _ in range(2):
        stored(manager, clients)
        heard = [list(client.history) for client in clients]
        getattr(manager, how)()
        manager.server.err.wait(f"resumed {len(clients)} of {len(clients)} clients")
        assert all(client.hears_nothing(0.05) for client in clients)
        assert [client.history for client in clients] == heard
        one_more(place, clients)
    assert [client.id for client in clients] == [0, 1, 2, 3, 4]
    stored(manager, clients)


def after_a_crash(clients):
    """A crash may lose at most one client, the one to which a message was being sent. Return: the
    other clients."""
    left = read_what_is_there(clients)
    assert len(left) >= len(clients) - 1, f"more than one client was lost: {clients}"
    return left


def test_restarts_while_clients_join_and_leave(place, manager):
    """The server is killed, restarted and upgraded while clients join, ring and leave."""
    manager.start()
    clients = three(place)
    deaf = place.add(RawClient(str(place.socket), VECTORS, keep=False))
    deaf.read_until(lambda: deaf.memory is not None)
    with Storm(place.socket, VECTORS, lossy=True) as storm:
        for at in range(9):
            storm.wait(4)
            if at % 3 == 0:
                manager.crash(idle=False)
                clients = after_a_crash(clients)
            elif at % 3 == 1:
                manager.restart()
                assert read_what_is_there(clients) == clients
            else:
                manager.server.signal(signal.SIGUSR2)
                manager.server.err.wait("resumed", 2)
                assert read_what_is_there(clients) == clients
            while len(clients) < 3:
                clients.append(join(place, VECTORS))
        storm.wait(3)
    read_what_is_there([deaf])
    if not deaf.ended:
        deaf.greeting()
        all_know_all([*clients, deaf])
        deaf.close()
    all_know_all(clients)
    one_more(place, clients)
    stored(manager, clients)
    fds = fd_count(manager.server.pid)
    manager.restart()
    wait_until(lambda: fd_count(manager.server.pid) == fds, "the server has as many fds as before")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_changes_while_the_server_is_dead(place, manager, number):
    """While the server is dead, doorbells work. When it is back, leaves are announced, a client
    that sent data is dropped, and clients that connected in the meantime are served."""
    manager.start()
    clients = [*three(place), join(place, VECTORS), join(place, VECTORS)]
    all_know_all(clients)
    manager.wait_idle()
    manager.end_service(number)
    all_ring_all(clients)
    clients.pop(1).close()
    clients.pop(2).sock.send(b"x")
    waiting = [place.add(RawClient(str(place.socket), VECTORS)) for _ in range(3)]
    assert all(client.hears_nothing(0.05) for client in waiting)
    manager.start()
    clients += [client.greeting() for client in waiting]
    all_know_all(clients)
    one_more(place, clients)
    stored(manager, clients)


def test_clients_that_do_not_read_during_crashes(place, manager):
    """A client that does not read during several crashes receives the complete, current state when
    it reads again."""
    manager.start("-F", "-v", "-n", "20", "-S", place.socket)
    clients = [place.add(RawClient(str(place.socket), 20)) for _ in range(3)]
    for _ in range(3):
        with RawClient(str(place.socket), 20) as passing:
            passing.read_until(lambda: passing.memory is not None)
        manager.settle()
        manager.crash()
    all_know_all([client.greeting() for client in clients])
    one_more(place, clients, vectors=20)


def test_number_of_vectors_may_change(place, manager):
    """-n applies to new clients: connected clients keep their vectors."""
    manager.start()
    clients = three(place)
    for client in clients:
        client.vectors = None
    manager.restart("-F", "-v", "-n", "3", "-S", place.socket)
    new = place.add(RawClient(str(place.socket)))
    new.read_until(lambda: len(new.own) == 3)
    for client in clients:
        client.read_until(lambda: len(client.peers.get(new.id, [])) == 3)  # noqa: B023
    assert {at: len(known) for at, known in new.peers.items()} == {0: 2, 1: 2, 2: 2}
    all_ring_all([*clients, new])
    manager.crash()
    all_ring_all([*clients, new])
    assert all(client.hears_nothing(0.05) for client in [*clients, new])


@pytest.mark.parametrize("other", [("-M", "{}2"), ("-r", "memfd:"), ("-l", "1M", "-r", "memfd:")])
def test_another_region_disconnects_all(place, manager, other):
    """If the server is restarted with a different region, all clients are disconnected, because
    they cannot switch to it; the log says why."""
    first = ("-r", "memfd:") if "-l" in other else None
    manager.start(region=first)
    clients = three(place)
    manager.restart(region=[word.format(place.shm) for word in other])
    manager.server.err.wait("the region is different from before")
    all_gone(clients)
    clients = three(place)
    one_more(place, clients)
    stored(manager, clients)
    manager.crash()
    one_more(place, clients)


def test_another_region_that_cannot_be_opened(place, manager):
    """If the new region cannot be opened, the start fails; after a start with the previous region,
    no client has been lost."""
    manager.start()
    clients = three(place)
    manager.end_service(signal.SIGTERM)
    failed = manager.start(region=("-r", "file:/no/such/directory/x"), ready=False)
    assert failed.wait() == 1
    manager.start(region=("-M", place.shm))
    one_more(place, clients)


def test_socket_path_may_change(place, manager):
    """After a restart with a different path in -S the server listens there, and clients stay
    connected."""
    manager.start()
    clients = three(place)
    old, place.socket = place.socket, place.dir / "elsewhere"
    manager.restart("-F", "-v", "-n", "2", "-S", place.socket)
    one_more(place, clients)
    stored(manager, clients)
    assert not accepts(old)
    manager.crash()
    one_more(place, clients)


def test_removed_socket_is_created_again(place, manager):
    """If the socket's path has been removed, the next start creates it again, and new clients can
    connect."""
    manager.start()
    clients = three(place)
    manager.wait_idle()
    manager.end_service(signal.SIGKILL)
    place.socket.unlink()
    manager.start()
    one_more(place, clients)
    stored(manager, clients)


def test_listening_socket_of_the_service_manager_is_used(place):
    """A listening socket passed by the service manager is used regardless of its name, and is not
    removed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(place.socket))
        sock.listen()
        manager = place.add(Manager(place, activation=("my.socket", sock.fileno())))
        early = place.add(RawClient(str(place.socket), VECTORS))
        manager.start("-F", "-v", "-n", "2", "-S", place.dir / "unused")
        clients = [early.greeting()]
        one_more(place, clients)
        assert not (place.dir / "unused").exists()
        for how in (manager.crash, manager.restart):
            how()
            one_more(place, clients)
        manager.server.signal(signal.SIGUSR2)
        manager.server.err.wait("resumed", 2)
        one_more(place, clients)
        manager.crash()
        one_more(place, clients)
        manager.end_service(signal.SIGTERM)
        assert place.socket.exists() and not (place.dir / "unused").exists()


def test_socket_activation_without_fd_store(place):
    """Socket activation works without an fd store, as with systemd-socket-activate."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(place.socket))
        sock.listen()
        manager = place.add(Manager(place, activation=("connection", sock.fileno())))
        manager.start(environment={"NOTIFY_SOCKET": None}, ready=False)
        with RawClient(str(place.socket), VECTORS) as client:
            client.greeting()
        manager.end_service(signal.SIGTERM)
        assert place.socket.exists() and not place.shm_path.exists()


def test_many_restarts_leak_no_fds(place, manager):
    """Many restarts leak fds neither in the server nor in the fd store."""
    manager.start()
    clients = three(place)
    stored(manager, clients)
    fds = []
    for at in range(16):
        (manager.crash if at % 2 else manager.restart)()
        with RawClient(str(place.socket), VECTORS) as client:
            client.greeting()
        all_know_all(clients)
        fds.append(fd_count(manager.server.pid))
        stored(manager, clients)
    assert max(fds) - min(fds) <= 2 + VECTORS, fds  # fds of a client that left, and a barrier
    one_more(place, clients)


def test_restart_in_the_background(place, manager):
    """The server can also resume if it is a service of Type=forking, which has a pidfile."""
    options = ("-v", "-n", "2", "-S", place.socket, "-p", place.dir / "pid")
    clients = []
    for _ in range(2):
        manager.start(*options, ready=False)
        assert manager.server.wait() == 0, manager.server.err.text()
        if not clients:
            clients = three(place)
        one_more(place, clients)
        pid = int((place.dir / "pid").read_text())
        stored(manager, clients)
        daemon = place.add(Daemon(pid))
        daemon.signal(signal.SIGKILL)
        daemon.wait()  # the pidfile is unlocked only then
    manager.start(*options, ready=False)
    manager.server.wait()
    one_more(place, clients)
