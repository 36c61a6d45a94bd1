# SPDX-License-Identifier: BSD-3-Clause
"""Quiet clients, such as QEMU, which are never told of a leave, and vacant seats: the id and the
eventfds of a client that has left, which the next client gets."""
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys

import pytest

from support.py.clients import as_user, join
from support.py.control import ask_once
from support.py.crowd import Storm, all_know_all, all_ring_all, eventfd_id, take_doorbells
from support.py.programs import wait_until
from support.py.restart import VECTORS
from support.py.wire import RawClient, connect, readable, ring

STRANGER = 61234

#: Connects like QEMU, reads its greeting and prints its id; a line on stdin makes it disconnect
QEMU = """
import socket, struct, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
data = b""
while len(data) < 24:
    data += sock.recv(24 - len(data))
print("id", struct.unpack("<3q", data)[1], flush=True)
for line in sys.stdin:
    sock.close()
    print("closed", flush=True)
"""


def control_of(place):
    """Return: the path of the control socket."""
    return place.dir / "control"


def serve(place, *options, **keywords):
    """Start a server with VECTORS vectors and a control socket."""
    return place.server("-n", str(VECTORS), "--control", control_of(place), *options, **keywords)


def quiet(place):
    """Connect a quiet client, which keeps all fds."""
    return place.add(RawClient(str(place.socket), VECTORS, quiet=True)).greeting()


def vacant_n(place):
    """Return: the number of vacant seats."""
    return ask_once(control_of(place))["vacant_ids"]


def leave(place, client, stays):
    """Close a client, and wait until the others have been told."""
    client.close()
    wait_until(lambda: len(ask_once(control_of(place))["peers"]) == len(stays), "it has left")
    for other in stays:
        if not other.quiet:
            other.read_until_knows({each.id for each in stays} - {other.id})


def doorbells(client, peer):
    """Return: the kernel's numbers of the eventfds of a peer."""
    return [eventfd_id(fd) for fd in client.peers[peer]]


def qemu(place, program=sys.executable, user=None):
    """Start a process that connects like QEMU. Return: (process, id)."""
    process = place.start(program, "-c", QEMU, place.socket, stdin=subprocess.PIPE, user=user)
    return process, int(process.out.wait("id ").split()[1])


def test_quiet_client_is_told_of_joins_only(place):
    """A client that has not bound its socket to an address is told of joins but not of leaves; the
    status says so."""
    serve(place)
    silent, other, gone = quiet(place), join(place, VECTORS), join(place, VECTORS)
    all_know_all([silent, other, gone])
    assert [peer["told_leaves"] for peer in ask_once(control_of(place))["peers"]] == \
        [False, True, True]
    leave(place, gone, [silent, other])
    assert other.history[-1] == (2, False)
    assert silent.hears_nothing() and set(silent.peers) == {1, 2}
    assert vacant_n(place) == 1


def test_newcomer_gets_the_seat(place):
    """A newcomer gets the id and the eventfds that quiet clients know, without the doorbells of the
    client that had them; clients that are told of leaves are told of the leave and the join."""
    serve(place)
    silent, other, gone = quiet(place), join(place, VECTORS), join(place, VECTORS)
    all_know_all([silent, other, gone])
    ids, heard = doorbells(silent, 2), len(other.history)
    leave(place, gone, [silent, other])
    ring(silent.peers[2][1])
    newcomer = join(place, VECTORS)
    assert newcomer.id == 2 and [eventfd_id(fd) for fd in newcomer.own] == ids
    assert not readable(newcomer.own), "the doorbell was for the client that has left"
    other.read_until(lambda: len(other.history) == heard + 1 + VECTORS)
    assert other.history[heard:] == [(2, False)] + [(2, True)] * VECTORS
    assert silent.hears_nothing() and vacant_n(place) == 0
    for client in silent, other:
        for vector in range(VECTORS):
            ring(client.peers[2][vector])
            assert take_doorbells(newcomer) == [vector]
    all_know_all([silent, other, newcomer])


def test_joins_cost_a_quiet_client_no_fds(place):
    """The fds of a quiet client, and of the server, do not grow with the number of joins."""
    server = serve(place)
    silent = quiet(place)
    join(place, VECTORS).close()
    wait_until(lambda: vacant_n(place) == 1, "it has left")
    fds = server.fds()
    for _ in range(100):
        with RawClient(str(place.socket), VECTORS) as client:
            assert client.greeting().id == 1
        wait_until(lambda: vacant_n(place) == 1, "it has left")
    wait_until(lambda: server.fds() == fds, "the server has as many fds as before")
    silent.read_until_knows({1})
    assert silent.hears_nothing()
    assert ask_once(control_of(place))["ids_left"] == 65536 - 2


