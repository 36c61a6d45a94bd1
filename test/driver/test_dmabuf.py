# SPDX-License-Identifier: BSD-3-Clause
"""The guest driver exports parts of the region as dma-bufs, which a test module imports as a GPU
driver would."""
from support.py import driver_guest
from support.py.driver_guest import PORT, Host

MIB = 1 << 20
GIB = 1 << 30
MODULES = ("ivshmem", "ivs_walk", "ivs_import")


def test_dmabuf(place, record_property):
    """Run the dma-buf tests on a doorbell device below 4 GiB and on a plain device above 4 GiB, in
    one guest."""
    host = Host()
    devices = PORT + host.doorbell(place, 2) + host.plain(place, 64 * MIB, bus="rp0")
    guest = driver_guest.start(place, """
kind=pages
grep -q 'zone   Device' /proc/zoneinfo || kind=none
driver-test dmabuf $kind
driver-test -d 1 dmabuf $kind
driver-test life modules 1
""", devices, modules=MODULES)
    driver_guest.finish(guest, record_property, host.answers())


def test_more_than_one_scatter_list_entry(place, record_property):
    """A region of 2 GiB needs several entries in a scatter list. A region of 1 MiB is too small for
    struct pages."""
    host = Host()
    devices = host.plain(place, 2 * GIB, number=0) + host.plain(place, MIB, "small")
    guest = driver_guest.start(place, """
kind=pages
grep -q 'zone   Device' /proc/zoneinfo || kind=none
driver-test dmabuf $kind
driver-test -d 1 dmabuf none
""", devices, modules=MODULES)
    driver_guest.finish(guest, record_property, host.answers())
