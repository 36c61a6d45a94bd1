# SPDX-License-Identifier: BSD-3-Clause
"""The guest's driver and what no QEMU has any more, or not yet: a device of revision 0 with an interrupt
pin, and one whose region has a name. A test module is the device."""
from support import driver_guest
from support.programs import place  # noqa: F401 (a fixture)


def test_revision_0(place, record_property):  # noqa: F811
    """One vector by a pin that others may share (R-1, R-3), and names (R-9) that are right and wrong."""
    guest = driver_guest.start(place, "driver-test pin; rmmod ivs_legacy && rmmod ivshmem && "
                               "insmod /modules/ivshmem.ko", [],
                               modules=("ivshmem", "ivs_walk", "ivs_legacy"),
                               append="memmap=16M$0x8000000")
    driver_guest.finish(guest, record_property)
