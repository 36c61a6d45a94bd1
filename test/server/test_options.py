# SPDX-License-Identifier: BSD-3-Clause
"""The options of ivshmem-server: their effects, and the messages about bad values."""
import errno
import fcntl
import mmap
import os
import pathlib
import re
import stat
import subprocess

import pytest

from support.py import advice
from support.py.clients import join
from support.py.options import check_help, check_help_and_man_page, check_refused, check_version
from support.py.programs import wait_until
from support.py.wire import RawClient, accepts

F_GET_SEALS = 1034
F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW = 1, 2, 4
MIB = 1 << 20
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def nothing_left(where):
    """Return true if neither a socket nor a region exists."""
    return os.listdir(where.dir) == [] and not where.shm_path.exists()


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_succeeds(place, option):
    """The help contains the usage, every option and an example; the status is 0."""
    check_help(place, "ivshmem-server", option)


def test_help_and_man_page_agree(place):
    """Every option in the help is in the man page, and vice versa."""
    check_help_and_man_page(place, "ivshmem-server")


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_is_one_line(place, option):
    """--version prints the program's name and a version."""
    check_version(place, "ivshmem-server", option)


@pytest.mark.parametrize("option", ["-Z", "--nonsense", "-S", "--socket", "--help=yes"])
def test_unknown_or_incomplete_option(place, option):
    """A bad option results in status 2, a message with its name, and a pointer to --help."""
    check_refused(place, "ivshmem-server", option)


@pytest.mark.parametrize("options, status, message", [
    (["-l", "0"], 2, 'invalid size of the region "0": use a number with K, M, G or T, such as 4M'),
    (["-l", "abc"], 2, 'invalid size of the region "abc"'),
    (["-l", "4X"], 2, 'invalid size of the region "4X"'),
    (["-l", "4MB"], 2, 'invalid size of the region "4MB"'),
    (["-l", "-1"], 2, 'invalid size of the region "-1"'),
    (["-l", "+4M"], 2, 'invalid size of the region "+4M"'),
    (["-l", " 4M"], 2, 'invalid size of the region " 4M"'),
    (["-l", "0x1000"], 2, 'invalid size of the region "0x1000"'),
    (["-l", ""], 2, 'invalid size of the region ""'),
    (["-l", "99999999999999999999"], 2, 'invalid size of the region "99999999999999999999"'),
    (["--size", "16777216T"], 2, 'invalid size of the region "16777216T"'),
    (["-l", "3M"], 1, "region size 3M is not a power of two; use 2M or 4M"),
    (["-l", "5G"], 1, "region size 5G is not a power of two; use 4G or 8G"),
    (["-l", "4097"], 1, "region size 4097 is not a power of two; use 4K or 8K"),
    (["-l", "2K"], 1, "region size 2K is less than one page; use 4K or more"),
    (["-l", "1"], 1, "region size 1 is less than one page"),
    (["-l", "8388608T"], 1, "exceeds the maximum file size"),
    (["-l", "4194304T"], 1, "no room for a region of 4194304T"),
    (["-n", "-1"], 2, 'invalid number of vectors "-1": use 0 to 2048'),
    (["-n", "2049"], 2, 'invalid number of vectors "2049": use 0 to 2048'),
    (["--vectors", "x"], 2, 'invalid number of vectors "x"'),
    (["-n", ""], 2, 'invalid number of vectors ""'),
    (["surplus"], 2, 'surplus argument "surplus"'),
    (["-F", "--", "-F"], 2, 'surplus argument "-F"'),
    (["-r", "foo:bar"], 1, '"foo:bar" is not a valid region address: use shm:NAME, file:PATH'),
    (["-r", ""], 1, '"" is not a valid region address'),
    (["-r", "shm:"], 1, '"" is not a valid name for POSIX shared memory'),
    (["-M", "a/b"], 1, '"a/b" is a path, not a name for POSIX shared memory: use file:a/b'),
    (["-M", ".."], 1, '".." is not a valid name for POSIX shared memory'),
    (["-M", "x" * 256], 1, "256 bytes; at most 255 fit"),
    (["-r", "file:"], 1, 'a path must follow "file:"'),
    (["-r", "file:/tmp"], 1, "/tmp is not a file; for an unnamed region in a directory use dir:"),
    (["-r", "file:/dev/null"], 1, "/dev/null is not a file"),
    (["-r", "dir:/nonexistent"], 1, "the directory /nonexistent"),
    (["-r", "dir:/dev/null"], 1, "/dev/null is not a directory"),
    (["-r", "memfd:3M"], 1, '"3M" is not a valid size of huge pages: use memfd:2M or memfd:1G'),
    (["-r", "memfd:4K"], 1, "the kernel does not support huge pages of 4K: use memfd:"),
    (["-S", ""], 1, "the socket's path has 0 bytes, but must have 1 to 107"),
    (["-S", "/tmp/" + "x" * 103], 1, "the socket's path has 108 bytes, but must have 1 to 107"),
    (["-S", "/nonexistent/socket"], 1,
     "cannot create the socket /nonexistent/socket: No such file or directory"),
    (["-S", "/proc/socket"], 1, "cannot create the socket /proc/socket"),
    (["-F", "-p", "/nonexistent/pid"], 1, "cannot open the pidfile /nonexistent/pid"),
    (["-F", "-p", "/tmp"], 1, "cannot open the pidfile /tmp"),
])
def test_bad_value_for_the_server(place, options, status, message):
    """For a bad value, the message contains the value, the reason and how to fix it; no files are
    left."""
    done = place.run_server("-F", "-S", place.socket, "-M", place.shm, *options)
    assert done.returncode == status
    assert message in done.stderr
    assert done.stderr.startswith("ivshmem-server: ")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert nothing_left(place)


