# SPDX-License-Identifier: BSD-3-Clause
"""A changing set of clients of one server, and the correct list of peers, which all clients must
receive."""
import contextlib
import os
import select
import socket
import struct
import time

from support.py.programs import TIMEOUT
from support.py.wire import RawClient, readable, ring

PEERS_MAX = 4  # the server's --max-peers
VECTORS = 2


def peer_inode(sock):
    """Return: the inode of the socket at the other end of a UNIX socket; None if the kernel does
    not show it."""
    netlink_sock_diag, by_family, show_peer, peer = 4, 20, 4, 2
    request = struct.pack("=BBHIII2I", socket.AF_UNIX, 0, 0, 0xffffffff,
                          os.fstat(sock.fileno()).st_ino, show_peer, 0xffffffff, 0xffffffff)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, netlink_sock_diag) as diag:
            diag.settimeout(TIMEOUT)
            diag.send(struct.pack("=IHHII", 16 + len(request), by_family, 1, 1, 0) + request)
            data = diag.recv(8192)
    except OSError:
        return None
    at = 16 + 16  # after the headers of the netlink message and of the reply
    while struct.unpack_from("=H", data, 4)[0] == by_family and at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if kind == peer:
            return struct.unpack_from("=I", data, at + 4)[0]
        at += (length + 3) & ~3
    return None


class Story:
    """Clients that join and leave, and the correct list of peers.

    clients:  connected clients that read
    asleep:   {client: id} of connected clients that do not read
    greeted:  {client: inode of the server's end of its connection} for all clients so far
    lost:     clients that the server has refused or dropped without a reason
    refusals: number of correctly refused clients
    """

    def __init__(self, serving):
        self.serving = serving
        self.clients = []
        self.asleep = {}
        self.greeted = {}
        self.lost = []
        self.refusals = 0
        self._made = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._made.close()

    def connect(self):
        """Connect a client that has read nothing yet."""
        return self._made.enter_context(RawClient(self.serving.path, VECTORS))

    def join(self, client=None):
        """Let a client join, unless the maximum is reached; all clients receive its join."""
        if not client and len(self.clients) + len(self.asleep) == PEERS_MAX:
            self.one_too_many()
            return None
        client = client or self.connect()
        self.clients.append(client)
        self.settle()
        return client

    def fall_asleep(self):
        """Let a client join that does not read; all others receive its join."""
        client = self.connect()
        data = b""
        poller = select.poll()
        poller.register(client.sock, select.POLLIN)
        while len(data) < 16 and not self._has_hung_up(client):  # version and id
            assert poller.poll(TIMEOUT * 1000), "no greeting arrived"
            data = client.sock.recv(16, socket.MSG_PEEK)
        if len(data) < 16:
            self.lost.append(client)
        else:
            self.asleep[client], = struct.unpack_from("<q", data, 8)
        self.settle()
        return client

    def wake(self, client):
        """Let a client that was not reading read everything."""
        if self.asleep.pop(client, None) is not None:
            self.join(client)

    @staticmethod
    def _has_hung_up(client):
        poller = select.poll()
        poller.register(client.sock, select.POLLRDHUP)
        return bool(poller.poll(0))

    def _read(self):
        for client in self.clients:
            while client.next(0):
                pass
        for client in [client for client in self.clients if client.ended]:
            self.clients.remove(client)
            self.lost.append(client)
        for client in filter(self._has_hung_up, list(self.asleep)):
            del self.asleep[client]
            self.lost.append(client)

    def _knows_truth(self, client):
        others = {other.id for other in self.clients if other is not client}
        return len(client.history) >= 3 and len(client.own) == VECTORS and \
            client.knows(others | set(self.asleep.values()))

    def settle(self):
        """Let all clients read until each knows exactly the others."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            self._read()
            if all(self._knows_truth(client) for client in self.clients):
                break
            poller = select.poll()
            for client in self.clients:
                poller.register(client.sock, select.POLLIN)
            for client in self.asleep:
                poller.register(client.sock, select.POLLRDHUP)
            left = deadline - time.monotonic()
            assert left > 0 and poller.poll(left * 1000), "no messages arrive; they know " + str(
                {client.id: sorted(client.peers) for client in self.clients})
        for client in [*self.clients, *self.asleep]:
            if client not in self.greeted:
                self.greeted[client] = peer_inode(client.sock)

    def leave(self, client, how=RawClient.close):
        """Let a client disconnect or, with @how, do something for which it is dropped; the others
        receive its leave."""
        if client not in self.clients:
            return  # the server has already dropped the client
        self.clients.remove(client)
        how(client)
        if how is not RawClient.close:
            client.read_to_end()
        self.settle()

    def one_too_many(self):
        """Connect a client when the maximum has been reached: it must be refused. But if a client
        has been lost, there is room for the new client, which joins."""
        client = self.connect()
        if len(self.clients) + len(self.asleep) < PEERS_MAX:
            self.join(client)
            return
        assert client.next() is None and client.ended, "accepted beyond --max-peers"
        self.refusals += 1
        self.settle()

    def ring_all(self):
        """Let every client ring every vector of every client, including its own vectors. Check that
        only that vector receives the doorbell."""
        for sender in self.clients:
            for receiver in self.clients:
                fds = receiver.own if receiver is sender else sender.peers[receiver.id]
                for vector, fd in enumerate(fds):
                    ring(fd)
                    for client in self.clients:
                        expected = [vector] if client is receiver else []
                        assert readable(client.own) == expected, "the wrong doorbell rang"
                    os.read(receiver.own[vector], 8)

    def end(self):
        """Let all clients leave, one at a time. Let clients that were dropped read what they were
        sent, because the server keeps their sockets until then."""
        for client in self.lost:
            client.read_to_end()
        while self.clients:
            self.leave(self.clients[-1])
