# SPDX-License-Identifier: BSD-3-Clause
"""vfio-user with hostile clients: the device survives, leaks nothing, and serves the next
client."""
import errno
import os
import random
import select
import socket
import struct

import pytest

from support.py import vfio_user as vfu
from support.py.programs import rss_kib
from support.py.vfio_user import (BAR0, BAR2, CONFIG, EVENTFD, MSIX, TRIGGER, Device, Gone, eventfd,
                               fired, memory_file)

SIZE = 1 << 16


def session():
    """Return: the messages of an entire session, as (bytes, fds): greeting, set-up, use, migration,
    reset."""
    event, memory = eventfd(), memory_file(4096)
    info = [(vfu.GET_INFO, struct.pack("<IIII", 16, 0, 0, 0), ())]
    info += [(vfu.GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, index, 0, 0, 0), ())
             for index in (1, 2)]
    info += [(vfu.GET_IRQ_INFO, struct.pack("<IIII", 16, 0, MSIX, 0), ())]
    use = [(vfu.REGION_READ, vfu.access_body(CONFIG, 0, 64), ()),
           (vfu.REGION_WRITE, vfu.access_body(CONFIG, 4, 2, b"\6\0"), ()),
           (vfu.SET_IRQS, vfu.set_irqs_body(MSIX, EVENTFD | TRIGGER, 0, 2), (event, event)),
           (vfu.REGION_WRITE, vfu.access_body(BAR0, 12, 4, b"\0\0\1\0"), ()),
           (vfu.REGION_WRITE, vfu.access_body(BAR2, 0, 8, b"12345678"), ()),
           (vfu.REGION_READ, vfu.access_body(BAR2, 0, 100), ())]
    state = [(vfu.FEATURE, vfu.feature_body(vfu.SET | vfu.MIG_STATE, struct.pack("<II", to, 0)), ())
             for to in (vfu.STOP_COPY, vfu.RESUMING)]
    migration = [state[0], (vfu.MIG_READ, struct.pack("<II", 58, 50), ()), state[1],
                 (vfu.MIG_WRITE, struct.pack("<II", 16, 8) + b"IVSVFUM\n", ())]
    messages = [(vfu.VERSION, vfu.version_body(), ()),
                (vfu.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 0, 4096), (memory,)), *info, *use,
                *migration, (vfu.RESET, b"", ())]
    return [(vfu.pack(command, body), fds) for command, body, fds in messages]


def serve(place, **options):
    """Start a device whose memory can be migrated."""
    return place.add(Device(place, memory_file(SIZE), size=SIZE, migration="memory", **options))


def assert_alive(device):
    """Check that the device serves another client and is in its power-on state."""
    with device.client() as client:
        assert client.info() == (3, vfu.REGIONS_N, vfu.IRQS_N) and client.get_state() == vfu.RUNNING
        assert client.read(CONFIG, 4, 2) == b"\0\0"


def assert_nothing_left(device, before):
    """Check that the device serves another client and has as many fds as before."""
    with device.client():
        assert device.fds() == before + 1


def play(client, messages, end):
    """Send the first @end bytes of a session. The fds of a message are sent with its first
    bytes."""
    for data, fds in messages:
        if end <= 0:
            return
        client.send_raw(data[:end], fds)
        end -= len(data)


@pytest.mark.parametrize("how", ["close", "reset", "shut"])
def test_disconnect_at_every_byte(place, record_property, how):
    """The device survives a client that, after any byte of a session, closes the connection, closes
    it with unread replies, or shuts down its sending side."""
    device = serve(place)
    messages = session()
    total = sum(len(data) for data, _ in messages)
    before = device.fds()
    failed = []
    for end in range(total + 1):
        client = device.client(greet=False)
        try:
            play(client, messages, end)
            if how == "shut":
                client.sock.shutdown(socket.SHUT_WR)
                while client.sock.recv(65536):
                    pass
            elif how == "reset" and end > 60:
                select.select([client.sock], [], [], vfu.TIMEOUT)
        finally:
            client.close()
        try:
            assert_alive(device)
        except (AssertionError, Gone):
            failed.append(end)
        record_property("case",
                        f"{'not ok' if end in failed else 'ok'} {how} after {end} of {total} bytes")
    assert not failed
    assert_nothing_left(device, before)
    device.stop()


def test_session_in_single_bytes(place):
    """A session that is sent byte by byte works just like one that is sent in whole messages."""
    device = serve(place)
    with device.client(greet=False) as client:
        for data, fds in session():
            client.send_raw(data[:1], fds)
            for at in range(1, len(data)):
                client.send_raw(data[at:at + 1])
            assert not client.receive().flags & vfu.ERROR
    device.stop()


