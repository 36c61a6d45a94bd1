# SPDX-License-Identifier: BSD-3-Clause
"""Clients that make the last close() of their own doorbells block, with an epoll instance whose
mutex they hold (support/py/stuck_epoll.py). Neither the server nor another client nor the service
manager may be the last to close such a doorbell."""
import array
import contextlib
import os
import signal
import socket
import time

import pytest

from support.py.clients import as_user, join
from support.py.lingering import QUICK, stopped, without_passrights
from support.py.manager import Manager
from support.py.programs import fd_count, wait_until
from support.py.stuck_epoll import StuckEpoll, blocked_n, helpers
from support.py.wire import RawClient, connect

# Helper processes hold each fd for 5 s by their clock.
pytestmark = pytest.mark.usefixtures("fast_clock")
BLOCKED_MAX = 2  # IVS_CLOSER_BLOCKED_MAX: helper processes that one user can block
HELPERS_MAX = 64  # IVS_CLOSER_WORKERS_MAX
LEAVING_FREE = 8  # IVS_USERS_LEAVING_FREE
NOFILE = 1024
STRANGER = 61234
VECTORS = 2

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to other users")


def leave_stuck(place, *clients):
    """Make the last close() of these clients' doorbells block, and disconnect the clients. Return:
    the process that holds the mutex."""
    fds = [os.dup(fd) for client in clients for fd in client.own]
    stuck = place.add(StuckEpoll(*fds))
    for fd in fds:
        os.close(fd)
    for client in clients:
        client.close()
    return stuck


def check_newcomer(place):
    """Check that a new client is greeted immediately."""
    began = time.monotonic()
    with RawClient(str(place.socket), VECTORS) as client:
        client.greeting()
    assert time.monotonic() - began < QUICK


def start(place, *options):
    """Start a server that all users may use. Return: the server, and the number of its fds."""
    place.dir.chmod(0o777)
    server = place.server("-n", VECTORS, "-l", "1M", "--socket-mode", "0666", *options,
                          region=["-r", "memfd:"])
    return server, fd_count(server.pid)


def test_server_is_not_blocked(place):
    """A client leaves, and the last close() of its doorbells blocks. The server closes its copies,
    greets a new client, and exits on SIGTERM."""
    server, before = start(place)
    leave_stuck(place, join(place, VECTORS))
    server.err.wait("client 0 left")
    check_newcomer(place)
    wait_until(lambda: fd_count(server.pid) == before, "the server has closed its copies")
    join(place, VECTORS)
    server.stop()


def test_server_exits_while_clients_are_connected(place):
    """When the server exits, it is not the last to close the doorbells of a client."""
    server, _ = start(place)
    client = join(place, VECTORS)
    fds = client.own
    place.add(StuckEpoll(*map(os.dup, fds)))
    while fds:
        os.close(fds.pop())
    server.stop()


def test_other_clients_are_not_blocked(place):
    """A client that is told of a leave also closes its copies of the doorbells. It is not blocked,
    because the helper processes keep their copies for a few seconds longer."""
    server, _ = start(place)
    other = place.start_client()
    other.out.wait("peer 0")
    client = join(place, VECTORS)
    other.out.wait("peer 1 joined")
    leave_stuck(place, client)
    other.out.wait("peer 1 left")
    other.write("quit\n")
    assert other.wait() == 0
    server.stop()


def test_doorbells_are_kept_until_the_leave_is_sent(place):
    """One client does not read while others leave. The server keeps the doorbells of the clients
    that have left, so that the first client is not the last to close them when it reads again."""
    server, before = start(place)
    sleeper = join(place, VECTORS)
    for _ in range(40):  # more leaves than fit into its socket
        join(place, VECTORS).close()
    server.err.wait(" left ", 40)
    wait_until(lambda: fd_count(server.pid) > before + 1 + VECTORS,
               "the server keeps some doorbells")
    sleeper.read_until(lambda: fd_count(server.pid) == before + 1 + VECTORS, "the fds are closed")
    server.stop()


