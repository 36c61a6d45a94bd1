# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem create --boot: the files that create a region at boot, checked using systemd's own
programs."""
import contextlib
import json
import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import stat
import subprocess

import pytest

from support.py.paths import BUILD
from support.py.programs import TIMEOUT
from support.py.region_tool import MIB, TOOL, run, run_in_mounts, run_traced
from support.py.systemd import needs

MARK = '# Made by "ivshmem create --boot"; remove it with: ivshmem remove '


@pytest.fixture
def root(place):
    """An empty directory for --root."""
    path = place.dir / "root"
    path.mkdir()
    return path


@pytest.fixture
def shm(place):
    """The path of the region that a test may create."""
    yield place.shm_path
    place.shm_path.unlink(missing_ok=True)


def files(root):
    """Return: the paths of all files and links in @root, relative to it."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*")
                  if path.is_symlink() or path.is_file())


def boot(name, root, *options, **keywords):
    """Create a region of 1 MiB with --boot."""
    return run("create", name, "--size", "1M", "--boot", "--root", root, *options, **keywords)


def file_names(stem):
    """Return: the names of the files for a region in memory: unit, link, tmpfiles.d file."""
    return [f"etc/systemd/system/ivshmem-region-{stem}.service",
            f"etc/systemd/system/basic.target.wants/ivshmem-region-{stem}.service",
            f"etc/tmpfiles.d/ivshmem-{stem}.conf"]


def test_files(shm, place, root):
    """A region in memory gets a unit, which is enabled, and a tmpfiles.d line."""
    done = boot(place.shm, root)
    assert shm.stat().st_size == MIB
    unit, link, tmpfiles = (root / name for name in file_names(place.shm))
    assert files(root) == sorted(file_names(place.shm))
    assert os.readlink(link) == f"../{unit.name}" and link.resolve() == unit
    assert re.findall(r"^wrote (.*)$", done.stdout, re.M) == [str(unit), str(link), str(tmpfiles)]
    for path in (unit, tmpfiles):
        assert path.read_text().startswith(f"{MARK}shm:{place.shm}\n")
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    run("remove", place.shm, "--root", root)
    assert files(root) == [] and not shm.exists()


def test_again(shm, place, root):
    """If a matching region exists, only the boot files are added or changed; the second time,
    nothing is written."""
    run("create", place.shm, "--size", "1M")
    inode = shm.stat().st_ino
    done = boot(place.shm, root)
    assert "is already there" in done.stdout and done.stdout.count("wrote ") == 3
    done = boot(place.shm, root, "--json")
    assert json.loads(done.stdout)["boot_files"] == [
        str(root / name) for name in file_names(place.shm)]
    assert "wrote" not in boot(place.shm, root).stdout
    shm.chmod(0o640)
    assert boot(place.shm, root, "--mode", "0640").stdout.count("wrote ") == 2
    assert shm.stat().st_ino == inode


def test_region_in_another_tmpfs(place, root):
    """A path on an in-memory file system gets both files, with names derived from the path."""
    path = place.dir / "m" / "a-b"
    path.parent.mkdir()
    done = run_in_mounts('mount -t tmpfs none "$1/m" && "$TOOL" create "file:$1/m/a-b" --size 1M '
                         '--boot --root "$2"', place.dir, root)
    assert done.returncode == 0, done.stderr
    stem = f"file:{str(path)[1:]}".replace("-", "\\x2d").replace("/", "-")
    assert files(root) == sorted(file_names(stem))
    assert f"RequiresMountsFor={path}\n" in (root / file_names(stem)[0]).read_text()


@pytest.mark.usefixtures("huge_pages")
def test_region_in_huge_pages(place, root):
    """tmpfiles.d could create an empty file that a later mount hides, so there is only a unit."""
    (place.dir / "m").mkdir()
    done = run_in_mounts('mount -t hugetlbfs none "$1/m" && "$TOOL" create "file:$1/m/a" --size 2M '
                         '--boot --root "$2"', place.dir, root)
    assert done.returncode == 0, done.stderr
    stem = f"file:{place.dir}/m/a".replace(":/", ":").replace("-", "\\x2d").replace("/", "-")
    assert files(root) == sorted(file_names(stem)[:2])