# Effects of the options

@pytest.mark.parametrize("names", [
    ["-S", "-l", "-n", "-M", "-F", "-p", "-v"],
    ["--socket", "--size", "--vectors", "--shm", "--foreground", "--pidfile", "--verbose"],
], ids=["short", "long"])
def test_short_and_long_options_are_equivalent(place, names):
    """Short and long options have the same effect."""
    pidfile = place.dir / "pid"
    path, size, vectors, shm, foreground, pid, verbose = names
    server = place.start(place.server_program, path, place.socket, size, "1M", vectors, "3", shm,
                         place.shm, foreground, pid, pidfile, verbose)
    server.err.wait(f"listening at {place.socket}: shm:{place.shm} of 1M, new, 3 vectors")
    assert pidfile.read_text() == f"{server.pid}\n"
    client = join(place, 3)
    assert os.fstat(client.memory).st_size == MIB
    server.err.wait(f"client 0 joined (pid {os.getpid()}, uid {os.getuid()}), 1 connected")
    client.close()
    server.err.wait(f"client 0 left (pid {os.getpid()}, uid {os.getuid()})")
    server.signal(15)
    assert server.wait() == 0
    assert nothing_left(place)


def test_server_is_quiet_without_verbose(place):
    """Without -v nothing is logged as long as nothing fails."""
    pidfile = place.dir / "pid"
    server = place.start(place.server_program, "-F", "-S", place.socket, "-M", place.shm,
                         "-p", pidfile)
    wait_until(lambda: accepts(place.socket), "the server accepts connections")
    join(place).close()
    join(place)
    server.signal(15)
    assert server.wait() == 0
    assert (server.out.text(), server.err.text()) == ("", "")


@pytest.mark.parametrize("text, size", [
    ("4096", 4096), ("64K", 64 << 10), ("64k", 64 << 10), ("2M", 2 * MIB), ("2m", 2 * MIB),
    ("1048576", MIB), ("0004K", 4096),
])
def test_sizes_with_and_without_suffix(place, text, size):
    """A size may have a suffix in upper or lower case; all the memory of the region is reserved."""
    place.server("-l", text)
    st = os.fstat(join(place).memory)
    assert st.st_size == size
    assert st.st_blocks * 512 >= size


@pytest.mark.parametrize("option", ["-m", "--memory", "-r"])
def test_memory_in_a_directory_has_no_name(place, option):
    """With -m and an existing directory, the region is an unlinked file in that directory."""
    directory = place.shm_path
    directory.mkdir()
    prefix = "dir:" if option == "-r" else ""
    server = place.server("-l", "1M", region=[option, prefix + str(directory)])
    client = join(place)
    path = os.readlink(f"/proc/self/fd/{client.memory}")
    assert path.startswith(f"{directory}/") and path.endswith(" (deleted)")
    assert os.fstat(client.memory).st_nlink == 0
    assert os.listdir(directory) == []
    server.stop()
    assert os.listdir(directory) == []


@pytest.mark.parametrize("region", [["-m", ""], ["-M", ""], ["-M", "/"], ["--shm", ""],
                                    ["-r", "shm:"], ["--region", "shm:"]])
