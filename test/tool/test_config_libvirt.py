# SPDX-License-Identifier: BSD-3-Clause
"""What `ivshmem config libvirt` prints, tested with libvirt itself, which accepts the XML, starts a
domain with it, and plugs devices into the domain."""
import json
import os
import pathlib
import re
import stat
import tempfile

import pytest

from support.py.config import NAMES, Pieces
from support.py.libvirt import Libvirt
from support.py.systemd import needs

MIB = 1 << 20


@pytest.fixture(scope="module", name="libvirt")
def _libvirt():
    """A Libvirt object for all tests in this file."""
    with tempfile.TemporaryDirectory(prefix="ivs-lv-") as path:
        made = Libvirt(path)
        try:
            yield made
        finally:
            made.close()


def after(argv, option):
    """Return: the values of an option in a list of arguments."""
    return [value for word, value in zip(argv, argv[1:]) if word == option]


def test_every_name_reaches_qemu(libvirt):
    """libvirt accepts servers, and regions whose names contain any special character. It passes the
    names to QEMU unchanged, both from its elements and from arguments."""
    words = ["config", "libvirt", "--size", "4M"]
    for index, name in enumerate(NAMES):
        words += [name, "--id", f"n{index}", f"file:/srv/{name}", "--id", f"f{index}"]
    words += ["--role", "master", "unix:/run/a, 'b'&.sock", "--vectors", "3", "vm1", "--kind",
              "vfio-user"]
    pieces = Pieces(*words)
    libvirt.define("names", pieces.text("xml", "In <devices>"), pieces.text("xml", "In <domain>"))
    argv = libvirt.argv("names")
    backends = [json.loads(value) for value in after(argv, "-object") if "memory-backend-file" in
                value and value.startswith("{")]
    assert [(each["mem-path"], each["size"], each["share"]) for each in backends] == \
        [(f"/dev/shm/{name}", 4 * MIB, True) for name in NAMES]
    given = [value for value in after(argv, "-object") if value.startswith("memory-backend-file")]
    assert given == [f"memory-backend-file,id=f{index}-mem,share=on,"
                     f"mem-path=/srv/{name.replace(',', ',,')},size=4M"
                     for index, name in enumerate(NAMES)]
    assert [value for value in after(argv, "-chardev") if "a,, 'b'&.sock" in value], argv
    devices = after(argv, "-device")
    assert f"ivshmem-plain,id=f{len(NAMES) - 1},memdev=f{len(NAMES) - 1}-mem,master=on" in devices
    bell = next(json.loads(each) for each in devices if "ivshmem-doorbell" in each)
    assert bell["vectors"] == 3 and bell["ioeventfd"] is True
    vfio_user = next(json.loads(each) for each in devices if "vfio-user-pci" in each)
    assert vfio_user["socket"]["path"] == "/run/ivshmem-device-vm1/vmm.sock"


def test_roles_reach_qemu(libvirt):
    """libvirt passes the role to QEMU; for a doorbell device, an argument specifies it."""
    pieces = Pieces("config", "libvirt", "--role", "master", "a", "--size", "4M", "b", "--kind",
                    "doorbell")
    libvirt.define("roles", pieces.text("xml", "In <devices>"), pieces.text("xml", "In <domain>"))
    argv = libvirt.argv("roles")
    plain = next(json.loads(each) for each in after(argv, "-device") if "ivshmem-plain" in each)
    assert plain["master"] == "on"
    assert "ivshmem-doorbell.master=on" in after(argv, "-global")


def make_region(place, libvirt):
    """Have systemd-tmpfiles create the region that the line describes. The region belongs to the
    VM's user."""
    line = Pieces("config", "tmpfiles", place.shm, "--owner", libvirt.uid, "--group", libvirt.uid,
                  "--mode", "0600").text("tmpfiles")
    (place.dir / "region.conf").write_text(line)
    done = place.run("systemd-tmpfiles", "--create", place.dir / "region.conf")
    assert done.returncode == 0 and not done.stderr, done.stderr
    os.truncate(place.shm_path, MIB)


def test_domain_starts_and_devices_are_plugged_in(place, libvirt):
    """A domain starts with the region that systemd-tmpfiles has created. The commands plug in a
    plain and a doorbell device, and unplug the plain one if possible. The region's owner, mode and
    contents survive the domain's start and stop."""
    needs("systemd-tmpfiles")
    make_region(place, libvirt)
    with open(place.shm_path, "r+b") as file:
        file.write(b"content")
    before = place.shm_path.stat()
    place.dir.chmod(0o755)
    place.server("--socket-mode", "0666", "-l", "1M", "-n", "2")
    raw = libvirt.file("raw region", "")
    os.truncate(raw, MIB)
    os.chown(raw, libvirt.uid, -1)
    cold = Pieces("config", "libvirt", place.shm)
    hot = Pieces("config", "libvirt", "--hotplug", "--domain", "plugged", place.shm, "--id", "hot",
                 f"unix:{place.socket}", "--id", "bell", "--vectors", "2", "--size", "1M",
                 f"file:{raw}", "--id", "raw")
    libvirt.define("plugged", cold.text("xml") + hot.text("xml", "In <devices>"),
                   hot.text("xml", "In <domain>"))
    libvirt.shell("virsh start plugged")
    for name in ("hot", "bell"):
        libvirt.file(f"{name}.xml", hot.text("xml", f"{name}.xml"))
    for command in hot.texts("shell", "to plug it"):
        libvirt.shell(command)
    found = libvirt.shell("virsh qemu-monitor-command plugged --hmp info qtree")
    assert found.count("dev: ivshmem-plain") == 3 and found.count("dev: ivshmem-doorbell") == 1
    assert found.count("pref64-reserve = 2097152 (2 MiB)") >= 3
    for command in hot.texts("shell", "to unplug it"):
        said = [libvirt.shell(line, check=False) for line in command.splitlines()]
        # The firmware releases the device. If the guest is not running, the device stays plugged
        # in.
        assert re.search('Device detach|request sent successfully|"return":{}', said[0]), said
    libvirt.shell("virsh destroy plugged")
    after_ = place.shm_path.stat()
    for name in ("st_ino", "st_uid", "st_gid", "st_mode", "st_size"):
        assert getattr(after_, name) == getattr(before, name), name
    assert stat.S_IMODE(after_.st_mode) == 0o600 and after_.st_uid == libvirt.uid
    assert pathlib.Path(place.shm_path).read_bytes().startswith(b"content")
