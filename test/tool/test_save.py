# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem save: what is saved, and that an older file stays as it is until the new one is
complete."""
import contextlib
import fcntl
import json
import mmap
import os
import re
import shutil
import subprocess

import pytest

from support.py import image
from support.py.programs import TIMEOUT, is_sanitized
from support.py.region_tool import (MIB, TOOL, USER, reader_with_lock, run, run_in_mounts,
                                    run_traced, user_of, without_leak_search)

OTHER = 65534


@pytest.fixture
def shm(place):
    """The path of a region of 4 MiB that begins with "first"."""
    run("create", place.shm, "--size", "4M")
    with open(place.shm_path, "r+b") as file:
        file.write(b"first")
    yield place.shm_path
    place.shm_path.unlink(missing_ok=True)


@pytest.fixture
def saved(place):
    """The path of the file."""
    return place.dir / "saved"


def names(place):
    """Return: the names of all files in the test's directory."""
    return sorted(path.name for path in place.dir.iterdir())


def restored(place, saved, size):
    """Restore the file into a new region full of 0xee. Return: its content."""
    path = place.dir / "restored"
    path.write_bytes(b"\xee" * size)
    run("restore", saved, f"file:{path}")
    content = path.read_bytes()
    path.unlink()
    return content


def noise(size):
    """Return: bytes that do not compress."""
    return os.urandom(size)


