# SPDX-License-Identifier: BSD-3-Clause
"""Tests of all vfio-user commands in every state, with bodies of every length, with and without
fds.

The expected results are computed from the rules in the specification and in the comments of
src/vfio_user/table.c, never from earlier output.
"""
import errno
import os
import struct

import pytest

from support.py import vfio_user as vfu
from support.py.vfio_user import Device, Gone, Refused, memory_file

SIZE = 1 << 16
VECTORS = 4

#: The length of the shortest and of the longest body of each command.
LENGTHS = {
    vfu.VERSION: (4, 4 + 4096),
    vfu.DMA_MAP: (32, 32),
    vfu.DMA_UNMAP: (24, 40),
    vfu.GET_INFO: (16, 20),
    vfu.GET_REGION_INFO: (32, 32),
    vfu.GET_IRQ_INFO: (16, 16),
    vfu.SET_IRQS: (20, 20 + 2048),
    vfu.REGION_READ: (16, 16),
    vfu.REGION_WRITE: (16, 16 + vfu.DATA_MAX),
    vfu.RESET: (0, 0),
    vfu.FEATURE: (8, 8 + 256),
    vfu.MIG_READ: (8, 8),
    vfu.MIG_WRITE: (8, 8 + vfu.DATA_MAX),
}
COMMANDS = [0, *range(1, 19), 19, 0xffff]
STATES = ["new", "live", "absent", "readonly", "stop", "stop_copy", "resuming", "error"]
LENGTH_KINDS = ["short", "least", "good", "most", "long", "huge", "over"]
FDS = [0, 1, vfu.FDS_MAX, vfu.FDS_MAX + 1]
HUGE = vfu.MESSAGE_MAX - 16


def good_body(command):
    """Return: a body that every device of these tests must accept in all states that allow the
    command."""
    return {
        vfu.VERSION: vfu.version_body(),
        vfu.DMA_MAP: struct.pack("<IIQQQ", 32, 3, 0, 0, 4096),
        vfu.DMA_UNMAP: struct.pack("<IIQQ", 24, 0, 0, 4096),
        vfu.GET_INFO: struct.pack("<IIII", 16, 0, 0, 0),
        vfu.GET_REGION_INFO: struct.pack("<IIIIQQ", 32, 0, vfu.BAR2, 0, 0, 0),
        vfu.GET_IRQ_INFO: struct.pack("<IIII", 16, 0, vfu.MSIX, 0),
        vfu.SET_IRQS: vfu.set_irqs_body(vfu.MSIX, vfu.NONE | vfu.TRIGGER, 0, 0),
        vfu.REGION_READ: vfu.access_body(vfu.BAR2, 8, 4),
        vfu.REGION_WRITE: vfu.access_body(vfu.BAR2, 8, 4, b"abcd"),
        vfu.RESET: b"",
        vfu.FEATURE: vfu.feature_body(vfu.GET | vfu.MIGRATION),
        vfu.MIG_READ: struct.pack("<II", 108, 100),
        vfu.MIG_WRITE: struct.pack("<II", 16, 8) + b"IVSVFUM\n",
    }[command]


def make_body(command, kind):
    """Return: a body of this kind (too short, too long, ...), or None if the command cannot have
    such a body."""
    least, most = LENGTHS.get(command, (0, 0))
    length = {"short": least - 1, "least": least, "most": most, "long": most + 1, "huge": HUGE,
              "over": HUGE + 1}.get(kind)
    good = good_body(command) if command in LENGTHS else b""
    if kind == "good":
        return good
    if length < 0 or (kind == "long" and length > HUGE):
        return None
    return (good + bytes(max(0, length - len(good))))[:length]


def good_reply(command, state):
    """Return: the length of the reply to good_body(), without the header, and the number of fds in
    it."""
    return {
        vfu.VERSION: (None, 0), vfu.DMA_MAP: (0, 0), vfu.DMA_UNMAP: (24, 0), vfu.GET_INFO: (16, 0),
        vfu.GET_REGION_INFO: (32, 0 if state == "absent" else 1), vfu.GET_IRQ_INFO: (16, 0),
        vfu.SET_IRQS: (0, 0), vfu.REGION_READ: (20, 0), vfu.REGION_WRITE: (16, 0),
        vfu.RESET: (0, 0),
        vfu.FEATURE: (16, 0), vfu.MIG_READ: (108, 0), vfu.MIG_WRITE: (0, 0),
    }[command]


