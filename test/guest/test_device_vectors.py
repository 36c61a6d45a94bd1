# SPDX-License-Identifier: BSD-3-Clause
"""Interrupts of ivshmem-device in a guest: masked vectors stay pending, whichever register masks
them, and devices can have the maximum number of vectors."""
from support.py import device_guest
from support.py.device_guest import FIRST, Device, HostRinger, Ringer, all_ring_all
from support.py.programs import wait_until
from support.py.wire import RawClient, ring

VECTORS = 2
COMMAND, MASTER = 4, 4
CONTROL, ENABLE, MASKED = 0x42, 0x8000, 0x4000
ENTRY, VECTOR_CONTROL = 16, 12


class Masks:
    """Changes the registers that mask interrupts, bypassing the driver."""

    def __init__(self, shell):
        self._shell = shell

    def _config(self, offset, bits, to):
        value = self._shell.number(f"probe config {offset} 2")
        self._shell.run(f"probe config {offset} 2 {value | bits if to else value & ~bits}")

    def vector(self, vector, to):
        """Mask or unmask a vector in the MSI-X table."""
        self._shell.run(f"probe write 1 {vector * ENTRY + VECTOR_CONTROL} 4 {int(to)}")

    def function(self, to):
        """Mask or unmask all vectors in the message control register."""
        self._config(CONTROL, MASKED, to)

    def master(self, to):
        """Disable bus mastering, or enable it again. An interrupt is a write to memory, which only
        a bus master may perform (R-7)."""
        self._config(COMMAND, MASTER, not to)

    def msix(self, to):
        """Disable MSI-X, or enable it again."""
        self._config(CONTROL, ENABLE, not to)


def test_masked_vectors_stay_pending(place, record_property):
    """One or several doorbells that arrive for a masked vector cause one interrupt when the mask is
    removed. They cause none if MSI-X was disabled."""
    server = place.server("-n", VECTORS, "-l", "1M")
    device = Device(place, ["--server", server.socket, "--vectors", VECTORS])
    shell = device_guest.start(place, device.vmm()).insert()
    masks = Masks(shell)
    guest = Ringer(shell)
    host = HostRinger(place.add(RawClient(server.socket, VECTORS).greeting()))
    all_ring_all([guest, host], VECTORS)
    doorbells = host.client.peers[guest.ident]

    def rung(times=1, vectors=range(VECTORS)):
        """Ring the vectors from the host, and wait until ivshmem-device has handled the rings: it
        handles the guest's ring after them, so wait until that ring arrives at the host."""
        for _ in range(times):
            for vector in vectors:
                ring(doorbells[vector])
        shell.ring(host.ident, 0)
        host.expect(0)

    for times in (1, 3):
        for what, mask in (("message control", masks.function), ("bus master", masks.master)):
            mask(True)
            rung(times)
            assert guest.hears_nothing()
            mask(False)
            guest.expect_all()
            record_property("case", f"ok {what}: {times} doorbells are one interrupt later")
        for vector in range(VECTORS):
            masks.vector(vector, True)
            rung(times, [vector])
            assert guest.hears_nothing()
            guest_other = 1 - vector
            ring(doorbells[guest_other])
            guest.expect(guest_other)
            masks.vector(vector, False)
            guest.expect(vector)
            record_property("case", f"ok vector {vector} masked: {times} doorbells are one "
                                    "interrupt later, the other vector immediately")
    masks.function(True)
    masks.master(True)
    rung()
    masks.function(False)
    assert guest.hears_nothing()
    masks.master(False)
    guest.expect_all()
    record_property("case", "ok message control and bus master: interrupts come when neither masks")
    masks.msix(True)
    rung()
    masks.msix(False)
    assert guest.hears_nothing()
    all_ring_all([guest, host], VECTORS)
    record_property(
        "case", "ok MSI-X disabled: no interrupts; later doorbells cause interrupts again")
    shell.check_log()


def test_maximum_number_of_vectors(place, record_property):
    """The guest can use as many vectors as it has interrupts for, and each vector has its own
    interrupt. Ringing other vectors has no effect (R-6)."""
    vectors = 2048
    server = place.server("-n", vectors, "-l", "1M")
    device = Device(place, ["--server", server.socket, "--vectors", vectors])
    shell = device_guest.start(place, device.vmm(), cpus=2).insert()
    assert shell.number(f"stat -c %s {FIRST}/device/resource1") >= ENTRY * vectors + vectors // 8
    used = int(shell.run(f"cat {FIRST}/vectors"))
    assert 190 < used <= min(vectors, 256)
    client = place.add(RawClient(server.socket, vectors).greeting())
    doorbells = client.peers[shell.position()]
    assert len(doorbells) == vectors
    for vector in range(vectors):
        for _ in range(vector % 3):
            ring(doorbells[vector])
    ring(doorbells[0])
    # Once the guest's ring has arrived at the host, the interrupts of the earlier rings have
    # arrived in the guest. Each processor of the guest handles its interrupts before it runs a
    # program.
    shell.ring(client.id, 0)
    HostRinger(client).expect(0)
    for processor in range(2):
        shell.run(f"taskset {1 << processor} true")
    wait_until(lambda: shell.counts() == shell.counts(), "no more interrupts arrive")
    for vector in (used - 1, 0, used // 2):
        before = shell.counts()
        ring(doorbells[vector])
        before[vector] += 1
        shell.wait_counts(before)
        record_property("case", f"ok vector {vector} alone")
    counts = shell.counts()
    assert all(counts[vector] >= (vector % 3 > 0) for vector in range(used)), counts
    record_property("case", f"ok {vectors} vectors, of which {used} are used: all have arrived")
    for vector in (0, vectors - 1):
        shell.ring(client.id, vector)
        HostRinger(client).expect(vector)
        record_property("case", f"ok vector {vector} of the host")
    shell.check_log()