def test_helper_processes_that_one_user_blocks(place):
    """The clients of one user block as many helper processes as they can. When further clients of
    that user leave, their fds stay open, and the log says so. The server continues to serve, and
    closes the fds when a helper process of the user is free."""
    server, before = start(place)
    for at in range(BLOCKED_MAX):
        stuck = leave_stuck(place, join(place, VECTORS))
        wait_blocked(server.pid, at + 1)
    while not server.err.count("closing those of clients that left earlier is blocked"):
        check_newcomer(place)  # this client's fds also stay open
    check_newcomer(place)
    assert blocked_n(server.pid) == BLOCKED_MAX
    stuck.release()
    wait_until(lambda: fd_count(server.pid) == before, "the fds are closed")
    server.stop()


def block(place, server, users):
    """Make the clients of other users block as many helper processes as they can. Return: a process
    that holds a mutex for which one helper process of each user waits."""
    for at in range(BLOCKED_MAX):
        stuck = leave_stuck(place, *(as_user(STRANGER + user, lambda: join(place, VECTORS))
                                     for user in range(users)))
        wait_blocked(server.pid, (at + 1) * users)
    return stuck


@needs_root
def test_helper_processes_that_other_users_block(place):
    """Clients of five users block as many helper processes as they can. Other helper processes take
    their place, so the fds of clients of other users that leave are closed. The fds of a user that
    blocks helper processes stay open."""
    server, before = start(place)
    stuck = block(place, server, users=5)
    while not server.err.count("closing those of clients that left earlier is blocked"):
        as_user(STRANGER, lambda: check_newcomer(place))
    more = fd_count(server.pid)
    assert more > before
    left = server.err.count(" left")
    for _ in range(20):
        check_newcomer(place)
    server.err.wait(" left", left + 20)
    wait_until(lambda: fd_count(server.pid) <= more, "the fds of this user are closed")
    stuck.release()
    wait_until(lambda: fd_count(server.pid) == before, "the fds are closed")
    server.stop()


@needs_root
def test_user_that_blocks_helper_processes_takes_no_places(place):
    """While fds of a user's former clients stay open, those clients still count towards the user's
    limit, so that further clients are refused. Clients of other users are admitted, and the server
    exits on SIGTERM."""
    # Newcomers join and leave quickly. On a loaded machine the helper processes are slow to take
    # their fds, so all of them may count for a moment.
    limit = newcomers = 20
    server, before = start(place, "--max-peers", 100, "--max-peers-per-user", limit)
    block(place, server, users=1)
    refused = f"uid {STRANGER}): the maximum number of its user's clients"
    while not server.err.count(refused):
        with as_user(STRANGER, lambda: RawClient(str(place.socket), VECTORS)) as client:
            client.next()
    assert fd_count(server.pid) < before + (LEAVING_FREE + limit + 2) * (1 + VECTORS)
    for _ in range(newcomers):
        check_newcomer(place)
    server.stop()


