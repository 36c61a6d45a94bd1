# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem create: size, memory, owner and mode; regions that already exist; places in which regions
are not allowed."""
import json
import os
import pty
import re
import shutil
import signal
import stat
import subprocess

import pytest

from support.py.huge import NR_HUGEPAGES
from support.py.programs import SHM, TIMEOUT
from support.py.region_tool import (MIB, TOOL, run, run_in_mounts, run_traced,
                                    without_leak_search)

OWNER, GROUP = 5, 7  # any ids other than those of this process


@pytest.fixture
def shm(place):
    """The path of the region that a test may create."""
    yield place.shm_path
    place.shm_path.unlink(missing_ok=True)


def needs_root():
    """Skip the test unless it can change the owner of files."""
    if os.geteuid():
        pytest.skip("needs root to change the owner of files")


def facts(path):
    """Return: the size, reserved bytes, owner, group and mode of a file."""
    st = os.stat(path)
    return st.st_size, st.st_blocks * 512, st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)


@pytest.mark.parametrize("options, mode", [
    ((), 0o600),
    (("--mode", "0640"), 0o640),
    (("--group", os.getegid()), 0o660),
    (("--group", os.getegid(), "-m", "0606"), 0o606),
])
def test_new_region(shm, place, options, mode):
    """A new region has the requested size, reserved memory, and the requested or the default
    mode."""
    old = os.umask(0o077)
    try:
        done = run("create", place.shm, "--size", "2M", *options)
    finally:
        os.umask(old)
    assert facts(shm) == (2 * MIB, 2 * MIB, os.geteuid(), os.getegid(), mode)
    assert done.stdout.splitlines()[0].startswith(f"{shm} created: 2M, owner ")
    assert done.stdout.splitlines()[1:] == [f"next: ivshmem config libvirt {place.shm}"]
    assert not done.stderr


def test_owner_and_json(shm, place):
    """Owner and group are set, and the JSON object contains all facts about the region."""
    needs_root()
    done = run("create", f"shm:{place.shm}", "--size", "1M", "--owner", OWNER, "--group", GROUP,
               "--json")
    assert facts(shm) == (MIB, MIB, OWNER, GROUP, 0o660)
    told = json.loads(done.stdout)
    assert (told["address"], told["path"]) == (f"shm:{place.shm}", str(shm))
    assert (told["size"], told["uid"], told["gid"], told["mode"]) == (MIB, OWNER, GROUP, "0660")
    assert (told["state"], told["boot_files"], told["page_size"]) == ("created", [], 4096)


def test_file(place):
    """A relative path becomes absolute, both with file: and with --backend."""
    run("create", "file:a", "--size", "1M", cwd=place.dir)
    done = run("create", place.dir / "b", "--backend", "file", "--size", "1M", "--json")
    assert (place.dir / "a").stat().st_size == (place.dir / "b").stat().st_size == MIB
    assert json.loads(done.stdout)["address"] == f"file:{place.dir / 'b'}"


def test_file_in_dev_shm(shm, place):
    """A path in /dev/shm means the shm: region with that name."""
    done = run("create", f"file:{shm}", "--size", "1M", "--json")
    assert json.loads(done.stdout)["address"] == f"shm:{place.shm}"


def test_rights_before_the_name(shm, place):
    """The region gets its name only after its size, memory, owner and mode have been set, so no
    process can see an unfinished region."""
    needs_root()
    calls = "linkat,fallocate,fchown,fchmod,ftruncate,open,openat,creat"
    done, trace = run_traced(place, ["-e", f"trace={calls}"], "create", place.shm, "--size", "1M",
                             "--owner", OWNER, "--group", GROUP)
    assert done.returncode == 0, done.stderr
    order = re.findall(r"\b(linkat|fallocate|fchown|fchmod|ftruncate)\(", trace)
    assert order == ["ftruncate", "fallocate", "fchown", "fchmod", "linkat"]
    assert f'"{shm}", O_' not in trace
    assert shm.exists()


def test_file_system_without_nameless_files(shm, place):
    """Where unnamed files cannot be created, the region is created under its name, with mode
    0600."""
    done, trace = run_traced(place, ["-P", str(SHM), "-e", "inject=openat:error=EOPNOTSUPP:when=1"],
                             "create", place.shm, "--size", "1M", "--mode", "0644")
    assert done.returncode == 0, done.stderr
    assert "INJECTED" in trace
    assert facts(shm)[0] == facts(shm)[1] == MIB and facts(shm)[4] == 0o644


@pytest.mark.parametrize("inject, options", [
    ("inject=fallocate:signal=INT", []),
    ("inject=linkat:signal=TERM", ["--boot"]),
    ("inject=symlink,symlinkat:signal=QUIT", ["--boot"]),
    ("inject=fallocate:signal=INT:error=ENOSPC", ["--boot"]),
])
def test_signal(shm, place, inject, options):
    """A signal that arrives while memory is being reserved leaves nothing behind. A later signal
    takes effect only when the command is done."""
    if options:
        options = options + ["--root", place.dir]
    done, _ = run_traced(place, ["-e", inject], "create", place.shm, "--size", "1M", *options)
    if "link" in inject:
        assert shm.exists() and (place.dir / "etc").exists()
        assert done.returncode == (-signal.SIGQUIT if "QUIT" in inject else -signal.SIGTERM)
    else:
        assert done.returncode == -signal.SIGINT
        assert not shm.exists() and not (place.dir / "etc").exists()


def test_signal_without_nameless_files(shm, place):
    """A signal leaves nothing behind even where the region has its name from the start."""
    done, _ = run_traced(place, ["-P", str(SHM), "-P", str(shm),
                                 "-e", "inject=openat:error=EOPNOTSUPP:when=1",
                                 "-e", "inject=fallocate:signal=INT"],
                         "create", place.shm, "--size", "1M")
    assert done.returncode == -signal.SIGINT
    assert not shm.exists()


def test_progress(shm, place):
    """On a terminal, a step that takes longer than 2 s shows what it is doing and how long it has
    taken so far."""
    parent, child = pty.openpty()
    delayed = subprocess.Popen(["strace", "-f", "-qq", "-o", place.dir / "trace", "-e",
                                "inject=fallocate:delay_enter=60000000", TOOL, "create",
                                place.shm, "--size", "1M"], stderr=child, start_new_session=True,
                               env=without_leak_search())
    try:
        os.close(child)
        assert f"reserving 1M for {shm}: 2 s" in os.read(parent, 200).decode()
    finally:
        os.killpg(delayed.pid, signal.SIGKILL)
        delayed.wait(TIMEOUT)
        os.close(parent)
    assert not shm.exists()


def test_equal_region(shm, place):
    """A matching region is left unchanged, and the output says so."""
    run("create", place.shm, "--size", "1M")
    shm.write_bytes(b"kept" + bytes(MIB - 4))
    done = run("create", place.shm, "--size", "1M")
    assert done.stdout.startswith(f"{shm} is already there: 1M, owner ")
    assert shm.read_bytes()[:4] == b"kept"
    assert json.loads(run("create", place.shm, "--size", "1M", "--json").stdout)[
        "state"] == "existed"


def test_equal_region_without_memory(shm, place):
    """If a matching file's memory is not reserved, as with a file that QEMU has created, it is
    reserved."""
    shm.touch(0o600)
    os.truncate(shm, MIB)
    assert facts(shm)[1] == 0
    run("create", place.shm, "--size", "1M")
    assert facts(shm)[1] == MIB


def test_empty_file(shm, place):
    """An empty file with the right owner and mode, such as one that tmpfiles.d creates, is grown to
    the requested size."""
    shm.touch(0o600)
    done = run("create", place.shm, "--size", "1M")
    assert "was empty, and now has its size: 1M" in done.stdout
    assert facts(shm)[:2] == (MIB, MIB)


def test_differences(shm, place):
    """Each difference is reported with both values. The printed commands fix all of them."""
    needs_root()
    run("create", place.shm, "--size", "1M", "--mode", "0644")
    wanted = ["create", place.shm, "--size", "2M", "-o", OWNER, "-g", GROUP]
    err = run(*wanted, status=1).stderr
    lines = dict(re.findall(r"^  the (\w+) is (.*)$", err, re.M))
    assert list(lines) == ["size", "owner", "group", "mode"]
    assert lines["size"].startswith("1M, not 2M: ")
    assert lines["mode"].startswith("0644, not 0660: ")
    assert f"ivshmem remove {place.shm}, and create it again" in err
    assert facts(shm) == (MIB, MIB, 0, 0, 0o644)
    for line in lines.values():
        command = line.split(": ", 1)[1].replace("ivshmem ", f"{TOOL} ", 1)
        subprocess.run(command, shell=True, check=True, timeout=TIMEOUT, capture_output=True)
    assert "is already there" in run(*wanted).stdout


def test_group_without_access_does_not_matter(shm, place):
    """With mode 0600 and without --group, the group of an existing region does not matter."""
    needs_root()
    run("create", place.shm, "--size", "1M", "--group", GROUP, "--mode", "0600")
    run("create", place.shm, "--size", "1M")
    assert "the group is" in run("create", place.shm, "--size", "1M", "--mode", "0660",
                                 status=1).stderr
    assert shm.exists()


def test_without_permission_to_change_the_owner(shm, place):
    """If the user is not root, the message says who can change the owner; no file is left
    behind."""
    needs_root()
    tool = shutil.copy(TOOL, place.dir)
    place.dir.chmod(0o755)
    done = subprocess.run([tool, "create", place.shm, "--size", "1M", "--owner", "0"], user=65534,
                          group=65534, extra_groups=[], capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)
    assert done.returncode == 1
    assert f"cannot give {shm} to uid 0" in done.stderr
    assert "only root can change the owner" in done.stderr
    assert not shm.exists()


@pytest.mark.parametrize("name, options, status, message", [
    ("", (), 2, 'invalid address ""'),
    ("a\nb", (), 2, 'invalid address "a?b": use UTF-8 without control characters'),
    ("a\x7f", (), 2, "control characters"),
    ("a:b", (), 2, 'invalid address "a:b": put shm: before it if it is a name'),
    ("..", (), 2, "use one word without slashes"),
    ("shm:a/b", (), 2, "use file:a/b"),
    ("x" * 256, (), 2, "at most 255 fit"),
    ("x" * 5000, (), 2, "it is too long"),
    ("memfd:", (), 2, "such a region has no name"),
    ("dir:/tmp", (), 2, "such a region has no name"),
    ("shm:a", ("--backend", "file"), 2, "names a different backend"),
    ("file:/a", ("--backend", "shm"), 2, "names a different backend"),
    ("/a", ("--backend", "shm"), 2, "names a different backend"),
    ("shm:a", ("--backend", "hugetlb"), 2, "names a different backend"),
    ("a", ("--backend", "file"), 2, "this backend needs a path, such as /mnt/NAME"),
    ("none-such/b", ("--backend", "hugetlb"), 1, "/none-such does not exist"),
    ("a", ("--backend", "disk"), 2, 'invalid backend "disk": use shm, file or hugetlb'),
    ("a", ("--size", "3M"), 2, "region size 3M is not a power of two; use 2M or 4M"),
    ("a", ("--size", "1000000M"), 2, "not a power of two; use 512G or 1T"),
    ("a", ("--size", "64MB"), 2, 'invalid size of the region "64MB"'),
    ("a", ("--size", "0"), 2, 'invalid size of the region "0"'),
    ("a", ("--mode", "888"), 2, 'invalid mode "888"'),
    ("a", ("--owner", "no-such-user"), 2, 'no such user "no-such-user"'),
    ("a", ("--group", "no-such-group"), 2, 'no such group "no-such-group"'),
    ("a", ("--root", "/none-such"), 2, 'invalid root "/none-such": use an existing directory'),
    ("a", ("--root", "/tmp"), 2, 'surplus option --root "/tmp": add --boot'),
    ("a", ("b",), 2, 'surplus argument "b": one region is expected'),
    ("file:/none-such/a", (), 1, "the directory /none-such does not exist: mkdir -p /none-such"),
    ("file:/none such/it's/a", (), 1, r"mkdir -p '/none such/it'\''s'"),
    ("file:/tmp", (), 1, "/tmp is not a file"),
    ("file:/dev/null", (), 1, "/dev/null is not a file, but a character device"),
    ("file:/dev/a", (), 1, "/dev/a would be a file among device nodes: use shm:a"),
])
def test_mistakes(name, options, status, message):
    """The message says what was wrong and what to do; nothing is created."""
    done = run("create", name, *(() if "--size" in options else ("--size", "1M")), *options,
               status=status)
    assert done.stderr.startswith("ivshmem create: ") and message in done.stderr
    assert not done.stdout and done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments, message", [
    (("--size", "1M"), "no region is given"), (("a",), "no size is given: add --size"),
])
def test_incomplete(arguments, message):
    """A missing region or size is a usage error."""
    assert message in run("create", *arguments, status=2).stderr


def test_less_than_a_page(shm, place):
    """A size below one page is refused."""
    assert "use 4K or more" in run("create", place.shm, "--size", "1K", status=1).stderr
    assert not shm.exists()


def test_symbolic_link(shm, place):
    """A symbolic link with the region's name is not followed."""
    shm.symlink_to(place.dir / "target")
    assert "is a symbolic link" in run("create", place.shm, "--size", "1M", status=1).stderr
    assert not (place.dir / "target").exists()


