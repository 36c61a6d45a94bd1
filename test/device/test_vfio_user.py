# SPDX-License-Identifier: BSD-3-Clause
"""vfio-user as a VMM uses it: regions, interrupts, and successive clients."""
import errno
import os
import struct
import threading
import time

import pytest

from support.py import vfio_user as vfu
from support.py.programs import cpu_ticks, wait_until
from support.py.vfio_user import (BAR0, BAR1, BAR2, CONFIG, ERR, EVENTFD, INTX, MASK, MMAP, MSIX,
                                  NONE, READ, TRIGGER, UNMASK, WRITE, BOOL, Device, Refused,
                                  eventfd, fired, memory_file)
from support.py.wire import readable

SIZE = 1 << 16


def serve(place, memory=None, **options):
    """Start a device, and a client that has initialised the device the way a guest driver would."""
    device = place.add(Device(place, memory, **{"size": SIZE, **options}))
    client = place.add(device.client())
    client.start()
    return device, client


def serve_msix(place, vectors=4, **options):
    """Start a device and a client as serve() does, then enable MSI-X and set an eventfd for each
    vector."""
    device, client = serve(place, vectors=vectors, **options)
    client.enable_msix()
    fds = [eventfd() for _ in range(vectors)]
    for vector, fd in enumerate(fds):
        client.set_vector(vector, fd)
    return device, client, fds


def serve_intx(place):
    """Start a device of revision 0 with a pin, and a client that has set an eventfd for the pin and
    has unmasked it."""
    device, client = serve(place, revision=0, vectors=0, intx=1)
    fd = eventfd()
    client.set_irqs(INTX, EVENTFD | TRIGGER, 0, 1, fds=[fd])
    client.write32(BAR0, vfu.INTR_MASK, 1)
    return device, client, fd


# Regions and interrupts


def test_version(place):
    """The reply to VERSION contains version 0.0 and our limits, and does not offer write_multiple.
    """
    device = place.add(Device(place))
    for text in ('{"capabilities":{"max_msg_fds":8}}', "{}", '{"capabilities":{}}', None,
                 '{"capabilities":{"max_msg_fds":1,"twin_socket":{"supported":true}},'
                 '"other":[1,2]}'):
        for minor in (0, 1, 0xffff):
            with device.client(minor=minor, text=text) as client:
                assert client.version == {
                    "capabilities": {"max_msg_fds": 16, "max_data_xfer_size": 1 << 20}}


@pytest.mark.parametrize("body", [
    vfu.version_body(major=1), vfu.version_body(text="{"), vfu.version_body(text="[]"),
    vfu.version_body(text='{"capabilities":[]}'), vfu.version_body(text=""),
    vfu.version_body(text='{"capabilities":{"max_msg_fds":"8"}}'),
    vfu.version_body(text='{"capabilities":{"max_msg_fds":-1}}'),
    vfu.version_body(text="{}\0"), vfu.version_body()[:-1], vfu.version_body(text="[" * 4000)])
def test_other_version_is_refused(place, body):
    """The device drops a client that does not support version 0, logs the reason, and serves the
    next one."""
    device = place.add(Device(place))
    with device.client(greet=False) as client:
        client.send(vfu.VERSION, body)
        assert client.is_gone()
    result, reason = device.wait_gone(1)
    assert result == 3 and reason
    with device.client() as client:
        assert client.info() == (3, 9, 5)


def test_second_version_is_refused(place):
    """A second VERSION request is refused and changes nothing."""
    _, client = serve(place)
    with pytest.raises(Refused) as refused:
        client.greet()
    assert refused.value.errno == errno.EINVAL
    assert client.info() == (3, 9, 5)


def test_regions(place):
    """There are nine regions. Those with a size can be read and written; only BAR 2 can be
    mapped."""
    memory = memory_file(SIZE)
    _, client = serve(place, memory, vectors=4)
    rw = READ | WRITE
    assert client.info() == (1 | 2, 9, 5)
    for index, expected in enumerate([(rw, 256), (rw, 4096), (rw | MMAP, SIZE), (0, 0), (0, 0),
                                      (0, 0),
                                      (0, 0), (rw, 256), (0, 0)]):
        flags, size, offset, fd = client.region_info(index)
        assert (flags, size) == expected and offset == 0 and (fd is not None) == (index == BAR2)
        if fd is not None:
            assert os.fstat(fd).st_ino == os.fstat(memory).st_ino
            os.close(fd)
    with pytest.raises(Refused):
        client.region_info(9)