def test_memory_by_name_is_removed_at_the_end(place, region):
    """A named region is removed at exit. -m with a word that is not a directory means the same as
    -M."""
    option, prefix = region
    server = place.server("-l", "1M", region=[option, prefix + place.shm])
    st = os.fstat(join(place).memory)
    there = place.shm_path.stat()
    assert (st.st_dev, st.st_ino) == (there.st_dev, there.st_ino)
    assert stat.S_IMODE(there.st_mode) == 0o600
    server.stop()
    assert nothing_left(place)


def test_memory_in_a_file_is_removed_at_the_end(place):
    """-r file:PATH creates a file, which is removed at exit."""
    path = place.dir / "region"
    server = place.server("-l", "1M", region=["-r", f"file:{path}"])
    assert os.path.samestat(os.fstat(join(place).memory), path.stat())
    server.stop()
    assert nothing_left(place)


def test_sealed_memory_cannot_be_resized(place):
    """With "-r memfd:" no client can shrink or grow the region, or add or remove seals."""
    server = place.server("-l", "1M", region=["-r", "memfd:"])
    assert server.err.count("truncate") == 0
    client = join(place)
    seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW
    assert fcntl.fcntl(client.memory, F_GET_SEALS) & seals == seals
    for size in [0, 4096, 2 * MIB]:
        with pytest.raises(PermissionError) as caught:
            os.ftruncate(client.memory, size)
        assert caught.value.errno == errno.EPERM
    assert os.fstat(client.memory).st_size == MIB


def test_unsealed_memory_is_logged(place):
    """With -v the log says what clients can do to a named region."""
    server = place.server()
    server.err.wait("any client can truncate the region")


def make_shm(place, size, mode=0o600):
    """Create a shared memory object before the server starts."""
    place.shm_path.touch()
    os.truncate(place.shm_path, size)
    place.shm_path.chmod(mode)
    return place.shm_path.stat()


def test_existing_memory_of_the_same_size_is_used(place):
    """An existing object keeps its contents, and is not removed when the server exits."""
    before = make_shm(place, MIB, 0o640)
    with open(place.shm_path, "r+b") as file:
        file.write(b"kept")
    server = place.server("-l", "1M")
    server.err.wait("existed before and will not be removed")
    client = join(place)
    assert os.fstat(client.memory).st_ino == before.st_ino
    assert os.pread(client.memory, 4, 0) == b"kept"
    server.stop()
    after = place.shm_path.stat()
    assert (after.st_ino, after.st_size, after.st_mode) == (before.st_ino, MIB, before.st_mode)


def test_existing_memory_of_an_unsupported_size_is_an_error(place):
    """An existing object whose size is not a power of two is refused."""
    before = make_shm(place, 3 * MIB)
    for size in (["-l", "1M"], ["-l", "4M"]):
        done = place.run_server("-F", "-S", place.socket, "-M", place.shm, *size)
        assert done.returncode == 1
        assert f"{place.shm_path} exists with size 3M, which is not a power of two: use another " \
               "name, or remove it if it is an unused region" in done.stderr
    assert place.shm_path.stat().st_size == before.st_size == 3 * MIB


@pytest.mark.parametrize("has, text", [(2 * MIB, "2M"), (4096, "4K")])
def test_existing_memory_of_another_size_is_an_error(place, has, text):
    """An existing object of a different size is left unchanged; the message suggests using its size
    or removing it."""
    before = make_shm(place, has)
    done = place.run_server("-F", "-S", place.socket, "-M", place.shm, "-l", "1M")
    assert done.returncode == 1
    assert f"{place.shm_path} exists with size {text}, not 1M: ask for size {text}" in done.stderr
    assert f"rm {place.shm_path}" in done.stderr
    after = place.shm_path.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, has)
    assert not place.socket.exists()


def test_empty_memory_is_grown(place):
    """An existing empty object, such as one that tmpfiles.d creates, is grown, and keeps its mode
    and owner."""
    make_shm(place, 0, 0o660)
    if os.geteuid() == 0:
        os.chown(place.shm_path, 1, 2)
    before = place.shm_path.stat()
    server = place.server("-l", "1M")
    after = place.shm_path.stat()
    assert after.st_size == MIB and after.st_ino == before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode, before.st_uid, before.st_gid)
    server.stop()
    assert place.shm_path.stat().st_ino == before.st_ino


