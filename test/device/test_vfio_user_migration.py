# SPDX-License-Identifier: BSD-3-Clause
"""Migration over vfio-user: VFIO's states, streams that are written and read in pieces, and invalid
streams."""
import errno
import os
import random
import struct

import pytest

from support.py import vfio_user as vfu
from support.py.vfio_user import (BAR0, BAR1, CONFIG, RESUMING, RUNNING, STATE_ERROR, STOP,
                                  STOP_COPY, Device, Refused, eventfd, fired, memory_file)

SIZE = 1 << 16
SUM_LEN = 16


def serve(place, memory=None, name="source", **options):
    """Start a device that can be migrated, and a client."""
    device = place.add(Device(place, memory, name=name,
                              **{"size": SIZE, "migration": "device", **options}))
    return device, place.add(device.client())


def refused(function, *arguments):
    """Make the call, which must be refused. Return: the errno of the refusal."""
    with pytest.raises(Refused) as caught:
        function(*arguments)
    return caught.value.errno


def feature(client, flags, data=b"", argsz=16):
    """Send DEVICE_FEATURE with these flags and this data. Return: the body of the reply."""
    return client.transact(vfu.FEATURE, vfu.feature_body(flags, data, argsz)).body


def use(client):
    """Change everything that a guest can change and that the migrated state includes. Return: what
    seen() reads afterwards."""
    client.start()
    client.enable_msix()
    client.write32(BAR0, vfu.INTR_MASK, 0x12345678)
    client.write(BAR1, 16, os.urandom(16))
    client.write(CONFIG, 0x10, b"\0\x10\0\xfe")
    client.write(CONFIG, 0x3c, b"\x0b")
    return seen(client)


def seen(client):
    """Return: the registers, the MSI-X table and the configuration space as a guest reads them."""
    return (client.read32(BAR0, vfu.INTR_MASK), [client.read32(BAR1, at) for at in range(0, 64, 4)],
            client.read(CONFIG, 0, 256))


# VFIO's rules for migration features and states


def test_features(place):
    """The device has the features MIGRATION and MIG_DEVICE_STATE, and returns the errors that VFIO
    specifies."""
    device, client = serve(place)
    assert device.counts()["asked_migration"] == 0
    assert feature(client, vfu.GET | vfu.MIGRATION) == struct.pack("<IIQ", 16, vfu.GET | 1, 1)
    assert device.counts()["asked_migration"] == 1
    assert feature(client, vfu.GET | vfu.MIG_STATE) == struct.pack("<IIII", 16, vfu.GET | 2,
                                                                   RUNNING, 0)
    for good in (vfu.GET | vfu.MIGRATION, vfu.GET | vfu.MIG_STATE, vfu.SET | vfu.MIG_STATE,
                 vfu.GET | vfu.SET | vfu.MIG_STATE, vfu.MIG_STATE, vfu.MIGRATION):
        body = vfu.feature_body(vfu.PROBE | good, argsz=8)
        assert client.transact(vfu.FEATURE, body).body == body
    for bad in (vfu.SET | vfu.MIGRATION, vfu.PROBE | vfu.SET | vfu.MIGRATION, vfu.MIGRATION,
                vfu.MIG_STATE,
                vfu.GET | vfu.SET | vfu.MIG_STATE, 1 << 19 | vfu.GET | vfu.MIGRATION):
        assert refused(feature, client, bad) == errno.EINVAL
    for unknown in (0, 3, 6, 7, 8, 0xffff):
        for method in (vfu.GET, vfu.SET, vfu.PROBE, vfu.PROBE | vfu.GET):
            assert refused(feature, client, method | unknown) == errno.ENOTTY
    assert refused(feature, client, vfu.GET | vfu.MIGRATION, b"", 15) == errno.EINVAL
    assert refused(feature, client, vfu.PROBE | vfu.MIGRATION, b"", 7) == errno.EINVAL


def test_device_that_cannot_be_migrated(place):
    """A device that cannot be migrated does not have the feature MIGRATION. Its status shows that a
    client has queried the feature."""
    device, client = serve(place, migration="not")
    assert device.counts()["asked_migration"] == 0
    for flags in (vfu.GET | vfu.MIGRATION, vfu.PROBE | vfu.GET | vfu.MIGRATION,
                  vfu.GET | vfu.MIG_STATE):
        assert refused(feature, client, flags) == errno.ENOTTY
    assert refused(client.set_state, STOP) == errno.ENOTTY
    assert refused(client.read_data, 1) == errno.EINVAL
    assert device.counts()["asked_migration"] == 1


STATES = [STATE_ERROR, STOP, RUNNING, STOP_COPY, RESUMING]