def test_kvmfr():
    """/dev/kvmfr0 is a device of a kernel module: no region is created there, and a regular file
    there is not used as a region."""
    mounts = 'mount -t tmpfs dev /dev && mkdir /dev/shm && '
    done = run_in_mounts(mounts + '"$TOOL" create file:/dev/kvmfr0 --size 1M; ls /dev')
    assert "/dev/kvmfr0 does not exist: it is a device that the kvmfr module creates" in done.stderr
    assert done.stdout == "shm\n"
    done = run_in_mounts(mounts + 'truncate -s 1M /dev/kvmfr0 && "$TOOL" create '
                         'file:/dev/kvmfr0 --size 1M; "$TOOL" remove file:/dev/kvmfr0; ls /dev')
    assert "is a regular file, not the device of the kvmfr module" in done.stderr
    assert done.stdout == "removed /dev/kvmfr0\nshm\n"
    done = run_in_mounts(mounts + 'mknod /dev/kvmfr0 c 1 7 && "$TOOL" create file:/dev/kvmfr0 '
                         '--size 1M')
    assert "but a device of the kvmfr module" in done.stderr and done.returncode == 1


def test_devtmpfs(place):
    """No region is created among device nodes, even if devtmpfs is mounted elsewhere."""
    done = run_in_mounts('mount -t devtmpfs dev "$1" && "$TOOL" create "file:$1/a" --size 1M',
                         place.dir)
    if "unknown filesystem" in done.stderr or "denied" in done.stderr:
        pytest.skip(f"devtmpfs cannot be mounted: {done.stderr}")
    assert f"{place.dir}/a would be a file among device nodes" in done.stderr


