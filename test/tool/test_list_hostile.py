# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem list: other users can neither mislead it nor make it use unlimited time and memory."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from support.py.listing import (MAPPER, MIB, TOOL, Listing, listing, make, notes, start_mapper,
                                start_plain)

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a mount namespace")


@needs_root
@pytest.mark.parametrize("length, listed", [(200, True), (4095, True), (4096, False),
                                            (100000, False)])
def test_long_path_in_the_arguments_of_a_vm(place, length, listed):
    """A path in a process's arguments may have any length. The table shows its beginning, and the
    JSON all of it; a path that is too long for any file is ignored."""
    place.dir.chmod(0o755)
    tool = shutil.copy(TOOL, place.dir)
    path = f"{place.shm_path}/".ljust(length, "x")
    fake = place.start("bash", "-c", 'exec -a qemu-system-x86_64 sh -c "echo vm; read x" "$@"',
                       "bash", "-object", f"memory-backend-file,id=m,share=on,mem-path={path}",
                       "-device", "ivshmem-plain,memdev=m", stdin=subprocess.PIPE)
    fake.out.wait("vm")

    def list_it(*options):
        return place.run("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                         tool, "list", *options)

    found = [region["path"] for region in Listing(list_it("--json")).used_by(fake.pid)]
    assert found == ([path] if listed else [])
    done = list_it()
    assert done.returncode == 0, done
    table = done.stdout.split("\n\n", maxsplit=1)[0]
    cell = f"file:{path}"[:93] + "...  "
    assert (cell in table) == listed
    assert max(map(len, table.splitlines())) < 300
    assert (f"\nfile:{path} (absent): it does not exist" in done.stdout) == listed


def start_in_container(place, path, program="program"):
    """Start a process with this name. It maps a file at this path, in a file system that is mounted
    in the process's own mount namespace. If the name is QEMU's, the file looks like a VM's
    region."""
    process = place.start("unshare", "-m", "bash", "-ec", """
mount -t tmpfs none "$1"
truncate -s 1M "$1/$2"
exec -a "$3" "$4" -c "$5" "$1/$2" shared -object "memory-backend-file,id=m,mem-path=$1/$2" \\
    -device ivshmem-plain,memdev=m""", "bash", path.parent, path.name, program, sys.executable,
                          MAPPER, stdin=subprocess.PIPE)
    process.out.wait("mapped")
    return process


@needs_root
def test_region_of_a_container(place):
    """A file in another mount namespace's /dev/shm is not mistaken for one on this host."""
    process = start_in_container(place, place.shm_path)
    region = listing(place.shm).one()
    assert list(notes(region)) == ["elsewhere"] and region["size"] == MIB
    assert [user["pid"] for user in region["used_by"]] == [process.pid]


@needs_root
def test_removed_region_of_a_container(place):
    """A removed file in another mount namespace is not mistaken for a file on this host that has
    been replaced, and does not prevent such a file from being found."""
    make(place.shm_path)
    process = start_in_container(place, place.shm_path)
    os.unlink(f"/proc/{process.pid}/root{place.shm_path}")
    named, elsewhere = sorted(listing(place.shm).regions, key=lambda region: len(region["notes"]))
    assert not named["notes"] and not named["used_by"]
    assert list(notes(elsewhere)) == ["elsewhere"]

    vm = start_plain(place, "stale", place.shm_path)
    place.shm_path.unlink()
    make(place.shm_path)
    found = {tuple(notes(region)): region for region in listing(place.shm).regions}
    assert set(found) == {("split",), ("replaced",), ("elsewhere",)}
    assert f"is in use by VM stale (pid {vm.pid}): " in notes(found["split",])["split"]


@needs_root
def test_removed_file_of_a_container(place):
    """A removed file in another mount namespace is not mistaken for a file on this host, even if it
    is not in /dev/shm."""
    path = place.dir / "region"
    make(path)
    process = start_in_container(place, path, "qemu-system-x86_64")
    os.unlink(f"/proc/{process.pid}/root{path}")
    named, removed = sorted(listing(path).regions, key=lambda region: len(region["notes"]))
    assert not named["notes"] and list(notes(removed)) == ["removed"]


#: Creates nested directories until their path has a given length, and then a file in a directory
#: whose name looks like the beginning of a line in /proc/PID/maps. Maps the file until its input
#: ends. Arguments: the first directory, the length, the line
FAKER = """
import mmap, os, sys
directory, length, line = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.chdir(directory)
left = length - len(os.path.realpath(directory)) - 1
while left:
    name = "x" * (left - 1 if left <= 200 else 150)
    os.mkdir(name)
    os.chdir(name)
    left -= len(name) + 1
*names, last = line.split("/")
for name in names:
    os.mkdir(name)
    os.chdir(name)
with open(last, "w+b") as file:
    file.truncate(4096)
    memory = mmap.mmap(file.fileno(), 0)
print("mapped", flush=True)
sys.stdin.read()
"""
MAPS_PIECE = 64 * 1024
MAPS_PATH_AT = 73  # where the path begins in a line in /proc/PID/maps


@needs_root
@pytest.mark.parametrize("who", [0, NOBODY])
def test_path_that_looks_like_a_mapping(place, who):
    """If a path is longer than a single read, no part of it is mistaken for a mapping of another
    file."""
    place.dir.chmod(0o755)
    tool = shutil.copy(TOOL, place.dir)
    make(place.shm_path)
    info = place.shm_path.stat()
    device = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}"
    deep = place.dir / "deep"
    deep.mkdir()
    os.chown(deep, who, who)
    as_who = ["setpriv", f"--reuid={who}", f"--regid={who}", "--clear-groups"]
    faker = place.start(*as_who, sys.executable, "-c", FAKER, deep, MAPS_PIECE - MAPS_PATH_AT,
                        f"0-100000 rw-s 00000000 {device} {info.st_ino} {place.shm_path}",
                        stdin=subprocess.PIPE)
    faker.out.wait("mapped")
    done = place.run(*as_who, tool, "list", "--json", place.shm)
    assert not Listing(done).one()["used_by"]


