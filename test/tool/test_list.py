# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem list: which regions it finds, which processes and VMs use them, and each of its notes."""
import contextlib
import json
import mmap
import os
import pty
import re
import shutil
import subprocess

import pytest

from support.py.listing import (TOOL, Listing, listing, make, maps, notes, run, run_apart,
                                start_mapper, start_plain, start_vm)
from support.py.programs import TIMEOUT, Server, wait_until
from support.py.region_tool import without_leak_search

MIB = 1 << 20
NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a mount namespace")


def test_a_vm_and_a_process(place):
    """A region is listed with its address, its file's size and owner, and its users; a VM is listed
    under the name in its arguments."""
    make(place.shm_path)
    vm = start_plain(place, "win,,10 x", place.shm_path)
    other = start_mapper(place, place.shm_path)
    region = listing(place.shm).one()
    users = {user["pid"]: user for user in region["used_by"]}
    assert list(users) == sorted([vm.pid, other.pid])
    assert users[vm.pid] == {
        "pid": vm.pid, "program": "qemu-system-x86_64", "vm": "win,10 x", "socket": None,
        "server": False, "maps": True, "shared": True, "open": True, "arguments": False}
    assert users[other.pid]["vm"] is None and users[other.pid]["maps"]
    assert {key: region[key] for key in region if key not in ("used_by", "owner", "group")} == {
        "address": f"shm:{place.shm}", "path": str(place.shm_path), "kind": "shm", "size": MIB,
        "page_size": os.sysconf("SC_PAGESIZE"), "mode": "0640", "boot": None, "notes": []}
    assert region["owner"] == place.shm_path.owner() and region["group"] == place.shm_path.group()
    row = next(line for line in run().stdout.splitlines() if f"shm:{place.shm} " in line)
    words = row.split(maxsplit=7)
    assert words[1] == "1M" and words[4:7] == ["0640", "4K", "shm"]
    assert f"VM win,10 x (pid {vm.pid})" in words[7]
    assert f"(pid {other.pid})" in words[7] and "[" not in words[7]


def test_columns_are_aligned(place):
    """The columns of the table begin at the same position in each line."""
    make(place.shm_path)
    make(f"{place.shm_path}-longer", 64 * MIB)
    lines = run(place.shm, f"{place.shm}-longer").stdout.splitlines()
    assert [line.index("M  ") + 3 for line in lines[1:3]] == [lines[0].index("OWNER")] * 2
    assert [line.rindex("-") for line in lines[1:3]] == [lines[0].index("USED BY")] * 2


def test_removed_and_replaced(place):
    """A VM keeps using a file that has been removed. Both the removed file and the file that now
    has its name are listed, with notes that say so."""
    make(place.shm_path)
    vm = start_plain(place, "stale", place.shm_path)
    place.shm_path.unlink()
    region = listing(place.shm).one()
    assert list(notes(region)) == ["removed"] and region["used_by"][0]["vm"] == "stale"
    assert f"in use by VM stale (pid {vm.pid})" in notes(region)["removed"]
    assert re.search(rf"^shm:{place.shm} \(removed\) +1M .*VM stale", run().stdout, re.M)

    make(place.shm_path, 2 * MIB)
    named, removed = listing(place.shm).regions
    assert named["size"] == 2 * MIB and not named["used_by"] and removed["size"] == MIB
    assert list(notes(named)) == ["split"] and list(notes(removed)) == ["replaced"]
    assert f"is in use by VM stale (pid {vm.pid})" in notes(named)["split"]
    assert "replaced by another" in notes(removed)["replaced"]
    text = run(place.shm).stdout
    assert f"\n\nshm:{place.shm}: another file of this name" in text
    assert f"\nshm:{place.shm} (removed): this file has been removed and replaced" in text


def test_share_on_is_missing(place):
    """The note names the VM whose arguments lack share=on, and no other user."""
    make(place.shm_path)
    private = start_plain(place, "private", place.shm_path, "share=off")
    start_plain(place, "shared", place.shm_path)
    start_mapper(place, place.shm_path, "private")
    region = listing(place.shm).one()
    assert list(notes(region)) == ["private"]
    assert f"memory-backend-file of VM private (pid {private.pid}): " in notes(region)["private"]
    assert "VM shared" not in notes(region)["private"]


