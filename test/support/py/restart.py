# SPDX-License-Identifier: BSD-3-Clause
"""Helpers for tests of a server under a service manager."""
from support.py.clients import join
from support.py.crowd import all_know_all, all_ring_all, same_memory

VECTORS = 2
OWN = ["ivshmem.listener", "ivshmem.region", "ivshmem.state"]


def three(place):
    """Connect three clients, and wait until they know each other."""
    clients = [join(place, VECTORS) for _ in range(3)]
    all_know_all(clients)
    return clients


def one_more(place, clients, vectors=VECTORS):
    """Let another client join. Check that all clients ring each other, see the same memory, and
    receive no more messages."""
    clients.append(join(place, vectors))
    all_know_all(clients)
    all_ring_all(clients)
    same_memory(clients)
    assert all(client.hears_nothing(0.02) for client in clients)


def parts(manager):
    """Return: the names in the store, with those of clients' fds replaced by (id, kind of fd)."""
    names = [name for name in manager.names() if not name.startswith("ivshmem.client-")]
    return sorted(names + [(*name.split("-")[1::2],) for name in manager.names()
                           if name not in names], key=str)


def stored(manager, clients):
    """Wait until the store contains exactly the server's own fds and those of these clients."""
    wanted = sorted(OWN + [(str(client.id), which) for client in clients
                           for which in ["socket", *map(str, range(client.vectors))]], key=str)
    manager.wait(lambda: parts(manager) == wanted, "the store has the right fds")


def name_of(manager, client_id, which):
    """Return: the name of a client's fd in the store, including the serial."""
    found = [name for name in manager.names()
             if name.split("-")[1::2] == [str(client_id), which]]
    assert len(found) == 1, manager.names()
    return found[0]


def all_gone(clients):
    """Wait until the server has closed the connections of these clients."""
    for client in clients:
        client.read_to_end()