def test_symbolic_link_is_not_followed(place):
    """A symbolic link in the world-writable /dev/shm is not followed, because it may be an attack
    by another user."""
    target = place.dir / "target"
    target.write_text("precious")
    place.shm_path.symlink_to(target)
    done = place.run_server("-F", "-S", place.socket, "-M", place.shm, "-l", "1M")
    assert done.returncode == 1
    assert "is a symbolic link" in done.stderr
    assert target.read_text() == "precious"
    assert not place.socket.exists()


@pytest.fixture
def small_tmpfs(place):
    """Mount a tmpfs with room for 1 MiB."""
    directory = place.dir / "small"
    directory.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(directory)],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("cannot mount: " + done.stderr.strip())
    try:
        yield pathlib.Path(directory)
    finally:
        place.end_all()
        subprocess.run(["umount", str(directory)], check=True)


@NEEDS_ROOT
@pytest.mark.parametrize("address", ["-m {}", "-r dir:{}", "-r file:{}/region"])
def test_too_little_memory_is_an_error(place, small_tmpfs, address):
    """If there is no room for the region, the server does not start, and leaves no files. The
    message says how much is free, and how to enlarge the file system; following that advice
    helps."""
    region = address.format(small_tmpfs).split()
    done = place.run_server("-F", "-S", place.socket, *region, "-l", "4M")
    assert done.returncode == 1
    assert "no room for a region of 4M" in done.stderr
    assert "its file system has 1M free: remove files there, or enlarge it: as root, " \
        f"mount -o remount,size=4096k {small_tmpfs}\n" in done.stderr
    assert os.listdir(small_tmpfs) == []
    assert not place.socket.exists()
    assert os.statvfs(small_tmpfs).f_bfree == os.statvfs(small_tmpfs).f_blocks
    advice.do(done.stderr, "as root, (mount .*)")
    place.server("-l", "4M", region=region)


@NEEDS_ROOT
def test_empty_memory_that_cannot_grow_stays_empty(place, small_tmpfs):
    """An existing empty object that cannot be grown is left empty, and not removed."""
    path = small_tmpfs / "region"
    path.touch()
    done = place.run_server("-F", "-S", place.socket, "-r", f"file:{path}", "-l", "4M")
    assert done.returncode == 1
    assert f"no room for a region of 4M at {path}" in done.stderr
    assert path.stat().st_size == path.stat().st_blocks == 0


@NEEDS_ROOT
def test_memory_that_fits_exactly(place, small_tmpfs):
    """A region may use all the free space of its file system."""
    place.server("-l", "1M", region=["-m", str(small_tmpfs)])
    assert os.fstat(join(place).memory).st_size == MIB


def test_longest_socket_path(place):
    """A socket path of 107 bytes, the maximum, works."""
    path = place.dir / ("s" * (107 - len(str(place.dir)) - 1))
    server = place.server(socket=path)
    with RawClient(str(path), 1) as client:
        client.greeting()
    server.stop()
    assert nothing_left(place)


# Huge pages

@pytest.mark.usefixtures("huge_pages")
def test_huge_memfd(place):
    """A region created with -r memfd:2M is sealed and consists of huge pages that are already
    reserved. A size of half a huge page is refused."""
    server = place.server("-l", "4M", region=["-r", "memfd:2M"])
    client = join(place)
    size = os.fstat(client.memory).st_size
    seals = fcntl.fcntl(client.memory, F_GET_SEALS)
    with mmap.mmap(client.memory, size) as memory:
        memory[size - 1] = 1  # the pages are reserved, so there is no SIGBUS
        smaps = pathlib.Path("/proc/self/smaps").read_text()
    server.stop()
    assert size == 4 * MIB
    wanted = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW
    assert seals & wanted == wanted
    assert re.search(r"KernelPageSize: +2048 kB", smaps)
    small = place.run_server("-F", "-S", place.socket, "-r", "memfd:2M", "-l", "1M")
    assert small.returncode == 1
    assert "region size 1M is less than one page; use 2M or more" in small.stderr


@pytest.mark.usefixtures("huge_pages")
def test_too_few_huge_pages_is_an_error(place):
    """If too few huge pages are free, the server does not start. The message contains the number of
    free huge pages and a command that adds the missing ones; running that command helps."""
    done = place.run_server("-F", "-S", place.socket, "-r", "memfd:2M", "-l", "8M")
    assert done.returncode == 1
    assert "no room for a region of 8M: 4 huge pages of 2M are needed, and 2 are free: as root, " \
        "echo " in done.stderr
    assert not place.socket.exists()
    advice.do(done.stderr, "as root, (echo .*)")
    place.server("-l", "8M", region=["-r", "memfd:2M"])
    place.end_all()
