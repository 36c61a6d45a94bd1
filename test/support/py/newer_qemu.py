# SPDX-License-Identifier: BSD-3-Clause
"""A QEMU that is a vfio-user client. Where there is none, whoever imports this is one skip, with the reason,
and not one for each of its tests."""
import pytest

from guestkit import vfio_user_qemu

try:
    #: What begins its command line, for machine.Guest().
    COMMAND = vfio_user_qemu.find()
except vfio_user_qemu.Unavailable as why:
    pytest.skip(str(why), allow_module_level=True)
