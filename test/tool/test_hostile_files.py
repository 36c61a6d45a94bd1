# SPDX-License-Identifier: BSD-3-Clause
"""If another user has put something else in a region's place, ivshmem prints no command that, run
as root, would change another file, or give that user a share in the region."""
import os
import pwd
import re

import pytest

from support.py.config import TOOL, run

MIB = 1 << 20
STRANGER = 54321
OWNER = pwd.getpwnam("nobody").pw_uid
#: Commands that compare a region with what was requested, without the region's name at the end
COMPARERS = {
    "config": ["config", "tmpfiles", "--owner", OWNER, "--group", 4322, "--size", "2M"],
    "looking-glass": ["looking-glass", "1920x1080", "--user", OWNER, "--name"],
    "create": ["create", "--owner", OWNER, "--group", 4322, "--size", "2M"],
}
CHANGES = r"\b(chown|chgrp|chmod|ivshmem resize)\b"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")


def compare(place, name):
    """Run one of these commands. Return: what it prints."""
    done = run(*COMPARERS[name], place.shm)
    return done.stderr + done.stdout


def make_file(path, uid, mode=0o600):
    """Create a file that belongs to this user."""
    path.write_bytes(bytes(MIB))
    os.chown(path, uid, -1)
    path.chmod(mode)


@pytest.mark.parametrize("name", COMPARERS)
def test_link_to_a_file_of_root(place, name):
    """A link is reported as a link, and no command would change the file to which it leads."""
    target = place.dir / "shadow"
    make_file(target, 0)
    place.shm_path.symlink_to(target)
    os.lchown(place.shm_path, STRANGER, STRANGER)
    text = compare(place, name)
    assert "is a symbolic link" in text, text
    assert not re.search(CHANGES, text) and str(target) not in text, text


@pytest.mark.parametrize("name", ["config", "looking-glass"])
def test_directory(place, name):
    """Anything that is neither a file nor a device is reported as what it is."""
    place.shm_path.mkdir()
    text = compare(place, name)
    assert "is a directory, and not a file" in text and not re.search(CHANGES, text), text


@pytest.mark.parametrize("name", COMPARERS)
def test_file_of_another_user(place, name):
    """Another user who owns the file may have it mapped, so changing its owner or mode would not
    help."""
    make_file(place.shm_path, STRANGER)
    text = compare(place, name)
    assert "create it again" in text and not re.search(CHANGES, text), text
    if name == "create":
        assert "the owner is 54321, not nobody\n" in text


@pytest.mark.parametrize("name", COMPARERS)
@pytest.mark.parametrize("uid", [0, OWNER])
def test_file_of_root_or_of_the_owner(place, name, uid):
    """The owner and group of a file that belongs to root or to the right user can be changed. The
    command does not follow a link that takes the file's place."""
    make_file(place.shm_path, uid)
    text = compare(place, name)
    assert (re.search(rf"chown -h (nobody|{OWNER}) {place.shm_path}", text) is None) == (
        uid == OWNER), text
    assert name == "looking-glass" or f"chgrp -h 4322 {place.shm_path}" in text
    assert "chmod" in text and not re.search(r"\b(chown|chgrp) [^-]", text), text


@pytest.mark.parametrize("uid, advice", [
    (0, "change its owner with chown -h, or chgrp -h kvm and chmod 0660"),
    (STRANGER, "remove it and create it again"),
])
def test_region_that_the_client_cannot_open(place, uid, advice):
    """The advice about the Looking Glass client also depends on the file's owner."""
    make_file(place.shm_path, uid, 0o400)
    os.truncate(place.shm_path, 32 * MIB)
    process = place.start(TOOL, "looking-glass", "test", place.shm)
    process.err.wait(f"the client does not run as root: {advice}")