@pytest.mark.parametrize("start", STATES)
def test_transitions(place, record_property, start):
    """A client can set every state except ERROR, from every state except ERROR. Only a reset leaves
    ERROR."""
    _, client = serve(place)
    failed = []
    for to in [*STATES, 5, 6, 7, 8, 0xffffffff]:
        client.reset()
        if start == STATE_ERROR:
            client.set_state(RESUMING)
            assert refused(client.set_state, STOP) == errno.EINVAL
        else:
            client.set_state(start)
        # Leaving RESUMING without a loaded state leads to ERROR.
        good = start != STATE_ERROR and to in STATES[1:] and (start != RESUMING or to == RESUMING)
        after = to if good else start
        if start == RESUMING and to in (STOP, RUNNING, STOP_COPY):
            after = STATE_ERROR
        try:
            client.set_state(to)
            got = 0
        except Refused as error:
            got = error.errno
        wrong = got != (0 if good else errno.EINVAL) or client.get_state() != after
        failed += [to] * wrong
        record_property("case", f"{'not ok' if wrong else 'ok'} {start} to {to}")
    assert not failed
    client.reset()
    assert client.get_state() == RUNNING


def test_set_state_of_other_lengths(place):
    """A request to set the state is refused unless its data is as long as the state and the fd
    together."""
    _, client = serve(place)
    for data in (b"", bytes(4), bytes(7), bytes(9), bytes(16)):
        assert refused(feature, client, vfu.SET | vfu.MIG_STATE, data) == errno.EINVAL
    assert client.get_state() == RUNNING


def test_stopped_device(place):
    """A stopped device neither sends interrupts nor rings peers. When it runs again, pending
    interrupts are sent."""
    device, client = serve(place, vectors=4)
    client.start()
    client.enable_msix()
    fd = eventfd()
    client.set_vector(1, fd)
    for state in (STOP, STOP_COPY, RESUMING):
        client.set_state(state)
        device.doorbell(1)
        client.write32(BAR0, vfu.DOORBELL, 7 << 16)
        assert client.info() and fired(fd) == 0 and device.rung() == []
        client.reset()
        client.start()
        client.enable_msix()
        client.set_vector(1, fd)
    client.set_state(STOP)
    device.doorbell(1)
    client.set_state(RUNNING)
    assert fired(fd) == 1


# Migration from one process to another


@pytest.mark.parametrize("piece", [1 << 20, 4096, 1000, 7, 1])
def test_state_moves(place, piece):
    """After a migration the destination has the guest's settings and sends pending interrupts. BAR
    2 is not changed."""
    memories = [memory_file(SIZE), memory_file(SIZE)]
    os.pwrite(memories[0], b"source", 0)
    source, client = serve(place, memories[0], vectors=4)
    _, other = serve(place, memories[1], name="destination", vectors=4)
    before = use(client)
    source.doorbell(3)
    data = client.save(piece)
    assert len(data) < SIZE
    fd = eventfd()
    other.set_vector(3, fd)
    other.load(data, piece)
    assert seen(other) == before and other.get_state() == RUNNING
    assert fired(fd) == 1
    assert os.pread(memories[1], SIZE, 0) == bytes(SIZE)
    client.set_state(RUNNING)
    assert seen(client) == before, "the state of the source must not change"


@pytest.mark.parametrize("seals", [True, False])
@pytest.mark.parametrize("offset", [0, 4096])
def test_memory_moves(place, seals, offset):
    """If the device migrates its memory, the contents of BAR 2 are migrated as well, even if BAR 2
    shows only a window."""
    memories = [memory_file(SIZE + offset, seals), memory_file(SIZE + offset, seals)]
    content = os.urandom(SIZE)
    os.pwrite(memories[0], content, offset)
    _, client = serve(place, memories[0], offset=offset, migration="memory")
    _, other = serve(place, memories[1], offset=offset, migration="memory", name="destination")
    before = use(client)
    data = client.save(40000)
    assert len(data) > SIZE
    other.load(data, 30001)
    assert seen(other) == before
    assert os.pread(memories[1], SIZE, offset) == content
    assert os.pread(memories[1], offset, 0) == bytes(offset)


def test_pin_moves(place):
    """Status and Mask of a device of revision 0 are migrated, and the pin is raised at the
    destination."""
    options = {"revision": 0, "vectors": 0, "intx": 1}
    source, client = serve(place, **options)
    _, other = serve(place, name="destination", **options)
    client.start()
    client.write32(BAR0, vfu.INTR_MASK, 1)
    source.doorbell(0)
    fd = eventfd()
    other.set_irqs(vfu.INTX, vfu.EVENTFD | vfu.TRIGGER, 0, 1, fds=[fd])
    other.load(client.save())
    assert fired(fd) == 1 and other.read32(BAR0, vfu.INTR_STATUS) == 1