def test_fds_with_any_byte(place):
    """An fd belongs to the message whose bytes it arrives with, even if the fds of a message arrive
    in several parts."""
    device = serve(place)
    with device.client() as client:
        before = device.fds()
        client.start()
        client.enable_msix()
        fds = [eventfd(), eventfd()]
        data = vfu.pack(vfu.SET_IRQS, vfu.set_irqs_body(MSIX, EVENTFD | TRIGGER, 0, 2))
        client.send_raw(data[:10], fds[:1])
        client.send_raw(data[10:30])
        client.send_raw(data[30:], fds[1:])
        assert client.receive().flags == vfu.REPLY
        assert device.fds() == before + 2
        device.doorbell(1)
        assert [fired(fd) for fd in fds] == [0, 1]


def test_too_many_fds_in_parts(place):
    """If a message arrives in two parts with ten fds each, it exceeds the limit of sixteen fds and
    the client is dropped."""
    device = serve(place)
    before = device.fds()
    fds = [eventfd()] * 10
    data = vfu.pack(vfu.SET_IRQS, vfu.set_irqs_body(MSIX, EVENTFD | TRIGGER, 0, 2))
    with device.client() as client:
        client.send_raw(data[:10], fds)
        try:
            client.send_raw(data[10:], fds)
        except Gone:
            pass
        assert client.is_gone()
    assert device.wait_gone(1)[0] == 3
    assert_nothing_left(device, before)


def test_too_many_fds_at_once(place):
    """If a message has 17 fds, the kernel sets MSG_CTRUNC. The device drops the client, because
    this is the client's fault and not a lack of fds."""
    device = serve(place)
    before = device.fds()
    with device.client() as client:
        client.send(vfu.GET_INFO, bytes(16), [eventfd()] * 17)
        assert client.is_gone()
    assert device.wait_gone(1)[0] == 3
    assert_nothing_left(device, before)


@pytest.mark.parametrize("header", [
    struct.pack("<HHIII", 1, vfu.GET_INFO, 15, 0, 0),
    struct.pack("<HHIII", 1, vfu.GET_INFO, 0, 0, 0),
    struct.pack("<HHIII", 1, vfu.REGION_WRITE, vfu.MESSAGE_MAX + 1, 0, 0),
    struct.pack("<HHIII", 1, vfu.REGION_WRITE, 0xffffffff, 0, 0),
    struct.pack("<HHIII", 1, vfu.GET_INFO, 32, 1, 0),
    struct.pack("<HHIII", 1, vfu.GET_INFO, 32, 2, 0),
    struct.pack("<HHIII", 1, vfu.GET_INFO, 32, 0xf, 0)])
@pytest.mark.parametrize("greet", [True, False])
def test_invalid_headers(place, header, greet):
    """A message that is not a request, or has an invalid size, ends the connection, because the
    start of the next message is unknown."""
    device = serve(place)
    before = device.fds()
    with device.client(greet=greet) as client:
        client.send_raw(header)
        assert client.is_gone()
    result, reason = device.wait_gone(1)
    assert result == 3 and reason
    assert_nothing_left(device, before)


def test_reasons_of_disconnects(place):
    """The reported reason says whether a client has disconnected in the middle of a message or
    between messages."""
    device = serve(place)
    device.client().close()
    assert device.wait_gone(1)[0] == 1
    client = device.client()
    client.send_raw(b"half a header")
    client.close()
    assert device.wait_gone(2)[0] == 2
    client = device.client()
    client.send_raw(vfu.pack(vfu.GET_INFO, bytes(15), size=32))
    client.close()
    assert device.wait_gone(3)[0] == 2
    device.client(greet=False).close()
    assert device.wait_gone(4)[0] == 1


def test_incomplete_message(place):
    """A client that sends half of a large message and then nothing does not make the device use
    processor time. It can complete the message later."""
    from support.py.programs import cpu_ticks
    device = serve(place)
    with device.client() as client:
        client.send_raw(vfu.pack(vfu.REGION_WRITE, bytes(1000), size=vfu.MESSAGE_MAX))
        assert device.counts()["connected"] == 1
        ticks = cpu_ticks(device.pid)
        assert client.hears_nothing(0.3)
        assert cpu_ticks(device.pid) - ticks <= 3
        client.send_raw(bytes(vfu.MESSAGE_MAX - 1016))
        assert client.receive().flags & vfu.ERROR


