# SPDX-License-Identifier: BSD-3-Clause
"""Huge pages, if the machine lets us have some."""
import contextlib
import fcntl
import pathlib

import pytest

NR_HUGEPAGES = pathlib.Path("/proc/sys/vm/nr_hugepages")


@contextlib.contextmanager
def set_aside():
    """Two huge pages of 2 MiB that nobody uses; as many as before are set aside afterwards.

    The number is the whole machine's: one test after the other, whoever has started them.
    """
    with open(NR_HUGEPAGES, encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield from _set_aside()


def _set_aside():
    """While nobody else changes it."""
    before = NR_HUGEPAGES.read_text()
    try:
        NR_HUGEPAGES.write_text(str(int(before) + 2))
    except OSError as error:
        pytest.skip(f"huge pages cannot be set aside here: {error}")
    try:
        meminfo = dict(line.split(":") for line in
                       pathlib.Path("/proc/meminfo").read_text().splitlines())
        if meminfo["Hugepagesize"].split() != ["2048", "kB"]:
            pytest.skip(f"the huge pages of this machine are of {meminfo['Hugepagesize'].strip()}")
        if int(meminfo["HugePages_Free"]) < 2:
            pytest.skip("the kernel finds no room for two huge pages")
        yield
    finally:
        NR_HUGEPAGES.write_text(before)
