# SPDX-License-Identifier: BSD-3-Clause
"""The device in a test's guests: QEMU's own device or, with IVSHMEM_GUEST_DEVICE=ivshmem-device,
one that ivshmem-device serves to a QEMU that is a vfio-user client.

The same tests run with both devices. A test for only one of them is marked qemu_device or
served_device, with the reason, and is deselected for the other.
"""
import os

from guestkit import machine

PROGRAM = "ivshmem-device"
CHOICE = os.environ.get("IVSHMEM_GUEST_DEVICE", "qemu")
assert CHOICE in ("qemu", PROGRAM), f"IVSHMEM_GUEST_DEVICE={CHOICE}"
#: True if ivshmem-device serves the device.
SERVED = CHOICE == PROGRAM
#: True to also run the tests that `make check` leaves to check-slow.
ALL = "IVSHMEM_GUEST_ALL" in os.environ

if SERVED:
    from support.py.newer_qemu import COMMAND as QEMU  # noqa: F401 (for machine.Guest())
else:
    QEMU = None


class Device:
    """One device of QEMU or of ivshmem-device; .arguments are QEMU's arguments for it.

    place:  starts ivshmem-device, if that serves the device
    socket: the path of ivshmem-device's socket; at most one VM may use it at a time
    """

    def __init__(self, place, ident, bus=None):
        self._place = place
        self._ident = ident
        self._bus = bus
        self.socket = place.dir / f"{ident}.vfio-user"
        self.program = None
        self.arguments = None

    def doorbell(self, server_socket, vectors):
        """Make this a device with doorbells, connected to a server. Return: the device."""
        if not SERVED:
            self.arguments = machine.doorbell(server_socket, vectors, self._ident, self._bus)
            return self
        return self.serve("--server", server_socket, "--vectors", vectors)

    def plain(self, path, size):
        """Make this a device without doorbells, whose memory is a file. Return: the device."""
        if not SERVED:
            self.arguments = machine.plain(path, size, self._ident, self._bus)
            return self
        return self.serve("--region", f"file:{path}")

    def serve(self, *options):
        """Let ivshmem-device serve this device with these options, regardless of
        IVSHMEM_GUEST_DEVICE. Return: the device."""
        self.program = self._place.start(self._place.build / "tools/ivshmem-device", "-v",
                                         "--socket",
                                         self.socket, *options)
        self.program.err.wait("waiting for a VMM")
        self.arguments = machine.vfio_user(self.socket, self._ident, self._bus)
        return self