@needs_root
@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_mapping_that_has_ended(place):
    """A mapping that /proc/PID/map_files does not confirm is ignored."""
    make(place.shm_path)
    process = start_mapper(place, place.shm_path)
    line = next(line for line in pathlib.Path(f"/proc/{process.pid}/maps").read_text().splitlines()
                if place.shm in line)
    done = place.run("strace", "-o", place.dir / "trace", "-P", f"map_files/{line.split()[0]}",
                     "-e", "inject=statx:error=ENOENT", TOOL, "list", "--json", place.shm)
    assert "INJECTED" in (place.dir / "trace").read_text()
    assert [user["maps"] for user in Listing(done).one()["used_by"]] == [False]


#: Maps files whose paths begin with the argument, without keeping their fds open, until its input
#: ends
MANY_MAPPER = """
import ctypes, os, sys
mmap = ctypes.CDLL(None).mmap
mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [ctypes.c_long]
for i in range(int(sys.argv[2])):
    fd = os.open(f"{sys.argv[1]}-{i}", os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(fd, 4096)
    mmap(None, 4096, 3, 1, fd, 0)
    os.close(fd)
print("mapped", flush=True)
sys.stdin.read()
"""


def test_very_many_files_of_a_process(place):
    """A process that maps a huge number of files cannot make the command use up all memory: some of
    that process's uses are omitted, and a message says so. Uses by other processes are listed."""
    make(place.shm_path)
    many = [place.start(sys.executable, "-c", MANY_MAPPER, place.shm_path, n, stdin=subprocess.PIPE)
            for n in (4096, 4200)]
    for process in many:
        process.out.wait("mapped")
    other = start_mapper(place, place.shm_path)
    found = listing("--all")
    uses = [[user["pid"] for region in found.regions for user in region["used_by"]].count(
        process.pid) for process in (*many, other)]
    assert uses == [4096, 4096, 1] and found.whole["crowded"] == 1
    assert found.errors.endswith("ivshmem list: 1 process uses more than 4096 files that may be "
                                 "regions: not all of these uses are listed\n")
