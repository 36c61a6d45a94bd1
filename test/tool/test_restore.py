# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem restore: what it writes, and that it writes nothing if the file is damaged, the region
does not fit, or a program uses the region."""
import contextlib
import json
import mmap
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from support.py import image
from support.py.programs import TIMEOUT, wait_until
from support.py.region_tool import (MIB, TOOL, USER, reader_with_lock, run, run_in_mounts,
                                    run_traced, sleeps, user_of)

OTHER = 65534
OLD = b"\xee"  # what regions contain before they are restored
PAGE = 4096


@pytest.fixture
def shm(place):
    """The path of a region of 4 MiB that is full of OLD."""
    run("create", place.shm, "--size", "4M")
    place.shm_path.write_bytes(OLD * (4 * MIB))
    yield place.shm_path
    place.shm_path.unlink(missing_ok=True)


@pytest.fixture
def data():
    """Content of a region of 4 MiB, of which some parts are zeroes."""
    return (b"some text " * MIB)[:MIB] + bytes(MIB) + os.urandom(MIB) + bytes(MIB - 1) + b"x"


@pytest.fixture
def saved(place, data):
    """The path of a file with the content of @data."""
    (place.dir / "from").write_bytes(data)
    run("save", f"file:{place.dir}/from", place.dir / "saved")
    (place.dir / "from").unlink()
    return place.dir / "saved"


def test_report(shm, place, data, saved):
    """The command says what it did, and --json prints the same facts."""
    done = run("restore", saved, place.shm)
    assert re.fullmatch(rf"restored {shm} \(4M\) from {saved}, saved from file:{place.dir}/from at "
                        r"20\S+Z\n", done.stdout) and not done.stderr
    assert shm.read_bytes() == data
    told = json.loads(run("restore", saved, place.shm, "--json").stdout)
    assert told.pop("saved_at").startswith("20")
    assert told == {
        "address": f"shm:{place.shm}", "path": str(shm), "size": 4 * MIB, "file": str(saved),
        "saved_from": f"file:{place.dir}/from", "written": 3 * MIB, "roster_size": 0, "users": []}


def test_same_file(shm, place, saved):
    """The region stays the same file, with its owner, mode and memory."""
    shm.chmod(0o640)
    before = shm.stat()
    run("restore", saved, place.shm)
    after = shm.stat()
    assert (after[:7], after.st_blocks) == (before[:7], before.st_blocks)


def test_holes_stay_holes(place, data, saved):
    """Restoring zeroes allocates no memory where the region has a hole, even between content."""
    try:
        with open(place.shm_path, "wb") as file:
            file.truncate(4 * MIB)
        run("restore", saved, place.shm)
        assert place.shm_path.read_bytes() == data
        assert place.shm_path.stat().st_blocks * 512 <= 2 * MIB + PAGE
    finally:
        place.shm_path.unlink()


def test_memory_stays_reserved(shm, place, saved):
    """Zeroes do not release the region's memory, so that no program gets SIGBUS later."""
    with open(shm, "r+b") as file:
        file.truncate(0)
    run("create", place.shm, "--size", "4M")
    run("restore", saved, place.shm)
    assert shm.stat().st_blocks * 512 == 4 * MIB


def test_a_gibibyte(place):
    """A region of 1 GiB that has little content is restored over another one."""
    try:
        with open(place.shm_path, "wb") as file:
            file.truncate(1 << 30)
            file.seek(900 * MIB + 5)
            file.write(b"here")
        run("save", place.shm, place.dir / "saved")
        with open(place.shm_path, "r+b") as file:
            file.truncate(0)
            file.truncate(1 << 30)
            file.seek(300 * MIB)
            file.write(b"old")
        run("restore", place.dir / "saved", place.shm)
        with open(place.shm_path, "rb") as file:
            file.seek(300 * MIB)
            assert file.read(3) == bytes(3)
            file.seek(900 * MIB + 5)
            assert file.read(4) == b"here"
        assert place.shm_path.stat().st_blocks * 512 <= 2 * MIB
    finally:
        place.shm_path.unlink()