CONTENTS = {
    "nothing": lambda size: bytes(size),
    "one byte at the end": lambda size: bytes(size - 1) + b"x",
    "one byte at the start": lambda size: b"x" + bytes(size - 1),
    "noise": noise,
    "text": lambda size: (b"some text " * (size // 10 + 1))[:size],
    "every other page": lambda size: ((b"p" * 4096 + bytes(4096)) * (size // 8192 + 1))[:size],
    "noise, then nothing": lambda size: (noise(MIB) + bytes(size))[:size],
}


@pytest.mark.parametrize("size", [4096, MIB, 4 * MIB, 3 * MIB + 5])
@pytest.mark.parametrize("content", CONTENTS)
def test_round_trip(place, saved, size, content):
    """Saving and restoring preserves any content, even in sizes that no region should have."""
    data = CONTENTS[content](size)
    (place.dir / "region").write_bytes(data)
    run("save", f"file:{place.dir}/region", saved)
    assert restored(place, saved, size) == data


def test_report(shm, place, saved):
    """The command says what it has done, as text or, with --json, in JSON."""
    done = run("save", place.shm, saved)
    assert done.stdout == f"saved {shm} (4M) in {saved}: 0.0 MiB\n" and not done.stderr
    told = json.loads(run("save", place.shm, saved, "--json").stdout)
    at = told.pop("saved_at")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", at)
    assert told == {
        "address": f"shm:{place.shm}", "path": str(shm), "size": 4 * MIB, "file": str(saved),
        "file_size": saved.stat().st_size, "chunk_size": MIB, "chunks": 4, "saved_chunks": 1,
        "roster_size": 0, "users": []}


def test_format(place, saved):
    """The file is as src/image/format.h documents it."""
    data = noise(4096) + bytes(4096)
    (place.dir / "region").write_bytes(data)
    run("save", f"file:{place.dir}/region", saved)
    found = saved.read_bytes()
    name = f"file:{place.dir}/region".encode()
    at = int.from_bytes(found[32:40], "little")
    start = image.header(len(data), name=name, chunk=MIB, saved_ms=at)
    assert found[:len(start)] == start
    kind, length = found[len(start)], int.from_bytes(found[len(start) + 4:len(start) + 8], "little")
    assert kind == 1 and 4096 < length < 8192, "it is one chunk, compressed"
    assert len(found) == len(start) + 24 + length + 24


def test_mode(shm, place, saved):
    """Only its owner may read the file, because this may also be true of the region."""
    run("save", place.shm, saved, preexec_fn=lambda: os.umask(0))
    assert saved.stat().st_mode & 0o7777 == 0o600 and shm.exists()


def test_holes_and_zeroes_take_no_space(place, saved):
    """A region of 1 GiB without content, reserved or sparse, is saved in a few bytes, and its holes
    are not filled."""
    try:
        with open(place.shm_path, "wb") as file:
            file.truncate(1 << 30)
            file.seek(700 * MIB)
            file.write(b"x")
        before = place.shm_path.stat().st_blocks
        run("save", place.shm, saved)
        assert place.shm_path.stat().st_blocks == before
        assert saved.stat().st_size < 1000
    finally:
        place.shm_path.unlink()


def test_a_gibibyte_in_bounded_memory(place, saved):
    """A region of 1 GiB full of data is saved and restored with a few MiB of private memory."""
    if is_sanitized(TOOL):
        pytest.skip("AddressSanitizer needs more memory")
    if shutil.disk_usage("/dev/shm").free < 3 << 30:
        pytest.skip("needs 3 GiB of free memory")
    limited = ["sh", "-c", 'ulimit -d 65536; exec "$@"', "sh", TOOL]
    pattern = b"".join(number.to_bytes(8, "little") for number in range(MIB // 8))
    try:
        with open(place.shm_path, "wb") as file:
            for number in range(1024):
                file.write(pattern[number * 8:] + pattern[:number * 8])
        place.run(*limited, "save", place.shm, saved)
        with open(place.shm_path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            memory[5 * MIB:700 * MIB] = b"\xaa" * (695 * MIB)
        done = place.run(*limited, "restore", saved, place.shm)
        assert done.returncode == 0, done.stderr
        with open(place.shm_path, "rb") as file:
            for number in range(1024):
                assert file.read(MIB) == pattern[number * 8:] + pattern[:number * 8]
    finally:
        place.shm_path.unlink()


def test_an_older_file_is_replaced(shm, place, saved):
    """An older file is replaced as a whole: a process that has it open keeps the old one."""
    run("save", place.shm, saved)
    with open(saved, "rb") as file:
        old = file.read()
        with open(shm, "r+b") as region:
            region.write(b"other")
        run("save", place.shm, saved)
        file.seek(0)
        assert file.read() == old and saved.read_bytes() != old
    assert names(place) == ["saved"]
    assert restored(place, saved, 4 * MIB)[:5] == b"other"


def test_empty_file_is_replaced(shm, place, saved):
    """An empty file, such as one from mktemp(1), is replaced."""
    saved.touch()
    run("save", place.shm, saved)
    assert saved.stat().st_size and shm.exists()


def other_file(path, _shm):
    path.write_text("something that nobody has a copy of")


def short_file(path, _shm):
    path.write_text("IVSS")


def directory(path, _shm):
    path.mkdir()


def fifo(path, _shm):
    os.mkfifo(path)


def link(path, _shm):
    path.with_name("target").write_bytes(image.image(bytes(4096)))
    path.symlink_to("target")


def region_itself(path, shm):
    path.with_name("link").symlink_to("/dev/shm")
    return path.with_name("link") / shm.name


@pytest.mark.parametrize("make, status, message", [
    (other_file, 1, "was not written by \"ivshmem save\""),
    (short_file, 1, "was not written by \"ivshmem save\""),
    (directory, 1, "is not a file, but a directory"), (fifo, 1, "is not a file, but a "),
    (link, 1, "is not a file, but a symbolic link"), (region_itself, 2, "is the region itself"),
], ids=lambda value: getattr(value, "__name__", None))
def test_what_is_not_replaced(shm, place, saved, make, status, message):
    """Nothing but an older image is replaced."""
    path = make(saved, shm) or saved
    before = names(place)
    done = run("save", place.shm, path, status=status)
    assert message in done.stderr and names(place) == before and shm.read_bytes()[:5] == b"first"


@pytest.fixture
def full(shm, place):
    """A region whose 4 chunks do not compress, saved once before. Return: the old file's bytes."""
    run("save", place.shm, place.dir / "saved")
    shm.write_bytes(noise(4 * MIB))
    return (place.dir / "saved").read_bytes()


def calls_on(place, call):
    """Options of strace that select calls: only those on the region, if it is read."""
    return ["-P", str(place.shm_path)] if call.startswith("pread64") else []


@pytest.mark.parametrize("number", ["KILL", "INT", "TERM", "HUP", "QUIT"])
@pytest.mark.parametrize("call", ["write:signal={}:when=3", "pread64:signal={}:when=4",
                                  "fsync:signal={}:when=1", "linkat:signal={}:when=1"])
def test_death(full, place, saved, call, number):
    """If the process is killed or interrupted at any moment before the new file is complete, the
    old file is there, and no other. Once it is complete, an interruption comes too late."""
    done, _ = run_traced(place, [*calls_on(place, call), "-e", "inject=" + call.format(number)],
                         "save", place.shm, saved)
    assert done.returncode != 0 and names(place) == ["saved", "trace"]
    late = call.startswith("linkat") and number != "KILL"
    assert (saved.read_bytes() == full) != late


@contextlib.contextmanager
def unnamed_files_refused(place, *injections):
    """Options of strace that make the file system refuse files without a name."""
    shutil.copy(place.dir / "saved", place.dir / "probe")
    _, trace = run_traced(place, ["-e", "trace=openat"], "save", place.shm, place.dir / "probe")
    (place.dir / "probe").unlink()
    opened = [line for line in trace.splitlines() if "openat(" in line]
    at, = [i for i, line in enumerate(opened, 1) if "O_TMPFILE" in line]
    options = ["-e", f"inject=openat:error=EOPNOTSUPP:when={at}"]
    for each in injections:
        options += ["-e", "inject=" + each]
    yield options


def test_file_system_without_unnamed_files(full, place, saved):
    """Where unnamed files are not supported, a temporary name is used."""
    with unnamed_files_refused(place) as options:
        done, _ = run_traced(place, options, "save", place.shm, saved)
    assert done.returncode == 0, done.stderr
    assert names(place) == ["saved", "trace"] and len(saved.read_bytes()) > len(full)
    assert restored(place, saved, 4 * MIB) == place.shm_path.read_bytes()


@pytest.mark.parametrize("number", ["INT", "TERM", "HUP", "QUIT"])
@pytest.mark.parametrize("call", ["write:signal={}:when=2", "fsync:signal={}:when=1",
                                  "write:error=ENOSPC:signal={}:when=3"])
def test_interruption_without_unnamed_files(full, place, saved, call, number):
    """Where unnamed files are not supported, an interruption leaves no temporary file, and either
    the old or the new file."""
    with unnamed_files_refused(place, call.format(number)) as options:
        done, _ = run_traced(place, options, "save", place.shm, saved)
    assert done.returncode != 0 and names(place) == ["saved", "trace"]
    assert (saved.read_bytes() == full) == ("write" in call)


@pytest.mark.parametrize("call, message", [
    ("write:error=EIO:when=3", "cannot write {saved}: Input/output error"),
    ("write:error=EDQUOT:when=3", "it reached this user's quota"),
    ("fsync:error=EIO:when=1", "cannot write {saved}: Input/output error"),
    ("fsync:error=ENOSPC:when=1", "no room for {saved}"),
    ("linkat:error=EPERM", "cannot create {saved}: Operation not permitted"),
    ("renameat:error=EIO", "cannot create {saved}: Input/output error"),
    ("pread64:error=EIO:when=4", "cannot read /dev/shm/"),
    ("pread64:retval=0:when=4", "was truncated while it was being saved"),
])
def test_errors(full, place, saved, call, message):
    """After any error, the old file is the only file."""
    done, _ = run_traced(place, [*calls_on(place, call), "-e", "inject=" + call], "save",
                         place.shm, saved)
    assert done.returncode == 1 and message.format(saved=saved) in done.stderr, done
    assert names(place) == ["saved", "trace"] and saved.read_bytes() == full


@pytest.mark.parametrize("call, message", [
    ("write:error=EIO:when=3", "cannot write {saved}: Input/output error"),
    ("fsync:error=EIO:when=1", "cannot write {saved}: Input/output error"),
    ("renameat:error=EIO", "cannot create {saved}: Input/output error"),
])
def test_errors_without_unnamed_files(full, place, saved, call, message):
    """Where unnamed files are not supported, the temporary file is removed after any error."""
    with unnamed_files_refused(place, call) as options:
        done, _ = run_traced(place, options, "save", place.shm, saved)
    assert done.returncode == 1 and message.format(saved=saved) in done.stderr, done
    assert names(place) == ["saved", "trace"] and saved.read_bytes() == full


def test_short_disk(full, place):
    """If the disk is full, the message says how much was written and what to do; no file is
    left."""
    script = ('mount -t tmpfs -o size=2M disk "$1" && "$TOOL" save "$2" "$1/saved"; echo $?; '
              'ls -A "$1"; df --output=used "$1" | tail -n 1')
    (place.dir / "disk").mkdir()
    done = run_in_mounts(script, place.dir / "disk", place.shm)
    assert re.search(r"no room for .*/disk/saved: its file system was full after [012] MiB: free "
                     "some space, or give a path on another file system$", done.stderr, re.M)
    assert done.stdout.split() == ["1", "0"] and full


def test_limit_of_file_size(full, place, saved):
    """Reaching the limit of ulimit -f is reported, and does not kill the command."""
    done = place.run("sh", "-c", 'ulimit -f 2000; exec "$@"', "sh", TOOL, "save", place.shm, saved)
    assert done.returncode == 1 and "the limit on the size of files: ulimit -f" in done.stderr
    assert names(place) == ["saved"] and saved.read_bytes() == full


def test_programs_that_may_change_it(shm, place, saved):
    """A message names the programs that map the region, because they may change it during the
    save."""
    with user_of(shm, "map") as pid:
        done = run("save", place.shm, saved)
        assert re.search(rf"note: python3\S* \(pid {pid}\) maps {shm}: what it writes during "
                         "the save may or may not be saved$", done.stderr, re.M)
        with open(shm, "r+b") as file, mmap.mmap(file.fileno(), 0):
            done = run("save", place.shm, saved, "--json")
    assert " and 1 other map " in done.stderr
    assert [user["maps"] for user in json.loads(done.stdout)["users"]] == [True, True]


def test_name_of_a_vm(shm, place, saved):
    """The message names a VM that maps the region."""
    vm = place.dir / "vm.py"
    vm.write_text(USER)
    with subprocess.Popen(["qemu-system-x86_64", vm, shm, "map", "-name", "guest=win10"],
                          executable="/usr/bin/python3", stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as popen:
        try:
            assert popen.stdout.readline() == "ready\n"
            done = run("save", place.shm, saved)
        finally:
            popen.stdin.close()
    assert f"note: VM win10 (pid {popen.pid}) maps {shm}" in done.stderr


@pytest.mark.usefixtures("fast_clock")
def test_lock(shm, place, saved):
    """A process that is changing the region holds its lock; after a wait, a note says so. Any
    reader can hold the lock, so the lock does not keep the command from saving."""
    with reader_with_lock(shm, "LOCK_EX"):
        done = run("save", place.shm, saved)
    assert f"note: another process holds the lock on {shm}" in done.stderr and saved.exists()
    with open(shm, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert not run("save", place.shm, saved).stderr


def test_roster(place, saved):
    """The server's roster at the end of the region is not saved."""
    place.server("-n", "1", "--roster", "-l", "1M")
    with open(place.shm_path, "r+b") as file:
        file.seek(MIB - 4096)
        assert file.read(8) == b"IVSROSTR"
        file.seek(MIB - 4097)
        file.write(b"x")
    done = run("save", place.shm, saved)
    assert "the last 4K, the server's roster, are not saved\n" in done.stdout and not done.stderr
    assert json.loads(run("save", place.shm, saved, "--json").stdout)["roster_size"] == 4096
    content = restored(place, saved, MIB)
    assert content[-4097:] == b"x" + bytes(4096)


def run_as_other(place, *arguments):
    """Run ivshmem as another user."""
    if os.geteuid():
        pytest.skip("needs root to switch to another user")
    tool = shutil.copy(TOOL, place.dir / "tool")
    place.dir.chmod(0o755)
    return subprocess.run([tool, *map(str, arguments)], user=OTHER, group=OTHER, extra_groups=[],
                          capture_output=True, text=True, timeout=TIMEOUT, check=False)


def test_region_of_another_user(shm, place):
    """Without permission to read the region, the message says who owns it."""
    done = run_as_other(place, "save", place.shm, place.dir / "saved")
    assert done.returncode == 1 and f"cannot open {shm}: Permission denied: it belongs to root:" \
        in done.stderr


def test_directory_of_another_user(shm, place):
    """Without permission to create the file, the message says who owns the directory."""
    shm.chmod(0o644)
    done = run_as_other(place, "save", place.shm, place.dir / "saved")
    assert done.returncode == 1 and "Permission denied: " in done.stderr
    assert f"cannot create {place.dir}/saved" in done.stderr and "belongs to root" in done.stderr


def test_progress(full, place, saved):
    """After 2 s, a line on the terminal shows how much is done."""
    master, slave = os.openpty()
    with subprocess.Popen(["strace", "-f", "-qq", "-o", place.dir / "trace", "-e",
                           "inject=fsync:delay_enter=2500000", TOOL, "save", place.shm, saved],
                          stderr=slave, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          env=without_leak_search()) as popen:
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # EIO once the process has ended
            while data := os.read(master, 1000):
                shown += data
        os.close(master)
        assert popen.wait(TIMEOUT) == 0 and full
    assert f"saving {place.shm_path}: 2 s 4 of 4 MiB (100 %)".encode() in shown, shown
    assert shown.endswith(b"\r\x1b[K")


@pytest.mark.parametrize("arguments, status, message", [
    ((), 2, "no region is given"), (("a",), 2, "no file is given"),
    (("a", "b", "c"), 2, 'surplus argument "c"'), (("{shm}", ""), 2, 'invalid file ""'),
    (("file:/tmp", "x"), 1, "/tmp is not a region, but a directory"),
    (("none-such", "x"), 1, "/dev/shm/none-such does not exist"),
    (("{shm}", "{dir}/none/x"), 1, "the directory {dir}/none does not exist"),
    (("{shm}", "/dev/x"), 1, "would be a file among device nodes"),
    (("{shm}", "/proc/x"), 1, "cannot create /proc/x"),
])
def test_mistakes(shm, place, arguments, status, message):
    """The message says what was wrong, and the exit status matches the kind of error."""
    facts = {"shm": place.shm, "dir": place.dir}
    done = run("save", *(word.format(**facts) for word in arguments), status=status, cwd=place.dir)
    assert done.stderr.startswith("ivshmem save: ") and message.format(**facts) in done.stderr
    assert not done.stdout and names(place) == [] and shm.exists()


def test_empty_region(place, saved):
    """A region without a size cannot be saved."""
    (place.dir / "region").touch()
    done = run("save", f"file:{place.dir}/region", saved, status=1)
    assert "is empty: there is nothing to save" in done.stderr and not saved.exists()


def test_file_is_complete_before_it_has_its_name(full, place, saved):
    """Whenever the file is read, it can be restored completely."""
    target = place.dir / "target"
    target.write_bytes(bytes(4 * MIB))
    for _ in range(3):
        process = place.start(TOOL, "save", place.shm, saved)
        while process.popen.poll() is None:
            (place.dir / "copy").write_bytes(saved.read_bytes())
            run("restore", place.dir / "copy", f"file:{target}")
        assert process.wait() == 0
    assert saved.read_bytes() != full