def test_seat_of_a_quiet_client_is_kept_while_its_process_exists(place):
    """QEMU 11.1 without KVM crashes when the eventfds of a device that was unplugged are rung. So
    the seat of a quiet client is given away only when the process that had it is gone."""
    serve(place)
    silent = quiet(place)
    process, mine = qemu(place)
    silent.read_until_knows({mine})
    process.write("close\n")
    process.out.wait("closed")
    wait_until(lambda: vacant_n(place) == 1, "it has left")
    assert mine == 1 and join(place, VECTORS).id == 2
    process.end()
    assert join(place, VECTORS).id == 1
    assert vacant_n(place) == 0
    silent.read_until_knows({1, 2})


def test_process_that_reconnects_gets_its_own_seat(place):
    """If a process repeatedly connects like QEMU and disconnects, other quiet clients have to keep
    the fds of 16 seats, not of each connection: after that, each connection gets the oldest of
    these seats."""
    serve(place, "--max-peers-per-user", "4")
    silent = quiet(place)
    ids = []
    for _ in range(50):
        with RawClient(str(place.socket), VECTORS, keep=False, quiet=True) as client:
            ids.append(client.greeting().id)
            silent.read_until(lambda: silent.knows(set(ids)))
        wait_until(lambda: len(ask_once(control_of(place))["peers"]) == 1, "it has left")
    assert ids[:18] == [*range(1, 17), 1, 2] and max(ids) == 16
    assert vacant_n(place) == 16
    silent.read_until_knows(set(range(1, 17)))


def test_seats_that_are_held_back_count_as_clients(place):
    """The seats of QEMUs that have disconnected but still run count towards --max-peers-per-user,
    but not against their own process, which may plug in a device again."""
    serve(place, "--max-peers-per-user", "3")
    quiet(place)
    processes = [qemu(place)[0] for _ in range(2)]
    for process in processes:
        process.write("close\n")
        process.out.wait("closed")
    wait_until(lambda: vacant_n(place) == 2, "they have left")
    assert connect(str(place.socket)).recv(8) == b""
    processes[0].end()
    client = join(place, VECTORS)
    assert client.id == 1 and connect(str(place.socket)).recv(8) == b""
    client.close()
    wait_until(lambda: vacant_n(place) == 2, "it has left")
    again = quiet(place)
    assert again.id == 1


def test_seat_is_given_up_with_the_last_quiet_client(place):
    """Once no quiet client knows them, the ids of vacant seats are free, and their fds closed."""
    server = serve(place)
    other = join(place, VECTORS)
    fds = server.fds()
    silent = [quiet(place) for _ in range(2)]
    crowd = [join(place, VECTORS) for _ in range(5)]
    all_know_all([other, *silent, *crowd])
    for client in crowd:
        client.close()
    wait_until(lambda: vacant_n(place) == 5, "the crowd has left")
    leave(place, silent[0], [other, silent[1]])
    assert vacant_n(place) == 6, "the other quiet client knows the first one's seat, too"
    leave(place, silent[1], [other])
    assert vacant_n(place) == 0
    wait_until(lambda: server.fds() == fds, "all fds have been closed")
    assert [join(place, VECTORS).id for _ in range(3)] == [1, 2, 3]


def test_storm_with_quiet_clients(place):
    """While clients of both kinds join, ring and leave concurrently, and the server is upgraded,
    each client knows the present peers, and no fd leaks."""
    server = serve(place, "--max-joins-per-user", "0", nofile=1000)
    stay = [join(place, VECTORS), quiet(place)]
    with Storm(place.socket, VECTORS, threads=3, quiet=True) as storm:
        for times in range(1, 6):
            storm.wait(60)
            server.signal(signal.SIGUSR2)
            server.err.wait("resumed", times)
    stay.append(join(place, VECTORS))
    stay[0].read_until_knows({stay[1].id, stay[2].id})
    stay[1].read_until(lambda: stay[1].knows(set(stay[1].peers) | {0, stay[2].id}))
    all_ring_all([stay[0], stay[2]])
    for client in stay[:2]:
        for fd in client.peers[stay[2].id]:
            ring(fd)
        assert take_doorbells(stay[2]) == list(range(VECTORS))
    stay.pop(1).close()
    wait_until(lambda: vacant_n(place) == 0, "no quiet client knows a seat")
    wait_until(lambda: server.fds() < 40, "the fds of all that left have been closed")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
def test_seat_is_given_to_the_same_user_only(place):
    """A client of a different user gets a different id and new eventfds."""
    place.dir.chmod(0o777)
    serve(place, "--socket-mode", "0666")
    silent = quiet(place)
    join(place, VECTORS).close()
    wait_until(lambda: vacant_n(place) == 1, "it has left")
    assert as_user(STRANGER, lambda: join(place, VECTORS)).id == 2
    assert join(place, VECTORS).id == 1
    silent.read_until_knows({1, 2})


def test_seats_survive_an_upgrade(place):
    """The new program inherits the vacant seats of the old one."""
    server = serve(place)
    silent, gone = quiet(place), join(place, VECTORS)
    all_know_all([silent, gone])
    ids = doorbells(silent, 1)
    leave(place, gone, [silent])
    server.signal(signal.SIGUSR2)
    server.err.wait("resumed 1 of 1 clients")
    assert vacant_n(place) == 1
    newcomer = join(place, VECTORS)
    assert newcomer.id == 1 and [eventfd_id(fd) for fd in newcomer.own] == ids
    server.signal(signal.SIGUSR2)
    server.err.wait("resumed 2 of 2 clients")
    leave(place, newcomer, [silent])
    assert vacant_n(place) == 1 and silent.hears_nothing()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