def good():
    """An image of 3 chunks."""
    return image.image(b"a" * PAGE + bytes(PAGE) + b"c" * PAGE)


def flipped(at, data=None):
    """The image with one bit flipped at this offset; a negative offset counts from the end."""
    data = bytearray(data or good())
    data[at] ^= 1
    return bytes(data)


def with_record(kind, length, number):
    """An image whose first record has these fields, and a correct checksum."""
    start = image.header(3 * PAGE)
    piece, _ = image.record(int.from_bytes(start[56:64], "little"), kind, number,
                            b"x" * min(length, PAGE))
    return start + piece[:4] + length.to_bytes(4, "little") + piece[8:]


NAMED = 64 + len("shm:sample")  # length of the header and the name
HOSTILE = {
    "empty": (b"", "it is empty"),
    "text": (b"hello\n" * 100, 'it was not written by "ivshmem save"'),
    "zeroes": (bytes(3 * PAGE), 'it was not written by "ivshmem save"'),
    "only the letters": (image.MAGIC, "it is truncated: it ends within its header"),
    "a few letters": (image.MAGIC[:3], "it is truncated: it ends within its header"),
    "cut in the name": (good()[:70], "it is truncated: it ends within its header"),
    "header alone": (good()[:NAMED], "it is truncated: it ends before chunk 1 of 3, without its "
                                     "last record"),
    "cut in a chunk": (good()[:NAMED + 24 + 5], "it ends within chunk 1 of 3 (at byte 0 of the "
                                                "region)"),
    "without its end": (good()[:-24], "it is truncated: it ends without its last record"),
    "bytes after its end": (good() + b"x", "it is damaged: bytes follow its last record"),
    "version 2": (image.image(bytes(3 * PAGE), version=2),
                  "the format has version 2, but this program reads only version 1: use the "
                  "ivshmem that wrote the file, or a later one"),
    "damaged name": (flipped(66), "the header is damaged: its checksum is "),
    "damaged size": (flipped(17), "the header is damaged: its checksum is "),
    "damaged chunk": (flipped(-24 - 100), "chunk 3 of 3 (at byte 8192 of the region) is damaged: "
                                          "its checksum is "),
    "damaged end": (flipped(-1), "the last record is damaged: its checksum is "),
    "size 0": (image.header(0), "the size of the region cannot be 0"),
    "size 2^63": (image.header(1 << 63), "the size of the region cannot be 9223372036854775808"),
    "chunk of 4 GiB": (image.header(PAGE, chunk=1 << 31), "of a chunk cannot be 2147483648"),
    "chunk of 1 byte": (image.header(PAGE, chunk=1), "the length of a chunk cannot be 1"),
    "name of 4 GiB": (image.header(PAGE)[:12] + b"\xff" * 4 + image.header(PAGE)[16:],
                      "the length of the name cannot be 4294967295"),
    "roster everywhere": (image.header(PAGE, roster=PAGE), "the length of the roster cannot be"),
    "year 10000": (image.header(PAGE, saved_ms=1 << 60), "the time cannot be "),
    "unknown kind": (with_record(9, 10, 0), "the record before chunk 1 of 3 is damaged: its kind "
                                            "cannot be 9"),
    "chunk outside": (with_record(image.PLAIN, PAGE, 3), "its number cannot be 3"),
    "content of 4 GiB": (with_record(1, (1 << 32) - 1, 0), "its length cannot be 4294967295"),
    "no zstd": (with_record(1, 100, 0), "chunk 1 of 3 (at byte 0 of the region) cannot be "
                                        "decompressed: "),
}


@pytest.mark.parametrize("which", HOSTILE)
def test_damaged_files(place, which):
    """A file that is damaged anywhere, truncated, or something else is refused with the reason, and
    the region stays as it is."""
    data, message = HOSTILE[which]
    (place.dir / "file").write_bytes(data)
    (place.dir / "region").write_bytes(OLD * 3 * PAGE)
    done = run("restore", place.dir / "file", f"file:{place.dir}/region", status=1)
    assert done.stderr.startswith(f"ivshmem restore: {place.dir}/file cannot be restored: ")
    assert message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert (place.dir / "region").read_bytes() == OLD * 3 * PAGE and not done.stdout


