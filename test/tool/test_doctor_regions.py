# SPDX-License-Identifier: BSD-3-Clause
"""ivshmem doctor: the rules about regions, each proven by a fault, and by its cure."""
import os
import shlex
import signal

import pytest

from support.py.doctor import examine, proves, prove, prove_apart
from support.py.huge import set_aside
from support.py.listing import MIB, make, maps, start_mapper, start_plain
from support.py.programs import wait_until

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a mount namespace")


def stop(process):
    """End a program that is to be started again."""
    process.signal(signal.SIGTERM)
    process.wait()


@proves("region-size")
def test_size(place):
    """A region of 3M is resized to 4M."""
    make(place.shm_path, 3 * MIB)
    finding = prove("region-size", place.shm)
    assert finding["command"] == f"ivshmem resize --size 4M shm:{place.shm}"
    assert place.shm_path.stat().st_size == 4 * MIB


@proves("region-empty")
def test_empty(place):
    """An empty region gets a size."""
    make(place.shm_path, 0)
    prove("region-empty", place.shm)


@proves("region-absent")
@needs_root
def test_absent(place):
    """A file that tmpfiles.d creates at boot is created now."""
    finding = prove_apart(place, "region-absent", f"""
mount -t tmpfs none /etc/tmpfiles.d
echo 'f /dev/shm/{place.shm} 0660 root root -' > /etc/tmpfiles.d/a.conf
mount -t tmpfs none /dev/shm
# Afterwards QEMU would set the size of the file.
cat > "$1/systemd-tmpfiles" <<'END'
#!/bin/sh
PATH=${{PATH#*:}}
systemd-tmpfiles "$@" && truncate -s 1M /dev/shm/{place.shm}
END
chmod +x "$1/systemd-tmpfiles"
""", place.shm)
    assert finding["command"] == "systemd-tmpfiles --create /etc/tmpfiles.d/a.conf"


@proves("region-removed")
def test_removed(place):
    """A region that has been removed while a VM uses it is gone when the VM is started again."""
    make(place.shm_path)
    vms = [start_plain(place, "stale", place.shm_path)]
    place.shm_path.unlink()

    def restart(_finding):
        stop(vms[0])
        make(place.shm_path)
        start_plain(place, "stale", place.shm_path)

    finding = prove("region-removed", place.shm, cure=restart)
    assert f"VM stale (pid {vms[0].pid})" in finding["found"]


@proves("region-split")
def test_split(place):
    """Programs that use different files of the same name share memory after a restart."""
    make(place.shm_path)
    old = start_mapper(place, place.shm_path)
    vm = start_plain(place, "old", place.shm_path)
    place.shm_path.unlink()
    make(place.shm_path)
    start_mapper(place, place.shm_path)

    def restart(finding):
        assert f"VM old (pid {vm.pid})" in finding["found"]
        for process in (old, vm):
            stop(process)
        start_plain(place, "old", place.shm_path)

    prove("region-split", place.shm, cure=restart)


@proves("region-private")
def test_private(place):
    """A VM without share=on is started again with it."""
    make(place.shm_path)
    vm = start_plain(place, "alone", place.shm_path, "share=off")

    def restart(finding):
        assert f"VM alone (pid {vm.pid})" in finding["found"] and "share=on" in finding["advice"]
        stop(vm)
        start_plain(place, "alone", place.shm_path)

    prove("region-private", place.shm, cure=restart)


@proves("region-kvmfr")
@needs_root
def test_kvmfr(place):
    """A regular file in place of /dev/kvmfr0 is removed; then the module creates the device."""
    finding = prove_apart(place, "region-kvmfr", """
mount -t tmpfs none /dev
mknod /dev/null c 1 3
mkdir /dev/shm
truncate -s 32M /dev/kvmfr0
cat > "$1/rm" <<'END'
#!/bin/sh
/bin/rm "$@" && mknod /dev/kvmfr0 c 1 3
END
chmod +x "$1/rm"
""", "/dev/kvmfr0")
    assert finding["command"] == "rm /dev/kvmfr0" and "modprobe kvmfr" in finding["advice"]


