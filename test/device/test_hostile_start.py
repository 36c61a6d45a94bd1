# SPDX-License-Identifier: BSD-3-Clause
"""What another user can do while ivshmem-device is starting."""
import os
import shutil
import signal

import pytest

from support.py.stopped_start import (check_link_not_followed, start_stopped,
                                      swap_socket_for_link)

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NEEDS_STRACE = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
NOBODY = 65534


@NEEDS_ROOT
@NEEDS_STRACE
@pytest.mark.parametrize("nth, name", [(1, "control"), (2, "socket")])
def test_link_in_place_of_the_socket(place, nth, name):
    """Another user replaces a socket with a link as soon as the socket exists: the file to which
    the link points keeps its mode and owner."""
    path = place.dir / name
    device = start_stopped(place, ("bind", nth), path, place.device_program, "--socket",
                           place.socket, "--region", f"shm:{place.shm}", "--size", "1M",
                           "--control", place.dir / "control", f"--{name}-mode", "0666",
                           f"--{name}-group", "1")
    check_link_not_followed(device, swap_socket_for_link(place, device, path), path)


def make_region(place, mode, uid):
    """Create the region before the device does, as another program might."""
    with open(place.shm_path, "xb") as file:
        file.truncate(1 << 20)
        os.fchown(file.fileno(), uid, -1)
        os.fchmod(file.fileno(), mode)


@NEEDS_ROOT
@pytest.mark.parametrize("options", [["--size", "1M"], [], ["--read-only"]],
                         ids=["sized", "existing", "read-only"])
@pytest.mark.parametrize("mode, uid, texts", [
    (0o600, NOBODY, [f"existed before and is owned by uid {NOBODY}"]),
    (0o666, 0, ["existed before and is writable by all users"]),
    (0o666, NOBODY, [f"is owned by uid {NOBODY}", "is writable by all users"]),
    (0o660, 0, []),
], ids=["owner", "mode", "both", "own"])
def test_region_of_another_user_is_a_warning(place, mode, uid, texts, options):
    """A warning is logged if another user created the region first, or if all users can write to
    it."""
    make_region(place, mode, uid)
    device = place.start(place.device_program, "-v", "--socket", place.socket, "--region",
                         f"shm:{place.shm}", *options)
    device.err.wait("waiting for a VMM")
    assert device.err.count("existed before") == len(texts)
    for text in texts:
        assert str(place.shm_path) in device.err.wait(text)
    device.signal(signal.SIGTERM)
    assert device.wait() == 0
