# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem resize and remove: what they change, and that they refuse while a region is in use."""
import json
import mmap
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from support.py.programs import TIMEOUT
from support.py.region_tool import (MIB, TOOL, USER, reader_with_lock, run, run_in_mounts,
                                    run_traced, sleeps, user_of)


@pytest.fixture
def shm(place):
    """The path of a region of 2 MiB whose file begins with "old"."""
    run("create", place.shm, "--size", "2M")
    with open(place.shm_path, "r+b") as file:
        file.write(b"old")
    yield place.shm_path
    place.shm_path.unlink(missing_ok=True)


def test_grow(shm, place):
    """An unused region grows in place, keeps its contents, and gets all its memory."""
    inode = shm.stat().st_ino
    done = run("resize", place.shm, "--size", "4M")
    st = shm.stat()
    assert (st.st_ino, st.st_size, st.st_blocks * 512) == (inode, 4 * MIB, 4 * MIB)
    assert shm.read_bytes()[:3] == b"old"
    assert re.match(rf"{shm}: 4M, owner .*, mode 0600 \(formerly 2M\)$", done.stdout)


def test_shrink(shm, place):
    """A region is made smaller by creating a new file with the same owner and mode, so that no
    process gets SIGBUS."""
    if not os.geteuid():
        os.chown(shm, 5, 7)
    shm.chmod(0o640)
    before = shm.stat()
    with open(shm, "rb") as file:
        done = run("resize", place.shm, "--size", "1M", "--json", "--force")
        assert os.fstat(file.fileno()).st_size == 2 * MIB
    after = shm.stat()
    assert (after.st_size, after.st_blocks * 512) == (MIB, MIB)
    assert after.st_ino != before.st_ino and shm.read_bytes() == bytes(MIB)
    assert [(st.st_uid, st.st_gid, st.st_mode) for st in (before, after)][0] == (
        after.st_uid, after.st_gid, after.st_mode)
    told = json.loads(done.stdout)
    assert (told["size"], told["old_size"], told["replaced"]) == (MIB, 2 * MIB, True)
    assert [user["pid"] for user in told["users"]] == [os.getpid()]
    assert [path.name for path in shm.parent.glob(place.shm + "*")] == [place.shm]


def test_shrink_copies_only_permissions(shm, place):
    """If a region is made smaller, the new file has no set-user-ID, set-group-ID or sticky bit,
    even if the owner of the old file has set them."""
    shm.chmod(0o7755)
    run("resize", place.shm, "--size", "1M")
    assert shm.stat().st_mode & 0o7777 == 0o755


def test_same_size(shm, place):
    """A region that already has the size is left unchanged, even while it is in use."""
    with user_of(shm, "map"):
        done = run("resize", place.shm, "--size", "2M")
    assert "2M" in done.stdout and shm.read_bytes()[:3] == b"old"


def test_odd_size(shm, place):
    """A file whose size is not a power of two can be resized to become a region."""
    os.truncate(shm, 3 * MIB)
    run("resize", place.shm, "--size", "4M")
    assert shm.stat().st_size == 4 * MIB


@pytest.mark.parametrize("how, does", [("map", "maps it"), ("open", "holds it open")])
@pytest.mark.parametrize("command", [("remove",), ("resize", "--size", "4M"),
                                     ("resize", "--size", "1M")])
def test_in_use(shm, place, command, how, does):
    """While a process maps the region or holds it open, nothing is changed, and the message names
    the process."""
    before = shm.stat()
    with user_of(shm, how) as pid:
        done = run(command[0], place.shm, *command[1:], status=1)
    assert f"ivshmem {command[0]}: {shm} is in use:\n  python3" in done.stderr
    assert re.search(rf"\(pid {pid}\) {does}$", done.stderr, re.M)
    assert "With --force they keep the old memory" in done.stderr
    after = shm.stat()
    assert (after[:7], after.st_mtime_ns) == (before[:7], before.st_mtime_ns)


@pytest.mark.parametrize("command", [("remove",), ("resize", "--size", "4M"),
                                     ("resize", "--size", "1M")])