def is_good_content(command, body):
    """Return: whether a body of a valid length also has valid contents."""
    if command == vfu.VERSION:  # zeroes are not valid JSON
        return body in (good_body(command), body[:4])
    if command == vfu.REGION_WRITE:
        return len(body) == 16 + struct.unpack_from("<I", body, 12)[0]
    if command == vfu.MIG_WRITE:
        return len(body) == 8 + struct.unpack_from("<I", body, 4)[0]
    return True


def expect(command, body, fds, state):
    """Return: the outcome that the rules require: "gone" if the client is dropped, an errno if the
    request is refused, or else good_reply()."""
    if fds > vfu.FDS_MAX or len(body) > HUGE:
        return "gone"
    least, most = LENGTHS.get(command, (0, -1))
    fits = least <= len(body) <= most
    if state == "new":
        good = command == vfu.VERSION and fits and is_good_content(command, body)
        return good_reply(command, state) if good else "gone"
    if command not in LENGTHS:
        return errno.ENOTTY
    only = {vfu.MIG_READ: "stop_copy", vfu.MIG_WRITE: "resuming"}.get(command, state)
    if not fits or command == vfu.VERSION or state != only or not is_good_content(command, body):
        return errno.EINVAL
    return good_reply(command, state)


def enter(client, state):
    """Bring a device into this state, starting just after its client has been greeted."""
    if state == "stop":
        client.set_state(vfu.STOP)
    elif state == "stop_copy":
        client.set_state(vfu.STOP_COPY)
    elif state == "resuming":
        client.set_state(vfu.RESUMING)
    elif state == "error":
        client.set_state(vfu.RESUMING)
        with pytest.raises(Refused):
            client.set_state(vfu.STOP)


def state_after(state, command, outcome):
    """Return: the number of the migration state in which a command with this outcome leaves the
    device."""
    numbers = {"stop": vfu.STOP, "stop_copy": vfu.STOP_COPY, "resuming": vfu.RESUMING,
               "error": vfu.STATE_ERROR}
    if command == vfu.RESET and isinstance(outcome, tuple):
        return vfu.RUNNING
    return numbers.get(state, vfu.RUNNING)


def outcome_of(client, command, body, fds):
    """Send the request, or only its header if it exceeds the maximum size. Return: the outcome, in
    the form of expect()."""
    try:
        number = client.send(command, body, fds) if len(body) <= HUGE else client.send_raw(
            vfu.pack(command, size=16 + len(body)), fds)
        reply = client.receive()
    except Gone:
        return "gone"
    assert number is None or (reply.id, reply.command) == (number, command)
    length, count = len(reply.body), len(reply.fds)
    reply.close()
    if reply.flags & vfu.ERROR:
        return reply.errno
    return (None if command == vfu.VERSION else length, count)


def run_row(device, row, spare):
    """Run one row. Return: None, or a description of the error."""
    command, body, fds, state = row
    expected = expect(*row[:2], fds, state)
    client = device.client(greet=state != "new")
    try:
        enter(client, state)
        got = outcome_of(client, command, body, spare[:fds])
        if got != expected:
            return f"expected {expected}, got {got}"
        if got == "gone":
            return None
        if client.info() != (3, vfu.REGIONS_N, vfu.IRQS_N):
            return "the device is not answering afterwards"
        if client.get_state() != state_after(state, command, got):
            return f"the state is {client.get_state()} afterwards"
        return None
    finally:
        client.close()


def rows_of(state):
    """Return: all rows for a state."""
    for command in COMMANDS:
        for kind in LENGTH_KINDS:
            body = make_body(command, kind)
            if body is None or (kind in ("most", "long", "least") and command not in LENGTHS):
                continue
            for fds in FDS:
                yield f"{state}: command {command}, {kind} body, {fds} fds", \
                    (command, body, fds, state)


@pytest.mark.parametrize("state", STATES)
def test_every_command_in_a_state(place, record_property, state):
    """In each state, send every command with every kind of body and every number of fds: replies
    follow the rules, no fd leaks, and the device survives."""
    memory = memory_file(SIZE)
    device = place.add(Device(place, None if state == "absent" else memory, vectors=VECTORS,
                              size=SIZE,
                              writable=state != "readonly",
                              migration="device" if state == "absent" else "memory"))
    spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(vfu.FDS_MAX + 1)]
    before = device.fds()
    failed = []
    for name, row in rows_of(state):
        wrong = run_row(device, row, spare)
        if wrong:
            failed.append(f"{name}: {wrong}")
        record_property("case", ("not ok " if wrong else "ok ") + name)
    for fd in spare:
        os.close(fd)
    with device.client():  # returns once the previous client has been dropped
        assert device.fds() == before + 1
    os.close(memory)
    assert not failed, failed
    device.stop()