def test_region_on_a_disk(place, root):
    """A file on a disk survives a reboot, so no boot files are written."""
    path = BUILD / f"{place.shm}"
    kind = subprocess.run(["stat", "-f", "-c", "%T", BUILD], capture_output=True, text=True,
                          check=True, timeout=TIMEOUT).stdout.strip()
    if kind == "tmpfs":
        pytest.skip("the build directory is not on a disk")
    try:
        done = boot(f"file:{path}", root)
        assert "a file on a disk still exists after a reboot" in done.stdout
        assert path.stat().st_size == MIB and files(root) == []
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("suffix", ["", " a'b\"c\\", "%n$HOME\\x20", "\u00e4;#,"])
def test_next_boot(place, root, suffix):
    """At the next boot, systemd-tmpfiles creates an empty file with the owner and mode, and the
    unit's command grows it to the region's size; this also works with unusual names."""
    needs("systemd-tmpfiles")
    if os.geteuid():
        pytest.skip("needs root to change the owner of files")
    name = place.shm + suffix
    path = place.shm_path.with_name(name)
    try:
        boot(f"shm:{name}", root, "--owner", "5", "--group", "7", "--mode", "0640")
        path.unlink()
        unit, tmpfiles = (root / name for name in files(root)[1:])
        subprocess.run(["systemd-tmpfiles", "--create", tmpfiles], check=True, timeout=TIMEOUT)
        st = path.stat()
        assert (st.st_size, st.st_uid, st.st_gid, st.st_mode & 0o7777) == (0, 5, 7, 0o640)
        # The words are quoted as in a shell, but "%" and "$" are doubled.
        command = shlex.split(re.search(r"^ExecStart=(.*)$", unit.read_text(), re.M)[1])
        command = [word.replace("%%", "%").replace("$$", "$") for word in command]
        assert command[:3] == [str(TOOL.resolve()), "create", f"shm:{name}"]
        run(*command[1:])
        st = path.stat()
        assert (st.st_size, st.st_blocks * 512, st.st_uid, st.st_gid) == (MIB, MIB, 5, 7)
        assert "is already there" in run(*command[1:]).stdout
    finally:
        path.unlink(missing_ok=True)


def test_units_pass_systemds_check(place, root):
    """systemd-analyze finds no mistakes in the units for usual and unusual names."""
    needs("systemd-analyze")
    names = [place.shm + suffix for suffix in ("", " a'b\"c\\", "%n$HOME", "\u00e4;#")]
    try:
        for name in names:
            boot(f"shm:{name}", root)
        units = [root / name for name in files(root) if "/system/ivshmem" in name]
        assert len(units) == len(names)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              timeout=TIMEOUT)
        assert done.returncode == 0 and "ivshmem" not in done.stdout, done.stdout
    finally:
        for name in names:
            place.shm_path.with_name(name).unlink(missing_ok=True)


@pytest.mark.parametrize("way", ["link", "working directory"])
def test_newline_on_the_way(place, root, way):
    """A newline that is not in the argument but in the path that results from it is refused: it
    would begin another tmpfiles.d line, which root would execute."""
    evil = place.dir / "evil\nf+ \\x2fown 0644 root root - x"
    evil.mkdir()
    (place.dir / "sub").symlink_to(evil)
    name = {"link": f"file:{place.dir}/sub/lg",
            "working directory": "file:lg"}[way]
    done = run_in_mounts('mount -t tmpfs none "$2" && cd "$2" && "$TOOL" create "$3" --size 1M '
                         '--boot --root "$1"', root, evil, name)
    assert done.returncode == 2 and "invalid address" in done.stderr, done.stderr
    assert "evil?f+" in done.stderr and done.stderr.count("\n") == 1
    assert files(root) == [] and not list(evil.iterdir())
    for command in (("remove",), ("resize", "--size", "1M")):
        done = run(command[0], name, *command[1:], status=2, cwd=evil)
        assert "invalid address" in done.stderr and done.stderr.count("\n") == 1


def test_foreign_file(shm, place, root):
    """A file that has the name of one of our files, but was not written by us, is neither
    overwritten nor removed."""
    foreign = root / file_names(place.shm)[2]
    foreign.parent.mkdir(parents=True)
    foreign.write_text("# mine\n")
    assert f"{foreign} was not made by" in boot(place.shm, root, status=1).stderr
    assert files(root) == file_names(place.shm)[2:] and not shm.exists()
    run("create", place.shm, "--size", "1M")
    assert "move it away" in run("remove", place.shm, "--root", root, status=1).stderr
    assert shm.exists() and foreign.read_text() == "# mine\n"