def test_regions_without_vectors(place):
    """A device without vectors has neither BAR 1 nor MSI-X."""
    _, client = serve(place, vectors=0)
    assert client.region_info(BAR1)[:2] == (0, 0)
    assert [client.irq_info(index) for index in range(5)] == [(0, 0), (0, 0), (0, 0), (1, 1),
                                                              (0, 0)]


def test_irqs(place):
    """The MSI-X interrupt has as many vectors as the device. The ERR interrupt exists because VMMs
    log its absence."""
    _, client = serve(place, vectors=7)
    assert [client.irq_info(index) for index in range(5)] == [(0, 0), (0, 0), (1, 7), (1, 1),
                                                              (0, 0)]
    with pytest.raises(Refused):
        client.irq_info(5)


def test_irq_of_a_pin(place):
    """INTx accepts an eventfd, can be masked, and masks itself when it is raised."""
    _, client = serve(place, revision=0, vectors=0, intx=1)
    assert client.irq_info(INTX) == (1 | 2 | 4, 1)


@pytest.mark.parametrize("command, body", [
    (vfu.GET_INFO, struct.pack("<IIII", 15, 0, 0, 0)),
    (vfu.GET_REGION_INFO, struct.pack("<IIIIQQ", 31, 0, 2, 0, 0, 0)),
    (vfu.GET_IRQ_INFO, struct.pack("<IIII", 15, 0, 2, 0)),
    (vfu.SET_IRQS, struct.pack("<IIIII", 19, 0x21, 2, 0, 0))])
def test_too_small_argsz(place, command, body):
    """A request whose argsz leaves no room for the reply is refused."""
    _, client = serve(place, memory_file(SIZE))
    with pytest.raises(Refused) as refused:
        client.transact(command, body)
    assert refused.value.errno == errno.EINVAL


def test_dma_requests_are_answered(place):
    """The device does no DMA, but it replies to requests that map or unmap the guest's memory,
    because QEMU waits for the replies. It closes the fd of the memory."""
    device, client = serve(place)
    before = device.fds()
    memory = memory_file(4096)
    for fds in ((), (memory,)):
        assert client.transact(vfu.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, 0, 4096),
                               fds).body == b""
    body = struct.pack("<IIQQ", 24, 0, 0, 4096)
    assert client.transact(vfu.DMA_UNMAP, body).body == body
    assert client.transact(vfu.DMA_UNMAP, body + bytes(16)).body == body
    assert device.fds() == before


def test_client_that_takes_no_fds_cannot_map(place):
    """A client that accepts no fds is not sent any, and the reply says that BAR 2 cannot be
    mapped."""
    memory = memory_file(SIZE)
    device = place.add(Device(place, memory, size=SIZE))
    with device.client(text='{"capabilities":{"max_msg_fds":0}}') as client:
        assert client.region_info(BAR2) == (READ | WRITE, SIZE, 0, None)
        assert device.counts()["mapped"] == 0


def test_configuration_space(place):
    """The client reads the device's identity in one access and byte by byte, probes the size of BAR
    2, and resets the device."""
    _, client = serve(place, memory_file(SIZE), vectors=4)
    config = client.read(CONFIG, 0, 256)
    assert config[:4] == struct.pack("<HH", 0x1af4, 0x1110)
    assert b"".join(client.read(CONFIG, at, 1) for at in range(256)) == config
    client.write32(CONFIG, 0x18, 0xffffffff)
    client.write32(CONFIG, 0x1c, 0xffffffff)
    low, high = struct.unpack("<II", client.read(CONFIG, 0x18, 8))
    assert (high << 32 | low & ~0xf) & 0xffffffffffffffff == 2**64 - SIZE
    client.reset()
    assert client.read(CONFIG, 4, 2) == b"\0\0" and client.read(CONFIG, 0x18, 8)[4:] == bytes(4)