def test_saving_and_loading_twice(place):
    """The same state can be saved again, and a second stream can be loaded over the first one."""
    _, client = serve(place)
    _, other = serve(place, name="destination")
    use(client)
    first = client.save()
    assert client.save() == first
    client.set_state(RUNNING)
    client.write32(BAR0, vfu.INTR_MASK, 0xaa)
    second = client.save()
    other.load(first)
    assert other.read32(BAR0, vfu.INTR_MASK) == 0x12345678
    other.load(second)
    assert other.read32(BAR0, vfu.INTR_MASK) == 0xaa


def test_stream_is_a_snapshot(place):
    """The stream contains the state as it was when saving began."""
    _, client = serve(place)
    use(client)
    first = client.save()
    client.set_state(STOP_COPY)
    data = client.read_data(50)
    client.write32(BAR0, vfu.INTR_MASK, 0xbb)
    assert data + client.read_data(1 << 20) == first


def test_end_of_the_stream(place):
    """At the end of the stream a read returns less than requested, and the next read returns
    nothing. A read is refused if argsz is too small for the requested length."""
    _, client = serve(place)
    length = len(client.save())
    client.set_state(STOP_COPY)
    assert len(client.read_data(length)) == length
    assert client.read_data(1) == client.read_data(1 << 20) == client.read_data(0) == b""
    for argsz, size in ((8, 1), (0, 0), (7, 0), (1 << 20, 1 << 20), (0xffffffff, (1 << 20) + 1),
                        (0xffffffff, 0xffffffff), (7, 0xffffffff)):
        with pytest.raises(Refused):
            client.transact(vfu.MIG_READ, struct.pack("<II", argsz, size))


# Bad streams


def try_load(client, data, piece=4096):
    """Try to load a stream. Return: whether it was refused at any point. If so, the device must be
    in state ERROR."""
    client.set_state(RESUMING)
    try:
        for at in range(0, len(data), piece):
            client.write_data(data[at:at + piece])
    except Refused as error:
        assert error.errno == errno.EINVAL
    try:
        client.set_state(RUNNING)
    except Refused as error:
        assert error.errno == errno.EINVAL and client.get_state() == STATE_ERROR
        return True
    return False


def check_refused(place, record_property, streams):
    """Check that every stream is refused and does not change what seen() reads."""
    _, client = serve(place, name="destination")
    before = None
    failed = []
    for name, data in streams:
        client.reset()
        before = before or seen(client)
        if not try_load(client, data) or seen(client) != before:
            failed.append(name)
        record_property("case", f"{'not ok' if name in failed else 'ok'} {name}")
    assert not failed
    assert client.get_state() == STATE_ERROR
    client.reset()
    assert client.get_state() == RUNNING


def good_stream(place, **options):
    """Return: the stream of a device that has been used."""
    _, client = serve(place, **options)
    use(client)
    return client.save()


def test_every_truncation_is_refused(place, record_property):
    """A stream that is truncated to any length is refused."""
    data = good_stream(place)
    check_refused(place, record_property, ((f"{n} of {len(data)} bytes", data[:n])
                                           for n in range(len(data))))


def test_every_changed_byte_is_refused(place, record_property):
    """A stream in which one bit or all bits of any byte are inverted is refused."""
    data = good_stream(place)

    def streams():
        for at in range(len(data)):
            for change in (1 << at % 8, 0xff):
                yield (f"byte {at} changed by {change:#x}",
                       data[:at] + bytes([data[at] ^ change]) + data[at + 1:])
    check_refused(place, record_property, streams())


def test_other_streams_are_refused(place, record_property):
    """Streams with surplus bytes or swapped words, streams from other devices, and random bytes are
    refused."""
    data = good_stream(place)
    rng = random.Random(1)
    memory = memory_file(SIZE)
    streams = [("a byte more", data + b"\0"), ("twice", data * 2),
               ("a page more", data + bytes(4096)),
               ("exchanged", data[:40] + data[48:56] + data[40:48] + data[56:])]
    streams += [("of more vectors", good_stream(place, name="more", vectors=5)),
                ("with memory", good_stream(place, name="memory", memory=memory,
                                            migration="memory")),
                ("of revision 0", good_stream_of_a_pin(place))]
    streams += [(f"noise {n}", rng.randbytes(n)) for n in (1, 31, 32, 33, 1000, len(data))]
    streams += [(f"a header and noise {n}", data[:32] + rng.randbytes(n))
                for n in (8, len(data) - 32)]
    check_refused(place, record_property, streams)


def good_stream_of_a_pin(place):
    """Return: the stream of a device with INTx."""
    _, client = serve(place, name="pin", revision=0, vectors=0, intx=1)
    return client.save()