def test_no_dev_shm():
    """A missing /dev/shm is reported, and the printed command creates it."""
    script = 'mount -t tmpfs dev /dev && "$TOOL" create a --size 1M'
    done = run_in_mounts(script)
    assert done.returncode == 1 and "this system has no /dev/shm" in done.stderr
    cure = re.search(r"as root, (.*)", done.stderr)[1]
    done = run_in_mounts(f'{script}; {cure} && "$TOOL" create a --size 1M')
    assert done.returncode == 0 and "/dev/shm/a created" in done.stdout


@pytest.mark.parametrize("marker", ["/run/.containerenv", None])
def test_small_dev_shm(marker):
    """If /dev/shm is too small, the message advises enlarging it or, in a container, starting the
    container with a larger one."""
    script = ('mount -t tmpfs -o size=64M shm /dev/shm && mount -t tmpfs run /run && '
              f'touch {marker or "/run/other"} && "$TOOL" create a --size 128M; ls /dev/shm')
    done = run_in_mounts(script)
    assert done.stdout == ""
    assert "no room for a region of 128M at /dev/shm/a: its file system has 64M free" in done.stderr
    cure = re.search(r"as root, (mount.*)", done.stderr)[1]
    told = "/dev/shm of this container holds 64M in all: start it with --shm-size=256M"
    if os.path.exists("/.dockerenv"):
        marker = "/.dockerenv"
    assert (told in done.stderr) == bool(marker)
    done = run_in_mounts(f'{script}; {cure} && "$TOOL" create a --size 128M')
    assert "/dev/shm/a created: 128M" in done.stdout