def test_force(shm, place, command):
    """With --force, the command says what happens to the processes. They keep the old memory, with
    its old size."""
    with open(shm, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        done = run(command[0], place.shm, *command[1:], "--force")
        assert memory[:3] == b"old" and memory[-1] == 0 and os.fstat(file.fileno()).st_nlink == 0
    assert f"{shm} is in use:\n" in done.stderr
    assert f"(pid {os.getpid()}) keeps the old memory until it opens the region" in done.stderr
    if command[0] == "remove":
        assert not shm.exists()
    else:
        assert shm.read_bytes() == bytes(int(command[2][0]) * MIB)


@pytest.mark.usefixtures("fast_clock")
@pytest.mark.parametrize("command", [("remove",), ("resize", "--size", "4M"),
                                     ("resize", "--size", "1M")])
def test_lock_of_a_reader(shm, place, command):
    """The lock that a reader holds does not keep --force from changing the region. The reader keeps
    the old memory."""
    before = shm.stat()
    with reader_with_lock(shm):
        done = run(command[0], place.shm, *command[1:], "--force")
    assert f"another process holds the lock on {shm}" in done.stderr
    assert not shm.exists() or shm.stat().st_ino != before.st_ino


@pytest.mark.parametrize("command", [("remove", "--force"), ("resize", "--size", "4M", "--force"),
                                     ("create", "--size", "2M", "--boot")])
def test_signal_while_waiting_for_the_lock(shm, place, command):
    """A signal ends the wait for the lock immediately, and nothing is changed."""
    if command[0] == "create":
        os.truncate(shm, 0)
    else:
        run("create", place.shm, "--size", "2M", "--boot", "--root", place.dir)
    before = sorted(place.dir.rglob("*"))
    with reader_with_lock(shm), subprocess.Popen(
            [TOOL, command[0], place.shm, *command[1:], "--root", place.dir], text=True,
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as popen:
        while not sleeps(popen.pid):
            pass
        start = time.monotonic()
        popen.send_signal(signal.SIGTERM)
        assert popen.wait(TIMEOUT) == -signal.SIGTERM
        assert time.monotonic() - start < 4, "it waited for the lock for 5 s"
    assert shm.exists() and sorted(place.dir.rglob("*")) == before


def test_vm(shm, place):
    """The message contains the VM's name from QEMU's arguments. The VM keeps the old memory until
    it is restarted."""
    vm = place.dir / "vm.py"
    vm.write_text(USER)
    with subprocess.Popen(["qemu-system-x86_64", vm, shm, "map", "-name", "guest=win10"],
                          executable="/usr/bin/python3", stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as popen:
        try:
            assert popen.stdout.readline() == "ready\n"
            done = run("remove", place.shm, status=1)
            assert f"  VM win10 (pid {popen.pid}) maps it\n" in done.stderr
            done = run("remove", place.shm, "--force", "--json")
        finally:
            popen.stdin.close()
    assert "VM win10" in done.stderr and "until it is shut down and started again" in done.stderr
    assert [(user["pid"], user["vm"]) for user in json.loads(done.stdout)["users"]] == [
        (popen.pid, "win10")]


def test_server(place):
    """A region that an ivshmem-server holds open is in use, and the message names the server."""
    server = place.server()
    done = run("remove", place.shm, status=1)
    assert re.search(rf"ivshmem-server.*\(pid {server.pid}\) holds it open", done.stderr)
    done = run("remove", place.shm, "--force")
    assert "keeps the old memory, and passes it on, until it is restarted" in done.stderr
    server.stop()


def test_user_that_cannot_be_seen(shm, place):
    """Without root, processes of other users cannot be examined, but the kernel reports that one
    uses the region. Once that process has exited, the region can be removed."""
    if os.geteuid():
        pytest.skip("needs root to switch to another user")
    tool = shutil.copy(TOOL, place.dir)
    place.dir.chmod(0o755)
    os.chown(shm, 65534, 65534)

    def remove():
        return subprocess.run([tool, "remove", place.shm], user=65534, group=65534,
                              extra_groups=[], capture_output=True, text=True, timeout=TIMEOUT,
                              check=False)

    with user_of(shm, "map"):
        done = remove()
        assert done.returncode == 1 and shm.exists()
        assert f"{shm} is in use by a process that could not be identified" in done.stderr
        assert "--force" in done.stderr
    done = remove()
    assert done.returncode == 0 and not shm.exists(), done.stderr


def test_without_permission(shm, place):
    """If the user may not remove the region, the message says who owns it."""
    if os.geteuid():
        pytest.skip("needs root to switch to another user")
    tool = shutil.copy(TOOL, place.dir)
    place.dir.chmod(0o755)
    for more, message in (((), f"{shm} may be in use: "),
                          (("--force",), f"cannot remove {shm}: Operation not permitted: it "
                                         "belongs to root")):
        done = subprocess.run([tool, "remove", place.shm, *more], user=65534, group=65534,
                              extra_groups=[], capture_output=True, text=True, timeout=TIMEOUT,
                              check=False)
        assert done.returncode == 1 and message in done.stderr
    assert shm.exists()


def test_boot_files_follow(shm, place):
    """Resizing changes the size in the files written by --boot, if there are any, and does not add
    any."""
    root = place.dir
    run("resize", place.shm, "--size", "1M", "--root", root)
    assert not (root / "etc").exists()
    run("create", place.shm, "--size", "1M", "--boot", "--root", root)
    done = run("resize", place.shm, "--size", "4M", "--root", root)
    unit = root / f"etc/systemd/system/ivshmem-region-{place.shm}.service"
    assert f"wrote {unit}" in done.stdout and " --size 4M " in unit.read_text()
    assert shm.stat().st_size == 4 * MIB


def test_lack_of_memory(place):
    """A region that cannot grow for lack of memory keeps its size, and so do the files written by
    --boot."""
    script = ('mount -t tmpfs -o size=8M shm /dev/shm && "$TOOL" create a --size 4M --boot --root '
              '"$1" >/dev/null && "$TOOL" resize a --size 16M --root "$1"; stat -c %s /dev/shm/*; '
              'cat "$1"/etc/systemd/system/*.service')
    done = run_in_mounts(script, place.dir)
    assert "no room for a region of 16M" in done.stderr
    assert done.stdout.startswith(f"{4 * MIB}\n") and " --size 4M " in done.stdout


def test_signal(shm, place):
    """If a signal arrives while a region is growing, the old size is restored."""
    done, _ = run_traced(place, ["-e", "inject=fallocate:signal=INT:error=EINTR"], "resize",
                         place.shm, "--size", "4M")
    assert done.returncode != 0 and done.returncode != signal.SIGKILL
    assert shm.stat().st_size == 2 * MIB


def test_remove(shm, place):
    """A region that is not in use is removed."""
    done = run("remove", f"shm:{place.shm}", "--json")
    assert not shm.exists()
    told = json.loads(done.stdout)
    assert (told["state"], told["size"], told["users"]) == ("removed", 2 * MIB, [])


def test_remove_at_boot_only(shm, place):
    """If the region is absent, the files written by --boot are still removed."""
    run("create", place.shm, "--size", "2M", "--boot", "--root", place.dir)
    shm.unlink()
    done = run("remove", place.shm, "--root", place.dir)
    assert f"{shm} did not exist" in done.stdout and done.stdout.count("removed ") == 3
    assert "does not exist" in run("remove", place.shm, "--root", place.dir, status=1).stderr


def test_failure_to_remove_is_undone(shm, place):
    """If the region cannot be removed, the files written by --boot are restored."""
    run("create", place.shm, "--size", "2M", "--boot", "--root", place.dir)
    done, _ = run_traced(place, ["-P", str(shm.parent), "-e", "inject=unlinkat:error=EIO"],
                         "remove", place.shm, "--root", place.dir)
    assert done.returncode == 1 and f"cannot remove {shm}: Input/output error" in done.stderr
    assert shm.exists()
    assert "wrote" not in run("create", place.shm, "--size", "2M", "--boot", "--root",
                              place.dir).stdout


@pytest.mark.parametrize("arguments, status, message", [
    (("remove", "none-such"), 1, "/dev/shm/none-such does not exist"),
    (("resize", "none-such", "--size", "1M"), 1, "/dev/shm/none-such does not exist"),
    (("remove", "file:/tmp"), 1, "/tmp is not a region, but a directory"),
    (("remove", "file:/dev/null"), 1, "/dev/null is not a region, but a character device"),
    (("resize", "file:/dev/null", "--size", "1M"), 1, "is not a region"),
    (("resize", "a", "--size", "3M"), 2, "use 2M or 4M"),
    (("resize", "a"), 2, "no size is given"),
    (("remove",), 2, "no region is given"),
    (("remove", "a", "b"), 2, 'surplus argument "b"'),
    (("remove", "a\x1b"), 2, "control characters"),
])
def test_mistakes(arguments, status, message):
    """The message says what was wrong, and the exit status matches the kind of error."""
    done = run(*arguments, status=status)
    assert done.stderr.startswith(f"ivshmem {arguments[0]}: ") and message in done.stderr
    assert not done.stdout
