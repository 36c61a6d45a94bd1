# SPDX-License-Identifier: BSD-3-Clause
"""Huge pages, if the machine permits them."""
import contextlib
import fcntl
import pathlib

import pytest

NR_HUGEPAGES = pathlib.Path("/proc/sys/vm/nr_hugepages")


@contextlib.contextmanager
def set_aside():
    """Reserve two unused huge pages of 2 MiB; afterwards restore the number of huge pages.

    That number is machine-wide, so a lock serialises the tests that change it, even across runs.
    """
    with open(NR_HUGEPAGES, encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield from _set_aside()


def _set_aside():
    """Called with the lock held, so that no other test changes the number of huge pages."""
    before = NR_HUGEPAGES.read_text()
    try:
        NR_HUGEPAGES.write_text(str(int(before) + 2))
    except OSError as error:
        pytest.skip(f"cannot reserve huge pages: {error}")
    try:
        meminfo = dict(line.split(":") for line in
                       pathlib.Path("/proc/meminfo").read_text().splitlines())
        if meminfo["Hugepagesize"].split() != ["2048", "kB"]:
            pytest.skip("this machine's huge pages have a size of "
                        + meminfo["Hugepagesize"].strip())
        if int(meminfo["HugePages_Free"]) < 2:
            pytest.skip("the kernel cannot allocate two huge pages")
        yield
    finally:
        NR_HUGEPAGES.write_text(before)