@pytest.mark.parametrize("size, mark, text", [
    (3 * MIB, "3M*", "its size, 3M, is not a power of two, so QEMU refuses it: use 2M or 4M"),
    (5, "5*", "its size, 5, is not a power of two, so QEMU refuses it: use 4K or more"),
    (0, "0", "it is empty: QEMU sets its size"),
])
def test_sizes(place, size, mark, text):
    """There is a note about a size that is not a power of two, and about an empty file."""
    make(place.shm_path, size)
    lines = run(place.shm).stdout.splitlines()
    assert lines[1].split()[1] == mark
    assert lines[2] == "" and lines[3].startswith(f"shm:{place.shm}: {text}")


@pytest.mark.parametrize("prefix, size, listed", [
    ("", MIB, True),
    ("", 0, True),
    ("", MIB // 2, False),
    ("", 3 * MIB, False),
    ("looking-glass-", 3 * MIB, True),
    ("pve-shm-", 4096, True),
    ("sem.", MIB, False),
    ("pulse-shm-", 64 * MIB, False),
])
def test_which_files_are_regions(place, prefix, size, listed):
    """Files that most likely belong to other programs are listed only with --all, or if they are
    named on the command line."""
    path = place.shm_path.with_name(prefix + place.shm)
    make(path, size)
    try:
        address = f"shm:{path.name}"
        assert (address in [region["address"] for region in listing().regions]) == listed
        assert address in [region["address"] for region in listing("--all").regions]
        for name in (path.name, address, str(path), f"file:{path}"):
            assert listing(name).one()["address"] == address
    finally:
        path.unlink()


def test_any_file_that_a_vm_uses_is_a_region(place):
    """A file that looks like another program's is listed if a VM uses it as a region."""
    path = place.shm_path.with_name("sem." + place.shm)
    make(path)
    try:
        assert not [r for r in listing().regions if r["path"] == str(path)]
        vm = start_plain(place, "user", path)
        assert [r["path"] for r in listing().used_by(vm.pid)] == [str(path)]
    finally:
        path.unlink()


def test_memory_of_a_server(place):
    """A server's memfd is listed as used by the server and its VMs, and has no note."""
    server = place.server(region=["-r", "memfd:", "-l", "1M"])
    vm = start_vm(place, "bell", "-chardev", f"socket,id=c,path={place.socket}", "-device",
                  "ivshmem-doorbell,chardev=c", machine="q35")
    wait_until(lambda: maps(vm, "/memfd:ivshmem"), "the VM maps the region")
    found = listing()
    region, = found.used_by(server.pid)
    assert found.used_by(vm.pid) == [region]
    assert region["address"] == "memfd:ivshmem" and region["path"] is None
    assert region["kind"] == "memfd" and region["size"] == MIB and not region["notes"]
    assert {user["pid"]: user["server"] for user in region["used_by"]} == {
        server.pid: True, vm.pid: False}
    assert region["page_size"] == os.sysconf("SC_PAGESIZE")
    assert {user["socket"] for user in region["used_by"]} == {str(place.socket), None}
    assert listing(place.socket).one() == listing(f"unix:{place.socket}").one() == region
    assert f"ivshmem-server at {place.socket} (pid {server.pid}), " in run(place.socket).stdout


def test_unnamed_file_of_a_server(place):
    """A file that a server has removed right after creating it, as it should, has no note."""
    server = Server(place, region=["-r", "dir:/dev/shm", "-l", "1M"])
    place.adopt(server)
    region, = listing().used_by(server.pid)
    assert region["kind"] == "shm" and not region["notes"] and region["size"] == MIB


def test_memory_of_other_programs_is_not_listed(place):
    """A VM's RAM and other programs' memfds are not regions."""
    make(place.shm_path)
    vm = start_vm(place, "ram", "-object", "memory-backend-memfd,id=r,size=16M", "-machine",
                  "memory-backend=r", "-object",
                  f"memory-backend-file,id=m,mem-path={place.shm_path},size=1M,share=on",
                  "-device", "ivshmem-plain,memdev=m", machine="q35")
    wait_until(lambda: maps(vm, str(place.shm_path)), "the VM maps the region")
    assert maps(vm, "/memfd:memory-backend-memfd")
    assert [region["kind"] for region in listing("--all").used_by(vm.pid)] == ["shm"]


def test_memfd_of_a_vm(place):
    """A memory-backend-memfd that ivshmem-plain uses is a region."""
    vm = start_vm(place, "memfd", "-object", "memory-backend-memfd,id=r,size=1M", "-device",
                  "ivshmem-plain,memdev=r", machine="q35")
    wait_until(lambda: maps(vm, "/memfd:memory-backend-memfd"), "the VM maps the region")
    region, = listing().used_by(vm.pid)
    assert region["address"] == "memfd:memory-backend-memfd" and region["size"] == MIB


def test_file_on_a_disk(place):
    """A file in any other directory is listed if a VM uses it, or if it is named on the command
    line, even by a relative path."""
    path = (place.dir / "region").resolve()
    make(path)
    assert str(path) not in [region["path"] for region in listing("--all").regions]
    vm = start_plain(place, "disk", path)
    assert [region["path"] for region in listing().used_by(vm.pid)] == [str(path)]
    with open(path, "r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    with memory:
        region = listing(f"file:{os.path.relpath(path)}").one()
    assert region["address"] == f"file:{path}" and region["kind"] == "file"
    assert [user["pid"] for user in region["used_by"]] == sorted([vm.pid, os.getpid()])


def test_only_open(place):
    """A process that has the file open but does not map it is marked."""
    make(place.shm_path)
    with open(place.shm_path, "rb"):
        text = run(place.shm).stdout
    assert re.search(rf"\(pid {os.getpid()}\) \[open\]", text)


def test_very_many_users_are_counted(place):
    """The table shows eight users of a region, and how many more there are; the JSON contains all
    of them."""
    make(place.shm_path)
    pids = []
    try:
        with open(place.shm_path, "rb") as file:
            for _ in range(10):
                pids.append(subprocess.Popen(["sleep", "1000"], pass_fds=[file.fileno()]))
        assert len(listing(place.shm).one()["used_by"]) == 10
        assert re.search(r"\(pid \d+\) \[open\] and 2 others$", run(place.shm).stdout, re.M)
    finally:
        for process in pids:
            process.kill()
            process.wait()


@needs_root
def test_without_root(place):
    """Without root privileges, VMs of other users are recognised by their arguments; a message on
    standard error says how many processes could not be examined."""
    place.dir.chmod(0o755)
    tool = shutil.copy(TOOL, place.dir)
    make(place.shm_path, mode=0o600)
    vm = start_plain(place, "foreign", place.shm_path, "share=off")

    def list_it(*options):
        return place.run("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                         tool, "list", *options, place.shm)

    found = Listing(list_it("--json"))
    user, = found.one()["used_by"]
    assert user["arguments"] and not user["maps"] and user["vm"] == "foreign"
    assert list(notes(found.one())) == ["private"] and found.whole["unseen"] > 1
    assert re.match(r"ivshmem list: \d+ processes of other users could not be examined: run this "
                    r"as root\n$", found.errors)
    assert f"VM foreign (pid {vm.pid}) [arguments]\n" in list_it().stdout

    place.shm_path.unlink()
    region = Listing(list_it("--json")).one()
    assert list(notes(region)) == ["private", "absent"]
    assert region["size"] is region["owner"] is region["mode"] is None
    assert f"the arguments of VM foreign (pid {vm.pid}) name it" in notes(region)["absent"]
    assert re.search(rf"shm:{place.shm} \(absent\) +- +- +- +- +", list_it().stdout)


@needs_root
def test_hidden_processes(place):
    """If /proc hides processes of other users, the output says so."""
    place.dir.chmod(0o755)
    done = run_apart(place, "mount -t proc -o hidepid=2 none /proc; exec setpriv --reuid=65534 "
                            "--regid=65534 --clear-groups $0 list --json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hidden"] is True and "hidepid" in done.stderr


@needs_root
def test_no_regions(place):
    """What is listed on a host without regions, and on one without /dev/shm."""
    for script in ("mount -t tmpfs none /dev/shm; exec $0 list",
                   "umount -l /dev/shm; rmdir /dev/shm 2> /dev/null || :; exec $0 list"):
        done = run_apart(place, script, options=["-p", "-f", "--mount-proc"])
        assert done.returncode == 0 and done.stdout == "no regions on this host\n", done


@needs_root
def test_files_made_at_boot(place):
    """A file that tmpfiles.d creates is listed, even if it does not exist; a file in
    /etc/tmpfiles.d overrides the one with the same name in /run/tmpfiles.d."""
    script = """
mount -t tmpfs none /run
mkdir -p /run/tmpfiles.d
mount -t tmpfs none /etc/tmpfiles.d
printf 'f /dev/shm/%s-hidden 0660 root root -\\n' "$1" > /run/tmpfiles.d/a.conf
{
    printf '# f /dev/shm/%s-comment\\n\\nd /dev/shm/%s-d\\nf /dev/shm/%s-%%u\\n' $1 $1 $1
    printf 'f  "/dev/shm/%s with blanks" 0660\\nf+ /dev/shm/%s\\n' $1 $1
} > /etc/tmpfiles.d/a.conf
exec $0 list --json
"""
    make(place.shm_path, 0)
    found = Listing(run_apart(place, script, place.shm))
    ours = {region["address"][4:]: region for region in found.regions
            if place.shm in region["address"]}
    assert set(ours) == {place.shm, f"{place.shm} with blanks"}
    assert all(region["boot"] == "/etc/tmpfiles.d/a.conf" for region in ours.values())
    assert notes(ours[f"{place.shm} with blanks"])["absent"].endswith(
        "systemd-tmpfiles --create /etc/tmpfiles.d/a.conf")
    assert "as created at boot by /etc/tmpfiles.d/a.conf: " in notes(ours[place.shm])["empty"]


@needs_root
def test_kvmfr(place):
    """A regular file in place of /dev/kvmfr0 has a note; a device has none. The same is true
    without /dev/shm."""
    found = Listing(run_apart(place, """
mount -t tmpfs none /dev
mknod /dev/null c 1 3
truncate -s 32M /dev/kvmfr0
mknod /dev/kvmfr1 c 1 3
exec $0 list --json /dev/kvmfr0 /dev/kvmfr1
"""))
    file, device = found.regions
    assert file["address"] == "file:/dev/kvmfr0" and list(notes(file)) == ["kvmfr"]
    assert "rm /dev/kvmfr0, modprobe kvmfr" in notes(file)["kvmfr"]
    assert device["address"] == device["path"] == "/dev/kvmfr1" and device["kind"] == "device"
    assert not device["notes"] and device["size"] is None


@needs_root
def test_huge_pages(place):
    """A file on a hugetlbfs is listed as a region, with the page size of the hugetlbfs."""
    done = run_apart(place, """
mkdir "$1/huge pages"
mount -t hugetlbfs -o pagesize=2M none "$1/huge pages"
truncate -s 4M "$1/huge pages/$2"
exec $0 list --json
""", place.dir, place.shm)
    if "mount:" in done.stderr:
        pytest.skip(f"cannot mount a hugetlbfs: {done.stderr}")
    region, = [r for r in Listing(done).regions if r["address"].endswith(place.shm)]
    assert region["address"] == f"file:{place.dir}/huge pages/{place.shm}"
    assert region["kind"] == "hugetlb" and region["page_size"] == 2 * MIB
    assert region["size"] == 4 * MIB and not region["notes"]


def test_json_of_a_name_that_is_not_text(place):
    """A name with control characters is shown without them; in JSON, they are escaped."""
    path = place.shm_path.with_name(place.shm + "\x1b[31m\x7f\u009b\u202eä")
    make(path)
    try:
        text = run().stdout
        assert f"shm:{place.shm}?[31m???ä" in text and "\x1b" not in text
        text = run("--json").stdout
        assert str(path) in [region["path"] for region in json.loads(text)["regions"]]
        assert text.isascii() and text.replace("\n", "").isprintable()
    finally:
        path.unlink()


@pytest.mark.parametrize("names, status, message", [
    (["no-such-region"], 1, 'no region "no-such-region": "ivshmem list --all" lists all'),
    (["/no/such/file"], 1, 'no region "/no/such/file": '),
    (["a\nb"], 2, 'invalid address "a?b": use UTF-8 without control characters'),
    ([""], 2, 'invalid address "": use a name'),
    (["x"] * 65, 2, 'surplus argument "x": at most 64 names can be given'),
])
def test_mistakes(names, status, message):
    """An empty name, or the name of something other than a region, causes an error message that
    quotes the name."""
    done = run(*names)
    assert done.returncode == status and not done.stdout
    assert done.stderr.startswith(f"ivshmem list: {message}")


def test_progress():
    """On a terminal, if the examination takes longer than 2 s, a line shows how long it has taken
    so far, and is erased at the end. If standard error is not a terminal, nothing is shown."""
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e",
             "inject=getdents64:delay_enter=2500000:when=1", TOOL, "list"]
    parent, child = pty.openpty()
    with os.fdopen(parent, "rb", buffering=0) as terminal:
        runs = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stderr, text=True,
                                 env=without_leak_search()) for stderr in (child, subprocess.PIPE)]
        os.close(child)
        text = b""
        with contextlib.suppress(OSError):  # EIO: the program has closed its end
            while part := terminal.read(4096):
                text += part
    said = [each.communicate(timeout=TIMEOUT) for each in runs]
    assert re.match(rb"(\rexamining the processes of this host: \d+ s )+\r\x1b\[K"
                    rb"(ivshmem list: \d+ process|$)", text), text
    assert "examining" not in said[1][1]
    assert [each.returncode for each in runs] == [0, 0] and said[0][0] and said[1][0]
