# SPDX-License-Identifier: BSD-3-Clause
"""Test ivshmem-device as its systemd unit starts it."""
import grp
import os
import re
import signal

import pytest

from support.py.programs import is_sanitized, wait_until
from support.py.systemd import WITH_UNIT_FILTER, needs
from support.py.vfio_user import Client
from support.py.wire import accepts


def run_device_unit(place, *prefix):
    """Run the unit's command with the settings of the example. Replace its directories and its
    group, because this machine may lack them."""
    unit = (place.build / "packaging" / "ivshmem-device@.service").read_text()
    command = re.search(r"^ExecStart=\S+(.*)$", unit, re.MULTILINE)[1]
    example = (place.source / "packaging" / "systemd" / "device-example.conf").read_text()
    settings = re.search(r"^DEVICE=(.*)$", example, re.MULTILINE)[1]
    words = command.replace("$DEVICE", settings.replace("looking-glass", place.shm))
    words = words.replace("%t", str(place.dir)).replace("%i", "vm1")
    words = words.replace("-group kvm", f"-group {grp.getgrgid(os.getgid()).gr_name}")
    directory = place.dir / "ivshmem-device-vm1"
    directory.mkdir()
    program = place.start(*prefix, place.build / "tools/ivshmem-device", *words.split())
    wait_until(lambda: accepts(directory / "control") or program.popen.poll() is not None,
               "the device is listening")
    asked = place.run(place.build / "tools/ivshmem-device", "--status", directory / "control")
    assert f"32M of shm:{place.shm}" in asked.stdout, (
        asked.stdout + asked.stderr + program.err.text(), program.popen.poll())
    assert place.shm_path.stat().st_mode & 0o777 == 0o660
    with Client(directory / "vmm.sock") as client:
        client.start()
        assert client.map_memory().size() == 32 << 20
    program.signal(signal.SIGTERM)
    assert program.wait() == 0


def test_the_device_unit_serves(place):
    run_device_unit(place)


def test_the_device_unit_allows_all_needed_system_calls(place):
    """The unit's system call filter allows every system call that the unit's own command needs."""
    needs("systemd-analyze")
    if is_sanitized(place.device_program):
        pytest.skip("built with a sanitizer, whose code makes additional system calls")
    run_device_unit(place, "/usr/bin/python3", WITH_UNIT_FILTER,
                    place.build / "packaging" / "ivshmem-device@.service")