def test_seats_are_given_up_when_fds_are_scarce(place):
    """Vacant seats do not keep clients of other users out: the oldest seats of the user that has
    the most are given up."""
    place.dir.chmod(0o777)
    server = serve(place, "--socket-mode", "0666", nofile=80)
    silent = place.add(RawClient(str(place.socket), VECTORS, keep=False, quiet=True)).greeting()
    crowd = as_user(STRANGER, lambda: [join(place, VECTORS, keep=False) for _ in range(12)])
    silent.read_until_knows({client.id for client in crowd})
    for client in crowd:
        client.close()
    wait_until(lambda: vacant_n(place) == 12, "the crowd has left")
    mine = [join(place, VECTORS, keep=False) for _ in range(14)]
    assert len({client.id for client in [silent, *mine]} | {client.id for client in crowd}) == 27
    assert vacant_n(place) < 12 and not any("refused" in line for line in server.err.seen)
    newcomer = as_user(STRANGER, lambda: join(place, VECTORS, keep=False))
    assert newcomer.id in {client.id for client in crowd}
    silent.read_until(lambda: {client.id for client in mine} <= set(silent.peers))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
def test_seats_are_given_up_in_time_with_a_service_manager(place, manager):
    """With a service manager, the fds of a seat are closed only after the manager has dropped its
    copies, so seats are given up before fds run out."""
    place.dir.chmod(0o777)
    manager.start("-F", "-n", str(VECTORS), "--socket-mode", "0666", "-S", place.socket,
                  prefix=["/usr/bin/prlimit", "--nofile=85:85"])
    silent = place.add(RawClient(str(place.socket), VECTORS, keep=False, quiet=True)).greeting()
    crowd = as_user(STRANGER, lambda: [join(place, VECTORS, keep=False) for _ in range(16)])
    silent.read_until_knows({client.id for client in crowd})
    for client in crowd:
        client.close()
    for _ in range(18):
        manager.wait_idle()
        join(place, VECTORS, keep=False)


def test_client_that_has_left_keeps_its_eventfds(place):
    """A client that has left and has kept its eventfds can make them block, and can take doorbells
    of the next client that has them, but it cannot stop the server."""
    serve(place)
    silent, gone = quiet(place), join(place, VECTORS)
    all_know_all([silent, gone])
    kept = [os.dup(fd) for fd in gone.own]
    leave(place, gone, [silent])
    for fd in kept:
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)
    newcomer = join(place, VECTORS)
    assert newcomer.id == 1
    ring(silent.peers[1][0])
    assert os.read(kept[0], 8) and not readable(newcomer.own)
    ring(kept[1])
    assert take_doorbells(newcomer) == [1]
    leave(place, newcomer, [silent])
    os.write(kept[0], struct.pack("=Q", 2**64 - 2))  # the counter is full
    assert join(place, VECTORS).id == 1
    assert not readable(kept)
    for fd in kept:
        os.close(fd)


def test_id_0_is_kept_for_a_qemu(place):
    """With --keep-id-0, only a quiet client of that user gets id 0, even if others join before it;
    this is what a migration master needs."""
    serve(place, "--keep-id-0", str(os.getuid()))
    others = [join(place, VECTORS) for _ in range(2)]
    assert [client.id for client in others] == [1, 2]
    process, first = qemu(place)
    assert first == 0 and quiet(place).id == 3
    process.end()
    wait_until(lambda: len(ask_once(control_of(place))["peers"]) == 3, "it has left")
    assert join(place, VECTORS).id == 4, "the vacant seat 0 is kept, too"
    assert qemu(place)[1] == 0
    done = place.run_server("--keep-id-0", "nobody-of-this-name")
    assert done.returncode == 2 and "no such user" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
def test_id_0_is_kept_for_one_user(place):
    """With --keep-id-0, a quiet client of another user does not get id 0."""
    place.dir.chmod(0o777)
    serve(place, "--socket-mode", "0666", "--keep-id-0", str(STRANGER))
    assert quiet(place).id == 1
    assert as_user(STRANGER, lambda: quiet(place)).id == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")
def test_example_client_of_qemu_is_told_of_leaves(place):
    """QEMU's ivshmem-client binds no address either. It is known by the name of its executable,
    which the server can read for processes of its own user."""
    program = place.dir / "ivshmem-client"
    shutil.copy(os.path.realpath(sys.executable), program)
    place.dir.chmod(0o777)
    serve(place, user=STRANGER)
    found = [qemu(place, each, user=STRANGER)[1] for each in (sys.executable, program)]
    peers = ask_once(control_of(place))["peers"]
    assert found == [0, 1] and [peer["told_leaves"] for peer in peers] == [False, True]
