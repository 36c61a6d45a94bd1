# SPDX-License-Identifier: BSD-3-Clause
"""Connect clients to the test's server, and check which peers they know."""
import os

from support.py.wire import RawClient, read_together


def connect_client(place, vectors=1, keep=True, kind=RawClient):
    """Connect a client that has read nothing yet."""
    try:
        return place.add(kind(str(place.socket), vectors, keep))
    except OSError as error:
        raise AssertionError(f"cannot connect: {error.strerror}") from None


def join(place, vectors=1, keep=True):
    """Connect a client and let it read its greeting and its own vectors."""
    return connect_client(place, vectors, keep).greeting()


def as_user(uid, action):
    """Call action() with the effective uid @uid, which the kernel then reports as the client's."""
    os.setresuid(-1, uid, -1)
    try:
        return action()
    finally:
        os.setresuid(-1, 0, -1)


def others(client, clients):
    """Return: the ids of all clients except this one."""
    return {each.id for each in clients if each is not client}


def knows_all(clients):
    """Let all clients read messages until each knows exactly the other clients."""
    expected = [(client, others(client, clients)) for client in clients]
    read_together(clients, lambda: all(client.knows(ids) for client, ids in expected),
                  "all clients know each other")