def test_fds_of_any_kind(place):
    """Every command is sent with fds of pipes, a directory, an epoll instance and memory. The
    device closes all of them."""
    device = serve(place)
    reading, writing = os.pipe()
    folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    poll = select.epoll()
    fds = [reading, writing, folder, poll.fileno(), memory_file(4096)]
    with device.client() as client:
        before = device.fds()
        for command in range(1, 20):
            for fd in fds:
                client.send(command, bytes(20), [fd])
                client.receive().close()
        body = vfu.set_irqs_body(vfu.INTX, EVENTFD | vfu.UNMASK, 0, 1)
        for fd in fds:
            client.send(vfu.SET_IRQS, body, [fd])
            assert client.receive().flags & vfu.ERROR
        assert device.fds() == before
    for fd in (reading, writing, folder):
        os.close(fd)
    device.wait_gone(1)
    device.stop()


@pytest.mark.parametrize("command", range(1, 20))
def test_client_that_sends_a_socket_is_dropped(place, command):
    """A client that passes a socket is dropped, because the device needs no sockets from clients,
    and close() of a socket can block for a long time."""
    device = serve(place)
    before = device.fds()
    for itself in (False, True):
        with socket.socket(socket.AF_UNIX) as other, device.client() as client:
            client.send(command, bytes(20), [(client.sock if itself else other).fileno()])
            assert client.is_gone()
    device.wait_gone(2)
    assert device.fds() == before
    device.stop()


def test_process_without_free_fds(place):
    """If the process has too few fds left to receive those of a request, it refuses the request
    with EMFILE. The client stays connected, because it has not broken a rule, and a VMM would not
    reconnect."""
    import resource
    device = serve(place)
    now = device.fds()
    resource.prlimit(device.pid, resource.RLIMIT_NOFILE, (now + 4, now + 4))
    with device.client() as client:
        with pytest.raises(vfu.Refused) as refused:
            client.transact(vfu.SET_IRQS, vfu.set_irqs_body(MSIX, EVENTFD | TRIGGER, 0, 4),
                            [eventfd()] * 4)
        assert refused.value.errno == errno.EMFILE
        assert client.info()
    device.wait_gone(1)
    assert_nothing_left(device, now)
    device.stop()


def test_memory_is_bounded(place):
    """The memory that the device uses is bounded: it buffers at most one large request, reply or
    text at a time."""
    device = serve(place)
    text = '{"capabilities":{"x":[' + "1," * 1900 + "1]}}"
    before = rss_kib(device.pid)
    for _ in range(20):
        with device.client(text=text) as client:
            for _ in range(5):
                client.send(vfu.REGION_WRITE, bytes(vfu.MESSAGE_MAX - 16))
                client.receive()
                client.transact(vfu.REGION_READ, vfu.access_body(BAR2, 0, 1 << 20))
    assert rss_kib(device.pid) - before < device.grows_kib()


def random_bytes(rng):
    """Return: the bytes of random messages, most of which have a valid header."""
    data = b""
    for _ in range(rng.randrange(1, 12)):
        command = rng.choice([*range(1, 19), rng.randrange(65536)])
        body = rng.choice([rng.randbytes(rng.randrange(64)), bytes(rng.randrange(64)),
                           vfu.set_irqs_body(rng.randrange(6), rng.randrange(64), rng.randrange(5),
                                             rng.randrange(5)),
                           vfu.access_body(rng.randrange(10), rng.randrange(300),
                                           rng.randrange(64)),
                           vfu.feature_body(rng.choice([vfu.GET, vfu.SET,
                                                        vfu.PROBE]) | rng.randrange(4),
                                            struct.pack("<II", rng.randrange(8), 0))])
        flags = rng.choice([0, 0, 0, 0, vfu.NO_REPLY, rng.randrange(64)])
        size = None if rng.randrange(20) else rng.randrange(100)
        data += vfu.pack(command, body, rng.randrange(65536), flags, size)
    return data


def test_random_messages(place, record_property):
    """The device survives random messages that are sent in random pieces, with a random number of
    fds."""
    device = serve(place)
    before = device.fds()
    event = eventfd()
    for seed in range(300):
        rng = random.Random(seed)
        with device.client(greet=rng.randrange(10) > 0) as client:
            data = random_bytes(rng)
            try:
                while data:
                    at = rng.randrange(1, len(data) + 1)
                    client.send_raw(data[:at], [event] * rng.choice([0, 0, 0, 1, 2, 16, 17]))
                    data = data[at:]
            except Gone:
                pass
        assert_alive(device)
        record_property("case", f"ok noise {seed}")
    assert_nothing_left(device, before)
    device.stop()