@pytest.mark.parametrize("region, offset, count", [
    (BAR0, 256, 4), (BAR0, 252, 8), (BAR0, 0, 257), (BAR0, 2**64 - 4, 4),
    (BAR0, 2**64 - 1, 1 << 20),
    (BAR1, 4096, 1), (BAR2, SIZE - 1, 2), (BAR2, SIZE, 1), (BAR2, 0, 1 << 20), (CONFIG, 255, 2),
    (3, 0, 4), (6, 0, 4), (8, 0, 4), (9, 0, 4), (0xffffffff, 0, 4)])
def test_access_beyond_a_region(place, region, offset, count):
    """A read beyond a region returns zeroes, because Cloud Hypervisor waits for a full-size reply.
    A write beyond a region is ignored."""
    memory = memory_file(SIZE)
    os.pwrite(memory, b"\xaa" * SIZE, 0)
    device, client = serve(place, memory, vectors=4)
    assert client.read(region, offset, count) == bytes(count)
    client.write(region, offset, b"\x55" * count)
    assert os.pread(memory, SIZE, 0) == b"\xaa" * SIZE
    assert device.counts()["memory_writes"] == 0


@pytest.mark.parametrize("body", [
    vfu.access_body(BAR2, 0, 0), vfu.access_body(BAR2, 0, (1 << 20) + 1),
    vfu.access_body(BAR2, 0, 0xffffffff)])
def test_access_of_invalid_length(place, body):
    """Accesses of length 0, or of more than the negotiated maximum, are refused."""
    _, client = serve(place, memory_file(SIZE))
    for command in (vfu.REGION_READ, vfu.REGION_WRITE):
        with pytest.raises(Refused) as refused:
            client.transact(command, body)
        assert refused.value.errno == errno.EINVAL


# Doorbells and interrupts


def test_doorbell_is_rung_before_its_reply(place):
    """A write to the doorbell register is answered only after the peer has been rung."""
    device, client = serve(place)
    for peer, vector in ((0, 0), (1, 2), (65535, 65535)):
        client.write32(BAR0, vfu.DOORBELL, peer << 16 | vector)
        assert device.rung() == [(peer, vector)]
    assert device.counts()["doorbells"] == 3


def test_each_vector_has_its_eventfd(place):
    """Each doorbell causes one interrupt, which is written only to the eventfd of its vector."""
    device, _, fds = serve_msix(place, vectors=40)
    for vector in (0, 39, 7):
        device.doorbell(vector)
        assert [fired(fd) for fd in fds] == [int(at == vector) for at in range(40)]
    device.doorbell(40)
    assert not any(map(fired, fds))
    assert device.counts()["interrupts"] == 3


def test_2048_vectors_16_at_a_time(place):
    """A client can set the eventfds of 2048 vectors, the maximum for MSI-X, with messages of 16
    fds, the maximum for a message."""
    device, client = serve(place, vectors=2048)
    client.enable_msix()
    before = device.fds()
    one = eventfd()
    for start in range(0, 2048, 16):
        client.set_irqs(MSIX, EVENTFD | TRIGGER, start, 16, fds=[one] * 16)
    assert device.fds() == before + 2048
    for vector in (0, 1024, 2047):
        device.doorbell(vector)
        assert fired(one) == 1
    client.set_irqs(MSIX, NONE | TRIGGER, 0, 0)
    assert device.fds() == before


def test_vector_without_eventfd_stays_pending(place):
    """A vector that is rung while it has no eventfd is pending. It is sent when it is assigned an
    eventfd."""
    device, client, fds = serve_msix(place)
    client.set_vector(2, None)
    device.doorbell(2)
    pba = struct.unpack("<I", client.read(CONFIG, client.find_capability(0x11) + 8, 4))[0]
    assert pba & 7 == BAR1
    assert client.read32(BAR1, pba & ~7) == 1 << 2
    client.set_vector(2, fds[2])
    assert fired(fds[2]) == 1, "the interrupt must be sent before the reply"
    assert client.read32(BAR1, pba & ~7) == 0


def test_vectors_masked_by_the_function(place):
    """While the whole PCI function is masked or bus mastering is disabled, vectors that are rung
    stay pending. They are sent once the function is unmasked and bus mastering is enabled."""
    device, client, fds = serve_msix(place)
    client.enable_msix(0xc000)
    device.doorbell(1)
    assert fired(fds[1]) == 0
    client.start(vfu.MEMORY_SPACE)
    client.enable_msix()
    assert fired(fds[1]) == 0
    client.start()
    assert fired(fds[1]) == 1