@proves("region-elsewhere")
@needs_root
def test_elsewhere(place):
    """A VM in another mount namespace uses a file in a /dev/shm of its own."""
    path = place.shm_path
    script = ('mount -t tmpfs none "$1"; truncate -s 1M "$1/region"; shift; exec "$@"')
    vm = place.start("unshare", "-m", "sh", "-ec", script, "sh", path.parent,
                     "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-nodefaults",
                     "-display", "none", "-S", "-m", "16", "-name", "guest=apart", "-qmp",
                     f"unix:{place.dir}/qmp,server=on,wait=off", "-object",
                     f"memory-backend-file,id=m,mem-path={path},size=1M,share=on", "-device",
                     "ivshmem-plain,memdev=m")
    wait_until(lambda: maps(vm, str(path)), "the VM maps the region")

    def share(_finding):
        stop(vm)
        make(path)
        start_plain(place, "here", path)

    prove("region-elsewhere", place.shm, cure=share)


@proves("region-denied")
@needs_root
def test_denied(place):
    """A user who may not open a region may do so after the printed command."""
    make(place.shm_path, mode=0o600)
    options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}

    def allow(finding):
        assert "it belongs to root:root, mode 0600" in finding["advice"]
        command = finding["advice"].split("as root, ", 1)[1]
        assert os.system(command) == 0

    prove("region-denied", place.shm, cure=allow, **options)


@proves("region-world")
def test_world(place):
    """A region that all users can write to."""
    make(place.shm_path, mode=0o666)
    prove("region-world", place.shm)
    assert place.shm_path.stat().st_mode & 0o777 == 0o664


@proves("region-sticky")
@needs_root
def test_sticky(place):
    """A region of another user in /dev/shm, with fs.protected_regular."""
    finding = prove_apart(place, "region-sticky", f"""
mount -t tmpfs -o mode=1777 none /dev/shm
truncate -s 1M /dev/shm/{place.shm}
chown {NOBODY} /dev/shm/{place.shm}
echo 1 > "$1/one"
mount --bind "$1/one" /proc/sys/fs/protected_regular
""", place.shm)
    assert finding["command"] == f"chown -h 0 /dev/shm/{place.shm}"


@proves("region-full")
@needs_root
def test_full(place):
    """A sparse file that is larger than its file system."""
    prove_apart(place, "region-full", f"""
mount -t tmpfs -o size=16M none /dev/shm
truncate -s 32M /dev/shm/{place.shm}
""", place.shm)


@proves("region-huge-pages")
@needs_root
def test_huge_pages(place):
    """A region of more huge pages than there are."""
    with set_aside():
        pages = int(open("/proc/sys/vm/nr_hugepages", encoding="ascii").read())
        finding = prove_apart(place, "region-huge-pages", f"""
mkdir "$1/huge"
mount -t hugetlbfs -o pagesize=2M none "$1/huge"
truncate -s {2 * (1 << pages.bit_length())}M "$1/huge/{place.shm}"
""", f"{place.dir}/huge/{place.shm}")
    assert "nr_hugepages" in finding["command"]


@proves("host-shm")
@needs_root
def test_small_shm(place):
    """A container whose /dev/shm has 64M."""
    prove_apart(place, "host-shm", """
mount -t tmpfs none /run
touch /run/.containerenv
mount -t tmpfs -o size=64M none /dev/shm
""", "--host")


def test_healthy(place):
    """A region that two programs use has no faults."""
    make(place.shm_path)
    start_plain(place, "fine", place.shm_path)
    start_mapper(place, place.shm_path)
    assert not examine(place.shm).findings


@needs_root
def test_file_that_its_owner_can_exchange(place):
    """The owner of a file could put a link in its place, so the command runs as the owner."""
    place.dir.chmod(0o755)
    own = place.dir / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    path = own / "ivshmem-region"
    make(path, mode=0o666)
    os.chown(path, NOBODY, NOBODY)
    finding = prove("region-world", path)
    assert finding["command"] == f"setpriv --reuid {NOBODY} --clear-groups chmod o-w {path}"


def test_long_command_is_complete(place):
    """A command that is long, because the path has to be quoted, is not cut off."""
    path = place.dir.joinpath(*["'" * 222] * 5)
    path.parent.mkdir(parents=True)
    make(path, mode=0o666)
    finding = prove("region-world", path)
    assert shlex.split(finding["command"]) == ["chmod", "o-w", str(path)]
    assert len(finding["command"]) > 4400