def stream_sum(data):
    """Return: the checksum of a stream, as src/vfio_user/stream.h describes it."""
    total = running = 0
    padded = data + bytes(-len(data) % 8)
    for word, in struct.iter_unpack("<Q", padded):
        total = (total + word) % 2**64
        running = (running + total) % 2**64
    return struct.pack("<QQ", total, running)


def test_forged_streams(place, record_property):
    """If a stream has a valid checksum but possibly an impossible state, the device survives and,
    if it accepts the state, a client can use the device."""
    data = good_stream(place)
    assert stream_sum(data[:-SUM_LEN]) == data[-SUM_LEN:]
    _, client = serve(place, name="destination")
    rng = random.Random(2)
    refusals = 0
    for number in range(300):
        forged = bytearray(data[:-SUM_LEN])
        for _ in range(rng.randrange(1, 5)):
            forged[rng.randrange(32, len(forged))] = rng.randrange(256)
        client.reset()
        refusals += try_load(client, bytes(forged) + stream_sum(bytes(forged)))
        seen(client)
        record_property("case", f"ok forged {number}")
    assert refusals > 100
    client.reset()
    client.load(data)


def test_header_is_checked_first(place):
    """If the header of a stream comes from a different device, the memory in the stream is not
    loaded."""
    memory = memory_file(2 * SIZE)
    data = good_stream(place, memory=memory, migration="memory", size=SIZE)
    target = memory_file(2 * SIZE)
    _, client = serve(place, target, name="destination", migration="memory", size=2 * SIZE)
    assert try_load(client, data)
    assert os.pread(target, 2 * SIZE, 0) == bytes(2 * SIZE)


# Memory, present and absent


def test_migration_without_memory(place):
    """A device without memory refuses both to save and to load its state, so that the VMM gets an
    error before it starts the transfer."""
    device, client = serve(place, migration="memory")
    for state in (STOP_COPY, RESUMING):
        assert refused(client.set_state, state) == errno.ENODEV
        assert client.get_state() == STOP
    client.set_state(RUNNING)
    memory = memory_file(SIZE)
    device.set_memory(memory)
    client.save()


def test_migration_into_read_only_memory(place):
    """A read-only device refuses a stream with memory."""
    memory = memory_file(SIZE)
    data = good_stream(place, memory=memory, migration="memory")
    _, client = serve(place, memory, name="destination", migration="memory", writable=False)
    assert try_load(client, data)


def test_memory_truncated_during_the_migration(place):
    """If a peer truncates the region during the migration, the migration fails."""
    memory = memory_file(SIZE, seals=False)
    _, client = serve(place, memory, migration="memory")
    client.set_state(STOP_COPY)
    client.read_data(1024)
    os.ftruncate(memory, 4096)
    assert refused(client.read_data, SIZE) == errno.EIO
    client.set_state(STOP)


def test_migration_of_a_gigabyte(place):
    """1 GiB of memory is transferred in pieces, and neither process grows."""
    size = 1 << 30
    memories = [memory_file(size), memory_file(size)]
    places = [0, 12345678, size // 2 + 3, size - 5]
    for at in places:
        os.pwrite(memories[0], b"here!", at)
    source, client = serve(place, memories[0], size=size, migration="memory", name="source")
    target, other = serve(place, memories[1], size=size, migration="memory", name="destination")
    before = private_kib(source.pid), private_kib(target.pid)
    client.set_state(STOP_COPY)
    other.set_state(RESUMING)
    total = most = 0
    while piece := client.read_data(1 << 20):
        other.write_data(piece)
        total += len(piece)
        if total % (64 << 20) < 1 << 20:
            most = max(most, private_kib(source.pid) - before[0],
                       private_kib(target.pid) - before[1])
    other.set_state(RUNNING)
    assert total > size
    assert all(os.pread(memories[1], 5, at) == b"here!" for at in places)
    assert most < source.grows_kib(), f"{most} KiB"


def private_kib(pid):
    """Return: the resident memory of a process in KiB, without shared pages such as the region."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["RssAnon"].split()[0])


def test_disconnect_during_the_migration(place):
    """If a client disconnects while saving or loading, none of its state remains, and the next
    client starts from the beginning."""
    device, client = serve(place)
    before = device.fds() - 1
    data = client.save()
    client.set_state(STOP_COPY)
    client.read_data(10)
    client.close()
    device.wait_gone(1)
    with device.client() as client:
        assert client.get_state() == RUNNING
        client.set_state(RESUMING)
        client.write_data(data[:100])
    device.wait_gone(2)
    with device.client() as client:
        client.load(data)
    device.wait_gone(3)
    assert device.fds() == before
    device.stop()