def test_failure_to_write_is_undone(shm, place, root):
    """If one file cannot be written, neither the other files nor the region nor new directories
    remain."""
    (root / "etc").mkdir()
    (root / "etc" / "tmpfiles.d").write_text("not a directory")
    done = boot(place.shm, root, status=1)
    assert re.search(r"cannot (open|read|write|make)", done.stderr) and "tmpfiles.d" in done.stderr
    assert files(root) == ["etc/tmpfiles.d"] and os.listdir(root / "etc") == ["tmpfiles.d"]
    assert not shm.exists()


@pytest.mark.parametrize("name", ["etc", "etc/systemd", "etc/systemd/system",
                                  "etc/systemd/system/basic.target.wants", "etc/tmpfiles.d"])
@pytest.mark.parametrize("relative", [False, True])
def test_links_do_not_lead_out_of_the_root(shm, place, root, name, relative):
    """A link below --root is resolved within --root, as it would be in the system that is there.
    Nothing is created or removed outside, not even by "remove"."""
    outside = place.dir / "outside"
    outside.mkdir()
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    target = outside / name
    (root / name).symlink_to(os.path.relpath(target, (root / name).parent) if relative else target)
    boot(place.shm, outside)
    before = {path: path.lstat().st_mtime_ns for path in outside.rglob("*")}
    done = boot(place.shm, root, status=1)
    assert str(root / "etc") in done.stderr and "File exists" in done.stderr
    run("remove", place.shm, "--root", root)
    assert {path: path.lstat().st_mtime_ns for path in outside.rglob("*")} == before
    inside = root / (target.relative_to("/") if not relative else pathlib.Path("outside") / name)
    inside.mkdir(parents=True)
    boot(place.shm, root)
    assert (root / name).is_symlink() and len([path for path in inside.rglob("*")
                                               if not path.is_dir()]) >= 1
    assert {path: path.lstat().st_mtime_ns for path in outside.rglob("*")} == before


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_kernel_without_openat2(shm, place, root, error):
    """Where links below --root cannot be confined to it, --root is refused, and nothing is
    created."""
    done, _ = run_traced(place, ["-e", f"inject=openat2:error={error}"], "create", place.shm,
                         "--size", "1M", "--boot", "--root", root)
    assert done.returncode == 1 and "--root needs openat2(2)" in done.stderr
    assert os.listdir(root) == [] and not shm.exists()


#: Install the program in /mnt/bin, create a region with --boot, and list what this has created.
INSTALL = """set -e
mount -t tmpfs -o mode=0755 none /mnt
mkdir /mnt/etc /mnt/bin
cp /etc/passwd /etc/group /mnt/etc
cp "$TOOL" /mnt/bin/ivshmem
mount -t tmpfs shm /dev/shm
mount --bind /mnt/etc /etc
%s
/mnt/bin/ivshmem create a --size 1M --boot %s || true
cd /
find etc/systemd dev/shm/a || true
"""


def test_program_of_root():
    """The unit runs the program that wrote it, if that program is installed."""
    done = run_in_mounts(INSTALL % ("", "") + "cat /etc/systemd/system/*.service")
    assert "/etc/systemd/system/ivshmem-region-a.service\n" in done.stdout, done.stderr
    assert "\nExecStart=/mnt/bin/ivshmem create shm:a " in done.stdout


@pytest.mark.parametrize("change, options, message", [
    ("chown 5 /mnt/bin", "", "/mnt/bin belongs to user "),
    ("chown 5 /mnt/bin/ivshmem", "", "/mnt/bin/ivshmem belongs to user "),
    ("chmod 1777 /mnt/bin", "", "other users may write to /mnt/bin (mode 1777)"),
    ("chmod 0775 /mnt/bin/ivshmem", "", "other users may write to /mnt/bin/ivshmem (mode 0775)"),
    ("chmod 0777 /mnt", "--root /", "other users may write to /mnt (mode 0777)"),
    ("mount --rbind / /srv; chmod 0777 /mnt", "--root /srv", "other users may write to /mnt "),
])
def test_program_that_others_can_replace(change, options, message):
    """At boot, root does not run anything that another user can replace; the message names it, and
    advises installing the program. Nothing is created."""
    done = run_in_mounts(INSTALL % (change, options))
    assert message in done.stderr and "install ivshmem" in done.stderr, done.stderr
    assert not done.stdout


def make_obstacle(root, place):
    """Create a directory that prevents the last file from being written. Return: its path."""
    path = root / (file_names(place.shm)[2] + ".new")
    path.mkdir(parents=True)
    return path


