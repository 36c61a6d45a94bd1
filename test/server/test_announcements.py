# SPDX-License-Identifier: BSD-3-Clause
"""Messages from ivshmem-server to its clients: greetings, joins and leaves."""
import os
import signal

import pytest

from support.py.clients import join, knows_all, others
from support.py.wire import RawClient, readable, ring


# Greeting and announcements

def test_greeting_in_order(place):
    """A client receives version 0, its id, -1 with the memory, the vectors of the other peers in
    ascending order of id, and then its own vectors (W-3 to W-6)."""
    place.server("-n", "2")
    first, second = join(place, 2), join(place, 2)
    assert first.history == [(0, False), (0, False), (-1, True), (0, True), (0, True)]
    assert second.history[:3] == [(0, False), (1, False), (-1, True)]
    assert second.history[3:] == [(0, True)] * 2 + [(1, True)] * 2
    third = join(place, 2)
    assert third.history[3:] == [(0, True)] * 2 + [(1, True)] * 2 + [(2, True)] * 2
    assert third.hears_nothing()


def test_id_is_reused_when_no_client_knows_it(place):
    """A client gets the lowest id that no connected client knows (W-10)."""
    server = place.server()
    clients = [join(place) for _ in range(5)]
    assert [client.id for client in clients] == [0, 1, 2, 3, 4]
    knows_all(clients)
    left = {clients[1], clients[3]}
    for client in left:
        client.close()
    stay = [client for client in clients if client not in left]
    knows_all(stay)
    clients = stay + [join(place) for _ in range(3)]
    assert [client.id for client in clients[3:]] == [1, 3, 5]
    for client in clients:
        client.close()
    server.err.wait("0 connected")
    assert [join(place).id for _ in range(2)] == [0, 1]


def test_joins_and_leaves_are_announced_to_all(place):
    """Each other client receives a join as one message per vector, each with an fd, and a leave as
    one message without an fd."""
    place.server("-n", "3")
    clients = [join(place, 3) for _ in range(4)]
    knows_all(clients)
    told = [len(client.history) for client in clients]
    last = join(place, 3)
    for client, before in zip(clients, told):
        client.read_until_knows(others(client, clients + [last]))
        assert client.history[before:] == [(last.id, True)] * 3
    last.close()
    for client, before in zip(clients, told):
        client.read_until_knows(others(client, clients))
        assert client.history[before + 3:] == [(last.id, False)]
        assert client.hears_nothing()


@pytest.mark.parametrize("vectors", [0, 1, 256, 2048])
def test_client_gets_the_configured_number_of_vectors(place, vectors):
    """Each client gets the configured number of eventfds, which may be 0."""
    place.server("-n", vectors)
    first = join(place, vectors, keep=False)
    second = join(place, vectors, keep=False)
    assert len(first.own) == len(second.own) == vectors
    if vectors:
        knows_all([first, second])
        assert len(first.peers[second.id]) == len(second.peers[first.id]) == vectors
    assert first.hears_nothing() and second.hears_nothing()


def test_doorbell_reaches_exactly_one_vector(place):
    """The fd that a client has received for another client's vector rings that vector and no other
    (W-6, W-9)."""
    place.server("-n", "4")
    clients = [join(place, 4) for _ in range(3)]
    knows_all(clients)
    for sender in clients:
        for receiver in clients:
            for vector in range(4):
                fds = receiver.own if sender is receiver else sender.peers[receiver.id]
                ring(fds[vector])
                for client in clients:
                    expected = [vector] if client is receiver else []
                    assert readable(client.own) == expected
                assert os.read(receiver.own[vector], 8) == b"\x01" + bytes(7)


def test_all_clients_get_the_same_memory(place):
    """The region has the configured size, and each client sees what the others write (W-1, W-5)."""
    place.server("-l", "2M")
    clients = [join(place) for _ in range(3)]
    stats = [os.fstat(client.memory) for client in clients]
    assert {(st.st_dev, st.st_ino) for st in stats} == {(stats[0].st_dev, stats[0].st_ino)}
    assert {st.st_size for st in stats} == {2 << 20}
    assert os.pwrite(clients[0].memory, b"here", (2 << 20) - 4) == 4
    assert os.pread(clients[2].memory, 4, (2 << 20) - 4) == b"here"


# Clients that misbehave

def test_stopped_client_does_not_delay_others(place):
    """While a client process is stopped, the other clients are served; when it continues, it
    catches up."""
    place.server()
    stopped = place.start_client()
    watcher = join(place)
    stopped.signal(signal.SIGSTOP)
    for _ in range(50):
        with RawClient(str(place.socket), 1) as visitor:
            visitor.greeting()
    last = join(place)
    watcher.read_until_knows({0, last.id})
    stopped.signal(signal.SIGCONT)
    stopped.out.wait(f"peer {last.id} joined with 1 vectors")
    before = stopped.out.count("(this one)")
    stopped.write("dump\nhelp\n")
    stopped.out.wait("int all")
    assert stopped.out.count("(this one)") == before + 1
    begin = max(at for at, line in enumerate(stopped.out.seen) if line.startswith("transport"))
    dump = [line for line in stopped.out.seen[begin:] if line.startswith("peer  ")]
    peers = {line.split()[1] for line in dump if line.endswith("  1 vectors")}
    assert peers == {str(watcher.id), str(last.id)}