def test_independent_writer(place):
    """An image that was written according to the documentation can be restored."""
    (place.dir / "file").write_bytes(good())
    (place.dir / "region").write_bytes(OLD * 3 * PAGE)
    run("restore", place.dir / "file", f"file:{place.dir}/region")
    assert (place.dir / "region").read_bytes() == b"a" * PAGE + bytes(PAGE) + b"c" * PAGE


def test_terminal_is_safe(place):
    """The name in the file cannot contain control characters when it is printed."""
    name = b"shm:\x1b]0;x\x07\xff\n\xc2\x9b"
    (place.dir / "file").write_bytes(image.image(b"a" * PAGE, name=name))
    (place.dir / "region").write_bytes(bytes(PAGE))
    done = run("restore", place.dir / "file", f"file:{place.dir}/region")
    assert done.stdout.isprintable() or done.stdout[:-1].isprintable(), done.stdout
    done = run("restore", place.dir / "file", f"file:{place.dir}/region", "--json")
    assert done.stdout.isascii() and json.loads(done.stdout)["saved_from"].startswith("shm:\x1b]0")


@pytest.mark.parametrize("make, message", [
    (os.mkfifo, "is not a file, but a "), (os.mkdir, "is not a file, but a directory"),
    (lambda path: os.symlink("target", path), "is not a file, but a symbolic link"),
    (lambda path: None, "No such file or directory"),
], ids=["fifo", "directory", "link", "nothing"])
def test_not_a_file(shm, place, make, message):
    """Anything but a file is refused without waiting."""
    make(place.dir / "file")
    done = run("restore", place.dir / "file", place.shm, status=1)
    assert message in done.stderr and shm.read_bytes() == OLD * 4 * MIB


def test_other_size(shm, place, saved):
    """A region of another size is refused, with the command that changes it."""
    run("resize", place.shm, "--size", "8M")
    done = run("restore", saved, place.shm, status=1)
    assert done.stderr == (f"ivshmem restore: {saved} contains a region of 4M, but the size of "
                           f"{shm} is 8M: "
                           f"ivshmem resize {place.shm} --size 4M\n")


def test_absent_region(place, saved, data):
    """A region that does not exist is not created, but the command that creates it is printed."""
    done = run("restore", saved, place.shm, status=1)
    assert done.stderr == (f"ivshmem restore: {place.shm_path} does not exist: ivshmem create "
                           f"{place.shm} --size 4M\n")
    try:
        run(*done.stderr.split(": ")[2].split()[1:])
        run("restore", saved, place.shm)
        assert place.shm_path.read_bytes() == data
    finally:
        place.shm_path.unlink()


@pytest.mark.parametrize("how, does", [("map", "maps it"), ("open", "holds it open")])
def test_in_use(shm, place, saved, data, how, does):
    """While a process uses the region, nothing is changed, and the message names the process. With
    --force its memory changes."""
    with user_of(shm, how) as pid:
        done = run("restore", saved, place.shm, status=1)
        assert f"ivshmem restore: {shm} is in use:\n  python3" in done.stderr
        assert re.search(rf"\(pid {pid}\) {does}$", done.stderr, re.M)
        assert "With --force their memory changes while they run" in done.stderr
        assert shm.read_bytes() == OLD * 4 * MIB
        done = run("restore", saved, place.shm, "--force", "--json")
        assert re.search(rf"\(pid {pid}\) (sees its memory change|will see the restored content)$",
                         done.stderr, re.M)
    assert shm.read_bytes() == data
    assert [user["pid"] for user in json.loads(done.stdout)["users"]] == [pid]