def test_replaced_eventfd(place):
    """When the eventfd of a vector is replaced, interrupts go to the new eventfd and the old one is
    closed."""
    device, client, fds = serve_msix(place)
    before = device.fds()
    other = eventfd()
    client.set_vector(0, other)
    assert device.fds() == before
    device.doorbell(0)
    assert (fired(fds[0]), fired(other)) == (0, 1)


def test_eventfds_of_a_range_are_removed(place):
    """A SET_IRQS request with EVENTFD but without fds removes the eventfds of the given range and
    no others."""
    device, client, fds = serve_msix(place)
    before = device.fds()
    client.set_irqs(MSIX, EVENTFD | TRIGGER, 1, 2)
    assert device.fds() == before - 2
    for vector in range(4):
        device.doorbell(vector)
    assert [fired(fd) for fd in fds] == [1, 0, 0, 1]


def test_surplus_fds_are_closed(place):
    """If a message carries more eventfds than there are vectors to set, the device uses the first
    ones and closes the rest."""
    device, client, _ = serve_msix(place)
    before = device.fds()
    fds = [eventfd() for _ in range(8)]
    client.set_irqs(MSIX, EVENTFD | TRIGGER, 0, 2, fds=fds)
    assert device.fds() == before
    for vector in range(4):
        device.doorbell(vector)
    assert [fired(fd) for fd in fds] == [1, 1] + [0] * 6


def test_fd_that_is_not_an_eventfd_is_refused(place):
    """A pipe or a file in place of an eventfd could block or kill the device, so the whole message
    is refused."""
    device, client, fds = serve_msix(place)
    before = device.fds()
    reading, writing = os.pipe()
    with open("/dev/null", "wb") as file:
        for bad in (reading, writing, file.fileno()):
            with pytest.raises(Refused) as refused:
                client.set_irqs(MSIX, EVENTFD | TRIGGER, 0, 2, fds=[eventfd(), bad])
            assert refused.value.errno == errno.EINVAL
            with pytest.raises(Refused):
                client.set_irqs(ERR, EVENTFD | TRIGGER, 0, 1, fds=[bad])
    assert device.fds() == before
    device.doorbell(0)
    assert fired(fds[0]) == 1


def test_full_eventfd_does_not_block(place):
    """A client that fills its own eventfd and makes it blocking does not block the device."""
    device, client, fds = serve_msix(place)
    os.set_blocking(fds[0], True)
    os.eventfd_write(fds[0], 2**64 - 2)
    device.doorbell(0)
    assert client.info() == (3, 9, 5)
    client.set_irqs(MSIX, NONE | TRIGGER, 0, 1)
    assert os.eventfd_read(fds[0]) == 2**64 - 2


def test_client_triggers_its_own_vectors(place):
    """A client can trigger all vectors of a range, or those that an array of booleans selects."""
    _, client, fds = serve_msix(place)
    client.set_irqs(MSIX, NONE | TRIGGER, 1, 2)
    assert [fired(fd) for fd in fds] == [0, 1, 1, 0]
    client.set_irqs(MSIX, BOOL | TRIGGER, 0, 4, data=b"\1\0\0\2")
    assert [fired(fd) for fd in fds] == [1, 0, 0, 1]
    fd = eventfd()
    client.set_irqs(ERR, EVENTFD | TRIGGER, 0, 1, fds=[fd])
    assert fired(fd) == 0
    client.set_irqs(ERR, NONE | TRIGGER, 0, 1)
    assert fired(fd) == 1


def test_reset_drops_eventfds(place):
    """After a reset there are no eventfds and no pending vectors, and the registers have their
    power-on values."""
    device, client, fds = serve_msix(place)
    with_all = device.fds()
    client.write32(BAR0, vfu.INTR_MASK, 1)
    client.set_vector(3, None)
    device.doorbell(3)
    client.reset()
    assert device.fds() == with_all - 4
    assert client.read32(BAR0, vfu.INTR_MASK) == 0 and client.read(CONFIG, 4, 2) == b"\0\0"
    client.start()
    client.enable_msix()
    for vector, fd in enumerate(fds):
        client.set_vector(vector, fd)
    assert not any(map(fired, fds))