@pytest.mark.usefixtures("huge_pages")
def test_hugetlb(place):
    """--backend hugetlb creates the region under its name in the mounted hugetlbfs. If too few
    pages are free, the message says how many are needed."""
    mount = ('umount -a -t hugetlbfs 2>/dev/null; "$TOOL" create a --backend hugetlb --size 2M; '
             'mount -t hugetlbfs none "$1" && ')
    done = run_in_mounts(mount + '"$TOOL" create a --backend hugetlb --size 2M --json', place.dir)
    assert "no hugetlbfs is mounted: as root, mkdir -p /dev/hugepages" in done.stderr
    told = json.loads(done.stdout)
    assert (told["address"], told["page_size"]) == (f"file:{place.dir}/a", 2 * MIB)
    nr_hugepages = int(NR_HUGEPAGES.read_text())
    size = 1 << (nr_hugepages * 2).bit_length()
    done = run_in_mounts(mount + f'"$TOOL" create "$1/b" --backend hugetlb --size {size}M; '
                         'ls "$1"', place.dir)
    assert "huge pages of 2M are needed" in done.stderr and done.stdout == ""
    done = run_in_mounts(mount + '"$TOOL" create /tmp/a --backend hugetlb --size 2M', place.dir)
    assert "/tmp is not on a hugetlbfs" in done.stderr
    assert f"use a path in {place.dir}" in done.stderr