def test_failure_with_a_broken_standard_error(shm, place, root):
    """Even if the message cannot be printed (SIGPIPE), whatever has been written is removed
    again."""
    obstacle = make_obstacle(root, place)
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run([TOOL, "create", place.shm, "--size", "1M", "--boot", "--root", root],
                              stderr=write_end, stdout=subprocess.DEVNULL, timeout=TIMEOUT,
                              check=False)
    finally:
        os.close(write_end)
    assert done.returncode == -signal.SIGPIPE
    assert files(root) == [] and not shm.exists()
    assert [path for path in root.rglob("*.*") if path != obstacle] == [obstacle.parent]


def test_failure_while_standard_error_is_full(shm, place, root):
    """The files have already been removed again while the program is waiting to print the
    message."""
    obstacle = make_obstacle(root, place)
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(write_end, bytes(4096)):
            pass
    os.set_blocking(write_end, True)
    with subprocess.Popen([TOOL, "create", place.shm, "--size", "1M", "--boot", "--root", root],
                          stderr=write_end, stdout=subprocess.DEVNULL) as popen:
        call = pathlib.Path(f"/proc/{popen.pid}/syscall")
        while popen.poll() is None and call.read_text().split()[1:2] != ["0x2"]:
            pass
        popen.kill()
    os.close(read_end)
    os.close(write_end)
    assert popen.returncode == -signal.SIGKILL, "it did not wait"
    assert files(root) == [] and obstacle.exists() and not shm.exists()


def test_limit_of_file_sizes(shm, place, root):
    """If ulimit -f is exceeded (SIGXFSZ), nothing is left behind."""
    run("create", place.shm, "--size", "1M")
    done = subprocess.run([TOOL, "create", place.shm, "--size", "1M", "--boot", "--root", root],
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
                          capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == -signal.SIGXFSZ and "File too large" in done.stderr
    assert os.listdir(root) == [] and shm.exists()


def test_failure_to_create_is_undone(shm, place, root):
    """If the region cannot be linked to its name, the new files are removed again, and older ones
    are kept."""
    done, _ = run_traced(place, ["-e", "inject=linkat:error=ENOSPC"], "create", place.shm,
                         "--size", "1M", "--boot", "--root", root)
    assert done.returncode == 1 and f"cannot create {shm}: No space left" in done.stderr
    assert os.listdir(root) == []
    boot(place.shm, root)
    before = {name: (root / name).read_text() for name in files(root)}
    shm.unlink()
    done, _ = run_traced(place, ["-e", "inject=linkat:error=ENOSPC"], "create", place.shm,
                         "--size", "2M", "--boot", "--root", root)
    assert done.returncode == 1
    assert {name: (root / name).read_text() for name in files(root)} == before


def test_what_cannot_be_undone_is_named(shm, place, root):
    """If a file cannot be removed again, the message says that the file was left behind."""
    done, _ = run_traced(place, ["-e", "inject=linkat:error=ENOSPC", "-e",
                                 "inject=unlinkat:error=EIO:when=4+"], "create", place.shm,
                         "--size", "1M", "--boot", "--root", root)
    assert done.returncode == 1 and not shm.exists()
    assert files(root) == sorted(file_names(place.shm))
    for name in files(root):
        assert f"{root / name} is left as it is" in done.stderr


def test_without_permission(place, root):
    """If the user may not write to the directories, the message says so, and advises running the
    command as root."""
    if os.geteuid():
        pytest.skip("needs root to switch to another user")
    tool = shutil.copy(TOOL, place.dir)
    place.dir.chmod(0o755)
    done = subprocess.run([tool, "create", place.shm, "--size", "1M", "--boot", "--root", root],
                          user=65534, group=65534, extra_groups=[], capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)
    assert done.returncode == 1 and "run this as root" in done.stderr
    assert not place.shm_path.exists() and files(root) == []


@pytest.mark.parametrize("owner, group, expected", [
    ("root", "root", "--owner root --group root"),
    ("0", "54321", "--owner root --group 54321"),
    ("54321", "0", "--owner 54321 --group root"),
])
def test_names_of_owners(shm, place, root, owner, group, expected):
    """Users and groups that are in /etc/passwd and /etc/group are written by name, others by
    number."""
    if os.geteuid():
        pytest.skip("needs root to change the owner of files")
    boot(place.shm, root, "--owner", owner, "--group", group)
    assert shm.exists()
    assert f" {expected} --mode 0660\n" in (root / file_names(place.shm)[0]).read_text()


def test_long_name(place, root):
    """A name that is too long for a unit's name is refused, and nothing is created."""
    name = place.shm + "-" * 220
    assert "too long for --boot" in boot(name, root, status=1).stderr
    assert not place.shm_path.with_name(name).exists() and files(root) == []
