# SPDX-License-Identifier: BSD-3-Clause
"""Compare our PCI function with QEMU's own ivshmem-plain and ivshmem-doorbell, access by access.

Only the following differences are permitted. The tests named test_difference_... show the first
three.

- Configuration space after the capabilities: QEMU lets a guest store bytes there. According to
  PCI 3.0, 6.1, reserved bytes read 0, and writes to them are ignored.
- The vector of a doorbell: without ioeventfd QEMU uses 8 bits of it, but R-4 specifies 16.
- A vector that is rung while bus mastering is disabled: QEMU loses the interrupt. In our function
  the interrupt is pending until it can be sent (R-7).
- The capability of R-9, which QEMU's devices do not have, and revision 0, which QEMU no longer has.
"""
import os
import random

import pytest

from guestkit import machine
from support.py import qtest

PLAIN = 0
ACCESSES = int(os.environ.get("IVS_DEVICE_ACCESSES", "3000"))
SIZES = (1, 2, 4, 8)
MASTER = 6  # memory space and bus master
COMMAND, MSIX_CONTROL = 0x04, 0x42
ENABLED, MASKED = 0x8000, 0x4000


class Pair:
    """QEMU's device and our function. Each operation is done on both and must have the same
    result."""

    def __init__(self, qemu, model, vectors):
        self.qemu, self.model, self.vectors = qemu, model, vectors
        self.config_len = 0x4c if vectors else 0x40
        self.routed = set()
        self.mapped = False
        self.compared = self.sent = self.rung = 0
        if vectors:
            model.line(f"id {qtest.OWN}")

    def same(self, what, qemu, model):
        self.compared += 1
        assert qemu == model, f"{what}: QEMU {qemu}, here {model}"

    def map(self):
        """Map the BARs at the addresses that qtest accesses."""
        if not self.mapped:
            self.mapped = True
            for offset, value in ((0x10, qtest.BAR0), (0x14, qtest.BAR1), (0x18, qtest.BAR2),
                                  (0x1c, qtest.BAR2 >> 32), (COMMAND, MASTER)):
                self.put("config", offset, 4, value & 0xffffffff)
            self.mapped = True

    def read(self, region, offset, size):
        if region != "config":
            self.map()
        value = self.qemu.read(region, offset, size)
        self.same(f"{region} {offset:#x} {size}", hex(value),
                  hex(self.model.read(region, offset, size)))
        return value

    def put(self, region, offset, size, value):
        """Write a value to both devices, and compare the effects."""
        if region != "config":
            self.map()
        elif offset < 0x20:
            self.mapped = False
        value &= (1 << 8 * size) - 1
        what = f"write {region} {offset:#x} {size} {value:#x}"
        self.qemu.write(region, offset, size, value)
        ring = self.model.write(region, offset, size, value)
        if region == "bar1":
            for vector in range(offset // 16, (offset + size + 15) // 16):
                self.route(vector)
        self.after(what, ring)

    def route(self, vector):
        """If the guest has unmasked or masked a vector in the table, set up or remove the vector's
        route, as a VMM does."""
        if vector >= self.vectors:
            return
        masked = self.model.read("bar1", 16 * vector + 12, 4) & 1
        if masked == (vector in self.routed):
            self.model.line(f"{'un' if masked else ''}route {vector}")
            self.routed ^= {vector}

    def after(self, what, ring=None):
        """Compare the doorbells that were rung and the interrupts that were sent."""
        if not self.vectors:
            return
        peer, vector = ring or (None, None)
        exists = ring is not None and vector < self.vectors
        if exists and peer == qtest.OWN:
            self.model.line(f"doorbell {vector}")
            self.qemu.settle()
        rung = [vector] if exists and peer == qtest.PEER else []
        self.same(what + ": rung", self.qemu.doorbells.take(), rung)
        self.rung += len(rung)
        sent = {}
        while (answer := self.model.line("next")) != "none":
            number = int(answer)
            data = self.model.read("bar1", 16 * number + 8, 4)
            if data and self.model.read("bar1", 16 * number, 8) == qtest.MESSAGES + 4 * number:
                sent[number] = data
        self.same(what + ": sent", self.qemu.messages(self.vectors), sent)
        self.sent += len(sent)

    def doorbell(self, vector):
        self.qemu.doorbells.ring(vector)
        self.qemu.settle()
        self.model.line(f"doorbell {vector}")
        self.after(f"doorbell {vector}")

    def reset(self):
        self.qemu.reset()
        self.model.line("reset")
        for vector in self.routed:
            self.model.line(f"unroute {vector}")
        self.routed = set()
        self.mapped = False
        self.after("reset")

    def read_config(self):
        for offset in range(0, self.config_len, 4):
            self.read("config", offset, 4)

    def set_vector(self, vector, data, masked=0):
        for offset, value in ((0, qtest.MESSAGES + 4 * vector), (4, 0), (8, data), (12, masked)):
            self.put("bar1", 16 * vector + offset, 4, value)


@pytest.fixture
def pair(build, tmp_path):
    """Return: pair(vectors), which creates both devices in their power-on state."""
    made = []

    def start(vectors, ioeventfd="off"):
        model = qtest.Model(build / "test/device-lines",
                            f"doorbell vectors={vectors}" if vectors else "plain")
        made.append(model)
        directory = f"{tmp_path}/{len(made)}"
        os.mkdir(directory)
        qemu = qtest.Qemu(machine.qemu_program(), directory, vectors, ioeventfd)
        made.append(qemu)
        return Pair(qemu, model, vectors)

    yield start
    for one in made:
        one.close()


@pytest.mark.parametrize("vectors", [PLAIN, 1, 2, 127, 128, 129, 254, 255, 2048])
def test_configuration_space_is_equal(pair, vectors):
    both = pair(vectors)
    for size in (1, 2, 4):
        for offset in range(0, 256, size):
            both.read("config", offset, size)


@pytest.mark.parametrize("vectors", [PLAIN, 1, 255, 2048])
def test_writable_bits_of_configuration_space_are_equal(pair, vectors):
    both = pair(vectors)
    for size in (1, 2, 4):
        for value in (0xffffffff, 0x55555555, 0xaaaaaaaa, 0):
            for offset in range(0, both.config_len, size):
                both.put("config", offset, size, value)
                both.read("config", offset & ~3, 4)
            both.read_config()


@pytest.mark.parametrize("vectors", [PLAIN, 2])
def test_registers_at_every_offset_and_size_are_equal(pair, vectors):
    both = pair(vectors)
    for size in SIZES:
        for offset in range(25):
            both.put("bar0", 0, 8, 0x2222222211111111)
            both.read("bar0", offset, size)
            both.put("bar0", 0, 8, 0x2222222211111111)
            both.put("bar0", offset, size, 0x0003000100030001 if offset % 4 == 0 else 0x81)
            for register in (0, 4, 4, 8, 12, 16):
                both.read("bar0", register, 4)
    for size in SIZES:
        for offset in range(240, 257 - size):
            both.put("bar0", offset, size, 0xffffffffffffffff)
            both.read("bar0", offset, size)


@pytest.mark.parametrize("vectors", [1, 2, 129, 2048])
def test_bar1_at_every_size_is_equal(pair, vectors):
    both = pair(vectors)
    pba = both.read("config", 0x48, 4) & ~7
    end = 2 * pba if vectors > 254 else 4096
    places = {0, 4, 8, 12, 1, 2, 3, 5, 16 * vectors - 16, 16 * vectors - 4, 16 * vectors, pba - 8,
              pba, pba + 1, pba + 4, pba + vectors // 64 * 8, pba + vectors // 64 * 8 + 8, end - 8}
    for place in sorted(places):
        for size in SIZES:
            for value in (0xffffffffffffffff, 0x1122334455667788, 0):
                both.read("bar1", place, size)
                both.put("bar1", place, size, value)
                both.read("bar1", place & ~7, 8)


def test_interrupts_are_equal_one_after_the_other(pair):
    both = pair(3)
    for vector in range(3):
        both.set_vector(vector, 0x4100 + vector)
    both.doorbell(1)  # this doorbell is lost, because MSI-X is disabled
    both.put("config", MSIX_CONTROL, 2, ENABLED)
    assert both.sent == 0
    both.doorbell(1)
    both.doorbell(0)
    assert both.sent == 2
    both.put("config", MSIX_CONTROL, 2, ENABLED | MASKED)
    both.doorbell(2)
    assert both.read("bar1", 0x800, 4) == 4 and both.sent == 2
    both.put("config", MSIX_CONTROL, 2, 0)
    assert both.read("bar1", 0x800, 4) == 4
    both.put("config", MSIX_CONTROL, 2, ENABLED)
    assert both.read("bar1", 0x800, 4) == 0 and both.sent == 3
    both.set_vector(0, 0x4200, masked=1)
    both.doorbell(0)
    assert both.read("bar1", 0x800, 4) == 1 and both.sent == 3
    both.put("bar1", 12, 4, 0)
    assert both.read("bar1", 0x800, 4) == 0 and both.sent == 4
    both.doorbell(0)
    both.reset()
    both.read_config()
    for offset in (0, 8, 24, 0x800):
        both.read("bar1", offset, 8)


def random_vector(both, rng):
    """Return: a random vector. It is usually one of a few, because with many vectors hardly any
    would be both rung and unmasked."""
    few = [vector for vector in (0, 1, 63, 64, both.vectors - 1) if vector < both.vectors]
    return rng.choice(few) if rng.random() < 0.9 else rng.randrange(both.vectors)


def random_config(both, rng):
    size = rng.choice((1, 2, 4))
    offset = rng.choice((COMMAND, 0x05, 0x06, 0x10, 0x18, 0x1c, 0x3c, MSIX_CONTROL, 0x43,
                         rng.randrange(both.config_len)))
    offset -= offset % size
    value = rng.choice((0xffffffff, 0, rng.getrandbits(32), 0x8000, 0xc000, 0x80))
    if offset == COMMAND:
        value |= 4  # QEMU behaves differently without this
    if offset + size > both.config_len:
        return
    if rng.random() < 0.5:
        both.put("config", offset, size, value)
    else:
        both.read("config", offset, size)


def random_bar0(both, rng):
    size = rng.choice(SIZES)
    offset = rng.randrange(0, 24 if rng.random() < 0.9 else 248, size)
    if rng.random() < 0.3:
        offset, size = 12, 4
    # Use only vectors below 256, because QEMU ignores the higher 8 bits.
    value = rng.choice((qtest.PEER, qtest.PEER, qtest.OWN, rng.getrandbits(8))) << 16
    value |= rng.randrange(both.vectors + 2) & 0xff if rng.random() < 0.8 else rng.getrandbits(8)
    if rng.random() < 0.7:
        both.put("bar0", offset, size, value | value << 32)
    else:
        both.read("bar0", offset, size)


def random_bar1(both, rng):
    vector = random_vector(both, rng)
    choice = rng.random()
    if choice < 0.3:
        both.set_vector(vector, rng.getrandbits(32) | 1, rng.choice((0, 0, 1, 0xfffffffe, 3)))
    elif choice < 0.5:
        both.put("bar1", 16 * vector + 12, 4, rng.choice((0, 1)))
    elif choice < 0.6:
        size = rng.choice((1, 2))
        both.put("bar1", rng.randrange(0, 4096, size), size, rng.getrandbits(16))
    elif choice < 0.8:
        size = rng.choice(SIZES)
        both.read("bar1", rng.randrange(0, 4096, size), size)
    else:
        pba = max(2048, 16 * both.vectors)
        both.read("bar1", pba + vector // 64 * 8, 8)


@pytest.mark.parametrize("vectors,ioeventfd", [(PLAIN, "off"), (1, "off"), (2, "on"), (65, "off"),
                                               (129, "on")])
def test_random_accesses_are_equal(pair, record_property, vectors, ioeventfd):
    both = pair(vectors, ioeventfd)
    seed = int(os.environ.get("IVS_DEVICE_SEED", "1"))
    rng = random.Random(seed * 1000 + vectors)
    for _ in range(ACCESSES):
        choice = rng.random()
        if choice < 0.25 or (not vectors and choice < 0.5):
            random_config(both, rng)
        elif choice < 0.5 or not vectors:
            random_bar0(both, rng)
        elif choice < 0.75:
            random_bar1(both, rng)
        elif choice < 0.96:
            both.map()  # this also enables bus mastering
            both.doorbell(random_vector(both, rng))
        elif choice < 0.965:
            both.reset()
            both.put("config", COMMAND, 2, MASTER)
        else:
            both.put("config", MSIX_CONTROL, 2, ENABLED)
    record_property("compared", f"{both.compared} answers and effects, {both.sent} messages, "
                                f"{both.rung} doorbells, seed {seed}")
    assert not vectors or (both.sent > ACCESSES // 200 and both.rung > ACCESSES // 200)


def test_difference_bytes_behind_the_capabilities(pair):
    """QEMU stores what a guest writes to reserved bytes. In our function they read 0 (PCI 3.0,
    6.1)."""
    for vectors in (PLAIN, 1):
        both = pair(vectors)
        for offset in range(both.config_len, 256):
            both.qemu.write("config", offset, 1, 0xa5)
            both.model.write("config", offset, 1, 0xa5)
            assert both.qemu.read("config", offset, 1) == 0xa5
            assert both.model.read("config", offset, 1) == 0


def test_difference_vectors_beyond_255(pair):
    """Without ioeventfd, QEMU uses 8 bits of a vector. Our function uses 16 (R-4)."""
    both = pair(2)
    both.map()
    value = qtest.PEER << 16 | 0x0101
    both.qemu.write("bar0", 12, 4, value)
    assert both.qemu.doorbells.take() == [1]
    assert both.model.write("bar0", 12, 4, value) == (qtest.PEER, 0x0101)


def test_difference_no_bus_master(pair):
    """If a vector is rung while bus mastering is disabled, QEMU loses the interrupt. Our function
    sends it when bus mastering is enabled again (R-7)."""
    both = pair(1)
    both.set_vector(0, 0x4142)
    both.put("config", MSIX_CONTROL, 2, ENABLED)
    both.put("config", COMMAND, 2, 2)
    both.qemu.doorbells.ring(0)
    both.qemu.settle()
    both.model.line("doorbell 0")
    assert both.qemu.read("bar1", 0x800, 4) == 0 and both.model.read("bar1", 0x800, 4) == 1
    both.qemu.write("config", COMMAND, 2, MASTER)
    both.model.write("config", COMMAND, 2, MASTER)
    assert both.qemu.messages(1) == {} and both.model.line("next") == "0"