def test_vm(shm, place, saved):
    """The message names a VM that maps the region."""
    vm = place.dir / "vm.py"
    vm.write_text(USER)
    with subprocess.Popen(["qemu-system-x86_64", vm, shm, "map", "-name", "guest=win10"],
                          executable="/usr/bin/python3", stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as popen:
        try:
            assert popen.stdout.readline() == "ready\n"
            done = run("restore", saved, place.shm, status=1)
        finally:
            popen.stdin.close()
    assert f"  VM win10 (pid {popen.pid}) maps it\n" in done.stderr


def test_mapping_sees_the_content(shm, place, saved, data):
    """With --force, a process that has the region mapped sees the restored content."""
    with open(shm, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        run("restore", saved, place.shm, "--force")
        assert memory[:] == data


def test_roster_of_a_live_server(place):
    """The roster that a server maintains at the end of the region stays as it is."""
    (place.dir / "from").write_bytes(b"n" * (MIB - PAGE) + bytes(PAGE))
    run("save", f"file:{place.dir}/from", place.dir / "saved")
    place.server("-n", "1", "--roster", "-l", "1M")
    before = place.shm_path.read_bytes()[-PAGE:]
    done = run("restore", place.dir / "saved", place.shm, status=1)
    assert re.search(r"ivshmem-server at \S+ \(pid \d+\) maps it$", done.stderr, re.M)
    done = run("restore", place.dir / "saved", place.shm, "--force")
    assert "the last 4K, the server's roster, were left as they are\n" in done.stdout
    assert place.shm_path.read_bytes() == b"n" * (MIB - PAGE) + before
    assert before.startswith(b"IVSROSTR")


def test_content_where_the_roster_is(place):
    """If the file has content where the server's roster is now, the command fails before it changes
    anything."""
    (place.dir / "from").write_bytes(b"n" * MIB)
    run("save", f"file:{place.dir}/from", place.dir / "saved")
    server = place.server("-n", "1", "--roster", "-l", "1M")
    server.signal(signal.SIGKILL)
    server.wait()
    before = place.shm_path.read_bytes()
    done = run("restore", place.dir / "saved", place.shm, status=1)
    assert f"the last 4K of {place.shm_path} are now a server's roster" in done.stderr
    assert place.shm_path.read_bytes() == before
    run("restore", place.dir / "saved", place.shm, "--force")
    assert place.shm_path.read_bytes() == b"n" * (MIB - PAGE) + before[-PAGE:]


def test_lack_of_memory(place, saved):
    """If the region is sparse and there is not enough memory, the command fails before it changes
    anything."""
    script = ('mount -t tmpfs -o size=1M shm /dev/shm && truncate -s 4M /dev/shm/a && '
              'printf old | dd of=/dev/shm/a conv=notrunc 2>/dev/null; '
              '"$TOOL" restore "$1" a; head -c 3 /dev/shm/a')
    done = run_in_mounts(script, saved)
    assert done.stdout == "old" and re.search(
        r"no room for the content of /dev/shm/a: its memory is not reserved, and 2\.\d MiB are "
        r"needed, but only 1\.0 MiB are free", done.stderr), done


def test_reserved_region_on_a_full_file_system(place, saved):
    """A region whose memory is reserved needs no more, even if nothing is free."""
    script = ('mount -t tmpfs -o size=4M shm /dev/shm && "$TOOL" create a --size 4M >/dev/null && '
              '"$TOOL" restore "$1" a')
    done = run_in_mounts(script, saved)
    assert done.returncode == 0, done.stderr


def end_with_the_lock(shm, saved, change, *options):
    """Change something while the process waits for the lock. Return: its status and messages."""
    with contextlib.ExitStack() as lock:
        lock.enter_context(reader_with_lock(shm))
        with subprocess.Popen([TOOL, "restore", saved, shm, *options], text=True,
                              stderr=subprocess.PIPE, stdout=subprocess.PIPE) as popen:
            wait_until(lambda: sleeps(popen.pid), "it waits for the lock")
            change(popen)
            lock.close()
            _, err = popen.communicate(timeout=TIMEOUT)
    return popen.returncode, err


@pytest.mark.usefixtures("fast_clock")
def test_lock(shm, place, saved, data):
    """Another process that holds the lock keeps the region from being restored, except with
    --force."""
    with reader_with_lock(shm):
        done = run("restore", saved, place.shm, "--force")
    assert shm.read_bytes() == data and done.returncode == 0


def test_interruption_before_the_first_byte(shm, saved):
    """A signal that arrives before the region is written ends the command immediately."""
    start = time.monotonic()
    status, _ = end_with_the_lock(shm, saved, lambda popen: popen.send_signal(signal.SIGINT),
                                  "--force")
    assert status == -signal.SIGINT and time.monotonic() - start < 4
    assert shm.read_bytes() == OLD * 4 * MIB


def test_interruption_while_it_writes(shm, place, saved, data):
    """A signal that arrives while the region is written waits until the region is complete."""
    done, _ = run_traced(place, ["-e", "inject=fallocate,fsync:signal=INT"], "restore", saved,
                         place.shm)
    assert done.returncode != 0 and shm.read_bytes() == data


def test_kill_while_it_writes(shm, place, saved, data):
    """If the process is killed while writing, the region can be restored again afterwards."""
    on_file = ["-P", str(saved), "-e", "trace=read"]
    _, trace = run_traced(place, on_file, "restore", saved, place.shm)
    reads_n = trace.count("read(")
    shm.write_bytes(OLD * 4 * MIB)
    # The last reads are those of the last chunk's record and content, the last record, and the end.
    done, _ = run_traced(place, [*on_file, "-e", f"inject=read:signal=KILL:when={reads_n - 3}"],
                         "restore", saved, place.shm)
    assert done.returncode != 0 and shm.read_bytes() not in (data, OLD * 4 * MIB)
    run("restore", saved, place.shm)
    assert shm.read_bytes() == data


def test_region_that_is_truncated_meanwhile(shm, saved):
    """A process that truncates the region cannot make the command crash."""
    status, err = end_with_the_lock(shm, saved, lambda _: os.truncate(shm, MIB), "--force")
    assert status == 1 and f"{shm} was truncated while it was being restored\n" in err
    assert f"the content of {shm} is now a mixture" in err


def test_region_that_is_replaced_meanwhile(shm, place, saved):
    """A region that is replaced while the file is checked is not the one to be restored."""
    (place.dir / "other").write_bytes(OLD * 4 * MIB)
    shutil.move(place.dir / "other", shm.with_name(shm.name + "-other"))
    status, err = end_with_the_lock(
        shm, saved, lambda _: os.rename(shm.with_name(shm.name + "-other"), shm), "--force")
    assert status == 1 and f"{shm} has been removed or replaced in the meantime: try again" in err
    assert shm.read_bytes() == OLD * 4 * MIB


def rewrite(path, data):
    """Change the content of the file in place."""
    with open(path, "r+b") as file:
        file.truncate(0)
        file.write(data)


def other_content(old):
    """An image with the same header but different content."""
    name_len = old[12]
    return image.image(b"n" * MIB + bytes(3 * MIB), chunk=MIB, name=old[64:64 + name_len],
                       saved_ms=int.from_bytes(old[32:40], "little"))


@pytest.mark.parametrize("change, message", [
    (lambda old: flipped(len(old) // 2, old), "is damaged: its checksum is "),
    (lambda old: old[:-24], "it ends without its last record"),
    (lambda old: b"", "it is truncated"),
    (lambda old: image.image(bytes(PAGE)), "has changed: nothing is restored"),
    (other_content, "changed while it was being restored"),
], ids=["damaged", "truncated", "emptied", "other size", "other content"])
def test_file_that_changes_meanwhile(shm, saved, change, message):
    """If the owner of the file changes it after it was checked, the command detects this, at the
    latest when the region is complete."""
    new = change(saved.read_bytes())
    status, err = end_with_the_lock(shm, saved, lambda _: rewrite(saved, new), "--force")
    assert status == 1 and message in err
    mixed = shm.read_bytes() != OLD * 4 * MIB
    assert ("is now a mixture: end the programs that use it, and restore it again" in err) == mixed


def run_as_other(place, *arguments):
    """Run ivshmem as another user."""
    if os.geteuid():
        pytest.skip("needs root to switch to another user")
    tool = shutil.copy(TOOL, place.dir / "tool")
    place.dir.chmod(0o755)
    return subprocess.run([tool, *map(str, arguments)], user=OTHER, group=OTHER, extra_groups=[],
                          capture_output=True, text=True, timeout=TIMEOUT, check=False)


def test_permissions(shm, place, saved, data):
    """A user needs to read the file, and to read and write the region; messages name the owner."""
    done = run_as_other(place, "restore", saved, place.shm)
    assert done.returncode == 1 and f"cannot open {saved}: Permission denied: it belongs to root:" \
        in done.stderr
    saved.chmod(0o644)
    for mode in (0o600, 0o644):
        shm.chmod(mode)
        done = run_as_other(place, "restore", saved, place.shm)
        assert done.returncode == 1 and f"cannot open {shm}: Permission denied: it belongs to " \
            "root:" in done.stderr
    assert shm.read_bytes() == OLD * 4 * MIB
    shm.chmod(0o666)
    done = run_as_other(place, "restore", saved, place.shm, "--force")
    assert done.returncode == 0 and shm.read_bytes() == data, done.stderr


def test_file_of_another_user(shm, place, saved, data):
    """Root restores from another user's directory, but follows no link there."""
    if os.geteuid():
        pytest.skip("needs root to give files to other users")
    own = place.dir / "own"
    own.mkdir()
    (own / "saved").write_bytes(saved.read_bytes())
    (own / "link").symlink_to(place.dir)
    for path in (own, own / "saved", own / "link"):
        os.chown(path, OTHER, OTHER, follow_symlinks=False)
    run("restore", own / "saved", place.shm)
    assert shm.read_bytes() == data
    done = run("restore", own / "link" / "saved", place.shm, status=1)
    assert "link in " in done.stderr and "is a symbolic link owned by user nobody" in done.stderr


@pytest.mark.usefixtures("huge_pages")
def test_huge_pages(place, data, saved):
    """A region in huge pages is restored and saved, too."""
    script = ('mkdir "$1/huge" && mount -t hugetlbfs -o pagesize=2M none "$1/huge" && "$TOOL" '
              'create "file:$1/huge/a" --size 4M && "$TOOL" restore "$2" "file:$1/huge/a" && '
              '"$TOOL" save "file:$1/huge/a" "$1/again"')
    done = run_in_mounts(script, place.dir, saved)
    assert done.returncode == 0, done.stderr
    (place.dir / "to").write_bytes(OLD * 4 * MIB)
    run("restore", place.dir / "again", f"file:{place.dir}/to")
    assert (place.dir / "to").read_bytes() == data


@pytest.mark.parametrize("arguments, status, message", [
    ((), 2, "no file is given"), (("a",), 2, "no region is given"),
    (("a", "b", "c"), 2, 'surplus argument "c"'), (("", "{shm}"), 2, 'invalid file ""'),
    (("{saved}", "file:/tmp"), 1, "/tmp is not a region, but a directory"),
    (("{saved}", "memfd:"), 2, "such a region has no name"),
    (("{shm}", "{saved}"), 1, 'was not written by "ivshmem save"'),
])
def test_mistakes(shm, place, saved, arguments, status, message):
    """The message says what was wrong, and the exit status matches the kind of error."""
    facts = {"shm": place.shm, "saved": saved}
    before = saved.read_bytes()
    done = run("restore", *(word.format(**facts) for word in arguments), status=status,
               cwd="/dev/shm")
    assert done.stderr.startswith("ivshmem restore: ") and message in done.stderr
    assert not done.stdout and saved.read_bytes() == before and shm.read_bytes() == OLD * 4 * MIB
