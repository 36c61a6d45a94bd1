# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem create, resize and remove on paths that are partly controlled by other users."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from support.py.programs import TIMEOUT
from support.py.region_tool import MIB, TOOL, run, without_leak_search

OTHER, THIRD = 65534, 65533  # two different users, neither of them root

pytestmark = pytest.mark.skipif(os.geteuid(), reason="only root can give files to other users")


@pytest.fixture
def target(place):
    """A directory that belongs to root, and to which another user would like to write."""
    path = place.dir / "target"
    path.mkdir()
    place.dir.chmod(0o755)
    return path


def directory(path, owner):
    """Create a directory with this owner."""
    path.mkdir()
    os.chown(path, owner, owner)
    return path


def link(path, target, owner):
    """Create a symbolic link with this owner."""
    path.symlink_to(target)
    os.chown(path, owner, owner, follow_symlinks=False)
    return path


def by_link_in_own_directory(place, target):
    """The other user's link, in a directory that also belongs to that user."""
    return link(directory(place.dir / "own", OTHER) / "sub", target, OTHER)


def by_relative_link(place, target):
    """A link that leads up from the other user's directory."""
    return link(directory(place.dir / "own", OTHER) / "sub", f"../{target.name}", OTHER)


def by_link_in_shared_directory(place, target):
    """The other user's link in a directory like /tmp."""
    (place.dir / "shared").mkdir()
    (place.dir / "shared").chmod(0o1777)
    return link(place.dir / "shared" / "sub", target, OTHER)


def by_link_of_root(place, target):
    """A link that belongs to root, in a directory whose owner can replace it."""
    return link(directory(place.dir / "own", OTHER) / "sub", target, 0)


def by_directory_of_root(place, target):
    """A directory that belongs to root, in another user's directory."""
    target.rename(directory(place.dir / "own", OTHER) / "sub")
    target.symlink_to(place.dir / "own" / "sub")
    return place.dir / "own" / "sub"


def by_directory_of_a_third_user(place, target):
    """A directory that belongs to a third user, in the other user's directory."""
    os.chown(target, THIRD, THIRD)
    return by_directory_of_root(place, target)


WAYS = [by_link_in_own_directory, by_relative_link, by_link_in_shared_directory, by_link_of_root,
        by_directory_of_root, by_directory_of_a_third_user]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_root_does_not_follow(place, target, way):
    """Root does not create, change or remove a region in a place to which another user redirects
    it. The message names the part of the path that is at fault, and its owner."""
    path = way(place, target)
    done = run("create", f"file:{path}/lg", "--size", "1M", "--owner", OTHER, status=1)
    assert path.name in done.stderr
    assert "belongs to" in done.stderr or "owned by user" in done.stderr
    assert "nobody" in done.stderr and done.stderr.count("\n") == 1
    assert not list(target.iterdir())
    (target / "lg").write_bytes(bytes(2 * MIB))
    for command in (("resize", "--size", "1M"), ("resize", "--size", "4M"), ("remove",)):
        assert "nobody" in run(command[0], path / "lg", *command[1:], status=1).stderr
        assert (target / "lg").stat().st_size == 2 * MIB


def test_what_root_follows(place, target):
    """Root follows links that belong to root, and creates regions in other users' directories."""
    (place.dir / "a").symlink_to("b")
    (place.dir / "b").symlink_to(target)
    done = run("create", f"file:{place.dir}/./a//../target/../a/lg", "--size", "1M")
    assert f"{target}/lg created" in done.stdout
    own = directory(directory(place.dir / "own", OTHER) / "sub", OTHER)
    run("create", f"file:{own}/lg", "--size", "1M", "--owner", OTHER)
    run("resize", f"file:{own}/lg", "--size", "2M")
    run("remove", f"file:{own}/lg")


def test_what_a_user_follows(place, target):
    """A user follows root's links and their own, but no other user's."""
    tool = shutil.copy(TOOL, place.dir)
    own = directory(place.dir / "own", OTHER)
    (place.dir / "root").symlink_to(own)
    link(own / "mine", directory(own / "sub", OTHER), OTHER)
    shared = place.dir / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    link(shared / "theirs", own, THIRD)
    link(shared / "mine", own, OTHER)

    def create(path):
        return subprocess.run([tool, "create", path, "--size", "1M"], user=OTHER, group=OTHER,
                              extra_groups=[], capture_output=True, text=True, timeout=TIMEOUT,
                              check=False, cwd=own)

    for path in (place.dir / "root" / "a", "mine/b", shared / "c", shared / "mine" / "d", "./e"):
        done = create(path)
        assert done.returncode == 0, done.stderr
    done = create(shared / "theirs" / "f")
    assert done.returncode == 1 and "theirs" in done.stderr and f"user {THIRD}" in done.stderr
    assert not (own / "f").exists() and target.exists()


def wait_until(condition):
    """Wait until the condition holds."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def file_is_open(strace):
    """Whether the program under strace has an unnamed file open, as O_TMPFILE creates it."""
    pids = pathlib.Path(f"/proc/{strace.pid}/task/{strace.pid}/children").read_text().split()
    for fd in [fd for pid in pids for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir()]:
        with contextlib.suppress(FileNotFoundError):  # closed in the meantime
            if re.search(r"/#\d+ \(deleted\)$", os.readlink(fd)):
                return True
    return False


@pytest.mark.parametrize("command", ["create", "resize"])
def test_directory_that_is_replaced_meanwhile(place, target, command):
    """While root reserves memory, the directory's owner replaces the directory with a link. The
    region is created in the directory that was checked, and nothing is created where the link
    leads."""
    own = directory(directory(place.dir / "own", OTHER) / "sub", OTHER)
    (target / "lg").write_text("root's")
    if command == "resize":
        (own / "lg").write_bytes(bytes(4 * MIB))
    with subprocess.Popen(["strace", "-qq", "-o", place.dir / "trace", "-e",
                           "inject=fallocate:delay_exit=1000000", TOOL, command, f"file:{own}/lg",
                           "--size", "1M"], env=without_leak_search(), start_new_session=True,
                          stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as popen:
        try:
            wait_until(lambda: file_is_open(popen))
            own.rename(place.dir / "own" / "old")
            own.symlink_to(target)
            _, err = popen.communicate(timeout=TIMEOUT)
        except BaseException:
            os.killpg(popen.pid, signal.SIGKILL)
            raise
    assert popen.returncode == 0, err
    assert (place.dir / "own" / "old" / "lg").stat().st_size == MIB
    assert [path.name for path in target.iterdir()] == ["lg"]
    assert (target / "lg").read_text() == "root's"
