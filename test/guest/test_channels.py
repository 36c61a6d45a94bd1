# SPDX-License-Identifier: BSD-3-Clause
"""Channels between two guests and their host, over all transports, with and without doorbells.

The content and the order of all messages are checked by the programs that receive them
(channel_load/main.c). With IVSHMEM_GUEST_ALL, there are many more messages.
"""
import os
import re

import pytest

from support.py.channel_guests import (DEVICES, LETTERS, PATIENCE, Machines, finish_all,
                                       section)
from support.py.paths import BUILD
from support.py.programs import Place

ALL = "IVSHMEM_GUEST_ALL" in os.environ
KINDS = ("queue", "stream", "topic", "flood")
#: The transports of guest a and guest b. Each transport is at each end.
PAIRS = [("driver", "vfio"), ("vfio", "sysfs"), ("sysfs", "driver")]
FEW, MANY, MILLION = 3000, 100000, 1000000
#: Messages with which a flood begins and ends, and that have no number; they can be missed, too.
BARE_MAX = 4
#: seconds for the largest number of messages on a loaded machine
LONG = 1500

pytestmark = pytest.mark.skipif(
    not (BUILD / "tools/ivshmem-static").exists(),
    reason="ivshmem-static was not built: libjansson.a or libzstd.a is missing")


@pytest.fixture(name="machines", scope="module")
def machines_fixture():
    """Two guests and the host, for all tests."""
    place = Place(BUILD)
    try:
        yield Machines(place)
    finally:
        place.close()


def load(machines, letter, device, transport, *loads):
    """Start channel-load. Return: the job."""
    address = machines.address(letter, device, transport)
    return machines[letter].start(" ".join([
        "exec channel-load", address, str(section(letter, device, transport)), letter, *loads]))


def others(letter):
    """Return: the letters of the other peers."""
    return LETTERS.replace(letter, "")


def tallies(output):
    """Return: number, digest and missed messages of each direction of each load of a peer."""
    found = re.findall(r"^(\w+) (\w+) (to|from) (.): (\d+) (\w+)(?: missed (\d+))?$",
                       "\n".join(output), re.M)
    return {(kind, way, other): (int(number), digest, int(missed or 0))
            for kind, _, way, other, number, digest, missed in found}


def check_tallies(outputs, count):
    """Check that all peers have received what the others have sent."""
    found = {letter: tallies(output) for letter, output in outputs.items()}
    for receiver in LETTERS:
        for sender in others(receiver):
            for kind in KINDS:
                sent = found[sender][kind, "to", receiver]
                received = found[receiver][kind, "from", sender]
                assert sent[0] == count
                if kind == "flood":
                    assert 0 < received[0] <= count <= received[0] + received[2] <= count + BARE_MAX
                else:
                    assert received == (*sent[:2], 0)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("device", DEVICES)
def test_messages(machines, record_property, device, pair):
    """Each of three peers sends messages to both others, of each kind; all arrive as they were
    sent, or are counted as missed by a subscriber that is too slow."""
    count = FEW if not ALL else MILLION if pair == PAIRS[0] else MANY
    jobs = {letter: load(machines, letter, device, transport, " then ".join(
        f"{kind}:{kind}:{others(letter)}:{count}" for kind in KINDS))
            for letter, transport in zip(LETTERS, [*pair, "driver"])}
    outputs = dict(zip(jobs, finish_all(jobs.values(), LONG if ALL else PATIENCE)))
    for letter, transport in zip(LETTERS, [*pair, "unix" if device == "doorbell" else "shm"]):
        assert outputs[letter][0].endswith(f"through {transport}")
    check_tallies(outputs, count)
    record_property(f"{count} messages each way", ", ".join(
        line for line in outputs["h"] if line.startswith("done")))
