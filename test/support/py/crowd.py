# SPDX-License-Identifier: BSD-3-Clause
"""Checks for many clients at once: what each of them must know, and every doorbell between them;
also, a storm of clients that join, ring and leave concurrently."""
import os
import select
import struct
import threading
import time

from support.py.wire import ProtocolError, RawClient, TIMEOUT, ring


def eventfd_id(fd):
    """Return: the kernel's number of an eventfd."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
        return next(line for line in info if line.startswith("eventfd-id"))


def knows_owners(client, clients):
    """Return: whether the doorbells that a client has are those of the clients that now have their
    ids."""
    for other in clients:
        known = client.peers.get(other.id)
        if other is not client and known and known[0] is not None and other.own and \
                eventfd_id(known[0]) != eventfd_id(other.own[0]):
            return False
    return True


def all_know_all(clients):
    """Let all clients read until each knows exactly the others with all their vectors, and has
    received its own vectors."""
    ids = {client.id for client in clients}
    deadline = time.monotonic() + TIMEOUT
    for client in clients:
        while not (client.knows(ids - {client.id}) and len(client.own) == client.vectors and
                   knows_owners(client, clients)):
            left = max(deadline - time.monotonic(), 0)
            assert client.next(left) is not None, \
                f"{client.id} knows {sorted(client.peers)} instead of {ids}, " \
                f"{'ended' if client.ended else 'no more messages'}"


def read_what_is_there(clients):
    """Let all clients read the messages that have arrived. Return: the clients that are still
    connected."""
    for client in clients:
        while client.next(0):
            pass
    return [client for client in clients if not client.ended]


def take_doorbells(client):
    """Consume a client's doorbells. Return: the vectors that were rung."""
    rung = []
    for vector, fd in enumerate(client.own):
        if select.select([fd], [], [], 0)[0]:
            os.read(fd, 8)
            rung.append(vector)
    return rung


def all_ring_all(clients):
    """Let every client ring every other client on each vector. Check that only that vector receives
    a doorbell."""
    for client in clients:
        take_doorbells(client)
    for rings in clients:
        for rung in clients:
            if rings is rung:
                continue
            for vector, fd in enumerate(rings.peers[rung.id]):
                ring(fd)
                assert [(who.id, take_doorbells(who)) for who in clients if who is not rung] == \
                       [(who.id, []) for who in clients if who is not rung]
                assert take_doorbells(rung) == [vector], (rings.id, rung.id, vector)


def same_memory(clients):
    """Check that all clients were sent the same region."""
    for at, client in enumerate(clients):
        os.pwrite(client.memory, struct.pack("=Q", 77 + at), 0)
        assert all(os.pread(other.memory, 8, 0) == struct.pack("=Q", 77 + at)
                   for other in clients)


class Storm:
    """Threads that each repeatedly start a client, which joins, rings all known peers, and leaves.

    lossy: the server may be killed during the storm, so a client may be lost while it is being
           greeted or sent a message
    quiet: a third of the clients is never told of leaves
    """

    def __init__(self, path, vectors, threads=2, lossy=False, quiet=False):
        self.path = str(path)
        self.vectors = vectors
        self.lossy = lossy
        self.quiet = quiet
        self.joined_n = 0
        self.wrong = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(at,), daemon=True)
                         for at in range(threads)]
        for thread in self._threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()

    def _one(self, at):
        quiet = self.quiet and (self.joined_n + at) % 3 == 0
        with RawClient(self.path, self.vectors, quiet=quiet) as client:
            try:
                client.greeting()
                # Some clients read up to six messages, some read none, and some leave with unread
                # messages.
                for _ in range((self.joined_n + at) % 7):
                    client.next(0.001)
            except ProtocolError:
                raise
            except AssertionError:
                if not (self.lossy and client.ended):
                    raise
                return
            for known in client.peers.values():
                for fd in known:
                    ring(fd)
            self.joined_n += 1

    def _run(self, at):
        try:
            while not self._stop.is_set():
                self._one(at)
        except (AssertionError, OSError) as error:
            self.wrong.append(error)

    def wait(self, joins):
        """Wait until @joins more clients have joined."""
        wanted = self.joined_n + joins
        deadline = time.monotonic() + TIMEOUT
        while self.joined_n < wanted and not self.wrong:
            assert time.monotonic() < deadline, f"only {self.joined_n} of {wanted} have joined"
            time.sleep(0.002)

    def stop(self):
        """Let the last clients finish, and check that no client has seen an error."""
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT * 2)
            assert not thread.is_alive()
        assert not self.wrong, self.wrong