def test_intx_masks_itself(place):
    """A raised pin causes one interrupt, and no further one until the client unmasks INTx. If the
    pin is still raised at that time, another interrupt follows."""
    device, client, fd = serve_intx(place)
    device.doorbell(0)
    assert fired(fd) == 1
    device.doorbell(0)
    assert fired(fd) == 0
    client.set_irqs(INTX, NONE | UNMASK, 0, 1)
    assert fired(fd) == 1, "the pin is still raised"
    assert client.read32(BAR0, vfu.INTR_STATUS) == 1
    client.set_irqs(INTX, NONE | UNMASK, 0, 1)
    assert fired(fd) == 0
    device.doorbell(0)
    assert fired(fd) == 1


def test_intx_masked_by_the_client(place):
    """The client can mask and unmask INTx, both without data and with a boolean."""
    device, client, fd = serve_intx(place)
    client.set_irqs(INTX, BOOL | MASK, 0, 1, data=b"\0")
    client.set_irqs(INTX, BOOL | MASK, 0, 1, data=b"\1")
    device.doorbell(0)
    assert fired(fd) == 0
    client.set_irqs(INTX, BOOL | UNMASK, 0, 1, data=b"\0")
    assert fired(fd) == 0
    client.set_irqs(INTX, BOOL | UNMASK, 0, 1, data=b"\1")
    assert fired(fd) == 1
    client.set_irqs(INTX, NONE | MASK, 0, 1)
    client.set_irqs(INTX, NONE | UNMASK, 0, 1)
    assert fired(fd) == 1


def test_intx_unmasked_by_eventfd(place):
    """A write to the resample eventfd, as KVM performs it, unmasks INTx."""
    device, client, fd = serve_intx(place)
    resample = eventfd()
    client.set_irqs(INTX, EVENTFD | UNMASK, 0, 1, fds=[resample])
    device.doorbell(0)
    assert fired(fd) == 1
    os.eventfd_write(resample, 1)
    wait_until(lambda: fired(fd) == 1, "the interrupt was sent again")
    assert fired(resample) == 0
    client.set_irqs(INTX, EVENTFD | UNMASK, 0, 1)
    os.eventfd_write(resample, 1)
    assert client.info() and fired(fd) == 0
    assert fired(resample) == 1, "the device still reads the previous eventfd"
    before = device.fds()
    client.set_irqs(INTX, EVENTFD | UNMASK, 0, 1, fds=[resample])
    client.set_irqs(INTX, NONE | TRIGGER, 0, 0)
    assert device.fds() == before - 1


def test_resample_eventfd_that_is_always_ready(place):
    """A client is dropped if its resample eventfd always stays readable, because such an eventfd
    would keep the device busy. A semaphore that is empty after a few reads is accepted."""
    device, client, _ = serve_intx(place)
    soon = os.eventfd(3, os.EFD_NONBLOCK | os.EFD_SEMAPHORE)
    client.set_irqs(INTX, EVENTFD | UNMASK, 0, 1, fds=[soon])
    wait_until(lambda: not readable([soon], 0), "the semaphore is empty")
    assert client.info() == (3, 9, 5)
    always = os.eventfd(2**32 - 1, os.EFD_NONBLOCK | os.EFD_SEMAPHORE)
    client.set_irqs(INTX, EVENTFD | UNMASK, 0, 1, fds=[always])
    assert client.is_gone()
    device.err.wait("has a resample eventfd that cannot be emptied; disconnecting it")
    assert device.counts()["connected"] == 0
    os.close(soon)
    os.close(always)


def test_intx_disabled_by_the_guest(place):
    """While the interrupt disable bit in the command register is set, no INTx interrupt is sent. It
    is sent when the bit is cleared."""
    device, client, fd = serve_intx(place)
    client.start(vfu.MEMORY_SPACE | vfu.INTX_DISABLE)
    device.doorbell(0)
    assert fired(fd) == 0
    client.start()
    assert fired(fd) == 1


def test_intx_with_a_replaced_eventfd(place):
    """A new eventfd leaves INTx masked. Disabling INTx removes the mask."""
    device, client, fd = serve_intx(place)
    device.doorbell(0)
    other = eventfd()
    client.set_irqs(INTX, EVENTFD | TRIGGER, 0, 1, fds=[other])
    assert (fired(fd), fired(other)) == (1, 0)
    client.set_irqs(INTX, NONE | TRIGGER, 0, 0)
    client.set_irqs(INTX, EVENTFD | TRIGGER, 0, 1, fds=[other])
    assert fired(other) == 1


