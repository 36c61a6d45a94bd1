# SPDX-License-Identifier: BSD-3-Clause
"""Compare ivshmem-device with QEMU's own devices: the same probe runs on both in guests, and its
reports are compared field by field."""
import pytest

from guestkit import machine
from support.py import device_guest
from support.py.device_guest import Device, fields
from support.py.paths import BUILD
from support.py.programs import Place

MIB = 1 << 20
#: The devices of a guest, in this order. A doorbell device is named after its number of vectors.
MODELS = ("plain", "doorbell-1", "doorbell-4")
VECTORS = (1, 4)

SCRATCH = "QEMU stores what a guest writes to configuration space that has no register"
EIGHT_BITS = "QEMU uses 8 bits of a vector's number: a higher number rings a different vector (R-6)"
PIECES = "QEMU 7.2, and not the device, splits unaligned accesses in a different way"


def scratch(begin):
    """Return: the differences in configuration space from offset @begin onwards, where QEMU keeps
    what a guest writes and ivshmem-device does not."""
    return {f"writable.{at:02x}": (SCRATCH, "ffffffff", "00000000") for at in range(begin, 256, 4)}


def eight_bits(pending):
    """Return: the difference after the probe has rung vector number last + 256. QEMU uses only 8
    bits of the number, so the last vector becomes pending. The probe does not ring the last vector
    itself until later."""
    return {"pending.1": (EIGHT_BITS, f"{pending}, status 0", "00000000, status 0")}


#: For each model, the fields that must differ: {field: (reason, QEMU's value, our value)}.
DIFFERENCES = {
    "plain": scratch(0x40),
    "doorbell-1": scratch(0x4c) | eight_bits("00000001"),
    "doorbell-4": scratch(0x4c) | eight_bits("00000008"),
}

#: Additional differences from QEMU 7.2.
UNALIGNED = {field: (PIECES, *values) for field, values in {
    "read.01.2": ("33, then status 55667788", "0, then status 55667788"),
    "read.01.4": ("88112233, then status 0", "88000000, then status 0"),
    "read.01.8": ("55667788112233, then status 0", "88000000, then status 0"),
    "read.02.4": ("77881122, then status 0", "77880000, then status 0"),
    "read.02.8": ("556677881122, then status 0", "77880000, then status 0"),
    "read.03.4": ("66778811, then status 0", "8800, then status 0"),
    "read.03.8": ("5566778811, then status 0", "8800, then status 0"),
    "read.05.2": ("77, then status 0", "0, then status 55667788"),
    "read.05.4": ("556677, then status 0", "0, then status 55667788"),
    "read.05.8": ("556677, then status 0", "0, then status 55667788"),
    "read.06.4": ("5566, then status 0", "0, then status 55667788"),
    "read.06.8": ("5566, then status 0", "0, then status 55667788"),
    "read.07.4": ("55, then status 0", "0, then status 55667788"),
    "read.07.8": ("55, then status 0", "0, then status 55667788"),
    "write.02.4": ("mask 97, status b5, position 0", "mask 9788, status b5a6, position 0"),
    "write.02.8": ("mask 97, status d3, position 0", "mask 9788, status d3c4, position 0"),
    "write.04.8": ("mask 0, status b5, position 0", "mask 0, status b5a69788, position 0"),
    "write.06.4": ("mask 0, status 97, position 0", "mask 0, status 9788, position 0"),
    "write.06.8": ("mask 0, status 97, position 0", "mask 0, status 9788, position 0"),
}.items()}


def servers(place, name):
    """Start a server for each doorbell device, so that each device is the first client and has id
    0. Return: the servers' sockets."""
    return [place.server("-n", n, "-l", "1M", socket=place.dir / f"{name}-{n}",
                         region=["-r", "memfd:"]).socket for n in VECTORS]


def region(place, name):
    """Create a region filled with zeroes. Return: its path."""
    path = place.dir / f"{name}.region"
    path.write_bytes(bytes(MIB))
    return path


def built_in(place, name):
    """Return: the QEMU arguments for QEMU's own devices."""
    devices = machine.plain(region(place, name), MIB, f"{name}-plain")
    for n, socket in zip(VECTORS, servers(place, name)):
        devices += machine.doorbell(socket, n, f"{name}-{n}")
    return devices


