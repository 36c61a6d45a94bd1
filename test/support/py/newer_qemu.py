# SPDX-License-Identifier: BSD-3-Clause
"""A QEMU that can be a vfio-user client. If there is no such QEMU, importing this module skips the
whole test file that imports it."""
import pytest

from guestkit import vfio_user_qemu

try:
    #: The beginning of QEMU's command line, for machine.Guest().
    COMMAND = vfio_user_qemu.find()
except vfio_user_qemu.Unavailable as why:
    pytest.skip(str(why), allow_module_level=True)