@needs_root
def test_all_helper_processes_are_blocked(place):
    """When the clients of many users have blocked as many helper processes as there can be, fds of
    all clients that leave stay open. The server continues to serve. The fds are closed when a
    helper process is free."""
    server, before = start(place)
    stuck = block(place, server, HELPERS_MAX // BLOCKED_MAX)
    while not server.err.count("closing those of clients that left earlier is blocked"):
        check_newcomer(place)
    check_newcomer(place)
    stuck.release()
    wait_until(lambda: fd_count(server.pid) == before, "the fds are closed")
    server.stop()


def test_helper_process_holds_as_many_fds_as_it_can(place):
    """Many clients of one user leave behind doorbells whose last close() blocks. When neither the
    helper process nor the socket to it has room for more fds, the server refuses clients. The
    server still exits on SIGTERM."""
    vectors = 16
    server = place.server("-n", vectors, nofile=NOFILE)
    while not server.err.count("refused a client"):
        clients = []
        with contextlib.suppress(AssertionError):  # the server refuses the client
            for _ in range(5):
                clients.append(join(place, vectors))
        leave_stuck(place, *clients)
    server.stop()


def wait_blocked(pid, number):
    """Wait until this many helper processes are blocked."""
    wait_until(lambda: blocked_n(pid) == number, f"{number} helper processes are blocked")


@pytest.fixture
def manager(place):
    """Start a service manager, and end it after the test."""
    made = Manager(place)
    yield made
    made.close()


def test_service_manager_is_not_blocked(place, manager):
    """The service manager drops its copies before the server closes its copies."""
    manager.start("-F", "-v", "-n", VECTORS, "-S", place.socket, region=["-r", "memfd:"])
    client = join(place, VECTORS)
    manager.wait(lambda: sum("client-0" in name for name in manager.names()) == 1 + VECTORS,
                 "the client is stored")
    manager.stop_reading()
    leave_stuck(place, client)
    manager.server.err.wait("client 0 left")
    time.sleep(0.1)
    manager.go_on_reading()
    manager.wait(lambda: "BARRIER=1" in manager.said, "the barrier was sent")
    manager.settle()
    assert not any("client-0" in name for name in manager.names())
    removed = [at for at, text in enumerate(manager.said) if "FDSTOREREMOVE=1" in text]
    assert removed and removed[-1] < manager.said.index("BARRIER=1")
    check_newcomer(place)
    assert manager.end_service(signal.SIGTERM) == 0


def test_clients_that_the_service_manager_still_holds_are_counted(place, manager):
    """A client joins and leaves in a loop while the service manager does not read. Clients whose
    fds the service manager has not dropped yet count towards --max-peers-per-user, so that they
    cannot use up the server's fds."""
    most = 2
    manager.start("-F", "-v", "-n", VECTORS, "--max-peers-per-user", most, "-S", place.socket,
                  region=["-r", "memfd:"])
    before = fd_count(manager.server.pid)
    check_newcomer(place)
    manager.stop_reading()
    refused = "refused a client"
    while not manager.server.err.count(refused):
        with RawClient(str(place.socket), VECTORS) as client:
            client.next()
    assert fd_count(manager.server.pid) < before + 100 * (1 + VECTORS)
    manager.go_on_reading()
    wait_until(lambda: fd_count(manager.server.pid) <= before,
               "the manager has dropped all its copies")
    check_newcomer(place)
    assert manager.end_service(signal.SIGTERM) == 0


def test_client_leaves_during_a_crash(place, manager):
    """While the server is not running, a client leaves, and the last close() of its doorbells
    blocks. The next server makes the service manager drop its copies before it closes its own."""
    manager.start("-F", "-v", "-n", VECTORS, "-S", place.socket, region=["-r", "memfd:"])
    client = join(place, VECTORS)
    manager.wait(lambda: sum("client-0" in name for name in manager.names()) == 1 + VECTORS,
                 "the client is stored")
    manager.wait_idle()
    manager.end_service(signal.SIGKILL)
    leave_stuck(place, client)
    manager.start()
    manager.wait(lambda: not any("client-0" in name for name in manager.names()),
                 "the client is dropped")
    manager.settle()
    check_newcomer(place)
    assert manager.end_service(signal.SIGTERM) == 0


def test_out_of_band_bytes(place):
    """A client that sends an out-of-band byte with fds is dropped, and the server is not
    blocked."""
    place.server_program = without_passrights(place, place.server_program)
    server, before = start(place)
    sock = connect(str(place.socket))
    event = os.eventfd(0)
    stuck = place.add(StuckEpoll(os.dup(event)))
    sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [event]))],
                 socket.MSG_OOB)
    os.close(event)
    server.err.wait("left")
    check_newcomer(place)
    sock.close()  # unread messages count as long as the client can still read them
    wait_until(lambda: fd_count(server.pid) == before, "the fds are closed")
    stuck.release()
    server.stop()


def test_refused_connections_are_closed_at_once(place):
    """If the kernel rejects fds that are sent to the server, the server itself closes a refused
    connection that has an unread byte: no fds can have come with the byte."""
    server, before = start(place, "--max-peers", 1)
    join(place, VECTORS)
    holder, = helpers(server.pid)
    held = fd_count(holder)
    refused = 20  # the maximum number of logged refusals
    with contextlib.ExitStack() as stack:
        with stopped(server):
            for _ in range(refused):
                sock = stack.enter_context(connect(str(place.socket)))
                if not rejects_fds(sock):
                    pytest.skip("needs a kernel with SO_PASSRIGHTS (Linux 6.16)")
                sock.send(b"x")
        server.err.wait("refused a client", refused)
    wait_until(lambda: fd_count(server.pid) == before + 1 + VECTORS, "the fds are closed")
    assert fd_count(holder) == held
    server.stop()


def rejects_fds(sock):
    """Return: whether the kernel rejects an fd that is sent over the connection."""
    with contextlib.suppress(OSError):
        sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))])
        return False
    return True