# Several clients


def test_one_client_at_a_time(place):
    """A second client is dropped immediately, and the first is not affected."""
    device, client = serve(place)
    other = vfu.Client(device.path, greet=False)
    assert other.is_gone()
    other.close()
    assert client.info() == (3, 9, 5)


def test_next_client_finds_a_new_device(place):
    """When a client leaves, registers, configuration space and pending interrupts are reset."""
    device, client, fds = serve_msix(place, memory=memory_file(SIZE))
    client.map_memory()
    client.set_vector(0, None)
    device.doorbell(0)
    client.close()
    device.wait_gone(1)
    device.doorbell(0)
    counts = device.counts()
    assert counts["connected"] == counts["mapped"] == counts["asked_migration"] == 0
    with device.client() as client:
        assert client.read(CONFIG, 4, 2) == b"\0\0"
        client.start()
        client.enable_msix()
        client.set_vector(0, fds[0])
        assert fired(fds[0]) == 0


def test_requests_in_a_row(place):
    """A client sends many requests before it reads a reply. All are answered, in order."""
    _, client = serve(place, memory_file(SIZE))
    ids = [client.send(vfu.REGION_READ, vfu.access_body(CONFIG, 0, 4)) for _ in range(200)]
    assert [client.receive().id for _ in ids] == ids


def test_requests_in_one_send(place):
    """If several requests arrive in one send(), each gets its own fds."""
    device, client, fds = serve_msix(place)
    before = device.fds()
    body = vfu.set_irqs_body(MSIX, EVENTFD | TRIGGER, 0, 1)
    read = vfu.pack(vfu.REGION_READ, vfu.access_body(CONFIG, 0, 4), 7)
    client.send_raw(read * 3)
    client.send_raw(vfu.pack(vfu.SET_IRQS, body, 8) + read * 2, [fds[3]])
    assert [client.receive().id for _ in range(6)] == [7, 7, 7, 8, 7, 7]
    device.doorbell(0)
    assert [fired(fd) for fd in fds] == [0, 0, 0, 1]
    assert device.fds() == before


def test_client_that_does_not_read_costs_one_reply(place):
    """While a client does not read its replies, the device stops reading requests from it and uses
    no processor time. When the client reads again, all requests are answered."""
    device, client = serve(place, memory_file(SIZE))
    request = vfu.pack(vfu.REGION_READ, vfu.access_body(BAR2, 0, SIZE), 9)
    client.sock.setblocking(False)
    sent = 0
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            sent += client.sock.send(request)
        except BlockingIOError:
            time.sleep(0.02)  # the device may read one more request
            try:
                sent += client.sock.send(request)
            except BlockingIOError:
                break
    taken = device.counts()["messages"]
    assert taken < 20
    ticks = cpu_ticks(device.pid)
    time.sleep(0.2)
    assert cpu_ticks(device.pid) - ticks <= 5 and device.counts()["messages"] == taken
    client.sock.settimeout(vfu.TIMEOUT)
    if sent % len(request):
        threading.Thread(target=client.sock.sendall, args=(request[sent % len(request):],)).start()
    for _ in range((sent + len(request) - 1) // len(request)):
        assert len(client.receive().body) == 16 + SIZE
    assert client.info() == (3, 9, 5)


def test_counters_of_a_client(place):
    """The device counts clients, their messages, and the requests that it refuses."""
    device, client, _ = serve_msix(place, memory=memory_file(SIZE))
    with pytest.raises(Refused):
        client.irq_info(9)
    with pytest.raises(Refused):
        client.transact(vfu.DMA_READ)
    counts = device.counts()
    assert counts["clients"] == 1 and counts["refused"] == 2 and counts["messages"] > 6
    assert not counts["asked_migration"] and counts["connected"]
    client.close()
    with device.client():
        assert device.counts()["clients"] == 2


def test_refusals_do_not_fill_the_log(place):
    """A client whose requests are all refused causes few log lines."""
    device, client = serve(place)
    for _ in range(500):
        client.send(vfu.GET_INFO, b"")
        assert client.receive().errno == errno.EINVAL
    assert device.err.count("is refused") <= 20
