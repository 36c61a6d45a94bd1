# SPDX-License-Identifier: BSD-3-Clause
"""What clients of one user can take from those of another: file descriptors in flight, places for
clients, and joins."""
import os
import signal

import pytest

from support.py.clients import as_user, connect_client, join, knows_all
from support.py.control import ask_once
from support.py.hostile import OWN_USER
from support.py.programs import wait_until
from support.py.wire import RawClient, read_together

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to other users")
STRANGER = 61234
NOFILE = 256
CROWD = 60  # 18 messages to each of these clients need four times NOFILE fds


def control_of(place):
    """Return the path of the control socket."""
    return place.dir / "control"


def open_to_all(place, *options, nofile=NOFILE, **keywords):
    """Start a server that runs as a separate user and whose socket is open to all users."""
    place.dir.chmod(0o777)
    return place.server("--socket-mode", "0666", *options, nofile=nofile, user=OWN_USER,
                        **keywords)


def silent_crowd(place, clients_n, uid=STRANGER):
    """Connect clients of another user that do not read."""
    return as_user(uid, lambda: [connect_client(place, keep=False) for _ in range(clients_n)])


@pytest.mark.parametrize("users", [1, 5])
def test_newcomer_does_not_wait_for_clients_that_do_not_read(place, users):
    """While many clients do not read, the server keeps fewer fds in flight than the kernel permits,
    so a new client of another user is greeted and told of all peers. Clients that read later
    receive everything."""
    server = open_to_all(place, "--control", control_of(place))
    silent = [client for user in range(users)
              for client in silent_crowd(place, CROWD // users, STRANGER + user)]
    newcomer = join(place, keep=False)
    newcomer.read_until_knows(set(range(CROWD)))
    second = join(place, keep=False)
    newcomer.read_until_knows(set(range(CROWD)) | {second.id})
    status = ask_once(control_of(place))
    assert status["totals"]["waits"] == 0 and not status["waiting"]
    assert CROWD <= status["in_flight"] < NOFILE
    assert sum(peer["blocked"] for peer in status["peers"]) == CROWD
    server.err.wait("as many file descriptors as one user may have are in flight to clients of "
                    f"uid {STRANGER}")
    everybody, ids = silent + [newcomer, second], set(range(CROWD + 2))
    read_together(everybody, lambda: all(each.knows(ids - {each.id}) for each in everybody),
                  "all clients know each other")
    wait_until(lambda: ask_once(control_of(place))["in_flight"] == 0, "everything has been read")


def test_clients_of_one_server_do_not_delay_those_of_another(place):
    """Two servers of one user share the kernel's limit on fds in flight. Even if clients of one
    server do not read, new clients of both are greeted."""
    open_to_all(place, nofile=1024)
    other = place.dir / "other"
    (place.dir / place.server_program.name).unlink()  # a running program cannot be overwritten
    open_to_all(place, nofile=1024, socket=other, region=["-r", "memfd:"])
    silent_crowd(place, CROWD)
    newcomer = join(place, keep=False)
    newcomer.read_until_knows(set(range(CROWD)))
    for _ in range(2):
        place.add(RawClient(str(other), 1, keep=False)).greeting()


def test_what_a_dropped_client_has_not_read_still_counts(place):
    """A dropped client that neither reads what was sent to it nor closes its socket still counts
    towards its user's limit. Meanwhile other users are served."""
    server = open_to_all(place, "--max-peers-per-user", "3", "--control", control_of(place))
    before = server.fds()
    dropped = silent_crowd(place, 3)
    server.err.wait("joined", 3)
    for client in dropped:
        client.sock.send(b"x")
    server.err.wait("it sent data", 3)
    assert ask_once(control_of(place))["in_flight"] >= 3
    assert as_user(STRANGER, lambda: connect_client(place)).read_to_end() == []
    server.err.wait("the maximum number of its user's clients")
    join(place).close()
    dropped[0].read_to_end()  # everything that was sent to the client before it was dropped
    dropped[1].close()
    wait_until(lambda: server.fds() == before + 1, "the sockets of two clients are closed")
    assert as_user(STRANGER, lambda: join(place)).id is not None
    dropped[2].close()
    wait_until(lambda: ask_once(control_of(place))["in_flight"] <= 1, "nothing is in flight")


def test_joins_of_a_user_are_limited(place):
    """When a user's clients have joined as many times as allowed, further clients of that user are
    refused. Other users are served, and the log reports the refusals in at most 20 lines."""
    server = open_to_all(place, "--max-joins-per-user", "50", "--control", control_of(place))
    watcher = join(place)

    def come_and_go():
        for _ in range(120):
            connect_client(place).close()

    as_user(STRANGER, come_and_go)
    late = as_user(STRANGER, lambda: connect_client(place))
    assert late.read_to_end() == []
    server.err.wait(f"uid {STRANGER}): its user's clients have used up the joins allowed per "
                    "minute (--max-joins-per-user)")
    watcher.read_until_knows({join(place).id})
    totals = ask_once(control_of(place))["totals"]
    assert 52 <= totals["joined"] <= 62  # 50 joins of the stranger, then one every 1.2 s
    assert totals["refused"]["max_joins_per_user"] >= 100 - 50
    assert server.err.count("have used up the joins") == 20


def test_honest_crowd_is_not_limited(place):
    """Many clients of one user that start at the same time are all admitted under the default
    limits."""
    place.server("--control", control_of(place))
    crowd = [join(place, keep=False) for _ in range(128)]
    knows_all(crowd)
    assert not any(ask_once(control_of(place))["totals"]["refused"].values())


def test_user_leaves_places_to_others(place):
    """A single user gets at most 15/16 of the places for clients that the fd limit allows, so a
    client of another user is still admitted."""
    server = open_to_all(place, nofile=1024)
    crowd = silent_crowd(place, 600)
    server.err.wait(f"uid {STRANGER}): its user already has 15/16 of the clients that "
                    "a limit of 1024 file descriptors allows")
    join(place).close()
    served = [client for client in crowd if client.next(0)]
    assert len(served) in range((1024 - 32) // 2 * 15 // 16 - 1, 1024 // 2 * 15 // 16 + 1)


def test_counts_of_clients_survive_an_upgrade(place):
    """After an upgrade, a user's clients and their unread messages still count towards the limits.
    """
    server = open_to_all(place, "--max-peers-per-user", str(CROWD), "--control", control_of(place))
    silent = silent_crowd(place, CROWD)
    join(place, keep=False).read_until_knows(set(range(CROWD)))
    server.signal(signal.SIGUSR2)
    server.err.wait(f"resumed {CROWD + 1} of")
    assert ask_once(control_of(place))["in_flight"] >= CROWD
    assert as_user(STRANGER, lambda: connect_client(place)).read_to_end() == []
    join(place, keep=False).read_until_knows(set(range(CROWD + 1)))
