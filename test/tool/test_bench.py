# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem bench. No time and no ratio is checked: what the verdict is made of is tested in
test/unit/tools/bench_print.c."""
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

from support.py.clients import join
from support.py.listing import maps
from support.py.paths import BUILD
from support.py.programs import TIMEOUT, wait_until
from support.py.wire import readable

TOOL = BUILD / "tools" / "ivshmem"
SIZE = 1 << 20
TITLES = ["OPERATION", "SIZE", "TIME", "PRIVATE", "GB/S", "RATIO"]
READS, WRITES = ["read", "copy out"], ["write", "copy in"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to switch to another user")


def run(*words, **keywords):
    """Run ivshmem bench, with each operation once."""
    return subprocess.run([TOOL, "bench", *map(str, words), "--time", "0"], capture_output=True,
                          timeout=TIMEOUT, check=False, text=True, **keywords)


def results(*words):
    """Run ivshmem bench --json, which must succeed. Return: the object."""
    done = run(*words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def rows(report):
    """Return: [(operation, size)] of a report."""
    return [(row["operation"], row["size"]) for row in report["memory"]]


def product(operations, sizes):
    """Return: the rows for these operations and sizes."""
    return [(operation, size) for operation in operations for size in sizes]


@pytest.fixture(name="region")
def region_fixture(place):
    """A region with random content."""
    place.shm_path.write_bytes(os.urandom(SIZE))
    return place.shm_path


def test_table(place, region):
    """The columns are aligned; sizes go up to that of the region."""
    done = run(place.shm)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("OPERATION"))
    assert lines[0].startswith("shm: cached memory, read-only")
    assert lines[1] == "1M from offset 0, compared with private memory"
    assert lines[begin].split() == TITLES
    table = lines[begin + 1:lines.index("", begin)]
    assert [re.match(r"(read|copy out) +(\S+) ", line).groups() for line in table] == product(
        READS, ["64", "4K", "64K", "1M"])
    assert {len(line) for line in table} == {len(lines[begin])}
    number = r"\d+(\.\d+)?"
    row = rf"\S.*  +{number} .?s  +{number} .?s  +{number}  +{number}"
    assert all(re.fullmatch(row, line) for line in table), table
    assert region.stat().st_size == SIZE


def test_content_stays(place, region):
    """By default, nothing is written. The output says so, and how to measure writes."""
    before = region.read_bytes()
    done = run(place.shm)
    assert region.read_bytes() == before
    assert "\nwrites were not measured, because they would destroy the region's content: " \
        in done.stdout
    assert "--overwrite, with --offset and --length" in done.stdout
    report = results(place.shm)
    assert region.read_bytes() == before
    assert not report["overwritten"] and "--overwrite" in report["no_writes"]


def test_region_is_mapped_read_only(place, region):
    """Not even a defect of the command could write."""
    process = place.start(TOOL, "bench", place.shm, "--time", "60")
    wait_until(lambda: maps(process, region.name), "the region is mapped")
    mapped = [line for line in pathlib.Path(f"/proc/{process.pid}/maps").read_text().splitlines()
              if region.name in line]
    assert mapped and {line.split()[1] for line in mapped} == {"r--s"}


def test_overwrite_writes_in_its_part_only(place, region):
    """With --overwrite, only the part that --offset and --length select changes. It is full of
    zeroes afterwards."""
    before = region.read_bytes()
    report = results(place.shm, "--overwrite", "--offset", "4K", "--length", "8K")
    assert region.read_bytes() == before[:4096] + bytes(8192) + before[3 * 4096:]
    assert rows(report) == product(READS + WRITES, [64, 4096, 8192])
    assert (report["offset"], report["length"], report["overwritten"]) == (4096, 8192, True)
    assert report["no_writes"] is None


def test_overwrite_stays_within_the_sizes(place, region):
    """What lies behind the largest size is not overwritten."""
    before = region.read_bytes()
    results(place.shm, "--overwrite", "--size", "128", "--size", "64")
    assert region.read_bytes() == bytes(128) + before[128:]


def test_json(place, region):
    """The results as JSON."""
    report = results(f"file:{region}", "--size", "4K", "--size", "64")
    assert rows(report) == product(READS, [4096, 64])
    for row in report["memory"]:
        assert row["ns"] > 0 and row["private_ns"] > 0 and row["gb_per_s"] > 0
        assert row["ratio"] == pytest.approx(row["ns"] / row["private_ns"])
        assert row["rounds"] == 1
    assert (report["address"], report["transport"]) == (f"file:{region}", "file")
    assert report["cached"] and report["complete"] and isinstance(report["slow"], bool)
    assert (report["offset"], report["length"]) == (0, SIZE)
    assert report["doorbell"] is None and "a plain region has neither" in report["no_doorbell"]


@needs_root
def test_region_that_may_only_be_read(place, region):
    """Permission to read the region suffices; --overwrite is refused, with the reason."""
    region.chmod(0o644)
    before = region.read_bytes()

    def drop():
        os.setgroups([])
        os.setgid(61234)
        os.setuid(61234)

    assert run(place.shm, preexec_fn=drop).returncode == 0
    done = run(place.shm, "--overwrite", preexec_fn=drop)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"ivshmem bench: shm:{place.shm}: --overwrite: ")
    assert region.read_bytes() == before


def test_doorbells_ring_nobody_else(place):
    """The command rings its own peer; no vector of another peer is rung."""
    place.server("-n", "2", "-l", "1M")
    client = join(place, 2)
    for words, vector in (((), 0), (("--vector", "1"), 1)):
        report = results(place.socket, "--size", "64", *words)
        assert report["doorbell"]["vector"] == vector and report["no_doorbell"] is None
        assert report["doorbell"]["ns"] > 0 and report["doorbell"]["eventfd_ns"] > 0
    assert readable(client.own) == []
    assert re.search(r"^doorbell +- ", run(place.socket).stdout, re.M)


def test_server_without_vectors(place):
    """Without vectors, a peer cannot ring itself; the memory is measured all the same."""
    place.server("-n", "0", "-l", "1M")
    report = results(place.socket, "--size", "64")
    assert report["doorbell"] is None and report["no_doorbell"]
    assert rows(report) == product(READS, [64])


def test_smallest_region_of_a_server(place):
    """A server decides how large the region is: one page suffices, also for --overwrite."""
    place.server("-n", "1", "-l", "4K")
    report = results(place.socket, "--overwrite")
    assert rows(report) == product(READS + WRITES, [64, 4096])


def test_roster_page_is_left_alone(place):
    """The end of the region belongs to the server."""
    place.server("-n", "1", "-l", "1M", "--roster")
    report = results(place.socket, "--overwrite")
    assert report["length"] < SIZE
    peers = subprocess.run([TOOL, "dump", f"file:{place.shm_path}", "--json"], capture_output=True,
                           timeout=TIMEOUT, check=True)
    assert json.loads(peers.stdout)["roster"]["maintained"]


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_prints_what_was_measured(place, region, number, overwrite):
    """After a signal, the results so far are printed. The command ends by the signal. The content
    stays even with --overwrite, because only reads were measured."""
    before = region.read_bytes()
    process = place.start(TOOL, "bench", place.shm, "--time", "3600", "--json", *overwrite)
    wait_until(lambda: catches(process.pid, number), "the signal is caught")
    process.signal(number)
    assert process.wait() == -number
    report = json.loads(process.out.text())
    assert not report["complete"]
    assert report["doorbell"] is None and report["no_doorbell"] == "interrupted"
    assert region.read_bytes() == before
    assert not report["overwritten"]
    assert ("because a signal has arrived" in report["no_writes"]) == bool(overwrite)


def test_signal_during_writes(place, region):
    """After a signal, only what was overwritten is cleared."""
    before = region.read_bytes()
    process = place.start(TOOL, "bench", place.shm, "--time", "10", "--json", "--overwrite",
                          "--size", "64", "--size", "1M")
    wait_until(lambda: region.read_bytes()[:64] != before[:64], "the region is written")
    process.signal(signal.SIGINT)
    assert process.wait() == -signal.SIGINT
    report = json.loads(process.out.text())
    assert report["overwritten"] and not report["complete"] and report["no_writes"] is None
    if rows(report) == product(READS, [64, SIZE]):
        assert region.read_bytes() == bytes(64) + before[64:]
    assert region.read_bytes()[:64] == bytes(64)


def catches(pid, number):
    """Return: whether a process has a handler for a signal."""
    caught = re.search(r"^SigCgt:\t(\w+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)
    return bool(int(caught[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_region_that_is_truncated(place, region, overwrite):
    """A region that loses its pages while it is measured is reported."""
    process = place.start(TOOL, "bench", place.shm, "--time", "3600", *overwrite)
    wait_until(lambda: catches(process.pid, signal.SIGTERM), "the region was opened")
    os.truncate(region, 0)
    process.err.wait(f"ivshmem bench: shm:{place.shm}: a process has truncated the region")
    assert process.wait() == 1
    assert process.out.text() == ""


@pytest.mark.parametrize("words, message", [
    (("x", "y"), 'surplus argument "y"'),
    ((), "no ADDRESS"),
    (("x", "--size", "0"), 'invalid size "0": use a multiple of 64, such as 4096 or 4K'),
    (("x", "--size", "65"), 'invalid size "65"'),
    (("x", *["--size", "64"] * 17), 'surplus size "64": at most 16 sizes can be measured'),
    (("x", "--offset", "7"), 'invalid offset "7"'),
    (("x", "--length", "0"), 'invalid length "0"'),
    (("x", "--vector", "65536"), 'invalid vector "65536": use 0 to 65535'),
    (("x", "--time", "3601"), 'invalid time "3601": use a number of seconds from 0 to 3600'),
])
def test_mistakes_in_the_command_line(words, message):
    """A usage error names the value."""
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.parametrize("words, message", [
    (("--offset", "1M"), "--offset 1048576 and --length 0 exceed the 1048576 bytes"),
    (("--offset", "4K", "--length", "1M"), "--offset 4096 and --length 1048576 exceed"),
    (("--offset", "16000T", "--length", "16000T"), "exceed the 1048576 bytes"),
    (("--size", "2M"), "--size 2M exceeds the 1M of the region that are measured"),
    (("--length", "64", "--size", "4K"), "--size 4K exceeds the 64 of the region"),
])
def test_part_that_does_not_exist(place, region, words, message):
    """A part or size beyond the region is refused, and nothing is overwritten."""
    before = region.read_bytes()
    done = run(place.shm, "--overwrite", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert region.read_bytes() == before


def test_vector_that_does_not_exist(place):
    """An error says which vectors there are."""
    place.server("-n", "2", "-l", "1M")
    done = run(place.socket, "--vector", "2")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ivshmem bench: this peer has no vector 2: use 0 to 1\n"