@pytest.mark.parametrize("command", LENGTHS)
def test_request_without_reply_is_executed(place, command):
    """A request with the no-reply flag is executed without a reply, even if it is refused."""
    device = place.add(Device(place, memory_file(SIZE), vectors=VECTORS, size=SIZE,
                              migration="device"))
    with device.client(greet=command != vfu.VERSION) as client:
        client.send(command, good_body(command), flags=vfu.NO_REPLY)
        if command != vfu.RESET:
            client.send(command, b"\1", flags=vfu.NO_REPLY)  # no command has this length
        assert client.info() == (3, vfu.REGIONS_N, vfu.IRQS_N), \
            "the reply is to a different request"


# SET_IRQS with all values of its fields

RANGES = [(0, 0), (0, 1), (0, VECTORS), (VECTORS - 1, 1), (VECTORS - 1, 2), (VECTORS, 1),
          (VECTORS, 0),
          (0, VECTORS + 1), (1, 0), (1, 2), (0xffffffff, 1), (1, 0xffffffff),
          (0xffffffff, 0xffffffff),
          (0x80000000, 0x80000000)]


def expect_irqs(counts, index, flags, span, data_len, fds):
    """Return: the expected result according to the rules for VFIO_DEVICE_SET_IRQS: 0 or an
    errno."""
    start, count = span
    if index >= vfu.IRQS_N:
        return errno.EINVAL
    if flags == vfu.NONE | vfu.TRIGGER and span == (0, 0):
        return 0
    data, action = flags & 7, flags & 0x38
    if flags & ~0x3f or data not in (1, 2, 4) or action not in (8, 16, 32):
        return errno.EINVAL
    if count == 0 or start + count > counts[index]:
        return errno.EINVAL
    if (data == vfu.BOOL and data_len < count) or (data == vfu.EVENTFD and 0 < fds < count):
        return errno.EINVAL
    if action != vfu.TRIGGER:
        if index != vfu.INTX or (data == vfu.EVENTFD and action == vfu.MASK):
            return errno.ENOTTY
    return 0


@pytest.mark.parametrize("kind", ["msix", "intx", "plain"])
def test_every_combination_of_set_irqs(place, record_property, kind):
    """SET_IRQS follows its rules for every index and every combination of flags, with ranges that
    lie within the vectors, end with the last one, or extend beyond it."""
    options = {"msix": {"vectors": VECTORS}, "intx": {"vectors": 0, "intx": 1, "revision": 0},
               "plain": {"vectors": 0}}[kind]
    counts = {vfu.INTX: int(kind == "intx"), vfu.MSIX: VECTORS if kind == "msix" else 0, vfu.ERR: 1,
              vfu.MSI: 0, vfu.REQ: 0}
    device = place.add(Device(place, size=SIZE, **options))
    before = device.fds()
    client = place.add(device.client())
    given = [vfu.eventfd() for _ in range(VECTORS + 1)]
    failed = []
    for index in range(vfu.IRQS_N + 1):
        for flags in [*range(64), 0x61, 0x80000021]:
            wrong = irqs_row(client, counts, index, flags, given)
            failed += wrong
            record_property(
                "case", f"{'not ok' if wrong else 'ok'} {kind}: index {index}, flags {flags:#x}")
    assert not failed, failed[:20]
    client.close()
    assert device.wait_gone(1)[0] == 1
    assert device.fds() == before


def irqs_row(client, counts, index, flags, given):
    """Try all ranges and numbers of fds with this index and these flags. Return: the errors."""
    wrong = []
    for span in RANGES:
        for data_len in (0, VECTORS) if flags & vfu.BOOL else (0,):
            for fds in (0, 1, VECTORS) if flags & vfu.EVENTFD else (0,):
                expected = expect_irqs(counts, index, flags, span, data_len, fds)
                try:
                    client.set_irqs(index, flags, *span, bytes(data_len), given[:fds])
                    got = 0
                except Refused as refused:
                    got = refused.errno
                if got != expected:
                    wrong.append(f"index {index}, flags {flags:#x}, {span}, {data_len} booleans, "
                                 f"{fds} fds: expected {expected}, got {got}")
    return wrong