def ours(place):
    """Start ivshmem-device with the devices in MODELS."""
    return Device(place, ["--region", f"file:{region(place, 'ours')}"],
                  *[["--server", socket, "--vectors", n]
                    for n, socket in zip(VECTORS, servers(place, "ours"))])


def probe(shell, first):
    """Return: the reports about the guest's devices, beginning with number @first, as {model:
    {field: value}}."""
    return {model: fields(shell.run(f"probe -d {first + at} report"))
            for at, model in enumerate(MODELS)}


@pytest.fixture(scope="module", name="reports")
def all_reports():
    """Run all guests. Return: {"old", "new" or "ours": {model: report}}. "old" and "new" are QEMU's
    own devices in this machine's QEMU and in the QEMU that runs our devices."""
    place = Place(BUILD)
    try:
        program = ours(place)
        old = device_guest.launch(place, built_in(place, "old"), own=True)
        new = device_guest.launch(place, built_in(place, "new") + program.all())
        old.await_ready()
        new.await_ready()
        yield {"old": probe(old, 0), "new": probe(new, 0), "ours": probe(new, len(MODELS))}
    finally:
        place.close()


def compare(theirs, mine, allowed, record_property):
    """Check that all fields are equal, except the known differences. Each kind of field is reported
    as a case."""
    assert theirs.keys() == mine.keys()
    assert allowed.keys() <= mine.keys()
    wrong = {}
    for field, value in mine.items():
        expected = allowed[field][1:] if field in allowed else (value, value)
        if (theirs[field], value) != expected:
            wrong[field] = f"{theirs[field]} with QEMU's, {value} with ours; expected {expected}"
    kinds = {}
    for field in mine:
        kinds.setdefault(field.split(".")[0], []).append(field)
    for kind, names in kinds.items():
        verdict = "not ok" if wrong.keys() & set(names) else "ok"
        record_property("case", f"{verdict} {len(names)} fields of {kind}")
    assert not wrong, "\n".join(f"{field}: {what}" for field, what in wrong.items())


@pytest.mark.parametrize("model", MODELS)
def test_reports_equal_those_of_the_same_qemu(reports, model, record_property):
    """QEMU's devices and ours are in a guest of the same QEMU, so a difference is due to the
    device."""
    compare(reports["new"][model], reports["ours"][model], DIFFERENCES[model], record_property)


@pytest.mark.parametrize("model", MODELS)
def test_reports_equal_those_of_this_machines_qemu(reports, model, record_property):
    """Compare our devices with those of this machine's QEMU, which may be older than the QEMU that
    runs our devices."""
    if reports["old"][model] == reports["new"][model]:
        allowed = DIFFERENCES[model]
    else:
        allowed = DIFFERENCES[model] | UNALIGNED
    compare(reports["old"][model], reports["ours"][model], allowed, record_property)


@pytest.mark.parametrize("model", MODELS)
def test_reports_follow_the_specification(reports, model):
    """The reports about our devices comply with the rules of the specification, regardless of what
    QEMU does (R-1 to R-3, R-6)."""
    report = reports["ours"][model]
    vectors = 0 if model == "plain" else int(model.split("-")[1])
    assert report["config.vendor"] == "1af4"
    assert report["config.device"] == "1110"
    assert report["config.revision"] == "01"
    assert report["config.class"] == "050000"
    assert report["config.interrupt-pin"] == "00"
    assert report["bar.0"].startswith("256 bytes")
    assert report["bar.1"].startswith("4096 bytes" if vectors else "0 bytes")
    assert report["bar.2"].startswith(f"{MIB} bytes")
    assert report["config.bar2"] == "0000000c"
    assert report["writable.18"] == f"{0x100000000 - MIB:08x}"
    assert report["capability.0"] == ("11 at 40" if vectors else "none")
    if vectors:
        assert report["config.40"] == f"{0x11 | vectors - 1 << 16:08x}"
        assert report["pending.3"] == f"{1 | 1 << vectors - 1:08x}, status 0"
    assert report["read.08.4"] == "0, then status 55667788"
    assert report["read.04.4"] == "55667788, then status 0"
    assert report["read.0c.4"] == "0, then status 55667788"
